//! One client's connection: what its calls see of it, and how it is told what it speaks.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::accept::{Begin, Door};
use super::calls::Calls;
use super::handing::Inside;
use super::{Worker, http1, http2};
use crate::config;
use crate::net::{Local, Pipe, Socket, stream};
use crate::policy::failure::Failure;
use crate::time::Moment;

/// One client's connection, as its calls see it.
pub(super) struct Client {
    pub(super) local: Rc<Local>,
    /// Where it is.
    pub(super) peer: SocketAddr,
    /// Where it came in.
    pub(super) door: Rc<Door>,
    calls: Cell<u32>,
    /// When its last call ended.
    idle_since: Cell<Moment>,
    /// It is to end once its calls have.
    pub(super) drains: Cell<bool>,
    /// Its calls are to end now.
    cut: Cell<bool>,
    /// Wakes its task.
    waker: RefCell<Option<Waker>>,
}

impl Client {
    pub(super) fn new(local: Rc<Local>, door: Rc<Door>, peer: SocketAddr) -> Rc<Client> {
        let now = local.timers.now();
        Rc::new(Client {
            peer,
            door,
            calls: Cell::new(0),
            idle_since: Cell::new(now),
            drains: Cell::new(false),
            cut: Cell::new(false),
            waker: RefCell::new(None),
            local,
        })
    }

    /// What the operator set for where it came in.
    pub(super) fn listener(&self) -> &config::Listener {
        &self.door.settings
    }

    /// Counts a call until the guard is dropped.
    pub(super) fn begin_call(self: &Rc<Self>) -> impl Drop + use<> {
        self.calls.set(self.calls.get() + 1);
        self.local.counts().calls_started.add(1);
        self.local.counts().calls_active.raise();
        Counted(Rc::clone(self))
    }

    /// Notes how a call of this client failed.
    pub(super) fn call_failed(&self, failure: Failure) {
        if failure == Failure::Draining {
            self.local.counts().calls_cut.add(1);
        }
        if failure == Failure::BrokenBody {
            self.local.counts().protocol_errors.add(1);
        }
        if failure == Failure::ClientGone {
            self.local.counts().client_resets.add(1);
        }
    }

    /// Asks the connection to end once its calls have.
    pub(super) fn drain(&self) {
        self.drains.set(true);
        self.wake();
    }

    /// Asks its calls to end now, whatever they wait for; they have to be woken.
    pub(super) fn cut(&self) {
        self.cut.set(true);
    }

    /// Whether its calls are to end now.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Keeps the waker of the connection's task.
    pub(super) fn keep_waker(&self, cx: &Context<'_>) {
        self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
    }

    /// Whether calls of it are in flight.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.get() > 0
    }

    /// When its last call ended; when it connected, if it had none.
    pub(super) fn idle_since(&self) -> Moment {
        self.idle_since.get()
    }

    /// Whether it has had no call for too long.
    pub(super) fn has_been_idle(&self, now: Moment) -> bool {
        !self.has_calls() && self.idle_since.get().plus(self.listener().idle_timeout) <= now
    }

    /// Whether bytes have waited for too long that it does not take; counted.
    pub(super) fn does_not_read(&self, pipe: &Pipe, now: Moment) -> bool {
        let timeout = self.listener().write_timeout;
        let since = pipe.sending_since().is_some_and(|since| since.plus(timeout) <= now);
        if since {
            self.local.counts().write_timeouts.add(1);
        }
        since
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// A call in flight.
struct Counted(Rc<Client>);

impl Drop for Counted {
    fn drop(&mut self) {
        let client = &self.0;
        client.calls.set(client.calls.get() - 1);
        client.idle_since.set(client.local.timers.now());
        client.local.counts().calls_active.lower();
    }
}

/// Serves a connection to its end, and then drops `_inside`. `begin` makes the future of one call.
pub(super) async fn serve<F: Future<Output = ()> + 'static>(
    worker: Rc<Worker>,
    door: Rc<Door>,
    _inside: Inside,
    (socket, peer): (Socket, SocketAddr),
    calls: Rc<Calls<F>>,
    begin: Begin<F>,
) {
    let local = Rc::clone(&worker.local);
    let pipe = Pipe::new(Rc::clone(&local.buffers), local.timers.now());
    let client = Client::new(Rc::clone(&local), door, peer);
    let _registered = worker.register(&client);
    if socket.arrives_here() {
        local.counts().connections_local.add(1);
    }
    let protocol = {
        let pipe = Rc::clone(&pipe);
        async move { speak(worker, client, &pipe, &calls, begin).await }
    };
    stream::drive(local, Rc::clone(&pipe), socket, Box::pin(protocol)).await;
}

/// Tells HTTP/2 from HTTP/1.1 by the first bytes, and speaks it.
async fn speak<F: Future<Output = ()> + 'static>(
    worker: Rc<Worker>,
    client: Rc<Client>,
    pipe: &Rc<Pipe>,
    calls: &Rc<Calls<F>>,
    begin: Begin<F>,
) {
    let timer = worker.local.timers.timer();
    let due = worker.local.timers.now().plus(client.listener().handshake_timeout);
    match timer.within(due, greet(pipe)).await {
        Some(Greeted::Http2) => http2::serve(worker, client, pipe, timer, calls, begin).await,
        // In a box, for a connection is either of the two, and would hold the larger one.
        Some(Greeted::Http1) => {
            Box::pin(http1::serve(worker, client, pipe, timer, Rc::clone(calls), begin)).await;
        }
        None => {
            worker.local.counts().handshake_timeouts.add(1);
            pipe.abort();
        }
    }
}

/// The protocol that a client turned out to speak.
enum Greeted {
    Http2,
    Http1,
}

/// Waits for the client's first bytes.
async fn greet(pipe: &Rc<Pipe>) -> Greeted {
    let is_http2 = poll_fn(|_| pipe.starts_with(http2::PREFACE).map_or(Poll::Pending, Poll::Ready)).await;
    if is_http2 { Greeted::Http2 } else { Greeted::Http1 }
}
