//! Explains in words why a route does not take a call. For people; calls go by the index.

use http::HeaderMap;

use super::rule::{self, Pseudo, Question, matches};
use super::table::HOST_BYTES_MAX;
use crate::config::{PathMatch, Percent, Route, ValueMatch, ValueMatcher};

/// The first condition of a route that a call does not meet; none if the route matches.
pub fn why_not(route: &Route, question: &Question<'_, HeaderMap>) -> Option<String> {
    let matching = &route.matching;
    let (path, host) = (String::from_utf8_lossy(question.path), String::from_utf8_lossy(question.host));
    path_differs(&matching.path, &path)
        .or_else(|| host_differs(matching.host.as_deref()?, &host))
        .or_else(|| {
            matching.headers.iter().find_map(|(name, value)| header_differs(name, value, question.headers))
        })
        .or_else(|| {
            matching.header_matchers.iter().find_map(|it| field_differs(it, question.headers, &question.came))
        })
        .or_else(|| {
            matching.query_parameters.iter().find_map(|it| parameter_differs(it, question.came.query()))
        })
        .or_else(|| {
            let fraction = matching.runtime_fraction.filter(|fraction| question.draw >= *fraction)?;
            Some(format!("it takes {} % of such calls, by chance", Percent(fraction)))
        })
}

fn path_differs(wanted: &PathMatch, path: &str) -> Option<String> {
    let differs = || match wanted {
        PathMatch::Path(wanted) => format!("the path is not {wanted}"),
        PathMatch::Prefix(prefix) => format!("the path does not begin with {prefix}"),
        PathMatch::SeparatedPrefix(prefix) => format!("the path is neither {prefix} nor below it"),
        PathMatch::Service(service) => format!("the path does not begin with /{service}/"),
        PathMatch::Regex(regex) => format!("the path as a whole does not match {}", regex.as_str()),
    };
    (!wanted.takes(path)).then(differs)
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

fn field_differs(wanted: &ValueMatcher, headers: &HeaderMap, came: &Pseudo<'_>) -> Option<String> {
    let is_there = match came.get(&wanted.name) {
        Some(value) => value.is_some(),
        None => headers.contains_key(wanted.name.as_str()),
    };
    let is_met = rule::meets(headers, came, wanted, &mut Vec::new());
    (!is_met).then(|| value_differs(wanted, "header", is_there))
}

fn parameter_differs(wanted: &ValueMatcher, query: &[u8]) -> Option<String> {
    let value = rule::parameter(query, &wanted.name);
    (!wanted.meets(value)).then(|| value_differs(wanted, "query parameter", value.is_some()))
}

fn value_differs(wanted: &ValueMatcher, kind: &str, is_there: bool) -> String {
    let name = &wanted.name;
    let not = if wanted.invert { "" } else { "not " };
    let condition = match &wanted.value {
        ValueMatch::Present(_) if is_there => return format!("there is a {kind} {name}"),
        _ if !is_there => return format!("there is no {kind} {name}"),
        ValueMatch::Exact(text) => format!("is {not}{text:?}"),
        ValueMatch::Prefix(text) => format!("{} with {text:?}", verb("begins", "begin", wanted)),
        ValueMatch::Suffix(text) => format!("{} with {text:?}", verb("ends", "end", wanted)),
        ValueMatch::Contains(text) => format!("{} {text:?}", verb("contains", "contain", wanted)),
        ValueMatch::Regex(regex) => {
            format!("as a whole {} {}", verb("matches", "match", wanted), regex.as_str())
        }
        ValueMatch::Range(from, to) => format!("is {not}a whole number from {from} to below {to}"),
        ValueMatch::Present(_) => "is there".to_owned(),
    };
    format!("the {kind} {name} {condition}")
}

/// The verb of a condition that is not met.
fn verb(does: &str, do_: &str, wanted: &ValueMatcher) -> String {
    if wanted.invert { does.to_owned() } else { format!("does not {do_}") }
}
