//! Calls of the last `interval`, in slices that really expire.

use std::time::Duration;

use crate::time::Moment;

/// How many calls ended, and how many of them because the service is ill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failed: u64,
}

impl Counts {
    pub(super) fn plus(self, other: Counts) -> Counts {
        Counts { calls: self.calls + other.calls, failed: self.failed + other.failed }
    }
}

/// One worker's counts. A call counts for `interval`, or for up to a tenth of it less.
#[derive(Debug)]
pub(super) struct Window {
    slice_nanos: u64,
    slices: [Counts; SLICES],
    /// The slice that is counted into, by its number since the clock's start.
    current: u64,
    /// When that one is over, in nanoseconds since the same start: what a call asks, in place of a division.
    ends: u64,
    /// All slices together.
    sum: Counts,
}

impl Window {
    pub(super) fn new(interval: Duration) -> Window {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Window {
            slice_nanos: (nanos / SLICES as u64).max(1),
            slices: [Counts::default(); SLICES],
            current: 0,
            ends: 0,
            sum: Counts::default(),
        }
    }

    /// Counts a call, and says how many there are now.
    pub(super) fn count(&mut self, failed: bool, now: Moment) -> Counts {
        self.expire(now);
        let one = Counts { calls: 1, failed: u64::from(failed) };
        let slice = &mut self.slices[place(self.current)];
        *slice = slice.plus(one);
        self.sum = self.sum.plus(one);
        self.sum
    }

    pub(super) fn counts(&mut self, now: Moment) -> Counts {
        self.expire(now);
        self.sum
    }

    pub(super) fn clear(&mut self) {
        self.slices = [Counts::default(); SLICES];
        self.sum = Counts::default();
    }

    #[inline]
    fn expire(&mut self, now: Moment) {
        if now.as_nanos() < self.ends {
            return;
        }
        let number = (now.as_nanos() / self.slice_nanos).max(self.current);
        for passed in self.current + 1..=number.min(self.current + SLICES as u64) {
            let old = std::mem::take(&mut self.slices[place(passed)]);
            self.sum.calls -= old.calls;
            self.sum.failed -= old.failed;
        }
        self.current = number;
        self.ends = (number + 1).saturating_mul(self.slice_nanos);
    }
}

fn place(number: u64) -> usize {
    (number % SLICES as u64) as usize
}

const SLICES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO.plus(Duration::from_millis(millis))
    }

    #[test]
    fn calls_expire_slice_by_slice() {
        let mut window = Window::new(Duration::from_secs(10));
        let counts = |calls, failed| Counts { calls, failed };
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
            assert_eq!(window.count(failed, at(millis)), wanted, "at {millis} ms");
        }
        assert_eq!(window.counts(at(509_999)), counts(1, 1));
        assert_eq!(window.counts(at(510_000)), Counts::default());
    }

    #[test]
    fn time_that_is_told_out_of_order_counts_as_now() {
        let mut window = Window::new(Duration::from_secs(1));
        let _ = window.count(true, at(5_000));
        assert_eq!(window.count(true, at(10)), Counts { calls: 2, failed: 2 });
    }
}
