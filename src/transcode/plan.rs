//! The compiled plan: each message of a descriptor pool as a table of its fields, each enum as a table of its names.
//!
//! Made once and then only read, by all workers. Ids are indices, so messages may name each other and themselves.

mod enumeration;
mod field;
mod ids;
mod kind;
mod wire_type;

pub use enumeration::Enum;
pub use field::{Cardinality, Field, Tag};
use ids::Ids;
pub use ids::{EnumId, MessageId};
pub use kind::Kind;
pub use wire_type::WireType;

use prost_reflect::{DescriptorPool, MessageDescriptor};
use rustc_hash::FxHashMap;

/// All messages and enums of a pool.
#[derive(Debug)]
pub struct Schema {
    messages: Box<[Message]>,
    enums: Box<[Enum]>,
    messages_by_name: FxHashMap<Box<str>, MessageId>,
    pool: DescriptorPool,
}

/// A message: how it looks in JSON, and its fields.
#[derive(Debug)]
pub struct Message {
    shape: Shape,
    fields: Box<[Field]>,
    /// At a field's number, one more than its index; 0 is none. Only up to [`DENSE_NUMBERS`].
    dense: Box<[u16]>,
    by_name: FxHashMap<Box<str>, u32>,
    oneof_count: u16,
    has_required: bool,
    descriptor: MessageDescriptor,
}

/// The JSON form of a message. All but `Plain` are types of `google.protobuf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object of its fields.
    Plain,
    /// `"1972-01-01T10:00:20.021Z"`
    Timestamp,
    /// `"1.000340012s"`
    Duration,
    /// `"f.fooBar,h"`
    FieldMask,
    /// An object of anything.
    Struct,
    /// Anything.
    Value,
    /// An array of anything.
    ListValue,
    /// `{"@type": "url", ...}`
    Any,
    /// A `*Value` message: its field 1, of this kind, by itself.
    Wrapper(Kind),
    /// `{}`
    Empty,
}

/// Field numbers up to here are found by index. 1 to 15 are those of one byte; few messages go beyond a hundred.
const DENSE_NUMBERS: u32 = 255;

impl Schema {
    /// Compiles all messages and enums of a pool, for any of them may come in an `Any`.
    pub fn new(pool: &DescriptorPool) -> Self {
        let ids = Ids {
            messages: ids(pool.all_messages().map(|message| message.full_name().into()), MessageId),
            enums: ids(pool.all_enums().map(|one| one.full_name().into()), EnumId),
        };
        Self {
            messages: pool.all_messages().map(|message| Message::new(&message, &ids)).collect(),
            enums: pool.all_enums().map(|one| Enum::new(&one)).collect(),
            messages_by_name: ids.messages,
            pool: pool.clone(),
        }
    }

    /// The message with this full name, such as `google.protobuf.Any`.
    pub fn message_id(&self, full_name: &str) -> Option<MessageId> {
        self.messages_by_name.get(full_name).copied()
    }

    /// The message of an id that this schema made.
    pub fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0 as usize]
    }

    /// The enum of an id that this schema made.
    pub fn enumeration(&self, id: EnumId) -> &Enum {
        &self.enums[id.0 as usize]
    }

    /// The descriptors it was made from.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }
}

fn ids<Id>(names: impl Iterator<Item = Box<str>>, id: fn(u32) -> Id) -> FxHashMap<Box<str>, Id> {
    (0..).map(id).zip(names).map(|(id, name)| (name, id)).collect()
}

impl Message {
    fn new(descriptor: &MessageDescriptor, ids: &Ids) -> Self {
        let mut oneofs = 0_u16;
        let oneofs: Vec<Option<u16>> = descriptor
            .oneofs()
            .map(|oneof| {
                let index = (!oneof.is_synthetic()).then_some(oneofs);
                oneofs += u16::from(index.is_some());
                index
            })
            .collect();
        let mut fields: Vec<Field> = descriptor
            .fields()
            .map(|field| {
                let at = field.field_descriptor_proto().oneof_index;
                let oneof = at.and_then(|at| *oneofs.get(usize::try_from(at).ok()?)?);
                Field::new(&field, oneof, ids)
            })
            .chain(descriptor.extensions().map(|extension| Field::of_extension(&extension, ids)))
            .collect();
        fields.sort_by_key(|field| field.number);

        let dense_end =
            fields.iter().map(|field| field.number).filter(|&number| number <= DENSE_NUMBERS).max();
        let mut dense = vec![0; dense_end.map_or(0, |number| number as usize + 1)];
        for (index, field) in (1..).zip(&fields).take_while(|(_, field)| field.number <= DENSE_NUMBERS) {
            dense[field.number as usize] = index;
        }
        Self {
            shape: Shape::of(descriptor.full_name()),
            by_name: names(descriptor, &fields),
            oneof_count: oneofs.iter().flatten().count().try_into().unwrap_or(u16::MAX),
            has_required: fields.iter().any(|field| field.is_required),
            dense: dense.into(),
            fields: fields.into(),
            descriptor: descriptor.clone(),
        }
    }

    /// The JSON form of the message.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its fields, with ascending numbers.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The index in `fields` of the field with this number.
    #[inline]
    pub fn by_number(&self, number: u32) -> Option<usize> {
        if number <= DENSE_NUMBERS {
            let index = self.dense.get(number as usize).copied().unwrap_or(0);
            return usize::from(index).checked_sub(1);
        }
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }

    /// The index in `fields` of the field that has this name in JSON, or in the .proto file.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).map(|&index| index as usize)
    }

    /// How many oneofs it has.
    pub fn oneof_count(&self) -> u16 {
        self.oneof_count
    }

    /// Has it a proto2 `required` field of its own?
    pub fn has_required(&self) -> bool {
        self.has_required
    }

    /// Its full name, such as `google.protobuf.Any`.
    pub fn name(&self) -> &str {
        self.descriptor.full_name()
    }

    /// Is it `google.api.HttpBody`, which stands for an HTTP body of any type?
    pub fn is_http_body(&self) -> bool {
        self.name() == "google.api.HttpBody"
    }

    /// The descriptor it was made from.
    pub fn descriptor(&self) -> &MessageDescriptor {
        &self.descriptor
    }
}

/// The fields by their names in the .proto file and in JSON; a name that is both is the one in JSON.
fn names(descriptor: &MessageDescriptor, fields: &[Field]) -> FxHashMap<Box<str>, u32> {
    let index = |number| fields.binary_search_by_key(&number, |field| field.number);
    let mut by_name = FxHashMap::default();
    let in_files = descriptor.fields().map(|field| (Box::from(field.name()), field.number()));
    let extensions = descriptor.extensions().map(|one| (Box::from(one.json_name()), one.number()));
    let in_json = descriptor.fields().map(|field| (Box::from(field.json_name()), field.number()));
    for (name, number) in in_files.chain(extensions).chain(in_json) {
        let index = index(number).expect("each field of the descriptor was compiled");
        by_name.insert(name, u32::try_from(index).expect("a message has at most 2^29 fields"));
    }
    by_name
}

impl Shape {
    fn of(full_name: &str) -> Self {
        match full_name.strip_prefix("google.protobuf.").unwrap_or_default() {
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "FieldMask" => Self::FieldMask,
            "Struct" => Self::Struct,
            "Value" => Self::Value,
            "ListValue" => Self::ListValue,
            "Any" => Self::Any,
            "Empty" => Self::Empty,
            "DoubleValue" => Self::Wrapper(Kind::Double),
            "FloatValue" => Self::Wrapper(Kind::Float),
            "Int64Value" => Self::Wrapper(Kind::Int64),
            "UInt64Value" => Self::Wrapper(Kind::Uint64),
            "Int32Value" => Self::Wrapper(Kind::Int32),
            "UInt32Value" => Self::Wrapper(Kind::Uint32),
            "BoolValue" => Self::Wrapper(Kind::Bool),
            "StringValue" => Self::Wrapper(Kind::String),
            "BytesValue" => Self::Wrapper(Kind::Bytes),
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests;
