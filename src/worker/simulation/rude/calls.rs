//! Clients whose frames are in order and whose calls are a burden.

use std::time::Duration;

use super::super::ledger::{Behaviour, Plan};
use super::super::scene::plan;
use super::raw::{BESIDE, Row, answers, clients, row};
use crate::http2::Bounds;

/// They never take what has come.
const UNREAD: Duration = Duration::from_secs(3_600);

/// A call that its service does not answer.
fn hangs() -> Plan {
    plan(BESIDE, &[Behaviour::Hang { reads: true }])
}

pub(super) const ROWS: &[&[Row]] = &[&[
    row("18 downloads that nobody reads", 16, 3_584, |scene| {
        let plan = Plan { reads_slowly: UNREAD, ..answers(BESIDE, vec![3 << 20]) };
        clients(scene, 18, 1, &Bounds::default(), plan);
    }),
    row("200,000 small messages that nobody reads", 8, 512, |scene| {
        let plan = Plan { reads_slowly: UNREAD, ..answers(BESIDE, vec![0; 200_000]) };
        clients(scene, 1, 1, &Bounds::default(), plan);
    }),
    row("8 downloads that are read", 16, 3_584, |scene| {
        clients(scene, 8, 1, &Bounds::default(), answers(BESIDE, vec![3 << 20]));
    }),
    row("8 uploads that are read", 10, 2_304, |scene| {
        let plan = Plan { messages: vec![3 << 20], ..answers(BESIDE, vec![20]) };
        clients(scene, 8, 1, &Bounds::default(), plan);
    }),
    row("small messages to a service, thousands of them", 8, 512, |scene| {
        let plan = Plan { messages: vec![0; 5_000], ..answers(BESIDE, vec![20]) };
        clients(scene, 4, 1, &Bounds::default(), plan);
    }),
    row("downloads that are read slowly", 20, 6_656, |scene| {
        let plan = Plan { reads_slowly: Duration::from_millis(1), ..answers(BESIDE, vec![300_000]) };
        clients(scene, 20, 1, &Bounds::default(), plan);
    }),
    row("downloads through a window of 10 bytes", 12, 512, |scene| {
        let bounds = Bounds { stream_window: 10, max_stream_window: 10, ..Bounds::default() };
        clients(scene, 10, 10, &bounds, answers(BESIDE, vec![20_000]));
    }),
    row("uploads that pause", 8, 96, |scene| {
        let plan = Plan { messages: vec![100; 50], pause: Duration::from_millis(1), ..hangs() };
        clients(scene, 20, 5, &Bounds::default(), plan);
    }),
    row("200 connections with a call each", 8, 96, |scene| {
        clients(scene, 200, 1, &Bounds::default(), answers(BESIDE, vec![20]));
    }),
    row("a connection with all the calls it may have", 8, 16, |scene| {
        clients(scene, 1, 250, &Bounds::default(), hangs());
    }),
    row("calls that are cancelled at once", 8, 96, |scene| {
        clients(scene, 10, 80, &Bounds::default(), Plan { cancels_after: Some(Duration::ZERO), ..hangs() });
    }),
    row("calls that are cancelled after a millisecond", 8, 128, |scene| {
        let plan = Plan { cancels_after: Some(Duration::from_millis(1)), ..hangs() };
        clients(scene, 10, 80, &Bounds::default(), plan);
    }),
    row("calls whose deadline is a millisecond", 8, 192, |scene| {
        let plan = Plan { timeout: Some(Duration::from_millis(1)), ..hangs() };
        clients(scene, 10, 80, &Bounds::default(), plan);
    }),
]];
