//! Clients that are rude over HTTP/1.1.

use std::time::Duration;

use super::super::ledger::{Behaviour, Plan, request_message};
use super::super::scene::{Scene, plan};
use super::raw::{BESIDE, Manner, Row, answers, bytes, drips, number, row};

/// The head of a gRPC-Web request of call `number`, with these lines, too.
fn head(number: usize, fields: &str) -> Vec<u8> {
    let line = format!("POST {BESIDE} HTTP/1.1\r\nhost: sim\r\nx-call: {number}\r\n");
    format!("{line}content-type: application/grpc-web+proto\r\n{fields}\r\n").into_bytes()
}

/// A whole request with a message of this size.
fn request(number: usize, size: usize) -> Vec<u8> {
    let message = request_message(number, 0, size);
    [head(number, &format!("content-length: {}\r\n", message.len())), message].concat()
}

/// A chunk of a body.
fn chunk(extension: &str, data: &[u8]) -> Vec<u8> {
    [format!("{:x}{extension}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// A request whose body comes in chunks that `next` makes; the first piece is its head.
fn chunked(scene: &Scene, size: usize, mut next: impl FnMut(u32, &[u8]) -> Option<Vec<u8>> + 'static) {
    let hang = plan(BESIDE, &[Behaviour::Hang { reads: true }]);
    let number = number(scene, Plan { messages: vec![size], ..hang });
    let message = request_message(number, 0, size);
    bytes(scene, Manner::default(), move |piece| match piece {
        0 => Some(head(number, "transfer-encoding: chunked\r\n")),
        _ => next(piece - 1, &message),
    });
}

/// `count` clients of this manner, each of which sends a request over and over that is answered with so many bytes.
fn asks(scene: &Scene, count: u32, requests: u32, manner: Manner, answer: usize) {
    let number = number(scene, answers(BESIDE, vec![answer]));
    for client in 0..count {
        let request = request(number, 20);
        let pause = manner.pause * client;
        bytes(scene, Manner { pause, ..manner }, move |at| (at < requests).then(|| request.clone()));
    }
}

pub(super) const ROWS: &[&[Row]] = &[&[
    row("a head of HTTP/1.1 without an end", 8, 320, |scene| {
        bytes(scene, Manner::default(), |_| Some(b"GET / HTTP/1.1\r\nx: y\r\n".to_vec()));
    }),
    row("heads of HTTP/1.1 that drip", 8, 8, |scene| {
        let manner = Manner { link: drips(2), ..Manner::default() };
        (0..50).for_each(|_| asks(scene, 1, 1, manner, 20));
    }),
    row("bodies that drip", 8, 96, |scene| {
        let hang = plan(BESIDE, &[Behaviour::Hang { reads: true }]);
        let number = number(scene, Plan { messages: vec![3_000], ..hang });
        for _ in 0..50 {
            let (whole, head) = (request(number, 3_000), request(number, 3_000).len() - 3_005);
            let manner = Manner { pause: Duration::from_millis(1), ..Manner::default() };
            bytes(scene, manner, move |at| match at {
                0 => Some(whole[..head].to_vec()),
                at => whole.get(head + at as usize - 1).map(|byte| vec![*byte]),
            });
        }
    }),
    row("chunks of one byte", 8, 768, |scene| {
        (0..10).for_each(|_| {
            chunked(scene, 20_000, |at, message| Some(chunk("", &[*message.get(at as usize)?])));
        });
    }),
    row("chunks with long extensions", 8, 320, |scene| {
        let extension = format!(";{}", "x".repeat(3_000));
        chunked(scene, 20_000, move |at, message| Some(chunk(&extension, &[*message.get(at as usize)?])));
    }),
    row("trailers of HTTP/1.1 without an end", 8, 320, |scene| {
        chunked(scene, 20, |at, message| match at {
            0 => Some(chunk("", message)),
            1 => Some(b"0\r\n".to_vec()),
            _ => Some(b"x-trailer: of no use\r\n".repeat(40)),
        });
    }),
    row("requests that are pipelined", 8, 256, |scene| asks(scene, 4, 400, Manner::default(), 20)),
    row("pipelined requests whose answers nobody reads", 8, 512, |scene| {
        asks(scene, 4, 400, Manner { is_deaf: true, ..Manner::default() }, 20_000);
    }),
    row("downloads over HTTP/1.1 that nobody reads", 12, 8_192, |scene| {
        asks(scene, 18, 1, Manner { is_deaf: true, ..Manner::default() }, 3 << 20);
    }),
    row("clients that hang up after their request", 8, 8, |scene| {
        let pause = Duration::from_micros(50);
        asks(scene, 300, 1, Manner { hangs_up: true, pause, ..Manner::default() }, 20);
    }),
    row("a request of two lengths", 8, 256, |scene| {
        let number = number(scene, answers(BESIDE, vec![20]));
        let wrong = head(number, "content-length: 25\r\ncontent-length: 26\r\n");
        (0..100).for_each(|_| {
            let wrong = wrong.clone();
            bytes(scene, Manner::default(), move |at| (at < 10).then(|| wrong.clone()));
        });
    }),
]];
