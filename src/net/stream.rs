//! Moves bytes between a socket and its [`BufferedConn`], and runs the protocol that reads and writes there.
//!
//! A single task per connection owns all of it: receiving, sending, and the protocol's future. A turn is receive,
//! protocol, send, in this order, so that everything the protocol wrote in a turn leaves in one send. The protocol is
//! polled only when there is news for it; the end of a send is none, unless a write waited for it.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::buffered_conn::{BufferedConn, Sender};
use super::io_context::IoContext;
use super::socket::Socket;
use crate::buffer::Output;
use crate::time::timers::Timer;

/// How long a finished connection waits for its last bytes to leave, and then for the peer to close.
const LINGER: Duration = Duration::from_secs(2);

/// Rounds of receive, protocol, send in one turn: a fast peer must not keep the task from ever yielding.
const ROUNDS: usize = 8;

/// Runs `protocol` over the socket until it is done, then sends what is staged, closes, and waits for the peer's close. Drops
/// `kept` after all of that.
///
/// Thousands of these wait at once, so they are small: the protocol comes in a box of its own, what epoll alone needs is in
/// boxes, and the future is a block, for that of an `async fn` holds its arguments twice.
pub fn drive<K>(
    local: Rc<IoContext>,
    conn: Rc<BufferedConn>,
    socket: Socket,
    protocol: Pin<Box<impl Future<Output = ()>>>,
    kept: K,
) -> impl Future<Output = ()> {
    let ends = Ends { local, conn, socket };
    async move {
        let Ends { local, conn, socket } = &ends;
        let mut connection = Connection { signal: Arc::new(Signal::default()), linger: None, ends: &ends };
        match local.transport() {
            Some(transport) => {
                let registered = poll_fn(|cx| Poll::Ready(transport.register(socket, conn, cx))).await;
                connection.run(|cx| registered.turn(cx), protocol).await;
            }
            None => {
                let mut receive = Box::pin(receive(local, conn, socket));
                let mut send = Box::pin(send(local, conn, socket));
                let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                conn.set_sender(Sender::Task(Box::new(task)));
                let transfer = |cx: &mut Context<'_>| {
                    conn.take_asked();
                    let _ = receive.as_mut().poll(cx);
                    let _ = send.as_mut().poll(cx);
                };
                connection.run(transfer, protocol).await;
            }
        }
        // The socket is closed before whoever counts it learns that it is gone.
        drop(connection);
        drop(ends);
        drop(kept);
    }
}

/// A socket, the bytes that move there, and the loop that moves them.
struct Ends {
    local: Rc<IoContext>,
    conn: Rc<BufferedConn>,
    socket: Socket,
}

struct Connection<'a> {
    signal: Arc<Signal>,
    /// Since the protocol is done: most of the time there are many that are not.
    linger: Option<Box<Timer>>,
    ends: &'a Ends,
}

impl Connection<'_> {
    /// `transfer` moves bytes as far as it can without waiting, and sees to it that the task is woken when there is
    /// more.
    #[expect(clippy::manual_async_fn, reason = "see `drive`")]
    fn run(
        &mut self,
        mut transfer: impl FnMut(&mut Context<'_>),
        mut protocol: Pin<Box<impl Future<Output = ()>>>,
    ) -> impl Future<Output = ()> {
        async move {
            let waker = Waker::from(Arc::clone(&self.signal));
            poll_fn(|cx| self.turn(cx, &waker, &mut transfer, protocol.as_mut())).await;
            drop(protocol);
            if self.ends.conn.is_aborted() || self.ends.conn.write_end().is_some() {
                return;
            }
            // Closing while bytes of the peer are unread would make the kernel reset the connection, and the peer might
            // lose our last answer: close our side only, and read on until the peer has closed its own.
            self.ends.socket.shut();
            poll_fn(|cx| self.linger(cx, &mut transfer)).await;
        }
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        waker: &Waker,
        transfer: &mut impl FnMut(&mut Context<'_>),
        mut protocol: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<()> {
        let protocol_cx = &mut Context::from_waker(waker);
        self.signal.begin_turn(cx);
        for _ in 0..ROUNDS {
            transfer(cx);
            self.ends.conn.open_received();
            if self.ends.conn.is_aborted()
                || (self.is_finished() && (self.ends.conn.is_drained() || self.has_lingered()))
            {
                return Poll::Ready(());
            }
            let is_ready = self.ends.conn.take_protocol_ready();
            if self.is_finished() {
                self.ends.conn.discard_received();
                if !is_ready {
                    return Poll::Pending;
                }
            } else if !self.signal.take() && !is_ready {
                self.signal.end_turn();
                return Poll::Pending;
            } else if protocol.as_mut().poll(protocol_cx).is_ready() {
                self.ends.conn.close();
                self.begin_to_linger(cx);
            }
        }
        self.signal.end_turn();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_finished(&self) -> bool {
        self.linger.is_some()
    }

    fn begin_to_linger(&mut self, cx: &Context<'_>) {
        let timer = self.linger.get_or_insert_with(|| Box::new(self.ends.local.timers.timer()));
        timer.arm(timer.now().plus(LINGER), cx.waker());
    }

    fn has_lingered(&self) -> bool {
        self.linger.as_ref().is_some_and(|timer| timer.fired())
    }

    fn linger(&mut self, cx: &mut Context<'_>, transfer: &mut impl FnMut(&mut Context<'_>)) -> Poll<()> {
        if !self.linger.as_ref().is_some_and(|timer| timer.is_armed()) && !self.has_lingered() {
            self.begin_to_linger(cx);
        }
        for _ in 0..ROUNDS {
            self.ends.conn.discard_received();
            transfer(cx);
            if self.ends.conn.read_end().is_some() || self.has_lingered() {
                return Poll::Ready(());
            }
            if !self.ends.conn.take_protocol_ready() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Receives whenever the protocol has taken all that came before. Never completes.
async fn receive(local: &IoContext, conn: &BufferedConn, socket: &Socket) {
    loop {
        // With news, the protocol has not yet seen the bytes that came.
        let wants_more = || !conn.protocol_ready() && conn.wants_more();
        poll_fn(|_| if wants_more() { Poll::Ready(()) } else { Poll::Pending }).await;
        match socket.readable().await {
            Ok(()) => conn.receive(socket, local.timers.now(), local.counts()),
            Err(error) => conn.failed(&error),
        }
    }
}

/// Sends whatever is staged, one stage at a time. Never completes.
async fn send(local: &IoContext, conn: &BufferedConn, socket: &Socket) {
    loop {
        let stage =
            poll_fn(|_| conn.take_write_buf(local.timers.now()).map_or(Poll::Pending, Poll::Ready)).await;
        let result = send_all(local, conn, socket, &stage).await;
        let failed = result.is_err();
        conn.sent(result, stage);
        if failed {
            return pending().await;
        }
    }
}

async fn send_all(
    local: &IoContext,
    conn: &BufferedConn,
    socket: &Socket,
    output: &Output,
) -> io::Result<()> {
    let mut from = 0;
    loop {
        match socket.send(output, from) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                local.counts().sends.add(1);
                local.counts().bytes_sent.add(n as u64);
                conn.took(n);
                from += n;
                if from == output.len() {
                    return Ok(());
                }
                conn.sent_some(local.timers.now());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Tells a wake-up of the protocol from one of the receive or the send, which wake the task itself.
///
/// h2 wants a waker that could cross threads, although none of these ever does; hence the atomics, used relaxed.
#[derive(Default)]
struct Signal {
    woken: AtomicBool,
    /// While the task runs it looks at `woken` before it ends its turn, and need not be scheduled.
    running: AtomicBool,
    task: OnceLock<Waker>,
}

impl Signal {
    fn begin_turn(&self, cx: &Context<'_>) {
        if self.task.get().is_none() {
            // The first poll: the protocol has to be polled whatever happened.
            let _ = self.task.set(cx.waker().clone());
            self.woken.store(true, Ordering::Relaxed);
        }
        self.running.store(true, Ordering::Relaxed);
    }

    fn end_turn(&self) {
        self.running.store(false, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        let woken = self.woken.load(Ordering::Relaxed);
        if woken {
            self.woken.store(false, Ordering::Relaxed);
        }
        woken
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        if !self.running.load(Ordering::Relaxed)
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}
