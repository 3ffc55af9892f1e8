//! Heads of blocks that come again and again: most calls of a client, and most answers of a server, differ in nothing
//! that a block says. The worker keeps these heads, not the connections, so an idle connection holds none.

use std::rc::Rc;

use super::super::bytes::{mix, mix_number, same};
use super::arena::{Entry, Parts, Said, Span};

/// Blocks and heads larger than this are read each time.
const BLOCK_MAX: usize = 256;
const BYTES_MAX: usize = 1024;
const FIELDS_MAX: usize = 32;
/// Heads in more memory than this are copied to be kept.
const MEMORY_MAX: usize = 4096;
/// Places for heads; a block has two, by its hash. So many that the few blocks of each busy connection find one.
const SLOTS: usize = 1024;

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

/// The low bits of a table's number, which say how often it has changed.
pub(in super::super) const VERSION_BITS: u32 = 24;

const WRITTEN: u8 = u8::MAX;

/// All heads that are kept. There are no places until a block repeats.
#[derive(Default)]
pub(super) struct Memos(Vec<Slot>);

#[derive(Default)]
struct Slot {
    /// The hash of the last block that came and was not kept. It is kept when it comes again.
    seen: u64,
    kept: Option<Kept>,
}

/// A head that is kept, and its block.
struct Kept {
    key: Key,
    block: Vec<u8>,
    parts: Rc<Parts>,
}

impl Memos {
    /// The head of this block, if it is here.
    #[inline]
    pub(super) fn of_block(&self, key: &Key, block: &[u8], hash: u64) -> Option<&Rc<Parts>> {
        let kept = self.find(hash, |kept| kept.key == *key && same(&kept.block, block))?;
        Some(&kept.parts)
    }

    /// The block of this head, if it is here.
    #[inline]
    pub(super) fn of_head(&self, key: &Key, parts: &Rc<Parts>, hash: u64) -> Option<&[u8]> {
        let is_it = |kept: &Kept| Rc::ptr_eq(&kept.parts, parts) || same_parts(&kept.parts, parts);
        let kept = self.find(hash, |kept| kept.key == *key && is_it(kept))?;
        Some(&kept.block)
    }

    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(&Kept) -> bool) -> Option<&Kept> {
        let at = |place: usize| self.0.get(place)?.kept.as_ref().filter(|kept| is_it(kept));
        let [first, second] = places(hash);
        at(first).or_else(|| at(second))
    }

    /// Whether a block has come before that may be kept. If it has not, it has come now.
    pub(super) fn has_come(&mut self, block: &[u8], hash: u64, Parts { arena, .. }: &Parts) -> bool {
        if block.len() > BLOCK_MAX || arena.bytes.len() > BYTES_MAX || arena.entries.len() > FIELDS_MAX {
            return false;
        }
        if self.0.is_empty() {
            self.0.resize_with(SLOTS, Slot::default);
        }
        let [first, _] = places(hash);
        std::mem::replace(&mut self.0[first].seen, hash) == hash
    }

    /// Keeps a head and its block, in place of what came first to its places. Gives the head that was.
    pub(super) fn keep(
        &mut self,
        key: &Key,
        (block, hash): (&[u8], u64),
        parts: Rc<Parts>,
    ) -> Option<Rc<Parts>> {
        let [first, second] = places(hash);
        let before = self.0[second].kept.take();
        self.0[second].kept = self.0[first].kept.take();
        let (mut memory, before) = before.map_or((Vec::new(), None), |kept| (kept.block, Some(kept.parts)));
        memory.clear();
        memory.extend_from_slice(block);
        self.0[first].kept = Some(Kept { key: *key, block: memory, parts });
        before
    }

    /// Gives up the heads of these tables, which are gone, and the blocks that others have for them.
    pub(super) fn forget(&mut self, tables: [Option<u64>; 2], mut give: impl FnMut(Rc<Parts>)) {
        let mut numbers = Vec::new();
        let is_theirs = |kept: &Kept| {
            let is_theirs = tables.contains(&Some(kept.key.table >> VERSION_BITS));
            if is_theirs && kept.key.kind != WRITTEN {
                numbers.push(kept.parts.number);
            }
            is_theirs
        };
        self.give_up(is_theirs, &mut give);
        if !numbers.is_empty() {
            self.give_up(|kept| numbers.contains(&kept.parts.number), &mut give);
        }
    }

    fn give_up(&mut self, mut is_over: impl FnMut(&Kept) -> bool, give: &mut impl FnMut(Rc<Parts>)) {
        for slot in &mut self.0 {
            if let Some(kept) = slot.kept.take_if(|kept| is_over(kept)) {
                give(kept.parts);
            }
        }
    }

    /// How many heads are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().filter(|slot| slot.kept.is_some()).count()
    }
}

/// The parts of a head, to be kept: they are shared, and known by `number` if nobody shares them yet. Those in far more
/// memory than they need are copied.
pub(super) fn shared(parts: &mut Rc<Parts>, number: u64) -> Rc<Parts> {
    if parts.arena.capacity() > MEMORY_MAX {
        let mut copy = Parts::default();
        copy.copy_from(parts);
        copy.number = number;
        return Rc::new(copy);
    }
    if let Some(own) = Rc::get_mut(parts) {
        own.number = number;
    }
    Rc::clone(parts)
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

    /// The hash of a head that is known by this number.
    pub(super) fn hash_number(&self, number: u64) -> u64 {
        mix_number(mix_number(0, self.table), number)
    }

    /// The hash of a block, unless that is too long to be kept.
    pub(in super::super) fn hash(&self, block: &[u8]) -> Option<u64> {
        (block.len() <= BLOCK_MAX).then(|| mix(self.table << 8 ^ u64::from(self.kind), block))
    }
}

/// The places of a block with this hash.
fn places(hash: u64) -> [usize; 2] {
    let first = (hash >> 32) as usize % SLOTS;
    [first, first ^ 1]
}

/// Whether two heads say the same.
fn same_parts(one: &Parts, other: &Parts) -> bool {
    same_said(&one.said, &other.said)
        && same(&one.arena.bytes, &other.arena.bytes)
        && same_entries(&one.arena.entries, &other.arena.entries)
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
