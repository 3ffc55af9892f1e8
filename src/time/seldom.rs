//! Messages that repeat, let through once a second.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Moment;

/// Lets a message through once a second, for all threads together, and counts those that it holds back.
#[derive(Debug)]
pub struct Seldom {
    /// The moment when the next may pass, in nanoseconds; 0 for at once.
    next: AtomicU64,
    held: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Seldom {
    /// A gate that lets the first message through.
    #[expect(clippy::new_without_default, reason = "it is made for statics")]
    pub const fn new() -> Seldom {
        Seldom { next: AtomicU64::new(0), held: AtomicU64::new(0) }
    }

    /// Whether a message may pass now; if so, with the number held back since the last one.
    pub fn pass(&self, now: Moment) -> Option<u64> {
        let (now, next) = (now.as_nanos(), self.next.load(Ordering::Relaxed));
        // A clock that began later is behind: nothing is held back for longer than a second.
        let is_due = now >= next || next - now > SECOND;
        let taken = is_due
            && self.next.compare_exchange(next, now + SECOND, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !taken {
            self.held.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.held.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_second_something_passes_and_the_rest_is_counted() {
        let seldom = Seldom::new();
        let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
        for (millis, wanted) in [
            (5, Some(0)),
            (6, None),
            (900, None),
            (1_004, None),
            (1_005, Some(3)),
            (1_006, None),
            (9_000, Some(1)),
            // Another gateway of the process.
            (2, Some(0)),
            (3, None),
        ] {
            assert_eq!(seldom.pass(at(millis)), wanted, "{millis}");
        }
    }
}
