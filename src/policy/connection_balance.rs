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

/// The connections of each worker, by all listeners.
#[derive(Debug)]
pub struct ConnectionBalance(Box<[Count]>);

/// The connections that each worker has by one listener.
#[derive(Debug)]
pub struct ListenerLoad(Box<[Count]>);

/// The connections of one worker. On cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU32);

fn zeros(workers: usize) -> Box<[Count]> {
    (0..workers).map(|_| Count::default()).collect()
}

impl ListenerLoad {
    /// The load of a listener that so many workers have, without connections.
    pub fn new(workers: usize) -> ListenerLoad {
        ListenerLoad(zeros(workers))
    }
}

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
    /// A balance for so many workers, without connections.
    pub fn new(workers: usize) -> Arc<ConnectionBalance> {
        Arc::new(ConnectionBalance(zeros(workers)))
    }

    /// Counts a connection that worker `own` has accepted, at the worker that shall have it. Gives the number of that
    /// worker. `None` if every worker has the `max` of a listener.
    pub fn place(&self, own: usize, listener: &ListenerLoad, max: u32) -> Option<usize> {
        loop {
            let seen = (0..self.0.len()).map(|worker| WorkerLoad {
                connections: self.connections(worker),
                has_room: listener.0[worker].0.load(Ordering::Relaxed) < max,
            });
            let worker = choose(own, seen)?;
            if self.enter(worker, listener, max) {
                return Some(worker);
            }
        }
    }

    /// Counts a connection at a worker; false if it has `max` on this listener.
    pub fn enter(&self, worker: usize, listener: &ListenerLoad, max: u32) -> bool {
        let one_more = |open: u32| (open < max).then(|| open + 1);
        let open = &listener.0[worker].0;
        if open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return false;
        }
        // Ordered with the check of a worker that is about to end: see `connections`.
        self.0[worker].0.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Takes back the count of a connection that has ended, or never began.
    pub fn leave(&self, worker: usize, listener: &ListenerLoad) {
        let before = listener.0[worker].0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a connection left twice");
        self.0[worker].0.fetch_sub(1, Ordering::SeqCst);
    }

    /// All connections of a worker: those it serves, and those on the way to it.
    pub fn connections(&self, worker: usize) -> u32 {
        self.0[worker].0.load(Ordering::SeqCst)
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
        let (balance, listener) = (ConnectionBalance::new(4), ListenerLoad::new(4));
        for _ in 0..8 {
            assert!(balance.place(2, &listener, 100).is_some());
        }
        assert_eq!([0, 1, 2, 3].map(|worker| balance.connections(worker)), [2; 4]);
    }

    #[test]
    fn all_listeners_count_and_each_has_its_limit() {
        let balance = ConnectionBalance::new(2);
        let [first, second] = [(); 2].map(|()| ListenerLoad::new(2));
        assert_eq!(balance.place(0, &first, 1), Some(0));
        // Fewer connections, whatever the listener.
        assert_eq!(balance.place(0, &second, 1), Some(1));
        // The first listener of the first worker is full.
        assert_eq!(balance.place(0, &first, 1), Some(1));
        assert_eq!((balance.place(0, &first, 1), balance.place(1, &first, 1)), (None, None));
        assert!(!balance.enter(1, &second, 1) && balance.enter(0, &second, 1));
        balance.leave(1, &first);
        assert_eq!(balance.place(0, &first, 1), Some(1));
        assert_eq!([0, 1].map(|worker| balance.connections(worker)), [2, 2]);
    }

    /// Connections come to workers at random, most to one of them, and go again. None is refused while there is room
    /// anywhere. No listener has more than it may. A worker that gets one has hardly more than the one with the fewest.
    #[test]
    fn however_connections_come_they_are_spread() {
        for (seed, (workers, max)) in [(1, 5), (2, 3), (2, 1_000), (8, 40), (64, 10)].into_iter().enumerate()
        {
            let mut random = Random::seeded(seed as u64);
            let balance = ConnectionBalance::new(workers);
            let listeners = [(); 2].map(|()| ListenerLoad::new(workers));
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
                    match balance.place(own, &listeners[listener], max) {
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
                    balance.leave(worker, &listeners[listener]);
                }
            }
            assert!((handed > 0) == (workers > 1));
            open.iter().for_each(|(worker, listener)| balance.leave(*worker, &listeners[*listener]));
            assert!((0..workers).all(|worker| balance.connections(worker) == 0));
        }
    }

    /// Real threads that all accept at once, and let go of nothing.
    #[test]
    fn threads_together_spread_and_keep_the_limit() {
        let (balance, listener) = (ConnectionBalance::new(4), ListenerLoad::new(4));
        let accepted: u32 = thread::scope(|scope| {
            let accept = |own| {
                let (balance, listener) = (&balance, &listener);
                scope.spawn(move || (0..500).filter(|_| balance.place(own, listener, 300).is_some()).count())
            };
            let threads = [0, 0, 1, 3].map(accept);
            threads.into_iter().map(|thread| thread.join().unwrap() as u32).sum()
        });
        assert_eq!(accepted, 1_200);
        assert_eq!([0, 1, 2, 3].map(|worker| balance.connections(worker)), [300; 4]);
    }
}
