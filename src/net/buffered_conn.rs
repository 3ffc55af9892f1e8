//! [`BufferedConn`] stands between a socket and a protocol: bytes received, bytes to send, and the state of both directions.
//!
//! A protocol takes what has arrived by reference ([`BufferedConn::next_slice`]) and stages bytes and payloads to be sent
//! ([`BufferedConn::write_buf`]). For libraries [`Io`] implements tokio's poll traits, which hyper reads and writes. Neither waits
//! for the socket: a read takes what has arrived, a write only stages bytes. So all answers of one turn leave in one
//! send. The stage is bounded: when the peer does not read, the protocol finds no room, and does not go on.
//!
//! The socket side is [`stream`](super::stream), and [`ring_transport`](super::ring_transport) where bytes go through the ring. The protocol is polled by the same
//! task that moves the bytes, so it need not be woken for them.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffers::Buffers;
use super::read_buffer::ReadBuffer;
use super::ready::ReadyList;
use super::secure::Secure;
use super::socket::Socket;
use super::write_buffer::WriteBuffer;
pub use super::write_buffer::{End, Outgoing};
use crate::buffer::{Output, Slice};
use crate::metrics::WorkerBlock;
use crate::time::Moment;

/// The state of one connection's bytes.
pub struct BufferedConn {
    pub(super) buffers: Rc<Buffers>,
    pub(super) read_buffer: RefCell<ReadBuffer>,
    pub(super) write_buffer: RefCell<WriteBuffer>,
    /// TLS, where bytes are not plaintext.
    pub(super) secure: OnceCell<Box<RefCell<Secure>>>,
    /// Asks for a send of the stage.
    sender: RefCell<Sender>,
    /// A send has been asked for.
    asked: Cell<bool>,
    /// The protocol has to be polled for an event.
    pub(super) protocol_ready: Cell<bool>,
    /// The connection is to be cut, with nothing more sent.
    aborted: Cell<bool>,
    /// The protocol is done: the connection ends when all that is staged has left.
    closing: Cell<bool>,
    /// When the peer last sent something, by the worker's coarse clock.
    received_at: Cell<Moment>,
    has_received: Cell<bool>,
}

/// The sender of a connection's staged bytes.
#[derive(Default)]
pub(super) enum Sender {
    /// Nobody yet: the connection's first turn looks at the stage.
    #[default]
    None,
    /// The end of the turn, for a key of this list.
    EndOfTurn(Rc<ReadyList>, u32),
    /// The connection's task. In a box, for a ring needs none.
    Task(Box<Waker>),
}

impl BufferedConn {
    /// A connection without bytes, at `now`.
    pub fn new(buffers: Rc<Buffers>, now: Moment) -> Rc<BufferedConn> {
        Rc::new(BufferedConn {
            buffers,
            read_buffer: RefCell::default(),
            write_buffer: RefCell::default(),
            secure: OnceCell::new(),
            sender: RefCell::default(),
            asked: Cell::new(false),
            protocol_ready: Cell::new(false),
            aborted: Cell::new(false),
            closing: Cell::new(false),
            received_at: Cell::new(now),
            has_received: Cell::new(false),
        })
    }

    /// The protocol's side, for libraries.
    pub fn io(self: &Rc<Self>) -> Io {
        Io(Rc::clone(self))
    }

    /// Takes the next bytes that have arrived, as they lie in a buffer of the worker. Bytes that a protocol has not taken
    /// at the end of its turn are copied to the heap, and nothing more is received until it has.
    pub fn next_slice(&self) -> Option<Slice> {
        self.read_buffer.borrow_mut().next()
    }

    /// The stage for bytes and payloads that are to be sent next. Bytes of the connection's own protocol leave at the
    /// end of the turn; others call [`BufferedConn::flush`].
    pub fn write_buf(&self) -> RefMut<'_, Output> {
        RefMut::map(self.write_buffer.borrow_mut(), |write_buffer| write_buffer.write_buf(&self.buffers))
    }

    /// How many bytes should still be staged. The bound is soft: a frame that is begun may be finished beyond it. After
    /// a 0, the protocol is polled once there is room again.
    pub fn room(&self) -> usize {
        self.write_buffer.borrow_mut().room()
    }

    /// Asks for a send of the stage at the end of this turn. A repeated request costs next to nothing.
    pub fn flush(&self) {
        if self.asked.replace(true) {
            return;
        }
        match &*self.sender.borrow() {
            Sender::None => self.asked.set(false),
            Sender::EndOfTurn(list, key) => list.push(*key),
            Sender::Task(task) => task.wake_by_ref(),
        }
    }

    /// Gives back memory that only a connection on which bytes move needs.
    pub fn shrink(&self) {
        self.read_buffer.borrow_mut().shrink();
        if let Some(secure) = self.secure.get() {
            secure.borrow_mut().shrink();
        }
    }

    /// Cuts the connection: nothing more is sent, not even what is staged.
    pub fn abort(&self) {
        self.aborted.set(true);
    }

    /// The moment of the peer's last bytes.
    pub fn received_at(&self) -> Moment {
        self.received_at.get()
    }

    /// The moment since which bytes wait that the peer does not take.
    pub fn sending_since(&self) -> Option<Moment> {
        self.write_buffer.borrow().sending_since()
    }

    /// The end of the peer's side, if it has ended.
    pub fn read_end(&self) -> Option<End> {
        self.read_buffer.borrow().end
    }

    /// The end of our side, if nothing can be sent any more.
    pub fn write_end(&self) -> Option<End> {
        self.write_buffer.borrow().end
    }

    /// Looks at the first bytes without taking them: `Some(true)` when they are `expected`, `Some(false)` when they
    /// cannot become it, `None` while too few have arrived.
    pub fn starts_with(&self, expected: &[u8]) -> Option<bool> {
        self.read_buffer.borrow_mut().starts_with(expected)
    }

    /// Whether the peer has sent anything yet.
    pub fn has_received(&self) -> bool {
        self.has_received.get()
    }

    /// How many bytes have gone out so far.
    pub fn outgoing(&self) -> Outgoing {
        self.write_buffer.borrow().outgoing()
    }

    /// Whether the connection is over, and no byte that the protocol staged after `before` has reached the kernel, or
    /// ever will.
    pub fn ended_at(&self, before: Outgoing) -> bool {
        let now = self.outgoing();
        let discards = self.discards();
        // A peer that has closed its side may still take staged bytes; but the protocol stages nothing more.
        let silent = discards || self.read_end().is_some();
        (silent && now.staged_nothing_since(before)) || (discards && now.sent_nothing_since(before))
    }

    /// Whether staged bytes will not be sent any more.
    pub(super) fn discards(&self) -> bool {
        let failed = |end: Option<End>| matches!(end, Some(End::Failed(_)));
        self.is_aborted() || failed(self.write_end()) || failed(self.read_end())
    }

    // The socket's side.

    /// Sets the sender of bytes staged from now on.
    pub(super) fn set_sender(&self, sender: Sender) {
        self.asked.set(false);
        *self.sender.borrow_mut() = sender;
    }

    /// Ends a request to send: the sender looks at the stage now, and can be asked again.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.replace(false)
    }

    /// Whether a send was asked for, and the sender has not looked at the stage since.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.get()
    }

    /// Notes that the sender is going to look at the stage in any case. False if that is known already.
    pub(super) fn ask(&self) -> bool {
        !self.asked.replace(true)
    }

    pub(super) fn take_protocol_ready(&self) -> bool {
        self.protocol_ready.replace(false)
    }

    pub(super) fn protocol_ready(&self) -> bool {
        self.protocol_ready.get()
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.get()
    }

    /// Notes that the protocol is done.
    pub(super) fn close(&self) {
        self.closing.set(true);
        if let Some(secure) = self.secure.get() {
            secure.borrow_mut().close();
        }
    }

    /// Whether the protocol has taken all that came, or cannot go on with what there is. Bytes that it leaves are kept,
    /// and memory that it does not need is released.
    pub(super) fn wants_more(&self) -> bool {
        let discards = self.discards();
        self.write_buffer.borrow_mut().release(&self.buffers, discards);
        let mut read_buffer = self.read_buffer.borrow_mut();
        read_buffer.keep();
        read_buffer.wants_more() && self.secure.get().is_none_or(|secure| secure.borrow().wants_more())
    }

    /// Receives the bytes that have arrived, if there are any.
    pub(super) fn receive(&self, socket: &Socket, now: Moment, counts: &WorkerBlock) {
        let Some(buffer) = self.buffers.pool().take() else {
            return debug_assert!(false, "a reserve is always free");
        };
        let result = socket.receive(self.buffers.pool(), buffer);
        let slice = self.buffers.received(buffer, *result.as_ref().unwrap_or(&0));
        match (result, slice) {
            (Ok(_), Some(slice)) => self.arrived(slice, now, counts),
            (Ok(_), None) => self.closed(),
            (Err(error), _)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            (Err(error), _) => self.failed(&error),
        }
    }

    /// Takes received bytes.
    pub(super) fn arrived(&self, slice: Slice, now: Moment, counts: &WorkerBlock) {
        counts.receives.add(1);
        counts.bytes_received.add(slice.len() as u64);
        self.received_at.set(now);
        self.has_received.set(true);
        match self.secure.get() {
            None => self.read_buffer.borrow_mut().arrived(slice),
            Some(secure) => secure.borrow_mut().arrived(slice, &self.buffers),
        }
        self.protocol_ready.set(true);
    }

    /// Notes that the peer has closed its side.
    pub(super) fn closed(&self) {
        self.read_buffer.borrow_mut().end = Some(End::Closed);
        self.protocol_ready.set(true);
    }

    /// Notes that nothing can be received any more.
    pub(super) fn failed(&self, error: &io::Error) {
        self.read_buffer.borrow_mut().end = Some(End::Failed(error.kind()));
        self.protocol_ready.set(true);
    }

    /// Drops bytes that arrived and were not taken: the protocol is done.
    pub(super) fn discard_received(&self) {
        self.read_buffer.borrow_mut().discard();
        if let Some(secure) = self.secure.get() {
            secure.borrow_mut().deafen();
        }
    }

    /// Takes the staged bytes for a send; none while another send is in flight. A protocol that found no room gets
    /// news.
    pub(super) fn take_write_buf(&self, now: Moment) -> Option<Output> {
        if self.discards() {
            return None;
        }
        if let Some(secure) = self.secure.get() {
            return self.take_sealed(&mut secure.borrow_mut(), now);
        }
        let (stage, was_blocked) = self.write_buffer.borrow_mut().take(now)?;
        if was_blocked {
            self.protocol_ready.set(true);
        }
        Some(stage)
    }

    /// Whether staged bytes may be taken for a send.
    pub(super) fn has_staged(&self) -> bool {
        self.has_output() && !self.discards()
    }

    fn has_output(&self) -> bool {
        let staged = self.write_buffer.borrow().waiting();
        match self.secure.get() {
            None => staged > 0,
            Some(secure) => secure.borrow().has_output(staged),
        }
    }

    /// Takes the staged bytes as records, behind what TLS itself has to send.
    fn take_sealed(&self, secure: &mut Secure, now: Moment) -> Option<Output> {
        let mut write_buffer = self.write_buffer.borrow_mut();
        if write_buffer.sending_since().is_some() || !secure.has_output(write_buffer.waiting()) {
            return None;
        }
        let taken = if secure.is_open() { write_buffer.take(now) } else { None };
        let (stage, was_blocked) = taken.unzip();
        let sealed = secure.seal(stage.as_ref(), &self.buffers);
        write_buffer.begin_sealed(now, stage.as_ref().map_or(0, Output::len));
        stage.into_iter().for_each(|stage| self.buffers.give(stage));
        if sealed.is_none() {
            write_buffer.sent(Err(io::ErrorKind::InvalidData.into()));
        }
        if sealed.is_none() || was_blocked == Some(true) {
            self.protocol_ready.set(true);
        }
        sealed
    }

    /// Whether the end of the next send is waited for: by a protocol that found the stage full, or by the connection's
    /// end.
    pub(super) fn waits_for_send(&self) -> bool {
        self.closing.get() || self.write_buffer.borrow().is_blocked()
    }

    /// Counts bytes that the kernel has taken or is about to take.
    pub(super) fn took(&self, n: usize) {
        self.write_buffer.borrow_mut().took(n);
    }

    /// Takes back bytes that the kernel has left after all.
    pub(super) fn left(&self, n: usize) {
        self.write_buffer.borrow_mut().left(n);
    }

    /// Notes that some bytes left while others wait on: the peer is alive.
    pub(super) fn sent_some(&self, now: Moment) {
        self.write_buffer.borrow_mut().sent_some(now);
    }

    /// Ends a send. A failure is news for the protocol.
    pub(super) fn sent(&self, result: io::Result<()>, output: Output) {
        if result.is_err() {
            self.protocol_ready.set(true);
        }
        self.write_buffer.borrow_mut().sent(result);
        self.buffers.give(output);
    }

    /// Whether all staged bytes have been sent, or cannot be.
    pub(super) fn is_drained(&self) -> bool {
        self.discards() || (!self.has_output() && self.sending_since().is_none())
    }

    /// Stages as much of `slices` as there is room for.
    fn write<'a>(&self, slices: impl Iterator<Item = &'a [u8]> + Clone) -> Poll<io::Result<usize>> {
        let mut write_buffer = self.write_buffer.borrow_mut();
        if let Some(end) = write_buffer.end {
            return Poll::Ready(Err(end.as_error()));
        }
        let wanted: usize = slices.clone().map(<[u8]>::len).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut room = write_buffer.room().min(wanted);
        if room == 0 {
            return match self.read_end() {
                // Nothing will be sent any more.
                Some(End::Failed(kind)) => Poll::Ready(Err(kind.into())),
                _ => Poll::Pending,
            };
        }
        let written = room;
        let bytes = write_buffer.write_buf(&self.buffers).bytes();
        bytes.reserve(written);
        for slice in slices {
            let n = slice.len().min(room);
            bytes.extend_from_slice(&slice[..n]);
            room -= n;
        }
        Poll::Ready(Ok(written))
    }
}

impl Drop for BufferedConn {
    fn drop(&mut self) {
        self.write_buffer.get_mut().release(&self.buffers, true);
        if let Some(secure) = self.secure.get_mut() {
            secure.get_mut().discard(&self.buffers);
        }
    }
}

impl fmt::Debug for BufferedConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (read_buffer, write_buffer) = (self.read_buffer.borrow(), self.write_buffer.borrow());
        f.debug_struct("BufferedConn")
            .field("received", &read_buffer.waiting())
            .field("staged", &write_buffer.waiting())
            .field("read_end", &read_buffer.end)
            .field("write_end", &write_buffer.end)
            .finish_non_exhaustive()
    }
}

/// The protocol's side of a connection, for libraries.
pub struct Io(Rc<BufferedConn>);

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut read_buffer = self.0.read_buffer.borrow_mut();
        if !read_buffer.is_empty() {
            read_buffer.read(buf);
            return Poll::Ready(Ok(()));
        }
        match read_buffer.end {
            None => Poll::Pending,
            Some(End::Closed) => Poll::Ready(Ok(())),
            Some(End::Failed(kind)) => Poll::Ready(Err(kind.into())),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.write(std::iter::once(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.write(slices.iter().map(|slice| &**slice))
    }

    // With vectored writes a library hands a payload over as it is; without, it may first copy the beginning of one
    // behind its head.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.write_end() {
            None => Poll::Ready(Ok(())),
            Some(end) => Poll::Ready(Err(end.as_error())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The socket side sends what is staged and closes once the protocol is done: there is nothing to wait for.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
