//! What stands between a socket and a protocol library: bytes received, bytes to send, and how both sides stand.
//!
//! The protocol side ([`Io`]) implements tokio's poll traits, which h2 and hyper read and write. It never waits for the
//! socket: a read takes what has arrived, a write only stages bytes, and a flush has nothing to do. So all answers of
//! one turn leave in one send. The stage is bounded: when the peer does not read, writes wait, and with them all that
//! the protocol library would do next.
//!
//! The socket side is `stream.rs`, and `carrier.rs` where bytes go through the ring. The protocol is polled by the same
//! task that moves the bytes, so it need not be woken for them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffers::{Buffers, LARGEST};
use super::inward::Inward;
use super::provided::Piece;
use super::socket::Socket;
use crate::metrics::WorkerBlock;
use crate::time::Moment;

/// The state of one connection's bytes.
pub struct Pipe {
    buffers: Rc<Buffers>,
    inward: RefCell<Inward>,
    outward: RefCell<Outward>,
    /// Something happened that the protocol has to see.
    news: Cell<bool>,
    /// The connection is to be cut.
    aborted: Cell<bool>,
    /// The protocol is done: the connection ends when all that is staged has left.
    closing: Cell<bool>,
    /// When the peer last sent something, by the worker's coarse clock.
    received_at: Cell<Moment>,
    spoken: Cell<bool>,
    /// Bytes that the protocol has staged, and of these what the kernel has taken or is about to take.
    outgoing: Cell<Outgoing>,
}

/// How many bytes have gone out of a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    staged: u64,
    sent: u64,
}

/// To the peer.
#[derive(Default)]
struct Outward {
    /// Bytes that wait for the send in flight to end. No allocation while there are none.
    stage: Vec<u8>,
    /// Whether a send is in flight, and since when the peer took nothing.
    sending_since: Option<Moment>,
    /// A write had to wait because the stage was full.
    blocked: bool,
    end: Option<End>,
}

/// Why no more bytes come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed its side in order.
    Closed,
    /// The socket failed.
    Failed(io::ErrorKind),
}

impl Pipe {
    /// A pipe without bytes, at `now`.
    pub fn new(buffers: Rc<Buffers>, now: Moment) -> Rc<Pipe> {
        Rc::new(Pipe {
            buffers,
            inward: RefCell::default(),
            outward: RefCell::default(),
            news: Cell::new(false),
            aborted: Cell::new(false),
            closing: Cell::new(false),
            received_at: Cell::new(now),
            spoken: Cell::new(false),
            outgoing: Cell::default(),
        })
    }

    /// The protocol's side.
    pub fn io(self: &Rc<Self>) -> Io {
        Io(Rc::clone(self))
    }

    /// Cuts the connection: nothing more is sent, not even what is staged.
    pub fn abort(&self) {
        self.aborted.set(true);
    }

    /// When the peer last sent something.
    pub fn received_at(&self) -> Moment {
        self.received_at.get()
    }

    /// Since when bytes wait that the peer does not take.
    pub fn sending_since(&self) -> Option<Moment> {
        self.outward.borrow().sending_since
    }

    /// Why the peer sends no more, if so.
    pub fn inward_end(&self) -> Option<End> {
        self.inward.borrow().end
    }

    /// Looks at the first bytes without taking them: `Some(true)` when they are `expected`, `Some(false)` when they
    /// cannot become it, `None` while too few have arrived.
    pub fn starts_with(&self, expected: &[u8]) -> Option<bool> {
        self.inward.borrow_mut().starts_with(expected, &self.buffers)
    }

    /// Whether the peer has sent anything yet.
    pub fn has_spoken(&self) -> bool {
        self.spoken.get()
    }

    /// How many bytes have gone out so far.
    pub fn outgoing(&self) -> Outgoing {
        self.outgoing.get()
    }

    /// Whether the connection is over, and nothing of what the protocol meant to send after `before` has reached the
    /// kernel, nor ever will.
    pub fn ended_at(&self, before: Outgoing) -> bool {
        let now = self.outgoing.get();
        let discards = self.discards();
        // A peer that has closed its side may still take what is staged; but the protocol stages nothing more.
        let silent = discards || self.inward_end().is_some();
        (silent && now.staged == before.staged) || (discards && now.sent == before.sent)
    }

    /// Whether nothing of what is staged will be sent any more.
    pub(super) fn discards(&self) -> bool {
        let failed = |end: Option<End>| matches!(end, Some(End::Failed(_)));
        self.is_aborted() || failed(self.outward_end()) || failed(self.inward_end())
    }

    fn stage(&self, n: usize) {
        let Outgoing { staged, sent } = self.outgoing.get();
        self.outgoing.set(Outgoing { staged: staged + n as u64, sent });
    }

    /// A write finds the stage full: it waits for a send to end, unless nothing will be sent any more.
    fn blocked(&self, outward: &mut Outward) -> Poll<io::Result<usize>> {
        if let Some(End::Failed(kind)) = self.inward_end() {
            return Poll::Ready(Err(kind.into()));
        }
        outward.blocked = true;
        Poll::Pending
    }

    // What follows is the socket's side.

    pub(super) fn take_news(&self) -> bool {
        self.news.replace(false)
    }

    /// Whether the protocol has something to see.
    pub(super) fn has_news(&self) -> bool {
        self.news.get()
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.get()
    }

    /// The protocol is done.
    pub(super) fn close(&self) {
        self.closing.set(true);
    }

    /// Whether the protocol has taken all that came, or cannot go on with what there is. What it leaves is kept.
    pub(super) fn wants_more(&self) -> bool {
        let mut inward = self.inward.borrow_mut();
        inward.keep(&self.buffers);
        inward.wants_more()
    }

    /// Receives what has arrived, if anything has.
    pub(super) fn receive(&self, socket: &Socket, now: Moment, counts: &WorkerBlock) {
        let mut inward = self.inward.borrow_mut();
        let mut buffer = inward.lend(&self.buffers);
        match socket.receive(&mut buffer) {
            Ok(0) => inward.end = Some(End::Closed),
            Ok(n) => self.count(n, now, counts),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return self.buffers.give(buffer);
            }
            Err(error) => inward.end = Some(End::Failed(error.kind())),
        }
        inward.received(buffer, &self.buffers);
        self.news.set(true);
    }

    /// Bytes that the ring has received.
    pub(super) fn arrived(&self, piece: Piece, now: Moment, counts: &WorkerBlock) {
        self.count(piece.len(), now, counts);
        self.inward.borrow_mut().arrived(piece);
        self.news.set(true);
    }

    fn count(&self, n: usize, now: Moment, counts: &WorkerBlock) {
        counts.receives.add(1);
        counts.bytes_received.add(n as u64);
        self.received_at.set(now);
        self.spoken.set(true);
    }

    /// The peer has closed its side.
    pub(super) fn closed(&self) {
        self.inward.borrow_mut().end = Some(End::Closed);
        self.news.set(true);
    }

    /// Nothing can be received any more.
    pub(super) fn failed(&self, error: &io::Error) {
        self.inward.borrow_mut().end = Some(End::Failed(error.kind()));
        self.news.set(true);
    }

    /// Drops what arrived and was not taken: the protocol is done.
    pub(super) fn discard_received(&self) {
        self.inward.borrow_mut().discard(&self.buffers);
    }

    /// What is staged, to be sent; none while a send is in flight.
    pub(super) fn take_stage(&self, now: Moment) -> Option<Vec<u8>> {
        if !self.has_stage() || self.sending_since().is_some() {
            return None;
        }
        let mut outward = self.outward.borrow_mut();
        outward.sending_since = Some(now);
        Some(std::mem::take(&mut outward.stage))
    }

    /// Whether anything is staged that may be taken to be sent.
    pub(super) fn has_stage(&self) -> bool {
        !self.outward.borrow().stage.is_empty() && !self.discards()
    }

    /// Whether somebody waits for the end of the next send: a write that found the stage full, or the connection's end.
    pub(super) fn waits_for_send(&self) -> bool {
        self.closing.get() || self.outward.borrow().blocked
    }

    /// The kernel has taken so many bytes, or is about to.
    pub(super) fn took(&self, n: usize) {
        let Outgoing { staged, sent } = self.outgoing.get();
        self.outgoing.set(Outgoing { staged, sent: sent + n as u64 });
    }

    /// Of those that it was about to take, the kernel has left so many.
    pub(super) fn left(&self, n: usize) {
        let Outgoing { staged, sent } = self.outgoing.get();
        self.outgoing.set(Outgoing { staged, sent: sent - n as u64 });
    }

    /// Some bytes left, others wait on: the peer is alive.
    pub(super) fn sent_some(&self, now: Moment) {
        self.outward.borrow_mut().sending_since = Some(now);
    }

    /// A send has ended. That is news for the protocol only if a write waited for it.
    pub(super) fn sent(&self, result: io::Result<()>, buffer: Vec<u8>) {
        let mut outward = self.outward.borrow_mut();
        outward.sending_since = None;
        if let Err(error) = result {
            outward.end = Some(End::Failed(error.kind()));
        }
        self.buffers.give(buffer);
        if std::mem::take(&mut outward.blocked) || outward.end.is_some() {
            self.news.set(true);
        }
    }

    /// Whether everything staged has been sent, or cannot be.
    pub(super) fn is_drained(&self) -> bool {
        let outward = self.outward.borrow();
        (outward.stage.is_empty() && outward.sending_since.is_none()) || self.discards()
    }

    pub(super) fn outward_end(&self) -> Option<End> {
        self.outward.borrow().end
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.inward.get_mut().discard(&self.buffers);
        self.buffers.give(std::mem::take(&mut self.outward.get_mut().stage));
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inward, outward) = (self.inward.borrow(), self.outward.borrow());
        f.debug_struct("Pipe")
            .field("received", &inward.waiting())
            .field("staged", &outward.stage.len())
            .field("inward_end", &inward.end)
            .field("outward_end", &outward.end)
            .finish_non_exhaustive()
    }
}

impl Outward {
    /// Room in the stage. It begins as small as fits, and is exchanged for a larger one when that is full.
    fn room(&mut self, wanted: usize, buffers: &Buffers) -> usize {
        let free = self.stage.capacity() - self.stage.len();
        if free < wanted && self.stage.capacity() < LARGEST {
            let mut larger = buffers.lend(self.stage.len() + wanted);
            larger.extend_from_slice(&self.stage);
            buffers.give(std::mem::replace(&mut self.stage, larger));
        }
        self.stage.capacity() - self.stage.len()
    }
}

/// The protocol's side of a pipe, for h2 and hyper.
pub struct Io(Rc<Pipe>);

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inward = self.0.inward.borrow_mut();
        if !inward.is_empty() {
            inward.read(buf, &self.0.buffers);
            return Poll::Ready(Ok(()));
        }
        match inward.end {
            None => Poll::Pending,
            Some(End::Closed) => Poll::Ready(Ok(())),
            Some(End::Failed(kind)) => Poll::Ready(Err(kind.into())),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut outward = self.0.outward.borrow_mut();
        if let Some(end) = outward.end {
            return Poll::Ready(Err(end.as_error()));
        }
        let n = outward.room(bytes.len(), &self.0.buffers).min(bytes.len());
        if n == 0 && !bytes.is_empty() {
            return self.0.blocked(&mut outward);
        }
        outward.stage.extend_from_slice(&bytes[..n]);
        self.0.stage(n);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outward = self.0.outward.borrow_mut();
        if let Some(end) = outward.end {
            return Poll::Ready(Err(end.as_error()));
        }
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        let mut room = outward.room(wanted, &self.0.buffers);
        if room == 0 && wanted > 0 {
            return self.0.blocked(&mut outward);
        }
        let mut written = 0;
        for slice in slices {
            let n = slice.len().min(room);
            outward.stage.extend_from_slice(&slice[..n]);
            room -= n;
            written += n;
        }
        self.0.stage(written);
        Poll::Ready(Ok(written))
    }

    // With vectored writes h2 hands a payload over as it is; without, it first copies the beginning of one behind the
    // frame's head.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.outward.borrow().end {
            None => Poll::Ready(Ok(())),
            Some(end) => Poll::Ready(Err(end.as_error())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The socket side sends what is staged and closes once the protocol is done: there is nothing to wait for.
        Poll::Ready(Ok(()))
    }
}

impl End {
    fn as_error(self) -> io::Error {
        match self {
            End::Closed => io::ErrorKind::BrokenPipe.into(),
            End::Failed(kind) => kind.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn staged(pipe: &Rc<Pipe>, bytes: &[u8]) {
        let written = Pin::new(&mut pipe.io()).poll_write(&mut Context::from_waker(Waker::noop()), bytes);
        assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
    }

    /// What happens to a connection, and whether it is then known that nothing has gone out since before.
    #[test]
    fn what_was_not_written_is_known_once_the_connection_is_over() {
        type Events = fn(&Rc<Pipe>);
        const GONE: io::ErrorKind = io::ErrorKind::ConnectionReset;
        let table: [(&str, Events, bool); 8] = [
            ("it goes on", |_| (), false),
            ("reset while nothing was staged", |pipe| pipe.failed(&GONE.into()), true),
            (
                "closed while nothing was staged",
                |pipe| pipe.inward.borrow_mut().end = Some(End::Closed),
                true,
            ),
            (
                "reset while it was staged",
                |pipe| {
                    staged(pipe, b"head");
                    pipe.failed(&GONE.into());
                },
                true,
            ),
            (
                "closed while it was staged: the peer may still take it",
                |pipe| {
                    staged(pipe, b"head");
                    pipe.inward.borrow_mut().end = Some(End::Closed);
                },
                false,
            ),
            (
                "the kernel takes nothing",
                |pipe| {
                    staged(pipe, b"head");
                    let stage = pipe.take_stage(Moment::ZERO).expect("it is staged");
                    pipe.sent(Err(GONE.into()), stage);
                },
                true,
            ),
            (
                "the kernel has taken a part",
                |pipe| {
                    staged(pipe, b"head");
                    let stage = pipe.take_stage(Moment::ZERO).expect("it is staged");
                    pipe.took(1);
                    pipe.sent(Err(GONE.into()), stage);
                },
                false,
            ),
            (
                "cut while it was staged",
                |pipe| {
                    staged(pipe, b"head");
                    pipe.abort();
                },
                true,
            ),
        ];
        for (what, events, unwritten) in table {
            let pipe = Pipe::new(Rc::new(Buffers::new()), Moment::ZERO);
            staged(&pipe, b"of another call");
            let stage = pipe.take_stage(Moment::ZERO).expect("it is staged");
            pipe.took(stage.len());
            pipe.sent(Ok(()), stage);
            let before = pipe.outgoing();
            events(&pipe);
            assert_eq!(pipe.ended_at(before), unwritten, "{what}");
        }
    }
}
