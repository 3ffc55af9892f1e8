//! Bytes of a head's fields, and what is where.

use super::super::name::Name;

/// Bytes of names and values, and what is where.
#[derive(Default)]
pub(super) struct Arena {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl Arena {
    pub(super) fn copy_from(&mut self, other: &Arena) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.entries.clear();
        self.entries.extend_from_slice(&other.entries);
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}

/// A field. The name, if it has no number, stands right before the value.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) start: u32,
    pub(super) name_length: u32,
    pub(super) value_length: u32,
    /// The number of its name, and whether it is sensitive in the second byte.
    pub(super) what: u32,
}

impl Entry {
    pub(super) fn name(&self) -> Name {
        Name::of_number(self.what as u8)
    }

    pub(super) fn is_sensitive(&self) -> bool {
        self.what >> 8 != 0
    }
}

/// The value of a pseudo-field; no bytes at all is `None`.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: u32,
}

/// The parts of a head that its arena does not hold.
#[derive(Clone, Copy, Default)]
pub(super) struct Said {
    /// The values of pseudo-fields but `:status`, by the numbers of their names.
    pub(super) pseudo: [Span; 4],
    /// A bit for each number that a name of a field has, or had once.
    pub(super) names: [u64; 2],
    /// 0 for none.
    pub(super) status: u16,
    /// Whether a field is or was sensitive.
    pub(super) is_secret: bool,
}
