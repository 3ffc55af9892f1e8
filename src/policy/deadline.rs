//! When a call must be over.
//!
//! The caller's `grpc-timeout` counts from the arrival of the request's head; what the configuration allows caps it,
//! and nothing ever extends it. Reading and writing the header is `wire/timeout.rs`.

use crate::time::Moment;
use std::time::Duration;

/// The moment a call must be over, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Deadline {
    at: Option<Moment>,
}

impl Deadline {
    /// The earlier of what the caller asked for and what the configuration allows, counted from the head's arrival.
    pub fn new(arrived: Moment, caller: Option<Duration>, cap: Option<Duration>) -> Self {
        let shortest = match (caller, cap) {
            (Some(caller), Some(cap)) => Some(caller.min(cap)),
            (one, other) => one.or(other),
        };
        Self { at: shortest.map(|timeout| arrived.plus(timeout)) }
    }

    /// The moment itself, for a timer. `None`: the call may take for ever.
    pub const fn at(self) -> Option<Moment> {
        self.at
    }

    /// What is left of the time: zero once it has passed, `None` if the call may take for ever.
    pub fn left(self, now: Moment) -> Option<Duration> {
        self.at.map(|at| at.since(now))
    }

    /// Is the time up?
    pub fn passed(self, now: Moment) -> bool {
        self.at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVED: Moment = Moment::from_nanos(1_000_000_000);

    fn sec(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn the_shorter_time_counts() {
        let table = [
            (None, None, None),
            (sec(3), None, sec(3)),
            (None, sec(4), sec(4)),
            (sec(3), sec(4), sec(3)),
            (sec(5), sec(4), sec(4)),
            (sec(0), sec(4), sec(0)),
        ];
        for (caller, cap, wanted) in table {
            let deadline = Deadline::new(ARRIVED, caller, cap);
            assert_eq!(deadline.left(ARRIVED), wanted, "{caller:?} {cap:?}");
            assert_eq!(deadline.at(), wanted.map(|timeout| ARRIVED.plus(timeout)));
        }
    }

    #[test]
    fn a_deadline_passes_at_its_moment_and_stays_passed() {
        let deadline = Deadline::new(ARRIVED, sec(2), None);
        let at = ARRIVED.plus(Duration::from_secs(2));
        let before = Moment::from_nanos(at.as_nanos() - 1);
        assert!(!deadline.passed(before));
        assert_eq!(deadline.left(before), Some(Duration::from_nanos(1)));
        for now in [at, at.plus(Duration::from_secs(1))] {
            assert!(deadline.passed(now));
            assert_eq!(deadline.left(now), Some(Duration::ZERO));
        }
        assert!(!Deadline::default().passed(Moment::from_nanos(u64::MAX)));
    }
}
