//! [`Clock`]: the only place of the data plane that reads a clock.

use std::hash::{BuildHasher, Hasher, RandomState};
#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use quanta::Clock as Counter;

use crate::time::Moment;

/// Nanoseconds from the processor's own counter, where it has a steady one. All copies of a clock show one time; values
/// that workers share depend on that.
#[derive(Clone, Debug)]
pub struct Clock {
    counter: Counter,
    start: u64,
    /// A simulation's clock.
    #[cfg(test)]
    virtual_time: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// Begins at zero. The first clock of a process measures the counter's rate for some milliseconds.
    pub fn new() -> Clock {
        let counter = Counter::new();
        let start = counter.raw();
        Clock {
            counter,
            start,
            #[cfg(test)]
            virtual_time: None,
        }
    }

    /// A clock that shows a simulation's time.
    #[cfg(test)]
    pub(super) fn simulated(time: Arc<AtomicU64>) -> Clock {
        Clock { counter: Counter::new(), start: 0, virtual_time: Some(time) }
    }

    /// A random seed, so that no two workers begin alike; 0 in simulations, which must repeat.
    pub(super) fn entropy(&self) -> u64 {
        #[cfg(test)]
        if self.virtual_time.is_some() {
            return 0;
        }
        // Only their numbers tell traces apart, so no two gateways may begin alike.
        RandomState::new().build_hasher().finish()
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        #[cfg(test)]
        if let Some(time) = &self.virtual_time {
            return Moment::from_nanos(time.load(Ordering::Relaxed));
        }
        // A moment of zero would be taken for "never" by nobody, but one second of head room keeps `now - x` simple
        // for the first second of a worker's life.
        Moment::from_nanos(1_000_000_000 + self.counter.delta_as_nanos(self.start, self.counter.raw()))
    }
}

/// Unix time now, in microseconds; for people only, as it may jump.
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
