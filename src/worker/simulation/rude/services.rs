//! Services that are rude to the gateway: they cost its other services' clients nothing.

use std::rc::Rc;
use std::time::Duration;

use super::super::gateway;
use super::super::ledger::{Behaviour, Plan};
use super::super::peer::Far;
use super::super::scene::{self, Scene, plan};
use super::raw::{APART, RAW, Row, clients, pour, row};
use crate::http2::Bounds;
use crate::http2::frame::{self, ErrorCode, FrameHead, HEAD, flag, kind};
use crate::net::memory::{Answer, End, Link};

/// `:status` 103; and 200 with the content type of gRPC.
const EARLY: &[u8] = b"\x08\x03103";
pub(super) const OK: &[u8] = b"\x88\x0f\x10\x10application/grpc";

/// A service of frames.
#[derive(Clone, Copy)]
struct Script {
    /// The payload of its SETTINGS; none if it says nothing at all.
    settings: Option<&'static [u8]>,
    /// Its bytes for the n-th time, when the head of the first request on a connection has come: until this makes
    /// nothing more. Then it closes, if it `closes`.
    next: fn(stream: u32, n: u32) -> Option<Vec<u8>>,
    pause: Duration,
    closes: bool,
}

const SCRIPT: Script =
    Script { settings: Some(&[]), next: |_, _| None, pause: Duration::ZERO, closes: false };

pub(super) fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, payload);
    bytes
}

/// Reads until the head of a request has come: the number of its stream.
pub(super) async fn first_stream(end: &End) -> Option<u32> {
    let mut bytes = Vec::new();
    let mut at = frame::PREFACE.len();
    loop {
        end.readable().await;
        let heard = end.receive(usize::MAX).ok()?;
        if heard.is_empty() {
            return None;
        }
        bytes.extend_from_slice(&heard);
        while let Some(head) = bytes.get(at..at + HEAD) {
            let head = FrameHead::read(head.try_into().ok()?);
            if head.kind == kind::HEADERS {
                return Some(head.stream);
            }
            at += HEAD + head.length as usize;
        }
    }
}

impl Script {
    async fn run(self, far: Rc<Far>, end: End) -> Option<()> {
        if let Some(settings) = self.settings {
            let both = [framed(kind::SETTINGS, 0, 0, settings), framed(kind::SETTINGS, flag::ACK, 0, &[])];
            pour(&end, &both.concat()).await.ok()?;
        }
        let stream = first_stream(&end).await?;
        for number in 0.. {
            let Some(bytes) = (self.next)(stream, number) else { break };
            if !self.pause.is_zero() {
                far.memory.pause(self.pause).await;
            }
            pour(&end, &bytes).await.ok()?;
        }
        if !self.closes {
            std::future::pending::<()>().await;
        }
        Some(())
    }
}

/// Serves by the script, and has clients call.
fn serve(scene: &Scene, script: Script) {
    let clusters = &scene.gateway.shared.config.clusters;
    let cluster = clusters.iter().find(|cluster| cluster.name == scene::RAW).expect("it is configured");
    let address = gateway::address(&cluster.endpoints[0]);
    scene.world.memory.open(address, Answer::Accept, Link::default());
    let far = Rc::clone(&scene.far);
    scene.far.spawn(async move {
        while let Ok((end, _)) = far.memory.accept(address).await {
            let running = script.run(Rc::clone(&far), end);
            far.spawn(async move { running.await.unwrap_or_default() });
        }
    });
    let call = Plan { messages: vec![20_000], ..plan(RAW, &[]) };
    clients(scene, 5, 20, &Bounds::default(), call);
}

/// Clients whose calls a service of their own meets with this.
fn met_with(scene: &Scene, calls: usize, behaviour: Behaviour) {
    clients(scene, 10, calls, &Bounds::default(), plan(APART, &[behaviour]));
}

const CALLED: &[Row] = &[
    row("a service that resets all", 8, 96, |scene| {
        met_with(scene, 100, Behaviour::Reset { after: Duration::ZERO, code: ErrorCode::INTERNAL_ERROR });
    }),
    row("a service that refuses all", 10, 96, |scene| {
        met_with(scene, 100, Behaviour::Reset { after: Duration::ZERO, code: ErrorCode::REFUSED_STREAM });
    }),
    row("a service that goes away at each call", 8, 64, |scene| met_with(scene, 50, Behaviour::GoAway)),
    row("a service that hangs up at each call", 8, 64, |scene| {
        met_with(scene, 50, Behaviour::Cut { after: Duration::ZERO });
    }),
    row("a service that breaks off each answer", 8, 192, |scene| {
        let code = ErrorCode::INTERNAL_ERROR;
        met_with(scene, 50, Behaviour::BreakOff { messages: vec![2_000; 3], code });
    }),
    row("uploads that the service does not read", 10, 4_096, |scene| {
        let plan = plan(APART, &[Behaviour::Hang { reads: false }]);
        clients(scene, 10, 2, &Bounds::default(), Plan { messages: vec![2 << 20], ..plan });
    }),
];

const FRAMED: &[Row] = &[
    row("a service that accepts and says nothing", 8, 2_304, |scene| {
        serve(scene, Script { settings: None, ..SCRIPT });
    }),
    row("informational answers without an end", 8, 2_304, |scene| {
        let next = |stream, n| {
            (n < 5_000).then(|| framed(kind::HEADERS, flag::END_HEADERS, stream, EARLY).repeat(50))
        };
        serve(scene, Script { next, ..SCRIPT });
    }),
    row("an answer that comes byte by byte", 8, 2_304, |scene| {
        let next = |stream, n| match n {
            0 => Some(framed(kind::HEADERS, flag::END_HEADERS, stream, OK)),
            _ => Some(framed(kind::DATA, 0, stream, &[0])),
        };
        serve(scene, Script { next, pause: Duration::from_micros(100), ..SCRIPT });
    }),
    row("empty data of a service", 8, 2_304, |scene| {
        let next = |stream, n| match n {
            0 => Some(framed(kind::HEADERS, flag::END_HEADERS, stream, OK)),
            _ => (n < 5_000).then(|| framed(kind::DATA, 0, stream, &[]).repeat(50)),
        };
        serve(scene, Script { next, ..SCRIPT });
    }),
    row("a head of a service without an end", 8, 2_304, |scene| {
        let next = |stream, n| match n {
            0 => Some(framed(kind::HEADERS, 0, stream, OK)),
            _ => (n < 10_000).then(|| framed(kind::CONTINUATION, 0, stream, &[])),
        };
        serve(scene, Script { next, ..SCRIPT });
    }),
    row("trailers of a service that are too large", 8, 2_304, |scene| {
        let next = |stream, n| match n {
            0 => Some(framed(kind::HEADERS, flag::END_HEADERS, stream, OK)),
            // A field without a name of the table, `x`, of 16,000 bytes each.
            1..=8 => {
                let field = [&[0, 1, b'x', 0x7f, 0x81, 0x7c][..], &[b'l'; 16_000]].concat();
                let (kind, flags) = match n {
                    1 => (kind::HEADERS, flag::END_STREAM),
                    8 => (kind::CONTINUATION, flag::END_HEADERS),
                    _ => (kind::CONTINUATION, 0),
                };
                Some(framed(kind, flags, stream, &field))
            }
            _ => None,
        };
        serve(scene, Script { next, ..SCRIPT });
    }),
    row("pings of a service", 8, 2_304, |scene| {
        let next = |_, n| (n < 5_000).then(|| framed(kind::PING, 0, 0, &[0; 8]).repeat(50));
        serve(scene, Script { next, ..SCRIPT });
    }),
    row("settings of a service", 8, 2_304, |scene| {
        let next = |_, n| (n < 5_000).then(|| framed(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9]).repeat(50));
        serve(scene, Script { next, ..SCRIPT });
    }),
    row("a window that never opens", 8, 2_304, |scene| {
        serve(scene, Script { settings: Some(&[0, 4, 0, 0, 0, 0]), ..SCRIPT });
    }),
    row("a window that opens byte by byte", 8, 2_304, |scene| {
        let next = |stream, _| Some(framed(kind::WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]));
        let settings = Some(&[0, 4, 0, 0, 0, 0][..]);
        serve(scene, Script { settings, next, pause: Duration::from_micros(100), ..SCRIPT });
    }),
    row("a service that takes hardly any metadata", 8, 2_304, |scene| {
        serve(scene, Script { settings: Some(&[0, 6, 0, 0, 0, 100]), ..SCRIPT });
    }),
    row("data for calls that are over", 8, 2_304, |scene| {
        let next = |stream, n| match n {
            0 => Some(framed(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, OK)),
            _ => (n < 5_000).then(|| framed(kind::DATA, 0, stream, &[7; 100]).repeat(20)),
        };
        serve(scene, Script { next, ..SCRIPT });
    }),
    row("a goodbye in the middle of an answer", 8, 2_304, |scene| {
        let next = |stream, n| match n {
            0 => Some(framed(kind::HEADERS, flag::END_HEADERS, stream, OK)),
            1 => Some(framed(kind::DATA, 0, stream, &[0, 0, 0, 0, 99, 1, 2, 3])),
            2 => Some(framed(kind::GOAWAY, 0, 0, &[0; 8])),
            _ => None,
        };
        serve(scene, Script { next, closes: true, ..SCRIPT });
    }),
    row("a service that speaks HTTP/1.1", 8, 2_304, |scene| {
        let next = |_, n| (n == 0).then(|| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
        serve(scene, Script { next, closes: true, ..SCRIPT });
    }),
];

pub(super) const ROWS: &[&[Row]] = &[CALLED, FRAMED];
