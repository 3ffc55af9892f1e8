//! Carries the bytes of a worker's connections through its ring, so that `io_uring_enter` is all that touches a socket.
//!
//! A connection's receive stays posted for as long as the protocol takes what comes; the kernel puts bytes into
//! buffers of its own choice (`provided.rs`). It would go on to receive all that the socket holds before the protocol is
//! asked, so where that was too much, a receive brings one buffer at a time until the socket is empty again. What connections stage in a turn of the loop is put into the ring at the
//! end of the turn, one send for each, and leaves with the same `io_uring_enter` that waits for what comes next.
//!
//! Nearly every send finds room and says nothing when it is done: it either carries all of its bytes while the kernel
//! takes the submission, or completes with what it could not do (`MSG_WAITALL | MSG_DONTWAIT` and
//! `IOSQE_CQE_SKIP_SUCCESS`). So once the kernel has taken all submissions, a send that has not been heard of is done.
//! A completion would end the very wait that it was submitted with, and cost a second one.
#![allow(unsafe_code)]

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use monoio::foreign::{self, Foreign};
use slab::Slab;

use super::pipe::Pipe;
use super::provided::{GROUP, Provided, SIZE};
use super::socket::Socket;
use crate::metrics::WorkerBlock;
use crate::time::timers::Timers;

/// What the ring does for the connections of one worker.
pub struct Carrier {
    provided: Rc<Provided>,
    connections: RefCell<Slab<Connection>>,
    /// Connections that may have something to send.
    ready: RefCell<Vec<usize>>,
    /// Connections whose send has been put into the ring and will say nothing if it succeeds.
    silent: RefCell<Vec<usize>>,
    /// Receives that found no buffer.
    starved: Cell<u16>,
    /// Wakes the root future, which sends at the end of the turn.
    root: OnceCell<Waker>,
    timers: Rc<Timers>,
    counts: Arc<WorkerBlock>,
    /// What was being sent when the loop ended: kept for as long as the ring is.
    unfinished: RefCell<Vec<Vec<u8>>>,
}

/// One connection's place with a carrier. Dropping it ends what goes on; the kernel closes the socket after that.
pub(super) struct Line {
    carrier: Rc<Carrier>,
    key: usize,
}

struct Connection {
    socket: RawFd,
    pipe: Rc<Pipe>,
    task: Waker,
    receive: Receive,
    /// It has sent more at a time than we take: the next receive brings one buffer and no more.
    once: bool,
    send: Send,
    /// It is in `Carrier::ready`.
    is_ready: bool,
    /// Its line is gone; it goes when nothing of it is in the ring any more.
    left: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receive {
    Idle,
    Posted,
    Cancelled,
}

enum Send {
    Idle,
    /// In the ring. Done when all is settled and nothing has been heard of it.
    Silent(Vec<u8>),
    /// In the ring, with so many bytes sent before. Done with its completion.
    Told(Vec<u8>, usize),
    /// So many bytes have been sent; the rest is to be sent when there is room.
    Short(Vec<u8>, usize),
}

/// What an operation is for; the lowest bits of its user data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Receive = 0,
    Send = 1,
    Nudge = 2,
}

impl Kind {
    fn of(self, key: usize) -> u64 {
        (key as u64) << 2 | self as u64
    }
}

impl Carrier {
    /// A carrier for the ring of the runtime that runs on this thread.
    ///
    /// # Errors
    /// When there is no such ring, or it takes no buffers.
    pub(super) fn attach(timers: Rc<Timers>, counts: Arc<WorkerBlock>) -> io::Result<Rc<Carrier>> {
        let provided = Provided::register(foreign::descriptor()?)?;
        let carrier = Rc::new(Carrier {
            provided,
            connections: RefCell::default(),
            ready: RefCell::default(),
            silent: RefCell::default(),
            starved: Cell::new(0),
            root: OnceCell::new(),
            timers,
            counts,
            unfinished: RefCell::default(),
        });
        foreign::attach(Rc::clone(&carrier) as Rc<dyn Foreign>)?;
        Ok(carrier)
    }

    /// Takes a connection on. Its task is woken when there is something to do.
    pub(super) fn line(self: &Rc<Self>, socket: &Socket, pipe: &Rc<Pipe>, cx: &Context<'_>) -> Line {
        let key = self.connections.borrow_mut().insert(Connection {
            socket: socket.number(),
            pipe: Rc::clone(pipe),
            task: cx.waker().clone(),
            receive: Receive::Idle,
            once: false,
            send: Send::Idle,
            is_ready: false,
            left: false,
        });
        Line { carrier: Rc::clone(self), key }
    }

    /// Says how to wake the root future; the first call counts.
    pub(super) fn set_root(&self, root: &Waker) {
        self.root.get_or_init(|| root.clone());
    }

    /// Puts all that is staged into the ring. To be called at the end of each turn of the loop in which a task ran.
    pub(super) fn send(&self) {
        let mut ready = self.ready.take();
        for key in ready.drain(..) {
            self.send_for(key);
        }
        // Those whom the ring had no room for wait for the kernel to take what is in it. The list keeps its room.
        ready.append(&mut self.ready.borrow_mut());
        *self.ready.borrow_mut() = ready;
    }

    /// Lets go of all connections: the loop has ended, and their tasks with it.
    pub(super) fn end(&self) {
        let mut connections = self.connections.take();
        for (_, connection) in &mut connections {
            if let Send::Silent(bytes) | Send::Told(bytes, _) =
                std::mem::replace(&mut connection.send, Send::Idle)
            {
                self.unfinished.borrow_mut().push(bytes);
            }
        }
        // Their wakers held the tasks, and these their lines: all of that is dropped here.
        drop(connections);
    }

    fn send_for(&self, key: usize) {
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(key) else { return };
        connection.is_ready = false;
        if connection.left {
            return remove_if_over(&mut connections, key);
        }
        let (bytes, from, flags) = match std::mem::replace(&mut connection.send, Send::Idle) {
            Send::Idle => match connection.pipe.take_stage(self.timers.now()) {
                Some(stage) => (stage, 0, libc::MSG_WAITALL | libc::MSG_DONTWAIT),
                None => return,
            },
            // The kernel waits for room, sends what fits, and tells.
            Send::Short(bytes, from) => (bytes, from, 0),
            Send::Silent(bytes) => {
                connection.send = Send::Silent(bytes);
                return self.nudge();
            }
            told @ Send::Told(..) => {
                connection.send = told;
                return;
            }
        };
        let silent = flags != 0 && !connection.pipe.waits_for_send();
        let rest = &bytes[from..];
        let entry = opcode::Send::new(types::Fd(connection.socket), rest.as_ptr(), rest.len() as u32)
            .flags(flags | libc::MSG_NOSIGNAL)
            .build()
            .flags(if silent { squeue::Flags::SKIP_SUCCESS } else { squeue::Flags::empty() });
        connection.pipe.took(rest.len());
        // WHY UNSAFE: the kernel reads the bytes when it takes the submission, or later.
        // SAFETY: they are on the heap, and are kept there, unchanged, by `Connection::send` until the send has
        // completed, or until it is settled that it has. A connection is not removed before that.
        let pushed = unsafe { foreign::push(entry, Kind::Send.of(key)) };
        match (pushed, silent) {
            (Ok(()), true) => {
                connection.send = Send::Silent(bytes);
                self.silent.borrow_mut().push(key);
            }
            (Ok(()), false) => connection.send = Send::Told(bytes, from),
            (Err(_), _) => {
                connection.pipe.left(bytes.len() - from);
                connection.send = Send::Short(bytes, from);
                connection.is_ready = true;
                self.ready.borrow_mut().push(key);
            }
        }
    }

    /// Ends the next wait at once, for somebody who waits for a send that says nothing.
    fn nudge(&self) {
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: this one does not. If it cannot be put into the ring, then the ring is full and will not wait.
        let _ = unsafe { foreign::push(opcode::Nop::new().build(), Kind::Nudge.of(0)) };
    }

    fn post_receive(&self, key: usize, connection: &mut Connection) {
        let socket = types::Fd(connection.socket);
        let entry = if connection.once {
            opcode::Recv::new(socket, null_mut(), SIZE as u32)
                .buf_group(GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(socket, GROUP).build()
        };
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: this one does not: it takes its buffers from the ring of buffers, which lives as long as the ring.
        match unsafe { foreign::push(entry, Kind::Receive.of(key)) } {
            Ok(()) => connection.receive = Receive::Posted,
            // The ring is full, and the kernel takes nothing from it before the loop's next turn.
            Err(_) => connection.task.wake_by_ref(),
        }
    }

    /// A receive has brought something, or has ended.
    fn received(&self, connection: &mut Connection, result: i32, flags: u32) {
        if !cqueue::more(flags) {
            connection.receive = Receive::Idle;
        }
        let piece = self.provided.take(result, flags);
        let pipe = &connection.pipe;
        match (piece, -result) {
            (Some(_), 0) | (None, 0) => pipe.closed(),
            (Some(piece), _) => {
                connection.once = piece.len() == SIZE;
                pipe.arrived(piece, self.timers.now(), &self.counts);
            }
            (None, libc::ENOBUFS) => self.starved.set(self.starved.get().saturating_add(1)),
            // The task posts it anew if it wants more by now.
            (None, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            (None, errno) => pipe.failed(&io::Error::from_raw_os_error(errno)),
        }
        connection.task.wake_by_ref();
    }

    /// A send has sent a part, or nothing, or has been waited for.
    fn told(&self, key: usize, connection: &mut Connection, result: i32) {
        let (bytes, from) = match std::mem::replace(&mut connection.send, Send::Idle) {
            Send::Silent(bytes) => (bytes, 0),
            Send::Told(bytes, from) => (bytes, from),
            other => return connection.send = other,
        };
        let n = match usize::try_from(result) {
            Ok(n) => n,
            Err(_) if matches!(-result, libc::EAGAIN | libc::EINTR) => 0,
            Err(_) => {
                connection.pipe.left(bytes.len() - from);
                return self.sent(connection, Err(io::Error::from_raw_os_error(-result)), bytes);
            }
        };
        self.counts.sends.add(1);
        self.counts.bytes_sent.add(n as u64);
        let from = from + n;
        if from == bytes.len() {
            return self.sent(connection, Ok(()), bytes);
        }
        connection.pipe.left(bytes.len() - from);
        if n > 0 {
            connection.pipe.sent_some(self.timers.now());
        }
        connection.send = Send::Short(bytes, from);
        self.make_ready(key, connection);
    }

    /// Nothing was heard of a send, and now nothing will be: it has carried all of its bytes.
    fn settle(&self, key: usize, connection: &mut Connection) {
        match std::mem::replace(&mut connection.send, Send::Idle) {
            Send::Silent(bytes) => {
                self.counts.sends.add(1);
                self.counts.bytes_sent.add(bytes.len() as u64);
                self.sent(connection, Ok(()), bytes);
            }
            // It was heard of.
            other => connection.send = other,
        }
        if connection.pipe.has_stage() {
            self.make_ready(key, connection);
        }
    }

    fn sent(&self, connection: &mut Connection, result: io::Result<()>, bytes: Vec<u8>) {
        let wake = connection.pipe.waits_for_send() || result.is_err();
        connection.pipe.sent(result, bytes);
        if wake {
            connection.task.wake_by_ref();
        }
    }

    fn make_ready(&self, key: usize, connection: &mut Connection) {
        if !std::mem::replace(&mut connection.is_ready, true) {
            self.ready.borrow_mut().push(key);
            if let Some(root) = self.root.get() {
                root.wake_by_ref();
            }
        }
    }
}

/// Removes a connection whose line is gone, once nothing of it is in the ring.
fn remove_if_over(connections: &mut Slab<Connection>, key: usize) {
    let over = |connection: &Connection| {
        let sending = matches!(connection.send, Send::Silent(_) | Send::Told(..));
        connection.left && connection.receive == Receive::Idle && !sending && !connection.is_ready
    };
    if connections.get(key).is_some_and(over) {
        connections.remove(key);
    }
}

impl Foreign for Carrier {
    fn complete(&self, user_data: u64, result: i32, flags: u32) {
        let key = (user_data >> 2) as usize;
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(key) else { return };
        if user_data == Kind::Receive.of(key) {
            self.received(connection, result, flags);
        } else if user_data == Kind::Send.of(key) {
            self.told(key, connection, result);
        }
        remove_if_over(&mut connections, key);
    }

    fn settled(&self) {
        let mut connections = self.connections.borrow_mut();
        for key in self.silent.borrow_mut().drain(..) {
            if let Some(connection) = connections.get_mut(key) {
                self.settle(key, connection);
                remove_if_over(&mut connections, key);
            }
        }
        if let (false, Some(root)) = (self.ready.borrow().is_empty(), self.root.get()) {
            root.wake_by_ref();
        }
        let starved = self.starved.replace(0);
        if starved > 0 {
            self.provided.add(starved.max(self.provided.known()));
        }
    }
}

/// Tries on a ring of this thread what carrying takes: receives that stay posted, and sends that speak only when they
/// fall short.
///
/// # Errors
/// What the kernel says, or that it does otherwise.
pub(super) fn rehearse(ring: &mut IoUring) -> io::Result<()> {
    const RECEIVE: u64 = 1;
    const SHORT: u64 = 2;
    let provided = Provided::register(ring.as_raw_fd())?;
    let (near, far) = UnixStream::pair()?;
    let send = |from: &UnixStream, bytes: &[u8]| {
        opcode::Send::new(types::Fd(from.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
    };
    let few = [7; 16];
    let many = vec![0; 8 << 20];
    let receive = opcode::RecvMulti::new(types::Fd(far.as_raw_fd()), GROUP).build().user_data(RECEIVE);
    for (entries, expected) in [
        (vec![receive, send(&near, &few)], RECEIVE),
        // Nobody receives at that end, so this is more than it takes.
        (vec![send(&far, &many).user_data(SHORT)], SHORT),
    ] {
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: what these point to lives to the end of this function, and the kernel is done with it when it has
        // taken the submission.
        unsafe { ring.submission().push_multiple(&entries) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let told: Vec<_> =
            ring.completion().map(|told| (told.user_data(), told.result(), told.flags())).collect();
        let as_expected = match told[..] {
            [(RECEIVE, result, flags)] if expected == RECEIVE => {
                cqueue::more(flags) && provided.take(result, flags).is_some_and(|piece| *piece == few)
            }
            [(SHORT, result, _)] if expected == SHORT => (1..many.len() as i32).contains(&result),
            _ => false,
        };
        if !as_expected {
            return Err(io::Error::other(format!("the ring carries bytes in another way: {told:?}")));
        }
    }
    Ok(())
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").field("provided", &self.provided).finish_non_exhaustive()
    }
}

impl Line {
    /// What the connection's task does in each round: sees to it that bytes come while the protocol takes them, and that
    /// go what it has staged.
    pub(super) fn turn(&self, cx: &Context<'_>) {
        let mut connections = self.carrier.connections.borrow_mut();
        let connection = &mut connections[self.key];
        if !connection.task.will_wake(cx.waker()) {
            connection.task = cx.waker().clone();
        }
        // With news the protocol has not seen yet what came.
        if !connection.pipe.has_news() {
            match (connection.pipe.wants_more(), connection.receive) {
                (true, Receive::Idle) => self.carrier.post_receive(self.key, connection),
                // What comes from now on waits in the socket, and in the end with the peer.
                (false, Receive::Posted) => self.cancel_receive(connection),
                _ => {}
            }
        }
        if connection.pipe.has_stage() {
            self.carrier.make_ready(self.key, connection);
        }
    }

    fn cancel_receive(&self, connection: &mut Connection) {
        connection.once = true;
        if foreign::cancel(Kind::Receive.of(self.key)).is_ok() {
            connection.receive = Receive::Cancelled;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut connections = self.carrier.connections.borrow_mut();
        // Without a connection the loop has ended.
        let Some(connection) = connections.get_mut(self.key) else { return };
        connection.left = true;
        if connection.receive == Receive::Posted {
            self.cancel_receive(connection);
        }
        if matches!(connection.send, Send::Told(..)) {
            // It may wait for room that never comes. Without a ring any more there is nothing to wait.
            let _ = foreign::cancel(Kind::Send.of(self.key));
        }
        remove_if_over(&mut connections, self.key);
    }
}
