//! Random sequences of what both ends may do, checked after each step, with a ledger of every byte.

use super::super::exchange::OpenError;
use super::super::frame::{self, ErrorCode, FrameHead, kind};
use super::super::send::Sent;
use super::super::settings::Bounds;
use super::super::state::{Ending, StreamError};
use super::pair::{End, Pair};
use super::{ms, poll, request, response, trailers};
use crate::buffer::Slice;
use crate::random::Random;

/// An end's part in a call.
#[derive(Default)]
struct Side {
    key: Option<u32>,
    /// A response has to begin with its head.
    may_send: bool,
    /// Bytes that the engine has taken from us, and those that it was given and has not taken.
    sent: usize,
    rest: Slice,
    ends_after_rest: bool,
    /// How its sending ended, if in order: whether with trailers.
    ended: Option<bool>,
    /// It was reset, or let go of, by this end.
    cut: bool,
    read: usize,
    /// Bytes that were read and not released.
    unreleased: usize,
    read_end: Option<Result<(), StreamError>>,
}

struct Call {
    /// The client's side, and the server's.
    sides: [Side; 2],
}

struct Run {
    random: Random,
    pair: Pair,
    calls: Vec<Call>,
    /// Bytes on their way: to the server, and to the client.
    wires: [Vec<u8>; 2],
    /// The initial window that each end was told last, if it is not the usual.
    narrowed: [bool; 2],
    is_shut: bool,
}

/// The byte at a place of a body; `side` sends it.
fn byte(call: usize, side: usize, at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16) ^ (call * 31 + side * 101)) as u8
}

fn body(call: usize, side: usize, from: usize, length: usize) -> Slice {
    (from..from + length).map(|at| byte(call, side, at)).collect::<Vec<u8>>().into()
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random::seeded(seed);
        let [client, server] = [(); 2].map(|()| bounds(&mut random));
        let pair = Pair::with(client, server);
        let wires = [vec![], vec![]];
        Run { random, pair, calls: vec![], wires, narrowed: [false; 2], is_shut: false }
    }

    fn end(&mut self, side: usize) -> &mut End {
        if side == 0 { &mut self.pair.client } else { &mut self.pair.server }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.below(n) == 0
    }

    fn step(&mut self) {
        let side = self.random.below(2) as usize;
        match self.random.below(32) {
            0..3 => self.open(),
            3..6 => self.accept(),
            6..14 => self.on_call(side),
            14..18 => self.send(side),
            18..27 => self.deliver(side),
            27 => self.settings(side),
            28 => {
                let now = self.pair.now;
                self.end(side).go_on(now);
            }
            29 => self.pair.now = self.pair.now.plus(std::time::Duration::from_millis(3)),
            30 if self.one_in(60) && !self.is_shut => {
                self.is_shut = true;
                let end = if self.one_in(2) { &mut self.pair.client } else { &mut self.pair.server };
                end.connection.shut_down(&mut end.out);
            }
            _ => {
                let now = self.pair.now;
                let end = self.end(side);
                end.connection.send_due(now, &mut end.out);
                end.connection.ping(now, &mut end.out);
            }
        }
        self.pair.client.connection.check();
        self.pair.server.connection.check();
    }

    fn open(&mut self) {
        let ends = self.one_in(4);
        let mut head = request(&self.pair.heads, "/random");
        head.push_named(b"x-call", self.calls.len().to_string().as_bytes());
        if self.one_in(8) {
            let length = self.random.below(9_000) as usize;
            head.push_named(b"x-large", &vec![b'l'; length]);
        }
        let (now, end) = (self.pair.now, &mut self.pair.client);
        match end.connection.open(&head, ends, now, &mut end.out) {
            Ok(key) => {
                let ended = ends.then_some(false);
                let client = Side { key: Some(key), may_send: !ends, ended, ..Side::default() };
                self.calls.push(Call { sides: [client, Side::default()] });
            }
            Err(error) => assert_ne!(error, OpenError::HeadTooLarge),
        }
    }

    fn accept(&mut self) {
        while let Some(incoming) = self.pair.server.connection.accept() {
            let number = incoming.head.get_named(b"x-call").expect("it was sent");
            let number: usize = std::str::from_utf8(number).expect("digits").parse().expect("digits");
            let side = &mut self.calls[number].sides[1];
            assert!(side.key.is_none(), "accepted twice");
            side.key = Some(incoming.key);
            if self.random.below(4) > 0 {
                return;
            }
        }
    }

    /// A call of which this end has a part.
    fn pick(&mut self, side: usize) -> Option<usize> {
        // The last ones, for most others are over.
        let from = self.calls.len().saturating_sub(12);
        let at = from + self.random.below((self.calls.len() - from) as u32) as usize;
        self.calls.get(at).filter(|call| call.sides[side].key.is_some()).map(|_| at)
    }

    fn on_call(&mut self, side: usize) {
        let Some(number) = self.pick(side) else { return };
        match self.random.below(20) {
            0..8 => self.write(number, side),
            8..16 => self.read(number, side),
            16 => self.finish(number, side),
            17 => self.release(number, side),
            18 if self.one_in(5) => self.reset(number, side),
            19 if self.one_in(5) => self.let_go(number, side),
            _ => self.write(number, side),
        }
    }

    fn respond(&mut self, number: usize) {
        let head = response(&self.pair.heads);
        let part = &mut self.calls[number].sides[1];
        let end = &mut self.pair.server;
        if end.connection.send_head(part.key.expect("picked"), &head, false, &mut end.out).is_ok() {
            part.may_send = true;
        }
    }

    fn write(&mut self, number: usize, side: usize) {
        if side == 1 && !self.calls[number].sides[1].may_send && self.calls[number].sides[1].ended.is_none() {
            return self.respond(number);
        }
        let sizes = [0, 1, 5, 100, 1_500, 16_384, 30_000, 65_536];
        let size = sizes[self.random.below(8) as usize];
        let ends = self.one_in(6);
        let (now, end) =
            (self.pair.now, if side == 0 { &mut self.pair.client } else { &mut self.pair.server });
        let part = &mut self.calls[number].sides[side];
        if !part.may_send || part.ended.is_some() {
            return;
        }
        if part.rest.is_empty() && !part.ends_after_rest {
            part.rest = body(number, side, part.sent, size);
            part.ends_after_rest = ends;
        }
        let before = part.rest.len();
        let key = part.key.expect("picked");
        let sent = end.connection.send_data(key, &mut part.rest, part.ends_after_rest, now, &mut end.out);
        part.sent += before - part.rest.len();
        match sent {
            Sent::All if part.ends_after_rest => part.ended = Some(false),
            Sent::All | Sent::Blocked => {}
            Sent::Gone => part.may_send = false,
        }
    }

    fn finish(&mut self, number: usize, side: usize) {
        let chance = self.random.below(12);
        let more = self.random.below(50_000) as usize;
        let trailers = trailers(&self.pair.heads);
        let (now, end) =
            (self.pair.now, if side == 0 { &mut self.pair.client } else { &mut self.pair.server });
        let part = &mut self.calls[number].sides[side];
        if !part.may_send || part.ended.is_some() {
            return;
        }
        let rest = if part.rest.is_empty() { body(number, side, part.sent, more) } else { part.rest.clone() };
        part.rest = Slice::default();
        part.sent += rest.len();
        part.may_send = false;
        let ending = match chance {
            0 => {
                part.cut = true;
                Ending::Reset(ErrorCode::INTERNAL_ERROR)
            }
            1..6 => Ending::EndStream,
            _ => Ending::Trailers(trailers),
        };
        part.ended = (chance > 0).then_some(chance >= 6);
        end.connection.finish(part.key.expect("picked"), rest, ending, now, &mut end.out);
    }

    fn read(&mut self, number: usize, side: usize) {
        let releases = !self.one_in(3);
        let end = if side == 0 { &mut self.pair.client } else { &mut self.pair.server };
        let part = &mut self.calls[number].sides[side];
        let key = part.key.expect("picked");
        match poll(|cx| end.connection.poll_data(key, cx)) {
            Some(Ok(Some(data))) => {
                assert!(part.read_end.is_none(), "bytes after the end");
                let at = part.read;
                let wrong =
                    data.iter().enumerate().find(|(n, came)| **came != byte(number, 1 - side, at + n));
                assert_eq!(wrong, None, "call {number}, side {side}, from {at}");
                part.read += data.len();
                part.unreleased += data.len();
                if releases {
                    let bytes = std::mem::take(&mut part.unreleased);
                    end.connection.release(key, bytes, &mut end.out);
                }
            }
            Some(Ok(None)) => {
                let has_trailers = end.connection.take_trailers(key).is_some();
                let (is_new, read) = (part.read_end.is_none(), part.read);
                part.read_end = Some(Ok(()));
                let sender = &self.calls[number].sides[1 - side];
                if is_new {
                    assert_eq!((Some(has_trailers), read), (sender.ended, sender.sent), "call {number}");
                }
            }
            Some(Err(error)) => part.read_end = Some(Err(error)),
            None => {}
        }
    }

    fn release(&mut self, number: usize, side: usize) {
        let end = if side == 0 { &mut self.pair.client } else { &mut self.pair.server };
        let part = &mut self.calls[number].sides[side];
        let bytes = std::mem::take(&mut part.unreleased);
        end.connection.release(part.key.expect("picked"), bytes, &mut end.out);
    }

    fn reset(&mut self, number: usize, side: usize) {
        let (now, end) =
            (self.pair.now, if side == 0 { &mut self.pair.client } else { &mut self.pair.server });
        let part = &mut self.calls[number].sides[side];
        end.connection.cancel(part.key.expect("picked"), ErrorCode::CANCEL, now, &mut end.out);
        part.cut = true;
        part.may_send = false;
    }

    fn let_go(&mut self, number: usize, side: usize) {
        let (now, end) =
            (self.pair.now, if side == 0 { &mut self.pair.client } else { &mut self.pair.server });
        let part = &mut self.calls[number].sides[side];
        end.connection.let_go(part.key.take().expect("picked"), now, &mut end.out);
        part.cut = true;
        part.may_send = false;
    }

    /// Moves the staged bytes of an end onto its wire.
    fn send(&mut self, side: usize) {
        let now = self.pair.now;
        let sent = self.end(side).send();
        self.wires[side].extend(sent);
        self.end(side).go_on(now);
    }

    /// Some of the bytes on their way to this end's peer arrive.
    fn deliver(&mut self, side: usize) {
        let most = self.wires[side].len();
        let n = if self.one_in(2) { most } else { self.random.below(most as u32 + 1) as usize };
        let cut = [1, 3, 9, 100, 5_000, usize::MAX][self.random.below(6) as usize].max(n / 300);
        let came: Vec<u8> = self.wires[side].drain(..n).collect();
        let (now, pool) = (self.pair.now, std::rc::Rc::clone(&self.pair.pool));
        self.end(1 - side).take(&came, cut, &pool, now);
    }

    /// Settings of an end change: its windows become small, or as they were, and its table and frames of any size.
    fn settings(&mut self, side: usize) {
        let usual = if side == 0 { &self.pair.client } else { &self.pair.server }.stream_window;
        self.narrowed[side] = !self.narrowed[side];
        let window = if self.narrowed[side] { self.random.below(usual) } else { usual };
        let table = [0, 64, 4_096][self.random.below(3) as usize];
        let frame = 16_384 + self.random.below(10);
        self.announce(side, &[(1, table), (4, window), (5, frame)]);
    }

    fn announce(&mut self, side: usize, settings: &[(u16, u32)]) {
        let bytes = self.end(side).out.bytes();
        FrameHead { length: settings.len() as u32 * 6, kind: kind::SETTINGS, flags: 0, stream: 0 }
            .write(bytes);
        for (id, value) in settings {
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        frame::ping(bytes, false, *b"settings");
    }

    /// All that is under way comes to its end.
    fn wind_up(&mut self) {
        for side in 0..2 {
            if std::mem::take(&mut self.narrowed[side]) {
                let usual = if side == 0 { &self.pair.client } else { &self.pair.server }.stream_window;
                self.announce(side, &[(4, usual)]);
            }
        }
        let mut idle = 0;
        let mut before = (0, 0);
        while idle < 4 {
            for side in 0..2 {
                self.send(side);
                self.deliver(side);
            }
            self.accept();
            self.pair.now = self.pair.now.plus(std::time::Duration::from_millis(3));
            let now = self.pair.now;
            let mut moved = 0;
            for number in 0..self.calls.len() {
                for side in 0..2 {
                    let part = &self.calls[number].sides[side];
                    moved += part.read + part.sent;
                    if part.key.is_none() {
                        continue;
                    }
                    self.write(number, side);
                    self.read(number, side);
                    self.release(number, side);
                    if self.calls[number].sides[side].rest.is_empty() {
                        self.finish(number, side);
                    }
                }
            }
            for side in 0..2 {
                let end = self.end(side);
                end.connection.send_due(now, &mut end.out);
                end.connection.check();
            }
            let wires = self.wires[0].len() + self.wires[1].len();
            idle = if (moved, wires) == before && wires == 0 { idle + 1 } else { 0 };
            before = (moved, wires);
        }
    }

    /// Every call that nobody cut came over whole; nothing is held.
    fn audit(mut self) {
        let failed = [&self.pair.client, &self.pair.server].map(|end| end.connection.failed());
        assert_eq!(failed, [None, None]);
        for (number, call) in self.calls.iter().enumerate() {
            // Settings that had not come may have had a smaller bound, or streams that were reset are counted there.
            let refused = Some(Err(StreamError::Reset(ErrorCode::REFUSED_STREAM)));
            let is_refused = call.sides[0].read_end == refused && call.sides[1].key.is_none();
            let is_cut = call.sides.iter().any(|side| side.cut) || self.is_shut || is_refused;
            for side in 0..2 {
                let (to, from) = (&call.sides[side], &call.sides[1 - side]);
                assert!(to.read <= from.sent, "call {number}: more was read than sent");
                if !is_cut {
                    assert_eq!(to.read_end, Some(Ok(())), "call {number}, side {side}");
                    assert_eq!(to.read, from.sent, "call {number}, side {side}");
                }
            }
        }
        let keys =
            |side: usize| self.calls.iter().filter_map(|call| call.sides[side].key).collect::<Vec<u32>>();
        let (client, server) = (keys(0), keys(1));
        let now = ms(1_000_000);
        for key in client {
            self.pair.client.connection.let_go(key, now, &mut self.pair.client.out);
        }
        for key in server {
            self.pair.server.connection.let_go(key, now, &mut self.pair.server.out);
        }
        self.calls.clear();
        self.pair.now = now;
        self.wind_up();
        // Last bytes that nobody reads, of streams that nobody holds, wait for that.
        for side in 0..2 {
            let end = self.end(side);
            end.connection.end_stalled(now, now, &mut end.out);
        }
        self.wind_up();
        self.pair.ends(&[], &[]);
    }
}

fn bounds(random: &mut Random) -> Bounds {
    let stream_window = [900, 5_000, 20_000, 65_535, 1 << 20][random.below(5) as usize];
    Bounds {
        max_concurrent_streams: [1, 5, 100][random.below(3) as usize],
        stream_window,
        max_stream_window: stream_window * (1 + random.below(3)),
        connection_window: [65_535, 200_000, 1 << 20][random.below(3) as usize],
        max_send_buffer_size: [2_000, 60_000, 1 << 18][random.below(3) as usize],
        max_frame_size: 16_394,
        ..Bounds::default()
    }
}

/// Seeds that are run. `RINGWAY_SEEDS` raises it.
fn seeds() -> u64 {
    std::env::var("RINGWAY_SEEDS").map_or(60, |seeds| seeds.parse().expect("a number of seeds"))
}

#[test]
fn whatever_both_may_do_every_byte_arrives_or_its_stream_was_cut() {
    for seed in 0..seeds() {
        let told = SeedOnPanic(seed);
        let mut run = Run::new(seed);
        for _ in 0..400 {
            run.step();
        }
        run.wind_up();
        run.audit();
        std::mem::forget(told);
    }
}

/// Tells the seed of a run that has panicked.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        println!("the seed is {}", self.0);
    }
}
