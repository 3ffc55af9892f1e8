//! The keys of an issuer as all workers see them, and how old they are.
#![allow(
    clippy::disallowed_types,
    reason = "a worker takes the lock only where the number of the set has changed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::KeySet;

/// The keys of an issuer. Whoever fetches them replaces them as a whole.
#[derive(Debug, Default)]
pub struct SharedKeys {
    keys: Mutex<Arc<KeySet>>,
    /// The number of the set; 0 until there is one.
    generation: AtomicU64,
    /// They are too old to be used.
    is_stale: AtomicBool,
    /// A worker has met a key that is not one of them.
    is_wanted: AtomicBool,
    /// The fetches because of unknown keys that have ended, well or not.
    answered: AtomicU64,
}

impl SharedKeys {
    /// Keys that do not change.
    pub fn fixed(keys: KeySet) -> SharedKeys {
        let shared = SharedKeys::default();
        shared.replace(keys);
        shared
    }

    /// The number of the set. `None` where there are no keys that may be used.
    pub fn generation(&self) -> Option<u64> {
        let number = self.generation.load(Ordering::Acquire);
        (number > 0 && !self.is_stale.load(Ordering::Relaxed)).then_some(number)
    }

    /// The keys.
    pub fn get(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.lock())
    }

    /// Replaces the keys.
    pub fn replace(&self, keys: KeySet) {
        *self.keys.lock() = Arc::new(keys);
        self.is_stale.store(false, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Says that they are too old to be used.
    pub fn expire(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Asks for a fetch because of an unknown key. Gives the number of such fetches that have ended.
    pub fn want(&self) -> u64 {
        let answered = self.answered();
        self.is_wanted.store(true, Ordering::Release);
        answered
    }

    /// Whether a fetch is wanted.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// Notes that a fetch that was wanted has ended, or will not be made.
    pub fn answer(&self) {
        self.is_wanted.store(false, Ordering::Release);
        self.answered.fetch_add(1, Ordering::Release);
    }

    /// The fetches that were wanted and have ended.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }
}
