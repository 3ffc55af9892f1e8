//! Text to checked types: the conditions of routes.

use std::collections::HashSet;

use super::forms::{self, Hint};
use super::matching::{MILLION, Match, PathMatch, ValueMatch, ValueMatcher};
use super::reader::{Table, Value};
use super::regex::Regex;

/// The ways to say which paths a route takes.
const PATH_FORMS: [&str; 5] = ["service", "prefix", "path_separated_prefix", "path", "safe_regex"];

/// The ways to say which values a field or a parameter may have.
const VALUE_FORMS: [&str; 6] = ["exact", "prefix", "suffix", "contains", "safe_regex", "range"];

pub(super) fn matching(table: &Table<'_>, any_path: bool) -> Option<Match> {
    let path = path(table, any_path);
    let host = table.text("host", forms::match_host).map(|(host, _)| host);
    let mut headers = headers(table);
    let mut header_matchers = Vec::new();
    for matcher in matchers(table, "header_matchers", forms::matched_name) {
        match matcher {
            // They are found in an index.
            ValueMatcher { name, value: ValueMatch::Exact(text), invert: false }
                if !name.starts_with(':') =>
            {
                headers.push((name, text));
            }
            other => header_matchers.push(other),
        }
    }
    headers.sort();
    let query_parameters = matchers(table, "query_parameters", forms::parameter);
    let percent = table.ratio("runtime_fraction");
    let millionths = (percent * f64::from(MILLION / 100)).round() as u32;
    let runtime_fraction = (millionths < MILLION).then_some(millionths);
    Some(Match { path: path?, host, headers, header_matchers, query_parameters, runtime_fraction })
}

/// The condition on the path. `any_path`: it need not be that of a method.
fn path(table: &Table<'_>, any_path: bool) -> Option<PathMatch> {
    refuse_several(table, &PATH_FORMS, "line {} already says which paths");
    let exact = if any_path { forms::any_path } else { forms::method_path };
    let given = [
        table.text("service", forms::service).map(|(text, _)| PathMatch::Service(text)),
        table.text("prefix", forms::prefix).map(|(text, _)| PathMatch::Prefix(text)),
        table
            .text("path_separated_prefix", forms::whole_prefix)
            .map(|(text, _)| PathMatch::SeparatedPrefix(text)),
        table.text("path", exact).map(|(text, _)| PathMatch::Path(text)),
        regex(table, "safe_regex").map(PathMatch::Regex),
    ];
    match PATH_FORMS.iter().all(|name| table.value(name).is_none()) {
        true => Some(PathMatch::default()),
        false => given.into_iter().flatten().next(),
    }
}

/// Reports all but the first of these keys, if several are set.
fn refuse_several(table: &Table<'_>, names: &[&str], hint: &str) {
    let mut set: Vec<Value<'_>> = names.iter().filter_map(|name| table.value(name)).collect();
    set.sort_by_key(Value::start);
    for second in set.iter().skip(1) {
        let (last, others) = names.split_last().expect("there are names");
        let wanted = format!("only one of {} and {last}", others.join(", "));
        second.refuse(wanted, Some(hint.replace("{}", &set[0].line().to_string())));
    }
}

/// A regular expression, compiled.
pub(super) fn regex(table: &Table<'_>, name: &str) -> Option<Regex> {
    let (text, value) = table.text(name, forms::reference)?;
    Regex::new(&text).map_err(|wrong| value.refuse(REGEX_WANTED, Some(wrong))).ok()
}

pub(super) const REGEX_WANTED: &str = "must be a regular expression (RE2)";

/// Header fields to match, by name.
fn headers(table: &Table<'_>) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut headers = Vec::new();
    for (written, key, value) in table.names("headers") {
        let name = match forms::header_name(written) {
            Ok(name) => name,
            Err(hint) => {
                key.refuse_key("must be the name of a header field", hint);
                continue;
            }
        };
        if !seen.insert(name.clone()) {
            key.refuse_key(
                "must be unique",
                Some("upper and lower case are the same in names of header fields"),
            );
        }
        if let Some(text) =
            value.form("visible ASCII characters and spaces between them", forms::header_value)
        {
            headers.push((name, text));
        }
    }
    headers
}

/// Conditions on values.
fn matchers(table: &Table<'_>, list: &str, name: fn(&str) -> Result<String, Hint>) -> Vec<ValueMatcher> {
    let tables = table.tables(list);
    let matcher = |table: &Table<'_>| {
        let (name, value) = (table.needed("name", name), value_match(table));
        let invert = table.flag("invert");
        Some(ValueMatcher { name: name?.0, value: value?, invert })
    };
    tables.iter().filter_map(matcher).collect()
}

fn value_match(table: &Table<'_>) -> Option<ValueMatch> {
    refuse_several(table, &VALUE_FORMS, "line {} already says which values");
    let text = |name: &str| table.text(name, forms::part_of_value).map(|(text, _)| text);
    let given = [
        table.text("exact", forms::header_value).map(|(text, _)| ValueMatch::Exact(text)),
        text("prefix").map(ValueMatch::Prefix),
        text("suffix").map(ValueMatch::Suffix),
        text("contains").map(ValueMatch::Contains),
        regex(table, "safe_regex").map(ValueMatch::Regex),
        table.text("range", forms::range).map(|((from, to), _)| ValueMatch::Range(from, to)),
    ];
    let present = table.flag("present");
    if VALUE_FORMS.iter().all(|name| table.value(name).is_none()) {
        return Some(ValueMatch::Present(present));
    }
    if let Some(value) = table.value("present").filter(|_| !present) {
        value.refuse("what is not there has no value", Some("leave out either of them".to_owned()));
    }
    given.into_iter().flatten().next()
}

/// Whether every call that `later` matches is matched by `first`, too. May miss some that overlap by wildcards.
pub(super) fn covers(first: &Match, later: &Match) -> bool {
    let host = first.host.is_none() || first.host == later.host;
    let fraction = match (first.runtime_fraction, later.runtime_fraction) {
        (None, _) => true,
        (Some(_), None) => false,
        // One draw decides about all routes that a call could take.
        (Some(first), Some(later)) => later <= first,
    };
    host && fraction
        && covers_path(&first.path, &later.path)
        && first.headers.iter().all(|header| later.headers.contains(header))
        && first.header_matchers.iter().all(|matcher| asks(matcher, &later.header_matchers, &later.headers))
        && first.query_parameters.iter().all(|matcher| asks(matcher, &later.query_parameters, &[]))
}

/// Whether what meets all of these conditions meets `matcher`, too.
fn asks(matcher: &ValueMatcher, others: &[ValueMatcher], exact: &[(String, String)]) -> bool {
    let is_met =
        |(name, value): &(String, String)| *name == matcher.name && matcher.meets(Some(value.as_bytes()));
    let is_asked = |other: &ValueMatcher| {
        let is_there = |value: &ValueMatch| *value != ValueMatch::Present(false);
        other == matcher
            || other.name == matcher.name
                && match (&matcher.value, &other.value) {
                    // A value that is asked for has to be there.
                    (ValueMatch::Present(true), value) if !matcher.invert => {
                        is_there(value) && !matches!(value, ValueMatch::Present(_))
                    }
                    (_, ValueMatch::Exact(text)) if !other.invert => matcher.meets(Some(text.as_bytes())),
                    _ => false,
                }
    };
    exact.iter().any(is_met) || others.iter().any(is_asked)
}

/// Whether all paths of `later` are among those of `first`.
fn covers_path(first: &PathMatch, later: &PathMatch) -> bool {
    let base = match first {
        PathMatch::Prefix(prefix) => prefix.clone(),
        PathMatch::Service(service) => format!("/{service}/"),
        PathMatch::SeparatedPrefix(prefix) => format!("{prefix}/"),
        PathMatch::Path(_) | PathMatch::Regex(_) => String::new(),
    };
    let beginning = match later {
        PathMatch::Path(path) => return first.takes(path),
        PathMatch::Regex(_) => return base == "/" || first == later,
        PathMatch::SeparatedPrefix(prefix) if matches!(first, PathMatch::SeparatedPrefix(_)) => {
            return first.takes(prefix);
        }
        PathMatch::Prefix(prefix) | PathMatch::SeparatedPrefix(prefix) => prefix.clone(),
        PathMatch::Service(service) => format!("/{service}/"),
    };
    !base.is_empty() && beginning.starts_with(&base)
}
