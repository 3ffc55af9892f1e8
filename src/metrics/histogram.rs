//! How long calls took: a log-linear histogram in microseconds.
//!
//! Every power of two is cut into sixteen buckets of equal width, so a bucket is at most 1/16 of
//! its value wide (1 µs below 32 µs). 464 buckets cover 1 µs to 2³² µs (71 minutes); what took
//! longer counts in the last one.
//!
//! A bucket holds its upper edge and not its lower one, and durations are rounded *up* to whole
//! microseconds first. Thus "at most `le`" is exact, not rounded, wherever `le` is an edge; and
//! the powers of two that the page shows ([`BOUNDS_MICROS`]) are edges.

use std::time::Duration;

use super::Counter;

/// A quantile is never below the true one, and above it by at most this share of it (or by 1 µs).
pub const RELATIVE_ERROR: f64 = 1.0 / SUBS as f64;

/// The `le` bounds on the page, in microseconds: 64 µs to 67 s, each twice the one before.
pub const BOUNDS_MICROS: [u64; 21] = {
    let mut bounds = [64; 21];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
};

/// Buckets per power of two, and its binary logarithm.
const SUBS: usize = 1 << SUB_BITS;
const SUB_BITS: u32 = 4;

/// The upper edge of the last bucket, in microseconds.
const MICROS_MAX: u64 = 1 << 32;

const BUCKETS: usize = bucket(MICROS_MAX) + 1;

const _: () = assert!(BUCKETS == 464);
const _: () = assert!(BOUNDS_MICROS[BOUNDS_MICROS.len() - 1] < MICROS_MAX);

/// The durations one core recorded. One writer, any readers, as with [`Counter`].
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_micros: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { Counter::new() }; BUCKETS], sum_micros: Counter::new() }
    }
}

impl Histogram {
    /// Counts one duration: two loads and two stores, whatever its size.
    #[inline]
    pub fn record(&self, took: Duration) {
        let whole = took.as_secs().saturating_mul(1_000_000);
        let nanos = u64::from(took.subsec_nanos());
        self.buckets[bucket(whole.saturating_add(nanos.div_ceil(1000)))].add(1);
        // The sum is rounded to the nearest: rounding up would add half a microsecond to each call.
        self.sum_micros.add(whole.saturating_add((nanos + 500) / 1000));
    }

    /// A copy to ask questions of.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add(self);
        snapshot
    }
}

/// Durations at one moment, of one histogram or of several added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counts: [u64; BUCKETS],
    sum_micros: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_micros: 0 }
    }
}

impl Snapshot {
    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        for (count, bucket) in self.counts.iter_mut().zip(&histogram.buckets) {
            *count += bucket.get();
        }
        self.sum_micros = self.sum_micros.wrapping_add(histogram.sum_micros.get());
    }

    /// Adds another snapshot.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_micros = self.sum_micros.wrapping_add(other.sum_micros);
    }

    /// The counts since `earlier`, which must be of these histograms.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        since.sum_micros = self.sum_micros.wrapping_sub(earlier.sum_micros);
        since
    }

    /// How many durations there are. Derived from the buckets, so it cannot disagree with them.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations added up, in microseconds.
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros
    }

    /// How many durations were at most each of [`BOUNDS_MICROS`], exactly; the last is the count.
    pub fn at_most(&self) -> [u64; BOUNDS_MICROS.len() + 1] {
        let mut at_most = [0; BOUNDS_MICROS.len() + 1];
        let (mut from, mut seen) = (0, 0);
        for (slot, &bound) in at_most.iter_mut().zip(&BOUNDS_MICROS) {
            let to = bucket(bound) + 1;
            seen += self.counts[from..to].iter().sum::<u64>();
            *slot = seen;
            from = to;
        }
        at_most[BOUNDS_MICROS.len()] = seen + self.counts[from..].iter().sum::<u64>();
        at_most
    }

    /// The duration that the share `q` (0 to 1) of all stayed at or below; the error is
    /// [`RELATIVE_ERROR`] upwards, none downwards up to 71 minutes. None when there are none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = (q * count as f64).ceil() as u64;
        let mut left = wanted.clamp(1, count.max(1));
        for (at, &here) in self.counts.iter().enumerate() {
            if left <= here {
                return Some(Duration::from_micros(upper_edge(at)));
            }
            left -= here;
        }
        None
    }
}

/// Which bucket holds a duration of so many microseconds. No branch depends on the value.
const fn bucket(micros: u64) -> usize {
    // Minus 1, so that a bucket ends with its upper edge. Not more than fits the last bucket.
    let value = micros.saturating_sub(1);
    let value = if value < MICROS_MAX { value } else { MICROS_MAX - 1 };
    // `| SUBS` makes the first two rows of sixteen, which are 1 µs wide, obey the same formula.
    let shift = (value | SUBS as u64).ilog2() - SUB_BITS;
    (shift as usize) * SUBS + (value >> shift) as usize
}

/// The longest duration that bucket `at` holds, in microseconds.
const fn upper_edge(at: usize) -> u64 {
    let shift = (at / SUBS).saturating_sub(1);
    ((at - shift * SUBS + 1) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[Duration]) -> Snapshot {
        let histogram = Histogram::default();
        for &duration in durations {
            histogram.record(duration);
        }
        histogram.snapshot()
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        assert_eq!(bucket(0), 0);
        let mut lower = 0;
        for at in 0..BUCKETS {
            let upper = upper_edge(at);
            assert!(lower < upper);
            assert_eq!((bucket(lower + 1), bucket(upper)), (at, at), "({lower}, {upper}]");
            lower = upper;
        }
        assert_eq!(lower, MICROS_MAX);
        assert_eq!(bucket(MICROS_MAX + 1), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_errs_upwards_and_within_its_bound() {
        let mut micros = 1.0_f64;
        while micros < MICROS_MAX as f64 {
            let truth = Duration::from_nanos((micros * 1000.0) as u64);
            let told = of(&[truth]).quantile(0.5).unwrap();
            assert!(truth <= told, "{truth:?} {told:?}");
            let exact = truth.as_secs_f64();
            let above = (exact * RELATIVE_ERROR).max(1e-6);
            assert!(told.as_secs_f64() <= exact + above, "{truth:?} {told:?}");
            micros *= 1.003;
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let hundred: Vec<_> = (1..=100).map(|n| Duration::from_micros(n * 1000)).collect();
        let snapshot = of(&hundred);
        for (q, millis) in [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (7.0, 100.0)] {
            let told = snapshot.quantile(q).unwrap().as_secs_f64() * 1e3;
            assert!(millis <= told && told <= millis * (1.0 + RELATIVE_ERROR), "{q}: {told}");
        }
        assert_eq!(Snapshot::default().quantile(0.5), None);
    }

    #[test]
    fn at_most_is_exact_at_every_bound() {
        for (at, &bound) in BOUNDS_MICROS.iter().enumerate() {
            let edge = Duration::from_micros(bound);
            let at_most = of(&[edge, edge + Duration::from_nanos(1)]).at_most();
            let before = if at == 0 { 0 } else { at_most[at - 1] };
            assert_eq!((before, at_most[at], at_most[at + 1]), (0, 1, 2), "{edge:?}");
        }
    }

    #[test]
    fn nothing_is_too_short_or_too_long_to_count() {
        let snapshot =
            of(&[Duration::ZERO, Duration::from_nanos(1), Duration::MAX, Duration::from_secs(5000)]);
        let at_most = snapshot.at_most();
        assert_eq!((at_most[0], at_most[20], at_most[21]), (2, 2, 4));
        assert_eq!(snapshot.count(), 4);
    }

    #[test]
    fn merged_snapshots_are_the_snapshot_of_all() {
        let (short, long) = (Duration::from_micros(90), Duration::from_millis(90));
        let mut merged = of(&[short]);
        merged.merge(&of(&[long, long]));
        assert_eq!(merged, of(&[long, short, long]));
        assert_eq!((merged.count(), merged.sum_micros()), (3, 180_090));
        assert_eq!(merged.since(&of(&[short])), of(&[long, long]));
    }
}
