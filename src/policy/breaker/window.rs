//! Calls of the last `interval`, in slices that expire, and those of the last moments among them.

use std::time::Duration;

use crate::time::Moment;

/// Counts of calls that ended, and of those among them that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failed: u64,
    /// Failed calls that had no connection.
    pub(super) unreached: u64,
    /// Calls that began, but for those without an outcome. Below zero for a moment, where these began before.
    pub(super) begun: i64,
}

impl Counts {
    #[inline]
    pub(super) fn plus(self, other: Counts) -> Counts {
        Counts {
            calls: self.calls + other.calls,
            failed: self.failed + other.failed,
            unreached: self.unreached + other.unreached,
            begun: self.begun + other.begun,
        }
    }

    fn minus(self, other: Counts) -> Counts {
        Counts {
            calls: self.calls - other.calls,
            failed: self.failed - other.failed,
            unreached: self.unreached - other.unreached,
            begun: self.begun - other.begun,
        }
    }
}

/// The calls of both windows; those of the short one are in the long one, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) long: Counts,
    pub(super) short: Counts,
}

impl Tally {
    pub(super) fn plus(self, other: Tally) -> Tally {
        Tally { long: self.long.plus(other.long), short: self.short.plus(other.short) }
    }
}

/// A worker's counts. A call is counted once, into the short window; older ones move to the long one.
#[derive(Debug)]
pub(super) struct Windows {
    short: Window,
    /// None if `interval` is no longer than the short window.
    older: Option<Window>,
    /// How long a call stays in the short window.
    short_length: Duration,
}

impl Windows {
    pub(super) fn new(interval: Duration) -> Windows {
        let short_length = interval.min(SHORT);
        let rest = interval.saturating_sub(short_length);
        let older = (!rest.is_zero()).then(|| Window::new(rest));
        Windows { short: Window::new(short_length), older, short_length }
    }

    /// Counts a call that begins or ends.
    #[inline]
    pub(super) fn count(&mut self, one: Counts, now: Moment) {
        self.expire(now);
        self.short.add(one);
    }

    /// Takes back the beginning of a call that had no outcome.
    pub(super) fn forget(&mut self) {
        self.short.add(Counts { begun: -1, ..Counts::default() });
    }

    /// The counts of both windows, at `now`.
    pub(super) fn tally(&mut self, now: Moment) -> Tally {
        self.expire(now);
        let short = self.short.sum();
        let older = self.older.as_mut().map_or(Counts::default(), |older| {
            older.expire(now, |_, _| {});
            older.sum()
        });
        Tally { long: short.plus(older), short }
    }

    pub(super) fn clear(&mut self) {
        self.short.clear();
        self.older.as_mut().into_iter().for_each(Window::clear);
    }

    #[inline]
    fn expire(&mut self, now: Moment) {
        let Windows { short, older, short_length } = self;
        short.expire(now, |began, old| {
            if let Some(older) = older {
                older.expire(began.plus(*short_length), |_, _| {});
                older.add(old);
            }
        });
    }
}

/// Counts of some time. A call counts for this time, or for up to a tenth of it less.
#[derive(Debug)]
struct Window {
    slice_nanos: u64,
    /// The slices that are over.
    slices: [Counts; SLICES],
    /// All of them together.
    past: Counts,
    /// The current slice. Calls count here alone.
    present: Counts,
    /// The current slice's number since the clock's start.
    current: u64,
    /// The end of that slice, in nanoseconds since the start. Each call compares it, in place of a division.
    ends: u64,
}

impl Window {
    fn new(length: Duration) -> Window {
        let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Window {
            slice_nanos: (nanos / SLICES as u64).max(1),
            slices: [Counts::default(); SLICES],
            past: Counts::default(),
            present: Counts::default(),
            current: 0,
            ends: 0,
        }
    }

    /// Counts into the slice that is current.
    #[inline]
    fn add(&mut self, more: Counts) {
        self.present = self.present.plus(more);
    }

    /// All slices together.
    fn sum(&self) -> Counts {
        self.past.plus(self.present)
    }

    fn clear(&mut self) {
        self.slices = [Counts::default(); SLICES];
        (self.past, self.present) = (Counts::default(), Counts::default());
    }

    /// Moves slices that are over, with their beginnings, to `old`.
    #[inline]
    fn expire(&mut self, now: Moment, old: impl FnMut(Moment, Counts)) {
        if now.as_nanos() >= self.ends {
            self.turn(now, old);
        }
    }

    #[cold]
    fn turn(&mut self, now: Moment, mut old: impl FnMut(Moment, Counts)) {
        let number = (now.as_nanos() / self.slice_nanos).max(self.current);
        let present = std::mem::take(&mut self.present);
        let slice = &mut self.slices[place(self.current)];
        *slice = slice.plus(present);
        self.past = self.past.plus(present);
        for passed in self.current + 1..=number.min(self.current + SLICES as u64) {
            let counts = std::mem::take(&mut self.slices[place(passed)]);
            if counts != Counts::default() {
                self.past = self.past.minus(counts);
                let began = passed.saturating_sub(SLICES as u64).saturating_mul(self.slice_nanos);
                old(Moment::from_nanos(began), counts);
            }
        }
        self.current = number;
        self.ends = (number + 1).saturating_mul(self.slice_nanos);
    }
}

fn place(number: u64) -> usize {
    (number % SLICES as u64) as usize
}

/// The length of the short window. A sudden outage shows in it. At 25 calls a second it holds more calls than a breaker
/// asks for by default.
const SHORT: Duration = Duration::from_millis(1_500);

const SLICES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO.plus(Duration::from_millis(millis))
    }

    fn counts(calls: u64, failed: u64) -> Counts {
        Counts { calls, failed, unreached: 0, begun: 0 }
    }

    #[test]
    fn calls_expire_slice_by_slice() {
        let mut window = Window::new(Duration::from_secs(10));
        // At each moment: a call that failed or not, and what the window holds with it.
        let table = [
            (50_000, true, counts(1, 1)),
            (50_999, false, counts(2, 1)),
            (55_000, true, counts(3, 2)),
            (59_999, false, counts(4, 2)),
            (60_000, false, counts(3, 1)),
            (64_999, false, counts(4, 1)),
            (65_000, false, counts(4, 0)),
            (500_000, true, counts(1, 1)),
        ];
        for (millis, failed, wanted) in table {
            window.expire(at(millis), |_, _| {});
            window.add(counts(1, u64::from(failed)));
            assert_eq!(window.sum(), wanted, "at {millis} ms");
        }
        window.expire(at(509_999), |_, _| {});
        assert_eq!(window.sum(), counts(1, 1));
        window.expire(at(510_000), |_, _| {});
        assert_eq!(window.sum(), Counts::default());
    }

    #[test]
    fn time_that_is_told_out_of_order_counts_as_now() {
        let mut windows = Windows::new(Duration::from_secs(1));
        windows.count(counts(1, 1), at(5_000));
        windows.count(counts(1, 1), at(10));
        assert_eq!(windows.tally(at(5_000)).long, counts(2, 2));
    }

    #[test]
    fn a_call_is_in_both_windows_then_in_the_long_one_and_then_in_none() {
        let mut windows = Windows::new(Duration::from_secs(30));
        for second in 0..100 {
            windows.count(Counts { calls: 1, failed: 1, unreached: 1, begun: 1 }, at(100_000 + second * 10));
        }
        let one = Counts { calls: 100, failed: 100, unreached: 100, begun: 100 };
        let none = Counts::default();
        for (millis, short, long) in [
            (101_000, one, one),
            (101_300, one, one),
            (102_600, none, one),
            (127_000, none, one),
            (131_100, none, none),
        ] {
            assert_eq!(windows.tally(at(millis)), Tally { long, short }, "at {millis} ms");
        }
        // No call came for longer than the short window: the counts are as old as they are.
        windows.count(one, at(200_000));
        assert_eq!(windows.tally(at(226_500)), Tally { long: one, short: none });
        windows.clear();
        assert_eq!(windows.tally(at(226_500)), Tally::default());
    }

    #[test]
    fn a_short_interval_has_one_window() {
        let mut windows = Windows::new(Duration::from_millis(500));
        windows.count(counts(1, 0), at(1_000));
        assert_eq!(windows.tally(at(1_400)), Tally { long: counts(1, 0), short: counts(1, 0) });
        assert_eq!(windows.tally(at(1_500)), Tally::default());
    }
}
