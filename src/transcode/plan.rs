//! The compiled plan: each message of a descriptor pool as a table of its fields, each enum as a table of its names.
//!
//! Made once and then only read, by all workers. Ids are indices, so messages may name each other and themselves.

use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind as DescriptorKind,
    MessageDescriptor, Syntax,
};
use rustc_hash::FxHashMap;

/// All messages and enums of a pool.
#[derive(Debug)]
pub struct Schema {
    messages: Box<[Message]>,
    enums: Box<[Enum]>,
    messages_by_name: FxHashMap<Box<str>, MessageId>,
    pool: DescriptorPool,
}

/// A message of the schema that made this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(u32);

/// An enum of the schema that made this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnumId(u32);

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

/// What a message is in JSON. All but `Plain` are types of `google.protobuf`.
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
    /// One of the `*Value` messages: its field 1, of this kind, by itself.
    Wrapper(Kind),
    /// `{}`
    Empty,
}

/// One field, or one extension that the pool knows.
#[derive(Debug)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Its type; of a repeated field that of an element, of a map that of a value.
    pub kind: Kind,
    /// How often it may be there.
    pub cardinality: Cardinality,
    /// Which oneof of its message it belongs to, from 0. The hidden oneof of a proto3 `optional` is none.
    pub oneof: Option<u16>,
    /// Must proto2 have it?
    pub is_required: bool,
    /// Is it an extension? Then its name is `[package.name]`, and no default is printed for it.
    pub is_extension: bool,
    /// What goes before its value in JSON: `"fooBar":`.
    pub json_key: Box<[u8]>,
    /// The same with the name in the .proto file: `"foo_bar":`.
    pub proto_key: Box<[u8]>,
    /// Its tag, as it is written before one value: for a group, where that begins; for a map, before an entry.
    pub tag: Tag,
    /// Its tag before many values in one piece.
    pub packed_tag: Tag,
    /// The tag that ends a group.
    pub end_tag: Tag,
}

/// How often a field may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// At most once.
    Singular {
        /// Does absent differ from the default? Not for plain proto3 scalars.
        has_presence: bool,
    },
    /// Any number of times.
    Repeated {
        /// Does an encoder write it in one piece?
        is_packed: bool,
    },
    /// Any number of entries: messages of `key = 1` and `value = 2`.
    Map {
        /// The type of the keys: an integer, bool or string.
        key: Kind,
    },
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the types of protobuf")]
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
    Group(MessageId),
}

/// How a value lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "they are the wire types of protobuf")]
pub enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    GroupStart = 3,
    GroupEnd = 4,
    Fixed32 = 5,
}

/// A field's number with a wire type, as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    bytes: [u8; 5],
    length: u8,
}

/// An enum: its names and numbers.
#[derive(Debug)]
pub struct Enum {
    is_null: bool,
    is_closed: bool,
    default: i32,
    /// Ascending numbers, each with its first name in quotes.
    values: Box<[(i32, Box<[u8]>)]>,
    by_name: FxHashMap<Box<str>, i32>,
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

/// The ids of all names, given before any message is compiled.
struct Ids {
    messages: FxHashMap<Box<str>, MessageId>,
    enums: FxHashMap<Box<str>, EnumId>,
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
                let oneof = field.containing_oneof().and_then(|oneof| {
                    let at = descriptor.oneofs().position(|other| other == oneof)?;
                    oneofs[at]
                });
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

    /// What it is in JSON.
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

impl Field {
    fn new(field: &FieldDescriptor, oneof: Option<u16>, ids: &Ids) -> Self {
        let (kind, cardinality) = match field.kind() {
            DescriptorKind::Message(entry) if field.is_map() => (
                Kind::of(&entry.map_entry_value_field().kind(), false, ids),
                Cardinality::Map { key: Kind::of(&entry.map_entry_key_field().kind(), false, ids) },
            ),
            kind => (
                Kind::of(&kind, field.is_group(), ids),
                if field.is_list() {
                    Cardinality::Repeated { is_packed: field.is_packed() }
                } else {
                    Cardinality::Singular { has_presence: field.supports_presence() }
                },
            ),
        };
        Self {
            is_required: field.is_required(),
            oneof,
            ..Self::with(field.number(), kind, cardinality, field.json_name(), field.name())
        }
    }

    fn of_extension(extension: &ExtensionDescriptor, ids: &Ids) -> Self {
        let kind = Kind::of(&extension.kind(), extension.is_group(), ids);
        let cardinality = if extension.is_list() {
            Cardinality::Repeated { is_packed: extension.is_packed() }
        } else {
            Cardinality::Singular { has_presence: extension.supports_presence() }
        };
        let name = extension.json_name();
        Self { is_extension: true, ..Self::with(extension.number(), kind, cardinality, name, name) }
    }

    fn with(number: u32, kind: Kind, cardinality: Cardinality, json_name: &str, proto_name: &str) -> Self {
        let wire_type = match cardinality {
            Cardinality::Map { .. } => WireType::Length,
            _ => kind.wire_type(),
        };
        Self {
            number,
            kind,
            cardinality,
            oneof: None,
            is_required: false,
            is_extension: false,
            json_key: key(json_name),
            proto_key: key(proto_name),
            tag: Tag::new(number, wire_type),
            packed_tag: Tag::new(number, WireType::Length),
            end_tag: Tag::new(number, WireType::GroupEnd),
        }
    }
}

/// A name as the key of a JSON object, with its colon.
fn key(name: &str) -> Box<[u8]> {
    let mut key = serde_json::to_vec(name).expect("a str is always JSON");
    key.push(b':');
    key.into()
}

impl Kind {
    fn of(kind: &DescriptorKind, is_group: bool, ids: &Ids) -> Self {
        match kind {
            DescriptorKind::Double => Self::Double,
            DescriptorKind::Float => Self::Float,
            DescriptorKind::Int32 => Self::Int32,
            DescriptorKind::Int64 => Self::Int64,
            DescriptorKind::Uint32 => Self::Uint32,
            DescriptorKind::Uint64 => Self::Uint64,
            DescriptorKind::Sint32 => Self::Sint32,
            DescriptorKind::Sint64 => Self::Sint64,
            DescriptorKind::Fixed32 => Self::Fixed32,
            DescriptorKind::Fixed64 => Self::Fixed64,
            DescriptorKind::Sfixed32 => Self::Sfixed32,
            DescriptorKind::Sfixed64 => Self::Sfixed64,
            DescriptorKind::Bool => Self::Bool,
            DescriptorKind::String => Self::String,
            DescriptorKind::Bytes => Self::Bytes,
            DescriptorKind::Enum(one) => Self::Enum(ids.enums[one.full_name()]),
            DescriptorKind::Message(one) if is_group => Self::Group(ids.messages[one.full_name()]),
            DescriptorKind::Message(one) => Self::Message(ids.messages[one.full_name()]),
        }
    }

    /// How one value of this type lies on the wire.
    pub fn wire_type(self) -> WireType {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => WireType::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => WireType::Fixed32,
            Self::Int32 | Self::Int64 | Self::Uint32 | Self::Uint64 | Self::Sint32 | Self::Sint64 => {
                WireType::Varint
            }
            Self::Bool | Self::Enum(_) => WireType::Varint,
            Self::String | Self::Bytes | Self::Message(_) => WireType::Length,
            Self::Group(_) => WireType::GroupStart,
        }
    }

    /// May many values of this type lie in one piece?
    pub fn is_packable(self) -> bool {
        matches!(self.wire_type(), WireType::Varint | WireType::Fixed32 | WireType::Fixed64)
    }
}

impl Tag {
    fn new(number: u32, wire_type: WireType) -> Self {
        // Numbers have 29 bits, so that a tag has 32.
        let mut rest = number << 3 | wire_type as u32;
        let mut tag = Self { bytes: [0; 5], length: 1 };
        while rest >= 0x80 {
            tag.bytes[usize::from(tag.length) - 1] = rest.to_le_bytes()[0] | 0x80;
            rest >>= 7;
            tag.length += 1;
        }
        tag.bytes[usize::from(tag.length) - 1] = rest.to_le_bytes()[0];
        tag
    }

    /// What goes before the value.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Enum {
    fn new(descriptor: &EnumDescriptor) -> Self {
        let proto = descriptor.enum_descriptor_proto();
        let by_name = proto.value.iter().map(|value| (value.name().into(), value.number())).collect();
        let mut values: Vec<(i32, Box<[u8]>)> = proto
            .value
            .iter()
            .map(|value| (value.number(), format!("\"{}\"", value.name()).into_bytes().into()))
            .collect();
        // Stable, so of several names of a number the first one in the file stays.
        values.sort_by_key(|(number, _)| *number);
        values.dedup_by_key(|(number, _)| *number);
        Self {
            is_null: descriptor.full_name() == "google.protobuf.NullValue",
            is_closed: descriptor.parent_file().syntax() == Syntax::Proto2,
            default: descriptor.default_value().number(),
            values: values.into(),
            by_name,
        }
    }

    /// Is it `google.protobuf.NullValue`, which is `null` in JSON?
    pub fn is_null(&self) -> bool {
        self.is_null
    }

    /// Does it know no numbers but its own? Those of proto2 are closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The number of an absent field without presence.
    pub fn default(&self) -> i32 {
        self.default
    }

    /// The name of a number, in quotes.
    #[inline]
    pub fn quoted(&self, number: i32) -> Option<&[u8]> {
        // Most enums count from 0, where a number is its own index.
        let at = match usize::try_from(number)
            .ok()
            .filter(|&at| self.values.get(at).is_some_and(|v| v.0 == number))
        {
            Some(at) => at,
            None => self.values.binary_search_by_key(&number, |value| value.0).ok()?,
        };
        Some(&self.values[at].1)
    }

    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }
}

#[cfg(test)]
mod tests;
