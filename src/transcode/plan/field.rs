//! A field: its type, how often it may be there, and its key and tag ready to be written.

use super::super::options;
use super::ids::Ids;
use super::kind::Kind;
use super::wire_type::WireType;
use prost_reflect::{ExtensionDescriptor, FieldDescriptor, Kind as DescriptorKind};

/// A field, or one extension that the pool knows.
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
    /// The key before its value in JSON: `"fooBar":`.
    pub json_key: Box<[u8]>,
    /// The key with the name of the .proto file: `"foo_bar":`.
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

/// A field's number with a wire type, as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    bytes: [u8; 5],
    length: u8,
}

impl Field {
    pub(super) fn new(field: &FieldDescriptor, oneof: Option<u16>, ids: &Ids) -> Self {
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
                    // A message with a field of which this is not known is served to nobody.
                    let is_implicit = options::is_implicit(field).unwrap_or(false);
                    Cardinality::Singular { has_presence: field.supports_presence() && !is_implicit }
                },
            ),
        };
        Self {
            is_required: field.is_required(),
            oneof,
            ..Self::with(field.number(), kind, cardinality, field.json_name(), field.name())
        }
    }

    pub(super) fn of_extension(extension: &ExtensionDescriptor, ids: &Ids) -> Self {
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

    /// The tag's bytes, which stand before the value.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}
