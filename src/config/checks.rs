//! Checks of values that several tables have.

use std::collections::HashMap;
use std::time::Duration;

use super::reader::{Table, Value};
use super::spelling;

/// Reports a name that an earlier line has already.
pub(super) fn refuse_second(lines: &mut HashMap<String, u32>, name: &str, value: &Value<'_>) {
    match lines.get(name) {
        Some(line) => value.refuse("must be unique", Some(format!("line {line} has it, too"))),
        None => {
            lines.insert(name.to_owned(), value.line());
        }
    }
}

/// Checks that the longest wait is not below the first.
pub(super) fn check_backoffs(table: &Table<'_>, initial: Duration, max: Duration) {
    if max < initial
        && let Some(value) = table.value("max_backoff").or_else(|| table.value("initial_backoff"))
    {
        let hint = format!("they are {max:?} and {initial:?}");
        value.refuse("max_backoff must not be below initial_backoff", Some(hint));
    }
}

/// The position of a cluster, which has to exist.
pub(super) fn position(name: &str, value: &Value<'_>, clusters: &HashMap<String, usize>) -> Option<usize> {
    let position = clusters.get(name).copied();
    if position.is_none() {
        // In order, so that a file always gives the same hint.
        let mut known: Vec<&str> = clusters.keys().map(String::as_str).collect();
        known.sort_unstable();
        let hint = match spelling::nearest(name, known.iter().copied()) {
            Some(near) => Some(format!("did you mean {near:?}?")),
            None if known.is_empty() => None,
            None if known.len() <= 10 => Some(format!("known are {}", known.join(", "))),
            None => Some(format!("known are {} and {} more", known[..10].join(", "), known.len() - 10)),
        };
        value.refuse("no such cluster", hint);
    }
    position
}
