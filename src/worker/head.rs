//! What the gateway reads and changes in the heads of calls and answers.

use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT,
    HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, response};

use super::arena::Arena;
use super::language::Language;
use crate::policy::failure::Failure;
use crate::policy::retry::Pushback;
use crate::policy::status::Code;
use crate::upstream::{Failed, Lease};
use crate::wire::{binary, content, timeout};

pub(super) static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The same for callers that are not gRPC's, to whom its units are strange.
pub(super) static REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
pub(super) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) static GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

static PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
static RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Asks for [`SERVER_TIMING`](super::ledger::SERVER_TIMING).
static TIMING: HeaderName = HeaderName::from_static("x-ringway-timing");

/// What a caller asks of the gateway itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) timeout: Option<Duration>,
    /// It has the `te` field that gRPC asks for.
    pub(super) has_te: bool,
    /// It wants to know where the time of the call goes.
    pub(super) timing: bool,
}

impl Asked {
    /// The earliest of all deadlines holds.
    fn within(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        let timeout = timeout.ok_or(Failure::BadTimeout)?;
        self.timeout = Some(self.timeout.map_or(timeout, |asked| asked.min(timeout)));
        Ok(())
    }
}

/// Reads a call's head, and refuses what no upstream should see.
pub(super) fn read(head: &Parts, headers_count_max: usize, language: Language) -> Result<Asked, Failure> {
    if head.headers.len() > headers_count_max {
        return Err(Failure::TooManyHeaders);
    }
    let mut asked = Asked::default();
    // One pass in place of a look-up for each name.
    for (name, value) in &head.headers {
        if name == TE {
            asked.has_te = true;
        } else if name == GRPC_TIMEOUT {
            asked.within(timeout::parse(value.as_bytes()))?;
        } else if name == REQUEST_TIMEOUT && language != Language::Grpc {
            asked.within(timeout::parse_request_timeout(value.as_bytes()))?;
        } else if name == TIMING {
            asked.timing = true;
        } else if binary::is_binary(name.as_str()) && !binary::is_valid(value.as_bytes()) {
            // Such a value makes some servers drop the connection, which carries the calls of others too
            // (CVE-2023-32731).
            return Err(Failure::BadBinaryHeader);
        }
    }
    Ok(asked)
}

/// Refuses what is not a gRPC call, or one in gRPC-Web.
pub(super) fn check_grpc(head: &Parts, language: Language) -> Result<(), Failure> {
    if head.method != Method::POST {
        return Err(Failure::NotPost);
    }
    let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if language == Language::Grpc && !content::is_grpc(content_type) {
        return Err(Failure::NotGrpc);
    }
    if !is_method_path(head.uri.path()) {
        return Err(Failure::BadPath);
    }
    Ok(())
}

/// `/{service}/{method}`, both there and nothing else: no upstream is asked to make sense of `//` or `/..`.
fn is_method_path(path: &str) -> bool {
    let Some((service, method)) = path.strip_prefix('/').and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    !service.is_empty() && !method.is_empty() && !method.contains('/') && service != ".." && method != ".."
}

/// Whom the caller means to reach, without the port.
pub(super) fn host(head: &Parts) -> &str {
    match head.uri.authority() {
        Some(authority) => authority.host(),
        None => {
            let host = head.headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
            host.rsplit_once(':').map_or(host, |(host, _)| host)
        }
    }
}

/// Why a request that no method is mapped to is refused.
pub(super) fn not_mapped(head: &Parts) -> Failure {
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|value| content::is_grpc(value.as_bytes()));
    if is_grpc { Failure::NotHttp2 } else { Failure::NotMapped }
}

/// Fields that say something of the connection or of the body as the client sent it, and nothing of the call.
static NOT_SENT_ON: [HeaderName; 19] = [
    HOST,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    TRAILER,
    ACCEPT,
    ACCEPT_ENCODING,
    ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-request-timeout"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

/// Turns the head of a request that is not gRPC into that of a call. `path` is the method's, if it is not that of the
/// request.
pub(super) fn to_grpc(head: &mut Parts, path: Option<PathAndQuery>) -> Result<(), Failure> {
    let host = head.headers.get(HOST).map(|value| Authority::try_from(value.as_bytes()));
    // What `connection` names belongs to the connection too (RFC 9110 section 7.6.1).
    if let Some(named) = head.headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            head.headers.remove(name.trim());
        }
    }
    for name in &NOT_SENT_ON {
        head.headers.remove(name);
    }
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    if let Some(host) = host {
        // A host that is none is no reason to guess one.
        uri.authority = Some(host.map_err(|_| Failure::BadPath)?);
    }
    if path.is_some() {
        uri.path_and_query = path;
    }
    uri.scheme = uri.authority.is_some().then_some(Scheme::HTTP);
    head.uri = Uri::from_parts(uri).map_err(|_| Failure::BadPath)?;
    head.method = Method::POST;
    head.version = Version::HTTP_2;
    Ok(())
}

/// Makes a caller's head fit to be sent on.
pub(super) fn prepare(head: &mut Parts, asked: &Asked) {
    // gRPC servers refuse calls without it, and it says that trailers are understood, which ours are.
    if !asked.has_te {
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The request for one attempt: with the time that is left now, and with the number of attempts before it.
pub(super) fn upstream(
    mut head: Parts,
    lease: &Lease,
    left: Option<Duration>,
    previous: u32,
    arena: &Arena,
) -> Result<Request<()>, Failure> {
    if previous > 0 {
        head.headers.insert(&PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
    }
    if let Some(left) = left {
        if left.is_zero() {
            return Err(Failure::OutOfTime);
        }
        let mut value = arena.header(timeout::format(left).as_ref());
        // Different each time: it would only push what repeats out of the peer's table.
        value.set_sensitive(true);
        head.headers.insert(&GRPC_TIMEOUT, value);
    }
    if head.uri.scheme().is_none() || head.uri.authority().is_none() {
        head.uri = complete(head.uri, &head.headers, lease)?;
    }
    Ok(Request::from_parts(head, ()))
}

/// HTTP/2 wants a scheme, and gRPC servers an authority.
fn complete(uri: Uri, headers: &HeaderMap, lease: &Lease) -> Result<Uri, Failure> {
    let mut parts = uri.into_parts();
    parts.scheme.get_or_insert(Scheme::HTTP);
    if parts.authority.is_none() {
        let host = headers.get(HOST).and_then(|value| Authority::try_from(value.as_bytes()).ok());
        let address = || Authority::try_from(lease.address().to_string()).map_err(|_| Failure::BadPath);
        parts.authority = Some(host.map_or_else(address, Ok)?);
    }
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|_| Failure::BadPath)
}

/// Reads the head of an answer; the code if it has one already.
pub(super) fn answered(head: &response::Parts) -> Result<Option<Code>, Failed> {
    let code = status(&head.headers);
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|value| content::is_grpc(value.as_bytes()));
    if code.is_some() || (head.status == http::StatusCode::OK && is_grpc) {
        Ok(code)
    } else {
        Err(Failed::finally(Failure::UpstreamNotGrpc(head.status.as_u16())))
    }
}

/// What a service says about trying again.
pub(super) fn pushback(headers: &HeaderMap) -> Pushback {
    headers.get(&RETRY_PUSHBACK).map_or(Pushback::None, |value| Pushback::from_header(value.as_bytes()))
}

/// The code in a head or in trailers.
pub(super) fn status(headers: &HeaderMap) -> Option<Code> {
    headers.get(&GRPC_STATUS).map(|value| Code::from_header(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_service_and_method_is_a_path() {
        for (path, expected) in [
            ("/a.B/C", true),
            ("/B/C", true),
            ("/a.B/", false),
            ("//C", false),
            ("/", false),
            ("", false),
            ("*", false),
            ("a.B/C", false),
            ("/a.B", false),
            ("/a.B/C/", false),
            ("/a.B/C/D", false),
            ("/../C", false),
            ("/a.B/..", false),
        ] {
            assert_eq!(is_method_path(path), expected, "{path:?}");
        }
    }

    fn head(change: impl FnOnce(&mut Parts)) -> Result<Asked, Failure> {
        let request =
            Request::post("http://h/a.B/C").header(CONTENT_TYPE, "application/grpc").body(()).expect("valid");
        let (mut head, ()) = request.into_parts();
        change(&mut head);
        let asked = read(&head, 10, Language::Grpc)?;
        check_grpc(&head, Language::Grpc)?;
        Ok(asked)
    }

    #[test]
    fn the_earliest_deadline_holds() {
        for (fields, wanted) in [
            (&[("x-request-timeout", "250")][..], Ok(Some(250))),
            (&[("x-request-timeout", "1.5s"), ("grpc-timeout", "2S")], Ok(Some(1500))),
            (&[("x-request-timeout", "3s"), ("grpc-timeout", "2S")], Ok(Some(2000))),
            (&[("x-request-timeout", "3s"), ("x-request-timeout", "40ms")], Ok(Some(40))),
            (&[("x-request-timeout", "soon")], Err(Failure::BadTimeout)),
        ] {
            let mut request = Request::get("/v1/x");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).expect("valid").into_parts();
            let asked = read(&head, 10, Language::Http).map(|asked| asked.timeout);
            assert_eq!(asked, wanted.map(|wanted| wanted.map(Duration::from_millis)), "{fields:?}");
        }
    }

    #[test]
    fn a_head_is_read_or_refused() {
        let set = |name: &'static str, value: &'static str| {
            move |head: &mut Parts| {
                head.headers.insert(name, HeaderValue::from_static(value));
            }
        };
        assert_eq!(head(|_| ()), Ok(Asked::default()));
        assert_eq!(
            head(set("grpc-timeout", "5S")),
            Ok(Asked { timeout: Some(Duration::from_secs(5)), ..Asked::default() })
        );
        assert_eq!(head(set("grpc-timeout", "5")), Err(Failure::BadTimeout));
        assert_eq!(head(set("grpc-timeout", "123456789m")), Err(Failure::BadTimeout));
        // What is the service's own is not ours to read.
        assert_eq!(head(set("x-request-timeout", "soon")), Ok(Asked::default()));
        assert_eq!(head(set("content-type", "application/json")), Err(Failure::NotGrpc));
        assert_eq!(head(set("x-bin", "q6ur")), Ok(Asked::default()));
        assert_eq!(head(set("x-bin", "!")), Err(Failure::BadBinaryHeader));
        assert_eq!(head(|head| head.method = Method::GET), Err(Failure::NotPost));
        let many = |head: &mut Parts| {
            for _ in 0..10 {
                head.headers.append("x", HeaderValue::from_static("y"));
            }
        };
        assert_eq!(head(many), Err(Failure::TooManyHeaders));
    }
}
