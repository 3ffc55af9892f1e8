//! Records of calls and attempts as OTLP's spans, with the attributes of OpenTelemetry's semantic conventions.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::config::EndpointAddress;
use crate::metrics::record::{Record, STAGE_NAMES, Subject};
use crate::metrics::texts::TextField;
use crate::metrics::{CallLabels, GRPC_STATUS_NAMES};

/// W3C's flags of a span that is recorded; whether its parent is elsewhere is known, and that it is.
const SAMPLED: u32 = 0x01;
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;

/// Codes for which the server is to blame: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
/// DATA_LOSS, by the semantic conventions of gRPC.
const SERVER_ERRORS: [u8; 6] = [2, 4, 12, 13, 14, 15];

/// A record of worker number `worker` as a span.
pub(super) fn span(record: &Record, worker: usize, labels: &CallLabels) -> Span {
    let begun = record.began_unix_us * 1000;
    let is_call = record.subject == Subject::Call;
    let remote = if is_call && record.parent_id != 0 { PARENT_REMOTE } else { 0 };
    let kind = if is_call { SpanKind::Server } else { SpanKind::Client };
    Span {
        trace_id: record.trace_id.to_be_bytes().to_vec(),
        span_id: record.span_id.to_be_bytes().to_vec(),
        parent_span_id: if record.parent_id == 0 {
            Vec::new()
        } else {
            record.parent_id.to_be_bytes().to_vec()
        },
        flags: SAMPLED | PARENT_KNOWN | remote,
        name: name(record, labels),
        kind: kind.into(),
        start_time_unix_nano: begun,
        end_time_unix_nano: begun + record.took_us * 1000,
        attributes: attributes(record, worker, labels),
        status: is_error(record)
            .then(|| Status { code: StatusCode::Error.into(), message: status_name(record).to_owned() }),
        ..Span::default()
    }
}

fn status_name(record: &Record) -> &'static str {
    GRPC_STATUS_NAMES.get(usize::from(record.code)).copied().unwrap_or("UNKNOWN")
}

fn is_error(record: &Record) -> bool {
    match record.subject {
        Subject::Attempt => record.code != 0,
        // A stream may fail after its head has said 200.
        Subject::Call if record.is_json() => {
            record.http_status >= 500 || (record.http_status < 300 && SERVER_ERRORS.contains(&record.code))
        }
        Subject::Call => SERVER_ERRORS.contains(&record.code),
    }
}

/// Of few values, whatever clients send.
fn name(record: &Record, labels: &CallLabels) -> String {
    let is_rpc = record.subject == Subject::Attempt || !record.is_json();
    match (is_rpc, labels.route.is_empty()) {
        (true, true) => "grpc".to_owned(),
        (true, false) => String::from_utf8_lossy(record.path()).trim_start_matches('/').to_owned(),
        (false, true) => record.method_name().to_owned(),
        (false, false) => {
            let rule = record.texts.show(TextField::HttpRoute);
            format!("{} {}", record.method_name(), rule.as_deref().unwrap_or(&labels.route))
        }
    }
}

fn attributes(record: &Record, worker: usize, labels: &CallLabels) -> Vec<KeyValue> {
    let mut all = Attributes(Vec::with_capacity(24));
    let path = String::from_utf8_lossy(record.path());
    let is_rpc = record.subject == Subject::Attempt || !record.is_json();
    let called = if record.subject == Subject::Attempt { record.path() } else { record.grpc_method() };
    let called = String::from_utf8_lossy(if called.is_empty() && is_rpc { record.path() } else { called });
    if let Some((service, method)) = called.trim_start_matches('/').split_once('/') {
        all.text("rpc.service", service);
        all.text("rpc.method", method);
    }
    if is_rpc {
        all.text("rpc.system", "grpc");
        all.number("rpc.grpc.status_code", record.code.into());
    }
    match record.subject {
        Subject::Attempt => {
            all.text("network.protocol.version", "2");
            all.endpoint("server.address", "server.port", record.upstream);
            all.endpoint("network.peer.address", "network.peer.port", record.upstream);
            if record.attempts > 0 {
                all.number("http.request.resend_count", record.attempts.into());
            }
        }
        Subject::Call => {
            all.text("http.request.method", record.method_name());
            all.text("url.path", &path);
            for (key, field) in [
                ("http.route", TextField::HttpRoute),
                ("server.address", TextField::Authority),
                ("user_agent.original", TextField::UserAgent),
                ("ringway.request_id", TextField::RequestId),
            ] {
                record.texts.show(field).into_iter().for_each(|text| all.text(key, &text));
            }
            if !is_rpc && record.code != 0 {
                all.number("rpc.grpc.status_code", record.code.into());
            }
            if record.http_status != 0 {
                all.number("http.response.status_code", record.http_status.into());
            }
            all.text("network.protocol.version", record.version_name());
            all.address("network.peer.address", "network.peer.port", record.client);
            all.number("http.request.body.size", record.bytes_received);
            all.number("http.response.body.size", record.bytes_sent);
            all.number("ringway.attempts", record.attempts.into());
            for (stage, spent) in STAGE_NAMES.iter().zip(record.stages_us) {
                all.number(&["ringway.", stage, "_us"].concat(), spent.into());
            }
        }
    }
    all.text("network.protocol.name", "http");
    all.number("ringway.worker", worker as u64);
    if !labels.route.is_empty() {
        all.text("ringway.route", &labels.route);
        all.text("ringway.cluster", &labels.cluster);
    }
    if !record.flags().is_empty() {
        all.text("ringway.flags", record.flags());
    }
    if is_error(record) {
        all.text("error.type", status_name(record));
    }
    all.0
}

/// Text as an attribute's value.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn text(&mut self, key: &str, value: &str) {
        self.0.push(text(key, value));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.0.push(attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX))));
    }

    /// An endpoint's address. That of a Unix socket is its path, and has no port.
    fn endpoint(&mut self, host: &str, port: &str, address: Option<EndpointAddress>) {
        match address {
            Some(EndpointAddress::Unix(path)) => self.text(host, &path.path().to_string_lossy()),
            Some(EndpointAddress::Ip(address)) => self.address(host, port, Some(address)),
            None => {}
        }
    }

    fn address(&mut self, host: &str, port: &str, address: Option<SocketAddr>) {
        if let Some(address) = address {
            self.text(host, &address.ip().to_string());
            self.number(port, address.port().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::PROTOCOLS;

    fn record(protocol: &str, subject: Subject) -> Record {
        let protocol = PROTOCOLS.iter().position(|name| *name == protocol).unwrap() as u8;
        let mut record = Record {
            subject,
            protocol,
            trace_id: 0xabc,
            span_id: 0x12,
            parent_id: 7,
            began_unix_us: 5,
            took_us: 3,
            method: 3,
            version: 20,
            ..Record::default()
        };
        record.set_path(b"/a.B/C");
        if protocol == PROTOCOLS.iter().position(|name| *name == "json").unwrap() as u8 {
            record.texts.set(TextField::HttpRoute, b"/v1/{name}");
        }
        record
    }

    fn labels() -> CallLabels {
        CallLabels { route: "prefix:/".to_owned(), cluster: "c".to_owned(), method: String::new() }
    }

    #[test]
    fn numbers_and_times_are_what_otlp_says() {
        let span = span(&record("grpc", Subject::Call), 0, &labels());
        assert_eq!((span.trace_id.len(), span.span_id), (16, vec![0, 0, 0, 0, 0, 0, 0, 0x12]));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000, 8_000));
        assert_eq!(span.parent_span_id, [0, 0, 0, 0, 0, 0, 0, 7]);
        let root = super::span(&Record { parent_id: 0, ..record("grpc", Subject::Call) }, 0, &labels());
        assert_eq!((root.parent_span_id.len(), root.flags), (0, 0x101));
    }

    #[test]
    fn names_have_few_values() {
        for (protocol, subject, labels, wanted) in [
            ("grpc", Subject::Call, labels(), "a.B/C"),
            ("grpc-web", Subject::Call, labels(), "a.B/C"),
            ("grpc", Subject::Call, CallLabels::default(), "grpc"),
            ("json", Subject::Call, labels(), "PUT /v1/{name}"),
            ("json", Subject::Call, CallLabels::default(), "PUT"),
            ("json", Subject::Attempt, labels(), "a.B/C"),
        ] {
            assert_eq!(name(&record(protocol, subject), &labels), wanted, "{protocol} {subject:?}");
        }
    }

    #[test]
    fn whose_fault_it_is_decides_what_an_error_is() {
        let errors = |subject| -> Vec<u8> {
            (0..17).filter(|&code| is_error(&Record { code, ..record("grpc", subject) })).collect()
        };
        assert_eq!(errors(Subject::Call), SERVER_ERRORS);
        assert_eq!(errors(Subject::Attempt), (1..17).collect::<Vec<u8>>());
        let json = |http_status| is_error(&Record { http_status, code: 13, ..record("json", Subject::Call) });
        assert_eq!([404, 500, 503].map(json), [false, true, true]);
        // A stream that fails after its head, and one that its client gives up.
        let after_head = |code| is_error(&Record { http_status: 200, code, ..record("json", Subject::Call) });
        assert_eq!([0, 1, 5, 14].map(after_head), [false, false, false, true]);
    }
}
