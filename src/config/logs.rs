//! `[metrics]` and `[access_log]`: how they are read.

use std::time::Duration;

use super::access_log::FIELDS;
use super::forms::{self, Hint};
use super::reader::Table;
use super::units::Time;
use super::{AccessLog, LogSink, Metrics};

pub(super) fn metrics(table: &Table<'_>) -> Metrics {
    let listed = table.list("latency_buckets", forms::latency_bucket);
    let mut latency_buckets: Vec<Duration> = Vec::new();
    for (bound, at) in listed {
        // A sixteenth is what a histogram tells apart.
        if let Some(before) = latency_buckets.last().filter(|before| bound < **before + **before / 16) {
            let before = Time(*before);
            at.refuse(format!("must be above the bound before it, {before}, by a sixteenth of that"), None);
            continue;
        }
        latency_buckets.push(bound);
    }
    Metrics { latency_buckets }
}

pub(super) fn access_log(table: &Table<'_>) -> AccessLog {
    let names = |key: &str, form: fn(&str) -> Result<String, Hint>| {
        table.list(key, form).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let sink = table.text("path", forms::path_of_a_file).map(|(path, _)| match path.as_str() {
        "-" => LogSink::Stdout,
        "stderr" => LogSink::Stderr,
        _ => LogSink::File(path.into()),
    });
    AccessLog {
        sink: sink.unwrap_or(LogSink::Stderr),
        sample: table.ratio("sample"),
        errors: table.flag("errors"),
        stderr_lines_per_second: table.count("stderr_lines_per_second"),
        fields: names("fields", field),
        request_headers: names("request_headers", header),
        response_headers: names("response_headers", header),
    }
}

/// A field of a line.
fn field(text: &str) -> Result<String, Hint> {
    match FIELDS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(Some("see docs/OPERATING.md for their names")),
    }
}

/// A field of a request or a response that may be logged.
fn header(text: &str) -> Result<String, Hint> {
    if ["authorization", "proxy-authorization", "cookie", "set-cookie"].contains(&text) {
        return Err(Some("credentials have no place in a log"));
    }
    forms::header_name(text)
}
