//! Reads and changes the heads of calls and answers.

use std::time::Duration;

use super::protocol::{DownstreamProtocol, Version};
use crate::config::{EndpointAddress, GrpcCompression};
use crate::http2::{Head, Heads, Name};
use crate::policy::caller;
use crate::policy::failure::Failure;
use crate::policy::retry::Pushback;
use crate::policy::route;
use crate::policy::status::Code;
use crate::transcode::coding;
use crate::upstream::AttemptError;
use crate::wire::trace_context::TraceParent;
use crate::wire::{binary, connect, content, path as wire_path, timeout};

/// A request as it came.
pub(in crate::worker) struct Arrival {
    pub(in crate::worker) head: Head,
    pub(in crate::worker) version: Version,
    /// The head is above the bounds, and holds only its beginning.
    pub(in crate::worker) is_too_large: bool,
}

impl route::Headers for Head {
    fn count(&self) -> usize {
        self.len()
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|field| field.name_bytes)
    }

    fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |field| field.name_bytes == name).map(|field| field.value)
    }
}

/// The path of a request, with its query.
pub(in crate::worker) fn path_and_query(head: &Head) -> &str {
    // The decoder lets only visible ASCII pass; a request of HTTP/1.1 has been read by hyper.
    head.path().and_then(|path| str::from_utf8(path).ok()).unwrap_or_default()
}

/// The path of a request, without its query, as bytes.
pub(in crate::worker) fn path(head: &Head) -> &[u8] {
    let path = head.path().unwrap_or_default();
    if !path.contains(&b'?') {
        return path;
    }
    let end = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
    &path[..end]
}

/// The path of a request, without its query.
pub(in crate::worker) fn path_text(head: &Head) -> &str {
    str::from_utf8(path(head)).unwrap_or_default()
}

/// The query of a request, if it has one.
pub(in crate::worker) fn query(head: &Head) -> Option<&str> {
    path_and_query(head).split_once('?').map(|(_, query)| query)
}

/// A caller's requests to the gateway itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::worker) struct GatewayHeaders {
    pub(in crate::worker) timeout: Option<Duration>,
    /// It has the `te` field that gRPC asks for.
    pub(in crate::worker) has_te: bool,
    /// It asks for the times of the call's stages.
    pub(in crate::worker) timing: bool,
    /// It has fields that only proxies may send.
    pub(in crate::worker) is_of_proxy: bool,
}

impl GatewayHeaders {
    /// Takes over a timeout; the earliest of all holds.
    fn within(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        let timeout = timeout.ok_or(Failure::BadTimeout)?;
        self.timeout = Some(self.timeout.map_or(timeout, |asked| asked.min(timeout)));
        Ok(())
    }
}

/// Reads a call's head, and refuses one that no upstream should see.
pub(in crate::worker) fn read(
    head: &Head,
    headers_count_max: usize,
    protocol: DownstreamProtocol,
) -> Result<GatewayHeaders, Failure> {
    if head.len() > headers_count_max {
        return Err(Failure::TooManyHeaders);
    }
    let is_connect = matches!(protocol, DownstreamProtocol::Connect(_));
    let mut asked = GatewayHeaders::default();
    // A single pass replaces a look-up for each name.
    for field in head.iter() {
        match field.name {
            // Of others it is not sent on.
            Name::TE => asked.has_te = protocol == DownstreamProtocol::Grpc,
            Name::GRPC_TIMEOUT => asked.within(timeout::parse(field.value))?,
            Name::X_REQUEST_TIMEOUT if protocol != DownstreamProtocol::Grpc => {
                asked.within(timeout::parse_request_timeout(field.value))?;
            }
            Name::X_RINGWAY_TIMING => asked.timing = true,
            Name::OTHER if is_connect && field.name_bytes == connect::TIMEOUT => {
                asked.within(connect::parse_timeout(field.value))?;
            }
            _ => {
                if field.name_bytes.ends_with(b"-bin") && !binary::is_valid(field.value) {
                    // Such a value makes some servers drop the connection, which carries the calls of others too
                    // (CVE-2023-32731).
                    return Err(Failure::BadBinaryHeader);
                }
                asked.is_of_proxy |= caller::is_of_proxies(field.name_bytes);
            }
        }
    }
    Ok(asked)
}

/// Refuses a request that is neither gRPC nor gRPC-Web.
pub(in crate::worker) fn check_grpc(head: &Head, protocol: DownstreamProtocol) -> Result<(), Failure> {
    if head.method() != Some(b"POST") {
        return Err(Failure::NotPost);
    }
    if protocol == DownstreamProtocol::Grpc && !is_grpc(head) {
        return Err(Failure::NotGrpc);
    }
    if !wire_path::is_method(path(head)) {
        return Err(Failure::BadPath);
    }
    Ok(())
}

fn is_grpc(head: &Head) -> bool {
    head.get(Name::CONTENT_TYPE).is_some_and(content::is_grpc)
}

/// The format of the messages, as the content type names it.
pub(in crate::worker) fn format(head: &Head) -> Option<&[u8]> {
    head.get(Name::CONTENT_TYPE).and_then(content::format)
}

/// The authority that the caller means to reach; of HTTP/1.1 `host`.
pub(in crate::worker) fn authority(head: &Head) -> &[u8] {
    head.authority().or_else(|| head.get(Name::HOST)).unwrap_or_default()
}

/// The host that the caller means to reach. A port is cut off only if digits follow the last `:`, and no other stands
/// outside brackets. A value with several addresses is compared as it is.
pub(in crate::worker) fn host(head: &Head) -> &[u8] {
    let authority = authority(head);
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else { return authority };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let is_one = host.ends_with(b"]") || !host.contains(&b':');
    if is_one && !port.is_empty() && port.iter().all(u8::is_ascii_digit) { host } else { authority }
}

/// The failure of a request that no method is mapped to.
pub(in crate::worker) fn not_mapped(head: &Head) -> Failure {
    if is_grpc(head) { Failure::NotHttp2 } else { Failure::NotMapped }
}

/// Whether a field concerns the connection, or the body as the client sent it, but not the call.
pub(in crate::worker) fn is_not_sent_on(name: Name) -> bool {
    matches!(
        name,
        Name::HOST
            | Name::CONNECTION
            | Name::CONTENT_LENGTH
            | Name::CONTENT_TYPE
            | Name::EXPECT
            | Name::TRANSFER_ENCODING
            | Name::UPGRADE
            | Name::TE
            | Name::TRAILER
            | Name::ACCEPT
            | Name::ACCEPT_ENCODING
            | Name::ACCESS_CONTROL_REQUEST_METHOD
            | Name::KEEP_ALIVE
            | Name::PROXY_CONNECTION
            | Name::HTTP2_SETTINGS
            | Name::X_GRPC_WEB
            | Name::X_REQUEST_TIMEOUT
    )
}

/// Turns the head of a request in JSON into that of a call of the method with this path. Its messages are made here, and
/// read here, so encodings are none of the caller's.
pub(in crate::worker) fn json_to_grpc(head: &mut Head, path: &str, compression: &GrpcCompression) {
    head.remove(Name::GRPC_ENCODING);
    head.remove(Name::GRPC_ACCEPT_ENCODING);
    if let Some(coding) = compression.request {
        head.push(Name::GRPC_ENCODING, coding::name(coding).as_bytes());
    }
    if !compression.accept.is_empty() {
        head.push(Name::GRPC_ACCEPT_ENCODING, coding::grpc_accept_encoding(&compression.accept).as_bytes());
    }
    head.remove(Name::CONTENT_ENCODING);
    to_grpc(head, &content::of_grpc(None));
    head.set_path(path.as_bytes());
}

/// Turns the head of a request in gRPC-Web into that of a call. Its messages pass as they are, so their format and their
/// encodings pass, too.
pub(in crate::worker) fn web_to_grpc(head: &mut Head) {
    let content_type = content::of_grpc(format(head));
    to_grpc(head, &content_type);
}

/// Turns the head of a request in Connect into that of a call, with messages in this codec.
pub(in crate::worker) fn connect_to_grpc(head: &mut Head, codec: &[u8]) {
    to_grpc(head, &content::of_grpc(Some(codec)));
}

fn to_grpc(head: &mut Head, content_type: &[u8]) {
    // `connection` names further fields that belong to the connection (RFC 9110 section 7.6.1).
    if head.get(Name::CONNECTION).is_some() {
        let named: Vec<Vec<u8>> = head
            .get_all(Name::CONNECTION)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|name| name.trim_ascii().to_ascii_lowercase())
            .collect();
        // Who called is said by proxies and by the gateway, and no client may take that away.
        let stays = |name: &[u8]| caller::is_of_proxies(name) || name == Name::X_REQUEST_ID.as_bytes();
        head.retain(|field| stays(field.name_bytes) || !named.iter().any(|name| name == field.name_bytes));
    }
    head.retain(|field| !is_not_sent_on(field.name));
    head.push(Name::CONTENT_TYPE, content_type);
    head.set_scheme(b"http");
    head.set_method(b"POST");
}

/// Whether these are the characters of a host and perhaps a port, without user information (RFC 3986 section 3.2).
pub(in crate::worker) fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(byte))
}

/// Makes a caller's head fit to be sent on.
pub(in crate::worker) fn prepare(head: &mut Head, asked: &GatewayHeaders) {
    // gRPC servers refuse calls without `te`. It says that trailers are understood, and ours are.
    if !asked.has_te {
        head.push(Name::TE, b"trailers");
    }
    if head.scheme().is_none() {
        head.set_scheme(b"http");
    }
    // It says something of the body as the client sends it, which HTTP/2 says by itself.
    head.remove(Name::HOST);
}

/// Makes the head that of one attempt: with the time that is left now, the number of attempts before it, and its place
/// in the trace.
pub(in crate::worker) fn upstream(
    head: &mut Head,
    address: EndpointAddress,
    left: Option<Duration>,
    previous: u32,
    traceparent: Option<TraceParent>,
) -> Result<(), Failure> {
    if previous > 0 {
        head.insert(Name::GRPC_PREVIOUS_RPC_ATTEMPTS, itoa::Buffer::new().format(previous).as_bytes());
    }
    if let Some(left) = left {
        if left.is_zero() {
            return Err(Failure::DeadlineExceeded);
        }
        head.remove(Name::GRPC_TIMEOUT);
        // The value differs each time: it would only push repeated fields out of the peer's table.
        head.push_sensitive(Name::GRPC_TIMEOUT, timeout::format(left).as_ref());
    }
    if let Some(traceparent) = traceparent {
        head.remove(Name::TRACEPARENT);
        head.push_sensitive(Name::TRACEPARENT, &traceparent.to_bytes());
    }
    // gRPC servers want an authority.
    if head.authority().is_none() {
        match address {
            EndpointAddress::Ip(address) => head.set_authority(address.to_string().as_bytes()),
            EndpointAddress::Unix(_) => head.set_authority(b"localhost"),
        }
    }
    Ok(())
}

/// Makes the head that of a call of the gateway's own.
pub(in crate::worker) fn of_own_call(head: &mut Head, path: &[u8], authority: &str, timeout: Duration) {
    head.set_method(b"POST");
    head.set_scheme(b"http");
    head.set_path(path);
    head.set_authority(authority.as_bytes());
    head.push(Name::TE, b"trailers");
    head.push(Name::CONTENT_TYPE, b"application/grpc");
    head.push_sensitive(Name::GRPC_TIMEOUT, timeout::format(timeout).as_ref());
}

/// Reads the head of a response; gives the code if it has one already.
pub(in crate::worker) fn read_response(head: &Head) -> Result<Option<Code>, AttemptError> {
    let code = status(head);
    if code.is_some() || (head.status() == Some(200) && is_grpc(head)) {
        Ok(code)
    } else {
        Err(AttemptError::terminal(Failure::UpstreamNotGrpc(head.status().unwrap_or(0))))
    }
}

/// The pushback of a service: whether and when the call may be tried again.
pub(in crate::worker) fn pushback(head: &Head) -> Pushback {
    head.get(Name::GRPC_RETRY_PUSHBACK_MS).map_or(Pushback::None, Pushback::from_header)
}

/// The code in a head or in trailers.
pub(in crate::worker) fn status(head: &Head) -> Option<Code> {
    head.get(Name::GRPC_STATUS).map(Code::from_header)
}

/// Puts another status into trailers.
pub(in crate::worker) fn set_status(trailers: &mut Head, code: Code, message: &str) {
    trailers.insert(Name::GRPC_STATUS, itoa::Buffer::new().format(code.number()).as_bytes());
    trailers.insert(Name::GRPC_MESSAGE, message.as_bytes());
}

/// The head of a response with this HTTP status.
pub(in crate::worker) fn response(heads: &std::rc::Rc<Heads>, status: u16) -> Head {
    let mut head = heads.head();
    head.set_status(status);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ContentCoding;

    fn request() -> Head {
        let mut head = Heads::new().head();
        head.set_method(b"POST");
        head.set_scheme(b"http");
        head.set_authority(b"h");
        head.set_path(b"/a.B/C");
        head
    }

    fn head(change: impl FnOnce(&mut Head)) -> Result<GatewayHeaders, Failure> {
        let mut head = request();
        head.push(Name::CONTENT_TYPE, b"application/grpc");
        change(&mut head);
        let asked = read(&head, 10, DownstreamProtocol::Grpc)?;
        check_grpc(&head, DownstreamProtocol::Grpc)?;
        Ok(asked)
    }

    #[test]
    fn a_port_is_cut_off_where_there_is_one_host() {
        for (authority, expected) in [
            ("h", "h"),
            ("h:80", "h"),
            ("h:", "h:"),
            ("h:x", "h:x"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:1,127.0.0.1:2", "127.0.0.1:1,127.0.0.1:2"),
            ("%2Ftmp%2Fx.sock", "%2Ftmp%2Fx.sock"),
        ] {
            let mut head = request();
            head.set_authority(authority.as_bytes());
            assert_eq!(host(&head), expected.as_bytes(), "{authority}");
        }
    }

    #[test]
    fn what_connection_names_is_not_sent_on() {
        let mut head = request();
        for (name, value) in [
            (&b"connection"[..], &b"x-one, X-Two"[..]),
            (b"connection", b"x-three"),
            (b"x-one", b"1"),
            (b"x-two", b"2"),
            (b"x-three", b"3"),
            (b"x-four", b"4"),
            (b"keep-alive", b"5"),
        ] {
            head.push_named(name, value);
        }
        web_to_grpc(&mut head);
        let names: Vec<&[u8]> = head.iter().map(|field| field.name_bytes).collect();
        assert_eq!(names, [&b"x-four"[..], b"content-type"]);
    }

    #[test]
    fn only_web_callers_keep_format_and_encodings() {
        let asked = || {
            let mut head = request();
            head.push(Name::CONTENT_TYPE, b"application/grpc-web-text+json;charset=utf-8");
            head.push(Name::GRPC_ENCODING, b"gzip");
            head.push(Name::GRPC_ACCEPT_ENCODING, b"gzip,br");
            head
        };
        let fields = |head: &Head| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            head.iter().map(|field| (text(field.name_bytes), text(field.value))).collect::<Vec<_>>()
        };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut web = asked();
        web_to_grpc(&mut web);
        let wanted = [
            ("grpc-encoding", "gzip"),
            ("grpc-accept-encoding", "gzip,br"),
            ("content-type", "application/grpc+json"),
        ];
        assert_eq!(fields(&web), wanted.map(owned));
        let mut json = asked();
        let mut off = GrpcCompression { accept: Vec::new(), request: None, min_message_length: 1 };
        json_to_grpc(&mut json, "/x.Y/Z", &off);
        assert_eq!(fields(&json), [owned(("content-type", "application/grpc"))]);
        let mut compressed = asked();
        (off.accept, off.request) =
            (vec![ContentCoding::Zstd, ContentCoding::Gzip], Some(ContentCoding::Gzip));
        json_to_grpc(&mut compressed, "/x.Y/Z", &off);
        let ours = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "zstd,gzip")];
        assert_eq!(fields(&compressed)[..2], ours.map(owned));
        assert_eq!(json.path(), Some(&b"/x.Y/Z"[..]));
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
            let mut head = request();
            for (name, value) in fields {
                head.push_named(name.as_bytes(), value.as_bytes());
            }
            let asked = read(&head, 10, DownstreamProtocol::Json).map(|asked| asked.timeout);
            assert_eq!(asked, wanted.map(|wanted| wanted.map(Duration::from_millis)), "{fields:?}");
        }
    }

    #[test]
    fn a_head_is_read_or_refused() {
        let set = |name: &'static str, value: &'static str| {
            move |head: &mut Head| {
                head.remove_named(name.as_bytes());
                head.push_named(name.as_bytes(), value.as_bytes());
            }
        };
        assert_eq!(head(|_| ()), Ok(GatewayHeaders::default()));
        assert_eq!(
            head(set("grpc-timeout", "5S")),
            Ok(GatewayHeaders { timeout: Some(Duration::from_secs(5)), ..GatewayHeaders::default() })
        );
        assert_eq!(head(set("grpc-timeout", "5")), Err(Failure::BadTimeout));
        assert_eq!(head(set("grpc-timeout", "123456789m")), Err(Failure::BadTimeout));
        // The service's own headers are not ours to read.
        assert_eq!(head(set("x-request-timeout", "soon")), Ok(GatewayHeaders::default()));
        assert_eq!(head(set("content-type", "application/json")), Err(Failure::NotGrpc));
        assert_eq!(head(set("x-bin", "q6ur")), Ok(GatewayHeaders::default()));
        assert_eq!(head(set("x-bin", "!")), Err(Failure::BadBinaryHeader));
        assert_eq!(head(|head| head.set_method(b"GET")), Err(Failure::NotPost));
        let many = |head: &mut Head| {
            for _ in 0..10 {
                head.push_named(b"x", b"y");
            }
        };
        assert_eq!(head(many), Err(Failure::TooManyHeaders));
    }
}
