//! Heads that are taken from those that the worker keeps, and kept there.

use super::super::bytes::mix;
use super::Head;
use super::memo::{Key, SLOTS, Slot, place};

/// Heads with fewer fields are written each time, as that is faster.
const FIELDS_MIN: usize = 4;

impl Head {
    /// Becomes the head of this block, if it is kept.
    pub(in super::super) fn recall(&mut self, key: &Key, block: &[u8], hash: u64) -> bool {
        let slots = self.pool.memos.borrow();
        let Some(kept) = slots.get(place(hash)).and_then(|slot| slot.of_block(key, block)) else {
            return false;
        };
        let parts = self.parts.as_mut().expect("a head has its parts until it is dropped");
        parts.arena.copy_from(&kept.arena);
        parts.said = kept.said;
        true
    }

    /// Whether a block of it may be kept.
    #[inline]
    pub(in super::super) fn may_be_kept(&self) -> bool {
        self.arena().entries.len() >= FIELDS_MIN && !self.said().is_secret
    }

    /// A hash of what it says.
    pub(in super::super) fn hash(&self, key: &Key) -> u64 {
        let seed = key.seed(self.said().status);
        mix(mix(seed, self.path().unwrap_or_default()), &self.arena().bytes)
    }

    /// Appends its block, if that is kept.
    #[inline(never)]
    pub(in super::super) fn recall_block(&self, key: &Key, hash: u64, out: &mut Vec<u8>) -> bool {
        let slots = self.pool.memos.borrow();
        let kept = slots.get(place(hash)).and_then(|slot| slot.of_head(key, self.arena(), self.said()));
        if let Some(kept) = kept {
            out.extend_from_slice(&kept.block);
        }
        kept.is_some()
    }

    /// Keeps itself as the head of this block, if the block has come before. No field may be sensitive, so that no
    /// secret outlives its call.
    pub(in super::super) fn remember(&self, key: &Key, block: &[u8], hash: u64) {
        if self.said().is_secret {
            return;
        }
        let mut slots = self.pool.memos.borrow_mut();
        if slots.is_empty() {
            slots.resize_with(SLOTS, Slot::default);
        }
        slots[place(hash)].keep(key, (block, hash), self.arena(), self.said());
    }
}

#[cfg(test)]
impl super::Heads {
    /// How many heads it keeps.
    pub(in super::super) fn kept(&self) -> usize {
        self.memos.borrow().iter().filter(|slot| slot.is_used()).count()
    }
}
