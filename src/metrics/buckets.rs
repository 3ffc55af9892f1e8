//! The buckets of durations: each power of two of microseconds is cut into sixteen of equal width. See
//! [`histogram`](super::histogram).

/// Buckets per power of two, and its binary logarithm.
pub(super) const SUBS: usize = 1 << SUB_BITS;
const SUB_BITS: u32 = 4;

/// The upper edge of the last bucket, in microseconds.
pub(super) const MICROS_MAX: u64 = 1 << 32;

pub(super) const BUCKETS: usize = bucket(MICROS_MAX) + 1;

const _: () = assert!(BUCKETS == 464);

/// Which bucket holds a duration of so many microseconds. No branch depends on the value.
pub(super) const fn bucket(micros: u64) -> usize {
    // Minus 1, so that a bucket ends with its upper edge. Not more than fits the last bucket.
    let value = micros.saturating_sub(1);
    let value = if value < MICROS_MAX { value } else { MICROS_MAX - 1 };
    // `| SUBS` makes the first two rows of sixteen, which are 1 µs wide, obey the same formula.
    let shift = (value | SUBS as u64).ilog2() - SUB_BITS;
    (shift as usize) * SUBS + (value >> shift) as usize
}

/// The longest duration that bucket `at` holds, in microseconds.
pub(super) const fn upper_edge(at: usize) -> u64 {
    let shift = (at / SUBS).saturating_sub(1);
    ((at - shift * SUBS + 1) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
