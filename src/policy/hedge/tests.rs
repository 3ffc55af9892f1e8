use super::*;
use crate::config::{Codes, RetryBudget, Throttling};
use crate::policy::budget::SharedBudget;

fn at(millis: u64) -> Moment {
    Moment::from_nanos(1_000_000_000).plus(Duration::from_millis(millis))
}

/// Three attempts, 100 ms apart; UNAVAILABLE is not fatal.
fn settings() -> Hedging {
    Hedging {
        max_attempts: 3,
        hedging_delay: Duration::from_millis(100),
        non_fatal_status_codes: Codes::NONE.with(14),
    }
}

fn budget(min_retries: u32) -> Budget {
    Budget::new(&SharedBudget::new(RetryBudget { percent: 20, min_retries }), None)
}

/// An event of a call; they are in order of time.
enum Event {
    Ask(u64, Start),
    Status(u64, Code, Pushback, HedgeStep),
    Lost(u64, AttemptOutcome, HedgeStep),
}

fn plays(settings: &Hedging, budget: &Budget, events: &[Event]) {
    let mut hedge = Hedge::new(settings, at(0));
    let mut begun = 0;
    for (number, event) in events.iter().enumerate() {
        match *event {
            Ask(millis, wanted) => {
                assert_eq!(hedge.previous(), begun);
                assert_eq!(hedge.admit(budget, at(millis)), wanted, "event {number}");
                begun += u32::from(wanted == Now);
            }
            Status(millis, code, pushback, wanted) => {
                let got = hedge.record(AttemptOutcome::Status(code), pushback, settings, budget, at(millis));
                assert_eq!(got, wanted, "event {number}");
            }
            Lost(millis, outcome, wanted) => {
                assert_eq!(
                    hedge.record(outcome, NONE, settings, budget, at(millis)),
                    wanted,
                    "event {number}"
                );
            }
        }
    }
}

use Event::{Ask, Lost, Status};
use HedgeStep::{Final, GoOn};
use Start::{No, Now, Unpaid};

const NONE: Pushback = Pushback::None;

fn later(millis: u64) -> Start {
    Start::At(at(millis))
}

#[test]
fn attempts_begin_one_delay_apart() {
    let (settings, budget) = (settings(), budget(10));
    plays(
        &settings,
        &budget,
        &[
            Ask(0, Now),
            Ask(0, later(100)),
            Ask(99, later(100)),
            Ask(105, Now),
            Ask(105, later(205)),
            Ask(205, Now),
            Ask(1_000, No),
            Status(1_001, Code::Ok, NONE, Final),
        ],
    );
}

#[test]
fn without_a_delay_all_begin_at_once() {
    let settings = Hedging { hedging_delay: Duration::ZERO, ..settings() };
    plays(&settings, &budget(10), &[Ask(0, Now), Ask(0, Now), Ask(0, Now), Ask(0, No)]);
}

#[test]
fn a_failure_that_is_not_fatal_begins_the_next_at_once() {
    plays(
        &settings(),
        &budget(10),
        &[
            Ask(0, Now),
            Status(30, Code::Unavailable, NONE, GoOn),
            Ask(30, Now),
            Ask(30, later(130)),
            Status(40, Code::Unavailable, NONE, GoOn),
            Ask(40, Now),
            Status(50, Code::Unavailable, NONE, Final),
        ],
    );
}

#[test]
fn a_fatal_code_ends_the_call_while_others_run() {
    plays(&settings(), &budget(10), &[Ask(0, Now), Ask(100, Now), Status(110, Code::NotFound, NONE, Final)]);
}

#[test]
fn the_last_failure_is_the_calls_end() {
    plays(
        &settings(),
        &budget(10),
        &[
            Ask(0, Now),
            Ask(100, Now),
            Ask(200, Now),
            Status(210, Code::Unavailable, NONE, GoOn),
            Ask(210, No),
            Status(220, Code::Unavailable, NONE, GoOn),
            Status(230, Code::Unavailable, NONE, Final),
        ],
    );
}

#[test]
fn pushback_moves_the_next_attempt_or_forbids_it() {
    let after = Pushback::After(Duration::from_millis(400));
    plays(
        &settings(),
        &budget(10),
        &[
            Ask(0, Now),
            Status(50, Code::Unavailable, after, GoOn),
            Ask(50, later(450)),
            Ask(450, Now),
            Ask(450, later(550)),
        ],
    );
    plays(
        &settings(),
        &budget(10),
        &[Ask(0, Now), Ask(100, Now), Status(110, Code::Unavailable, Pushback::Never, GoOn), Ask(900, No)],
    );
    plays(&settings(), &budget(10), &[Ask(0, Now), Status(10, Code::Unavailable, Pushback::Never, Final)]);
}

#[test]
fn the_budget_pays_for_all_but_the_first() {
    plays(&settings(), &budget(1), &[Ask(0, Now), Ask(100, Now), Ask(200, Unpaid), Ask(300, No)]);
    // Running attempts go on; when the last of them fails, the call ends.
    let (settings, budget) = (settings(), budget(0));
    let mut hedge = Hedge::new(&settings, at(0));
    assert_eq!(hedge.admit(&budget, at(0)), Now);
    assert_eq!(hedge.admit(&budget, at(100)), Unpaid);
    assert!(!hedge.is_over());
    assert_eq!(
        hedge.record(AttemptOutcome::Status(Code::Unavailable), NONE, &settings, &budget, at(110)),
        Final
    );
    // The attempt failed before the next could not be paid for.
    let mut hedge = Hedge::new(&settings, at(0));
    assert_eq!(hedge.admit(&budget, at(0)), Now);
    assert_eq!(
        hedge.record(AttemptOutcome::Status(Code::Unavailable), NONE, &settings, &budget, at(10)),
        GoOn
    );
    assert_eq!(hedge.admit(&budget, at(10)), Unpaid);
    assert!(hedge.is_over());
}

#[test]
fn a_throttle_stops_hedges_and_not_calls() {
    let shared = SharedBudget::new(RetryBudget { percent: 20, min_retries: 100 });
    let budget = Budget::new(&shared, Some(Throttling { max_tokens: 2, token_ratio_thousandths: 100 }));
    budget.failed();
    plays(&settings(), &budget, &[Ask(0, Now), Ask(100, Unpaid)]);
}

#[test]
fn what_nobody_answered_begins_the_next_at_once() {
    use AttemptOutcome::{AboveGoaway, NeverOpened, NoConnection, NotWritten, Ours, Refused};
    // No code is listed, and the method is idempotent.
    let settings = Hedging { non_fatal_status_codes: Codes::NONE, ..settings() };
    for outcome in [NoConnection, NeverOpened, NotWritten, Refused, AboveGoaway, AttemptOutcome::Lost] {
        plays(
            &settings,
            &budget(10),
            &[
                Ask(0, Now),
                Ask(0, later(100)),
                Lost(20, outcome, GoOn),
                Ask(20, Now),
                Lost(30, outcome, GoOn),
                Ask(30, Now),
                Lost(40, outcome, Final),
            ],
        );
    }
    plays(&settings, &budget(10), &[Ask(0, Now), Ask(100, Now), Lost(110, Ours, Final)]);
}

#[test]
fn only_what_says_something_of_the_service_moves_the_throttle() {
    let throttled = || {
        let shared = SharedBudget::new(RetryBudget { percent: 20, min_retries: 100 });
        Budget::new(&shared, Some(Throttling { max_tokens: 2, token_ratio_thousandths: 100 }))
    };
    for (outcome, stops) in [
        (AttemptOutcome::NoConnection, false),
        (AttemptOutcome::Refused, false),
        (AttemptOutcome::Lost, true),
    ] {
        let budget = throttled();
        let next = if stops { Unpaid } else { Now };
        plays(&settings(), &budget, &[Ask(0, Now), Lost(10, outcome, GoOn), Ask(10, next)]);
    }
}

#[test]
fn one_that_is_stopped_waits_for_those_that_run() {
    let (settings, budget) = (settings(), budget(10));
    let mut hedge = Hedge::new(&settings, at(0));
    assert_eq!(hedge.admit(&budget, at(0)), Now);
    hedge.stop();
    assert_eq!(hedge.admit(&budget, at(500)), No);
    assert!(!hedge.is_over());
    assert_eq!(hedge.record(AttemptOutcome::Lost, NONE, &settings, &budget, at(510)), Final);
}
