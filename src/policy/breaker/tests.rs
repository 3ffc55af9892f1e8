use super::*;
use crate::config;
use crate::policy::outcome::FAILURE_CODES;
use crate::policy::outcome::Outcome::{Failure, Ignored, Success, Unreached};
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
        failure_status_codes: FAILURE_CODES,
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
        if let Ok(permit) = breaker.admit(now, &mut random) {
            permit.record(outcome, now);
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
        calls(&breaker, silent, Ignored, at(0));
        calls(&breaker, well, Success, at(0));
        calls(&breaker, ill, Failure, at(0));
        assert_eq!(breaker.shared().state(), wanted, "{well} {ill} {silent}");
    }
}

#[test]
fn failures_that_end_sooner_than_others_do_not_open_it() {
    // Of a hundred calls that begin at once, so many fail, and are the first to end. `dropped`: others say nothing.
    for (failing, dropped, wanted) in
        [(49, 0, State::Closed), (50, 0, State::Open), (20, 59, State::Closed), (20, 60, State::Open)]
    {
        let mut random = Random::seeded(8);
        let breaker = alone(settings());
        let mut permits: Vec<_> = (0..100).map(|_| breaker.admit(at(0), &mut random).unwrap()).collect();
        permits.truncate(100 - dropped);
        for permit in permits.drain(..failing) {
            permit.record(Failure, at(5));
        }
        assert_eq!(breaker.shared().state(), wanted, "{failing} {dropped}");
    }
}

#[test]
fn old_failures_are_forgotten() {
    let breaker = alone(settings());
    calls(&breaker, 9, Failure, at(0));
    calls(&breaker, 9, Failure, at(10_000));
    assert_eq!(breaker.shared().state(), State::Closed);
    calls(&breaker, 1, Failure, at(18_999));
    assert_eq!(breaker.shared().state(), State::Open);
}

#[test]
fn open_it_refuses_until_its_time_is_over() {
    let breaker = alone(settings());
    let mut random = Random::seeded(1);
    calls(&breaker, 10, Failure, at(0));
    for millis in [0, 1, 1_000, 1_999] {
        assert_eq!(breaker.admit(at(millis), &mut random).unwrap_err(), Refused::Open, "at {millis}");
    }
    let permit = breaker.admit(at(2_000), &mut random).unwrap();
    assert!(permit.is_probe());
    assert_eq!(breaker.shared().state(), State::HalfOpen);
}

#[test]
fn half_open_it_lets_so_many_probes_out_and_all_must_succeed() {
    let mut random = Random::seeded(2);
    for failed in [None, Some(0), Some(4)] {
        let breaker = alone(settings());
        calls(&breaker, 10, Failure, at(0));
        let probes: Vec<_> = (0..5).map(|_| breaker.admit(at(2_000), &mut random).unwrap()).collect();
        assert_eq!(breaker.admit(at(2_000), &mut random).unwrap_err(), Refused::HalfOpen);
        for (number, probe) in probes.into_iter().enumerate() {
            assert_ne!(breaker.shared().state(), State::Closed);
            probe.record(if failed == Some(number) { Failure } else { Success }, at(2_100));
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
    calls(&breaker, 10, Failure, at(0));
    for round in 0..50 {
        let permit = breaker.admit(at(2_000), &mut random).unwrap();
        if round % 2 == 0 { drop(permit) } else { permit.record(Ignored, at(2_000)) }
    }
    assert_eq!(calls(&breaker, 5, Success, at(2_100)), 5);
    assert_eq!(breaker.shared().state(), State::Closed);
}

#[test]
fn half_open_passes_on_by_time() {
    // Probes that are out for ever, and how many succeed at once; what it is after ten seconds.
    for (lost, succeed, wanted) in [
        (0, 0, State::Closed),
        (0, 2, State::Closed),
        (3, 2, State::Closed),
        (3, 0, State::HalfOpen),
        (5, 0, State::HalfOpen),
    ] {
        let mut random = Random::seeded(4);
        let breaker = alone(settings());
        calls(&breaker, 10, Failure, at(0));
        breaker.tick(at(2_000));
        let lost: Vec<_> = (0..lost).map(|_| breaker.admit(at(2_000), &mut random).unwrap()).collect();
        assert_eq!(calls(&breaker, succeed, Success, at(2_000)), succeed);
        for millis in [2_000, 3_999, 11_999] {
            breaker.tick(at(millis));
            assert_eq!(breaker.shared().state(), State::HalfOpen, "{lost:?} {succeed} at {millis}");
        }
        breaker.tick(at(12_000));
        assert_eq!(breaker.shared().state(), wanted, "{lost:?} {succeed}");
        if wanted == State::HalfOpen {
            assert_eq!(calls(&breaker, 5, Success, at(12_000)), 5, "others go in their place");
            assert_eq!(breaker.shared().state(), State::Closed);
        }
        // Calls that end after all are of another time.
        for permit in lost {
            permit.record(Failure, at(12_001));
        }
        assert_eq!((breaker.shared().state(), breaker.shared().reopens()), (State::Closed, 0));
    }
}

#[test]
fn a_probe_is_judged_by_its_end_and_by_its_head_only_if_it_stays_open() {
    // When the head came the response ended after this time, or not at all; what the breaker is 1.2 s after the head.
    let table = [
        (Some((50, Failure)), State::Open),
        (Some((50, Success)), State::Closed),
        (Some((950, Failure)), State::Open),
        (Some((1_150, Failure)), State::Closed),
        (Some((50, Ignored)), State::HalfOpen),
        (None, State::Closed),
    ];
    for (end, wanted) in table {
        let mut random = Random::seeded(4);
        let breaker = alone(config::Breaker { max_requests: 1, ..settings() });
        calls(&breaker, 10, Failure, at(0));
        let mut probe = Some(breaker.admit(at(2_000), &mut random).unwrap());
        probe.as_mut().unwrap().answered(at(2_000));
        for millis in (0..=1_200).step_by(50) {
            if let Some((after, outcome)) = end
                && after == millis
            {
                probe.take().unwrap().record(outcome, at(2_000 + millis));
            }
            if millis % 100 == 0 {
                breaker.tick(at(2_000 + millis));
            }
        }
        assert_eq!(breaker.shared().state(), wanted, "{end:?}");
        drop(probe);
        assert_eq!(breaker.shared().state(), wanted, "{end:?}: what came later");
    }
}

/// A call each so many microseconds, good until `ill_from`, for so many milliseconds; says when it opened.
fn opens_at(breaker: &LocalBreaker, micros: u64, ill_from: u64, until: u64, ill: Outcome) -> Option<u64> {
    let mut random = Random::seeded(7);
    let mut next_tick = 0;
    for number in 0.. {
        let millis = number * micros / 1_000;
        let now = at(millis);
        while next_tick <= millis {
            breaker.tick(at(next_tick));
            next_tick += 100;
        }
        let Ok(permit) = breaker.admit(now, &mut random) else { return Some(millis - ill_from) };
        permit.record(if millis < ill_from { Success } else { ill }, now);
        if millis > until {
            break;
        }
    }
    None
}

#[test]
fn a_sudden_outage_opens_it_after_a_long_time_of_success() {
    for (per_second, within) in [(25, 2_000), (300, 1_500), (3_000, 1_500)] {
        let breaker = alone(config::Breaker { interval: secs(30), min_requests: 20, ..settings() });
        let opened = opens_at(&breaker, 1_000_000 / per_second, 60_000, 70_000, Failure);
        assert!(opened.is_some_and(|after| after <= within), "{opened:?} at {per_second}/s");
        let cause = breaker.shared().cause();
        assert!(cause.failed * 4 >= cause.calls * 3 && cause.unreached == 0, "{cause:?}");
    }
    // So few that the short window never holds enough.
    let breaker = alone(config::Breaker { interval: secs(30), min_requests: 20, ..settings() });
    let opened = opens_at(&breaker, 200_000, 60_000, 100_000, Failure);
    assert!(opened.is_some_and(|after| (14_000..=16_500).contains(&after)), "{opened:?}");
}

/// Opened for want of connections, with two workers.
fn gone() -> Vec<LocalBreaker> {
    let all = workers(settings(), 2);
    assert_eq!(calls(&all[0], 3, Failure, at(0)), 3, "calls that were under way");
    assert_eq!(calls(&all[0], 7, Unreached, at(0)), 7);
    assert_eq!(all[0].shared().cause(), Cause { calls: 10, failed: 10, unreached: 7 });
    all[1].tick(at(50));
    all
}

#[test]
fn a_connection_ends_the_rest_if_there_was_none() {
    let all = gone();
    let mut random = Random::seeded(1);
    // In each quarter of a second, one worker connects whatever its backoff says.
    assert!(all[0].reach(false, at(100)));
    assert!(!all[1].reach(false, at(349)));
    assert!(all[1].reach(false, at(350)));
    assert_eq!(all[0].admit(at(600), &mut random).unwrap_err(), Refused::Open);
    assert!(!all[0].holds());
    // It has one: probes go out, the other worker connects at once, and calls that come meanwhile wait.
    assert!(!all[0].reach(true, at(700)));
    let probes: Vec<_> = (0..5).map(|_| all[0].admit(at(700), &mut random).unwrap()).collect();
    assert_eq!(all[0].admit(at(700), &mut random).unwrap_err(), Refused::HalfOpen);
    assert!(all[0].holds());
    assert!(all[1].reach(false, at(700)));
    assert!(!all[1].reach(false, at(701)));
    for probe in probes {
        probe.record(Success, at(710));
    }
    assert_eq!(all[0].shared().state(), State::Closed);
    let held = (0..100).filter(|_| all[1].admit(at(710), &mut random).is_err()).count();
    assert!(held > 80 && all[1].holds());
    assert!(calls(&all[0], 100, Success, at(4_710)) == 100 && all[0].is_closed() && !all[0].holds());
}

#[test]
fn a_connection_says_nothing_where_answers_were_bad() {
    let breaker = alone(settings());
    calls(&breaker, 10, Failure, at(0));
    for millis in (0..2_000).step_by(100) {
        assert!(!breaker.reach(true, at(millis)));
        assert_eq!(breaker.shared().state(), State::Open);
    }
}

#[test]
fn a_service_that_is_back_and_ill_is_asked_once_a_second() {
    let all = gone();
    let mut rounds = 0;
    for millis in (100..5_100).step_by(10) {
        all[0].reach(true, at(millis));
        rounds += calls(&all[0], 1, Failure, at(millis));
    }
    assert_eq!((rounds, all[0].shared().reopens()), (5, 5));
    // A service that is lost again is tried for as soon as it is back.
    all[0].reach(true, at(5_100));
    assert_eq!(calls(&all[0], 1, Unreached, at(5_100)), 1);
    all[0].reach(true, at(5_101));
    assert_eq!(calls(&all[0], 5, Success, at(5_101)), 5);
    assert_eq!(all[0].shared().state(), State::Closed);
}

#[test]
fn it_comes_back_slowly() {
    let breaker = alone(settings());
    let mut random = Random::seeded(5);
    calls(&breaker, 10, Failure, at(0));
    assert_eq!(calls(&breaker, 5, Success, at(2_000)), 5);
    for (after, share) in [(0, 0.1), (1_000, 0.325), (2_000, 0.55), (3_999, 1.0), (4_000, 1.0)] {
        let now = at(2_000 + after);
        let passed = (0..20_000).filter(|_| breaker.admit(now, &mut random).is_ok()).count();
        let got = passed as f64 / 20_000.0;
        assert!((share - 0.01..=share + 0.01).contains(&got), "{got} after {after} ms");
    }
    assert_eq!(breaker.gate.get(), Gate::All);
}

#[test]
fn it_can_open_again_while_it_comes_back() {
    let breaker = alone(config::Breaker { ramp: secs(100), ..settings() });
    calls(&breaker, 10, Failure, at(0));
    calls(&breaker, 5, Success, at(2_000));
    assert_eq!(breaker.shared().state(), State::Closed);
    calls(&breaker, 1_000, Failure, at(3_000));
    assert_eq!((breaker.shared().state(), breaker.shared().opens()), (State::Open, 2));
}

#[test]
fn calls_of_an_earlier_time_say_nothing() {
    let mut random = Random::seeded(6);
    let breaker = alone(config::Breaker { ramp: Duration::ZERO, ..settings() });
    let old: Vec<_> = (0..100).map(|_| breaker.admit(at(0), &mut random).unwrap()).collect();
    calls(&breaker, 100, Failure, at(0));
    calls(&breaker, 5, Success, at(2_000));
    for permit in old {
        permit.record(Failure, at(2_001));
    }
    assert_eq!(breaker.shared().state(), State::Closed);
}

#[test]
fn workers_open_together_on_what_each_saw_a_part_of() {
    // Twelve failures of eight workers; none has ten calls of its own.
    let all = workers(settings(), 8);
    for breaker in &all {
        calls(breaker, 2, Failure, at(0));
    }
    assert_eq!(all[0].shared().state(), State::Closed, "nobody knows of the others yet");
    for breaker in &all {
        breaker.tick(at(100));
    }
    assert_eq!(all[0].shared().state(), State::Open);
    // Within a tick all refuse.
    for breaker in &all {
        breaker.tick(at(200));
        assert_eq!(calls(breaker, 10, Success, at(200)), 0);
    }
}

#[test]
fn one_worker_with_bad_luck_does_not_open_it_for_all() {
    let all = workers(settings(), 2);
    calls(&all[0], 1_000, Success, at(0));
    for breaker in &all {
        breaker.tick(at(100));
    }
    for breaker in &all {
        breaker.tick(at(200));
    }
    calls(&all[1], 100, Failure, at(200));
    for breaker in all.iter().rev() {
        breaker.tick(at(300));
    }
    assert_eq!(all[0].shared().state(), State::Closed);
    // But it need not wait for a tick once the whole is reason enough.
    calls(&all[1], 899, Failure, at(350));
    assert_eq!(all[0].shared().state(), State::Closed);
    calls(&all[1], 1, Failure, at(350));
    assert_eq!(all[0].shared().state(), State::Open);
}

#[test]
fn counts_that_do_not_fit_keep_their_share() {
    let shared = SharedBreaker::new(settings(), 2);
    let long = Counts { calls: 40_000_000, failed: 10_000_000, unreached: 5_000_000, begun: 0 };
    let short = Counts { calls: 8, failed: 3, unreached: 2, begun: 9 };
    shared.publish(0, 0, Tally { long, short });
    let counts = shared.counts_without(1);
    assert_eq!(counts.short, short);
    let Counts { calls, failed, unreached, .. } = counts.long;
    assert!(calls > 1_000_000 && calls == 4 * failed && failed == 2 * unreached, "{counts:?}");
}

/// Workers with calls of random length, in a service that is ill and well by turns; ticks at their own times. At each
/// step: no more probes are out or have succeeded than `max_requests`, and an ill service is refused within two ticks.
#[test]
fn no_order_of_events_lets_a_probe_too_many_out() {
    for (seed, count) in [(1, 1_usize), (2, 3), (3, 8)] {
        let mut random = Random::seeded(seed);
        let all = workers(config::Breaker { interval: secs(1), ramp: secs(1), ..settings() }, count);
        let shared = Arc::clone(all[0].shared());
        let mut flying: Vec<(u64, Outcome, BreakerPermit<'_>)> = Vec::new();
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
                let Ok(permit) = breaker.admit(now, &mut random) else { continue };
                if permit.is_probe() {
                    let out = probes.entry(permit.epoch).or_default();
                    *out += 1;
                    assert!(*out <= 5, "step {step}");
                }
                let outcome = match random.below(10) {
                    0 => Ignored,
                    _ if ill_since.is_some() => Failure,
                    _ => Success,
                };
                if ill_since.is_some_and(|since| step > since + 1_500) && !permit.is_probe() {
                    refused_or_closed_late += 1;
                }
                flying.push((step + u64::from(random.below(40)), outcome, permit));
            }
            let mut at_end = 0;
            while at_end < flying.len() {
                if flying[at_end].0 > step {
                    at_end += 1;
                    continue;
                }
                let (_, outcome, permit) = flying.swap_remove(at_end);
                if permit.is_probe() && outcome == Ignored {
                    *probes.get_mut(&permit.epoch).unwrap() -= 1;
                }
                permit.record(outcome, now);
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
        calls(&first, 10, Failure, at(0));
        let succeeded = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|worker| {
                let (shared, succeeded) = (Arc::clone(&shared), Arc::clone(&succeeded));
                thread::spawn(move || {
                    let breaker = LocalBreaker::new(shared, worker);
                    let mut random = Random::seeded(round * 4 + worker as u64);
                    for _ in 0..2_000 {
                        let Ok(permit) = breaker.admit(at(2_000), &mut random) else { continue };
                        if !permit.is_probe() {
                            continue; // closed, and in its ramp
                        }
                        if random.below(3) == 0 {
                            drop(permit);
                        } else {
                            succeeded.fetch_add(1, Ordering::SeqCst);
                            permit.record(Success, at(2_000));
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
