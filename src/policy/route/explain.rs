//! Explains in words why a route does not take a call. For people; calls go by the index.

use http::HeaderMap;

use super::{HOST_BYTES_MAX, matches};
use crate::config::{PathMatch, Route};

/// The first condition of a route that a call does not meet; none if the route matches. `host` is the authority
/// without its port, `path` is without query.
pub fn why_not(route: &Route, path: &str, host: &str, headers: &HeaderMap) -> Option<String> {
    path_differs(&route.matching.path, path)
        .or_else(|| host_differs(route.matching.host.as_deref()?, host))
        .or_else(|| {
            route.matching.headers.iter().find_map(|(name, value)| header_differs(name, value, headers))
        })
}

fn path_differs(wanted: &PathMatch, path: &str) -> Option<String> {
    match wanted {
        PathMatch::Path(wanted) => (path != wanted).then(|| format!("the path is not {wanted}")),
        PathMatch::Prefix(prefix) => {
            (!path.starts_with(prefix)).then(|| format!("the path does not begin with {prefix}"))
        }
        PathMatch::Service(service) => {
            let rest = path.strip_prefix('/').and_then(|rest| rest.strip_prefix(service.as_str()));
            let inside = rest.is_some_and(|rest| rest.starts_with('/'));
            (!inside).then(|| format!("the path does not begin with /{service}/"))
        }
    }
}

fn host_differs(wanted: &str, host: &str) -> Option<String> {
    if host.len() > HOST_BYTES_MAX {
        return Some(format!("the host has more than {HOST_BYTES_MAX} bytes"));
    }
    let host = host.to_ascii_lowercase();
    let wanted = wanted.to_ascii_lowercase();
    match wanted.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') => {
            let below = host.len() > suffix.len() && host.ends_with(suffix);
            (!below).then(|| format!("the host is not below {}", &suffix[1..]))
        }
        _ => (host != wanted).then(|| format!("the host is not {wanted}")),
    }
}

fn header_differs(name: &str, wanted: &str, headers: &HeaderMap) -> Option<String> {
    if matches(headers, name.as_bytes(), wanted.as_bytes()) {
        return None;
    }
    Some(match headers.get_all(name).iter().count() {
        0 => format!("there is no header {name}"),
        1 => format!("the header {name} is not {wanted:?}"),
        count => format!("the {count} headers {name}, joined with commas, are not {wanted:?}"),
    })
}
