//! Carries the bytes of a worker's connections through its ring, so that `io_uring_enter` is all that touches a socket.
//!
//! A connection's receive stays posted for as long as the protocol takes bytes. The kernel puts them into buffers of
//! its own choice ([`buffer_ring`](super::buffer_ring)). It would receive all that the socket holds before the protocol is asked. Where that
//! was too much, a receive brings one buffer at a time until the socket is empty again.
//!
//! Connections stage bytes in a turn of the loop. At its end, one send for each of them goes into the ring. The sends
//! leave with the `io_uring_enter` that waits for the next completions.
//!
//! Nearly every send finds room in the socket, and then completes without a CQE. It either carries all of its bytes
//! while the kernel takes the submission, or reports a shortfall (`MSG_WAITALL | MSG_DONTWAIT` and
//! `IOSQE_CQE_SKIP_SUCCESS`). So a send without a CQE is done once the kernel has taken all submissions. A CQE would
//! end the very wait that it was submitted with, and cost a second one.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;

use super::buffer_ring::{BufferRing, GROUP};
use super::buffered_conn::{BufferedConn, Sender};
use super::buffers::Buffers;
use super::data_ring::{Completion, DataRing, Kind, Tag};
use super::message::{Messages, Send};
use super::ready::ReadyList;
use super::socket::Socket;
use crate::buffer::{Output, Pool};
use crate::metrics::WorkerBlock;
use crate::time::timers::Timers;

/// Receives and sends on the ring, for all connections of one worker.
pub struct RingTransport {
    ring: Rc<DataRing>,
    buffer_ring: BufferRing,
    messages: Messages,
    connections: RefCell<Slab<Connection>>,
    /// Connections that may have bytes to send.
    ready: Rc<ReadyList>,
    /// Connections whose send is in the ring and completes without a CQE if it succeeds.
    silent: RefCell<Vec<usize>>,
    /// Connections whose receive found no buffer, in order.
    starved: RefCell<VecDeque<usize>>,
    timers: Rc<Timers>,
    counts: Arc<WorkerBlock>,
}

/// A connection's place with a transport. Dropping it ends its operations; the kernel closes the socket after that.
pub(super) struct RingConnection {
    transport: Rc<RingTransport>,
    key: usize,
}

struct Connection {
    socket: RawFd,
    conn: Rc<BufferedConn>,
    task: Waker,
    receive: Receive,
    /// The last receive filled a buffer, or the protocol did not take its bytes: the next brings one buffer, no more.
    once: bool,
    send: SendState,
    /// Its handle is gone; the connection is removed when no operation of it is in the ring any more.
    left: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receive {
    Idle,
    Posted,
    Cancelled,
}

enum SendState {
    Idle,
    /// In the ring. Done when all submissions are consumed without a CQE of it.
    SkipCqe(Output),
    /// In the ring: bytes sent before, and bytes that it carries. Done with its CQE.
    AwaitCqe(Output, usize, usize),
    /// Bytes sent so far; the rest leaves when there is room.
    Partial(Output, usize),
}

const fn tag(kind: Kind, key: usize) -> Tag {
    Tag { kind, key }
}

impl RingTransport {
    /// A transport for the connections of `ring`'s worker.
    ///
    /// # Errors
    /// When the ring takes no buffers.
    pub(super) fn new(
        ring: Rc<DataRing>,
        buffers: Rc<Buffers>,
        timers: Rc<Timers>,
        counts: Arc<WorkerBlock>,
    ) -> io::Result<Rc<RingTransport>> {
        Ok(Rc::new(RingTransport {
            buffer_ring: BufferRing::register(ring.descriptor(), buffers)?,
            ring,
            messages: Messages::default(),
            connections: RefCell::default(),
            ready: Rc::default(),
            silent: RefCell::default(),
            starved: RefCell::default(),
            timers,
            counts,
        }))
    }

    /// Takes a connection on. Its task is woken when it has something to do.
    pub(super) fn register(
        self: &Rc<Self>,
        socket: &Socket,
        conn: &Rc<BufferedConn>,
        cx: &Context<'_>,
    ) -> RingConnection {
        let key = self.connections.borrow_mut().insert(Connection {
            socket: socket.number(),
            conn: Rc::clone(conn),
            task: cx.waker().clone(),
            receive: Receive::Idle,
            once: false,
            send: SendState::Idle,
            left: false,
        });
        let short = u32::try_from(key).expect("far fewer connections than 2^32");
        conn.set_sender(Sender::EndOfTurn(Rc::clone(&self.ready), short));
        RingConnection { transport: Rc::clone(self), key }
    }

    /// Puts all staged bytes into the ring. To be called at the end of each turn, before the wait. True if a task was
    /// woken.
    pub(super) fn send(&self) -> bool {
        let woken = Cell::new(false);
        // Connections for which the ring has no room wait for the kernel to take its entries.
        self.ready.drain(|key| self.send_for(key as usize, &woken));
        self.buffer_ring.refill();
        woken.get() | self.feed_starved()
    }

    /// Lets receives that found no buffer go on, as far as there are buffers now.
    fn feed_starved(&self) -> bool {
        let mut starved = self.starved.borrow_mut();
        if starved.is_empty() {
            return false;
        }
        // The others have their turn when these have been served.
        let served = starved.len().min(self.buffer_ring.standing().into());
        let connections = self.connections.borrow();
        for key in starved.drain(..served) {
            if let Some(connection) = connections.get(key) {
                connection.task.wake_by_ref();
            }
        }
        served > 0
    }

    fn send_for(&self, key: usize, woken: &Cell<bool>) {
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(key) else { return };
        connection.conn.take_asked();
        if connection.left {
            self.leave(key, connection);
            return remove_if_over(&mut connections, key);
        }
        let (output, from, flags) = match std::mem::replace(&mut connection.send, SendState::Idle) {
            SendState::Idle => match connection.conn.take_write_buf(self.timers.now()) {
                Some(stage) => (stage, 0, libc::MSG_WAITALL | libc::MSG_DONTWAIT),
                None => return,
            },
            // The kernel waits for room, sends the bytes that fit, and completes with a CQE.
            SendState::Partial(output, _) if connection.conn.discards() => {
                woken.set(true);
                return self.sent(connection, Err(io::ErrorKind::ConnectionAborted.into()), output);
            }
            SendState::Partial(output, from) => (output, from, 0),
            SendState::SkipCqe(output) => {
                connection.send = SendState::SkipCqe(output);
                return self.ring.wake_with_nop();
            }
            waiting @ SendState::AwaitCqe(..) => {
                connection.send = waiting;
                return;
            }
        };
        // There is room in the stage again.
        if connection.conn.protocol_ready() {
            connection.task.wake_by_ref();
            woken.set(true);
        }
        let socket = types::Fd(connection.socket);
        let Send { entry, bytes } = self.messages.send(socket, &output, from, flags | libc::MSG_NOSIGNAL);
        let silent = flags != 0
            && bytes == output.len()
            && !connection.conn.waits_for_send()
            && self.ring.submits_inline();
        let entry = if silent { entry.flags(squeue::Flags::SKIP_SUCCESS) } else { entry };
        connection.conn.took(bytes);
        // WHY UNSAFE: the kernel reads the bytes when it takes the submission, or later.
        // SAFETY: they are on the heap or in the pool, and are kept there, unchanged, by `Connection::send` until the
        // send has completed, or until it is settled that it has. A connection is not removed before that. The header
        // that says where they are is kept until the kernel has taken the submission.
        let pushed = unsafe { self.ring.push(entry, tag(Kind::Send, key)) };
        match (pushed, silent) {
            (Ok(()), true) => {
                connection.send = SendState::SkipCqe(output);
                self.silent.borrow_mut().push(key);
            }
            (Ok(()), false) => connection.send = SendState::AwaitCqe(output, from, bytes),
            (Err(_), _) => {
                connection.conn.left(bytes);
                connection.send = SendState::Partial(output, from);
                self.wait_for_room(key, connection);
            }
        }
    }

    fn post_receive(&self, key: usize, connection: &mut Connection) {
        let socket = types::Fd(connection.socket);
        let entry = if connection.once {
            opcode::Recv::new(socket, null_mut(), Pool::SIZE as u32)
                .buf_group(GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(socket, GROUP).build()
        };
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: this one does not: it takes its buffers from the ring of buffers, which lives as long as the ring.
        match unsafe { self.ring.push(entry, tag(Kind::Receive, key)) } {
            Ok(()) => connection.receive = Receive::Posted,
            // The ring is full, and the kernel takes nothing from it before the loop's next turn.
            Err(_) => connection.task.wake_by_ref(),
        }
    }

    /// Cancels the receive. If the ring is full, that is tried again.
    fn cancel_receive(&self, key: usize, connection: &mut Connection) {
        if connection.receive != Receive::Posted {
            return;
        }
        connection.once = true;
        match self.ring.cancel(tag(Kind::Receive, key), tag(Kind::Cancel, key)) {
            Ok(()) => connection.receive = Receive::Cancelled,
            Err(_) if connection.left => self.wait_for_room(key, connection),
            Err(_) => connection.task.wake_by_ref(),
        }
    }

    /// Ends the operations of a connection whose handle is gone.
    fn leave(&self, key: usize, connection: &mut Connection) {
        self.cancel_receive(key, connection);
        // The send may wait for room that never comes.
        let waits = matches!(connection.send, SendState::AwaitCqe(..));
        if waits && self.ring.cancel(tag(Kind::Send, key), Tag::IGNORED).is_err() {
            self.wait_for_room(key, connection);
        }
    }

    /// Handles a failed cancel: the receive may have been between two states in which it can be found.
    fn not_cancelled(&self, connection: &mut Connection, result: i32) {
        if result == -libc::ENOENT && connection.receive == Receive::Cancelled {
            connection.receive = Receive::Posted;
            if connection.left {
                connection.conn.flush();
            } else {
                connection.task.wake_by_ref();
            }
        }
    }

    /// Handles a CQE of a receive: bytes, or its end.
    fn received(&self, key: usize, connection: &mut Connection, result: i32, flags: u32) {
        if !cqueue::more(flags) {
            connection.receive = Receive::Idle;
        }
        // The buffer of bytes that are not handed on is free again.
        let slice = self.buffer_ring.take(result, flags);
        if connection.left {
            return;
        }
        match (result, slice) {
            (0, _) => connection.conn.closed(),
            (1.., Some(slice)) => {
                connection.once = slice.len() == Pool::SIZE;
                connection.conn.arrived(slice, self.timers.now(), &self.counts);
            }
            (1.., None) => connection.conn.failed(&io::ErrorKind::InvalidData.into()),
            _ if result == -libc::ENOBUFS => return self.starved.borrow_mut().push_back(key),
            // The task posts the receive anew if it wants more by now.
            _ if matches!(-result, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            _ => connection.conn.failed(&io::Error::from_raw_os_error(-result)),
        }
        connection.task.wake_by_ref();
    }

    /// Handles a CQE of a send: a shortfall, or the end of a send that was waited for.
    fn told(&self, connection: &mut Connection, result: i32) {
        let (output, from, bytes) = match std::mem::replace(&mut connection.send, SendState::Idle) {
            SendState::SkipCqe(output) => {
                let bytes = output.len();
                (output, 0, bytes)
            }
            SendState::AwaitCqe(output, from, bytes) => (output, from, bytes),
            // A CQE for a send that was already treated as finished. We no longer know what the peer received, so abort.
            other => {
                connection.send = other;
                connection.conn.abort();
                return connection.task.wake_by_ref();
            }
        };
        let n = match usize::try_from(result) {
            Ok(n) => n,
            Err(_) if matches!(-result, libc::EAGAIN | libc::EINTR) => 0,
            Err(_) => {
                connection.conn.left(bytes);
                return self.sent(connection, Err(io::Error::from_raw_os_error(-result)), output);
            }
        };
        self.counts.sends.add(1);
        self.counts.bytes_sent.add(n as u64);
        let from = from + n;
        if from == output.len() {
            return self.whole(connection, output);
        }
        connection.conn.left(bytes - n);
        if n > 0 {
            connection.conn.sent_some(self.timers.now());
        }
        connection.send = SendState::Partial(output, from);
        connection.conn.flush();
    }

    /// Ends a send without a CQE: it has carried all of its bytes.
    fn settle(&self, connection: &mut Connection) {
        match std::mem::replace(&mut connection.send, SendState::Idle) {
            SendState::SkipCqe(output) => {
                self.counts.sends.add(1);
                self.counts.bytes_sent.add(output.len() as u64);
                self.whole(connection, output);
            }
            // Its CQE came.
            other => connection.send = other,
        }
    }

    /// A send has carried all of its bytes. Bytes staged meanwhile go next.
    fn whole(&self, connection: &mut Connection, output: Output) {
        self.sent(connection, Ok(()), output);
        if connection.conn.has_staged() {
            connection.conn.flush();
        }
    }

    fn sent(&self, connection: &mut Connection, result: io::Result<()>, output: Output) {
        let wake = connection.conn.waits_for_send() || result.is_err();
        connection.conn.sent(result, output);
        if wake {
            connection.task.wake_by_ref();
        }
    }

    /// Asks for `send_for` once the kernel has taken entries of a full ring.
    fn wait_for_room(&self, key: usize, connection: &mut Connection) {
        if connection.conn.ask() {
            self.ready.push(key as u32);
        }
    }
}

/// Removes a connection whose handle is gone, once no operation of it is in the ring.
fn remove_if_over(connections: &mut Slab<Connection>, key: usize) {
    let over = |connection: &Connection| {
        let sending = matches!(connection.send, SendState::SkipCqe(_) | SendState::AwaitCqe(..));
        connection.left && connection.receive == Receive::Idle && !sending && !connection.conn.is_asked()
    };
    if connections.get(key).is_some_and(over) {
        connections.remove(key).conn.set_sender(Sender::None);
    }
}

impl RingTransport {
    /// Handles the CQE of a connection's operation.
    pub(super) fn complete(&self, completion: Completion) {
        let Completion { tag: Tag { kind, key }, result, flags } = completion;
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(key) else { return };
        match kind {
            Kind::Receive => self.received(key, connection, result, flags),
            Kind::Send => self.told(connection, result),
            Kind::Cancel => self.not_cancelled(connection, result),
            Kind::Awaited | Kind::Ignored => {}
        }
        remove_if_over(&mut connections, key);
    }

    /// Settles the silent sends: all CQEs so far have been handled, and the kernel has taken all operations of before.
    pub(super) fn on_submissions_consumed(&self) {
        self.messages.taken();
        let mut connections = self.connections.borrow_mut();
        for key in self.silent.borrow_mut().drain(..) {
            if let Some(connection) = connections.get_mut(key) {
                self.settle(connection);
                remove_if_over(&mut connections, key);
            }
        }
        let starved = self.starved.borrow().len();
        if starved > 0 {
            self.buffer_ring.grow(u16::try_from(starved).unwrap_or(u16::MAX));
        }
    }
}

impl fmt::Debug for RingTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingTransport").field("buffer_ring", &self.buffer_ring).finish_non_exhaustive()
    }
}

impl RingConnection {
    /// Runs a round of the connection's task: posts a receive while the protocol takes bytes, and flushes staged ones.
    pub(super) fn turn(&self, cx: &Context<'_>) {
        let mut connections = self.transport.connections.borrow_mut();
        let connection = &mut connections[self.key];
        if !connection.task.will_wake(cx.waker()) {
            connection.task = cx.waker().clone();
        }
        // With news, the protocol has not yet seen the bytes that came.
        if !connection.conn.protocol_ready() {
            match (connection.conn.wants_more(), connection.receive) {
                (true, Receive::Idle) => self.transport.post_receive(self.key, connection),
                // Later bytes wait in the socket, and then at the peer.
                (false, Receive::Posted) => self.transport.cancel_receive(self.key, connection),
                _ => {}
            }
        }
        let silent = matches!(connection.send, SendState::SkipCqe(_));
        if connection.conn.has_staged() || (silent && connection.conn.waits_for_send()) {
            connection.conn.flush();
        }
    }
}

impl Drop for RingConnection {
    fn drop(&mut self) {
        let mut connections = self.transport.connections.borrow_mut();
        // Without a connection the loop has ended.
        let Some(connection) = connections.get_mut(self.key) else { return };
        connection.left = true;
        connection.conn.discard_received();
        self.transport.leave(self.key, connection);
        remove_if_over(&mut connections, self.key);
    }
}
