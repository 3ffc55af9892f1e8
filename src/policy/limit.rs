//! How many calls may be in flight at once, exact over workers although each is alone.
//!
//! A call needs a token. The free ones lie in one atomic that all workers share; a worker leases a batch of them when
//! it has none left, so that under load the atomic is touched once per batch and not per call, and puts back what it
//! does not need: at once what is above two batches, and the rest on its next tick. A token is in one place only, so
//! the limit is never exceeded; a call can be refused early only while other workers hold idle tokens, which are at
//! most a quarter of all, and for one tick at most. Limits too small for batches of two are not leased at all: there
//! every call asks the atomic and no refusal is early.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The tokens no worker has. On a cache line of its own (two, as x86 fetches them in pairs).
#[derive(Debug)]
#[repr(align(128))]
pub struct SharedLimit {
    free: AtomicU32,
    max: u32,
    batch: u32,
    /// Idle tokens a worker may keep until its tick.
    idle_max: u32,
}

impl SharedLimit {
    /// A limit of `max` calls in flight over this many workers.
    pub fn new(max: u32, workers: usize) -> Arc<Self> {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        let batch = (max / workers.saturating_mul(8)).clamp(1, BATCH_MAX);
        let idle_max = if batch == 1 { 0 } else { 2 * batch };
        Arc::new(Self { free: AtomicU32::new(max), max, batch, idle_max })
    }

    /// A limit for what is rare, such as connections or waiting for one: each take asks the atomic, and none is refused
    /// early.
    pub fn unleased(max: u32) -> Arc<Self> {
        Arc::new(Self { free: AtomicU32::new(max), max, batch: 1, idle_max: 0 })
    }

    /// The most calls that can be in flight.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Tokens that no worker has now.
    pub fn free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// Takes a batch, or what is left of one; says how many.
    fn lease(&self) -> u32 {
        let mut free = self.free.load(Ordering::Relaxed);
        while free > 0 {
            let count = free.min(self.batch);
            // Acquire, with Release below: what a call did is done before its token serves another.
            match self.free.compare_exchange_weak(free, free - count, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return count,
                Err(now) => free = now,
            }
        }
        0
    }

    fn put_back(&self, count: u32) {
        let before = self.free.fetch_add(count, Ordering::Release);
        debug_assert!(count <= self.max - before, "more tokens came back than there are");
    }
}

/// One worker's side of a limit.
#[derive(Debug)]
pub struct Limit {
    shared: Arc<SharedLimit>,
    /// Tokens here that no call has.
    idle: Cell<u32>,
    /// Tokens of calls in flight.
    in_use: Cell<u32>,
}

impl Limit {
    /// A worker's side, without tokens.
    pub fn new(shared: Arc<SharedLimit>) -> Self {
        Self { shared, idle: Cell::new(0), in_use: Cell::new(0) }
    }

    /// Takes a token for one call; false if the limit is reached. Whoever got one gives it back.
    #[must_use]
    pub fn take(&self) -> bool {
        let mut idle = self.idle.get();
        if idle == 0 {
            idle = self.shared.lease();
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
        let idle = self.idle.get() + 1;
        if idle > self.shared.idle_max {
            self.idle.set(idle - self.shared.batch);
            self.shared.put_back(self.shared.batch);
        } else {
            self.idle.set(idle);
        }
    }

    /// Calls of this worker in flight.
    pub fn in_use(&self) -> u32 {
        self.in_use.get()
    }

    /// Puts the tokens back that no call has. To be called on the worker's tick.
    pub fn settle(&self) {
        let idle = self.idle.take();
        if idle > 0 {
            self.shared.put_back(idle);
        }
    }
}

impl Drop for Limit {
    /// Puts everything back: a worker that is gone has no calls.
    fn drop(&mut self) {
        self.shared.put_back(self.idle.get() + self.in_use.get());
    }
}

const BATCH_MAX: u32 = 32;

#[cfg(test)]
mod tests;
