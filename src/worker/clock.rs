//! The one place of the data plane that reads a clock.

use quanta::Clock as Counter;

use crate::time::Moment;

/// Nanoseconds from the processor's own counter, where it has a steady one.
#[derive(Debug)]
pub(super) struct Clock {
    counter: Counter,
    start: u64,
}

impl Clock {
    /// Begins at zero. The first clock of a process measures the counter's rate for some milliseconds.
    pub(super) fn new() -> Clock {
        let counter = Counter::new();
        let start = counter.raw();
        Clock { counter, start }
    }

    /// Now.
    pub(super) fn now(&self) -> Moment {
        // A moment of zero would be taken for "never" by nobody, but one second of head room keeps `now - x` simple
        // for the first second of a worker's life.
        Moment::from_nanos(1_000_000_000 + self.counter.delta_as_nanos(self.start, self.counter.raw()))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}
