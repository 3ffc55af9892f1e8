//! The adaptive timeout of a method, which follows its latency.
//!
//! The timeout is a percentile of the method's latencies times a multiplier. It is not below a floor, and never above
//! the fixed timeout. While there are too few latencies to tell that percentile, it is the fixed one. Latencies older
//! than `window` count for half, than two of them for a quarter, and so on. The timeout is for one attempt; the fixed
//! one is for all of a call's attempts together. So a call that is cut here may still be sent again, and is over in
//! time.
//!
//! A call that ran out of time counts as one that took the fixed timeout. So if a service slows down and the timeout
//! cuts too many calls, it rises to the fixed one. Otherwise it would cut ever more. Each worker has its own value for
//! each method; nothing here needs to be exact over workers.

use std::time::Duration;

use crate::config::AdaptiveTimeout;
use crate::time::Moment;

/// A worker's latencies of one method, and the timeout by them.
#[derive(Clone, Debug)]
pub struct Adaptive {
    settings: AdaptiveTimeout,
    /// The upper bound of the timeout; `None` is no bound.
    fixed: Option<Duration>,
    counts: Box<[u32; BUCKETS]>,
    total: u64,
    /// When the counts are halved next.
    halve_at: Moment,
    /// When `timeout` is judged anew.
    judge_at: Moment,
    timeout: Option<Duration>,
}

impl Adaptive {
    /// Begins with the fixed timeout.
    pub fn new(settings: AdaptiveTimeout, fixed: Option<Duration>) -> Self {
        Self {
            settings,
            fixed,
            counts: Box::new([0; BUCKETS]),
            total: 0,
            halve_at: Moment::ZERO,
            judge_at: Moment::ZERO,
            timeout: fixed,
        }
    }

    /// Sets the upper bound of the timeout.
    pub fn set_fixed(&mut self, fixed: Option<Duration>) {
        if self.fixed != fixed {
            self.fixed = fixed;
            self.judge_at = Moment::ZERO;
        }
    }

    /// The timeout for a call that begins now. Cheap: it is judged anew once a second at most.
    pub fn timeout_at(&mut self, now: Moment) -> Option<Duration> {
        if self.judge_at <= now {
            self.forget(now);
            self.timeout = self.judge();
            self.judge_at = now.plus(JUDGED_FOR);
        }
        self.timeout
    }

    /// The timeout, as of the last judgement.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Counts a call's latency.
    pub fn took(&mut self, took: Duration) {
        let count = &mut self.counts[bucket(took)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// Counts a call that was given up after the whole timeout.
    pub fn timed_out(&mut self) {
        self.took(self.fixed.unwrap_or(Duration::MAX));
    }

    /// Halves the counts, once for each window that has passed.
    fn forget(&mut self, now: Moment) {
        if self.halve_at > now {
            return;
        }
        let window = self.settings.window.max(JUDGED_FOR);
        let late = now.since(self.halve_at).as_nanos() / window.as_nanos();
        let halves = if self.halve_at == Moment::ZERO { 0 } else { u32::try_from(late).unwrap_or(31) + 1 };
        for count in self.counts.iter_mut() {
            *count = count.checked_shr(halves).unwrap_or(0);
        }
        self.total = self.counts.iter().map(|count| u64::from(*count)).sum();
        self.halve_at = now.plus(window);
    }

    fn judge(&self) -> Option<Duration> {
        let share = (self.settings.percentile / 100.0).clamp(0.0, 1.0);
        let over = (1.0 - share) * self.total as f64;
        if self.total < SAMPLES_MIN || over < OVER_MIN {
            return self.fixed;
        }
        let latency = self.quantile(share);
        let timeout = Duration::try_from_secs_f64(latency.as_secs_f64() * self.settings.multiplier);
        let timeout = timeout.unwrap_or(Duration::MAX).max(self.settings.floor);
        match self.fixed {
            Some(fixed) => Some(timeout.min(fixed)),
            // The last bucket has no end.
            None if latency >= bucket_end(BUCKETS - 1) => None,
            None => Some(timeout),
        }
    }

    /// The latency below which this share of calls stayed; up to an eighth too long.
    fn quantile(&self, share: f64) -> Duration {
        let wanted = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted.max(1) {
                return bucket_end(at);
            }
        }
        bucket_end(BUCKETS - 1)
    }
}

/// Eight buckets for each power of two of microseconds.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let shift = (micros | 8).ilog2() - 3;
    ((shift as usize) * 8 + (micros >> shift) as usize).min(BUCKETS - 1)
}

fn bucket_end(at: usize) -> Duration {
    let at = at as u64;
    if at < 16 {
        return Duration::from_micros(at + 1);
    }
    let shift = at / 8 - 1;
    Duration::from_micros((at - shift * 8 + 1) << shift)
}

/// Up to 2^30 us, 18 minutes.
const BUCKETS: usize = 8 * 28;
/// Latencies needed for a judgement.
const SAMPLES_MIN: u64 = 100;
/// Latencies needed above the percentile: with fewer, a single call would set it.
const OVER_MIN: f64 = 2.0;
const JUDGED_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
