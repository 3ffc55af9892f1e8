//! A limit on calls in flight, exact over workers although each is alone.
//!
//! A call needs a token. Free ones lie in one atomic that all workers share, and a worker without any leases a batch.
//! So under load the atomic is touched once per batch and not per call. The worker puts back tokens that it does not
//! need: at once those above two batches, and the rest on its next tick. A token is in one place only, so the limit is
//! never exceeded. A call can be refused early only while other workers hold idle tokens. These are at most a quarter
//! of all, for one tick at most. Limits too small for batches of two are not leased: every call asks the atomic, and no
//! refusal is early.
//!
//! The limit may change while calls are in flight. They keep their tokens. If more are out than the new limit, the
//! count of free ones is negative: no call is let in until as many have ended. Until then a worker does not keep a
//! token that a call gives back.
//!
//! A caller may take all of it as long as nobody else wants a part. Once a caller within its share was refused, the last
//! eighth of all tokens is for such callers, until none has come for two seconds.

use super::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::time::Moment;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// The tokens no worker has. On a cache line of its own (two, as x86 fetches them in pairs).
#[derive(Debug)]
#[repr(align(128))]
pub struct SharedLimit {
    tokens: AtomicU64,
    /// Tokens that calls were refused for want of, and that workers may have to spare.
    wanted: AtomicU32,
    /// Of the limit, a batch is this part; none where tokens are not leased.
    batches: Option<u32>,
    starved: Starved,
}

/// Until when the last tokens are for callers within their share, in nanoseconds. Calls read it, and it is hardly ever
/// written: it has a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Starved(AtomicU64);

/// How long the last tokens are kept for callers within their share.
const STARVED: Duration = Duration::from_secs(2);
/// A caller's share is this part of all, and so is what is kept.
const SHARES: u32 = 8;
/// Of fewer tokens nothing is kept: an eighth would be too much of them.
const SHARED_MIN: u32 = 64;

/// The tokens as one word: how many there are, and how many of them are free, less than none if that many have to come
/// back first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tokens {
    max: u32,
    free: i32,
}

impl Tokens {
    fn new(max: u32) -> Tokens {
        let max = max.min(i32::MAX.unsigned_abs());
        Tokens { max, free: max.cast_signed() }
    }

    fn pack(self) -> u64 {
        u64::from(self.max) << 32 | u64::from(self.free.cast_unsigned())
    }

    fn unpack(word: u64) -> Tokens {
        Tokens { max: (word >> 32) as u32, free: (word as u32).cast_signed() }
    }
}

impl SharedLimit {
    /// A limit of `max` calls in flight over this many workers.
    pub fn new(max: u32, workers: usize) -> Arc<Self> {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        let batches = Some(workers.saturating_mul(8));
        let (tokens, wanted) = (AtomicU64::new(Tokens::new(max).pack()), AtomicU32::new(0));
        Arc::new(Self { tokens, wanted, batches, starved: Starved::default() })
    }

    /// A limit for rare things, such as connections or the wait for one: each take asks the atomic, and no refusal is
    /// early.
    pub fn unleased(max: u32) -> Arc<Self> {
        let tokens = AtomicU64::new(Tokens::new(max).pack());
        let (wanted, starved) = (AtomicU32::new(0), Starved::default());
        Arc::new(Self { tokens, wanted, batches: None, starved })
    }

    /// The most calls that can be in flight.
    pub fn max(&self) -> u32 {
        self.tokens(Ordering::Relaxed).max
    }

    /// Tokens that no worker has now.
    pub fn free(&self) -> u32 {
        self.tokens(Ordering::Relaxed).free.max(0).unsigned_abs()
    }

    /// Tokens that have to come back before one is free.
    pub fn excess(&self) -> u32 {
        self.tokens(Ordering::Relaxed).free.min(0).unsigned_abs()
    }

    /// A call was refused that a worker might make room for.
    pub fn want(&self) {
        // No more than a few at a time: a flood of refused calls is no reason to end all others.
        let _ = self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |wanted| {
            (wanted < WANTED_MAX).then_some(wanted + 1)
        });
    }

    /// The calls of one caller that make up its share. Of a small limit there are no shares.
    pub fn share(&self) -> u32 {
        let max = self.max();
        if max < SHARED_MIN { u32::MAX } else { max / SHARES }
    }

    /// A caller within its share was refused, or needed what is kept for it.
    pub fn starve(&self, now: Moment) {
        if self.max() < SHARED_MIN {
            return;
        }
        let until = now.plus(STARVED).as_nanos();
        let known = self.starved.0.load(Ordering::Relaxed);
        // Not for each refusal, for all workers read it.
        if until.saturating_sub(known) > (STARVED / 8).as_nanos() as u64 {
            self.starved.0.store(until, Ordering::Relaxed);
        }
    }

    /// Whether the last tokens are kept for callers within their share.
    pub fn is_starved(&self, now: Moment) -> bool {
        now.as_nanos() < self.starved.0.load(Ordering::Relaxed)
    }

    /// Whether no more tokens are free than are kept.
    pub fn is_scarce(&self) -> bool {
        self.free() <= self.share()
    }

    /// Whether a token is wanted; who is told so gives one back.
    #[must_use]
    pub fn take_want(&self) -> bool {
        let less = |wanted: u32| wanted.checked_sub(1);
        self.wanted.load(Ordering::Relaxed) > 0
            && self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// From now on there are `max`. Calls in flight go on, though they be more.
    pub fn resize(&self, max: u32) {
        let whole = Tokens::new(max);
        self.change(Ordering::Relaxed, |tokens| {
            let free = tokens.free + (whole.free - tokens.max.cast_signed());
            Tokens { free, ..whole }
        });
    }

    fn tokens(&self, ordering: Ordering) -> Tokens {
        Tokens::unpack(self.tokens.load(ordering))
    }

    fn batch(&self, tokens: Tokens) -> u32 {
        if tokens.free < 0 {
            return 1;
        }
        self.batches.map_or(1, |batches| (tokens.max / batches).clamp(1, BATCH_MAX))
    }

    /// Takes a batch, or the rest of one. Gives the number taken, and that of a whole batch.
    fn lease(&self) -> (u32, u32) {
        let mut tokens = self.tokens(Ordering::Relaxed);
        let mut batch = self.batch(tokens);
        while tokens.free > 0 {
            let count = tokens.free.min(batch.cast_signed());
            let (old, new) = (tokens.pack(), Tokens { free: tokens.free - count, ..tokens }.pack());
            // Acquire, with Release below: effects of a call are visible before its token serves another.
            match self.tokens.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return (count.unsigned_abs(), batch),
                Err(now) => {
                    tokens = Tokens::unpack(now);
                    batch = self.batch(tokens);
                }
            }
        }
        (0, batch)
    }

    fn put_back(&self, count: u32) {
        self.change(Ordering::Release, |tokens| {
            let free = tokens.free + count.cast_signed();
            debug_assert!(free <= tokens.max.cast_signed(), "more tokens came back than there are");
            Tokens { free, ..tokens }
        });
    }

    fn change(&self, ordering: Ordering, next: impl Fn(Tokens) -> Tokens) {
        let set = |word| Some(next(Tokens::unpack(word)).pack());
        let changed = self.tokens.fetch_update(ordering, Ordering::Relaxed, set);
        debug_assert!(changed.is_ok(), "there always is a next");
    }
}

/// A worker's side of a limit.
#[derive(Debug)]
pub struct Limit {
    shared: Arc<SharedLimit>,
    /// Tokens here that no call has.
    idle: Cell<u32>,
    /// Tokens of calls in flight.
    in_use: Cell<u32>,
    /// The size of a batch, as of the last lease or tick.
    batch: Cell<u32>,
}

impl Limit {
    /// A worker's side, without tokens.
    pub fn new(shared: Arc<SharedLimit>) -> Self {
        Self { shared, idle: Cell::new(0), in_use: Cell::new(0), batch: Cell::new(1) }
    }

    /// The side that all workers share.
    pub fn shared(&self) -> &Arc<SharedLimit> {
        &self.shared
    }

    /// Takes a token for one call; false if the limit is reached. Its holder gives it back by [`Limit::give`].
    #[must_use]
    pub fn take(&self) -> bool {
        let mut idle = self.idle.get();
        if idle == 0 {
            let batch;
            (idle, batch) = self.shared.lease();
            self.batch.set(batch);
        }
        if idle == 0 {
            return false;
        }
        self.idle.set(idle - 1);
        self.in_use.set(self.in_use.get() + 1);
        true
    }

    /// Gives the token of one call back.
    pub fn give(&self) {
        let in_use = self.in_use.get();
        debug_assert!(in_use > 0, "a token was given back twice");
        if in_use == 0 {
            return; // A bug must not raise the limit.
        }
        self.in_use.set(in_use - 1);
        let (idle, batch) = (self.idle.get() + 1, self.batch.get());
        if idle > idle_max(batch) {
            self.idle.set(idle - batch);
            self.shared.put_back(batch);
        } else {
            self.idle.set(idle);
        }
    }

    /// Calls of this worker in flight.
    pub fn in_use(&self) -> u32 {
        self.in_use.get()
    }

    /// Puts the tokens back that no call has. To be called on the worker's tick.
    pub fn sync_shared(&self) {
        let idle = self.idle.take();
        if idle > 0 {
            self.shared.put_back(idle);
        }
        self.batch.set(self.shared.batch(self.shared.tokens(Ordering::Relaxed)));
    }
}

impl Drop for Limit {
    /// Puts all tokens back: a worker that is gone has no calls.
    fn drop(&mut self) {
        self.shared.put_back(self.idle.get() + self.in_use.get());
    }
}

/// Idle tokens a worker may keep until its tick.
const fn idle_max(batch: u32) -> u32 {
    if batch == 1 { 0 } else { 2 * batch }
}

const BATCH_MAX: u32 = 32;

/// Tokens that are wanted at most at once.
const WANTED_MAX: u32 = 16;

#[cfg(test)]
mod tests;
