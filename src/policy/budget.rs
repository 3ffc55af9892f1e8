//! The retry budget of a cluster. Its calls pay for retries, so that an outage does not multiply the load: each call
//! earns a part of a retry, `budget_percent` of one.
//!
//! Calls earn credit, and the credit of the last ten seconds can be spent at once; older credit is forgotten. A worker
//! spends the credit of its own calls. Where that is not enough, as in a cluster with few calls, it borrows one of
//! `budget_min_retries`. All workers share these, and the borrower's next calls pay for it. So all workers together
//! never make more retries than `percent` of all calls and those few.
//!
//! A gRPC service config may set a throttle, too; then both must agree.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{RetryBudget, Throttling};
use crate::time::Moment;

/// The part of a cluster's budget that all workers share.
#[derive(Debug)]
pub struct SharedBudget {
    settings: RetryBudget,
    /// Of `min_retries`, those that are not on loan.
    free: AtomicU32,
}

impl SharedBudget {
    /// A full budget.
    pub fn new(settings: RetryBudget) -> Arc<Self> {
        Arc::new(Self { settings, free: AtomicU32::new(settings.min_retries) })
    }

    fn lend(&self) -> bool {
        let less = |free: u32| free.checked_sub(1);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn repay(&self) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// A worker's side of a budget.
#[derive(Debug)]
pub struct Budget {
    shared: Arc<SharedBudget>,
    /// Credit that can be spent, in hundredths of a retry.
    balance: Cell<u64>,
    /// Retries that were borrowed.
    owed: Cell<u32>,
    /// Calls of the last seconds, one slot for each.
    calls: [Cell<u32>; SLOTS],
    /// The second that `calls` goes up to.
    second: Cell<u64>,
    throttle: Option<Throttle>,
}

impl Budget {
    /// A worker's side, with nothing earned yet.
    pub fn new(shared: &Arc<SharedBudget>, throttling: Option<Throttling>) -> Self {
        Self {
            shared: Arc::clone(shared),
            balance: Cell::new(0),
            owed: Cell::new(0),
            calls: [const { Cell::new(0) }; SLOTS],
            second: Cell::new(0),
            throttle: throttling.map(Throttle::new),
        }
    }

    /// The part of the budget that all workers share.
    pub fn shared(&self) -> &Arc<SharedBudget> {
        &self.shared
    }

    /// Counts a call that begins, but not its retries and hedges.
    pub fn earn(&self, now: Moment) {
        self.forget(now);
        let slot = &self.calls[slot(self.second.get())];
        slot.set(slot.get().saturating_add(1));
        let mut balance = self.balance.get() + u64::from(self.shared.settings.percent);
        if self.owed.get() > 0 && balance >= RETRY {
            balance -= RETRY;
            self.owed.set(self.owed.get() - 1);
            self.shared.repay();
        }
        self.balance.set(balance);
    }

    /// Pays for a retry or hedge; false if there is not enough credit.
    #[must_use]
    pub fn take(&self, now: Moment) -> bool {
        if self.throttle.as_ref().is_some_and(Throttle::is_low) {
            return false;
        }
        self.forget(now);
        if let Some(balance) = self.balance.get().checked_sub(RETRY) {
            self.balance.set(balance);
            return true;
        }
        let lent = self.shared.lend();
        self.owed.set(self.owed.get() + u32::from(lent));
        lent
    }

    /// Tells the throttle that an attempt succeeded.
    pub fn succeeded(&self) {
        if let Some(throttle) = &self.throttle {
            throttle.succeeded();
        }
    }

    /// Tells the throttle of a failed attempt: one that might have been retried, or that the service forbade to retry.
    pub fn failed(&self) {
        if let Some(throttle) = &self.throttle {
            throttle.failed();
        }
    }

    /// Forgets credit that is too old.
    fn forget(&self, now: Moment) {
        let second = now.as_nanos() / SECOND_NANOS;
        let last = self.second.get();
        if second <= last {
            return;
        }
        for passed in last + 1..=second.min(last + SLOTS as u64) {
            self.calls[slot(passed)].set(0);
        }
        self.second.set(second);
        let recent: u64 = self.calls.iter().map(|calls| u64::from(calls.get())).sum();
        self.balance.set(self.balance.get().min(recent * u64::from(self.shared.settings.percent)));
    }
}

impl Drop for Budget {
    /// Returns the retries that the worker had borrowed, for the others.
    fn drop(&mut self) {
        (0..self.owed.get()).for_each(|_| self.shared.repay());
    }
}

fn slot(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}

/// The throttle of gRFC A6.
#[derive(Debug)]
struct Throttle {
    /// In thousandths.
    tokens: Cell<u32>,
    full: u32,
    ratio: u32,
}

impl Throttle {
    fn new(settings: Throttling) -> Self {
        let full = settings.max_tokens.saturating_mul(TOKEN);
        Self { tokens: Cell::new(full), full, ratio: settings.token_ratio_thousandths }
    }

    fn is_low(&self) -> bool {
        self.tokens.get() <= self.full / 2
    }

    fn succeeded(&self) {
        self.tokens.set(self.tokens.get().saturating_add(self.ratio).min(self.full));
    }

    fn failed(&self) {
        self.tokens.set(self.tokens.get().saturating_sub(TOKEN));
    }
}

/// The price of a retry: hundredths of one.
const RETRY: u64 = 100;
const TOKEN: u32 = 1_000;
const SLOTS: usize = 10;
const SECOND_NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;
