//! Time as a value: points on a worker's monotonic clock and the arithmetic on them.
//!
//! Nothing here reads a clock. Callers pass the time as `now: Moment`, so any timing can be tested at once.

pub mod seldom;
pub mod timers;

use std::time::Duration;

/// A point on the worker's monotonic clock, in nanoseconds since an arbitrary start.
///
/// 64 bits hold 584 years, so all arithmetic saturates and none of it can be seen to do so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The clock's arbitrary start.
    pub const ZERO: Moment = Moment(0);

    /// The moment this many nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Moment {
        Moment(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment this much later; the end of time if there is none.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Moment {
        let nanos = duration.as_nanos();
        if nanos > u64::MAX as u128 {
            return Moment(u64::MAX);
        }
        // Just checked to fit.
        #[expect(clippy::cast_possible_truncation)]
        Moment(self.0.saturating_add(nanos as u64))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_moves_by_durations() {
        let start = Moment::from_nanos(7);
        let later = start.plus(Duration::from_micros(2));
        assert_eq!(later.as_nanos(), 2_007);
        assert_eq!(later.since(start), Duration::from_micros(2));
        assert!(start < later);
    }

    #[test]
    fn arithmetic_stops_at_both_ends() {
        let last = Moment::from_nanos(u64::MAX);
        assert_eq!(Moment::ZERO.since(last), Duration::ZERO);
        assert_eq!(Moment::ZERO.plus(Duration::MAX), last);
        assert_eq!(last.plus(Duration::from_nanos(1)), last);
    }
}
