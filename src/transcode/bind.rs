//! Text into a field of a message, however deep: what a path captures and what a query says.
//!
//! The field is appended to the message's bytes with the messages around it. Protobuf joins what is appended: a
//! message with the one that is there, a value after those of a list, and otherwise the last one counts.

use super::plan::{Cardinality, Field, Kind, MessageId, Schema, Shape};
use super::read::output::{Open, Output};
use super::read::plain;
use super::read::well_known;

/// How many names a path may have.
pub const STEPS_MAX: usize = 32;

/// A field of a message, or of a message in it.
#[derive(Clone, Copy)]
pub struct FieldPath {
    steps: [Step; STEPS_MAX],
    length: usize,
}

/// A field of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    message: MessageId,
    field: u32,
}

impl FieldPath {
    /// The message itself.
    pub fn whole(message: MessageId) -> Self {
        Self { steps: [Step { message, field: 0 }; STEPS_MAX], length: 0 }
    }

    /// Finds `name` or `user.address.street`, each a name in JSON or in the .proto file.
    pub fn resolve(schema: &Schema, message: MessageId, path: &str) -> Result<Self, String> {
        let mut found = Self::whole(message);
        let mut within = Some(message);
        for name in path.split('.') {
            // Only the last field may be something else than one plain message.
            let Some(id) = within else {
                return Err(format!("`{}` has no fields to name", found.last_name(schema)));
            };
            let message = schema.message(id);
            let index = message.by_name(name);
            let index = index.ok_or_else(|| format!("no field `{name}` in {}", message.name()))?;
            if found.length == STEPS_MAX {
                return Err(format!("more than {STEPS_MAX} names"));
            }
            let field = u32::try_from(index).expect("a message has at most 2^29 fields");
            found.steps[found.length] = Step { message: id, field };
            found.length += 1;
            within = inside(schema, &message.fields()[index]);
        }
        Ok(found)
    }

    /// Its last field; of the message itself none.
    pub fn field<'s>(&self, schema: &'s Schema) -> Option<&'s Field> {
        self.steps().last().map(|step| step.field(schema))
    }

    /// Is `other` the same field, or one inside it?
    pub fn contains(&self, other: &Self) -> bool {
        other.steps().starts_with(self.steps())
    }

    /// Is it a member of a oneof, or inside one?
    pub fn is_of_oneof(&self, schema: &Schema) -> bool {
        self.steps().iter().any(|step| step.field(schema).oneof.is_some())
    }

    /// Says why a text cannot be its value, if it cannot.
    pub fn takes_text(&self, schema: &Schema) -> Result<(), String> {
        let Some(field) = self.field(schema) else { return Err("it is the whole message".to_owned()) };
        let is_map = matches!(field.cardinality, Cardinality::Map { .. });
        let reason = if is_map { Some("it is a map") } else { no_text(schema, field.kind) };
        match reason {
            Some(reason) => Err(format!("no text for `{}`: {reason}", self.last_name(schema))),
            None => Ok(()),
        }
    }

    fn steps(&self) -> &[Step] {
        &self.steps[..self.length]
    }

    fn last_name(&self, schema: &Schema) -> String {
        let key = self.field(schema).map_or(&b""[..], |field| &field.proto_key);
        String::from_utf8_lossy(key).trim_end_matches(':').trim_matches('"').to_owned()
    }
}

impl std::fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.steps()).finish()
    }
}

impl PartialEq for FieldPath {
    fn eq(&self, other: &Self) -> bool {
        self.steps() == other.steps()
    }
}

impl Step {
    fn field(self, schema: &Schema) -> &Field {
        &schema.message(self.message).fields()[self.field as usize]
    }
}

/// The message whose fields can be named through this one.
fn inside(schema: &Schema, field: &Field) -> Option<MessageId> {
    match (field.cardinality, field.kind) {
        (Cardinality::Singular { .. }, Kind::Message(id) | Kind::Group(id)) => {
            (schema.message(id).shape() == Shape::Plain).then_some(id)
        }
        _ => None,
    }
}

/// Why a text cannot be a value of a kind, if it cannot.
fn no_text(schema: &Schema, kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Message(id) => match schema.message(id).shape() {
            Shape::Wrapper(_) | Shape::Timestamp | Shape::Duration | Shape::FieldMask => None,
            Shape::Plain => Some("it is a message; name one of its fields"),
            _ => Some("it is a message"),
        },
        Kind::Group(_) => Some("it is a message; name one of its fields"),
        _ => None,
    }
}

/// Appends the field with the value that `text` is. Numbers, names of enums, timestamps and so on are written as in
/// JSON, without quotes; a field mask may also have the names of the .proto file. After an error `out` is as it was.
pub fn bind(schema: &Schema, path: &FieldPath, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    path.takes_text(schema)?;
    append(schema, path, out, |field, out| value(schema, field.kind, text, out))
}

/// Appends an entry of the map that the field is. After an error `out` is as it was.
pub fn bind_entry(
    schema: &Schema,
    path: &FieldPath,
    (key, text): (&str, &str),
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let field = path.field(schema).ok_or("it is the whole message")?;
    let Cardinality::Map { key: key_kind } = field.cardinality else {
        return Err(format!("`{}` is not a map", path.last_name(schema)));
    };
    if let Some(reason) = no_text(schema, field.kind) {
        return Err(format!("no text for a value of `{}`: {reason}", path.last_name(schema)));
    }
    append(schema, path, out, |field, out| {
        let entry = out.begin();
        out.byte(1 << 3 | key_kind.wire_type() as u8);
        plain::from_text(key_kind, key, out)?;
        out.byte(2 << 3 | field.kind.wire_type() as u8);
        value(schema, field.kind, text, out)?;
        out.end(entry);
        Ok(())
    })
}

/// Appends the field with the messages around it. `put` writes what stands behind its tag.
fn append(
    schema: &Schema,
    path: &FieldPath,
    bytes: &mut Vec<u8>,
    put: impl FnOnce(&Field, &mut Output<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let (last, around) = path.steps().split_last().ok_or("it is the whole message")?;
    let length = bytes.len();
    let out = &mut Output::new(bytes);
    let mut open: [Option<Open>; STEPS_MAX] = [const { None }; STEPS_MAX];
    for (step, open) in around.iter().zip(&mut open) {
        let field = step.field(schema);
        out.tag(&field.tag);
        *open = matches!(field.kind, Kind::Message(_)).then(|| out.begin());
    }
    let field = last.field(schema);
    out.tag(&field.tag);
    if let Err(reason) = put(field, out) {
        bytes.truncate(length);
        return Err(reason);
    }
    for (step, open) in around.iter().zip(&mut open).rev() {
        match open.take() {
            Some(open) => out.end(open),
            None => out.tag(&step.field(schema).end_tag),
        }
    }
    Ok(())
}

/// A value as it stands behind its tag.
fn value(schema: &Schema, kind: Kind, text: &str, out: &mut Output<'_>) -> Result<(), String> {
    match kind {
        Kind::Message(id) => {
            let open = out.begin();
            match schema.message(id).shape() {
                Shape::Wrapper(kind) => {
                    out.byte(1 << 3 | kind.wire_type() as u8);
                    plain::from_text(kind, text, out)?;
                }
                Shape::FieldMask => well_known::field_mask(text, true, out)?,
                shape => well_known::from_text(shape, text, out)?,
            }
            out.end(open);
            Ok(())
        }
        Kind::Enum(id) => {
            let number = schema.enumeration(id).number(text).or_else(|| text.parse().ok());
            let number: i32 = number.ok_or("not a value of the enum")?;
            out.varint(i64::from(number).cast_unsigned());
            Ok(())
        }
        kind => plain::from_text(kind, text, out),
    }
}
