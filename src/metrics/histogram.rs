//! How long calls took: a log-linear histogram in microseconds.
//!
//! Every power of two is cut into sixteen buckets of equal width, so a bucket is at most 1/16 of
//! its value wide (1 µs below 32 µs). 464 buckets cover 1 µs to 2³² µs (71 minutes); what took
//! longer counts in the last one.
//!
//! A bucket holds its upper edge and not its lower one, and durations are rounded *up* to whole microseconds first.
//! Where a bound of the page lies within a bucket, a counter beside the buckets has what is at most that. Thus "at most
//! `le`" is exact, not rounded, for each of the [`Bounds`].

use std::sync::Arc;
use std::time::Duration;

use super::Counter;
use super::bounds::{self, BOUNDS_MAX, Bounds};
use super::buckets::{BUCKETS, SUBS, bucket, upper_edge};

/// A quantile is never below the true one, and above it by at most this share of it (or by 1 µs).
pub const RELATIVE_ERROR: f64 = 1.0 / SUBS as f64;

/// The durations one core recorded. One writer, any readers, as with [`Counter`].
#[derive(Debug)]
pub struct Histogram {
    bounds: Arc<Bounds>,
    buckets: [Counter; BUCKETS],
    /// For each bound that divides a bucket, the durations there that are at most the bound.
    within: [Counter; BOUNDS_MAX],
    sum_micros: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new(bounds::default())
    }
}

impl Histogram {
    /// A histogram with these bounds on the page.
    pub fn new(bounds: Arc<Bounds>) -> Self {
        let (buckets, within) = ([const { Counter::new() }; BUCKETS], [const { Counter::new() }; BOUNDS_MAX]);
        Self { bounds, buckets, within, sum_micros: Counter::new() }
    }

    /// Counts one duration: a few loads and two or three stores, whatever its size.
    #[inline]
    pub fn record(&self, took: Duration) {
        let whole = took.as_secs().saturating_mul(1_000_000);
        let nanos = u64::from(took.subsec_nanos());
        let micros = whole.saturating_add(nanos.div_ceil(1000));
        let at = bucket(micros);
        self.buckets[at].add(1);
        if let Some(place) = self.bounds.within(at, micros) {
            self.within[place].add(1);
        }
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
    within: [u64; BOUNDS_MAX],
    sum_micros: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], within: [0; BOUNDS_MAX], sum_micros: 0 }
    }
}

impl Snapshot {
    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        for (count, bucket) in self.counts.iter_mut().zip(&histogram.buckets) {
            *count += bucket.get();
        }
        for (count, within) in self.within.iter_mut().zip(&histogram.within) {
            *count += within.get();
        }
        self.sum_micros = self.sum_micros.wrapping_add(histogram.sum_micros.get());
    }

    /// Adds another snapshot.
    pub fn merge(&mut self, other: &Self) {
        let all = |of: &Self| of.counts.into_iter().chain(of.within);
        for (count, more) in self.counts.iter_mut().chain(&mut self.within).zip(all(other)) {
            *count += more;
        }
        self.sum_micros = self.sum_micros.wrapping_add(other.sum_micros);
    }

    /// The counts since `earlier`, which must be of these histograms.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        let all = |of: &Self| of.counts.into_iter().chain(of.within);
        for (count, before) in since.counts.iter_mut().chain(&mut since.within).zip(all(earlier)) {
            *count = count.saturating_sub(before);
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

    /// How many durations were at most each of the bounds, exactly; the last is the count. The histograms must have been
    /// made with these bounds.
    pub fn at_most(&self, bounds: &Bounds) -> Vec<u64> {
        let mut at_most = Vec::with_capacity(bounds.micros().len() + 1);
        let (mut from, mut seen) = (0, 0_u64);
        for (place, &bound) in bounds.micros().iter().enumerate() {
            let to = bucket(bound) + usize::from(!bounds.divides(place));
            seen += self.counts[from..to].iter().sum::<u64>();
            // A core may have counted one of them beside its bucket only, so far.
            let before = at_most.last().copied().unwrap_or(0);
            at_most.push(before.max(seen + self.within[place]));
            from = to;
        }
        let all = seen + self.counts[from..].iter().sum::<u64>();
        at_most.push(all.max(at_most.last().copied().unwrap_or(0)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::buckets::MICROS_MAX;

    fn of(durations: &[Duration]) -> Snapshot {
        let histogram = Histogram::default();
        for &duration in durations {
            histogram.record(duration);
        }
        histogram.snapshot()
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
        let bounds = Bounds::default();
        for (at, &bound) in bounds.micros().iter().enumerate() {
            let edge = Duration::from_micros(bound);
            let at_most = of(&[edge, edge + Duration::from_nanos(1)]).at_most(&bounds);
            let before = if at == 0 { 0 } else { at_most[at - 1] };
            assert_eq!((before, at_most[at], at_most[at + 1]), (0, 1, 2), "{edge:?}");
        }
    }

    /// Method: durations all around each bound, counted one by one beside the histogram.
    #[test]
    fn bounds_of_any_kind_are_exact() {
        let bounds = [77, 100, 4_999, 5_000, 8_192, 123_456, 3_600_000_000].map(Duration::from_micros);
        let bounds: Vec<_> = bounds.into_iter().filter(|bound| bound.as_micros() != 5_000).collect();
        let known = Bounds::new(&bounds).expect("they are far enough apart");
        let histogram = Histogram::new(Arc::clone(&known));
        let near = |bound: &Duration| {
            let micros = bound.as_micros() as u64;
            (micros - micros / 20..micros + micros / 20).step_by(1 + micros as usize / 300)
        };
        let durations: Vec<_> = bounds.iter().flat_map(near).map(Duration::from_micros).collect();
        durations.iter().for_each(|&duration| histogram.record(duration));
        let at_most = histogram.snapshot().at_most(&known);
        let truth = |bound: &Duration| durations.iter().filter(|duration| *duration <= bound).count() as u64;
        assert_eq!(at_most[..bounds.len()], bounds.iter().map(truth).collect::<Vec<_>>());
        assert_eq!(at_most[bounds.len()], durations.len() as u64);
    }

    #[test]
    fn nothing_is_too_short_or_too_long_to_count() {
        let snapshot =
            of(&[Duration::ZERO, Duration::from_nanos(1), Duration::MAX, Duration::from_secs(5000)]);
        let at_most = snapshot.at_most(&Bounds::default());
        assert_eq!((at_most[0], at_most[17], at_most[18]), (2, 2, 4));
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
