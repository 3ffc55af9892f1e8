//! Models: a few steps of two or three workers in every order, and with every value that an atomic may give.

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::thread;
use ringway_loom::config::{Breaker, OutlierDetection, RateLimit, SlowStart};
use ringway_loom::policy::breaker::{LocalBreaker, SharedBreaker, State};
use ringway_loom::policy::limit::{Limit, SharedLimit};
use ringway_loom::policy::outcome::Outcome;
use ringway_loom::policy::outlier::{OutlierEvent, Outliers, SharedOutliers};
use ringway_loom::policy::rate::{Rate, SharedRate};
use ringway_loom::random::Random;
use ringway_loom::time::Moment;

fn at(millis: u64) -> Moment {
    Moment::ZERO.plus(Duration::from_millis(millis))
}

/// The most involuntary switches in a run. Bugs of such protocols need two or three.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Data of which only the holder of a token may touch a part. loom fails where two do at once, or where one does not see
/// what the last one did.
struct Guarded(UnsafeCell<u32>);

// SAFETY: loom checks each access.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn touch(&self) {
        // SAFETY: loom checks it.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }
}

#[test]
fn a_limit_of_one_is_held_by_one_call_that_sees_what_the_last_did() {
    check(|| {
        let shared = SharedLimit::unleased(1);
        let guarded = Arc::new(Guarded(UnsafeCell::new(0)));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (shared, guarded) = (Arc::clone(&shared), Arc::clone(&guarded));
                thread::spawn(move || {
                    let limit = Limit::new(shared);
                    if limit.take() {
                        guarded.touch();
                        limit.give();
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(shared.free(), 1);
    });
}

#[test]
fn leased_tokens_all_come_back() {
    check(|| {
        let shared = SharedLimit::new(32, 2);
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let limit = Limit::new(shared);
                    assert!(limit.take() && limit.take() && limit.take(), "a batch has two");
                    limit.give();
                    limit.sync_shared();
                    limit.in_use()
                })
            })
            .collect();
        let in_use: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        // A worker that is gone has no calls.
        assert_eq!((in_use, shared.free()), (4, 32));
    });
}

#[test]
fn a_limit_that_changes_under_calls_is_exact_afterwards() {
    check(|| {
        let shared = SharedLimit::unleased(2);
        let limit = Limit::new(Arc::clone(&shared));
        assert!(limit.take(), "a call that is under way");
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let limit = Limit::new(shared);
                let taken = limit.take();
                if taken {
                    limit.give();
                }
            })
        };
        shared.resize(1);
        other.join().unwrap();
        assert_eq!((shared.max(), shared.free(), shared.excess()), (1, 0, 0));
        limit.give();
        assert_eq!(shared.free(), 1);
    });
}

fn rate_of(max_tokens: u32) -> RateLimit {
    RateLimit { max_tokens, tokens_per_fill: 1, fill_interval: Duration::from_secs(1) }
}

#[test]
fn no_more_calls_pass_between_two_fills_than_the_bucket_has_tokens() {
    check(|| {
        let shared = SharedRate::new(rate_of(2), 2, at(0));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let rate = Rate::new(shared);
                    let passed = (0..2).filter(|_| rate.take(at(1))).count();
                    rate.sync_shared(at(1));
                    passed
                })
            })
            .collect();
        let passed: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(passed, 2, "and none is lost");
    });
}

#[test]
fn one_setting_governs_each_exchange_of_a_rate() {
    check(|| {
        let shared = SharedRate::new(rate_of(1), 1, at(0));
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let rate = Rate::new(shared);
                let passed = (0..2).filter(|_| rate.take(at(1))).count();
                rate.sync_shared(at(1));
                passed
            })
        };
        // Tokens are added by fills alone, so a larger bucket is no reason for a call.
        shared.change(rate_of(3), at(1));
        let early = worker.join().unwrap();
        let rate = Rate::new(shared);
        let late = (0..4).filter(|_| rate.take(at(1))).count();
        assert_eq!(early + late, 1, "{early}");
    });
}

fn breaker() -> Breaker {
    Breaker { max_requests: 1, min_requests: 1, ramp: Duration::ZERO, ..Breaker::default() }
}

/// As often as it closed, or once more where it is not closed now.
fn is_consistent(shared: &SharedBreaker) {
    let not_closed = u64::from(shared.state() != State::Closed);
    assert_eq!(shared.opens(), shared.closes() + not_closed, "{:?}", shared.state());
}

#[test]
fn a_breaker_opens_once_whoever_sees_the_reason_first() {
    check(|| {
        let shared = SharedBreaker::new(breaker(), 2);
        let workers: Vec<_> = (0..2)
            .map(|number| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (worker, mut random) = (LocalBreaker::new(shared, number), Random::seeded(1));
                    if let Ok(permit) = worker.admit(at(0), &mut random) {
                        permit.record(Outcome::Failure, at(0));
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!((shared.state(), shared.opens()), (State::Open, 1));
        assert_eq!(shared.cause().failed, 1);
    });
}

#[test]
fn a_half_open_breaker_has_one_probe_for_two_workers() {
    check(|| {
        let shared = SharedBreaker::new(breaker(), 2);
        let (first, mut random) = (LocalBreaker::new(Arc::clone(&shared), 0), Random::seeded(1));
        first.admit(at(0), &mut random).unwrap().record(Outcome::Failure, at(0));
        let later = at(60_000);
        let workers: Vec<_> = [Outcome::Success, Outcome::Failure]
            .into_iter()
            .enumerate()
            .map(|(number, outcome)| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.merge(later);
                    let (worker, mut random) = (LocalBreaker::new(shared, number), Random::seeded(1));
                    match worker.admit(later, &mut random) {
                        Ok(permit) if permit.is_probe() => {
                            permit.record(outcome, later);
                            1
                        }
                        Ok(_) | Err(_) => 0,
                    }
                })
            })
            .collect();
        let probes: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert!(probes <= 1, "{probes}");
        is_consistent(&shared);
    });
}

#[test]
fn a_probe_that_is_given_back_goes_to_another_worker() {
    check(|| {
        let shared = SharedBreaker::new(breaker(), 2);
        let (first, mut random) = (LocalBreaker::new(Arc::clone(&shared), 0), Random::seeded(1));
        first.admit(at(0), &mut random).unwrap().record(Outcome::Failure, at(0));
        let later = at(60_000);
        shared.merge(later);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (worker, mut random) = (LocalBreaker::new(shared, 1), Random::seeded(1));
                drop(worker.admit(later, &mut random));
            })
        };
        first.tick(later);
        drop(first.admit(later, &mut random));
        other.join().unwrap();
        assert!(first.admit(later, &mut random).is_ok_and(|permit| permit.is_probe()), "none is lost");
        is_consistent(&shared);
    });
}

fn detection() -> OutlierDetection {
    OutlierDetection {
        consecutive_gateway_failure: 2,
        max_ejection_percent: 50,
        ..OutlierDetection::default()
    }
}

/// How many endpoints are ejected, as a worker sees it.
fn ejected(shared: &Arc<SharedOutliers>, endpoints: usize, now: Moment) -> u32 {
    let worker = Outliers::new(Arc::clone(shared));
    worker.tick(now);
    (0..endpoints).map(|endpoint| u32::from(!worker.of(endpoint).0)).sum()
}

#[test]
fn failures_of_two_workers_count_together_and_eject_once() {
    check(|| {
        let shared = SharedOutliers::new(detection(), SlowStart::default(), 2);
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let worker = Outliers::new(Arc::clone(&shared));
                thread::spawn(move || worker.record(0, OutlierEvent::GatewayFailure, at(1)))
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!((shared.ejected(), shared.ejections(), ejected(&shared, 2, at(1))), (1, 1, 1));
    });
}

#[test]
fn no_more_endpoints_are_ejected_than_may_be_and_the_count_is_true() {
    check(|| {
        let one = OutlierDetection { consecutive_gateway_failure: 1, ..detection() };
        let shared = SharedOutliers::new(one, SlowStart::default(), 2);
        let workers: Vec<_> = (0..2)
            .map(|endpoint| {
                let worker = Outliers::new(Arc::clone(&shared));
                thread::spawn(move || worker.record(endpoint, OutlierEvent::GatewayFailure, at(1)))
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!((shared.ejected(), ejected(&shared, 2, at(1))), (1, 1));
    });
}

#[test]
fn an_endpoint_comes_back_once_and_can_be_ejected_meanwhile() {
    check(|| {
        let one = OutlierDetection { consecutive_gateway_failure: 1, ..detection() };
        let shared = SharedOutliers::new(one, SlowStart::default(), 2);
        Outliers::new(Arc::clone(&shared)).record(0, OutlierEvent::GatewayFailure, at(1));
        let later = at(60_000);
        let sweeps = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.sweep(later))
        };
        Outliers::new(Arc::clone(&shared)).record(1, OutlierEvent::GatewayFailure, later);
        shared.sweep(later);
        sweeps.join().unwrap();
        assert_eq!(shared.ejected(), ejected(&shared, 2, later));
    });
}
