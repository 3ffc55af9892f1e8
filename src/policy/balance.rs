//! Which endpoint takes the next call.
//!
//! It is told of each endpoint how many calls are in flight there, or that it must not be used now; who keeps these
//! numbers is the cluster.

use crate::config::LbPolicy;
use crate::random::Random;

/// One worker's way of choosing among the endpoints of a cluster.
#[derive(Clone, Debug)]
pub enum Balance {
    /// One after the other.
    RoundRobin {
        /// Whose turn it is. `None` before the first call: then chance says, so that the workers do not all begin with
        /// the first endpoint.
        next: Option<usize>,
    },
    /// The one with fewer calls in flight out of two taken at random.
    ///
    /// Two choices keep the longest queue almost as short as asking all would, and do not send every worker to the
    /// same idle endpoint at once (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
    LeastRequest,
}

impl Balance {
    /// The way the configuration asks for.
    pub fn new(policy: LbPolicy) -> Self {
        match policy {
            LbPolicy::RoundRobin => Self::RoundRobin { next: None },
            LbPolicy::LeastRequest => Self::LeastRequest,
        }
    }

    /// The endpoint, of `count`, for the next call; `None` if none may be used.
    ///
    /// `load(i)` is how many calls are in flight on endpoint `i`, or `None` when it must not be used now.
    pub fn pick(
        &mut self,
        count: usize,
        load: impl Fn(usize) -> Option<u32>,
        random: &mut Random,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin { next } => {
                let start = next.unwrap_or_else(|| below(count, random));
                let picked = (start..count).chain(0..start.min(count)).find(|&i| load(i).is_some())?;
                *next = Some(picked + 1);
                Some(picked)
            }
            Self::LeastRequest => least_of_two(count, load, random),
        }
    }
}

fn least_of_two(count: usize, load: impl Fn(usize) -> Option<u32>, random: &mut Random) -> Option<usize> {
    if count > 1 {
        let (one, other) = two_below(count, random);
        if let (Some(load_one), Some(load_other)) = (load(one), load(other)) {
            return Some(if load_one <= load_other { one } else { other });
        }
    }
    // Some may not be used: choose among those that may. A pair of them is as likely here as above, so the choice
    // stays even.
    let usable = || (0..count).filter_map(|i| Some((i, load(i)?)));
    match usable().count() {
        0 => None,
        1 => usable().next().map(|(one, _)| one),
        usable_count => {
            let (one, other) = two_below(usable_count, random);
            let (one, load_one) = usable().nth(one)?;
            let (other, load_other) = usable().nth(other)?;
            Some(if load_one <= load_other { one } else { other })
        }
    }
}

/// Two different numbers below `count`, which is at least 2, each ordered pair as likely as any.
fn two_below(count: usize, random: &mut Random) -> (usize, usize) {
    let one = below(count, random);
    let other = below(count - 1, random);
    (one, if other < one { other } else { other + 1 })
}

fn below(count: usize, random: &mut Random) -> usize {
    // Endpoints come from a file and are far fewer than 2^32; were they not, the rest would get no calls.
    random.below(u32::try_from(count).unwrap_or(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn counts(
        balance: &mut Balance,
        endpoints: usize,
        picks: u32,
        load: impl Fn(usize) -> Option<u32>,
    ) -> Vec<u32> {
        let mut random = Random::seeded(21);
        let mut counts = vec![0; endpoints];
        for _ in 0..picks {
            counts[balance.pick(endpoints, &load, &mut random).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_is_exact_over_those_that_may_be_used() {
        for start in 0..4 {
            let mut balance = Balance::RoundRobin { next: Some(start) };
            assert_eq!(counts(&mut balance, 4, 400, |_| Some(0)), [100; 4]);
            let without_one = |i| (i != 1).then_some(7);
            assert_eq!(counts(&mut balance, 4, 300, without_one), [100, 0, 100, 100]);
        }
        assert_eq!(counts(&mut Balance::new(LbPolicy::RoundRobin), 5, 500, |_| Some(0)), [100; 5]);
    }

    #[test]
    fn round_robin_survives_a_change_of_the_count() {
        let mut random = Random::seeded(1);
        let mut balance = Balance::RoundRobin { next: Some(9) };
        assert_eq!(balance.pick(3, |_| Some(0), &mut random), Some(0));
        assert_eq!(balance.pick(3, |_| Some(0), &mut random), Some(1));
    }

    #[test]
    fn workers_begin_round_robin_at_different_endpoints() {
        let mut first = [0; 4];
        for seed in 0..400 {
            let mut balance = Balance::new(LbPolicy::RoundRobin);
            first[balance.pick(4, |_| Some(0), &mut Random::seeded(seed)).unwrap()] += 1;
        }
        assert!(first.iter().all(|&count| count > 60), "{first:?}");
    }

    #[test]
    fn without_a_usable_endpoint_there_is_no_pick() {
        let mut random = Random::seeded(1);
        for policy in [LbPolicy::RoundRobin, LbPolicy::LeastRequest] {
            for count in 0..4 {
                assert_eq!(Balance::new(policy).pick(count, |_| None, &mut random), None);
                for only in 0..count {
                    let load = |i| (i == only).then_some(5);
                    assert_eq!(Balance::new(policy).pick(count, load, &mut random), Some(only));
                }
            }
        }
    }

    #[test]
    fn equal_loads_get_equal_shares() {
        let mut balance = Balance::new(LbPolicy::LeastRequest);
        for count in counts(&mut balance, 5, 100_000, |_| Some(3)) {
            assert!((19_000..21_000).contains(&count), "{count}");
        }
        let shares = counts(&mut balance, 5, 90_000, |i| (i % 2 == 0).then_some(3));
        for (i, count) in shares.into_iter().enumerate() {
            let fair = if i % 2 == 0 { 29_000..31_000 } else { 0..1 };
            assert!(fair.contains(&count), "{i}: {count}");
        }
    }

    #[test]
    fn an_endpoint_with_ten_times_the_load_gets_no_call() {
        let load = |i| Some(if i == 2 { 10 } else { 1 });
        assert_eq!(counts(&mut Balance::new(LbPolicy::LeastRequest), 4, 10_000, load)[2], 0);
    }

    /// One call arrives at each step; endpoint 0 takes ten times as long as the four others. Its fair share of calls
    /// would be 20 %.
    #[test]
    fn a_slow_endpoint_gets_few_calls() {
        let mut random = Random::seeded(4);
        let mut balance = Balance::new(LbPolicy::LeastRequest);
        let mut ends: [VecDeque<u32>; 5] = Default::default();
        let mut slow = 0;
        for now in 0..50_000 {
            for queue in &mut ends {
                while queue.front().is_some_and(|&end| end <= now) {
                    queue.pop_front();
                }
            }
            let load = |i: usize| u32::try_from(ends[i].len()).ok();
            let picked = balance.pick(5, load, &mut random).unwrap();
            ends[picked].push_back(now + if picked == 0 { 200 } else { 20 });
            slow += u32::from(picked == 0);
        }
        assert!(slow < 50_000 * 8 / 100, "{slow} of 50000");
    }
}
