//! Protobuf's bytes, read without copying.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. Bytes come from a network: each read is checked, groups
//! nest only so deep, and every loop takes bytes, so what is done is bounded by what was sent.

use super::plan::{Kind, WireType};

/// The unread rest of a message.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a> {
    rest: &'a [u8],
}

/// A value, before its kind is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the wire types of protobuf")]
pub enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Length(&'a [u8]),
    /// The bytes between the tags of a group.
    Group(&'a [u8]),
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWire {
    /// Cut short, a tag or varint that is none, an end of a group without its beginning.
    Malformed,
    /// More groups in each other than allowed.
    TooDeep,
}

impl<'a> Wire<'a> {
    /// At the beginning of a message.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Is nothing left?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field's number and wire type; none at the end.
    #[inline]
    pub fn tag(&mut self) -> Result<Option<(u32, WireType)>, BadWire> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = u32::try_from(self.varint()?).map_err(|_| BadWire::Malformed)?;
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Length,
            3 => WireType::GroupStart,
            4 => WireType::GroupEnd,
            5 => WireType::Fixed32,
            _ => return Err(BadWire::Malformed),
        };
        match tag >> 3 {
            0 => Err(BadWire::Malformed),
            number => Ok(Some((number, wire_type))),
        }
    }

    /// Takes this tag, if it comes next.
    #[inline]
    pub fn take_tag(&mut self, tag: &[u8]) -> bool {
        match self.rest.strip_prefix(tag) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The value after a tag. `depth` is how many groups may be in each other.
    #[inline]
    pub fn raw(&mut self, number: u32, wire_type: WireType, depth: u32) -> Result<Raw<'a>, BadWire> {
        match wire_type {
            WireType::Varint => self.varint().map(Raw::Varint),
            WireType::Fixed64 => self.array().map(u64::from_le_bytes).map(Raw::Fixed64),
            WireType::Fixed32 => self.array().map(u32::from_le_bytes).map(Raw::Fixed32),
            WireType::Length => self.length().map(Raw::Length),
            WireType::GroupStart => self.group(number, depth).map(Raw::Group),
            WireType::GroupEnd => Err(BadWire::Malformed),
        }
    }

    /// A value where many lie in one piece, so without its tag.
    #[inline]
    pub fn packed(&mut self, kind: Kind) -> Result<Raw<'a>, BadWire> {
        self.raw(0, kind.wire_type(), 0)
    }

    /// A varint of up to ten bytes.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, BadWire> {
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, BadWire> {
        let mut value = 0;
        for (at, &byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                // Of the tenth byte only one bit has a place in 64.
                if at == VARINT_BYTES_MAX - 1 && byte > 1 {
                    break;
                }
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(BadWire::Malformed)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadWire> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(BadWire::Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn length(&mut self) -> Result<&'a [u8], BadWire> {
        let length = usize::try_from(self.varint()?).map_err(|_| BadWire::Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(BadWire::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The bytes up to the end of the group whose first tag was just read.
    fn group(&mut self, number: u32, depth: u32) -> Result<&'a [u8], BadWire> {
        let depth = depth.checked_sub(1).ok_or(BadWire::TooDeep)?;
        let begin = self.rest;
        loop {
            let inner_length = begin.len() - self.rest.len();
            match self.tag()?.ok_or(BadWire::Malformed)? {
                (end, WireType::GroupEnd) if end == number => return Ok(&begin[..inner_length]),
                (inner, wire_type) => _ = self.raw(inner, wire_type, depth)?,
            }
        }
    }
}

impl Raw<'_> {
    /// The default of a kind that is no message.
    pub fn zero(kind: Kind) -> Raw<'static> {
        match kind.wire_type() {
            WireType::Varint => Raw::Varint(0),
            WireType::Fixed64 => Raw::Fixed64(0),
            WireType::Fixed32 => Raw::Fixed32(0),
            WireType::Length => Raw::Length(&[]),
            WireType::GroupStart | WireType::GroupEnd => Raw::Group(&[]),
        }
    }

    /// Is it the default of its kind? -0.0 is not: "-0 is considered distinct and will be serialized".
    #[inline]
    pub fn is_zero(self, kind: Kind) -> bool {
        match self {
            // Of the narrow ones only the low half counts.
            Self::Varint(value) => match kind {
                Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Bool => value == 0,
                _ => value & u64::from(u32::MAX) == 0,
            },
            Self::Fixed64(bits) => bits == 0,
            Self::Fixed32(bits) => bits == 0,
            Self::Length(bytes) => bytes.is_empty(),
            Self::Group(_) => false,
        }
    }
}

/// 64 bits, seven in a byte.
const VARINT_BYTES_MAX: usize = 10;

/// Appends a varint.
#[inline]
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field of bytes: a text or a message.
pub fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
