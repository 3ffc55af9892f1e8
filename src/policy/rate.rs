//! May a route take one more call now? A token bucket that is exact over workers although each is alone.
//!
//! The words and the steps are those of Envoy's local rate limit: a full bucket has `max_tokens`, and at each
//! `fill_interval` it gets `tokens_per_fill`, as far as they fit. As in `limit.rs`, a worker leases a batch of tokens
//! and touches what is shared once per batch, and puts idle ones back on its tick.
//!
//! What is leased counts as if it were in the bucket still until the worker asks for the next batch, so between fills no
//! more than `max_tokens` calls are ever let through, and over any time no more than that and what was filled. A call
//! can be refused early only while other workers hold idle tokens, which are at most a quarter of all, until their tick.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::RateLimit;
use crate::time::Moment;

/// The bucket of all workers.
#[derive(Debug)]
#[repr(align(128))]
pub struct SharedRate {
    bucket: AtomicU64,
    max: u32,
    per_fill: u32,
    interval_nanos: u64,
    batch: u32,
}

/// The bucket as one word: the number of the last fill, modulo 2^24; tokens in it; tokens that are leased. The two
/// together are never more than `max`, which fits 20 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    fill: u32,
    free: u32,
    leased: u32,
}

impl Bucket {
    fn pack(self) -> u64 {
        u64::from(self.fill) << 40 | u64::from(self.free) << 20 | u64::from(self.leased)
    }

    fn unpack(word: u64) -> Bucket {
        let field = |shift: u32| (word >> shift) as u32 & TOKENS_MASK;
        Bucket { fill: (word >> 40) as u32, free: field(20), leased: field(0) }
    }
}

impl SharedRate {
    /// A full bucket, for this many workers.
    pub fn new(settings: RateLimit, workers: usize, now: Moment) -> Arc<Self> {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        let max = settings.max_tokens.min(TOKENS_MASK);
        let interval = u64::try_from(settings.fill_interval.as_nanos()).unwrap_or(u64::MAX);
        let rate = Self {
            bucket: AtomicU64::new(0),
            max,
            per_fill: settings.tokens_per_fill,
            interval_nanos: interval.max(1),
            batch: (max / workers.saturating_mul(4)).clamp(1, BATCH_MAX),
        };
        let full = Bucket { fill: rate.fill(now), free: max, leased: 0 };
        rate.bucket.store(full.pack(), Ordering::Relaxed);
        Arc::new(rate)
    }

    /// The number of the fill that this moment is in.
    fn fill(&self, now: Moment) -> u32 {
        (now.as_nanos() / self.interval_nanos) as u32 & FILL_MASK
    }

    /// Pours in what is due.
    fn filled(&self, bucket: Bucket, now: Moment) -> Bucket {
        let fill = self.fill(now);
        let passed = fill.wrapping_sub(bucket.fill) & FILL_MASK;
        // The upper half is the past: another worker's clock was read a little later.
        if passed == 0 || passed > FILL_MASK / 2 {
            return bucket;
        }
        let new = u64::from(passed) * u64::from(self.per_fill);
        let room = u64::from(self.max - bucket.leased);
        // At most `room`, which is at most `max`.
        let free = (u64::from(bucket.free) + new).min(room) as u32;
        Bucket { fill, free, ..bucket }
    }

    /// Ends a lease of `had` tokens, of which `idle` were not used, and begins the next, of at most `wanted`. Says how
    /// many tokens that has.
    fn exchange(&self, had: u32, idle: u32, wanted: u32, now: Moment) -> u32 {
        let mut word = self.bucket.load(Ordering::Relaxed);
        loop {
            let mut bucket = Bucket::unpack(word);
            bucket.leased -= had;
            bucket.free += idle;
            let mut bucket = self.filled(bucket, now);
            let count = bucket.free.min(wanted);
            bucket.free -= count;
            bucket.leased += count;
            let next = bucket.pack();
            if next == word {
                return count;
            }
            // Nothing but the count itself is handed over, so no order is needed.
            match self.bucket.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return count,
                Err(now) => word = now,
            }
        }
    }
}

/// One worker's side of a rate limit.
#[derive(Debug)]
pub struct Rate {
    shared: Arc<SharedRate>,
    /// Tokens of the lease.
    leased: Cell<u32>,
    /// Those that no call has had.
    idle: Cell<u32>,
}

impl Rate {
    /// A worker's side, without tokens.
    pub fn new(shared: Arc<SharedRate>) -> Self {
        Self { shared, leased: Cell::new(0), idle: Cell::new(0) }
    }

    /// Takes a token for one call; false if the rate is reached.
    #[must_use]
    pub fn take(&self, now: Moment) -> bool {
        let mut idle = self.idle.get();
        if idle == 0 {
            idle = self.shared.exchange(self.leased.get(), 0, self.shared.batch, now);
            self.leased.set(idle);
        }
        let taken = idle > 0;
        self.idle.set(idle - u32::from(taken));
        taken
    }

    /// Puts idle tokens back. To be called on the worker's tick.
    pub fn settle(&self, now: Moment) {
        self.shared.exchange(self.leased.take(), self.idle.take(), 0, now);
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        // No moment is known, and none is needed: the bucket is filled by whoever asks next.
        let mut word = self.shared.bucket.load(Ordering::Relaxed);
        loop {
            let mut bucket = Bucket::unpack(word);
            bucket.leased -= self.leased.get();
            bucket.free += self.idle.get();
            let ordering = Ordering::Relaxed;
            match self.shared.bucket.compare_exchange_weak(word, bucket.pack(), ordering, ordering) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

const BATCH_MAX: u32 = 32;
const TOKENS_MASK: u32 = (1 << 20) - 1;
const FILL_MASK: u32 = (1 << 24) - 1;

#[cfg(test)]
mod tests;
