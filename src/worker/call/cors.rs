//! CORS: permissions of web pages from other origins, as the Fetch standard defines them.

use std::rc::Rc;

use super::headers;
use crate::config::{self, AllowOrigins};
use crate::http2::{Head, Heads, Name};

/// Request headers that pages may send beyond those that Fetch always allows.
const ALLOW_HEADERS: &[&str] = &[
    "content-type",
    "authorization",
    "x-grpc-web",
    "x-user-agent",
    "grpc-timeout",
    "grpc-encoding",
    "grpc-accept-encoding",
    "x-request-timeout",
    "connect-protocol-version",
    "connect-timeout-ms",
    "connect-content-encoding",
    "connect-accept-encoding",
    "traceparent",
    "tracestate",
];

/// Response headers that pages may read beyond those that Fetch always exposes.
const EXPOSE_HEADERS: &[&str] = &[
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "grpc-encoding",
    "grpc-accept-encoding",
    "connect-content-encoding",
    "retry-after",
];

/// A listener's grants, as the header values that are sent.
pub(in crate::worker) struct Policy {
    origins: AllowOrigins,
    allow_headers: String,
    expose_headers: Rc<str>,
    max_age: String,
}

/// The grant to the origin of a request.
#[derive(Clone, Debug)]
pub(in crate::worker) struct Granted {
    /// `None` if this origin is granted nothing: caches have to know that another one may be.
    origin: Option<Box<[u8]>>,
    expose: Rc<str>,
}

impl Policy {
    /// `None` if pages of other origins are granted nothing.
    pub(in crate::worker) fn new(settings: &config::Cors) -> Option<Policy> {
        settings.is_on().then(|| Policy {
            origins: settings.allow_origins.clone(),
            allow_headers: list(ALLOW_HEADERS, &settings.allow_headers),
            expose_headers: list(EXPOSE_HEADERS, &settings.expose_headers).into(),
            max_age: settings.max_age.as_secs().to_string(),
        })
    }

    /// The grant to the origin that this request names; `None` if it names none.
    pub(in crate::worker) fn grant(&self, head: &Head) -> Option<Granted> {
        let origin = head.get(Name::ORIGIN)?;
        let known = match &self.origins {
            AllowOrigins::Any => true,
            AllowOrigins::These(these) => these.iter().any(|one| origin == one.as_bytes()),
        };
        Some(Granted { origin: known.then(|| origin.into()), expose: Rc::clone(&self.expose_headers) })
    }

    /// Answers a page's preflight request. `allow` lists the methods of this path.
    fn preflight(&self, head: &Head, allow: Option<&str>, answer: &mut Head) {
        if self.grant(head).is_some_and(|granted| granted.origin.is_some()) {
            answer.push(Name::ACCESS_CONTROL_ALLOW_METHODS, allow.unwrap_or("POST").as_bytes());
            answer.push(Name::ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.as_bytes());
            answer.push(Name::ACCESS_CONTROL_MAX_AGE, self.max_age.as_bytes());
        }
    }
}

/// Whether the request is a browser's preflight.
fn is_preflight(head: &Head) -> bool {
    head.method() == Some(b"OPTIONS") && head.get(Name::ACCESS_CONTROL_REQUEST_METHOD).is_some()
}

/// The response to a preflight or an OPTIONS of the gateway's own; `None` for a request to a service. `allow` lists the
/// methods of this path.
pub(in crate::worker) fn answer_options(
    policy: Option<&Policy>,
    head: &Head,
    allow: Option<&str>,
    heads: &Rc<Heads>,
) -> Option<Head> {
    let mut response = headers::response(heads, 204);
    match (policy, allow) {
        (Some(policy), allow) if is_preflight(head) => policy.preflight(head, allow, &mut response),
        (_, Some(allow)) => response.push(Name::ALLOW, allow.as_bytes()),
        (_, None) => return None,
    }
    Some(response)
}

impl Granted {
    /// Adds the grant to the head of a response.
    pub(in crate::worker) fn add_to(&self, head: &mut Head) {
        if let Some(origin) = &self.origin {
            head.insert(Name::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            head.insert(Name::ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.as_bytes());
        }
        head.push(Name::VARY, b"origin");
    }
}

fn list(ours: &[&str], more: &[String]) -> String {
    let names: Vec<&str> = ours.iter().copied().chain(more.iter().map(String::as_str)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    fn head(method: &str, origin: Option<&str>, asks: bool) -> Head {
        let mut head = Heads::new().head();
        head.set_method(method.as_bytes());
        head.set_path(b"/a.B/C");
        if let Some(origin) = origin {
            head.push(Name::ORIGIN, origin.as_bytes());
        }
        if asks {
            head.push(Name::ACCESS_CONTROL_REQUEST_METHOD, b"POST");
        }
        head
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
            let head = head("POST", origin, false);
            for (policy, wanted) in [(&named, by_name), (&every, by_all)] {
                let mut response = Heads::new().head();
                policy.grant(&head).inspect(|granted| granted.add_to(&mut response));
                let granted = response.get(Name::ACCESS_CONTROL_ALLOW_ORIGIN);
                assert_eq!(
                    granted.map(<[u8]>::to_vec),
                    origin.filter(|_| wanted).map(Vec::from),
                    "{origin:?}"
                );
                // A cache must not hand the response to one origin to another.
                assert_eq!(response.get(Name::VARY).is_some(), origin.is_some(), "{origin:?}");
            }
        }
    }

    #[test]
    fn a_preflight_is_answered_and_nothing_else_is() {
        let policy = policy(&["https://a.example"]).expect("it grants something");
        assert!(!is_preflight(&head("POST", Some("https://a.example"), true)));
        assert!(!is_preflight(&head("OPTIONS", Some("https://a.example"), false)));
        let asked = head("OPTIONS", Some("https://a.example"), true);
        assert!(is_preflight(&asked));
        let answered = |asked: &Head| {
            let mut answer = Heads::new().head();
            policy.preflight(asked, None, &mut answer);
            answer
                .get(Name::ACCESS_CONTROL_ALLOW_HEADERS)
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let allowed = answered(&asked).expect("it is granted something");
        assert!(allowed.contains("x-grpc-web") && allowed.contains("x-mine"));
        assert_eq!(answered(&head("OPTIONS", Some("https://b.example"), true)), None);
    }
}
