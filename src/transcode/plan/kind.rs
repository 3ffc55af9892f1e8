//! The types of values.

use prost_reflect::Kind as DescriptorKind;

use super::ids::{EnumId, Ids, MessageId};
use super::wire_type::WireType;

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

impl Kind {
    pub(super) fn of(kind: &DescriptorKind, is_group: bool, ids: &Ids) -> Self {
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
