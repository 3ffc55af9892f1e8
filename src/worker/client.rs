//! One client's connection: told apart by its first bytes, then HTTP/2 until either side ends it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::Reason;
use h2::server;

use super::Worker;
use super::accept::Begin;
use super::calls::Calls;
use crate::config;
use crate::net::pipe::{End, Io};
use crate::net::{Local, Pipe, Socket, stream};
use crate::policy::failure::Failure;
use crate::policy::flood::Bucket;
use crate::time::Moment;
use crate::time::timers::Timer;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often a connection is looked at for idleness and for a peer that does not read.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// One client's connection, as its calls see it.
pub(super) struct Client {
    local: Rc<Local>,
    /// Header fields that a call of it may have.
    pub(super) headers_count_max: usize,
    calls: Cell<u32>,
    /// When its last call ended.
    idle_since: Cell<Moment>,
    resets: RefCell<Bucket>,
    /// It cancelled too many calls.
    floods: Cell<bool>,
    drains: Cell<bool>,
    /// Its calls are to end now.
    cut: Cell<bool>,
    /// Wakes its task.
    waker: RefCell<Option<Waker>>,
}

impl Client {
    pub(super) fn new(local: Rc<Local>, settings: &config::Http2) -> Rc<Client> {
        let now = local.timers.now();
        let per_second = settings.max_resets_per_second;
        Rc::new(Client {
            headers_count_max: settings.max_headers_count as usize,
            calls: Cell::new(0),
            idle_since: Cell::new(now),
            resets: RefCell::new(Bucket::new(per_second, per_second.saturating_mul(2), now)),
            floods: Cell::new(false),
            drains: Cell::new(false),
            cut: Cell::new(false),
            waker: RefCell::new(None),
            local,
        })
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
        if failure == Failure::ClientGone {
            self.local.counts().client_resets.add(1);
            if !self.resets.borrow_mut().take(self.local.timers.now()) {
                self.floods.set(true);
                self.wake();
            }
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

/// Serves a connection to its end. `begin` makes the future of one call.
pub(super) async fn serve<F: Future<Output = ()>>(
    worker: Rc<Worker>,
    listener: Rc<config::Listener>,
    socket: Socket,
    calls: Rc<Calls<F>>,
    begin: Begin<F>,
) {
    let local = Rc::clone(&worker.local);
    let pipe = Pipe::new(Rc::clone(&local.buffers), local.timers.now());
    let client = Client::new(Rc::clone(&local), &listener.http2);
    let _registered = worker.register(&client);
    let protocol = {
        let pipe = Rc::clone(&pipe);
        async move {
            let timer = worker.local.timers.timer();
            let opened = worker.local.timers.now();
            let greeted =
                timer.within(opened.plus(listener.handshake_timeout), handshake(&pipe, &listener)).await;
            let h2 = match greeted {
                Some(Ok(h2)) => h2,
                Some(Err(())) => {
                    worker.local.counts().protocol_errors.add(1);
                    return;
                }
                None => {
                    worker.local.counts().handshake_timeouts.add(1);
                    return pipe.abort();
                }
            };
            let mut connection =
                Connection { worker, listener, client, pipe: &pipe, h2, timer, goodbye: false };
            poll_fn(|cx| connection.poll(cx, &calls, begin)).await;
        }
    };
    stream::drive(local, Rc::clone(&pipe), socket, Box::pin(protocol)).await;
}

/// Waits for the client's first bytes; an error if they are not HTTP/2.
async fn handshake(
    pipe: &Rc<Pipe>,
    listener: &config::Listener,
) -> Result<Box<server::Connection<Io, Bytes>>, ()> {
    let is_http2 = poll_fn(|_| pipe.starts_with(PREFACE).map_or(Poll::Pending, Poll::Ready)).await;
    if !is_http2 {
        return Err(());
    }
    Box::pin(builder(&listener.http2).handshake(pipe.io())).await.map(Box::new).map_err(drop)
}

/// Settings towards clients: every bound that h2 leaves open by default is set.
fn builder(settings: &config::Http2) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .initial_window_size(settings.initial_stream_window_size)
        .initial_connection_window_size(settings.initial_connection_window_size)
        .max_frame_size(settings.max_frame_size)
        .max_header_list_size(settings.max_header_list_size)
        .max_send_buffer_size(settings.max_send_buffer_size as usize);
    builder
}

/// An HTTP/2 connection that has greeted.
struct Connection<'a> {
    worker: Rc<Worker>,
    listener: Rc<config::Listener>,
    client: Rc<Client>,
    pipe: &'a Pipe,
    h2: Box<server::Connection<Io, Bytes>>,
    timer: Timer,
    /// The client has been told to open no more calls here.
    goodbye: bool,
}

impl Connection<'_> {
    fn poll<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        calls: &Calls<F>,
        begin: Begin<F>,
    ) -> Poll<()> {
        self.prepare(cx);
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    calls.begin(begin(Rc::clone(&self.worker), Rc::clone(&self.client), request, respond));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ended_with(&error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                // What was decided below has to be written by h2.
                Poll::Pending if self.decide() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sees to waker and timer.
    fn prepare(&mut self, cx: &Context<'_>) {
        self.client.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        if !self.timer.is_armed() {
            let now = self.timer.now();
            if self.timer.fired() {
                self.look(now);
            }
            self.timer.arm(now.plus(LOOK), cx.waker());
        }
    }

    /// Ends what has been idle, or has not read, for too long.
    fn look(&self, now: Moment) {
        let counts = self.client.local.counts();
        if self.pipe.sending_since().is_some_and(|since| since.plus(self.listener.write_timeout) <= now) {
            counts.write_timeouts.add(1);
            self.pipe.abort();
        } else if self.client.calls.get() == 0
            && self.client.idle_since.get().plus(self.listener.idle_timeout) <= now
        {
            if self.goodbye {
                // It has not answered the goodbye, on which h2 waits for as long as that takes.
                return self.pipe.abort();
            }
            counts.idle_timeouts.add(1);
            self.client.drains.set(true);
        }
    }

    /// Says goodbye if it is time; true if there is something to send.
    fn decide(&mut self) -> bool {
        if self.client.floods.replace(false) {
            self.client.local.counts().floods.add(1);
            self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return true;
        }
        if self.client.drains.get() && !self.goodbye {
            self.goodbye = true;
            self.h2.graceful_shutdown();
            return true;
        }
        false
    }

    fn ended_with(&self, error: &h2::Error) {
        // A client that goes without a word is no protocol error.
        if !error.is_io()
            && self.pipe.inward_end() != Some(End::Closed)
            && error.reason() != Some(Reason::NO_ERROR)
        {
            tracing::debug!(%error, "client connection ended");
            self.client.local.counts().protocol_errors.add(1);
        }
    }
}
