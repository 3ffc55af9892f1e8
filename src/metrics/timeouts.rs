//! The timeouts that follow the latency of methods, for people to look at.
//!
//! A core says them at its tick, so no call pays for it.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Methods of one cluster that are shown at most; others follow their latency all the same.
pub const METHODS_SHOWN_MAX: usize = 64;

/// Room for one method. One core writes, anybody may read.
#[derive(Debug, Default)]
pub struct TimeoutSlot {
    method: OnceLock<Box<str>>,
    /// In microseconds; zero is none.
    timeout: AtomicU64,
}

impl TimeoutSlot {
    /// Says the timeout of a method, always of the same one. Only the owning core may call this.
    pub fn publish(&self, method: &str, timeout: Option<Duration>) {
        let known = self.method.get_or_init(|| method.into());
        debug_assert_eq!(&**known, method);
        let micros = timeout.map_or(0, |timeout| u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
        self.timeout.store(micros, Relaxed);
    }

    /// The path of the method and its timeout in microseconds, if there is one.
    pub fn read(&self) -> Option<(&str, u64)> {
        let micros = self.timeout.load(Relaxed);
        self.method.get().filter(|_| micros > 0).map(|method| (&**method, micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let slot = TimeoutSlot::default();
        assert_eq!(slot.read(), None);
        slot.publish("/a.B/C", Some(Duration::from_millis(60)));
        assert_eq!(slot.read(), Some(("/a.B/C", 60_000)));
        slot.publish("/a.B/C", None);
        assert_eq!(slot.read(), None);
    }
}
