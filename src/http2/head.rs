//! The fields of one head, or of trailers, in one piece of memory that a worker's heads use in turn.

mod arena;
mod debug;
mod join;
mod memo;
mod recall;

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::rc::Rc;

use arena::{Arena, Entry, NOTHING, Parts, Said, Span, Spares};
use memo::Memos;
pub(super) use memo::{Key, VERSION_BITS};

use super::name::{self, Name};

/// The memory that a new arena begins with: enough for most heads of gRPC.
const FIRST_BYTES: usize = 512;
const FIRST_FIELDS: usize = 16;
/// Bytes that each field counts beyond its own (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// The memory of a worker's heads. Heads take arenas from it, and give them back when they are dropped.
#[derive(Default)]
pub struct Heads {
    spares: Spares,
    /// Heads of blocks that come again and again.
    memos: RefCell<Memos>,
    /// Numbers of contents so far.
    numbers: Cell<u64>,
}

/// A field as it is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name's number.
    pub name: Name,
    /// Its name, in lower case.
    pub name_bytes: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Whether no table of a connection may hold it.
    pub sensitive: bool,
}

/// A head or trailers: pseudo-fields, and fields in their order. Two pointers, as heads pass through many hands.
pub struct Head {
    pool: Rc<Heads>,
    /// None while it has nothing. Shared with the block that it was read from, if that is kept, until it is changed.
    parts: Option<Rc<Parts>>,
}

impl Heads {
    /// A pool that holds nothing yet.
    pub fn new() -> Rc<Heads> {
        Rc::default()
    }

    /// An empty head.
    #[inline]
    pub fn head(self: &Rc<Heads>) -> Head {
        Head { pool: Rc::clone(self), parts: None }
    }
}

impl Drop for Head {
    #[inline]
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            self.pool.spares.give(parts);
        }
    }
}

impl Head {
    #[inline(always)]
    fn parts(&self) -> &Parts {
        self.parts.as_deref().unwrap_or(&NOTHING)
    }

    /// The parts, to be changed.
    #[inline(always)]
    fn parts_mut(&mut self) -> &mut Parts {
        if self.parts.as_ref().is_none_or(|parts| Rc::strong_count(parts) > 1) {
            self.take_parts();
        }
        let parts = self.parts.as_mut().and_then(Rc::get_mut).expect("nobody shares them");
        parts.number = 0;
        parts
    }

    /// Takes parts of its own, equal to those that it has.
    #[inline(never)]
    fn take_parts(&mut self) {
        let mut own = self.pool.spares.take();
        if let (Some(shared), Some(own)) = (&self.parts, Rc::get_mut(&mut own)) {
            own.copy_from(shared);
        }
        self.parts = Some(own);
    }

    #[inline(always)]
    fn arena(&self) -> &Arena {
        &self.parts().arena
    }

    #[inline(always)]
    fn arena_mut(&mut self) -> &mut Arena {
        &mut self.parts_mut().arena
    }

    #[inline(always)]
    fn said(&self) -> &Said {
        &self.parts().said
    }

    /// The number of all that it says, if that has come again and again. No other content ever has this number.
    #[inline]
    pub fn number(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.parts().number)
    }
}

/// Pseudo-fields.
impl Head {
    /// `:method`
    pub fn method(&self) -> Option<&[u8]> {
        self.pseudo(Name::METHOD)
    }

    /// `:scheme`
    pub fn scheme(&self) -> Option<&[u8]> {
        self.pseudo(Name::SCHEME)
    }

    /// `:authority`. The decoder puts a `host` field here when there is no `:authority`.
    pub fn authority(&self) -> Option<&[u8]> {
        self.pseudo(Name::AUTHORITY)
    }

    /// `:path`
    pub fn path(&self) -> Option<&[u8]> {
        self.pseudo(Name::PATH)
    }

    /// `:status`
    pub fn status(&self) -> Option<u16> {
        (self.said().status != 0).then_some(self.said().status)
    }

    /// Sets `:method`; an empty value removes it.
    pub fn set_method(&mut self, value: &[u8]) {
        self.keep(Name::METHOD, value);
    }

    /// Sets `:scheme`; an empty value removes it.
    pub fn set_scheme(&mut self, value: &[u8]) {
        self.keep(Name::SCHEME, value);
    }

    /// Sets `:authority`; an empty value removes it.
    pub fn set_authority(&mut self, value: &[u8]) {
        self.keep(Name::AUTHORITY, value);
    }

    /// Sets `:path`; an empty value removes it.
    pub fn set_path(&mut self, value: &[u8]) {
        self.keep(Name::PATH, value);
    }

    /// Sets `:status`; 0 removes it.
    pub fn set_status(&mut self, status: u16) {
        self.parts_mut().said.status = status;
    }

    fn pseudo(&self, name: Name) -> Option<&[u8]> {
        let Span { start, length } = self.span(name);
        let start = start as usize;
        (length != 0).then(|| &self.arena().bytes[start..start + length as usize])
    }

    fn span(&self, name: Name) -> Span {
        self.said().pseudo[slot(name)]
    }

    fn keep(&mut self, name: Name, value: &[u8]) {
        let start = self.append(value);
        self.set_pseudo(name, start, value.len());
    }
}

/// Fields.
impl Head {
    /// Adds a field at the end. The name has to have a number, and must not be a pseudo-field's.
    pub fn push(&mut self, name: Name, value: &[u8]) {
        self.push_field(name, b"", value, false);
    }

    /// Adds a field that no table of a connection may hold.
    pub fn push_sensitive(&mut self, name: Name, value: &[u8]) {
        self.push_field(name, b"", value, true);
    }

    /// Adds a field by its name, in lower case.
    pub fn push_named(&mut self, name: &[u8], value: &[u8]) {
        self.push_field(Name::of(name), name, value, false);
    }

    /// Adds a field by its name, in lower case, that no table of a connection may hold.
    pub fn push_named_sensitive(&mut self, name: &[u8], value: &[u8]) {
        self.push_field(Name::of(name), name, value, true);
    }

    /// Replaces all fields of this name by one at the end.
    pub fn insert(&mut self, name: Name, value: &[u8]) {
        self.remove(name);
        self.push(name, value);
    }

    /// The first value of this name.
    #[inline]
    pub fn get(&self, name: Name) -> Option<&[u8]> {
        if !self.may_have(name) {
            return None;
        }
        let entry = self.arena().entries.iter().find(|entry| entry.name() == name)?;
        Some(self.value(entry))
    }

    /// The first value of this name, in lower case.
    pub fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        match Name::of(name) {
            Name::OTHER => self.iter().find(|field| field.name_bytes == name).map(|field| field.value),
            known => self.get(known),
        }
    }

    /// The values of this name in their order.
    pub fn get_all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let entries = if self.may_have(name) { &self.arena().entries[..] } else { &[] };
        entries.iter().filter(move |entry| entry.name() == name).map(|entry| self.value(entry))
    }

    /// Removes all fields of this name; whether there were any.
    pub fn remove(&mut self, name: Name) -> bool {
        if !self.may_have(name) {
            return false;
        }
        let entries = &mut self.arena_mut().entries;
        let Some(first) = entries.iter().position(|entry| entry.name() == name) else {
            return false;
        };
        entries.remove(first);
        if entries[first..].iter().any(|entry| entry.name() == name) {
            entries.retain(|entry| entry.name() != name);
        }
        let (word, bit) = bit(name);
        self.parts_mut().said.names[word] &= !bit;
        true
    }

    /// Removes all fields of this name, in lower case; whether there were any.
    pub fn remove_named(&mut self, name: &[u8]) -> bool {
        match Name::of(name) {
            Name::OTHER => {
                let before = self.len();
                self.retain(|field| field.name_bytes != name);
                self.len() != before
            }
            known => self.remove(known),
        }
    }

    /// Keeps the fields for which `keep` holds. Pseudo-fields stay.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let Arena { bytes, entries } = self.arena_mut();
        entries.retain(|entry| keep(read(bytes, entry)));
    }

    /// The fields in their order, without pseudo-fields.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.arena().entries.iter().map(|entry| read(&self.arena().bytes, entry))
    }

    /// How many fields there are, pseudo-fields not counted.
    pub fn len(&self) -> usize {
        self.arena().entries.len()
    }

    /// Whether there are no fields, pseudo-fields not counted.
    pub fn is_empty(&self) -> bool {
        self.arena().entries.is_empty()
    }

    /// The value of a `content-length` that is a number of 64 bits.
    #[inline]
    pub fn content_length(&self) -> Option<u64> {
        content_length(self.get(Name::CONTENT_LENGTH)?)
    }

    /// The size RFC 9113 section 6.5.2 gives this list of fields, pseudo-fields included.
    pub fn list_size(&self) -> usize {
        let pseudo = |name: Name, length: usize| match length {
            0 => 0,
            length => name.as_bytes().len() + length + FIELD_OVERHEAD,
        };
        let spans = [Name::METHOD, Name::SCHEME, Name::AUTHORITY, Name::PATH];
        self.iter().map(|field| field.list_size()).sum::<usize>()
            + spans.iter().map(|name| pseudo(*name, self.span(*name).length as usize)).sum::<usize>()
            + pseudo(Name::STATUS, if self.said().status == 0 { 0 } else { 3 })
    }

    /// Removes everything, pseudo-fields included, and keeps the memory.
    pub fn clear(&mut self) {
        self.parts_mut().clear();
    }

    /// Becomes equal to `other`, pseudo-fields included.
    pub fn copy_from(&mut self, other: &Head) {
        self.parts_mut().copy_from(other.parts());
    }

    /// Adds the fields of `other` at the end, without its pseudo-fields.
    pub fn append_from(&mut self, other: &Head) {
        for field in other.iter() {
            self.push_field(field.name, field.name_bytes, field.value, field.sensitive);
        }
    }

    fn push_field(&mut self, name: Name, name_bytes: &[u8], value: &[u8], sensitive: bool) {
        debug_assert!(!name.is_pseudo(), "pseudo-fields have setters");
        self.reserve();
        let start = self.arena().bytes.len() as u32;
        let mut name_length = 0;
        if name == Name::OTHER {
            debug_assert!(!name_bytes.is_empty(), "a field needs a name");
            self.arena_mut().bytes.extend_from_slice(name_bytes);
            name_length = name_bytes.len();
        }
        self.arena_mut().bytes.extend_from_slice(value);
        self.add_entry(name, start, name_length, value.len(), sensitive);
    }

    /// Whether there may be a field of this name.
    #[inline]
    fn may_have(&self, name: Name) -> bool {
        let (word, bit) = bit(name);
        self.said().names[word] & bit != 0
    }

    fn value(&self, entry: &Entry) -> &[u8] {
        let start = (entry.start + entry.name_length) as usize;
        &self.arena().bytes[start..start + entry.value_length as usize]
    }
}

/// The decoder's side: it writes names and values at the end of the bytes first, and then says which they are.
impl Head {
    /// Adds bytes that belong to no field yet; where they begin.
    pub(super) fn append(&mut self, bytes: &[u8]) -> u32 {
        let start = self.arena().bytes.len();
        self.reserve();
        self.arena_mut().bytes.extend_from_slice(bytes);
        start as u32
    }

    /// The bytes of all fields, for a writer that appends to them.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.arena_mut().bytes
    }

    /// Takes the memory that most heads need, unless there is some.
    pub(super) fn reserve(&mut self) {
        let arena = self.arena_mut();
        if arena.bytes.capacity() == 0 {
            arena.bytes.reserve(FIRST_BYTES);
            arena.entries.reserve(FIRST_FIELDS);
        }
    }

    /// The bytes from `start` on.
    pub(super) fn tail(&self, start: u32) -> &[u8] {
        &self.arena().bytes[start as usize..]
    }

    /// Makes a field of bytes that were appended: a name if it has no number, and the value after it.
    #[inline]
    pub(super) fn add_entry(
        &mut self,
        name: Name,
        start: u32,
        name_length: usize,
        value_length: usize,
        sensitive: bool,
    ) {
        let (word, bit) = bit(name);
        let Parts { arena, said, .. } = self.parts_mut();
        said.names[word] |= bit;
        said.is_secret |= sensitive;
        arena.entries.push(Entry {
            start,
            name_length: name_length as u32,
            value_length: value_length as u32,
            what: name.number() as u32 | u32::from(sensitive) << 8,
        });
    }

    /// Makes a pseudo-field of a value that was appended.
    #[inline]
    pub(super) fn set_pseudo(&mut self, name: Name, start: u32, length: usize) {
        self.parts_mut().said.pseudo[slot(name)] = Span { start, length: length as u32 };
    }

    /// The fields in their order as the encoder reads them, without pseudo-fields.
    #[inline]
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.arena().entries.iter().map(|entry| {
            let (start, name_length) = (entry.start as usize, entry.name_length as usize);
            let bytes = &self.arena().bytes[start..start + name_length + entry.value_length as usize];
            Line { name: entry.name(), name_length, bytes, sensitive: entry.is_sensitive() }
        })
    }
}

/// A field as the encoder reads it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) name: Name,
    /// The length of the name if it has no number; else 0.
    pub(super) name_length: usize,
    /// The name if it has no number, and the value.
    pub(super) bytes: &'a [u8],
    pub(super) sensitive: bool,
}

/// Where the value of a pseudo-field but `:status` stands.
fn slot(name: Name) -> usize {
    debug_assert!((1..5).contains(&name.number()), "{name:?} has no span");
    name.number().wrapping_sub(1) % 4
}

/// The bit of a name.
fn bit(name: Name) -> (usize, u64) {
    const { assert!(name::COUNT <= 128, "two words hold a bit of each name") };
    (name.number() / 64 % 2, 1 << (name.number() % 64))
}

impl Field<'_> {
    /// The size RFC 9113 section 6.5.2 gives this field.
    pub fn list_size(&self) -> usize {
        self.name_bytes.len() + self.value.len() + FIELD_OVERHEAD
    }
}

fn read<'a>(bytes: &'a [u8], entry: &Entry) -> Field<'a> {
    let (start, name_length) = (entry.start as usize, entry.name_length as usize);
    let (name, value) = bytes[start..start + name_length + entry.value_length as usize].split_at(name_length);
    let name_bytes = if entry.name() == Name::OTHER { name } else { entry.name().as_bytes() };
    Field { name: entry.name(), name_bytes, value, sensitive: entry.is_sensitive() }
}

/// The number that a value of `content-length` is, if it is one of 64 bits.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, digit) }
}

#[cfg(test)]
mod tests;
