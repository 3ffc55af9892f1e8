//! Rude and slow peers, and what they cost others: bounds on the turns of the loop that a stranger's call takes.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::ledger::{Behaviour, Outcome, Plan};
use super::peer::{Far, Peer};
use super::scene::{Scene, echo, plan};
use crate::http2::frame::{self, ErrorCode, PREFACE, flag, kind};
use crate::http2::hpack::Encoder;
use crate::http2::{Bounds, Head};
use crate::net::memory::{End, Link, Way};

const CONFIG: &str = r#"
workers = 1
[[listeners]]
address = "10.0.0.1:80"
[[routes]]
match = { path = "/sim.S/Rude" }
cluster = "b"
[[routes]]
cluster = "a"
[[clusters]]
name = "a"
endpoints = ["10.0.1.1:1"]
[[clusters]]
name = "b"
endpoints = ["10.0.2.1:1"]
"#;

const RUDE: &str = "/sim.S/Rude";

/// The time that a turn takes.
const TURN: Duration = Duration::from_micros(20);

/// Calls of the stranger, and the time between them.
const CALLS: usize = 40;
const PAUSE: Duration = Duration::from_micros(170);

/// Sends all of `bytes`, and reads what comes meanwhile.
async fn pour(end: &End, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match end.send(std::iter::once(bytes)) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => end.writable().await,
            Err(error) => return Err(error),
        }
        match end.receive(usize::MAX) {
            Ok(heard) if heard.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
    Ok(())
}

/// A client that greets, and sends what `next` says for the n-th time until it is cut off or there is no more.
fn raw(scene: &Scene, greets: bool, link: Link, mut next: impl FnMut(u32) -> Option<Vec<u8>> + 'static) {
    let (far, address) = (Rc::clone(&scene.far), scene.gateway.address);
    scene.far.spawn(async move {
        let Ok(end) = far.memory.connect(address, Some(link)).await else { return };
        let mut greeting = PREFACE.to_vec();
        frame::write(&mut greeting, kind::SETTINGS, 0, 0, &[]);
        if greets && pour(&end, &greeting).await.is_err() {
            return;
        }
        for number in 0.. {
            let Some(bytes) = next(number) else { break };
            if pour(&end, &bytes).await.is_err() {
                return;
            }
        }
        // It stays, and says nothing.
        std::future::pending::<()>().await;
    });
}

/// Sends one frame over and over.
fn flood(scene: &Scene, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let mut bytes = Vec::new();
    (0..50).for_each(|_| frame::write(&mut bytes, kind, flags, stream, payload));
    raw(scene, true, Link::default(), move |number| (number < 4_000).then(|| bytes.clone()));
}

fn block(far: &Far, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut head: Head = client::request(&far.heads, RUDE, 0, None);
    fields.iter().for_each(|(name, value)| head.push_named(name, value));
    let mut bytes = Vec::new();
    Encoder::new().encode(&head, &mut bytes);
    bytes
}

/// Clients of our engine that make calls by this plan, all at once.
fn clients(scene: &Scene, count: usize, calls: usize, bounds: &Bounds, plan: Plan) {
    let plan = Rc::new(plan);
    for _ in 0..count {
        let (far, ledger, address) = (Rc::clone(&scene.far), Rc::clone(&scene.ledger), scene.gateway.address);
        let (bounds, plan) = (bounds.clone(), Rc::clone(&plan));
        scene.far.spawn(async move {
            let Ok(end) = far.memory.connect(address, None).await else { return };
            let peer = Peer::client(&far, end, bounds);
            for _ in 0..calls {
                client::begin(&far, &peer, &ledger, &plan);
            }
            std::future::pending::<()>().await;
        });
    }
}

fn answers(messages: Vec<usize>) -> Plan {
    plan(RUDE, &[Behaviour::Answer { after: Duration::ZERO, messages, code: 0 }])
}

const UNREAD: Duration = Duration::from_secs(3_600);

fn drips(delay: u64) -> Link {
    let way = Way { piece: 1, capacity: 1, delay: Duration::from_millis(delay), ..Way::default() };
    Link { up: way, down: Way::default() }
}

type Row = (&'static str, u64, u64, fn(&Scene));

/// In each row: a peer's behaviour, the most turns that a stranger's call then takes, and the most KiB that the worker
/// moves for others meanwhile.
const ROWS: &[Row] = &[
    ("nobody is rude", 12, 4, |_| {}),
    ("pings", 12, 1_024, |scene| flood(scene, kind::PING, 0, 0, &[0; 8])),
    ("settings", 12, 1_024, |scene| flood(scene, kind::SETTINGS, 0, 0, &[])),
    ("windows that go up and down", 12, 1_024, |scene| {
        let sizes = [0, 4, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0];
        flood(scene, kind::SETTINGS, 0, 0, &sizes);
    }),
    ("window updates", 12, 1_024, |scene| flood(scene, kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("priorities", 12, 1_024, |scene| flood(scene, kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 9])),
    ("frames of no known kind", 12, 1_024, |scene| flood(scene, 0xfa, 0, 0, &[1; 30])),
    ("pushes", 12, 1_024, |scene| flood(scene, kind::PUSH_PROMISE, 0, 1, &[0; 8])),
    ("resets of streams that are not there", 12, 1_024, |scene| {
        flood(scene, kind::RST_STREAM, 0, 1, &[0; 4])
    }),
    ("data of streams that are not there", 12, 1_024, |scene| flood(scene, kind::DATA, 0, 1, &[0; 9])),
    ("frames that are too large", 12, 1_024, |scene| flood(scene, kind::DATA, 0, 1, &[0; 70_000])),
    ("no HTTP at all", 12, 1_024, |scene| raw(scene, false, Link::default(), |_| Some(vec![0xff; 9_000]))),
    ("a TLS hello", 12, 4, |scene| {
        raw(scene, false, Link::default(), |number| {
            (number == 0).then(|| vec![22, 3, 1, 2, 0, 1, 0, 1, 252])
        });
    }),
    ("HTTP/1.1 without an end", 12, 1_024, |scene| {
        raw(scene, false, Link::default(), |_| Some(b"GET / HTTP/1.1\r\nx: y\r\n".to_vec()));
    }),
    ("a preface that drips", 12, 8, |scene| {
        (0..50).for_each(|_| raw(scene, true, drips(3), |_| None));
    }),
    ("200 connections that say nothing", 12, 8, |scene| {
        (0..200).for_each(|_| raw(scene, false, Link::default(), |_| None));
    }),
    ("200 connections that greet and no more", 12, 64, |scene| {
        (0..200).for_each(|_| raw(scene, true, Link::default(), |_| None));
    }),
    ("streams that are reset at once", 12, 1_024, |scene| {
        let block = block(&scene.far, &[]);
        raw(scene, true, Link::default(), move |number| {
            let mut bytes = Vec::new();
            for stream in (0..20).map(|n| 2 * (number * 20 + n) + 1) {
                frame::write(&mut bytes, kind::HEADERS, flag::END_HEADERS, stream, &block);
                frame::rst_stream(&mut bytes, stream, ErrorCode::CANCEL);
            }
            (number < 1_000).then_some(bytes)
        });
    }),
    ("heads without an end", 12, 512, |scene| {
        let block = block(&scene.far, &[]);
        raw(scene, true, Link::default(), move |number| {
            let mut bytes = Vec::new();
            match number {
                0 => frame::write(&mut bytes, kind::HEADERS, 0, 1, &block),
                _ => frame::write(&mut bytes, kind::CONTINUATION, 0, 1, &[]),
            }
            (number < 10_000).then_some(bytes)
        });
    }),
    ("heads that are too large", 12, 1_024, |scene| {
        let large = [b'l'; 12_000];
        let block = block(&scene.far, &[(b"x-a", &large), (b"x-b", &large)]);
        raw(scene, true, Link::default(), move |number| {
            let (mut bytes, stream) = (Vec::new(), 2 * number + 1);
            let mut parts = block.chunks(16_000).peekable();
            let mut of = kind::HEADERS;
            while let Some(part) = parts.next() {
                let flags = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
                let ends = if of == kind::HEADERS { flag::END_STREAM } else { 0 };
                frame::write(&mut bytes, of, flags | ends, stream, part);
                of = kind::CONTINUATION;
            }
            (number < 500).then_some(bytes)
        });
    }),
    ("heads that are malformed", 12, 1_024, |scene| {
        let block = block(&scene.far, &[(b"X-Upper", b"1")]);
        raw(scene, true, Link::default(), move |number| {
            let mut bytes = Vec::new();
            frame::write(&mut bytes, kind::HEADERS, flag::END_HEADERS, 2 * number + 1, &block);
            (number < 5_000).then_some(bytes)
        });
    }),
    ("empty data", 12, 1_024, |scene| {
        let block = block(&scene.far, &[(b"x-call", b"0")]);
        scene.ledger.begin(&Rc::new(answers(vec![1])), scene.world.memory.now());
        raw(scene, true, Link::default(), move |number| {
            let mut bytes = Vec::new();
            match number {
                0 => frame::write(&mut bytes, kind::HEADERS, flag::END_HEADERS, 1, &block),
                _ => (0..50).for_each(|_| frame::write(&mut bytes, kind::DATA, 0, 1, &[])),
            }
            (number < 2_000).then_some(bytes)
        });
    }),
    ("18 downloads that nobody reads", 12, 5_120, |scene| {
        let plan = Plan { reads_slowly: UNREAD, ..answers(vec![3 << 20]) };
        clients(scene, 18, 1, &Bounds::default(), plan);
    }),
    ("200,000 small messages that nobody reads", 12, 1_024, |scene| {
        let plan = Plan { reads_slowly: UNREAD, ..answers(vec![0; 200_000]) };
        clients(scene, 1, 1, &Bounds::default(), plan);
    }),
    ("8 downloads that are read", 12, 2_560, |scene| {
        clients(scene, 8, 1, &Bounds::default(), answers(vec![3 << 20]));
    }),
    ("downloads through a window of 10 bytes", 12, 1_024, |scene| {
        let bounds = Bounds { stream_window: 10, max_stream_window: 10, ..Bounds::default() };
        clients(scene, 10, 10, &bounds, answers(vec![20_000]));
    }),
    ("200 connections with a call each", 12, 256, |scene| {
        clients(scene, 200, 1, &Bounds::default(), answers(vec![20]));
    }),
    ("a connection with all the calls it may have", 12, 64, |scene| {
        clients(scene, 1, 100, &Bounds::default(), plan(RUDE, &[Behaviour::Hang { reads: true }]));
    }),
    ("uploads that the service does not read", 12, 4_096, |scene| {
        let plan = plan(RUDE, &[Behaviour::Hang { reads: false }]);
        clients(scene, 10, 2, &Bounds::default(), Plan { messages: vec![2 << 20], ..plan });
    }),
    ("a service that resets all", 12, 256, |scene| {
        let reset = Behaviour::Reset { after: Duration::ZERO, code: ErrorCode::INTERNAL_ERROR };
        clients(scene, 10, 100, &Bounds::default(), plan(RUDE, &[reset]));
    }),
    ("a service that refuses all", 12, 256, |scene| {
        let reset = Behaviour::Reset { after: Duration::ZERO, code: ErrorCode::REFUSED_STREAM };
        clients(scene, 10, 100, &Bounds::default(), plan(RUDE, &[reset]));
    }),
    ("a service that goes away at each call", 12, 256, |scene| {
        clients(scene, 10, 50, &Bounds::default(), plan(RUDE, &[Behaviour::GoAway]));
    }),
    ("a service that hangs up at each call", 12, 256, |scene| {
        let cut = Behaviour::Cut { after: Duration::ZERO };
        clients(scene, 10, 50, &Bounds::default(), plan(RUDE, &[cut]));
    }),
    ("calls that are cancelled after a millisecond", 12, 256, |scene| {
        let hang = plan(RUDE, &[Behaviour::Hang { reads: true }]);
        let plan = Plan { cancels_after: Some(Duration::from_millis(1)), ..hang };
        clients(scene, 10, 100, &Bounds::default(), plan);
    }),
    ("calls whose deadline is a millisecond", 12, 256, |scene| {
        let hang = plan(RUDE, &[Behaviour::Hang { reads: true }]);
        let plan = Plan { timeout: Some(Duration::from_millis(1)), ..hang };
        clients(scene, 10, 100, &Bounds::default(), plan);
    }),
];

/// The most turns that one of a stranger's calls took, and the most bytes that the worker moved meanwhile.
fn most(rude: impl Fn(&Scene)) -> (u64, u64) {
    let scene = Scene::new(CONFIG, TURN);
    let stranger = scene.client();
    assert_eq!(scene.call(&stranger, echo()).1, Outcome::Status(0));
    rude(&scene);
    let counts = &scene.gateway.shard.worker;
    let moved = || counts.bytes_received.get() + counts.bytes_sent.get();
    let (mut turns, mut bytes) = (0, 0);
    for _ in 0..CALLS {
        let before = (scene.world.turns(), moved());
        let (_, outcome, _) = scene.call(&stranger, echo());
        assert_eq!(outcome, Outcome::Status(0));
        turns = turns.max(scene.world.turns() - before.0);
        bytes = bytes.max(moved() - before.1);
        scene.pass(PAUSE);
    }
    assert_eq!(counts.panics.get(), 0);
    (turns, bytes)
}

#[test]
fn whoever_is_rude_a_strangers_call_takes_a_bounded_number_of_turns() {
    let mut slow = Vec::new();
    for (what, turns_max, kib_max, rude) in ROWS {
        let (turns, bytes) = most(rude);
        let kib = bytes / 1024;
        eprintln!("{turns:5} of {turns_max:5} turns, {kib:5} of {kib_max:5} KiB: {what}");
        if turns > *turns_max || kib > *kib_max {
            slow.push(format!("{what}: {turns} turns of {turns_max}, {kib} KiB of {kib_max}"));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
