//! The test's messages, and what prost-reflect makes of a text.

use prost_reflect::ReflectMessage as _;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MapKey, MessageDescriptor, Value};
use ringway::transcode::plan::{MessageId, Schema};
use ringway::transcode::read::{ReadError, ReadOptions, read};
use std::collections::BTreeMap;
use std::sync::OnceLock;

pub(crate) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let files = protox::compile(["kinds.proto"], ["tests/protos"]).expect("the test's files compile");
        let pool = DescriptorPool::from_file_descriptor_set(files).expect("a pool of what was compiled");
        Schema::new(&pool)
    })
}

/// `Scalars`, `test.kinds2.Old`, `google.protobuf.Value`.
pub(crate) fn message_id(name: &str) -> MessageId {
    let full = if name.contains('.') { name.to_owned() } else { format!("test.kinds.{name}") };
    schema().message_id(&full).unwrap_or_else(|| panic!("no message {full}"))
}

pub(crate) fn descriptor(name: &str) -> MessageDescriptor {
    schema().message(message_id(name)).descriptor().clone()
}

pub(crate) fn read_by_us(
    name: &str,
    json: &[u8],
    ignore_unknown_fields: bool,
) -> Result<DynamicMessage, ReadError> {
    let mut out = b"before".to_vec();
    let options = ReadOptions { ignore_unknown_fields };
    let result = read(schema(), message_id(name), json, options, &mut out);
    assert!(out.starts_with(b"before"), "what was there is kept");
    if result.is_err() {
        assert_eq!(out, b"before", "nothing is left after an error");
    }
    result.map(|()| decode(name, &out[6..]))
}

pub(crate) fn decode(name: &str, wire: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(descriptor(name), wire).unwrap_or_else(|error| panic!("{name}: {error}: {wire:?}"))
}

pub(crate) fn read_by_reference(
    name: &str,
    json: &[u8],
    ignore_unknown_fields: bool,
) -> Result<DynamicMessage, String> {
    let mut text = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new().deny_unknown_fields(!ignore_unknown_fields);
    let message = DynamicMessage::deserialize_with_options(descriptor(name), &mut text, &options);
    let message = message.map_err(|error| error.to_string())?;
    text.end().map_err(|error| error.to_string())?;
    Ok(message)
}

/// Do they have the same fields with the same values? NaN is NaN, and doubles may differ by their last bit: serde_json
/// does not always find the nearest one.
pub(crate) fn same(a: &DynamicMessage, b: &DynamicMessage) -> bool {
    let (a, b) = (fields(a), fields(b));
    a.len() == b.len() && a.iter().all(|(number, a)| b.get(number).is_some_and(|b| same_value(a, b)))
}

fn fields(message: &DynamicMessage) -> BTreeMap<u32, Value> {
    let fields = message.fields().map(|(field, value)| (field.number(), value.clone()));
    fields.chain(message.extensions().map(|(field, value)| (field.number(), value.clone()))).collect()
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Message(a), Value::Message(b)) => same_any(a, b).unwrap_or_else(|| same(a, b)),
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let same_entry = |(key, a): (&MapKey, &Value)| b.get(key).is_some_and(|b| same_value(a, b));
            a.len() == b.len() && a.iter().all(same_entry)
        }
        (Value::F64(a), Value::F64(b)) => {
            a.is_nan() && b.is_nan() || a.to_bits().abs_diff(b.to_bits()) <= 1 || a == b
        }
        (Value::F32(a), Value::F32(b)) => {
            a.is_nan() && b.is_nan() || a.to_bits().abs_diff(b.to_bits()) <= 1 || a == b
        }
        (a, b) => a == b,
    }
}

/// Two `Any`s hold bytes, which may differ and mean the same.
fn same_any(a: &DynamicMessage, b: &DynamicMessage) -> Option<bool> {
    if a.descriptor().full_name() != "google.protobuf.Any" {
        return None;
    }
    let part = |any: &DynamicMessage, number| any.get_field_by_number(number).map(|value| value.into_owned());
    let url = part(a, 1)?;
    if Some(&url) != part(b, 1).as_ref() {
        return Some(false);
    }
    let name = url.as_str()?.rsplit('/').next()?.to_owned();
    schema().message_id(&name)?;
    let (a, b) = (part(a, 2)?, part(b, 2)?);
    Some(same_value(
        &Value::Message(decode(&name, a.as_bytes()?)),
        &Value::Message(decode(&name, b.as_bytes()?)),
    ))
}
