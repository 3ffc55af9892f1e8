//! The one place of the data plane that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use quanta::Clock as Counter;

use crate::time::Moment;

/// Nanoseconds from the processor's own counter, where it has a steady one. Copies of one clock tell the same time, which
/// what workers share depends on.
#[derive(Clone, Debug)]
pub struct Clock {
    counter: Counter,
    start: u64,
}

impl Clock {
    /// Begins at zero. The first clock of a process measures the counter's rate for some milliseconds.
    pub fn new() -> Clock {
        let counter = Counter::new();
        let start = counter.raw();
        Clock { counter, start }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        // A moment of zero would be taken for "never" by nobody, but one second of head room keeps `now - x` simple
        // for the first second of a worker's life.
        Moment::from_nanos(1_000_000_000 + self.counter.delta_as_nanos(self.start, self.counter.raw()))
    }
}

/// Now by the calendar, in microseconds since 1970; for people only, as it may jump.
#[allow(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
pub(super) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}
