//! `google.rpc.Status` in JSON: how a call that failed is told to callers of plain HTTP.

use serde_json::{Map, Value, json};

use super::plan::Schema;
use super::wire::{Raw, Wire};
use super::write;
use crate::config::PrintOptions;

/// The prefix that most type URLs have.
const ANY: &str = "google.protobuf.Any";

/// `details` beyond these are left out: each may take as much text as the descriptors say.
const DETAILS_MAX: usize = 32;

/// `{"code": 5, "message": "...", "details": [...]}`.
///
/// `status` is a `google.rpc.Status` as `grpc-status-details-bin` has it; of it only the details are used. One of a type
/// that no descriptor describes, or that is malformed, is given as its type and its bytes in base64.
pub fn to_json(schema: Option<&Schema>, code: u8, message: &str, status: Option<&[u8]>) -> Vec<u8> {
    let details: Vec<Value> =
        status.map(|status| anys(status).map(|any| detail(schema, any)).collect()).unwrap_or_default();
    json!({ "code": code, "message": message, "details": details }).to_string().into_bytes()
}

/// The details of a `google.rpc.Status`, each a `google.protobuf.Any`.
pub(super) fn anys(status: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut wire = Wire::new(status);
    let details = std::iter::from_fn(move || {
        loop {
            let (number, wire_type) = wire.tag().ok()??;
            if let (3, Raw::Length(any)) = (number, wire.raw(number, wire_type, 1).ok()?) {
                return Some(any);
            }
        }
    });
    details.take(DETAILS_MAX)
}

/// A detail of the status: a `google.protobuf.Any`.
fn detail(schema: Option<&Schema>, any: &[u8]) -> Value {
    let known = schema.and_then(|schema| {
        let mut text = Vec::new();
        write::write(schema, schema.message_id(ANY)?, any, &PrintOptions::default(), &mut text).ok()?;
        serde_json::from_slice(&text).ok()
    });
    known.unwrap_or_else(|| unknown(any))
}

fn unknown(any: &[u8]) -> Value {
    use base64::Engine as _;
    let (type_url, value) = parts(any);
    let mut object = Map::new();
    object.insert("@type".to_owned(), type_url.into());
    object.insert("value".to_owned(), base64::engine::general_purpose::STANDARD.encode(value).into());
    Value::Object(object)
}

/// The type URL of a `google.protobuf.Any`, and its bytes.
pub(super) fn parts(any: &[u8]) -> (String, &[u8]) {
    let (mut type_url, mut value) = (String::new(), &b""[..]);
    let mut wire = Wire::new(any);
    while let Ok(Some((number, wire_type))) = wire.tag() {
        match (number, wire.raw(number, wire_type, 1)) {
            (1, Ok(Raw::Length(bytes))) => type_url = String::from_utf8_lossy(bytes).into_owned(),
            (2, Ok(Raw::Length(bytes))) => value = bytes,
            (_, Ok(_)) => {}
            (_, Err(_)) => break,
        }
    }
    (type_url, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn details_of_unknown_types_keep_their_bytes() {
        let any = [field(1, b"type.googleapis.com/a.B"), field(2, b"\x08\x01")].concat();
        let status = [vec![0x08, 5], field(2, b"text"), field(3, &any)].concat();
        let json: Value =
            serde_json::from_slice(&to_json(None, 5, "no \"such\"", Some(&status))).expect("JSON");
        let wanted = json!({
            "code": 5,
            "message": "no \"such\"",
            "details": [{ "@type": "type.googleapis.com/a.B", "value": "CAE=" }],
        });
        assert_eq!(json, wanted);
    }

    #[test]
    fn malformed_details_are_left_out() {
        for status in [&b""[..], b"\x1a\x05x", b"\xff\xff\xff\xff\xff\xff", b"\x18\x01"] {
            let json: Value = serde_json::from_slice(&to_json(None, 13, "", Some(status))).expect("JSON");
            assert_eq!(json, json!({ "code": 13, "message": "", "details": [] }), "{status:?}");
        }
    }
}
