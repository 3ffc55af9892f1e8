//! Rate limits by caller: a token bucket for each address, key, claim or field value, exact over all workers.
//!
//! The table has a fixed size and no locks. Keys are hashed with a secret seed, so no caller chooses where it lies; a
//! hash leads to a set of eight places. A key that has none takes the place whose bucket has been full for longest. So
//! when there are more callers than places, a caller that has been silent longest begins anew with a full bucket,
//! which costs the limit nothing if it really was full.
//!
//! A bucket is the moment at which it will be full again (the "theoretical arrival time" of GCRA, ITU-T I.371): one
//! word, changed by compare-and-swap.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::KeyedRateLimit;
use crate::time::Moment;

/// Places that a key may have.
const WAYS: usize = 8;

/// The buckets of one limit, of all workers.
#[derive(Debug)]
pub struct KeyedRate {
    sets: Box<[Set]>,
    seed: RandomState,
    /// The time that one token takes, in nanoseconds.
    interval: u64,
    /// The time that a full bucket takes.
    burst: u64,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Set([Place; WAYS]);

#[derive(Debug, Default)]
struct Place {
    /// The hash of the key; 0 for none.
    key: AtomicU64,
    /// When the bucket is full again, in nanoseconds.
    full_at: AtomicU64,
}

impl KeyedRate {
    /// Full buckets for all keys.
    pub fn new(settings: &KeyedRateLimit) -> KeyedRate {
        let sets = (settings.max_keys as usize).div_ceil(WAYS).next_power_of_two();
        let nanos = u64::try_from(settings.fill_interval.as_nanos()).unwrap_or(u64::MAX);
        let interval = (nanos / u64::from(settings.tokens_per_fill)).max(1);
        KeyedRate {
            sets: (0..sets).map(|_| Set::default()).collect(),
            seed: RandomState::new(),
            interval,
            burst: interval.saturating_mul(u64::from(settings.max_tokens)),
        }
    }

    /// Takes a token of this key's bucket.
    ///
    /// # Errors
    /// The time until there is one.
    pub fn take(&self, key: &[u8], now: Moment) -> Result<(), Duration> {
        let hash = self.seed.hash_one(key);
        // The low bits choose the set; no key is 0, which means that there is none.
        let (set, key) = (&self.sets[hash as usize & (self.sets.len() - 1)], hash | 1);
        let now = now.as_nanos();
        let place = set.place(key, now);
        let mut full_at = place.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(self.interval);
            if next > now.saturating_add(self.burst) {
                return Err(Duration::from_nanos(next - now - self.burst));
            }
            match place.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => full_at = seen,
            }
        }
    }
}

impl Set {
    /// The place of this key, which takes one over if it has none.
    fn place(&self, key: u64, now: u64) -> &Place {
        loop {
            if let Some(own) = self.0.iter().find(|place| place.key.load(Ordering::Acquire) == key) {
                return own;
            }
            let oldest = self.0.iter().min_by_key(|place| place.full_at.load(Ordering::Relaxed));
            let oldest = oldest.expect("a set has places");
            let known = oldest.key.load(Ordering::Acquire);
            if oldest.key.compare_exchange(known, key, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                oldest.full_at.store(now, Ordering::Relaxed);
                return oldest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::RateKey;

    fn rate(max_tokens: u32, per_second: u32, max_keys: u32) -> KeyedRate {
        KeyedRate::new(&KeyedRateLimit {
            key: RateKey::RemoteAddress,
            max_tokens,
            tokens_per_fill: per_second,
            fill_interval: Duration::from_secs(1),
            max_keys,
        })
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let rate = rate(3, 10, 100);
        for key in [&b"a"[..], b"b", b""] {
            for _ in 0..3 {
                assert_eq!(rate.take(key, at(0)), Ok(()));
            }
            assert_eq!(rate.take(key, at(0)), Err(Duration::from_millis(100)));
            assert_eq!(rate.take(key, at(99)), Err(Duration::from_millis(1)));
            assert_eq!(rate.take(key, at(100)), Ok(()));
            assert!(rate.take(key, at(100)).is_err());
        }
        assert_eq!(
            (0..10).filter(|_| rate.take(b"a", at(60_000)).is_ok()).count(),
            3,
            "no more than a full bucket"
        );
    }

    #[test]
    fn a_caller_that_calls_keeps_its_bucket_among_many() {
        let rate = rate(5, 1, 64);
        let mut passed = 0;
        for number in 0_u64..10_000 {
            passed += usize::from(rate.take(b"greedy", at(number)).is_ok());
            assert!(rate.take(&number.to_le_bytes(), at(number)).is_ok(), "a new caller has a full bucket");
        }
        // 5 at once, and one each second: strangers whose buckets are less full go before it, but their tokens are back
        // after a second.
        assert!((14..=20).contains(&passed), "{passed} of the greedy caller's calls");
    }

    #[test]
    fn it_is_exact_over_threads() {
        let rate = Arc::new(rate(1000, 1, 1000));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let rate = Arc::clone(&rate);
                std::thread::spawn(move || (0..1000).filter(|_| rate.take(b"one", at(0)).is_ok()).count())
            })
            .collect();
        let passed: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(passed, 1000);
    }
}
