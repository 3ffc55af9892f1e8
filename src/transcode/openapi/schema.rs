//! Messages and enums as JSON Schema, by the mapping of protobuf to JSON.

use std::collections::{HashMap, HashSet};

use prost_reflect::{
    Cardinality, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, Value as Reflected,
};
use serde_json::{Map, Value, json};

use super::super::options;
use super::comments::{AllComments, described};
use crate::config::PrintOptions;

/// The schemas of all messages and enums that were asked for, and of what is in them.
#[derive(Debug)]
pub(super) struct Schemas {
    print: PrintOptions,
    /// The files that define a name: there may be several versions.
    known: HashMap<String, Vec<FileDescriptor>>,
    messages: Vec<(String, MessageDescriptor)>,
    enums: Vec<(String, EnumDescriptor)>,
}

/// Whether a message is an object of its fields.
pub(super) fn is_plain(message: &MessageDescriptor) -> bool {
    well_known(message).is_none()
}

/// Whether a message of `google.protobuf` is a single text or number in JSON.
pub(super) fn is_text(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.");
    name.is_some_and(|name| {
        let is_wrapper = name.ends_with("Value") && !matches!(name, "Value" | "ListValue");
        is_wrapper || matches!(name, "Timestamp" | "Duration" | "FieldMask")
    })
}

/// The schema of a message that JSON has a form of its own for.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    let name = message.full_name().strip_prefix("google.protobuf.")?;
    let schema = match name {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$" }),
        "FieldMask" => {
            json!({ "type": "string", "description": "Names of fields with commas between them." })
        }
        "Struct" => json!({ "type": "object", "additionalProperties": true }),
        "Value" => json!({ "description": "Any JSON value." }),
        "ListValue" => json!({ "type": "array", "items": {} }),
        "Any" => json!({
            "type": "object",
            "properties": { "@type": { "type": "string" } },
            "required": ["@type"],
            "additionalProperties": true,
        }),
        "DoubleValue" => nullable("number", Some("double")),
        "FloatValue" => nullable("number", Some("float")),
        "Int64Value" => nullable("string", Some("int64")),
        "UInt64Value" => nullable("string", Some("uint64")),
        "Int32Value" => nullable("integer", Some("int32")),
        "UInt32Value" => nullable("integer", Some("uint32")),
        "BoolValue" => nullable("boolean", None),
        "StringValue" => nullable("string", None),
        "BytesValue" => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
        _ => return None,
    };
    Some(schema)
}

fn nullable(kind: &str, format: Option<&str>) -> Value {
    let mut schema = json!({ "type": [kind, "null"] });
    if let Some(format) = format {
        schema["format"] = format.into();
    }
    schema
}

impl Schemas {
    pub(super) fn new(print: PrintOptions) -> Self {
        Self { print, known: HashMap::new(), messages: Vec::new(), enums: Vec::new() }
    }

    /// The name that stands for what a file defines by this one, and whether it was not asked for before.
    fn stands_for(&mut self, name: &str, file: FileDescriptor) -> (String, bool) {
        let files = self.known.entry(name.to_owned()).or_default();
        let known = files.iter().position(|known| *known == file);
        let number = known.unwrap_or(files.len());
        if known.is_none() {
            files.push(file);
        }
        let name = if number == 0 { name.to_owned() } else { format!("{name}-{}", number + 1) };
        (name, known.is_none())
    }

    /// The name of a field in JSON.
    pub(super) fn name(&self, field: &FieldDescriptor) -> String {
        if self.print.preserve_proto_field_names { field.name() } else { field.json_name() }.to_owned()
    }

    /// A message.
    pub(super) fn of_message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        let (name, is_new) = self.stands_for(message.full_name(), message.parent_file());
        if is_new {
            self.messages.push((name.clone(), message.clone()));
        }
        reference(&name)
    }

    /// A field, with all its elements.
    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let values = self.of_value(&entry.map_entry_value_field());
                json!({ "type": "object", "additionalProperties": values })
            }
            _ if field.is_list() => json!({ "type": "array", "items": self.of_value(field) }),
            _ => self.of_value(field),
        }
    }

    /// An element of a field.
    pub(super) fn of_value(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Double => json!({ "type": "number", "format": "double" }),
            Kind::Float => json!({ "type": "number", "format": "float" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "format": "uint32", "minimum": 0 }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "format": "int64" }),
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Message(message) => self.of_message(&message),
            Kind::Enum(one) => self.of_enum(&one),
        }
    }

    fn of_enum(&mut self, one: &EnumDescriptor) -> Value {
        if one.full_name() == "google.protobuf.NullValue" {
            return json!({ "type": "null" });
        }
        let (name, is_new) = self.stands_for(one.full_name(), one.parent_file());
        if is_new {
            self.enums.push((name.clone(), one.clone()));
        }
        reference(&name)
    }

    /// All schemas by name.
    pub(super) fn finish(mut self, comments: &mut AllComments<'_>) -> Map<String, Value> {
        let mut all = Map::new();
        while let Some((name, message)) = self.messages.pop() {
            let schema = self.object(&message, comments);
            all.insert(name, schema);
        }
        for (name, one) in std::mem::take(&mut self.enums) {
            all.insert(name, self.names(&one, comments));
        }
        all
    }

    fn object(&mut self, message: &MessageDescriptor, comments: &mut AllComments<'_>) -> Value {
        let file = message.parent_file();
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields() {
            let mut schema = described(self.of_field(&field), comments.of(&file, field.path()));
            let behaviours = Self::behaviours(&field);
            if behaviours.contains(&OUTPUT_ONLY) {
                schema["readOnly"] = true.into();
            }
            if behaviours.contains(&INPUT_ONLY) {
                schema["writeOnly"] = true.into();
            }
            if field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated()) {
                schema["deprecated"] = true.into();
            }
            let name = self.name(&field);
            if field.cardinality() == Cardinality::Required || behaviours.contains(&REQUIRED) {
                required.push(Value::from(name.clone()));
            }
            properties.insert(name, schema);
        }
        let mut words: Vec<String> =
            comments.of(&file, message.path()).map(str::to_owned).into_iter().collect();
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let names: Vec<String> = oneof.fields().map(|field| format!("`{}`", self.name(&field))).collect();
            words.push(format!("At most one of {}.", names.join(", ")));
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        described(schema, (!words.is_empty()).then(|| words.join("\n\n")).as_deref())
    }

    /// Numbers of `google.api.FieldBehavior`.
    fn behaviours(field: &FieldDescriptor) -> Vec<i32> {
        if field.field_descriptor_proto().options.is_none() {
            return Vec::new();
        }
        let option = field.parent_pool().get_extension_by_name("google.api.field_behavior");
        let Some(option) = option.filter(ExtensionDescriptor::is_list) else { return Vec::new() };
        if option.containing_message().full_name() != "google.protobuf.FieldOptions" {
            return Vec::new();
        }
        // The field is described all the same if its options cannot be decoded.
        let Some(options) = options::of_field(field) else { return Vec::new() };
        match options.get_extension(&option).as_ref() {
            Reflected::List(items) => items.iter().filter_map(Reflected::as_enum_number).collect(),
            _ => Vec::new(),
        }
    }

    fn names(&self, one: &EnumDescriptor, comments: &mut AllComments<'_>) -> Value {
        let file = one.parent_file();
        let mut words: Vec<String> = comments.of(&file, one.path()).map(str::to_owned).into_iter().collect();
        let mut seen = HashSet::new();
        let (mut names, mut numbers) = (Vec::new(), Vec::new());
        let mut values: Vec<_> = one.values().collect();
        // As they stand in the file: by number, two names of one value could come either way.
        values.sort_by_key(|value| value.path().last().copied());
        for value in values {
            names.push(Value::from(value.name()));
            if seen.insert(value.number()) {
                numbers.push(Value::from(value.number()));
            }
            if let Some(comment) = comments.of(&file, value.path()) {
                words.push(format!("- `{}`: {}", value.name(), comment.replace('\n', " ")));
            }
        }
        let schema = match self.print.always_print_enums_as_ints {
            true => json!({ "type": "integer", "enum": numbers }),
            false => json!({ "type": "string", "enum": names }),
        };
        described(schema, (!words.is_empty()).then(|| words.join("\n")).as_deref())
    }
}

const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const INPUT_ONLY: i32 = 4;

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
