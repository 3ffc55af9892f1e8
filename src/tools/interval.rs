//! Claims that repeated rounds allow: medians, how sure they are, and whether one beats another.
//!
//! The interval of a median is taken from the order of the rounds alone (the sign test turned around): it holds
//! whatever their distribution, and on shared machines that has long tails.

/// The median of some rounds, and where it lies with a confidence of at least 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The median.
    pub median: f64,
    /// The lower and the upper end; `None` with fewer than six rounds.
    pub ends: Option<(f64, f64)>,
}

impl Interval {
    /// Of one figure of each round; `None` where there are none.
    pub fn of(rounds: &[f64]) -> Option<Interval> {
        Interval::missing(rounds, 0.05)
    }

    /// The interval that misses the median in no more than this share of cases. A reader of several figures at once
    /// wants all of their intervals to hold.
    pub fn missing(rounds: &[f64], share: f64) -> Option<Interval> {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let last = count.checked_sub(1)?;
        let median = f64::midpoint(sorted[last / 2], sorted[count / 2]);
        let ends = outer_ranks(count, share).map(|rank| (sorted[rank], sorted[last - rank]));
        Some(Interval { median, ends })
    }

    /// Half the width of the interval, as a share of the median.
    pub fn spread(&self) -> Option<f64> {
        let (low, high) = self.ends?;
        (self.median != 0.0).then(|| (high - low) / 2.0 / self.median.abs())
    }
}

/// How many rounds can be left out at each end so that what remains misses the median in at most this share of cases.
fn outer_ranks(count: usize, missing: f64) -> Option<usize> {
    // The chance that at most `rank` of `count` fair coins fall on one side is what each end may miss.
    let (mut below, mut term) = (0.0, 0.5_f64.powi(i32::try_from(count).ok()?));
    let mut found = None;
    for rank in 0..count.div_ceil(2) {
        below += term;
        if 2.0 * below > missing {
            break;
        }
        found = Some(rank);
        term *= (count - rank) as f64 / (rank + 1) as f64;
    }
    found
}

/// The relation of two sets of rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The first is this many times the second; the intervals do not overlap.
    Differs(f64),
    /// The intervals overlap: nothing may be claimed.
    NoDifference,
    /// There are too few rounds for an interval.
    TooFewRounds,
}

/// Compares two medians.
pub fn compare(one: &Interval, other: &Interval) -> Verdict {
    let (Some(ends), Some(other_ends)) = (one.ends, other.ends) else { return Verdict::TooFewRounds };
    if ends.0 <= other_ends.1 && other_ends.0 <= ends.1 {
        return Verdict::NoDifference;
    }
    Verdict::Differs(one.median / other.median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_ranks_are_those_of_the_tables() {
        // From the usual table for the interval of a median at 95 %; ranks here count from 0.
        for (count, rank) in
            [(0, None), (5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (12, Some(2)), (20, Some(5))]
        {
            assert_eq!(outer_ranks(count, 0.05), rank, "{count} rounds");
        }
    }

    #[test]
    fn surer_intervals_are_wider() {
        for (count, missing, rank) in
            [(7, 0.01, None), (8, 0.01, Some(0)), (12, 0.01, Some(1)), (8, 0.001, None)]
        {
            assert_eq!(outer_ranks(count, missing), rank, "{count} rounds, {missing}");
        }
    }

    #[test]
    fn medians_are_medians() {
        assert_eq!(Interval::of(&[]), None);
        assert_eq!(Interval::of(&[3.0, 1.0]).map(|interval| interval.median), Some(2.0));
        let nine = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0];
        assert_eq!(Interval::of(&nine), Some(Interval { median: 5.0, ends: Some((2.0, 8.0)) }));
        assert_eq!(Interval::of(&nine).and_then(|interval| interval.spread()), Some(0.6));
    }

    #[test]
    fn a_verdict_needs_intervals_that_do_not_overlap() {
        let of =
            |shift: f64| Interval::of(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(|n| 10.0 + shift + n)).unwrap();
        assert_eq!(compare(&of(0.0), &of(5.0)), Verdict::NoDifference);
        assert_eq!(compare(&of(37.5), &of(12.5)), Verdict::Differs(2.0));
        assert_eq!(compare(&of(12.5), &of(37.5)), Verdict::Differs(0.5));
        let few = Interval::of(&[1.0, 2.0]).unwrap();
        assert_eq!(compare(&few, &of(100.0)), Verdict::TooFewRounds);
    }

    /// Method: equal things with long tails are compared a thousand times.
    #[test]
    fn equal_things_are_seldom_told_apart() {
        let mut random = Random::seeded(8);
        let mut rounds = || {
            let figures: Vec<f64> = (0..9).map(|_| 1.0 / random.between(0.05, 1.0)).collect();
            Interval::of(&figures).unwrap()
        };
        let wrong = (0..1000).filter(|_| compare(&rounds(), &rounds()) != Verdict::NoDifference).count();
        assert!(wrong < 20, "{wrong} of 1000");
    }
}
