//! `ringway compare N C`: the same method of the same service by gRPC and by JSON, through the gateway and straight.

use std::io;

use serde_json::json;

use super::interval::{self, Interval, Verdict};
use super::load::{self, Case, Load, Pace, Target, rows};
use super::show::{self, Document, Output};
use super::stage::Stage;
use super::usage::{self, Side};

/// A way to make the call.
pub type NamedTarget = (&'static str, Target);

/// The names of the four targets.
pub const TARGETS: [&str; 4] =
    ["gRPC through the gateway", "gRPC straight", "JSON through the gateway", "JSON straight"];

/// Options of a comparison.
#[derive(Clone, Debug)]
pub struct Options {
    /// The calls of a round.
    pub calls: u64,
    /// How many are in flight at once.
    pub at_once: usize,
    /// The targets, and the processes that are watched; those of the embedded demo if there are none.
    pub targets: Option<(Vec<NamedTarget>, Vec<Side>)>,
    /// How often each way is measured.
    pub rounds: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// How it is shown.
    pub output: Output,
}

/// Runs it; false if a result is invalid or a call failed.
///
/// # Errors
/// When the generator cannot run, or the result cannot be written.
pub fn run(options: &Options) -> io::Result<bool> {
    let stage = if options.targets.is_none() { Some(Stage::start()?) } else { None };
    let (targets, sides, what) = match (&options.targets, &stage) {
        (Some((targets, sides)), _) => (targets.clone(), sides.clone(), "the addresses given".to_owned()),
        (None, Some(stage)) => {
            let targets = [stage.grpc(), stage.grpc_straight(), stage.json(), stage.json_straight()];
            (TARGETS.into_iter().zip(targets).collect(), stage.sides.clone(), stage.describe())
        }
        (None, None) => unreachable!("without targets there is a stage"),
    };
    let cases = measure(options, &targets, &sides)?;
    document(options, &cases, &what).write(&options.output)?;
    Ok(measured(&cases).all(|case| case.invalid().is_none() && case.tally().errors() == 0))
}

/// Measures each way once in each round, beginning with another one each time.
fn measure(options: &Options, targets: &[NamedTarget], sides: &[Side]) -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut loads = Vec::new();
    for (name, target) in targets {
        let mut load =
            Load::new(target.clone(), Pace::Calls { calls: options.calls, at_once: options.at_once });
        load.threads = options.threads;
        let ending = load::probe(target, load.patience)?;
        let absent = (!ending.is_ok()).then(|| format!("not offered: {ending}"));
        cases.push(Case { absent, ..Case::new(*name) });
        loads.push(load);
    }
    let count = measured(&cases).count() as u64;
    let bar = show::progress(options.rounds as u64 * options.calls * count, "compare");
    let mut done = 0;
    for round in 0..options.rounds {
        for turn in 0..cases.len() {
            let at = (round + turn) % cases.len();
            if cases[at].absent.is_some() {
                continue;
            }
            bar.set_message(cases[at].name.clone());
            let measured = load::run(&loads[at], sides, |calls| bar.set_position(done + calls))?;
            cases[at].rounds.push(measured);
            done += options.calls;
        }
    }
    bar.finish_and_clear();
    Ok(cases)
}

fn measured(cases: &[Case]) -> impl Iterator<Item = &Case> {
    cases.iter().filter(|case| case.absent.is_none())
}

fn document(options: &Options, cases: &[Case], what: &str) -> Document {
    let mut table = rows::table("", &["way"]);
    for case in cases {
        let mut row = vec![case.name.as_str().into()];
        row.extend(rows::row(case));
        table.rows.push(row);
    }
    let (calls, at_once, rounds) = (options.calls, options.at_once, options.rounds);
    let mut conclusions = Vec::new();
    // JSON against gRPC, and what the gateway costs.
    for (one, other) in [(2, 0), (3, 1), (0, 1), (2, 3)] {
        let (Some(one), Some(other)) = (cases.get(one), cases.get(other)) else { continue };
        if one.absent.is_none() && other.absent.is_none() {
            conclusions.push(conclude(one, other));
        }
    }
    conclusions.push(rows::memory(cases));
    let json = json!({
        "against": what, "calls": calls, "at_once": at_once, "rounds": rounds,
        "generator_memory_bytes": usage::memory_of_this_process(),
        "ways": cases.iter().map(Case::json).collect::<Vec<_>>(),
        "conclusions": conclusions,
    });
    Document {
        title: format!("{calls} calls, {at_once} at once, {rounds} rounds of each way in turn"),
        facts: vec![
            format!("against {what}"),
            "JSON over HTTP/1.1 has one connection for each call in flight; gRPC shares at most 16"
                .to_owned(),
        ],
        tables: vec![table],
        conclusions,
        plots: rows::plots(cases),
        json,
    }
}

/// A sentence about two cases; it claims a difference only where intervals do not overlap.
pub fn conclude(one: &Case, other: &Case) -> String {
    let names = format!("{} against {}", one.name, other.name);
    if let Some(bad) = [one, other].into_iter().find(|case| case.invalid().is_some()) {
        return format!("{names}: no verdict, as \"{}\" is invalid", bad.name);
    }
    let figures: [(&str, Option<Interval>, Option<Interval>); 4] = [
        ("calls/s", one.rate(), other.rate()),
        ("p50", one.quantile(0.5), other.quantile(0.5)),
        ("p99", one.quantile(0.99), other.quantile(0.99)),
        ("CPU of all sides", cpu_of_all(one), cpu_of_all(other)),
    ];
    let words = figures.iter().filter_map(|(what, one, other)| {
        Some(match interval::compare(one.as_ref()?, other.as_ref()?) {
            Verdict::Differs(ratio) => format!("{what} x {ratio:.2}"),
            Verdict::NoDifference => format!("{what} no difference"),
            Verdict::TooFewRounds => format!("{what} too few rounds for a verdict"),
        })
    });
    format!("{names}: {}", words.collect::<Vec<_>>().join(", "))
}

fn cpu_of_all(case: &Case) -> Option<Interval> {
    case.figure(|round| {
        let sides = round.sides.iter().map(|(_, cpu, _)| cpu.ran.as_secs_f64()).sum::<f64>();
        (!round.sides.is_empty()).then_some(sides + round.generator.ran.as_secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::status::Code;
    use crate::tools::load::{Ending, Round, Tally};
    use crate::tools::usage::Cpu;
    use std::time::Duration;

    /// Six rounds of a hundred calls, which took these milliseconds each.
    fn case(name: &str, millis: [u64; 6], admitted: usize) -> Case {
        let rounds = millis.map(|millis| {
            let mut tally = Tally::default();
            for _ in 0..100 {
                tally.record(Ending::Answered(Code::Ok), Duration::from_millis(millis));
            }
            Round {
                connections: 4,
                admitted,
                took: Duration::from_millis(millis * 100),
                tally,
                lag: Duration::ZERO,
                generator: Cpu::default(),
                threads: 1,
                sides: Vec::new(),
            }
        });
        Case { rounds: rounds.to_vec(), ..Case::new(name) }
    }

    #[test]
    fn a_difference_is_claimed_only_where_intervals_are_apart() {
        let (one, other) = (case("a", [10, 11, 10, 12, 10, 11], 4), case("b", [20, 22, 20, 24, 20, 22], 4));
        assert!(
            conclude(&one, &other).starts_with("a against b: calls/s x 2.0"),
            "{}",
            conclude(&one, &other)
        );
        let near = case("c", [9, 11, 10, 13, 10, 10], 4);
        assert_eq!(
            conclude(&one, &near),
            "a against c: calls/s no difference, p50 no difference, p99 no difference"
        );
    }

    #[test]
    fn what_is_invalid_has_no_verdict() {
        let (one, other) = (case("a", [10; 6], 4), case("b", [20; 6], 3));
        assert_eq!(conclude(&one, &other), "a against b: no verdict, as \"b\" is invalid");
        assert_eq!(other.invalid().as_deref(), Some("3 of 4 connections admitted"));
    }
}
