use super::*;
use crate::random::Random;
use std::time::Duration;

fn at(millis: u64) -> Moment {
    Moment::from_nanos(60_000_000_000).plus(Duration::from_millis(millis))
}

fn alone(percent: u32, min_retries: u32) -> Budget {
    Budget::new(&SharedBudget::new(RetryBudget { percent, min_retries }), None)
}

fn takes(budget: &Budget, now: Moment) -> u32 {
    let mut count = 0;
    while budget.take(now) {
        count += 1;
    }
    count
}

#[test]
fn five_calls_pay_for_one_retry() {
    let budget = alone(20, 0);
    for calls in 1..=100 {
        budget.earn(at(0));
        assert_eq!(takes(&budget, at(0)), u32::from(calls % 5 == 0), "{calls}");
    }
}

#[test]
fn the_first_retries_are_lent_and_paid_back() {
    let budget = alone(20, 3);
    assert_eq!(takes(&budget, at(0)), 3);
    for _ in 0..15 {
        budget.earn(at(1));
    }
    assert_eq!(budget.shared.free.load(Ordering::Relaxed), 3);
    assert_eq!(takes(&budget, at(1)), 3, "lent again, nothing was earned");
}

#[test]
fn what_was_earned_ten_seconds_ago_is_forgotten() {
    let budget = alone(20, 0);
    for _ in 0..1_000 {
        budget.earn(at(500));
    }
    for _ in 0..10 {
        budget.earn(at(5_000));
    }
    for (now, wanted) in [(9_999, 202), (10_000, 2), (60_000, 0)] {
        let budget = Budget {
            shared: Arc::clone(&budget.shared),
            calls: budget.calls.clone(),
            throttle: None,
            balance: budget.balance.clone(),
            owed: Cell::new(0),
            second: budget.second.clone(),
        };
        assert_eq!(takes(&budget, at(now)), wanted, "at {now} ms");
    }
}

#[test]
fn no_percent_and_no_minimum_is_no_retry() {
    let budget = alone(0, 0);
    for _ in 0..1_000 {
        budget.earn(at(0));
    }
    assert!(!budget.take(at(0)));
}

/// A full outage: each call fails and would be retried. Workers of very different load, calls at random times.
#[test]
fn all_workers_together_keep_the_budget() {
    for (seed, workers) in [1_usize, 2, 4, 16].into_iter().enumerate() {
        let shared = SharedBudget::new(RetryBudget { percent: 20, min_retries: 10 });
        let budgets: Vec<Budget> = (0..workers).map(|_| Budget::new(&shared, None)).collect();
        let mut random = Random::seeded(seed as u64);
        let (mut calls, mut retries, mut nanos) = (0_u64, 0_u64, 0);
        for _ in 0..200_000 {
            let pause_max = if random.below(1_000) == 0 { 20_000_000_000 } else { 2_000_000 };
            nanos += random.below_u64(pause_max);
            let now = Moment::from_nanos(nanos);
            let draw = random.below(1 << 16) as usize;
            let budget = &budgets[if draw & 1 == 0 { 0 } else { (draw >> 1) % workers }];
            budget.earn(now);
            calls += 1;
            for _ in 0..2 {
                retries += u64::from(budget.take(now));
            }
            assert!(100 * retries <= 20 * calls + 1_000, "{retries} for {calls}");
        }
        assert!(100 * retries > 19 * calls, "the budget is used: {retries} for {calls}");
    }
}

#[test]
fn a_throttle_opens_again_with_successes() {
    let throttling = Throttling { max_tokens: 10, token_ratio_thousandths: 100 };
    let shared = SharedBudget::new(RetryBudget { percent: 0, min_retries: 1_000 });
    let budget = Budget::new(&shared, Some(throttling));
    for failures in 1..=10 {
        budget.failed();
        assert_eq!(budget.take(at(0)), failures < 5, "{failures}");
    }
    for successes in 1..=60 {
        budget.succeeded();
        assert_eq!(budget.take(at(0)), successes > 50, "{successes}");
    }
    for _ in 0..1_000 {
        budget.succeeded();
    }
    for failures in 1..=5 {
        budget.failed();
        assert_eq!(budget.take(at(0)), failures < 5, "no more than full: {failures}");
    }
}
