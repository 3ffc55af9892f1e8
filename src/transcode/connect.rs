//! Errors and the ends of streams as the Connect protocol has them, in JSON.
//!
//! Source: "Error end-stream" and "Error codes" of <https://connectrpc.com/docs/protocol>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value, json};

use super::status;
use crate::wire::connect;

/// How a call failed.
#[derive(Clone, Copy, Debug)]
pub struct Error<'a> {
    /// The number of gRPC's code.
    pub code: u8,
    /// The message.
    pub message: &'a str,
    /// A `google.rpc.Status`, as `grpc-status-details-bin` has it.
    pub status: Option<&'a [u8]>,
}

impl Error<'_> {
    /// `{"code": "not_found", "message": "...", "details": [...]}`: the body of a unary response.
    pub fn to_json(&self) -> Vec<u8> {
        self.value().to_string().into_bytes()
    }

    fn value(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), name(self.code).into());
        if !self.message.is_empty() {
            error.insert("message".to_owned(), self.message.into());
        }
        let details: Vec<Value> =
            self.status.map(|bytes| status::anys(bytes).map(detail).collect()).unwrap_or_default();
        if !details.is_empty() {
            error.insert("details".to_owned(), details.into());
        }
        Value::Object(error)
    }
}

/// A detail: the name of its type, and its bytes.
fn detail(any: &[u8]) -> Value {
    let (type_url, value) = status::parts(any);
    let name = type_url.rsplit('/').next().unwrap_or_default();
    json!({ "type": name, "value": STANDARD_NO_PAD.encode(value) })
}

/// The last frame of a stream: how it ended, and its trailers.
pub fn end_of_stream<'a>(
    error: Option<Error<'_>>,
    trailers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<u8> {
    let mut metadata = Map::new();
    for (name, value) in trailers {
        let name = String::from_utf8_lossy(name).into_owned();
        let value = Value::from(String::from_utf8_lossy(value));
        match metadata.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(values) => values.push(value),
            other => *other = value,
        }
    }
    let mut end = Map::new();
    if let Some(error) = error {
        end.insert("error".to_owned(), error.value());
    }
    if !metadata.is_empty() {
        end.insert("metadata".to_owned(), Value::Object(metadata));
    }
    connect::end_frame(Value::Object(end).to_string().as_bytes())
}

/// Connect's name of a code.
fn name(code: u8) -> &'static str {
    const NAMES: [&str; 17] = [
        "ok",
        "canceled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    ];
    NAMES.get(usize::from(code)).unwrap_or(&"unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &[u8]) -> Value {
        serde_json::from_slice(json).expect("JSON")
    }

    #[test]
    fn an_error_has_a_name_a_message_and_details() {
        // Any { type_url: "t/a.B", value: 08 01 } in Status.details.
        let any = b"\x0a\x05t/a.B\x12\x02\x08\x01";
        let status = [&b"\x08\x05\x1a\x0b"[..], any].concat();
        let error = Error { code: 5, message: "no \"such\"", status: Some(&status) };
        let wanted = json!({
            "code": "not_found", "message": "no \"such\"", "details": [{ "type": "a.B", "value": "CAE" }],
        });
        assert_eq!(read(&error.to_json()), wanted);
        let bare = Error { code: 99, message: "", status: Some(b"\xff\xff") };
        assert_eq!(read(&bare.to_json()), json!({ "code": "unknown" }));
    }

    #[test]
    fn a_stream_ends_with_its_trailers() {
        let trailers = [(&b"a"[..], &b"1"[..]), (b"b-bin", b"AAE"), (b"a", b"2")];
        let frame = end_of_stream(None, trailers.into_iter());
        assert_eq!(frame[0], 2);
        assert_eq!(frame[1..5], u32::try_from(frame.len() - 5).expect("short").to_be_bytes());
        assert_eq!(read(&frame[5..]), json!({ "metadata": { "a": ["1", "2"], "b-bin": ["AAE"] } }));
        let error = Error { code: 14, message: "gone", status: None };
        let failed = end_of_stream(Some(error), std::iter::empty());
        assert_eq!(read(&failed[5..]), json!({ "error": { "code": "unavailable", "message": "gone" } }));
        assert_eq!(&end_of_stream(None, std::iter::empty())[5..], b"{}");
    }
}
