//! The rate limit of a route: a token bucket that is exact over workers although each is alone.
//!
//! Words and steps are those of Envoy's local rate limit. A full bucket has `max_tokens`, and at each `fill_interval`
//! it gets `tokens_per_fill`, as far as they fit. As in [`limit`](super::limit), a worker leases a batch of tokens and touches the
//! shared bucket once per batch. It puts idle tokens back on its tick.
//!
//! Leased tokens count as if they were in the bucket until the worker asks for its next batch. So no more than
//! `max_tokens` calls pass between two fills. Over any time, no more pass than that and the filled tokens. A call can
//! be refused early only while other workers hold idle tokens. These are at most a quarter of all, until their tick.
//!
//! The settings may change. Tokens in the bucket stay there, as far as they fit, and the new settings fill it from then
//! on. The bucket holds the number of its settings, so one of them governs each exchange as a whole.

use super::atomic::{AtomicU64, Ordering};
use std::cell::Cell;
use std::sync::Arc;

use crate::config::RateLimit;
use crate::time::Moment;

/// The bucket of all workers.
#[derive(Debug)]
#[repr(align(128))]
pub struct SharedRate {
    bucket: AtomicU64,
    /// The params of even and of odd generations: those in force, and those before or after them.
    params: [Slot; 2],
    workers: u32,
}

/// Room for params: tokens in a full bucket and at each fill as one word, and nanoseconds between fills.
#[derive(Debug, Default)]
struct Slot(AtomicU64, AtomicU64);

/// The params of a bucket's fills.
#[derive(Clone, Copy, Debug)]
struct BucketParams {
    max: u32,
    per_fill: u32,
    interval_nanos: u64,
}

/// The bucket as one word: the generation of its params, modulo 2^4; the number of the last fill, modulo 2^20; tokens in
/// it; tokens that are leased. Both together are never more than `max`, unless `max` has become less; that fits 20
/// bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TokenBucket {
    generation: u8,
    fill: u32,
    free: u32,
    leased: u32,
}

impl TokenBucket {
    fn pack(self) -> u64 {
        let ours = u64::from(self.generation & GENERATION_MASK) << 60;
        ours | u64::from(self.fill) << 40 | u64::from(self.free) << 20 | u64::from(self.leased)
    }

    fn unpack(word: u64) -> TokenBucket {
        let field = |shift: u32| (word >> shift) as u32 & TOKENS_MASK;
        TokenBucket { generation: (word >> 60) as u8, fill: field(40), free: field(20), leased: field(0) }
    }
}

impl Slot {
    fn set(&self, params: BucketParams) {
        self.0.store(u64::from(params.max) << 32 | u64::from(params.per_fill), Ordering::Relaxed);
        self.1.store(params.interval_nanos, Ordering::Relaxed);
    }

    fn get(&self) -> BucketParams {
        let word = self.0.load(Ordering::Relaxed);
        let interval_nanos = self.1.load(Ordering::Relaxed).max(1);
        BucketParams { max: (word >> 32) as u32, per_fill: word as u32, interval_nanos }
    }
}

impl BucketParams {
    fn new(settings: RateLimit) -> BucketParams {
        BucketParams {
            max: settings.max_tokens.min(TOKENS_MASK),
            per_fill: settings.tokens_per_fill,
            interval_nanos: u64::try_from(settings.fill_interval.as_nanos()).unwrap_or(u64::MAX).max(1),
        }
    }

    /// The number of the fill that this moment is in.
    fn fill(self, now: Moment) -> u32 {
        (now.as_nanos() / self.interval_nanos) as u32 & FILL_MASK
    }

    /// Adds the fills that are due.
    fn filled(self, bucket: TokenBucket, now: Moment) -> TokenBucket {
        let fill = self.fill(now);
        let passed = fill.wrapping_sub(bucket.fill) & FILL_MASK;
        // The upper half is the past: another worker read its clock a little later.
        if passed == 0 || passed > FILL_MASK / 2 {
            return bucket;
        }
        let new = u64::from(passed) * u64::from(self.per_fill);
        let room = u64::from(self.max.saturating_sub(bucket.leased));
        // At most `room`, which is at most `max`.
        let free = (u64::from(bucket.free) + new).min(room) as u32;
        TokenBucket { fill, free, ..bucket }
    }
}

impl SharedRate {
    /// A full bucket, for this many workers.
    pub fn new(settings: RateLimit, workers: usize, now: Moment) -> Arc<Self> {
        let params = BucketParams::new(settings);
        let full = TokenBucket { generation: 0, fill: params.fill(now), free: params.max, leased: 0 };
        let rate = Self {
            bucket: AtomicU64::new(full.pack()),
            params: Default::default(),
            workers: u32::try_from(workers).unwrap_or(u32::MAX).max(1),
        };
        rate.params[0].set(params);
        Arc::new(rate)
    }

    /// Sets other settings. To be called by one thread at a time.
    pub fn change(&self, settings: RateLimit, now: Moment) {
        let next = BucketParams::new(settings);
        let mut word = self.bucket.load(Ordering::Acquire);
        let generation = TokenBucket::unpack(word).generation.wrapping_add(1) & GENERATION_MASK;
        // No worker reads these before the bucket has their generation.
        self.params[usize::from(generation & 1)].set(next);
        loop {
            let bucket = TokenBucket::unpack(word);
            let bucket = self.params(bucket).filled(bucket, now);
            let changed =
                TokenBucket { generation, fill: next.fill(now), free: bucket.free.min(next.max), ..bucket };
            let (ours, theirs) = (Ordering::AcqRel, Ordering::Acquire);
            match self.bucket.compare_exchange_weak(word, changed.pack(), ours, theirs) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    fn params(&self, bucket: TokenBucket) -> BucketParams {
        self.params[usize::from(bucket.generation & 1)].get()
    }

    /// Ends a lease of `had` tokens, of which `idle` were not used, and begins the next, if one is wanted. Gives its
    /// tokens.
    fn exchange(&self, had: u32, idle: u32, wanted: bool, now: Moment) -> u32 {
        let mut word = self.bucket.load(Ordering::Acquire);
        loop {
            let bucket = TokenBucket::unpack(word);
            let params = self.params(bucket);
            let mut bucket = params.filled(returned(bucket, had, idle, params), now);
            let count = if wanted { bucket.free.min(self.batch(params)) } else { 0 };
            bucket.free -= count;
            bucket.leased += count;
            let next = bucket.pack();
            if next == word {
                return count;
            }
            // Only the params need the ordering; the count is handed over by itself.
            match self.bucket.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return count,
                Err(now) => word = now,
            }
        }
    }

    fn batch(&self, params: BucketParams) -> u32 {
        (params.max / self.workers.saturating_mul(4)).clamp(1, BATCH_MAX)
    }
}

/// Ends a lease of `had` tokens, of which `idle` come back, as far as they fit.
fn returned(bucket: TokenBucket, had: u32, idle: u32, params: BucketParams) -> TokenBucket {
    TokenBucket { leased: bucket.leased - had, free: (bucket.free + idle).min(params.max), ..bucket }
}

/// A worker's side of a rate limit.
#[derive(Debug)]
pub struct Rate {
    shared: Arc<SharedRate>,
    /// Tokens of the lease.
    leased: Cell<u32>,
    /// Leased tokens that no call has had.
    idle: Cell<u32>,
}

impl Rate {
    /// A worker's side, without tokens.
    pub fn new(shared: Arc<SharedRate>) -> Self {
        Self { shared, leased: Cell::new(0), idle: Cell::new(0) }
    }

    /// The bucket of all workers.
    pub fn shared(&self) -> &Arc<SharedRate> {
        &self.shared
    }

    /// Takes a token for one call; false if the rate is reached.
    #[must_use]
    pub fn take(&self, now: Moment) -> bool {
        let mut idle = self.idle.get();
        if idle == 0 {
            idle = self.shared.exchange(self.leased.get(), 0, true, now);
            self.leased.set(idle);
        }
        let taken = idle > 0;
        self.idle.set(idle - u32::from(taken));
        taken
    }

    /// Puts idle tokens back. To be called on the worker's tick.
    pub fn sync_shared(&self, now: Moment) {
        self.shared.exchange(self.leased.take(), self.idle.take(), false, now);
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        // No moment is known, and none is needed: the next worker that asks fills the bucket.
        let mut word = self.shared.bucket.load(Ordering::Acquire);
        loop {
            let bucket = TokenBucket::unpack(word);
            let params = self.shared.params(bucket);
            let next = returned(bucket, self.leased.get(), self.idle.get(), params).pack();
            match self.shared.bucket.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

const BATCH_MAX: u32 = 32;
const TOKENS_MASK: u32 = (1 << 20) - 1;
const FILL_MASK: u32 = (1 << 20) - 1;
const GENERATION_MASK: u8 = 15;

#[cfg(test)]
mod tests;
