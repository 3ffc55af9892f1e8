use super::*;
use crate::config;
use crate::policy::outcome::Outcome::{Ill, Silent, Well};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

fn at(millis: u64) -> Moment {
    Moment::from_nanos(1_000_000_000).plus(Duration::from_millis(millis))
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// 5 probes, counts over 10 s, opens for 2 s at 10 calls and a half, ramps for 4 s.
fn settings() -> config::Breaker {
    config::Breaker {
        max_requests: 5,
        interval: secs(10),
        timeout: secs(2),
        min_requests: 10,
        failure_ratio: 0.5,
        ramp: secs(4),
        min_deadline: Duration::ZERO,
    }
}

fn workers(settings: config::Breaker, count: usize) -> Vec<LocalBreaker> {
    let shared = SharedBreaker::new(settings, count);
    (0..count).map(|worker| LocalBreaker::new(Arc::clone(&shared), worker)).collect()
}

fn alone(settings: config::Breaker) -> LocalBreaker {
    workers(settings, 1).remove(0)
}

/// Makes calls that all end at once as they are told to; says how many were let through.
fn calls(breaker: &LocalBreaker, count: u32, outcome: Outcome, now: Moment) -> u32 {
    let mut random = Random::seeded(9);
    let mut passed = 0;
    for _ in 0..count {
        if let Ok(pass) = breaker.ask(now, &mut random) {
            pass.tell(outcome, now);
            passed += 1;
        }
    }
    passed
}

#[test]
fn it_opens_when_enough_calls_have_failed() {
    // well, ill, silent -> state
    let table = [
        (0, 9, 0, State::Closed),
        (0, 9, 100, State::Closed),
        (0, 10, 0, State::Open),
        (10, 9, 0, State::Closed),
        (10, 10, 0, State::Open),
        (100, 99, 0, State::Closed),
    ];
    for (well, ill, silent, wanted) in table {
        let breaker = alone(settings());
        calls(&breaker, silent, Silent, at(0));
        calls(&breaker, well, Well, at(0));
        calls(&breaker, ill, Ill, at(0));
        assert_eq!(breaker.shared().state(), wanted, "{well} {ill} {silent}");
    }
}

#[test]
fn old_failures_are_forgotten() {
    let breaker = alone(settings());
    calls(&breaker, 9, Ill, at(0));
    calls(&breaker, 9, Ill, at(10_000));
    assert_eq!(breaker.shared().state(), State::Closed);
    calls(&breaker, 1, Ill, at(18_999));
    assert_eq!(breaker.shared().state(), State::Open);
}

#[test]
fn open_it_refuses_until_its_time_is_over() {
    let breaker = alone(settings());
    let mut random = Random::seeded(1);
    calls(&breaker, 10, Ill, at(0));
    for millis in [0, 1, 1_000, 1_999] {
        assert_eq!(breaker.ask(at(millis), &mut random).unwrap_err(), Refused::Open, "at {millis}");
    }
    let pass = breaker.ask(at(2_000), &mut random).unwrap();
    assert!(pass.is_probe());
    assert_eq!(breaker.shared().state(), State::HalfOpen);
}

#[test]
fn half_open_it_lets_so_many_probes_out_and_all_must_succeed() {
    let mut random = Random::seeded(2);
    for failed in [None, Some(0), Some(4)] {
        let breaker = alone(settings());
        calls(&breaker, 10, Ill, at(0));
        let probes: Vec<Pass<'_>> = (0..5).map(|_| breaker.ask(at(2_000), &mut random).unwrap()).collect();
        assert_eq!(breaker.ask(at(2_000), &mut random).unwrap_err(), Refused::HalfOpen);
        for (number, probe) in probes.into_iter().enumerate() {
            assert_ne!(breaker.shared().state(), State::Closed);
            probe.tell(if failed == Some(number) { Ill } else { Well }, at(2_100));
        }
        let shared = breaker.shared();
        match failed {
            None => assert_eq!((shared.state(), shared.closes(), shared.reopens()), (State::Closed, 1, 0)),
            Some(_) => assert_eq!((shared.state(), shared.closes(), shared.reopens()), (State::Open, 0, 1)),
        }
        assert_eq!(shared.opens(), 1);
    }
}

#[test]
fn a_probe_that_says_nothing_is_given_back() {
    let mut random = Random::seeded(3);
    let breaker = alone(settings());
    calls(&breaker, 10, Ill, at(0));
    for round in 0..50 {
        let pass = breaker.ask(at(2_000), &mut random).unwrap();
        if round % 2 == 0 { drop(pass) } else { pass.tell(Silent, at(2_000)) }
    }
    assert_eq!(calls(&breaker, 5, Well, at(2_100)), 5);
    assert_eq!(breaker.shared().state(), State::Closed);
}

#[test]
fn probes_are_waited_for_and_replaced_only_if_they_never_end() {
    let mut random = Random::seeded(4);
    let breaker = alone(settings());
    calls(&breaker, 10, Ill, at(0));
    let lost: Vec<Pass<'_>> = (0..3).map(|_| breaker.ask(at(2_000), &mut random).unwrap()).collect();
    assert_eq!(calls(&breaker, 10, Well, at(2_000)), 2);
    // A service may take longer than the breaker was open: no more probes than there were go to it.
    for millis in [3_999, 4_000, 60_000, 601_999] {
        breaker.tick(at(millis));
        assert_eq!(breaker.ask(at(millis), &mut random).unwrap_err(), Refused::HalfOpen, "at {millis}");
    }
    breaker.tick(at(602_000));
    assert_eq!(calls(&breaker, 3, Well, at(602_000)), 3, "two have succeeded before");
    assert_eq!(breaker.shared().state(), State::Closed);
    // Those that end after all are of another time.
    for pass in lost {
        pass.tell(Ill, at(602_001));
    }
    assert_eq!((breaker.shared().state(), breaker.shared().reopens()), (State::Closed, 0));
}

#[test]
fn it_comes_back_slowly() {
    let breaker = alone(settings());
    let mut random = Random::seeded(5);
    calls(&breaker, 10, Ill, at(0));
    assert_eq!(calls(&breaker, 5, Well, at(2_000)), 5);
    for (after, share) in [(0, 0.1), (1_000, 0.325), (2_000, 0.55), (3_999, 1.0), (4_000, 1.0)] {
        let now = at(2_000 + after);
        let passed = (0..20_000).filter(|_| breaker.ask(now, &mut random).is_ok()).count();
        let got = passed as f64 / 20_000.0;
        assert!((share - 0.01..=share + 0.01).contains(&got), "{got} after {after} ms");
    }
    assert_eq!(breaker.gate.get(), Gate::All);
}

#[test]
fn it_can_open_again_while_it_comes_back() {
    let breaker = alone(config::Breaker { ramp: secs(100), ..settings() });
    calls(&breaker, 10, Ill, at(0));
    calls(&breaker, 5, Well, at(2_000));
    assert_eq!(breaker.shared().state(), State::Closed);
    calls(&breaker, 1_000, Ill, at(3_000));
    assert_eq!((breaker.shared().state(), breaker.shared().opens()), (State::Open, 2));
}

#[test]
fn calls_of_an_earlier_time_say_nothing() {
    let mut random = Random::seeded(6);
    let breaker = alone(config::Breaker { ramp: Duration::ZERO, ..settings() });
    let old: Vec<Pass<'_>> = (0..100).map(|_| breaker.ask(at(0), &mut random).unwrap()).collect();
    calls(&breaker, 10, Ill, at(0));
    calls(&breaker, 5, Well, at(2_000));
    for pass in old {
        pass.tell(Ill, at(2_001));
    }
    assert_eq!(breaker.shared().state(), State::Closed);
}

#[test]
fn workers_open_together_on_what_each_saw_a_part_of() {
    // Twelve failures of eight workers; none has ten calls of its own.
    let all = workers(settings(), 8);
    for breaker in &all {
        calls(breaker, 2, Ill, at(0));
    }
    assert_eq!(all[0].shared().state(), State::Closed, "nobody knows of the others yet");
    for breaker in &all {
        breaker.tick(at(100));
    }
    assert_eq!(all[0].shared().state(), State::Open);
    // Within a tick all refuse.
    for breaker in &all {
        breaker.tick(at(200));
        assert_eq!(calls(breaker, 10, Well, at(200)), 0);
    }
}

#[test]
fn one_worker_with_bad_luck_does_not_open_it_for_all() {
    let all = workers(settings(), 2);
    calls(&all[0], 1_000, Well, at(0));
    for breaker in &all {
        breaker.tick(at(100));
    }
    for breaker in &all {
        breaker.tick(at(200));
    }
    calls(&all[1], 100, Ill, at(200));
    for breaker in all.iter().rev() {
        breaker.tick(at(300));
    }
    assert_eq!(all[0].shared().state(), State::Closed);
    // But it need not wait for a tick once the whole is reason enough.
    calls(&all[1], 899, Ill, at(350));
    assert_eq!(all[0].shared().state(), State::Closed);
    calls(&all[1], 1, Ill, at(350));
    assert_eq!(all[0].shared().state(), State::Open);
}

#[test]
fn counts_that_do_not_fit_keep_their_share() {
    let shared = SharedBreaker::new(settings(), 2);
    shared.publish(0, 0, Counts { calls: 40_000_000, failed: 10_000_000 });
    let counts = shared.counts_without(1);
    assert!(counts.calls > 1_000_000 && counts.calls == 4 * counts.failed, "{counts:?}");
}

/// Workers with calls of random length, in a service that is ill and well by turns; ticks at their own times. At each
/// step: no more probes are out or have succeeded than `max_requests`, and an ill service is refused within two ticks.
#[test]
fn no_order_of_events_lets_a_probe_too_many_out() {
    for (seed, count) in [(1, 1_usize), (2, 3), (3, 8)] {
        let mut random = Random::seeded(seed);
        let all = workers(config::Breaker { interval: secs(1), ramp: secs(1), ..settings() }, count);
        let shared = Arc::clone(all[0].shared());
        let mut flying: Vec<(u64, Outcome, Pass<'_>)> = Vec::new();
        let mut probes: HashMap<u32, u32> = HashMap::new(); // out or succeeded, by their time
        let mut ill_since: Option<u64> = None;
        let mut refused_or_closed_late = 0;
        for step in 0..120_000_u64 {
            let now = at(step); // a millisecond each
            if step % 7_919 == 0 {
                ill_since = if ill_since.is_none() { Some(step) } else { None };
            }
            for (worker, breaker) in all.iter().enumerate() {
                if step % 100 == worker as u64 * 9 {
                    breaker.tick(now);
                }
                if random.below(4) > 0 {
                    continue;
                }
                let Ok(pass) = breaker.ask(now, &mut random) else { continue };
                if pass.is_probe() {
                    let out = probes.entry(pass.epoch).or_default();
                    *out += 1;
                    assert!(*out <= 5, "step {step}");
                }
                let outcome = match random.below(10) {
                    0 => Silent,
                    _ if ill_since.is_some() => Ill,
                    _ => Well,
                };
                if ill_since.is_some_and(|since| step > since + 1_500) && !pass.is_probe() {
                    refused_or_closed_late += 1;
                }
                flying.push((step + u64::from(random.below(40)), outcome, pass));
            }
            let mut at_end = 0;
            while at_end < flying.len() {
                if flying[at_end].0 > step {
                    at_end += 1;
                    continue;
                }
                let (_, outcome, pass) = flying.swap_remove(at_end);
                if pass.is_probe() && outcome == Silent {
                    *probes.get_mut(&pass.epoch).unwrap() -= 1;
                }
                pass.tell(outcome, now);
            }
            assert!(shared.opens() - shared.closes() <= 1);
        }
        drop(flying);
        assert_eq!(refused_or_closed_late, 0, "an ill service is left alone");
        assert!(shared.opens() >= 5 && shared.closes() >= 5 && shared.reopens() >= 5, "{shared:?}");
    }
}

/// Real threads at one half-open breaker.
#[test]
fn threads_together_let_exactly_the_probes_out() {
    for round in 0..50 {
        let settings = config::Breaker { max_requests: 37, ..settings() };
        let shared = SharedBreaker::new(settings, 4);
        let first = LocalBreaker::new(Arc::clone(&shared), 0);
        calls(&first, 10, Ill, at(0));
        let succeeded = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|worker| {
                let (shared, succeeded) = (Arc::clone(&shared), Arc::clone(&succeeded));
                thread::spawn(move || {
                    let breaker = LocalBreaker::new(shared, worker);
                    let mut random = Random::seeded(round * 4 + worker as u64);
                    for _ in 0..2_000 {
                        let Ok(pass) = breaker.ask(at(2_000), &mut random) else { continue };
                        if !pass.is_probe() {
                            continue; // closed, and in its ramp
                        }
                        if random.below(3) == 0 {
                            drop(pass);
                        } else {
                            succeeded.fetch_add(1, Ordering::SeqCst);
                            pass.tell(Well, at(2_000));
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(succeeded.load(Ordering::SeqCst), 37);
        assert_eq!((shared.state(), shared.opens(), shared.closes()), (State::Closed, 1, 1));
    }
}
