//! A client and a server of ours, and bytes between them.

use std::rc::Rc;

use super::super::connection::Connection;
use super::super::exchange::Incoming;
use super::super::frame::{FrameHead, HEAD, PREFACE};
use super::super::head::{Head, Heads};
use super::super::memory::Memory;
use super::super::send::Sent;
use super::super::settings::Bounds;
use super::super::state::Ending;
use super::{ms, read, request, response};
use crate::buffer::{Output, Pool, Slice};
use crate::time::Moment;

/// An end of the connection: its staged bytes, and those that came and were not taken.
pub(super) struct End {
    pub(super) connection: Connection,
    pub(super) out: Output,
    inbox: Vec<u8>,
    pub(super) stream_window: u32,
    /// Heads of the frames that it was sent.
    pub(super) frames: Vec<FrameHead>,
}

pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
    pub(super) heads: Rc<Heads>,
    pub(super) pool: Rc<Pool>,
    pub(super) now: Moment,
    /// Bytes of the pieces in which they come.
    pub(super) cut: usize,
}

impl End {
    fn new(stream_window: u32, make: impl FnOnce(&mut Output) -> Connection) -> End {
        let mut out = Output::default();
        let connection = make(&mut out);
        End { connection, out, inbox: Vec::new(), stream_window, frames: Vec::new() }
    }

    /// Takes all staged bytes, as a send would.
    pub(super) fn send(&mut self) -> Vec<u8> {
        let sent = self.out.parts(0).collect::<Vec<_>>().concat();
        self.out.clear();
        sent
    }

    /// Takes bytes that came, in pieces; whether there were any.
    pub(super) fn take(&mut self, came: &[u8], cut: usize, pool: &Rc<Pool>, now: Moment) -> bool {
        self.inbox.extend_from_slice(came);
        let had = self.inbox.len();
        while !self.inbox.is_empty() && self.connection.takes_input(&self.out) {
            let n = self.inbox.len().min(cut).min(Pool::SIZE);
            let piece = &self.inbox[..n];
            let mut piece = match pool.received(piece) {
                Some(owner) => Slice::of_buffer(owner, n),
                None => Slice::copy_of(piece),
            };
            self.connection.receive(&mut piece, now, &mut self.out);
            self.inbox.drain(..n - piece.len());
            self.connection.check();
        }
        if self.connection.is_done() {
            self.inbox.clear();
        }
        self.inbox.len() < had
    }

    /// There is room again.
    pub(super) fn go_on(&mut self, now: Moment) {
        if self.connection.wants_room(&self.out) {
            self.connection.wake_waiting(now, &mut self.out);
            self.connection.check();
        }
    }
}

impl Pair {
    pub(super) fn new() -> Pair {
        Pair::with(Bounds::default(), Bounds::default())
    }

    /// The client's bounds, and the server's.
    pub(super) fn with(client: Bounds, server: Bounds) -> Pair {
        let (heads, pool) = (Heads::new(), Pool::new(32));
        let memory = Memory::new(&heads);
        Pair {
            client: End::new(client.stream_window, |out| {
                Connection::client(Rc::new(client), Rc::clone(&memory), out)
            }),
            server: End::new(server.stream_window, |out| {
                Connection::server(Rc::new(server), Rc::clone(&memory), out)
            }),
            heads,
            pool,
            now: ms(0),
            cut: usize::MAX,
        }
    }

    pub(super) fn cut(mut self, cut: usize) -> Pair {
        self.cut = cut;
        self
    }

    /// Bytes of the client arrive; whether there were any.
    pub(super) fn upward(&mut self) -> bool {
        let sent = self.client.send();
        self.client.go_on(self.now);
        note_frames(&sent, &mut self.server.frames);
        self.server.take(&sent, self.cut, &self.pool, self.now)
    }

    /// Bytes of the server arrive; whether there were any.
    pub(super) fn downward(&mut self) -> bool {
        let sent = self.server.send();
        self.server.go_on(self.now);
        note_frames(&sent, &mut self.client.frames);
        self.client.take(&sent, self.cut, &self.pool, self.now)
    }

    /// Bytes go both ways until none are left.
    pub(super) fn settle(&mut self) {
        while self.upward() | self.downward() {}
    }

    pub(super) fn open(&mut self, end: bool) -> u32 {
        let head = request(&self.heads, "/a.B/C");
        let key = self
            .client
            .connection
            .open(&head, end, self.now, &mut self.client.out)
            .expect("it takes streams");
        self.settle();
        key
    }

    pub(super) fn accept(&mut self) -> Incoming {
        self.server.connection.accept().expect("a request has come")
    }

    /// A stream that was opened, accepted and whose response has begun: the client's key and the server's.
    pub(super) fn stream(&mut self) -> (u32, u32) {
        let client = self.open(false);
        let server = self.accept().key;
        let head = response(&self.heads);
        self.respond(server, &head, false);
        (client, server)
    }

    pub(super) fn respond(&mut self, key: u32, head: &Head, end: bool) {
        self.server.connection.send_head(key, head, end, &mut self.server.out).expect("the stream lives");
        self.settle();
    }

    pub(super) fn client_sends(&mut self, key: u32, bytes: &[u8], end: bool) -> Sent {
        let sent = self.client.sends(key, bytes, end, self.now);
        self.settle();
        sent
    }

    pub(super) fn server_sends(&mut self, key: u32, bytes: &[u8], end: bool) -> Sent {
        let sent = self.server.sends(key, bytes, end, self.now);
        self.settle();
        sent
    }

    pub(super) fn server_finishes(&mut self, key: u32, rest: &[u8], ending: Ending) {
        let End { connection, out, .. } = &mut self.server;
        connection.finish(key, Slice::copy_of(rest), ending, self.now, out);
        connection.check();
        self.settle();
    }

    /// All are let go of, and nothing is left of them.
    pub(super) fn ends(&mut self, client: &[u32], server: &[u32]) {
        for key in client {
            self.client.connection.let_go(*key, self.now, &mut self.client.out);
        }
        for key in server {
            self.server.connection.let_go(*key, self.now, &mut self.server.out);
        }
        self.settle();
        for end in [&mut self.client, &mut self.server] {
            end.connection.check();
            assert_eq!((end.connection.streams(), end.connection.held_bytes()), (0, 0));
            end.out.clear();
        }
        assert_eq!(self.pool.free(), self.pool.buffers(), "buffers are held");
        assert_eq!((self.client.connection.failed(), self.server.connection.failed()), (None, None));
    }
}

impl End {
    fn sends(&mut self, key: u32, bytes: &[u8], end: bool, now: Moment) -> Sent {
        let mut data = Slice::copy_of(bytes);
        let sent = self.connection.send_data(key, &mut data, end, now, &mut self.out);
        self.connection.check();
        sent
    }

    /// Reads what there is, and lets the peer send as much again.
    pub(super) fn reads(&mut self, key: u32) -> (Vec<u8>, Option<Result<(), super::StreamError>>) {
        let (bytes, end) = read(&mut self.connection, key);
        self.connection.release(key, bytes.len(), &mut self.out);
        self.connection.check();
        (bytes, end)
    }

    /// How many frames of a kind it was sent since this was asked last.
    pub(super) fn frames(&mut self, kind: u8) -> usize {
        let count = self.frames.iter().filter(|head| head.kind == kind).count();
        self.frames.retain(|head| head.kind != kind);
        count
    }
}

/// Notes the frames of `sent`, which holds only whole frames.
fn note_frames(sent: &[u8], frames: &mut Vec<FrameHead>) {
    let mut rest = sent.strip_prefix(PREFACE).unwrap_or(sent);
    while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
        let head = FrameHead::read(head);
        frames.push(head);
        rest = &after[head.length as usize..];
    }
    assert!(rest.is_empty(), "a part of a frame was staged");
}
