//! The parts of rude peers: bytes on connections, and calls that are a burden.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::super::client;
use super::super::ledger::{Behaviour, Plan};
use super::super::peer::Peer;
use super::super::scene::{Scene, plan};
use crate::http2::Bounds;
use crate::http2::frame::{self, PREFACE, kind};
use crate::http2::hpack::Encoder;
use crate::net::memory::{End, Link, WireConditions};

/// Calls of this path use the connections to services that the stranger's calls use.
pub(super) const BESIDE: &str = "/sim.S/Beside";
/// Those of this one go to a service of their own, which may be rude.
pub(super) const APART: &str = "/sim.S/Apart";
/// And those of this one to a service that the row serves, frame by frame.
pub(super) const RAW: &str = "/sim.S/Raw";

/// A kind of traffic, and what it may cost others.
pub(super) struct Row {
    pub(super) what: &'static str,
    /// The most turns that a stranger's call takes meanwhile.
    pub(super) turns_max: u64,
    /// The most KiB that the worker moves for others in them.
    pub(super) kib_max: u64,
    pub(super) begin: fn(&Scene),
}

pub(super) const fn row(what: &'static str, turns_max: u64, kib_max: u64, begin: fn(&Scene)) -> Row {
    Row { what, turns_max, kib_max, begin }
}

/// Sends all of `bytes`, and reads what comes meanwhile.
pub(super) async fn pour(end: &End, mut bytes: &[u8]) -> io::Result<()> {
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

/// Sends all of `bytes`, and reads nothing.
async fn pour_deaf(end: &End, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match end.send(std::iter::once(bytes)) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => end.writable().await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The first bytes of a client that speaks HTTP/2.
pub(super) fn greeting() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    frame::write(&mut bytes, kind::SETTINGS, 0, 0, &[]);
    bytes
}

/// How a client uses its connection.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    pub(super) link: Link,
    pub(super) is_deaf: bool,
    /// The wait before each piece.
    pub(super) pause: Duration,
    /// It hangs up at the end, and otherwise stays and says nothing.
    pub(super) hangs_up: bool,
}

/// A client that sends what `next` says for the n-th time until it is cut off or there is no more.
pub(super) fn bytes(scene: &Scene, manner: Manner, mut next: impl FnMut(u32) -> Option<Vec<u8>> + 'static) {
    let (far, address) = (Rc::clone(&scene.far), scene.gateway.address);
    scene.far.spawn(async move {
        let Ok(end) = far.memory.connect(address, Some(manner.link)).await else { return };
        for number in 0.. {
            let Some(bytes) = next(number) else { break };
            if !manner.pause.is_zero() {
                far.memory.pause(manner.pause).await;
            }
            let poured =
                if manner.is_deaf { pour_deaf(&end, &bytes).await } else { pour(&end, &bytes).await };
            if poured.is_err() {
                return;
            }
        }
        if !manner.hangs_up {
            std::future::pending::<()>().await;
        }
    });
}

/// A client that speaks HTTP/2: it greets, and goes on as `next` says.
pub(super) fn frames(scene: &Scene, mut next: impl FnMut(u32) -> Option<Vec<u8>> + 'static) {
    bytes(scene, Manner::default(), move |number| match number {
        0 => Some(greeting()),
        _ => next(number - 1),
    });
}

/// Sends one frame over and over.
pub(super) fn flood(scene: &Scene, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let mut bytes = Vec::new();
    (0..50).for_each(|_| frame::write(&mut bytes, kind, flags, stream, payload));
    frames(scene, move |number| (number < 4_000).then(|| bytes.clone()));
}

/// The number of a call that bytes are sent for.
pub(super) fn number(scene: &Scene, plan: Plan) -> usize {
    scene.ledger.begin(&Rc::new(plan), scene.world.memory.now())
}

/// The header block of a request of call `number`, with more fields.
pub(super) fn block(scene: &Scene, number: usize, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut head = client::request(&scene.far.heads, BESIDE, number, None);
    fields.iter().for_each(|(name, value)| head.push_named(name, value));
    let mut bytes = Vec::new();
    Encoder::new().encode(&head, &mut bytes);
    bytes
}

/// The header block of requests that no service answers.
pub(super) fn hanging(scene: &Scene, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let number = number(scene, plan(BESIDE, &[Behaviour::Hang { reads: true }]));
    block(scene, number, fields)
}

/// Clients of our engine that make calls by this plan, all at once.
pub(super) fn clients(scene: &Scene, count: usize, calls: usize, bounds: &Bounds, plan: Plan) {
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

/// A call that its service answers with messages of these sizes.
pub(super) fn answers(path: &'static str, messages: Vec<usize>) -> Plan {
    plan(path, &[Behaviour::Answer { after: Duration::ZERO, messages, code: 0 }])
}

/// A link on which bytes come one by one, so many milliseconds apart.
pub(super) fn drips(delay: u64) -> Link {
    let way = WireConditions {
        piece: 1,
        capacity: 1,
        delay: Duration::from_millis(delay),
        ..WireConditions::default()
    };
    Link { up: way, down: WireConditions::default() }
}
