//! Time as a value: points on a worker's monotonic clock and the arithmetic on them.
//!
//! Nothing here reads a clock. Callers pass the time as `now: Moment`, so any timing can be tested at once.

pub mod seldom;
pub mod timers;

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// A point on the worker's monotonic clock, in nanoseconds since an arbitrary start.
///
/// 64 bits hold 584 years, so all arithmetic saturates and none of it can be seen to do so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(
    // More by one than the nanoseconds, so that a moment that may be missing takes no more room.
    NonZeroU64,
);

impl Moment {
    /// The clock's arbitrary start.
    pub const ZERO: Moment = Moment(NonZeroU64::MIN);

    /// The moment this many nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Moment {
        Moment(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// The moment this much later; the end of time if there is none.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Moment {
        let nanos = duration.as_nanos();
        if nanos > u64::MAX as u128 {
            return Moment(NonZeroU64::MAX);
        }
        // Just checked to fit.
        #[expect(clippy::cast_possible_truncation)]
        Moment(self.0.saturating_add(nanos as u64))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Moment {
    fn default() -> Moment {
        Moment::ZERO
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Moment").field(&self.as_nanos()).finish()
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
        assert_eq!((Moment::default(), Moment::ZERO.as_nanos()), (Moment::ZERO, 0));
        assert_eq!(format!("{start:?}"), "Moment(7)");
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }

    #[test]
    fn arithmetic_stops_at_both_ends() {
        let last = Moment::from_nanos(u64::MAX);
        assert_eq!(Moment::ZERO.since(last), Duration::ZERO);
        assert_eq!(Moment::ZERO.plus(Duration::MAX), last);
        assert_eq!(last.plus(Duration::from_nanos(1)), last);
    }
}
