//! The budget of a client for floods: a token bucket, for calls that it cancels before their answer began.
//!
//! Such calls cost the client a frame and the gateway a call: "rapid reset", CVE-2023-44487.

use crate::time::Moment;

/// So many at once, so many per second after that.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u32,
    /// The level of a full bucket, in billionths of a token: a nanosecond adds `per_second` of them, so nothing is
    /// rounded.
    full: u64,
    level: u64,
    filled: Moment,
}

impl Bucket {
    /// A full bucket of `burst` tokens that gets `per_second` new ones.
    pub fn new(per_second: u32, burst: u32, now: Moment) -> Self {
        let full = u64::from(burst) * TOKEN;
        Self { per_second, full, level: full, filled: now }
    }

    /// Takes one token; false if there is none.
    #[must_use]
    pub fn take(&mut self, now: Moment) -> bool {
        let elapsed = now.as_nanos().saturating_sub(self.filled.as_nanos());
        // Saturation is far above any full bucket: 2^32 tokens are a quarter of 2^64.
        let new = elapsed.saturating_mul(u64::from(self.per_second));
        self.level = self.level.saturating_add(new).min(self.full);
        self.filled = self.filled.max(now);
        if self.level < TOKEN {
            return false;
        }
        self.level -= TOKEN;
        true
    }
}

const TOKEN: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Moment {
        Moment::ZERO.plus(Duration::from_millis(millis))
    }

    fn takes(bucket: &mut Bucket, now: Moment) -> u32 {
        let mut count = 0;
        while bucket.take(now) {
            count += 1;
        }
        count
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, 20, at(0));
        for (now, wanted) in
            [(0, 20), (99, 0), (100, 1), (350, 2), (400, 1), (1_400, 10), (60_000, 20), (60_000, 0)]
        {
            assert_eq!(takes(&mut bucket, at(now)), wanted, "at {now} ms");
        }
    }

    #[test]
    fn nothing_is_lost_to_rounding() {
        let mut bucket = Bucket::new(3, 1, at(0));
        let mut count = 0;
        for nanos in (0..=10_000_000_000_u64).step_by(1_000_003) {
            count += u32::from(bucket.take(Moment::from_nanos(nanos)));
        }
        assert_eq!(count, 30, "one at once and three per second, but for the last step");
    }

    #[test]
    fn time_does_not_fill_twice_when_it_is_told_out_of_order() {
        let mut bucket = Bucket::new(1, 1, at(5_000));
        assert!(bucket.take(at(5_000)));
        assert!(!bucket.take(at(0)));
        assert!(!bucket.take(at(5_999)));
        assert!(bucket.take(at(6_000)));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::new(u32::MAX, u32::MAX, Moment::ZERO);
        assert!(bucket.take(Moment::from_nanos(u64::MAX)));
        let mut none = Bucket::new(u32::MAX, 0, Moment::ZERO);
        assert!(!none.take(Moment::from_nanos(u64::MAX)));
        let mut dry = Bucket::new(0, 1, Moment::ZERO);
        assert_eq!(takes(&mut dry, Moment::from_nanos(u64::MAX)), 1);
    }
}
