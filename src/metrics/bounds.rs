//! The `le` bounds of durations on the page: the operator's, and so those that a service level can be read from.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::buckets::{BUCKETS, bucket, upper_edge};

/// The most bounds that there can be.
pub const BOUNDS_MAX: usize = 32;

/// The bounds that hold without a configuration, in microseconds: 100 µs to a minute.
pub const DEFAULT_BOUNDS_MICROS: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Bounds in ascending order, at most one in each bucket of a histogram.
#[derive(Debug, PartialEq, Eq)]
pub struct Bounds {
    micros: Box<[u64]>,
    /// For each bucket, one more than the place of the bound that divides it; 0 where none does.
    divides: [u8; BUCKETS],
}

/// The reason why some durations are not bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBounds {
    /// There are none, or more than [`BOUNDS_MAX`].
    Count,
    /// One is not above the one before it by a sixteenth, which buckets do not tell apart.
    Close(Duration),
    /// One is below a microsecond, not whole microseconds, or above an hour.
    Range(Duration),
}

/// The longest bound.
const LONGEST: Duration = Duration::from_secs(3600);

impl Bounds {
    /// These durations as bounds.
    ///
    /// # Errors
    /// When they are none.
    pub fn new(durations: &[Duration]) -> Result<Arc<Bounds>, BadBounds> {
        if durations.is_empty() || durations.len() > BOUNDS_MAX {
            return Err(BadBounds::Count);
        }
        let (mut micros, mut divides) = (Vec::new(), [0; BUCKETS]);
        for (&bound, place) in durations.iter().zip(1..) {
            let whole = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
            if whole == 0 || bound.subsec_nanos() % 1000 != 0 || bound > LONGEST {
                return Err(BadBounds::Range(bound));
            }
            let before = micros.last().copied();
            if before.is_some_and(|before| whole <= before || bucket(before) == bucket(whole)) {
                return Err(BadBounds::Close(bound));
            }
            if upper_edge(bucket(whole)) != whole {
                divides[bucket(whole)] = place;
            }
            micros.push(whole);
        }
        Ok(Arc::new(Bounds { micros: micros.into(), divides }))
    }

    /// The bounds, in microseconds.
    pub fn micros(&self) -> &[u64] {
        &self.micros
    }

    /// The place of the bound that divides this bucket, if a duration in it is at most that.
    #[inline]
    pub(super) fn within(&self, bucket: usize, micros: u64) -> Option<usize> {
        let place = usize::from(self.divides[bucket]).checked_sub(1)?;
        (micros <= self.micros[place]).then_some(place)
    }

    /// Whether this bound divides a bucket.
    pub(super) fn divides(&self, place: usize) -> bool {
        usize::from(self.divides[bucket(self.micros[place])]) == place + 1
    }

    /// The place of the first bound that is not below a duration; their count where all are.
    pub(super) fn place_of(&self, micros: u64) -> usize {
        self.micros.partition_point(|&bound| bound < micros)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        let durations = DEFAULT_BOUNDS_MICROS.map(Duration::from_micros);
        let bounds = Bounds::new(&durations).expect("the defaults are bounds");
        Arc::into_inner(bounds).expect("nobody else has it")
    }
}

/// The default bounds, shared.
pub(super) fn default() -> Arc<Bounds> {
    static DEFAULT: LazyLock<Arc<Bounds>> = LazyLock::new(Arc::default);
    Arc::clone(&DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_bound_is_whole_microseconds_and_clearly_above_the_one_before() {
        for (durations, wanted) in [
            (&[][..], BadBounds::Count),
            (&[Duration::ZERO], BadBounds::Range(Duration::ZERO)),
            (&[Duration::from_nanos(1500)], BadBounds::Range(Duration::from_nanos(1500))),
            (&[2 * LONGEST], BadBounds::Range(2 * LONGEST)),
            (&[5 * MS, 5 * MS], BadBounds::Close(5 * MS)),
            (&[6 * MS, 5 * MS], BadBounds::Close(5 * MS)),
            (&[5000 * MS, 5001 * MS], BadBounds::Close(5001 * MS)),
        ] {
            assert_eq!(Bounds::new(durations), Err(wanted), "{durations:?}");
        }
        let many: Vec<_> = (0..33).map(|n| MS * (1 << (n / 2)) * (2 + n % 2)).collect();
        assert_eq!(Bounds::new(&many), Err(BadBounds::Count));
        assert!(Bounds::new(&many[..32]).is_ok());
    }

    #[test]
    fn what_a_service_level_names_is_among_the_defaults() {
        let bounds = Bounds::default();
        for millis in [5, 10, 25, 50, 100, 250, 1000] {
            assert!(bounds.micros().contains(&(millis * 1000)), "{millis} ms");
        }
        assert_eq!([1, 100, 101, 60_000_001].map(|micros| bounds.place_of(micros)), [0, 0, 1, 18]);
    }
}
