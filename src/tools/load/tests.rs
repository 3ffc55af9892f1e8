//! The reasons for which rounds and cases are invalid.

use std::time::Duration;

use super::{Case, Ending, Round, Tally};
use crate::policy::status::Code;
use crate::tools::usage::Cpu;

/// A round of a second and a hundred calls, with this done to it.
fn round(change: impl FnOnce(&mut Round)) -> Round {
    let mut tally = Tally::default();
    (0..100).for_each(|_| tally.record(Ending::Answered(Code::Ok), Duration::from_millis(1)));
    let mut round = Round {
        connections: 4,
        admitted: 4,
        took: Duration::from_secs(1),
        tally,
        lag: Duration::ZERO,
        generator: Cpu { ran: Duration::from_millis(900), waited: Duration::ZERO },
        threads: 1,
        sides: Vec::new(),
    };
    change(&mut round);
    round
}

/// Adds calls that failed.
fn fail(round: &mut Round, calls: u64) {
    (0..calls).for_each(|_| {
        round.tally.record(Ending::Answered(Code::Unavailable), Duration::from_millis(1));
    });
}

#[test]
fn throughput_is_of_calls_that_succeeded() {
    assert_eq!(round(|round| fail(round, 60)).rate(), 100.0);
}

#[test]
fn a_round_says_why_it_is_invalid() {
    type Change = fn(&mut Round);
    let table: [(Change, Option<&str>); 9] = [
        (|_| (), None),
        (|round| round.admitted = 3, Some("3 of 4 connections admitted")),
        (|round| round.tally = Tally::default(), Some("no call was made")),
        (
            |round| round.generator.ran = Duration::from_millis(960),
            Some("the generator was busy for 96 % of the time"),
        ),
        (|round| fail(round, 1), None),
        (|round| fail(round, 3), Some("2.9 % of the calls failed")),
        // Two threads have twice the time.
        (|round| (round.generator.ran, round.threads) = (Duration::from_millis(1800), 2), None),
        (|round| round.lag = Duration::from_millis(20), None),
        (|round| round.lag = Duration::from_millis(21), Some("the generator began calls up to 21 ms late")),
    ];
    for (number, (change, reason)) in table.into_iter().enumerate() {
        assert_eq!(round(change).invalid().as_deref(), reason, "row {number}");
    }
}

#[test]
fn a_case_is_invalid_if_more_than_a_quarter_of_its_rounds_are() {
    let late = || round(|round| round.lag = Duration::from_secs(1));
    let case = |late_rounds: usize| Case {
        rounds: (0..8).map(|number| if number < late_rounds { late() } else { round(|_| ()) }).collect(),
        ..Case::new("case")
    };
    assert_eq!(case(2).invalid(), None);
    let reason = "the generator began calls up to 1000 ms late (3 of 8 rounds)";
    assert_eq!(case(3).invalid().as_deref(), Some(reason));
}
