//! The deadline of a call.
//!
//! The caller's `grpc-timeout` counts from the arrival of the request's head. The configured timeout caps it, and
//! nothing ever extends it. [`wire::timeout`](crate::wire::timeout) reads and writes the header.

use crate::time::Moment;
use std::time::Duration;

/// The deadline of a call, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Deadline {
    at: Option<Moment>,
    /// The caller's timeout is the shorter one.
    is_callers: bool,
}

/// The party that set a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The operator: if it passes, the service is too slow.
    Own,
    /// The caller, which says nothing about the service.
    Callers,
}

/// The owner of the limit that has passed at `now`. A service that knows a limit may notice it a moment before the
/// gateway does. So a limit that is about to pass has passed. Where both set the same moment, the operator's counts.
pub fn passed(own: Option<Moment>, callers: Option<Moment>, now: Moment) -> Option<Whose> {
    let soon = now.plus(NOTICED_EARLY);
    let (own, callers) = (own.filter(|own| *own <= soon), callers.filter(|callers| *callers <= soon));
    match (own, callers) {
        (None, None) => None,
        (Some(own), Some(callers)) if callers < own => Some(Whose::Callers),
        (Some(_), _) => Some(Whose::Own),
        (None, Some(_)) => Some(Whose::Callers),
    }
}

/// Clocks of both sides, and the rounding of a `grpc-timeout`, differ by no more than this.
const NOTICED_EARLY: Duration = Duration::from_millis(10);

impl Deadline {
    /// The earlier of the caller's timeout and the configured one, counted from the head's arrival.
    pub fn new(arrived: Moment, caller: Option<Duration>, cap: Option<Duration>) -> Self {
        let shortest = match (caller, cap) {
            (Some(caller), Some(cap)) => Some(caller.min(cap)),
            (one, other) => one.or(other),
        };
        let is_callers = caller.is_some_and(|caller| cap.is_none_or(|cap| caller < cap));
        Self { at: shortest.map(|timeout| arrived.plus(timeout)), is_callers }
    }

    /// The moment, if the caller set it.
    pub fn callers(self) -> Option<Moment> {
        self.at.filter(|_| self.is_callers)
    }

    /// The moment, if the operator set it.
    pub fn own(self) -> Option<Moment> {
        self.at.filter(|_| !self.is_callers)
    }

    /// The moment itself, for a timer. `None`: the call has no deadline.
    pub const fn at(self) -> Option<Moment> {
        self.at
    }

    /// The time that is left: zero once it has passed, `None` if the call has no deadline.
    pub fn left(self, now: Moment) -> Option<Duration> {
        self.at.map(|at| at.since(now))
    }

    /// Whether the deadline has passed.
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
    fn a_deadline_is_the_callers_only_if_it_is_shorter() {
        for (caller, cap, callers) in [
            (None, None, false),
            (sec(3), None, true),
            (None, sec(4), false),
            (sec(3), sec(4), true),
            (sec(4), sec(4), false),
            (sec(5), sec(4), false),
        ] {
            let deadline = Deadline::new(ARRIVED, caller, cap);
            let (is_callers, is_own) = (deadline.callers().is_some(), deadline.own().is_some());
            assert_eq!((is_callers, is_own), (callers, !callers && cap.is_some()), "{caller:?} {cap:?}");
        }
    }

    #[test]
    fn the_limit_that_passes_first_is_the_one_that_passed() {
        let at = |millis| Some(ARRIVED.plus(Duration::from_millis(millis)));
        let table = [
            // The operator's, the caller's, now.
            (None, None, 0, None),
            (at(100), None, 89, None),
            (at(100), None, 90, Some(Whose::Own)),
            (at(100), None, 500, Some(Whose::Own)),
            (None, at(100), 89, None),
            (None, at(100), 95, Some(Whose::Callers)),
            (at(100), at(100), 100, Some(Whose::Own)),
            (at(100), at(101), 100, Some(Whose::Own)),
            (at(101), at(100), 100, Some(Whose::Callers)),
            (at(101), at(100), 500, Some(Whose::Callers)),
            (at(500), at(100), 100, Some(Whose::Callers)),
            (at(100), at(500), 100, Some(Whose::Own)),
        ];
        for (own, callers, now, wanted) in table {
            let now = ARRIVED.plus(Duration::from_millis(now));
            assert_eq!(passed(own, callers, now), wanted, "{own:?} {callers:?} at {now:?}");
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
