//! Operations on two ends of our HTTP/2 engine that talk to each other, in an order that the input chooses: neither ends
//! the connection, and all bytes arrive in order.

use ringway::buffer::{Output, Slice};
use ringway::http2::{Bounds, Connection, Ending, ErrorCode, Heads, Memory, Sent, StreamError};
use ringway::time::Moment;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// What one side knows of a stream.
#[derive(Default)]
struct Side {
    key: Option<u32>,
    sent: usize,
    received: usize,
    has_head: bool,
    /// All of it was sent, or the end of it has come.
    has_finished: bool,
    has_ended: bool,
}

/// A stream, by the number in its path.
#[derive(Default)]
struct Pair {
    sides: [Side; 2],
    /// One side has given it up: nothing is promised any more.
    is_given_up: bool,
}

struct Run<'a> {
    ends: [Connection; 2],
    outs: [Output; 2],
    /// Bytes on their way to the other side.
    wires: [Vec<u8>; 2],
    pairs: Vec<Pair>,
    heads: Rc<Heads>,
    now: Moment,
    input: &'a [u8],
}

/// Bytes of any stream from this one on; fewer than are in `PATTERN`.
fn bytes(from: usize, count: usize) -> &'static [u8] {
    const PERIOD: usize = 251;
    static PATTERN: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..PERIOD + (1 << 16)).map(|at| (at % PERIOD) as u8).collect());
    &PATTERN[from % PERIOD..][..count]
}

impl Run<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.input.split_first()?;
        self.input = rest;
        Some(*first)
    }

    /// Takes what `side` has staged, and gives the other side up to `count` bytes of what is on its way.
    fn deliver(&mut self, side: usize, count: usize) {
        let out = &mut self.outs[side];
        out.parts(0).for_each(|part| self.wires[side].extend_from_slice(part));
        out.clear();
        self.ends[side].wake_waiting(self.now, &mut self.outs[side]);
        let count = count.min(self.wires[side].len());
        let mut input = Slice::copy_of(&self.wires[side][..count]);
        self.wires[side].drain(..count);
        let (other, mut before) = (1 - side, usize::MAX);
        while !input.is_empty() && input.len() < before {
            before = input.len();
            self.ends[other].receive(&mut input, self.now, &mut self.outs[other]);
        }
        // It reads no more before its own bytes have left.
        let mut left = input.to_vec();
        left.append(&mut self.wires[side]);
        self.wires[side] = left;
        while let Some(incoming) = self.ends[SERVER].accept() {
            let path = incoming.head.path().expect("a path");
            let number: usize = String::from_utf8_lossy(&path[1..]).parse().expect("a number");
            self.pairs[number].sides[SERVER].key = Some(incoming.key);
        }
    }

    fn open(&mut self) {
        let mut head = self.heads.head();
        head.set_method(b"POST");
        head.set_scheme(b"http");
        head.set_path(format!("/{}", self.pairs.len()).as_bytes());
        let Ok(key) = self.ends[CLIENT].open(&head, false, self.now, &mut self.outs[CLIENT]) else { return };
        let mut pair = Pair::default();
        (pair.sides[CLIENT].key, pair.sides[CLIENT].has_head) = (Some(key), true);
        self.pairs.push(pair);
    }

    /// A stream that the client has reset counts for the server as long as its call holds it, and here they all do.
    fn may_be_refused(&self, number: usize) -> bool {
        self.pairs[number].sides[SERVER].key.is_none() && self.pairs.iter().any(|pair| pair.is_given_up)
    }

    /// Reads what has come, up to `count` pieces.
    fn read(&mut self, number: usize, side: usize, count: usize) {
        let cx = Context::from_waker(Waker::noop());
        let may_be_refused = self.may_be_refused(number);
        let pair = &mut self.pairs[number];
        let Some(key) = pair.sides[side].key else { return };
        for _ in 0..count {
            match self.ends[side].poll_data(key, &cx) {
                Poll::Ready(Ok(Some(data))) => {
                    let at = pair.sides[side].received;
                    assert!(*data == *bytes(at, data.len()), "other bytes");
                    pair.sides[side].received += data.len();
                    assert!(pair.sides[side].received <= pair.sides[1 - side].sent, "more than was sent");
                    self.ends[side].release(key, data.len(), &mut self.outs[side]);
                }
                Poll::Ready(Ok(None)) => {
                    assert!(pair.is_given_up || pair.sides[1 - side].has_finished, "an end that nobody sent");
                    pair.sides[side].has_ended = true;
                    return;
                }
                Poll::Ready(Err(StreamError::Reset(ErrorCode::REFUSED_STREAM))) if may_be_refused => {
                    pair.is_given_up = true;
                    return;
                }
                Poll::Ready(Err(error)) => {
                    assert!(pair.is_given_up, "stream {number} of side {side}: {error:?}");
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    fn send(&mut self, number: usize, side: usize, count: usize, ends: bool) {
        let may_be_refused = self.may_be_refused(number);
        let pair = &mut self.pairs[number];
        let Some(key) = pair.sides[side].key.filter(|_| !pair.sides[side].has_finished) else { return };
        let (end, out) = (&mut self.ends[side], &mut self.outs[side]);
        if !pair.sides[side].has_head {
            let mut head = self.heads.head();
            head.set_status(200);
            pair.sides[side].has_head = true;
            assert!(end.send_head(key, &head, false, out).is_ok() || pair.is_given_up);
        }
        let mut data = Slice::copy_of(bytes(pair.sides[side].sent, count));
        if ends {
            pair.sides[side].sent += count;
            pair.sides[side].has_finished = true;
            let ending =
                if count.is_multiple_of(2) { Ending::EndStream } else { Ending::Trailers(self.heads.head()) };
            return end.finish(key, data, ending, self.now, out);
        }
        let sent = end.send_data(key, &mut data, false, self.now, out);
        assert!(
            pair.is_given_up || may_be_refused || sent != Sent::Gone,
            "stream {number} of side {side} has gone"
        );
        pair.sides[side].sent += count - data.len();
        if sent == Sent::Blocked {
            end.wait(key, &Context::from_waker(Waker::noop()));
        }
    }

    fn cancel(&mut self, number: usize, side: usize) {
        let pair = &mut self.pairs[number];
        let Some(key) = pair.sides[side].key else { return };
        pair.is_given_up = true;
        self.ends[side].cancel(key, ErrorCode::CANCEL, self.now, &mut self.outs[side]);
    }

    fn act(&mut self, choice: u8, parameter: u8) {
        self.now = self.now.plus(Duration::from_millis(1));
        let (side, amount) = (usize::from(choice >> 7), usize::from(parameter));
        let number = amount % self.pairs.len().max(1);
        match choice % 16 {
            0 | 1 => self.open(),
            2..6 => self.deliver(side, amount * amount + 1),
            6 => self.deliver(side, usize::MAX),
            7 => self.now = self.now.plus(Duration::from_millis(100 * u64::from(parameter))),
            8 => self.ends[side].send_due(self.now, &mut self.outs[side]),
            9 if amount < 4 => self.ends[side].shut_down(&mut self.outs[side]),
            10 if amount < 16 => {
                self.now = self.now.plus(Duration::from_millis(50));
                self.ends[side].ping(self.now, &mut self.outs[side]);
            }
            _ if self.pairs.is_empty() => {}
            9 | 10 => self.read(number, side, 1),
            11 => self.read(number, side, amount),
            12 | 13 => self.send(number, side, amount * 97, false),
            14 => self.send(number, side, amount * 97, true),
            _ if amount < 64 => self.cancel(number, side),
            _ => self.send(number, side, amount, false),
        }
        for end in &self.ends {
            assert_eq!(end.failed().map(|error| error.code), None, "the connection ends");
        }
    }

    /// Lets all bytes pass, and looks whether each stream is whole.
    fn finish(mut self) {
        for number in 0..self.pairs.len() {
            for side in [CLIENT, SERVER] {
                self.deliver(side, usize::MAX);
                self.send(number, side, 1, true);
            }
        }
        // A window opens a turn or two before bytes come by it.
        let (mut known, mut idle) = (0, 0);
        while idle < 8 {
            for side in [CLIENT, SERVER] {
                self.deliver(side, usize::MAX);
                for number in 0..self.pairs.len() {
                    self.read(number, side, 64);
                    // The answer of a stream that came late.
                    self.send(number, side, 1, true);
                }
            }
            let sides = self.pairs.iter().flat_map(|pair| &pair.sides);
            let now: usize = sides.map(|side| side.received + usize::from(side.has_ended)).sum();
            idle = if now == known { idle + 1 } else { 0 };
            known = now;
        }
        for (number, pair) in self.pairs.iter().enumerate().filter(|(_, pair)| !pair.is_given_up) {
            for side in [CLIENT, SERVER] {
                let (here, there) = (&pair.sides[side], &pair.sides[1 - side]);
                assert_eq!(
                    (here.received, here.has_ended),
                    (there.sent, true),
                    "stream {number}, side {side}"
                );
            }
        }
        let mut keys: HashMap<usize, Vec<u32>> = HashMap::new();
        for pair in &self.pairs {
            for side in [CLIENT, SERVER] {
                keys.entry(side).or_default().extend(pair.sides[side].key);
            }
        }
        for (side, keys) in keys {
            let (end, out) = (&mut self.ends[side], &mut self.outs[side]);
            keys.into_iter().for_each(|key| end.let_go(key, self.now, out));
            end.end();
            assert_eq!((end.streams(), end.held_bytes()), (0, 0), "side {side}");
        }
    }
}

/// The first byte chooses the windows; then each operation has two bytes.
pub(crate) fn operations(input: &[u8]) {
    let Some((first, input)) = input.split_first() else { return };
    let window = [65_535, 1 << 17, 1 << 20][usize::from(*first) % 3];
    let bounds = Bounds {
        max_concurrent_streams: 20,
        max_send_buffer_size: 20_000,
        stream_window: window,
        max_stream_window: window * 2,
        connection_window: window * 2,
        ..Bounds::default()
    };
    let (bounds, heads) = (Rc::new(bounds), Heads::new());
    let [mut up, mut down] = [(); 2].map(|()| Output::default());
    let client = Connection::client(Rc::clone(&bounds), Memory::new(&heads), &mut up);
    let server = Connection::server(bounds, Memory::new(&heads), &mut down);
    let (now, pairs, wires) = (Moment::from_nanos(1), Vec::new(), Default::default());
    let mut run = Run { ends: [client, server], outs: [up, down], wires, pairs, heads, now, input };
    // Each knows the other's settings.
    for side in [CLIENT, SERVER, CLIENT] {
        run.deliver(side, usize::MAX);
    }
    while let Some((choice, parameter)) = run.next().zip(run.next()) {
        run.act(choice, parameter);
    }
    run.finish();
}
