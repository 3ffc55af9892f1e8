//! The configuration as a JSON schema, from which editors complete keys and show mistakes.

use serde_json::{Map, Value, json};

use super::codes::Codes;
use super::knobs::{KNOBS, Kind, Knob};

/// A duration, such as `"1.5s"`.
const TIME: &str = "^[0-9]+(\\.[0-9]+)?(us|ms|s|m|h)$";
/// A size with a unit, such as `"64KiB"`.
const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB)$";
/// A string that names variables of the environment, whose values are not known here.
const VARIABLE: &str = "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}";

/// The schema of the whole file, as text.
pub fn schema() -> String {
    let mut whole = object("");
    whole.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    whole.insert("title".to_owned(), json!("Ringway's configuration"));
    format!("{:#}\n", Value::Object(whole))
}

/// A table with its keys. `""` is the top.
fn object(table: &str) -> Map<String, Value> {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for knob in KNOBS.iter().filter(|knob| !matches!(knob.kind, Kind::Later { .. })) {
        if knob.table() == table {
            properties.insert(knob.name().to_owned(), property(knob));
            if is_needed(knob) {
                required.push(json!(knob.name()));
            }
        }
    }
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("properties".to_owned(), Value::Object(properties));
    object.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        object.insert("required".to_owned(), Value::Array(required));
    }
    object
}

/// Whether a table has to have this key, whatever its other keys say.
fn is_needed(knob: &Knob) -> bool {
    match knob.kind {
        Kind::Tables { min, .. } | Kind::List { min, .. } => min > 0,
        Kind::Address { default, .. } => default.is_none(),
        _ => knob.key == "clusters.name" || knob.key == "routes.weighted_clusters.name",
    }
}

fn property(knob: &Knob) -> Value {
    let mut property = match knob.kind {
        Kind::Table => object(knob.key),
        Kind::Tables { min, max } => {
            map(json!({ "type": "array", "minItems": min, "maxItems": max, "items": object(knob.key) }))
        }
        Kind::Names { max } => {
            let text = json!({ "type": "string" });
            map(json!({ "type": "object", "maxProperties": max, "additionalProperties": text }))
        }
        Kind::List { min, max, .. } => {
            let items = json!({ "type": "string" });
            or_variable(json!({ "type": "array", "minItems": min, "maxItems": max, "items": items }))
        }
        Kind::Codes { .. } => {
            let items = json!({ "enum": Codes::NAMES[1..] });
            or_variable(json!({ "type": "array", "items": items }))
        }
        Kind::Count { min, max, .. } | Kind::PowerOfTwo { min, max, .. } => or_variable(whole(min, max)),
        Kind::CountOrAuto { min, max } => {
            or_variable(json!({ "anyOf": [{ "const": "auto" }, whole(min, max)] }))
        }
        Kind::Size { min, max, .. } => {
            or_variable(json!({ "anyOf": [whole(min, max), { "type": "string", "pattern": SIZE }] }))
        }
        Kind::Time { .. } | Kind::TimeOrNone { .. } | Kind::TimeIfSet { .. } => {
            or_variable(json!({ "type": "string", "pattern": TIME }))
        }
        Kind::Ratio { min, max, .. } => {
            or_variable(json!({ "type": "number", "minimum": min, "maximum": max }))
        }
        Kind::Flag { .. } => or_variable(json!({ "type": "boolean" })),
        Kind::Word { words, .. } => or_variable(json!({ "enum": words })),
        Kind::Address { .. } | Kind::Other { .. } => map(json!({ "type": "string" })),
        Kind::Later { .. } => Map::new(),
    };
    let about = format!("{} Takes: {}.", knob.about, knob.wanted());
    property.insert("description".to_owned(), json!(about));
    let default = knob.default().and_then(|text| json_of(&text));
    if let Some(default) = default {
        property.insert("default".to_owned(), default);
    }
    Value::Object(property)
}

fn whole(min: u32, max: u32) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max })
}

/// The form that a key takes, or a string that names variables.
fn or_variable(takes: Value) -> Map<String, Value> {
    map(json!({ "anyOf": [takes, { "type": "string", "pattern": VARIABLE }] }))
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A default of the table, whose text is TOML. For single values and lists of strings that is JSON, too.
fn json_of(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
