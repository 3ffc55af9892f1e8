//! Exemplars: for each bucket of durations on the page, the trace of a call that fell into it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A call that stands for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// The call's trace; never zero.
    pub trace_id: u128,
    /// The call's duration, rounded up to microseconds.
    pub micros: u64,
    /// The call's end, in microseconds since 1970.
    pub unix_us: u64,
}

/// Room for one exemplar. One core writes, anybody may read.
#[derive(Debug, Default)]
pub struct ExemplarSlot {
    /// Odd while the words change.
    version: AtomicU64,
    words: [AtomicU64; 4],
}

impl ExemplarSlot {
    /// Replaces the exemplar. Only the owning core may call this.
    pub fn set(&self, new: Exemplar) {
        let version = self.version.load(Relaxed).wrapping_add(1);
        self.version.store(version, Release);
        let words = [(new.trace_id >> 64) as u64, new.trace_id as u64, new.micros, new.unix_us];
        for (word, new) in self.words.iter().zip(words) {
            word.store(new, Release);
        }
        self.version.store(version.wrapping_add(1), Release);
    }

    /// The exemplar; `None` where there is none yet, or it changes just now.
    pub fn get(&self) -> Option<Exemplar> {
        let version = self.version.load(Acquire);
        let [high, low, micros, unix_us] = std::array::from_fn(|at| self.words[at].load(Acquire));
        let is_whole = version.is_multiple_of(2) && self.version.load(Acquire) == version;
        let trace_id = u128::from(high) << 64 | u128::from(low);
        (is_whole && trace_id != 0).then_some(Exemplar { trace_id, micros, unix_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_kept_whole() {
        let slot = ExemplarSlot::default();
        assert_eq!(slot.get(), None);
        for trace_id in [1, u128::MAX] {
            let exemplar = Exemplar { trace_id, micros: 3, unix_us: 4 };
            slot.set(exemplar);
            assert_eq!(slot.get(), Some(exemplar));
        }
    }
}
