//! Calls that wait for a connection, first come first served.
//!
//! A woken call still has to come and take its place. Until all of them have, a call that has just begun waits behind
//! them.

use std::collections::BTreeMap;
use std::task::Waker;

/// The queue. Its caller bounds it.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: BTreeMap<u64, Waker>,
    /// Calls that were woken and have neither come back nor left.
    woken: usize,
    next: u64,
}

impl Waiters {
    /// Whether no call waits, or is on the way to a place.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.woken == 0
    }

    /// Calls that wait to be woken.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes a place at the end of the queue.
    pub(super) fn enter(&mut self, waker: &Waker) -> u64 {
        self.next += 1;
        self.queue.insert(self.next, waker.clone());
        self.next
    }

    /// Whether it is the turn of the call with this ticket.
    pub(super) fn is_woken(&self, ticket: u64) -> bool {
        !self.queue.contains_key(&ticket)
    }

    /// Waits on at the place of `ticket`, which it keeps however often it is woken in vain.
    pub(super) fn stay(&mut self, ticket: u64, waker: &Waker) {
        match self.queue.get_mut(&ticket) {
            Some(known) => known.clone_from(waker),
            None => {
                self.woken -= 1;
                self.queue.insert(ticket, waker.clone());
            }
        }
    }

    /// Leaves for good. A call that had been woken has to wake the next one: there may be more room than was told, or
    /// the place was not taken.
    #[must_use]
    pub(super) fn leave(&mut self, ticket: u64) -> Left {
        if self.queue.remove(&ticket).is_some() {
            return Left::Waiting;
        }
        self.woken -= 1;
        Left::Woken
    }

    /// Wakes the first `count`.
    pub(super) fn wake(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, waker)) = self.queue.pop_first() else { return };
            self.woken += 1;
            waker.wake();
        }
    }
}

/// The state of a call when it left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It was not its turn yet.
    Waiting,
    /// It had been woken.
    Woken,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_first_who_came_is_the_first_who_is_woken() {
        let mut waiters = Waiters::default();
        let woken: [Arc<Woken>; 3] = Default::default();
        let wakers = woken.clone().map(Waker::from);
        let tickets = wakers.each_ref().map(|waker| waiters.enter(waker));
        let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));

        waiters.wake(1);
        assert_eq!((counts(), waiters.len()), ([1, 0, 0], 2));
        assert_eq!(tickets.map(|ticket| waiters.is_woken(ticket)), [true, false, false]);
        // In vain: the place was gone. The turn is still the first one's.
        waiters.stay(tickets[0], &wakers[0]);
        assert_eq!(tickets.map(|ticket| waiters.is_woken(ticket)), [false; 3]);
        waiters.wake(2);
        assert_eq!(counts(), [2, 1, 0]);
        waiters.wake(5);
        assert_eq!((counts(), waiters.len()), ([2, 1, 1], 0));
    }

    #[test]
    fn nobody_is_forgotten_between_being_woken_and_taking_the_place() {
        let mut waiters = Waiters::default();
        assert!(waiters.is_empty());
        let [first, second] = [(); 2].map(|()| waiters.enter(Waker::noop()));
        waiters.wake(1);
        assert!(!waiters.is_empty());
        assert_eq!(waiters.leave(second), Left::Waiting);
        assert!(!waiters.is_empty(), "one who was woken is on the way");
        assert_eq!(waiters.leave(first), Left::Woken);
        assert!(waiters.is_empty());
    }
}
