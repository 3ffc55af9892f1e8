//! An encoded message field by field, for descriptors whose bytes are kept: options that nobody here knows of survive.

use super::wire::{BadWire, Raw, Wire, put_varint};

/// Groups in each other. Only options of a kind that few people write are groups.
const GROUPS_MAX: u32 = 100;

/// The fields of an encoded message, one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// A field as it is encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Raw<'a>,
    /// Its tag included.
    pub(super) whole: &'a [u8],
}

impl<'a> Field<'a> {
    /// The bytes of a message or text.
    pub(super) fn payload(&self) -> Option<&'a [u8]> {
        if let Raw::Length(bytes) = self.value { Some(bytes) } else { None }
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.payload()?).ok()
    }

    /// A number of 32 bits, an enum or a bool.
    #[expect(clippy::cast_possible_truncation, reason = "the format says so")]
    pub(super) fn int(&self) -> Option<i32> {
        if let Raw::Varint(value) = self.value { Some(value as i32) } else { None }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, BadWire>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.field().transpose()?;
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Option<Field<'a>>, BadWire> {
        let before = self.0;
        let mut wire = Wire::new(before);
        let Some((number, wire_type)) = wire.tag()? else { return Ok(None) };
        let value = wire.raw(number, wire_type, GROUPS_MAX)?;
        self.0 = &before[before.len() - wire.left()..];
        Ok(Some(Field { number, value, whole: &before[..before.len() - wire.left()] }))
    }
}

/// Appends a number, an enum or a bool.
pub(super) fn put_int(number: u32, value: u32, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(u64::from(value), out);
}
