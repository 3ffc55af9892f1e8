//! Calls that wait for a connection, first come first served. Calls of which only the head has come let others pass.
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

    /// How many wait that let nobody pass, up to `max`.
    pub(super) fn urgent(&self, max: usize) -> usize {
        self.queue.range(..YIELDS).take(max).count()
    }

    /// A place at the end of the queue. `yields`: those pass it that do not.
    pub(super) fn enter(&mut self, waker: &Waker, yields: bool) -> u64 {
        self.next += 1;
        let ticket = if yields { YIELDS | self.next } else { self.next };
        self.queue.insert(ticket, waker.clone());
        ticket
    }

    /// The ticket with which a call lets nobody pass any more that has let others pass.
    pub(super) fn stop_yielding(&mut self, ticket: u64) -> u64 {
        if let Some(waker) = self.queue.remove(&ticket) {
            self.queue.insert(ticket & !YIELDS, waker);
        }
        ticket & !YIELDS
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

/// The tickets of those that let others pass come after all others.
const YIELDS: u64 = 1 << 63;

/// Whether the waiter that left had already been woken.
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
    fn a_call_that_has_begun_passes_those_that_have_not() {
        let woken = [(); 3].map(|()| Arc::new(Woken::default()));
        let mut waiters = Waiters::default();
        let tickets = [0, 1, 2].map(|at| waiters.enter(&Arc::clone(&woken[at]).into(), true));
        assert_eq!(waiters.urgent(3), 0);
        let second = waiters.stop_yielding(tickets[1]);
        assert_eq!(waiters.urgent(3), 1);
        waiters.wake(1);
        assert_eq!(woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed)), [0, 1, 0]);
        assert!(waiters.is_woken(second) && waiters.stop_yielding(second) == second);
        assert_eq!(waiters.leave(second), Left::Woken);
        assert_eq!(waiters.len(), 2);
    }

    #[test]
    fn the_first_who_came_is_the_first_who_is_woken() {
        let mut waiters = Waiters::default();
        let woken: [Arc<Woken>; 3] = Default::default();
        let wakers = woken.clone().map(Waker::from);
        let tickets = wakers.each_ref().map(|waker| waiters.enter(waker, false));
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
    fn who_yields_is_passed() {
        let mut waiters = Waiters::default();
        let [yields, first, second] = [true, false, false].map(|yields| waiters.enter(Waker::noop(), yields));
        assert_eq!((waiters.len(), waiters.urgent(9), waiters.urgent(1)), (3, 2, 1));
        let mut order = Vec::new();
        for _ in 0..3 {
            waiters.wake(1);
            let woken = [yields, first, second]
                .into_iter()
                .find(|ticket| waiters.is_woken(*ticket) && !order.contains(ticket));
            order.extend(woken);
        }
        assert_eq!(order, [first, second, yields]);
        assert_eq!(waiters.urgent(9), 0);
    }

    #[test]
    fn nobody_is_forgotten_between_being_woken_and_taking_the_place() {
        let mut waiters = Waiters::default();
        assert!(waiters.is_empty());
        let [first, second] = [(); 2].map(|()| waiters.enter(Waker::noop(), false));
        waiters.wake(1);
        assert!(!waiters.is_empty());
        assert_eq!(waiters.leave(second), Left::Waiting);
        assert!(!waiters.is_empty(), "one who was woken is on the way");
        assert_eq!(waiters.leave(first), Left::Woken);
        assert!(waiters.is_empty());
    }
}
