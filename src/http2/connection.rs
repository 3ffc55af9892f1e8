//! An HTTP/2 connection as a value: bytes that came go in, bytes to send come out, and its streams change.
//!
//! It does no I/O and reads no clock. [`receive`](super::receive) reads frames. [`headers`](super::headers) and [`data`](super::data) handle those of streams,
//! [`control`](super::control) those of the connection. [`send`](super::send) writes. [`exchange`](super::exchange) opens streams.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{self, ErrorCode};
use super::guard::{Flood, Guard};
use super::hpack::{Decoder, Encoder};
use super::input::Input;
use super::memory::Memory;
use super::rare::Rare;
use super::resets::Resets;
use super::settings::{Bounds, DEFAULT_WINDOW, MAX_WINDOW, Peer};
use super::state::{StreamError, StreamState};
use super::streams::Streams;
use crate::buffer::Output;
use crate::time::Moment;

/// The table of a peer's encoder. RFC 7541 section 4.2 has this size by default; we announce no other.
const HEADER_TABLE_SIZE: usize = 4096;

/// The payload of the ping behind the first GOAWAY. Its answer shows that the client has read that GOAWAY.
const SHUTDOWN_PING: [u8; 8] = *b"shutdown";

/// The payload of keepalive pings.
const KEEPALIVE_PING: [u8; 8] = *b"ringway?";

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code that we sent.
    pub code: ErrorCode,
    /// The peer's offence, for logs.
    pub reason: &'static str,
    /// The budget that it used up, if that is the reason.
    pub flood: Option<Flood>,
}

impl ConnectionError {
    pub(super) const fn new(code: ErrorCode, reason: &'static str) -> ConnectionError {
        ConnectionError { code, reason, flood: None }
    }

    pub(super) const fn protocol(reason: &'static str) -> ConnectionError {
        ConnectionError::new(ErrorCode::PROTOCOL_ERROR, reason)
    }
}

impl From<Flood> for ConnectionError {
    fn from(flood: Flood) -> ConnectionError {
        ConnectionError { code: ErrorCode::ENHANCE_YOUR_CALM, reason: flood.name(), flood: Some(flood) }
    }
}

/// A GOAWAY of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Streams above this one have not been seen.
    pub last_stream: u32,
    /// Its error code.
    pub code: ErrorCode,
    /// Its debug data says `too_many_pings`.
    pub too_many_pings: bool,
}

/// The progress of a connection's shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    No,
    /// The first GOAWAY was sent; streams that the client opened before it read that are still taken.
    Announced,
    /// Streams above this one are not taken.
    Final(u32),
}

/// Events of a connection since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// GOAWAY frames of the peer.
    pub goaways: u32,
    /// Streams that the peer has reset.
    pub resets: u32,
    /// Streams that were reset because of what the peer sent.
    pub malformed: u32,
    /// Frames for streams that are over.
    pub late_frames: u32,
    /// PRIORITY frames.
    pub priorities: u32,
    /// Heads above the bounds.
    pub heads_too_large: u32,
    /// Streams above `max_concurrent_streams`.
    pub refused_streams: u32,
    /// Resets that had to wait, for their streams were too young.
    pub held_resets: u32,
    /// Streams that ended because the peer did not take their last bytes.
    pub stalled: u32,
}

/// An HTTP/2 connection, of a client or a server.
pub struct Connection {
    pub(super) is_client: bool,
    pub(super) bounds: Rc<Bounds>,
    pub(super) memory: Rc<Memory>,
    pub(super) peer: Peer,
    pub(super) has_settings: bool,
    /// The peer has taken over our settings.
    pub(super) knows_settings: bool,
    pub(super) streams: Streams,

    // Receiving.
    pub(super) input: Input,
    pub(super) decoder: Decoder,
    pub(super) receive_window: ReceiveWindow,
    pub(super) guard: Guard,
    /// The highest stream that the peer has opened.
    pub(super) last_peer_stream: u32,
    pub(super) goaway: Option<GoAway>,

    // Sending.
    pub(super) encoder: Encoder,
    pub(super) send_window: SendWindow,
    /// The stream that we open next.
    pub(super) next_stream: u32,
    /// Streams to be reset once they are old enough.
    pub(super) resets: Rare<Resets>,

    pub(super) shutdown: Shutdown,
    pub(super) ping_sent: Option<Moment>,
    /// When the last ping was sent since which no stream has got anything.
    pub(super) quiet_ping: Option<Moment>,
    pub(super) failed: Option<Box<ConnectionError>>,
    pub(super) is_over: bool,
    pub(super) notes: Rare<Notes>,
    pub(super) task: Option<Waker>,
}

impl Connection {
    fn new(is_client: bool, bounds: Rc<Bounds>, memory: Rc<Memory>, out: &mut Output) -> Connection {
        if is_client {
            out.bytes().extend_from_slice(frame::PREFACE);
        }
        bounds.announce(is_client, out.bytes());
        let size = bounds.connection_window.max(DEFAULT_WINDOW);
        let mut receive_window = ReceiveWindow::new(DEFAULT_WINDOW, size);
        if let Some(increment) = receive_window.update() {
            frame::window_update(out.bytes(), 0, increment);
        }
        Connection {
            is_client,
            input: Input::new(!is_client),
            bounds,
            memory,
            peer: Peer::before_settings(),
            has_settings: false,
            knows_settings: false,
            streams: Streams::default(),
            decoder: Decoder::new(HEADER_TABLE_SIZE),
            receive_window,
            guard: Guard::default(),
            last_peer_stream: 0,
            goaway: None,
            encoder: Encoder::new(),
            send_window: SendWindow::new(DEFAULT_WINDOW),
            next_stream: 1,
            resets: Rare::default(),
            shutdown: Shutdown::No,
            ping_sent: None,
            quiet_ping: None,
            failed: None,
            is_over: false,
            notes: Rare::default(),
            task: None,
        }
    }

    /// The client's end of a connection; writes the preface and our settings.
    pub fn client(bounds: Rc<Bounds>, memory: Rc<Memory>, out: &mut Output) -> Connection {
        Connection::new(true, bounds, memory, out)
    }

    /// The server's end of a connection; writes our settings. The client's preface is read as the first of its bytes.
    pub fn server(bounds: Rc<Bounds>, memory: Rc<Memory>, out: &mut Output) -> Connection {
        Connection::new(false, bounds, memory, out)
    }

    /// The error that the connection has failed with: a violation of the peer.
    pub fn failed(&self) -> Option<ConnectionError> {
        self.failed.as_deref().copied()
    }

    /// Whether the peer's settings have come.
    pub fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// The peer's GOAWAY, if it has sent one.
    pub fn goaway(&self) -> Option<GoAway> {
        self.goaway
    }

    /// The settings that the peer has announced.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Streams that are not over.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Bytes that came and were not taken.
    pub fn held_bytes(&self) -> u32 {
        self.receive_window.held()
    }

    /// Takes the events counted since the last call.
    pub fn take_notes(&mut self) -> Notes {
        self.notes.take().unwrap_or_default()
    }

    /// Keeps the waker of the connection's own task, which is woken when the connection can end.
    pub fn keep_task(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Whether only staged bytes are left to send: the connection has failed, or it was shut down and its streams are
    /// over.
    pub fn is_done(&self) -> bool {
        let shut = matches!(self.shutdown, Shutdown::Final(_)) || (self.is_client && self.goaway.is_some());
        self.is_over || self.failed.is_some() || (shut && self.streams.len() == 0)
    }

    /// Ends the connection over a violation, and tells the peer by a GOAWAY.
    pub fn fail(&mut self, error: ConnectionError, out: &mut Output) {
        if self.failed.is_none() {
            self.failed = Some(Box::new(error));
            let last = match self.shutdown {
                Shutdown::Final(last) => last,
                _ => self.last_peer_stream,
            };
            frame::goaway(out.bytes(), last, error.code, error.reason);
            self.end();
        }
    }

    /// Ends the connection and its streams: no more bytes come or go.
    pub fn end(&mut self) {
        self.is_over = true;
        self.input.clear();
        while self.streams.next_waiting().is_some() {}
        self.resets.take();
        while let Some(key) = self.streams.next_accepted() {
            self.streams.get_mut(key).holders -= 1;
        }
        for (_, stream) in self.streams.iter_mut() {
            stream.is_waiting = false;
            stream.is_new = false;
            stream.fail(StreamError::ConnectionEnded);
        }
        self.forget_orphans();
        self.wake();
    }

    /// Forgets a stream if it is over and nobody holds it.
    #[inline]
    pub(super) fn forget_if_over(&mut self, key: u32) {
        let stream = self.streams.get(key);
        if !stream.is_held() && stream.is_closed() && stream.tail.is_none() {
            self.forget(key);
        }
    }

    /// Forgets a stream that is over.
    #[inline(never)] // or it is merged into the question, which is asked three times as often
    fn forget(&mut self, key: u32) {
        let stream = self.streams.get(key);
        let (held, is_waiting) = (stream.receive_window.held(), stream.is_waiting);
        if is_waiting {
            self.streams.waiting().retain(|waiting| *waiting != key);
        }
        self.receive_window.release(held);
        self.streams.remove(key, &self.memory.tables);
        if self.streams.len() == 0 && self.is_done() {
            self.wake();
        }
    }

    /// Forgets all streams that are over and that nobody holds.
    pub(super) fn forget_orphans(&mut self) {
        let orphans: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| !stream.is_held()).map(|(key, _)| key).collect();
        for key in orphans {
            self.forget_if_over(key);
        }
    }

    /// Whether `max` streams are open, as the peer counts them.
    pub(super) fn has_open(&self, max: u32) -> bool {
        let held_resets = self.resets.get().map_or(0, Resets::len);
        let all = self.streams.len() + held_resets;
        // Streams that are over and only held do not count. But a client's streams do that it has reset: work for them
        // may still go on here (CVE-2023-44487).
        let counts = |stream: &StreamState| match self.is_client {
            true => !stream.is_closed(),
            false => !stream.is_complete(),
        };
        all >= max as usize
            && self.streams.iter().filter(|(_, stream)| counts(stream)).count() + held_resets >= max as usize
    }

    /// Whether a GOAWAY has told the client that this stream is not taken.
    pub(super) fn is_disregarded(&self, stream: u32) -> bool {
        !self.is_client && stream % 2 == 1 && matches!(self.shutdown, Shutdown::Final(last) if stream > last)
    }

    /// Takes no more streams. A client is told in two steps, so that none is lost that it had opened before it knew: see
    /// RFC 9113 section 6.8.
    pub fn shut_down(&mut self, out: &mut Output) {
        if self.is_over || self.shutdown != Shutdown::No {
            return;
        }
        if self.is_client {
            self.shutdown = Shutdown::Final(0);
            frame::goaway(out.bytes(), 0, ErrorCode::NO_ERROR, "");
            return self.wake();
        }
        self.shutdown = Shutdown::Announced;
        frame::goaway(out.bytes(), MAX_WINDOW, ErrorCode::NO_ERROR, "");
        frame::ping(out.bytes(), false, SHUTDOWN_PING);
    }

    /// Sends the final GOAWAY, once the client has answered the ping or has had its time.
    pub fn finish_shutdown(&mut self, out: &mut Output) {
        if !self.is_over && self.shutdown == Shutdown::Announced {
            self.shutdown = Shutdown::Final(self.last_peer_stream);
            frame::goaway(out.bytes(), self.last_peer_stream, ErrorCode::NO_ERROR, "");
            self.wake();
        }
    }

    /// Sends a keepalive ping, unless one is unanswered.
    pub fn ping(&mut self, now: Moment, out: &mut Output) {
        if !self.is_over && self.ping_sent.is_none() {
            self.ping_sent = Some(now);
            self.quiet_ping = Some(now);
            frame::ping(out.bytes(), false, KEEPALIVE_PING);
        }
    }

    /// The time of the keepalive ping that the peer has not answered.
    pub fn ping_sent(&self) -> Option<Moment> {
        self.ping_sent
    }

    /// When the last ping was sent, if no stream has got anything since then.
    pub fn quiet_ping(&self) -> Option<Moment> {
        self.quiet_ping
    }

    /// Takes the answer to a ping of ours. False if nobody waits for it.
    pub(super) fn pong(&mut self, payload: [u8; 8], out: &mut Output) -> bool {
        match payload {
            KEEPALIVE_PING => return self.ping_sent.take().is_some(),
            SHUTDOWN_PING if self.shutdown == Shutdown::Announced => self.finish_shutdown(out),
            _ => return false,
        }
        true
    }

    /// Gives back memory that only connections with streams need.
    pub fn shrink(&mut self) {
        if self.streams.len() == 0 {
            self.streams.shrink();
            self.input.clear_memory();
            self.decoder.shrink();
            self.memory.heads.forget([self.encoder.shrink(), None]);
        }
    }
}

impl Drop for Connection {
    /// Heads that it repeated come no more.
    fn drop(&mut self) {
        self.memory.heads.forget([self.decoder.table_number(), self.encoder.table_number()]);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_client", &self.is_client)
            .field("streams", &self.streams.len())
            .field("shutdown", &self.shutdown)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
