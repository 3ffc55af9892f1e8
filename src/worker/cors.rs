//! What web pages of other origins may do and read (the Fetch standard's CORS protocol).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::Worker;
use super::request::Call;
use crate::config::{self, AllowOrigins};
use crate::policy::failure::Failure;

/// What pages send besides what they may always send.
const ALLOW_HEADERS: &[&str] = &[
    "content-type",
    "authorization",
    "x-grpc-web",
    "x-user-agent",
    "grpc-timeout",
    "x-request-timeout",
    "traceparent",
    "tracestate",
];

/// What pages may read besides what they may always read.
const EXPOSE_HEADERS: &[&str] =
    &["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "retry-after"];

/// What a listener grants, as the values that are sent.
pub(super) struct Policy {
    origins: AllowOrigins,
    allow_headers: HeaderValue,
    expose_headers: HeaderValue,
    max_age: HeaderValue,
}

/// What is granted to the page that asks.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    origin: HeaderValue,
    expose: HeaderValue,
}

impl Policy {
    /// `None` if pages of other origins are granted nothing.
    pub(super) fn new(settings: &config::Cors) -> Option<Policy> {
        settings.is_on().then(|| Policy {
            origins: settings.allow_origins.clone(),
            allow_headers: list(ALLOW_HEADERS, &settings.allow_headers),
            expose_headers: list(EXPOSE_HEADERS, &settings.expose_headers),
            max_age: HeaderValue::from(settings.max_age.as_secs()),
        })
    }

    /// What the origin that this request names is granted.
    pub(super) fn grant(&self, head: &Parts) -> Option<Granted> {
        let origin = head.headers.get(ORIGIN)?;
        let known = match &self.origins {
            AllowOrigins::Any => true,
            AllowOrigins::These(these) => these.iter().any(|one| origin == one.as_str()),
        };
        known.then(|| Granted { origin: origin.clone(), expose: self.expose_headers.clone() })
    }

    /// The answer to a page that asks what it may do. `allow` is what may be called at this path.
    fn preflight(&self, head: &Parts, allow: Option<HeaderValue>) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        if self.grant(head).is_some() {
            let headers = answer.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow.unwrap_or(HeaderValue::from_static("POST")));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.clone());
            headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        answer
    }
}

/// Whether a browser asks what a page may do.
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Notes what the page that calls may read of the answer. True if the caller only asks what it may do, and has been
/// answered.
pub(super) fn is_asked(worker: &Worker, call: &mut Call, head: &Parts) -> Result<bool, Failure> {
    let policy = call.client.door.cors.as_ref();
    call.reply.extra.granted = policy.and_then(|policy| policy.grant(head));
    if head.method != Method::OPTIONS {
        return Ok(false);
    }
    let allow = worker.transcoder().and_then(|transcoder| transcoder.allowed(head.uri.path()));
    let answer = match (policy, allow) {
        (Some(policy), allow) if is_preflight(head) => policy.preflight(head, allow),
        (_, Some(allow)) => {
            let mut answer = Response::new(());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer.headers_mut().insert(ALLOW, allow);
            answer
        }
        (_, None) => return Ok(false),
    };
    call.reply.send_plain(answer)?;
    Ok(true)
}

impl Granted {
    /// Says so in the head of an answer.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

fn list(ours: &[&str], more: &[String]) -> HeaderValue {
    let names: Vec<&str> = ours.iter().copied().chain(more.iter().map(String::as_str)).collect();
    HeaderValue::try_from(names.join(", ")).expect("names of header fields, checked with the configuration")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;

    use super::*;

    fn policy(origins: &[&str]) -> Option<Policy> {
        let allow_origins = match origins {
            ["*"] => AllowOrigins::Any,
            _ => AllowOrigins::These(origins.iter().map(ToString::to_string).collect()),
        };
        Policy::new(&config::Cors {
            allow_origins,
            allow_headers: vec!["x-mine".to_owned()],
            expose_headers: Vec::new(),
            max_age: Duration::from_secs(60),
        })
    }

    fn head(method: Method, origin: Option<&'static str>, asks: bool) -> Parts {
        let mut request = Request::builder().method(method).uri("/a.B/C");
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        if asks {
            request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
        }
        request.body(()).expect("valid").into_parts().0
    }

    #[test]
    fn origins_are_granted_by_name_or_all() {
        assert!(policy(&[]).is_none());
        let named = policy(&["https://a.example"]).expect("it grants something");
        let every = policy(&["*"]).expect("it grants something");
        for (origin, by_name, by_all) in [
            (Some("https://a.example"), true, true),
            (Some("https://b.example"), false, true),
            (Some("https://a.example.evil"), false, true),
            (None, false, false),
        ] {
            let head = head(Method::POST, origin, false);
            assert_eq!(named.grant(&head).is_some(), by_name, "{origin:?}");
            assert_eq!(every.grant(&head).is_some(), by_all, "{origin:?}");
        }
    }

    #[test]
    fn a_preflight_is_answered_and_nothing_else_is() {
        let policy = policy(&["https://a.example"]).expect("it grants something");
        assert!(!is_preflight(&head(Method::POST, Some("https://a.example"), true)));
        assert!(!is_preflight(&head(Method::OPTIONS, Some("https://a.example"), false)));
        let asked = head(Method::OPTIONS, Some("https://a.example"), true);
        assert!(is_preflight(&asked));
        let answer = policy.preflight(&asked, None);
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        let allowed = answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().expect("text");
        assert!(allowed.contains("x-grpc-web") && allowed.contains("x-mine"));
        let refused = policy.preflight(&head(Method::OPTIONS, Some("https://b.example"), true), None);
        assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_HEADERS));
    }
}
