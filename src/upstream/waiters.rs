//! Calls that wait for a connection, first come first served.

use std::collections::BTreeMap;
use std::task::Waker;

/// The queue. Bounded by whoever adds to it.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: BTreeMap<u64, Waker>,
    next: u64,
}

impl Waiters {
    /// A place at the end of the queue.
    pub(super) fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Waits at the place of `ticket`, which stays the same however often it is woken in vain.
    pub(super) fn wait(&mut self, ticket: u64, waker: &Waker) {
        self.queue.entry(ticket).or_insert_with(|| waker.clone()).clone_from(waker);
    }

    /// Leaves the queue; false if it had been woken out of it.
    pub(super) fn leave(&mut self, ticket: u64) -> bool {
        self.queue.remove(&ticket).is_some()
    }

    /// Wakes the first `count`.
    pub(super) fn wake(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, waker)) = self.queue.pop_first() else { return };
            waker.wake();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}
