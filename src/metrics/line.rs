//! A record as a line of JSON, for the access log and for those who watch calls live.

use std::fmt::{self, Display, Formatter, Write as _};

use super::record::{Record, STAGE_NAMES};
use super::texts::TextField;
use super::{CallLabels, GRPC_STATUS_NAMES};

/// A line's record, and what has to be known besides.
struct Line<'a> {
    record: &'a Record,
    worker: usize,
    labels: &'a CallLabels,
    headers: &'a Headers,
}

/// The names of chosen fields: of requests, then of responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Of requests.
    pub request: Vec<String>,
    /// Of the heads of responses.
    pub response: Vec<String>,
}

/// The fields of lines that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(u64);

/// A field: its name, and how its value is written; false where it is left out.
type Field = (&'static str, fn(&mut String, &Line<'_>) -> bool);

/// All fields, in the order of a line.
#[rustfmt::skip]
const FIELDS: &[Field] = &[
    ("time", |out, line| put(out, Quoted(Rfc3339(line.record.began_unix_us)))),
    ("worker", |out, line| put(out, line.worker)),
    ("client", |out, line| put(out, OrNull(line.record.client.map(Quoted)))),
    ("protocol", |out, line| put(out, Text(line.record.protocol_name()))),
    ("method", |out, line| put(out, Text(line.record.method_name()))),
    ("version", |out, line| put(out, Text(line.record.version_name()))),
    ("authority", |out, line| text(out, line, TextField::Authority)),
    ("path", |out, line| put(out, Text(&line.record.texts.show(TextField::Path).unwrap_or_default()))),
    ("grpc_method", grpc_method),
    ("http_route", |out, line| optional(out, line, TextField::HttpRoute)),
    ("route", |out, line| put(out, name_of(&line.labels.route))),
    ("cluster", |out, line| put(out, name_of(&line.labels.cluster))),
    ("upstream", |out, line| put(out, OrNull(line.record.upstream.map(Quoted)))),
    ("attempts", |out, line| put(out, line.record.attempts)),
    ("grpc_status", |out, line| put(out, Text(status(line.record)))),
    ("http_status", |out, line| put(out, OrNull((line.record.http_status != 0).then_some(line.record.http_status)))),
    ("flags", |out, line| put(out, Text(if line.record.flags().is_empty() { "-" } else { line.record.flags() }))),
    ("bytes_received", |out, line| put(out, line.record.bytes_received)),
    ("bytes_sent", |out, line| put(out, line.record.bytes_sent)),
    ("routed_us", |out, line| put(out, OrNull(line.record.routed_us))),
    ("connected_us", |out, line| put(out, OrNull(line.record.connected_us))),
    ("answered_us", |out, line| put(out, OrNull(line.record.answered_us))),
    ("took_us", |out, line| put(out, line.record.took_us)),
    ("queue_us", |out, line| stage(out, line, 0)),
    ("connect_us", |out, line| stage(out, line, 1)),
    ("receive_us", |out, line| stage(out, line, 2)),
    ("upstream_us", |out, line| stage(out, line, 3)),
    ("transcode_us", |out, line| stage(out, line, 4)),
    ("write_us", |out, line| stage(out, line, 5)),
    ("user_agent", |out, line| text(out, line, TextField::UserAgent)),
    ("request_id", |out, line| text(out, line, TextField::RequestId)),
    ("request_headers", |out, line| chosen(out, line, &line.headers.request, 0)),
    ("response_headers", |out, line| chosen(out, line, &line.headers.response, line.headers.request.len())),
    ("trace_id", |out, line| line.record.trace_id != 0 && put(out, Quoted(format_args!("{:032x}", line.record.trace_id)))),
    ("span_id", |out, line| line.record.span_id != 0 && put(out, Quoted(format_args!("{:016x}", line.record.span_id)))),
];

const _: () = assert!(FIELDS.len() <= 64 && STAGE_NAMES.len() == 6);

impl Fields {
    /// All of them.
    pub const ALL: Fields = Fields(u64::MAX);

    /// The fields of these names; `None` for none. Names that are none are left out.
    pub fn of(names: &[String]) -> Fields {
        if names.is_empty() {
            return Fields::ALL;
        }
        let is_wanted = |name: &str| names.iter().any(|wanted| wanted == name);
        let bits = FIELDS.iter().enumerate().filter(|(_, (name, _))| is_wanted(name));
        Fields(bits.fold(0, |bits, (at, _)| bits | 1 << at))
    }

    /// The names of all fields.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|(name, _)| *name)
    }
}

/// Appends a line.
pub fn write(
    out: &mut String,
    (worker, record): (usize, &Record),
    labels: &CallLabels,
    headers: &Headers,
    fields: Fields,
) {
    let line = Line { record, worker, labels, headers };
    let mut separator = '{';
    for (at, (name, write)) in FIELDS.iter().enumerate() {
        if fields.0 >> at & 1 == 0 {
            continue;
        }
        let before = out.len();
        put(out, format_args!("{separator}\"{name}\":"));
        if write(out, &line) {
            separator = ',';
        } else {
            out.truncate(before);
        }
    }
    out.push_str(if separator == '{' { "{}\n" } else { "}\n" });
}

/// The name of the status that a call ended with.
pub fn status(record: &Record) -> &'static str {
    GRPC_STATUS_NAMES.get(usize::from(record.code)).copied().unwrap_or("UNKNOWN")
}

/// Writing to a String cannot fail.
fn put(out: &mut String, value: impl Display) -> bool {
    let _ = write!(out, "{value}");
    true
}

fn text(out: &mut String, line: &Line<'_>, field: TextField) -> bool {
    let text = line.record.texts.show(field);
    put(out, OrNull(text.as_deref().map(Text)))
}

/// The time of a stage; nobody knows it of a call that was not timed.
fn stage(out: &mut String, line: &Line<'_>, at: usize) -> bool {
    put(out, OrNull(line.record.is_timed.then_some(line.record.stages_us[at])))
}

fn optional(out: &mut String, line: &Line<'_>, field: TextField) -> bool {
    line.record.texts.show(field).is_some_and(|text| put(out, Text(&text)))
}

fn grpc_method(out: &mut String, line: &Line<'_>) -> bool {
    let method = String::from_utf8_lossy(line.record.grpc_method());
    put(out, OrNull((!method.is_empty()).then_some(Text(&method))))
}

fn chosen(out: &mut String, line: &Line<'_>, names: &[String], first: usize) -> bool {
    let mut separator = '{';
    for (number, name) in (first..).zip(names) {
        if let Some(value) = line.record.texts.show(TextField::Header(number)) {
            put(out, format_args!("{separator}{}:{}", Text(name), Text(&value)));
            separator = ',';
        }
    }
    separator == ',' && put(out, '}')
}

/// A value, or JSON's null.
struct OrNull<T>(Option<T>);

impl<T: Display> Display for OrNull<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// A JSON string of what needs no escapes.
struct Quoted<T>(T);

impl<T: Display> Display for Quoted<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// A JSON string.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0;
        while let Some(at) = rest.find(|c: char| c < ' ' || matches!(c, '"' | '\\')) {
            let (plain, odd) = rest.split_at(at);
            f.write_str(plain)?;
            let mut letters = odd.chars();
            match letters.next() {
                Some(quoted @ ('"' | '\\')) => write!(f, "\\{quoted}")?,
                Some(control) => write!(f, "\\u{:04x}", u32::from(control))?,
                None => {}
            }
            rest = letters.as_str();
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

/// None where a call has no route.
fn name_of(label: &str) -> OrNull<Text<'_>> {
    OrNull((!label.is_empty()).then_some(Text(label)))
}

/// Microseconds since 1970 as a date and time in UTC.
struct Rfc3339(u64);

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years that begin with March, so that the day which is not always there is the last; 400 of them are a cycle.
        let days = days + 719_468;
        let (cycle, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = cycle * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_dates() {
        for (unix_us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_000_001, "2024-02-29T23:59:59.000001Z"),
            (1_767_225_600_000_000, "2026-01-01T00:00:00.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Rfc3339(unix_us).to_string(), text);
        }
    }

    fn record() -> Record {
        let mut record = Record {
            client: Some("[::1]:5".parse().unwrap()),
            upstream: Some(std::net::SocketAddr::from(([10, 0, 0, 7], 1)).into()),
            attempts: 2,
            code: 14,
            flags: *b"UF\0\0\0\0\0\0",
            routed_us: Some(3),
            took_us: 9,
            method: 3,
            protocol: 2,
            version: 20,
            http_status: 200,
            stages_us: [1, 2, 3, 4, 5, 6],
            is_timed: true,
            trace_id: 0xabc,
            span_id: 0x12,
            ..Record::default()
        };
        record.set_path("/a/\"\\\u{1}é".as_bytes());
        for (field, text) in [
            (TextField::GrpcMethod, "/a.B/C"),
            (TextField::HttpRoute, "/a/{b}"),
            (TextField::Authority, "api.example.com"),
            (TextField::UserAgent, "curl/8"),
            (TextField::RequestId, "id-7"),
            (TextField::Header(0), "blue"),
            (TextField::Header(2), "tea\tpot"),
        ] {
            record.texts.set(field, text.as_bytes());
        }
        record
    }

    fn headers() -> Headers {
        Headers { request: vec!["x-tenant".into(), "x-none".into()], response: vec!["server".into()] }
    }

    fn line(record: &Record, labels: &CallLabels, fields: Fields) -> serde_json::Value {
        let mut text = String::new();
        write(&mut text, (7, record), labels, &headers(), fields);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn a_line_is_json_with_every_field() {
        let labels = CallLabels { route: "a \"b\"".into(), cluster: "c".into(), method: String::new() };
        let all = line(&record(), &labels, Fields::ALL);
        let wanted = serde_json::json!({
            "time": "1970-01-01T00:00:00.000000Z", "worker": 7, "client": "[::1]:5", "protocol": "json",
            "method": "PUT", "version": "2", "http_status": 200, "path": "/a/\"\\\u{1}é",
            "grpc_method": "/a.B/C", "http_route": "/a/{b}", "authority": "api.example.com",
            "user_agent": "curl/8", "request_id": "id-7", "request_headers": { "x-tenant": "blue" },
            "response_headers": { "server": "tea\tpot" },
            "route": "a \"b\"", "cluster": "c", "upstream": "10.0.0.7:1", "attempts": 2,
            "grpc_status": "UNAVAILABLE", "flags": "UF", "bytes_received": 0, "bytes_sent": 0, "routed_us": 3,
            "connected_us": null, "answered_us": null, "took_us": 9, "trace_id": format!("{:032x}", 0xabc),
            "span_id": "0000000000000012", "queue_us": 1, "connect_us": 2, "receive_us": 3, "upstream_us": 4,
            "transcode_us": 5, "write_us": 6,
        });
        assert_eq!(all, wanted);
        let keys = all.as_object().unwrap().len();
        assert_eq!(keys, FIELDS.len(), "each field of a line is in this test");

        let mut plain = Record { protocol: 0, ..Record::default() };
        plain.set_path("é".repeat(100).as_bytes());
        let plain = line(&plain, &CallLabels::default(), Fields::ALL);
        assert_eq!(plain["route"], serde_json::Value::Null);
        assert!(plain["path"].as_str().unwrap().ends_with("é…"), "{plain}");
        assert!(plain.get("http_route").is_none() && plain.get("trace_id").is_none(), "{plain}");
    }

    #[test]
    fn a_line_has_the_fields_that_are_chosen() {
        let chosen = ["grpc_status", "path", "nonsense"].map(str::to_owned);
        let line = line(&Record::default(), &CallLabels::default(), Fields::of(&chosen));
        assert_eq!(line, serde_json::json!({ "path": "", "grpc_status": "OK" }));
        assert_eq!(Fields::of(&[]), Fields::ALL);
    }
}
