use super::*;
use std::collections::VecDeque;

fn new(policy: LbPolicy) -> Balance {
    Balance::new(policy, 50)
}

fn round_robin(start: usize) -> Balance {
    Balance { algorithm: Algorithm::RoundRobin { next: Some(start) }, panic_percent: 50 }
}

fn counts(
    balance: &mut Balance,
    endpoints: usize,
    picks: u32,
    load: impl Fn(usize) -> Option<u32>,
) -> Vec<u32> {
    let mut random = Random::seeded(21);
    let mut counts = vec![0; endpoints];
    for _ in 0..picks {
        counts[balance.pick(endpoints, |i| Candidate::good(load(i)), &mut random).unwrap()] += 1;
    }
    counts
}

#[test]
fn round_robin_is_exact_over_those_that_may_be_used() {
    for start in 0..4 {
        let mut balance = round_robin(start);
        assert_eq!(counts(&mut balance, 4, 400, |_| Some(0)), [100; 4]);
        let without_one = |i| (i != 1).then_some(7);
        assert_eq!(counts(&mut balance, 4, 300, without_one), [100, 0, 100, 100]);
    }
    assert_eq!(counts(&mut new(LbPolicy::RoundRobin), 5, 500, |_| Some(0)), [100; 5]);
}

#[test]
fn round_robin_survives_a_change_of_the_count() {
    let mut random = Random::seeded(1);
    let mut balance = round_robin(9);
    assert_eq!(balance.pick(3, |_| Candidate::good(Some(0)), &mut random), Some(0));
    assert_eq!(balance.pick(3, |_| Candidate::good(Some(0)), &mut random), Some(1));
}

#[test]
fn workers_begin_round_robin_at_different_endpoints() {
    let mut first = [0; 4];
    for seed in 0..400 {
        let mut balance = new(LbPolicy::RoundRobin);
        first[balance.pick(4, |_| Candidate::good(Some(0)), &mut Random::seeded(seed)).unwrap()] += 1;
    }
    assert!(first.iter().all(|&count| count > 60), "{first:?}");
}

#[test]
fn without_a_usable_endpoint_there_is_no_pick() {
    let mut random = Random::seeded(1);
    for policy in [LbPolicy::RoundRobin, LbPolicy::LeastRequest] {
        for count in 0..4 {
            assert_eq!(new(policy).pick(count, |_| Candidate::good(None), &mut random), None);
            for only in 0..count {
                let look = |i| Candidate::good((i == only).then_some(5));
                assert_eq!(new(policy).pick(count, look, &mut random), Some(only));
            }
        }
    }
}

#[test]
fn equal_loads_get_equal_shares() {
    let mut balance = new(LbPolicy::LeastRequest);
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
    assert_eq!(counts(&mut new(LbPolicy::LeastRequest), 4, 10_000, load)[2], 0);
}

/// A call arrives at each step; endpoint 0 takes ten times as long as the four others. Its fair share of calls
/// would be 20 %.
#[test]
fn a_slow_endpoint_gets_few_calls() {
    let mut random = Random::seeded(4);
    let mut balance = new(LbPolicy::LeastRequest);
    let mut ends: [VecDeque<u32>; 5] = Default::default();
    let mut slow = 0;
    for now in 0..50_000 {
        for queue in &mut ends {
            while queue.front().is_some_and(|&end| end <= now) {
                queue.pop_front();
            }
        }
        let look = |i: usize| Candidate::good(u32::try_from(ends[i].len()).ok());
        let picked = balance.pick(5, look, &mut random).unwrap();
        ends[picked].push_back(now + if picked == 0 { 200 } else { 20 });
        slow += u32::from(picked == 0);
    }
    assert!(slow < 50_000 * 8 / 100, "{slow} of 50000");
}

/// The share of 40,000 calls that each endpoint gets, in percent.
fn shares(policy: LbPolicy, candidates: &[Candidate]) -> Vec<f64> {
    let (mut balance, mut random) = (new(policy), Random::seeded(8));
    let mut counts = vec![0_u32; candidates.len()];
    for _ in 0..40_000 {
        if let Some(picked) = balance.pick(candidates.len(), |i| candidates[i], &mut random) {
            counts[picked] += 1;
        }
    }
    counts.into_iter().map(|count| f64::from(count) / 400.0).collect()
}

const GOOD: Candidate = Candidate { load: Some(1), healthy: true, weight: 1.0, avoid: false };
const UNHEALTHY: Candidate = Candidate { healthy: false, ..GOOD };
const TRIED: Candidate = Candidate { avoid: true, ..GOOD };
const FULL: Candidate = Candidate { load: None, ..GOOD };

#[test]
fn calls_go_to_the_fit_and_elsewhere_only_in_need() {
    // The endpoints' states -> whether each of them gets calls.
    let table: [(&[Candidate], &[bool]); 12] = [
        (&[GOOD, UNHEALTHY], &[true, false]),
        (&[UNHEALTHY, GOOD, GOOD], &[false, true, true]),
        // Less than half are healthy: all take part.
        (&[GOOD, UNHEALTHY, UNHEALTHY], &[true, true, true]),
        (&[UNHEALTHY, UNHEALTHY], &[true, true]),
        // Another one than the one that failed; that one, if there is no other.
        (&[GOOD, TRIED], &[true, false]),
        (&[GOOD, GOOD, TRIED], &[true, true, false]),
        (&[TRIED], &[true]),
        (&[TRIED, UNHEALTHY], &[true, false]),
        (&[TRIED, FULL], &[true, false]),
        // An endpoint that can take no call takes none, whatever else is known.
        (&[FULL, GOOD, TRIED], &[false, true, false]),
        (&[FULL, UNHEALTHY], &[false, false]),
        (&[Candidate { load: None, ..UNHEALTHY }, UNHEALTHY], &[false, true]),
    ];
    for policy in [LbPolicy::RoundRobin, LbPolicy::LeastRequest] {
        for (candidates, wanted) in table {
            let got: Vec<bool> = shares(policy, candidates).iter().map(|share| *share > 0.0).collect();
            assert_eq!(got, wanted, "{policy:?} {candidates:?}");
        }
    }
}

#[test]
fn a_slow_start_gets_its_part_of_a_share() {
    for policy in [LbPolicy::RoundRobin, LbPolicy::LeastRequest] {
        for weight in [0.1, 0.5, 1.0] {
            let slow = Candidate { weight, ..GOOD };
            let share = shares(policy, &[GOOD, GOOD, slow, GOOD])[2];
            let weight = f64::from(weight);
            let fair = 25.0 * weight;
            assert!(
                (fair * 0.8..=fair * 1.2 + 0.5).contains(&share),
                "{policy:?} {weight}: {share} of {fair}"
            );
        }
    }
    // All of them slow: nobody is left without.
    let slow = Candidate { weight: 0.01, ..GOOD };
    assert_eq!(shares(LbPolicy::LeastRequest, &[slow, slow]).iter().sum::<f64>(), 100.0);
}

#[test]
fn a_call_knows_where_it_has_failed() {
    let mut tried = Tried::default();
    assert!((0..200).all(|endpoint| !tried.has(endpoint)));
    for endpoint in [0, 63, 64, 150] {
        tried.add(endpoint);
    }
    let has: Vec<usize> = (0..200).filter(|endpoint| tried.has(*endpoint)).collect();
    assert_eq!(has, [0, 63, 150]);
}
