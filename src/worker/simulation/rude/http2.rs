//! Clients that are rude frame by frame.

use std::rc::Rc;
use std::time::Duration;

use super::super::ledger::{Behaviour, Plan, request_message};
use super::super::scene::{Scene, plan};
use super::raw::{
    BESIDE, Manner, Row, answers, block, bytes, drips, flood, frames, greeting, hanging, number, row,
};
use crate::http2::frame::{self, ErrorCode, flag, kind};

/// Streams of one client, by how many it has begun.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// HEADERS that begin a request and do not end it.
fn head(out: &mut Vec<u8>, number: u32, block: &[u8]) {
    frame::write(out, kind::HEADERS, flag::END_HEADERS, stream(number), block);
}

/// A client that opens `calls` requests of this block, and goes on as `next` says for each of them in turn.
fn open(
    scene: &Scene,
    calls: u32,
    block: Vec<u8>,
    mut next: impl FnMut(u32, u32, &mut Vec<u8>) -> bool + 'static,
) {
    frames(scene, move |number| {
        let mut bytes = Vec::new();
        if number < calls {
            head(&mut bytes, number, &block);
            return Some(bytes);
        }
        let (round, call) = ((number - calls) / calls, (number - calls) % calls);
        next(stream(call), round, &mut bytes).then_some(bytes)
    });
}

/// A head above the bounds, in as many frames as it takes.
fn large_heads(scene: &Scene, block: Vec<u8>, count: u32) {
    frames(scene, move |number| {
        let mut bytes = Vec::new();
        let mut parts = block.chunks(16_000).peekable();
        let mut of = kind::HEADERS;
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
            let ends = if of == kind::HEADERS { flag::END_STREAM } else { 0 };
            frame::write(&mut bytes, of, flags | ends, stream(number), part);
            of = kind::CONTINUATION;
        }
        (number < count).then_some(bytes)
    });
}

const FLOODS: &[Row] = &[
    row("pings", 8, 320, |scene| flood(scene, kind::PING, 0, 0, &[0; 8])),
    row("answers to pings that nobody sent", 8, 320, |scene| flood(scene, kind::PING, flag::ACK, 0, &[0; 8])),
    row("settings", 8, 320, |scene| flood(scene, kind::SETTINGS, 0, 0, &[])),
    row("windows that go up and down", 8, 320, |scene| {
        flood(scene, kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0]);
    }),
    row("window updates", 8, 896, |scene| flood(scene, kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    row("priorities", 8, 320, |scene| flood(scene, kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 9])),
    row("goodbyes", 8, 320, |scene| flood(scene, kind::GOAWAY, 0, 0, &[0; 8])),
    row("frames of no known kind", 8, 320, |scene| flood(scene, 0xfa, 0, 0, &[1; 30])),
    row("pushes", 8, 320, |scene| flood(scene, kind::PUSH_PROMISE, 0, 1, &[0; 8])),
    row("resets of streams that are not there", 8, 320, |scene| {
        flood(scene, kind::RST_STREAM, 0, 1, &[0; 4]);
    }),
    row("data of streams that are not there", 8, 320, |scene| flood(scene, kind::DATA, 0, 1, &[0; 9])),
    row("frames that are too large", 8, 768, |scene| flood(scene, kind::DATA, 0, 1, &[0; 70_000])),
];

const CONNECTIONS: &[Row] = &[
    row("no HTTP at all", 8, 320, |scene| bytes(scene, Manner::default(), |_| Some(vec![0xff; 9_000]))),
    row("a TLS hello", 8, 8, |scene| {
        bytes(scene, Manner::default(), |number| (number == 0).then(|| vec![22, 3, 1, 2, 0, 1, 0, 1, 252]));
    }),
    row("a preface that drips", 8, 8, |scene| {
        let manner = Manner { link: drips(3), ..Manner::default() };
        (0..50).for_each(|_| bytes(scene, manner, |number| (number == 0).then(greeting)));
    }),
    row("200 connections that say nothing", 8, 8, |scene| {
        (0..200).for_each(|_| bytes(scene, Manner::default(), |_| None));
    }),
    row("200 connections that greet and no more", 8, 32, |scene| {
        (0..200).for_each(|_| frames(scene, |_| None));
    }),
    row("200 connections with half of a frame", 8, 32, |scene| {
        (0..200).for_each(|_| frames(scene, |number| (number == 0).then(|| vec![0, 0, 100, kind::HEADERS])));
    }),
    row("connections that come and go", 8, 8, |scene| {
        for number in 0..400_u64 {
            let pause = Duration::from_micros(number * 50);
            let manner = Manner { pause, hangs_up: true, ..Manner::default() };
            bytes(scene, manner, |number| (number == 0).then(greeting));
        }
    }),
];

const HEADS: &[Row] = &[
    row("streams that are reset at once", 8, 320, |scene| {
        let block = hanging(scene, &[]);
        frames(scene, move |round| {
            let mut bytes = Vec::new();
            for number in (0..20).map(|n| round * 20 + n) {
                head(&mut bytes, number, &block);
                frame::rst_stream(&mut bytes, stream(number), ErrorCode::CANCEL);
            }
            (round < 1_000).then_some(bytes)
        });
    }),
    row("streams that windows without increment end", 8, 320, |scene| {
        let block = hanging(scene, &[]);
        frames(scene, move |number| {
            let mut bytes = Vec::new();
            head(&mut bytes, number, &block);
            frame::window_update(&mut bytes, stream(number), 0);
            (number < 5_000).then_some(bytes)
        });
    }),
    row("windows that overflow", 8, 320, |scene| {
        let block = hanging(scene, &[]);
        frames(scene, move |number| {
            let mut bytes = Vec::new();
            head(&mut bytes, number, &block);
            (0..2).for_each(|_| frame::window_update(&mut bytes, stream(number), 0x7fff_ffff));
            (number < 5_000).then_some(bytes)
        });
    }),
    row("heads without an end", 8, 96, |scene| {
        let block = hanging(scene, &[]);
        frames(scene, move |number| {
            let mut bytes = Vec::new();
            match number {
                0 => frame::write(&mut bytes, kind::HEADERS, 0, 1, &block),
                _ => frame::write(&mut bytes, kind::CONTINUATION, 0, 1, &[]),
            }
            (number < 10_000).then_some(bytes)
        });
    }),
    row("heads that are too large", 8, 896, |scene| {
        let large = [b'l'; 12_000];
        large_heads(scene, hanging(scene, &[(b"x-a", &large), (b"x-b", &large)]), 500);
    }),
    row("heads that name one large field over and over", 8, 896, |scene| {
        let mut block = hanging(scene, &[]);
        // A field that the decoder keeps: `x-a` with 3,000 bytes; and that one again, a byte each time.
        block.extend_from_slice(&[0x40, 3, b'x', b'-', b'a', 0x7f, 0xb9, 0x16]);
        block.extend_from_slice(&[b'l'; 3_000]);
        block.extend_from_slice(&[0xbe; 12_000]);
        large_heads(scene, block, 500);
    }),
    row("tables of fields that grow and shrink", 8, 320, |scene| {
        // To nothing, and back to 4,096 bytes.
        let block = [&[0x20, 0x3f, 0xe1, 0x1f][..], &hanging(scene, &[])].concat();
        frames(scene, move |number| {
            let mut bytes = Vec::new();
            head(&mut bytes, number, &block);
            frame::rst_stream(&mut bytes, stream(number), ErrorCode::CANCEL);
            (number < 3_000).then_some(bytes)
        });
    }),
    row("heads that are malformed", 8, 320, |scene| {
        let block = hanging(scene, &[(b"X-Upper", b"1")]);
        frames(scene, move |number| {
            let mut bytes = Vec::new();
            head(&mut bytes, number, &block);
            (number < 5_000).then_some(bytes)
        });
    }),
    row("heads of calls that never go on", 8, 96, |scene| {
        let block = hanging(scene, &[]);
        (0..4).for_each(|_| open(scene, 200, block.clone(), |_, _, _| false));
    }),
];

const BODIES: &[Row] = &[
    row("empty data", 8, 320, |scene| {
        open(scene, 1, hanging(scene, &[]), |stream, round, out| {
            (0..50).for_each(|_| frame::write(out, kind::DATA, 0, stream, &[]));
            round < 2_000
        });
    }),
    row("a byte in each frame, on 60 calls", 8, 1_024, |scene| {
        let number = number(scene, hangs_with(3_000));
        let (block, message) = (block(scene, number, &[]), Rc::new(request_message(number, 0, 3_000)));
        open(scene, 60, block, move |stream, round, out| {
            let Some(byte) = message.get(round as usize) else { return false };
            frame::write(out, kind::DATA, 0, stream, &[*byte]);
            true
        });
    }),
    row("padding with hardly any data", 8, 896, |scene| {
        let number = number(scene, hangs_with(3_000));
        let (block, message) = (block(scene, number, &[]), request_message(number, 0, 3_000));
        open(scene, 20, block, move |stream, round, out| {
            let Some(byte) = message.get(round as usize) else { return false };
            let padded = [&[200, *byte][..], &[0; 200]].concat();
            frame::write(out, kind::DATA, flag::PADDED, stream, &padded);
            true
        });
    }),
    row("bodies that stop half-way, on 200 calls", 10, 2_304, |scene| {
        let number = number(scene, hangs_with(60_000));
        let (block, message) = (block(scene, number, &[]), request_message(number, 0, 60_000));
        open(scene, 200, block, move |stream, round, out| {
            frame::write(out, kind::DATA, 0, stream, &message[..9_000]);
            round == 0
        });
    }),
    row("windows that open byte by byte", 8, 1_280, |scene| {
        let number = number(scene, answers(BESIDE, vec![3_000]));
        let (block, message) = (block(scene, number, &[]), request_message(number, 0, 20));
        frames(scene, move |round| {
            let mut bytes = Vec::new();
            match round {
                0 => frame::write(&mut bytes, kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
                1..=40 => {
                    head(&mut bytes, round, &block);
                    frame::write(&mut bytes, kind::DATA, flag::END_STREAM, stream(round), &message);
                }
                _ => (1..=40).for_each(|call| frame::window_update(&mut bytes, stream(call), 1)),
            }
            (round < 2_000).then_some(bytes)
        });
    }),
];

/// A call with a message of this size, which no service answers.
fn hangs_with(size: usize) -> Plan {
    Plan { messages: vec![size], ..plan(BESIDE, &[Behaviour::Hang { reads: true }]) }
}

pub(super) const ROWS: &[&[Row]] = &[FLOODS, CONNECTIONS, HEADS, BODIES];
