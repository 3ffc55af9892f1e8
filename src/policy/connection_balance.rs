//! Balances new connections over workers. The kernel gives them to any; a few that live long must not all stay with
//! one.
//!
//! Every worker says here how many connections it has. A worker that accepts one counts it at the worker that shall
//! have it, and then hands it over. So the connections of a burst see one another. No call touches anything here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A worker keeps a connection if it has at most this part, an eighth, more than the least busy one. Beyond a few
/// connections, balance matters less than the wake-up of another core.
const SLACK: u32 = 8;

/// The connections of all workers.
#[derive(Debug)]
pub struct ConnectionBalance(Box<[Counts]>);

/// The connections of one worker, by listener. On cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Counts(Box<[AtomicU32]>);

/// A worker, as a new connection sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLoad {
    /// Its connections.
    pub connections: u32,
    /// Whether it may have one more.
    pub has_room: bool,
}

/// Chooses the worker for a connection that worker `own` has accepted: `own`, unless another has clearly fewer, or
/// `own` has no room. `None` where no worker has room.
pub fn choose(own: usize, workers: impl IntoIterator<Item = WorkerLoad>) -> Option<usize> {
    let mut least: Option<(usize, u32)> = None;
    let mut here = None;
    for (number, seen) in workers.into_iter().enumerate().filter(|(_, seen)| seen.has_room) {
        if number == own {
            here = Some(seen.connections);
        }
        if least.is_none_or(|(_, fewest)| seen.connections < fewest) {
            least = Some((number, seen.connections));
        }
    }
    let (number, fewest) = least?;
    let stays = here.is_some_and(|connections| connections <= fewest.saturating_add(fewest / SLACK));
    Some(if stays { own } else { number })
}

impl ConnectionBalance {
    /// A balance for so many workers, each with so many listeners, without connections.
    pub fn new(workers: usize, listeners: usize) -> Arc<ConnectionBalance> {
        let counts = |_| Counts((0..listeners).map(|_| AtomicU32::new(0)).collect());
        Arc::new(ConnectionBalance((0..workers).map(counts).collect()))
    }

    /// Counts a connection that worker `own` has accepted, at the worker that shall have it. Gives the number of that
    /// worker. `None` if every worker has the `max` of a listener.
    pub fn place(&self, own: usize, listener: usize, max: u32) -> Option<usize> {
        loop {
            let seen = (0..self.0.len()).map(|worker| WorkerLoad {
                connections: self.connections(worker),
                has_room: self.count(worker, listener).load(Ordering::Relaxed) < max,
            });
            let worker = choose(own, seen)?;
            if self.enter(worker, listener, max) {
                return Some(worker);
            }
        }
    }

    /// Counts a connection at a worker; false if it has `max` on this listener.
    pub fn enter(&self, worker: usize, listener: usize, max: u32) -> bool {
        let one_more = |open: u32| (open < max).then(|| open + 1);
        // Ordered with the check of a worker that is about to end: see `connections`.
        self.count(worker, listener).fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more).is_ok()
    }

    /// Takes back the count of a connection that has ended, or never began.
    pub fn leave(&self, worker: usize, listener: usize) {
        let before = self.count(worker, listener).fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a connection left twice");
    }

    /// All connections of a worker: those it serves, and those on the way to it.
    pub fn connections(&self, worker: usize) -> u32 {
        self.0[worker].0.iter().map(|open| open.load(Ordering::SeqCst)).sum()
    }

    fn count(&self, worker: usize, listener: usize) -> &AtomicU32 {
        &self.0[worker].0[listener]
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::random::Random;

    const fn busy(connections: u32) -> WorkerLoad {
        WorkerLoad { connections, has_room: true }
    }

    const fn full(connections: u32) -> WorkerLoad {
        WorkerLoad { connections, has_room: false }
    }

    #[test]
    fn a_connection_goes_where_there_are_clearly_fewer() {
        let table: &[(usize, &[WorkerLoad], Option<usize>)] = &[
            (0, &[busy(0)], Some(0)),
            (0, &[full(9)], None),
            (0, &[busy(0), busy(0)], Some(0)),
            (1, &[busy(0), busy(0)], Some(1)),
            (0, &[busy(1), busy(0)], Some(1)),
            (1, &[busy(1), busy(0)], Some(1)),
            (0, &[busy(7), busy(6)], Some(1)),
            // From eight on an eighth does not matter.
            (0, &[busy(9), busy(8)], Some(0)),
            (0, &[busy(10), busy(8)], Some(1)),
            (0, &[busy(112), busy(100)], Some(0)),
            (0, &[busy(113), busy(100)], Some(1)),
            // The least of several, the first of equals.
            (0, &[busy(5), busy(3), busy(2), busy(4)], Some(2)),
            (3, &[busy(2), busy(1), busy(1), busy(5)], Some(1)),
            // A worker without room gets none, however few it has.
            (0, &[busy(5), full(0), busy(4)], Some(2)),
            (0, &[full(5), busy(70)], Some(1)),
            (0, &[full(5), full(0)], None),
            (0, &[busy(u32::MAX), busy(u32::MAX)], Some(0)),
        ];
        for (own, workers, wanted) in table {
            assert_eq!(choose(*own, workers.iter().copied()), *wanted, "{own} of {workers:?}");
        }
    }

    #[test]
    fn a_burst_that_one_worker_accepts_is_spread() {
        let balance = ConnectionBalance::new(4, 1);
        for _ in 0..8 {
            assert!(balance.place(2, 0, 100).is_some());
        }
        assert_eq!([0, 1, 2, 3].map(|worker| balance.connections(worker)), [2; 4]);
    }

    #[test]
    fn all_listeners_count_and_each_has_its_limit() {
        let balance = ConnectionBalance::new(2, 2);
        assert_eq!(balance.place(0, 0, 1), Some(0));
        // Fewer connections, whatever the listener.
        assert_eq!(balance.place(0, 1, 1), Some(1));
        // The first listener of the first worker is full.
        assert_eq!(balance.place(0, 0, 1), Some(1));
        assert_eq!((balance.place(0, 0, 1), balance.place(1, 0, 1)), (None, None));
        assert!(!balance.enter(1, 1, 1) && balance.enter(0, 1, 1));
        balance.leave(1, 0);
        assert_eq!(balance.place(0, 0, 1), Some(1));
    }

    /// Connections come to workers at random, most to one of them, and go again. None is refused while there is room
    /// anywhere. No listener has more than it may. A worker that gets one has hardly more than the one with the fewest.
    #[test]
    fn however_connections_come_they_are_spread() {
        for (seed, (workers, max)) in [(1, 5), (2, 3), (2, 1_000), (8, 40), (64, 10)].into_iter().enumerate()
        {
            let mut random = Random::seeded(seed as u64);
            let balance = ConnectionBalance::new(workers, 2);
            let mut open: Vec<(usize, usize)> = Vec::new();
            let mut handed = 0;
            for step in 0..8_000_u32 {
                let comes_of_256 = if step >> 10 & 1 == 0 { 200 } else { 90 };
                if random.below(256) < comes_of_256 {
                    let draw = random.below(1 << 16) as usize;
                    let own = if draw & 3 != 0 { 0 } else { (draw >> 2) % workers };
                    let listener = usize::from(random.below(4) == 0);
                    let fewest = (0..workers).map(|worker| balance.connections(worker)).min().unwrap_or(0);
                    let at = |worker| open.iter().filter(|it| **it == (worker, listener)).count();
                    match balance.place(own, listener, max) {
                        Some(worker) => {
                            let has = balance.connections(worker);
                            let fair = has <= fewest + fewest / SLACK + 1;
                            assert!(at(worker) < max as usize);
                            assert!(
                                fair || (0..workers).any(|other| at(other) == max as usize),
                                "{has}, {fewest}"
                            );
                            handed += usize::from(worker != own);
                            open.push((worker, listener));
                        }
                        None => assert!((0..workers).all(|worker| at(worker) == max as usize)),
                    }
                } else if !open.is_empty() {
                    let (worker, listener) = open.swap_remove(random.below(open.len() as u32) as usize);
                    balance.leave(worker, listener);
                }
            }
            assert!((handed > 0) == (workers > 1));
            open.iter().for_each(|(worker, listener)| balance.leave(*worker, *listener));
            assert!((0..workers).all(|worker| balance.connections(worker) == 0));
        }
    }

    /// Real threads that all accept at once, and let go of nothing.
    #[test]
    fn threads_together_spread_and_keep_the_limit() {
        let balance = ConnectionBalance::new(4, 1);
        let accepted: u32 = thread::scope(|scope| {
            let accept = |own| {
                let balance = &balance;
                scope.spawn(move || (0..500).filter(|_| balance.place(own, 0, 300).is_some()).count())
            };
            let threads = [0, 0, 1, 3].map(accept);
            threads.into_iter().map(|thread| thread.join().unwrap() as u32).sum()
        });
        assert_eq!(accepted, 1_200);
        assert_eq!([0, 1, 2, 3].map(|worker| balance.connections(worker)), [300; 4]);
    }
}
