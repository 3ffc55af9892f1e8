use std::time::Duration;

use super::*;
use crate::random::Random;

const TICK: Duration = Duration::from_millis(5);

fn at(millis: u64) -> Moment {
    Moment::ZERO.plus(Duration::from_millis(millis))
}

/// 100 ms late for half a second.
fn settings() -> config::Overload {
    config::Overload {
        max_buffered_bytes: 1,
        max_active_calls: 1_000_000,
        max_loop_delay: Some(Duration::from_millis(100)),
        interval: Duration::from_millis(500),
    }
}

/// Beats at these moments, each of which makes the next one due 5 ms later.
fn after(ticks: &[u64]) -> Overload {
    let mut overload = Overload { due: at(ticks[0]), ..Overload::default() };
    for tick in ticks {
        overload.record_tick(&settings(), at(*tick), at(*tick).plus(TICK));
    }
    overload
}

#[test]
fn only_a_loop_that_stays_late_refuses_and_only_what_comes_late() {
    use Verdict::{Take, TooLate};
    let table: &[(&str, &[u64], u64, Verdict)] = &[
        ("in time", &[1_000, 1_005], 1_006, Take),
        ("the first long turn", &[1_000, 1_005], 9_000, Take),
        ("late, and soon after", &[1_000, 1_300], 1_500, Take),
        ("late for long, but this turn is young", &[1_000, 1_300, 1_600, 1_900], 1_990, Take),
        ("late for long, at the limit", &[1_000, 1_300, 1_600, 1_900], 2_005, Take),
        ("late for long, and above it", &[1_000, 1_300, 1_600, 1_900], 2_006, TooLate),
        ("late for long within one turn", &[1_000, 1_300], 1_801, TooLate),
        ("a tick in time makes good", &[1_000, 1_300, 1_600, 1_900, 1_950], 3_000, Take),
        ("and then it begins anew", &[1_000, 1_300, 1_600, 1_900, 1_950, 2_250], 2_700, Take),
    ];
    for (what, ticks, now, verdict) in table {
        assert_eq!(after(ticks).admit(&settings(), 1, at(*now)), *verdict, "{what}");
    }
    let off = config::Overload { max_loop_delay: None, ..settings() };
    assert_eq!(after(&[1_000, 1_300, 1_600, 1_900]).admit(&off, 1, at(9_000)), Take);
}

/// A call that begins may wake the tick again, in the turn that it was late in.
#[test]
fn ticks_before_their_time_make_nothing_good_that_was_late_a_moment_ago() {
    let mut overload = Overload { due: at(1_000), ..Overload::default() };
    for turn in (1_300..2_200).step_by(300) {
        for early in [0, 1, 4] {
            overload.record_tick(&settings(), at(turn + early), at(turn + early).plus(TICK));
        }
    }
    assert_eq!(overload.admit(&settings(), 1, at(2_500)), Verdict::TooLate);
    // A loop that has not been late for as long as it may be is in time, whoever wakes it.
    for now in (1_907..2_060).step_by(4) {
        overload.record_tick(&settings(), at(now), at(now).plus(TICK));
    }
    assert_eq!(overload.admit(&settings(), 1, at(2_500)), Verdict::Take);
}

#[test]
fn calls_above_the_limit_are_refused_whatever_the_loop_does() {
    let few = config::Overload { max_active_calls: 3, ..settings() };
    for (active, verdict) in [(1, Verdict::Take), (3, Verdict::Take), (4, Verdict::TooMany)] {
        assert_eq!(after(&[1_000]).admit(&few, active, at(1_001)), verdict, "{active}");
        assert_eq!(after(&[1_000, 9_000]).admit(&few, active, at(9_001)), verdict, "{active}");
    }
}

#[test]
fn some_calls_are_taken_however_late_it_is() {
    let mut overload = after(&[1_000, 1_300, 1_600, 1_900]);
    let taken = (0..1_000).filter(|_| overload.admit(&settings(), 1, at(5_000)) == Verdict::Take).count();
    assert_eq!(taken, 1_000 / ALWAYS as usize);
}

/// The outcome of a load.
#[derive(Debug, Default)]
struct Outcome {
    offered: u32,
    refused: u32,
    /// Those with a response within a second of their arrival.
    good: u32,
    /// The longest wait for a response or a refusal, in the second half.
    longest: Duration,
}

/// A worker for which a call is 100 us of work and a refusal 20 us, for 20 s. Calls come at random, `load` times as
/// many as it can do, however long they wait. Calls that come while a turn lasts are the work of the next one.
fn run(settings: &config::Overload, load: f64, hiccup: Duration, seed: u64) -> Outcome {
    const CALL: Duration = Duration::from_micros(100);
    const REFUSAL: Duration = Duration::from_micros(20);
    let mut random = Random::seeded(seed);
    let (mut overload, mut outcome) = (Overload::default(), Outcome::default());
    let (mut now, mut next_arrival, mut next_hiccup) = (at(0), at(0), at(1_000));
    let mut queue = std::collections::VecDeque::new();
    while now < at(20_000) {
        // The tick comes with the events of this turn.
        overload.record_tick(settings, now, now.plus(TICK));
        let (began, measured) = (now, at(10_000) <= now);
        while next_arrival <= began {
            queue.push_back(next_arrival);
            next_arrival = next_arrival.plus(CALL.mul_f64(2.0 * random.between(0.0, 1.0) / load));
        }
        outcome.offered += queue.len() as u32;
        for came in queue.drain(..) {
            let verdict = overload.admit(settings, 1, now);
            now = now.plus(if verdict == Verdict::Take { CALL } else { REFUSAL });
            outcome.refused += u32::from(verdict != Verdict::Take);
            outcome.good += u32::from(verdict == Verdict::Take && now.since(came) < Duration::from_secs(1));
            if measured {
                outcome.longest = outcome.longest.max(now.since(came));
            }
        }
        if next_hiccup <= now {
            now = now.plus(hiccup);
            next_hiccup = now.plus(Duration::from_secs(2));
        }
        // Nothing to do: the next tick wakes it.
        now = now.max(began.plus(TICK));
    }
    outcome
}

#[test]
fn a_worker_that_can_do_its_work_refuses_nothing() {
    for (seed, load) in [0.1, 0.5, 0.8, 0.95].into_iter().enumerate() {
        // However it stops for a moment now and then: a neighbour on the same core, a page to be read.
        for hiccup in [Duration::ZERO, Duration::from_millis(120)] {
            let hiccup = if load < 0.9 { hiccup } else { Duration::ZERO };
            let outcome = run(&settings(), load, hiccup, seed as u64);
            assert_eq!(outcome.refused, 0, "{load}, {hiccup:?}: {outcome:?}");
            assert!(outcome.good >= outcome.offered / 100 * 99, "{load}: {outcome:?}");
        }
    }
}

/// With refusals at a fifth of a call's price, of `load` times its capacity a worker can at best serve
/// `(1 - load / 5) / (1 - 1 / 5)`; all the rest of its time goes into refusing.
#[test]
fn one_that_has_too_much_answers_what_it_can_in_time() {
    let unguarded = config::Overload { max_loop_delay: None, ..settings() };
    for (seed, load) in [1.2, 1.5, 2.0, 3.0, 4.0].into_iter().enumerate() {
        let guarded = run(&settings(), load, Duration::ZERO, seed as u64);
        let best = (1.0 - load / 5.0) / 0.8;
        let share = f64::from(guarded.good) / 200_000.0 / best;
        let without = f64::from(run(&unguarded, load, Duration::ZERO, seed as u64).good) / 200_000.0 / best;
        println!(
            "{load}: {:.0} % of the best with it, {:.0} % without; {guarded:?}",
            share * 100.0,
            without * 100.0
        );
        assert!(share >= 0.85, "{load}: {share} of the best, {guarded:?}");
        assert!(guarded.longest < Duration::from_millis(900), "{load}: {guarded:?}");
        assert!(without < 0.4, "{load}: {without}");
    }
}
