//! Heads that are taken from those that the worker keeps, and kept there.

use std::rc::Rc;

use super::super::bytes::mix;
use super::arena::Parts;
use super::memo::{Key, shared};
use super::{Head, Heads};

/// Heads with fewer fields are written each time, as that is faster, unless they are known by their number.
const FIELDS_MIN: usize = 4;

impl Head {
    /// Becomes the head of this block, if it is kept. It has nothing yet.
    #[inline]
    pub(in super::super) fn recall(&mut self, key: &Key, block: &[u8], hash: u64) -> bool {
        let parts = self.pool.memos.borrow().of_block(key, block, hash).map(Rc::clone);
        let is_kept = parts.is_some();
        if is_kept {
            debug_assert!(self.parts.is_none());
            self.parts = parts;
        }
        is_kept
    }

    /// Whether a block of it may be kept.
    #[inline]
    pub(in super::super) fn may_be_kept(&self) -> bool {
        let parts = self.parts();
        parts.number != 0 || (parts.arena.entries.len() >= FIELDS_MIN && !parts.said.is_secret)
    }

    /// A hash of what it says.
    #[inline]
    pub(in super::super) fn hash(&self, key: &Key) -> u64 {
        if let Some(number) = self.number() {
            return key.hash_number(number.get());
        }
        let seed = key.seed(self.said().status);
        mix(mix(seed, self.path().unwrap_or_default()), &self.arena().bytes)
    }

    /// Appends its block, if that is kept.
    #[inline(never)]
    pub(in super::super) fn recall_block(&self, key: &Key, hash: u64, out: &mut Vec<u8>) -> bool {
        let Some(parts) = &self.parts else { return false };
        let memos = self.pool.memos.borrow();
        let block = memos.of_head(key, parts, hash);
        if let Some(block) = block {
            out.extend_from_slice(block);
        }
        block.is_some()
    }

    /// Keeps itself as the head that this block is read as, if the block has come before. No field may be sensitive, so
    /// that no secret outlives its call.
    pub(in super::super) fn remember(&mut self, key: &Key, block: &[u8], hash: u64) {
        if self.said().is_secret {
            return;
        }
        if let Some(parts) = &mut self.parts {
            self.pool.remember(key, (block, hash), parts);
        }
    }

    /// Keeps itself as a head that this block is written for.
    pub(in super::super) fn remember_block(&self, key: &Key, block: &[u8], hash: u64) {
        if let Some(mut parts) = self.parts.clone() {
            self.pool.remember(key, (block, hash), &mut parts);
        }
    }
}

impl Heads {
    /// Gives up what is kept for tables that are gone, by their numbers.
    pub(in super::super) fn forget(&self, tables: [Option<u64>; 2]) {
        if tables != [None, None] {
            self.memos.borrow_mut().forget(tables, |parts| self.spares.give(parts));
        }
    }

    fn remember(&self, key: &Key, (block, hash): (&[u8], u64), parts: &mut Rc<Parts>) {
        let mut memos = self.memos.borrow_mut();
        if memos.has_come(block, hash, parts) {
            self.numbers.set(self.numbers.get() + 1);
            let parts = shared(parts, self.numbers.get());
            if let Some(before) = memos.keep(key, (block, hash), parts) {
                self.spares.give(before);
            }
        }
    }
}

#[cfg(test)]
impl Heads {
    /// How many heads it keeps.
    pub(in super::super) fn kept(&self) -> usize {
        self.memos.borrow().len()
    }
}
