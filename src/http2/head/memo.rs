//! Heads of blocks that come again and again: most calls of a client, and most answers of a server, differ in nothing
//! that a block says. The worker keeps these heads, not the connections, so an idle connection holds none.

use super::super::bytes::{mix, same};
use super::{Arena, Entry, Head, Said, Span};

/// Blocks and heads larger than this are read each time.
const BLOCK_MAX: usize = 256;
const BYTES_MAX: usize = 1024;
const FIELDS_MAX: usize = 32;
/// Heads with fewer fields are written each time, as that is faster.
const FIELDS_MIN: usize = 4;
/// Places for heads; a block has one, by its hash.
const SLOTS: usize = 128;

/// All that a block is read by, or a head is written by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Key {
    /// The number of this connection's table as it is; no other table ever has it, nor this one after a change.
    table: u64,
    /// The kind of head that is read, or [`WRITTEN`].
    kind: u8,
    /// The bounds of a head that is read.
    limits: (usize, usize),
}

const WRITTEN: u8 = u8::MAX;

#[derive(Default)]
pub(super) struct Slot {
    /// The hash of the last block that came and was not kept. It is kept when it comes again.
    seen: u64,
    kept: Option<Box<Kept>>,
}

struct Kept {
    key: Key,
    block: Vec<u8>,
    arena: Arena,
    said: Said,
}

impl Key {
    /// Of a block that is read.
    pub(in super::super) fn of_block(table: u64, kind: u8, limits: (usize, usize)) -> Key {
        Key { table, kind, limits }
    }

    /// Of a head that is written.
    pub(in super::super) fn of_head(table: u64) -> Key {
        Key { table, kind: WRITTEN, limits: (0, 0) }
    }

    /// The hash of a block, unless that is too long to be kept.
    pub(in super::super) fn hash(&self, block: &[u8]) -> Option<u64> {
        (block.len() <= BLOCK_MAX).then(|| mix(self.table << 8 ^ u64::from(self.kind), block))
    }
}

fn place(hash: u64) -> usize {
    (hash >> 32) as usize % SLOTS
}

/// Whether two lists of fields are equal. All are compared, so that no branch stands between them.
fn same_entries(one: &[Entry], other: &[Entry]) -> bool {
    let differs = |one: &Entry, other: &Entry| {
        (one.start ^ other.start)
            | (one.name_length ^ other.name_length)
            | (one.value_length ^ other.value_length)
            | (one.what ^ other.what)
    };
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |all, (one, other)| all | differs(one, other)) == 0
}

/// Whether both have the same pseudo-fields. The fields are compared by themselves.
fn same_said(one: &Said, other: &Said) -> bool {
    let differs = |one: &Span, other: &Span| (one.start ^ other.start) | (one.length ^ other.length);
    let spans = one.pseudo.iter().zip(&other.pseudo);
    one.status == other.status && spans.fold(0, |all, (one, other)| all | differs(one, other)) == 0
}

impl Head {
    /// Becomes the head of this block, if it is kept.
    pub(in super::super) fn recall(&mut self, key: &Key, block: &[u8], hash: u64) -> bool {
        let slots = self.pool.memos.borrow();
        let Some(kept) = slots.get(place(hash)).and_then(|slot| slot.kept.as_ref()) else {
            return false;
        };
        if kept.key != *key || !same(&kept.block, block) {
            return false;
        }
        self.arena.copy_from(&kept.arena);
        self.said = kept.said;
        true
    }

    /// Whether a block of it may be kept.
    #[inline]
    pub(in super::super) fn may_be_kept(&self) -> bool {
        self.arena.entries.len() >= FIELDS_MIN && !self.said.is_secret
    }

    /// A hash of what it says.
    pub(in super::super) fn hash(&self, key: &Key) -> u64 {
        let seed = key.table << 8 ^ u64::from(self.said.status);
        mix(mix(seed, self.path().unwrap_or_default()), &self.arena.bytes)
    }

    /// Appends its block, if that is kept.
    #[inline(never)]
    pub(in super::super) fn recall_block(&self, key: &Key, hash: u64, out: &mut Vec<u8>) -> bool {
        let slots = self.pool.memos.borrow();
        let Some(kept) = slots.get(place(hash)).and_then(|slot| slot.kept.as_ref()) else {
            return false;
        };
        let is_same = kept.key == *key
            && same_said(&kept.said, &self.said)
            && same(&kept.arena.bytes, &self.arena.bytes)
            && same_entries(&kept.arena.entries, &self.arena.entries);
        if is_same {
            out.extend_from_slice(&kept.block);
        }
        is_same
    }

    /// Keeps itself as the head of this block, if the block has come before. No field may be sensitive, so that no
    /// secret outlives its call.
    pub(in super::super) fn remember(&self, key: &Key, block: &[u8], hash: u64) {
        let Arena { bytes, entries } = &self.arena;
        let is_small = block.len() <= BLOCK_MAX && bytes.len() <= BYTES_MAX && entries.len() <= FIELDS_MAX;
        if !is_small || self.said.is_secret {
            return;
        }
        let mut slots = self.pool.memos.borrow_mut();
        if slots.is_empty() {
            slots.resize_with(SLOTS, Slot::default);
        }
        let slot = &mut slots[place(hash)];
        if slot.seen != hash {
            slot.seen = hash;
            return;
        }
        let kept = slot.kept.get_or_insert_with(|| {
            Box::new(Kept { key: *key, block: Vec::new(), arena: Arena::default(), said: self.said })
        });
        kept.key = *key;
        kept.block.clear();
        kept.block.extend_from_slice(block);
        kept.arena.copy_from(&self.arena);
        kept.said = self.said;
    }
}

#[cfg(test)]
impl super::Heads {
    /// How many heads it keeps.
    pub(in super::super) fn kept(&self) -> usize {
        self.memos.borrow().iter().filter(|slot| slot.kept.is_some()).count()
    }
}
