//! Heads of blocks that come again and again: most calls of a client, and most answers of a server, differ in nothing
//! that a block says. The worker keeps these heads, not the connections, so an idle connection holds none.

use super::super::bytes::{mix, same};
use super::arena::{Arena, Entry, Said, Span};

/// Blocks and heads larger than this are read each time.
const BLOCK_MAX: usize = 256;
const BYTES_MAX: usize = 1024;
const FIELDS_MAX: usize = 32;
/// Places for heads; a block has one, by its hash.
pub(super) const SLOTS: usize = 128;

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

/// A head that is kept, and its block.
pub(super) struct Kept {
    key: Key,
    pub(super) block: Vec<u8>,
    pub(super) arena: Arena,
    pub(super) said: Said,
}

impl Slot {
    /// The head of this block, if it is here.
    pub(super) fn of_block(&self, key: &Key, block: &[u8]) -> Option<&Kept> {
        self.kept.as_deref().filter(|kept| kept.key == *key && same(&kept.block, block))
    }

    /// The block of this head, if it is here.
    pub(super) fn of_head(&self, key: &Key, arena: &Arena, said: &Said) -> Option<&Kept> {
        self.kept.as_deref().filter(|kept| {
            kept.key == *key
                && same_said(&kept.said, said)
                && same(&kept.arena.bytes, &arena.bytes)
                && same_entries(&kept.arena.entries, &arena.entries)
        })
    }

    /// Keeps a head and its block, if the block has come before.
    pub(super) fn keep(&mut self, key: &Key, (block, hash): (&[u8], u64), arena: &Arena, said: &Said) {
        let Arena { bytes, entries } = arena;
        if block.len() > BLOCK_MAX || bytes.len() > BYTES_MAX || entries.len() > FIELDS_MAX {
            return;
        }
        if self.seen != hash {
            self.seen = hash;
            return;
        }
        let kept = self.kept.get_or_insert_with(|| {
            Box::new(Kept { key: *key, block: Vec::new(), arena: Arena::default(), said: *said })
        });
        kept.key = *key;
        kept.block.clear();
        kept.block.extend_from_slice(block);
        kept.arena.copy_from(arena);
        kept.said = *said;
    }

    /// Whether it keeps a head.
    #[cfg(test)]
    pub(super) fn is_used(&self) -> bool {
        self.kept.is_some()
    }
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

    /// A hash to begin that of a head with.
    pub(super) fn seed(&self, status: u16) -> u64 {
        self.table << 8 ^ u64::from(status)
    }

    /// The hash of a block, unless that is too long to be kept.
    pub(in super::super) fn hash(&self, block: &[u8]) -> Option<u64> {
        (block.len() <= BLOCK_MAX).then(|| mix(self.table << 8 ^ u64::from(self.kind), block))
    }
}

/// The place of a block with this hash.
pub(super) fn place(hash: u64) -> usize {
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
