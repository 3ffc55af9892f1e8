//! Rude and slow peers, and what they cost others: bounds on the turns of the loop that a stranger's call takes, and
//! results that are the same as if nobody were rude.
//!
//! The stranger's calls go to the service, and over the connection to it, that the calls of rude clients go to. Services
//! that are rude themselves are others.

mod calls;
mod fleeting;
mod http1;
mod http2;
mod raw;
mod services;

use std::time::Duration;

use self::raw::{Row, row};
use super::client;
use super::ledger::{Behaviour, Outcome, PLAIN, Plan};
use super::scene::{Scene, echo, plan};

const CONFIG: &str = r#"
workers = 1
[[listeners]]
address = "10.0.0.1:80"
[[routes]]
match = { path = "/sim.S/Apart" }
cluster = "b"
[[routes]]
match = { path = "/sim.S/Raw" }
cluster = "raw"
[[routes]]
cluster = "a"
[[clusters]]
name = "a"
endpoints = ["10.0.1.1:1"]
[clusters.pool]
max_connections_per_endpoint = 1
max_streams_per_connection = 10000
[[clusters]]
name = "b"
endpoints = ["10.0.2.1:1"]
[[clusters]]
name = "raw"
endpoints = ["10.0.3.1:1"]
"#;

/// The time that a turn takes.
const TURN: Duration = Duration::from_micros(20);

/// Short calls of the stranger, and the time between them.
const CALLS: usize = 40;
const PAUSE: Duration = Duration::from_micros(170);

const QUIET: Row = row("nobody is rude", 8, 8, |_| {});

/// A call as both of its ends see it.
#[derive(Debug, PartialEq)]
struct CallSummary {
    outcome: Outcome,
    attempts: usize,
    /// Bytes of the request that its service received, and whether these were all.
    received: usize,
    is_whole: bool,
    /// Bytes of the answer, and whether these are what its service has sent.
    answer: usize,
    is_its_own: bool,
}

fn seen(scene: &Scene, number: usize) -> CallSummary {
    let call = &scene.ledger.0.borrow()[number];
    let first = call.attempts.first();
    CallSummary {
        outcome: call.outcomes[0].0.clone(),
        attempts: call.attempts.len(),
        received: first.map_or(0, |attempt| attempt.received),
        is_whole: first.is_some_and(|attempt| attempt.is_whole),
        answer: call.body.len(),
        is_its_own: first.is_some() && call.answer_of(0, number) == call.body,
    }
}

/// A call that takes as long as all others together: it sends for a while, and is then sent something.
fn long() -> Plan {
    let answer = Behaviour::Answer { after: Duration::from_millis(2), messages: vec![900; 40], code: 0 };
    Plan { messages: vec![100; 40], pause: TURN * 8, reads_slowly: TURN * 5, ..plan(PLAIN, &[answer]) }
}

/// The most turns that one of a stranger's calls took, the most bytes that the worker moved meanwhile, and what was seen
/// of all.
fn most(begin: impl Fn(&Scene)) -> (u64, u64, Vec<CallSummary>) {
    let scene = Scene::new(CONFIG, TURN);
    let stranger = scene.client();
    assert_eq!(scene.call(&stranger, echo()).1, Outcome::Status(0));
    let mut numbers =
        vec![client::begin(&scene.far, &stranger, &scene.ledger, &long().into()).expect("it takes calls")];
    begin(&scene);
    let counts = scene.gateway.counts();
    let moved = || counts.bytes_received.get() + counts.bytes_sent.get();
    let (mut turns, mut bytes) = (0, 0);
    for _ in 0..CALLS {
        let before = (scene.world.turns(), moved());
        numbers.push(scene.call(&stranger, echo()).0);
        turns = turns.max(scene.world.turns() - before.0);
        bytes = bytes.max(moved() - before.1);
        scene.pass(PAUSE);
    }
    scene.until(|| !scene.ledger.0.borrow()[numbers[0]].outcomes.is_empty());
    assert_eq!(counts.panics.get(), 0);
    (turns, bytes, numbers.into_iter().map(|number| seen(&scene, number)).collect())
}

fn rows() -> impl Iterator<Item = &'static Row> {
    [http2::ROWS, http1::ROWS, calls::ROWS, services::ROWS].into_iter().flatten().copied().flatten()
}

#[test]
fn whoever_is_rude_a_strangers_call_takes_a_bounded_number_of_turns_and_ends_as_ever() {
    let (.., quiet) = most(QUIET.begin);
    let good = |seen: &CallSummary| {
        let is_all = seen.is_whole && seen.is_its_own && seen.attempts == 1;
        seen.outcome == Outcome::Status(0) && is_all
    };
    assert!(quiet.len() == CALLS + 1 && quiet.iter().all(good), "{quiet:?}");
    let mut wrong = Vec::new();
    for Row { what, turns_max, kib_max, begin } in std::iter::once(&QUIET).chain(rows()) {
        let (turns, bytes, seen) = most(begin);
        let kib = bytes / 1024;
        eprintln!("{turns:5} of {turns_max:5} turns, {kib:5} of {kib_max:5} KiB: {what}");
        if turns > *turns_max || kib > *kib_max {
            wrong.push(format!("{what}: {turns} turns of {turns_max}, {kib} KiB of {kib_max}"));
        }
        if let Some((seen, quiet)) = seen.iter().zip(&quiet).find(|(seen, quiet)| seen != quiet) {
            wrong.push(format!("{what}: {seen:?} in place of {quiet:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn there_are_many_kinds_and_each_has_its_name() {
    let mut names: Vec<_> = rows().map(|row| row.what).collect();
    assert!(names.len() >= 40, "{}", names.len());
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows().count(), "a name is given twice");
}
