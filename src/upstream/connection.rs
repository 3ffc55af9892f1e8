//! One HTTP/2 connection to an endpoint, from its connect to its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::FreshField;
use h2::{Ping, PingPong, Reason, SendStream};
use http::Request;

use super::endpoint::Endpoint;
use super::pool::Pool;
use crate::config;
use crate::net::pipe::{Io, Outgoing};
use crate::net::{Local, Pipe, listener, runtime, stream};
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::time::timers::Timer;

/// A connection that may carry calls.
pub(super) struct Connection {
    /// None once it takes no more calls and has none left: dropping it ends the connection in order.
    send: RefCell<Option<SendRequest<Bytes>>>,
    state: Cell<State>,
    active: Cell<u32>,
    /// Calls it may still begin in its life.
    left: Cell<u32>,
    /// Calls it carries at once: our limit or the upstream's, whichever is lower.
    cap: Cell<u32>,
    own_cap: u32,
    pipe: Rc<Pipe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    TakesCalls,
    /// Finishes the calls it has.
    Draining,
}

impl Connection {
    fn new(send: SendRequest<Bytes>, pool: &config::Pool, pipe: &Rc<Pipe>) -> Rc<Connection> {
        let connection = Connection {
            send: RefCell::new(Some(send)),
            state: Cell::new(State::TakesCalls),
            active: Cell::new(0),
            left: Cell::new(pool.max_requests_per_connection),
            cap: Cell::new(pool.max_streams_per_connection),
            own_cap: pool.max_streams_per_connection,
            pipe: Rc::clone(pipe),
        };
        connection.refresh_cap();
        Rc::new(connection)
    }

    pub(super) fn takes_calls(&self) -> bool {
        self.state.get() == State::TakesCalls
    }

    pub(super) fn has_room(&self) -> bool {
        self.takes_calls() && self.active.get() < self.cap.get()
    }

    pub(super) fn is_nearly_full(&self) -> bool {
        u64::from(self.active.get()) * 10 >= u64::from(self.cap.get()) * 8
    }

    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// Whether a request can be sent now; if the connection has failed or was told to go away, it takes no more.
    pub(super) fn is_usable(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let polled = self.send.borrow_mut().as_mut().map(|send| send.poll_ready(&mut cx));
        match polled {
            Some(Poll::Ready(Ok(()))) => return true,
            // A call waits in h2 for the upstream's limit: full, until h2's next turn says otherwise.
            Some(Poll::Pending) => self.cap.set(self.active.get().min(self.cap.get())),
            Some(Poll::Ready(Err(_))) | None => self.drain(),
        }
        false
    }

    /// Counts a call in.
    pub(super) fn begin(&self) {
        self.active.set(self.active.get() + 1);
        self.left.set(self.left.get().saturating_sub(1));
        if self.left.get() == 0 {
            self.drain();
        }
    }

    /// Counts a call out.
    pub(super) fn end(&self) {
        debug_assert!(0 < self.active.get());
        self.active.set(self.active.get() - 1);
        self.close_if_done();
    }

    /// Sends a request's head, and with it a field that is new each time.
    pub(super) fn send(
        &self,
        request: Request<()>,
        field: Option<FreshField>,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        match self.send.borrow_mut().as_mut() {
            Some(send) => send.send_request_with(request, field, false),
            None => Err(Reason::INTERNAL_ERROR.into()),
        }
    }

    /// How many bytes have gone out so far.
    pub(super) fn outgoing(&self) -> Outgoing {
        self.pipe.outgoing()
    }

    /// Whether it is over, and nothing was sent after `before`.
    pub(super) fn ended_at(&self, before: Outgoing) -> bool {
        self.pipe.ended_at(before)
    }

    /// Takes no more calls, and ends with the last of those it has.
    pub(super) fn drain(&self) {
        self.state.set(State::Draining);
        self.close_if_done();
    }

    fn close_if_done(&self) {
        if self.state.get() == State::Draining && self.active.get() == 0 {
            self.send.borrow_mut().take();
        }
    }

    /// Takes over the upstream's limit, which may change at any time.
    fn refresh_cap(&self) {
        if let Some(send) = self.send.borrow().as_ref() {
            let theirs = u32::try_from(send.current_max_send_streams()).unwrap_or(u32::MAX);
            self.cap.set(theirs.min(self.own_cap));
        }
    }
}

/// Begins to connect, as a task of its own.
pub(super) fn open(pool: &Rc<Pool>, endpoint: &Rc<Endpoint>) {
    let attempt = Attempt::begin(pool, endpoint);
    let told = Rc::clone(pool);
    let panicked = move || told.local().counts().panics.add(1);
    runtime::spawn(panicked, run(attempt));
}

/// A place among the cluster's connections, and the connect that is under way at its endpoint until the upstream has
/// said something. Dropping it ends both, whatever the reason, a panic among them.
struct Attempt {
    pool: Rc<Pool>,
    endpoint: Rc<Endpoint>,
    /// What a connect comes to that ends now.
    failure: Cell<Failure>,
    /// There once the upstream has spoken.
    connection: OnceCell<Rc<Connection>>,
}

impl Attempt {
    fn begin(pool: &Rc<Pool>, endpoint: &Rc<Endpoint>) -> Attempt {
        endpoint.connecting.set(true);
        Attempt {
            pool: Rc::clone(pool),
            endpoint: Rc::clone(endpoint),
            failure: Cell::new(Failure::ConnectFailed),
            connection: OnceCell::new(),
        }
    }

    fn has_succeeded(&self) -> bool {
        self.connection.get().is_some()
    }

    /// The upstream has spoken: from now on it gets calls.
    fn succeeded(&self, connection: &Rc<Connection>) {
        if self.connection.set(Rc::clone(connection)).is_err() {
            return;
        }
        self.endpoint.connecting.set(false);
        self.endpoint.succeeded();
        self.endpoint.add(Rc::clone(connection));
        let counts = self.pool.counts();
        counts.connections_opened.add(1);
        counts.connections_active.raise();
        self.pool.connected(&self.endpoint, connection);
    }

    /// `connect_timeout` is over.
    fn timed_out(&self) {
        self.failure.set(Failure::ConnectTimedOut);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.pool.give_connection();
        let counts = self.pool.counts();
        if let Some(connection) = self.connection.get() {
            connection.state.set(State::Draining);
            self.endpoint.remove(connection);
            counts.connections_active.lower();
            return self.pool.disconnected();
        }
        self.endpoint.connecting.set(false);
        let failure = self.failure.get();
        match failure {
            Failure::ConnectTimedOut => counts.connect_timeouts.add(1),
            _ => counts.connect_failures.add(1),
        }
        self.pool.connect_failed(&self.endpoint, failure);
    }
}

async fn run(attempt: Attempt) {
    let Attempt { pool, endpoint, .. } = &attempt;
    let local = Rc::clone(pool.local());
    local.touch();
    let timer = local.timers.timer();
    let limit = local.timers.now().plus(pool.settings().connect_timeout);
    let connected = timer.within(limit, listener::connect(endpoint.address)).await;
    local.touch();
    let socket = match connected {
        Some(Ok(socket)) => socket,
        Some(Err(error)) => {
            tracing::debug!(cluster = pool.settings().name, endpoint = %endpoint.address, %error, "connect failed");
            return;
        }
        None => return attempt.timed_out(),
    };
    let pipe = Pipe::new(Rc::clone(&local.buffers), local.timers.now());
    // The handshake only stages our preface and settings; it waits for nothing.
    let Ok((send, h2)) = builder(&pool.settings().pool).handshake(pipe.io()).await else { return };
    let connection = Connection::new(send, &pool.settings().pool, &pipe);
    let protocol = Protocol { attempt: &attempt, connection: &connection, pipe: &pipe, local: &local };
    let protocol = Box::pin(protocol.run(h2, timer, limit));
    stream::drive(Rc::clone(&local), Rc::clone(&pipe), socket, protocol).await;
}

/// Settings towards upstreams (reference: h2's defaults are made for browsers, not for calls of many clients on one
/// connection).
fn builder(pool: &config::Pool) -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(pool.initial_stream_window_size)
        .initial_connection_window_size(pool.initial_connection_window_size)
        .max_frame_size(pool.max_frame_size)
        .max_header_list_size(pool.max_header_list_size)
        .max_send_buffer_size(pool.max_send_buffer_size as usize)
        .enable_push(false)
        // Until its settings arrive the upstream is taken to allow what most do.
        .initial_max_send_streams(100)
        // Cancelled calls of one client must not end the connection for all: their late frames are expected here.
        .max_local_error_reset_streams(None)
        .max_concurrent_reset_streams(4096)
        .reset_stream_duration(std::time::Duration::from_secs(5))
        // Small answers are DATA frames that do not end their stream; many at once are normal, not an attack.
        .data_frame_budget(pool.initial_connection_window_size as usize);
    builder
}

/// What runs on a connection: h2, and pings.
struct Protocol<'a> {
    attempt: &'a Attempt,
    connection: &'a Rc<Connection>,
    pipe: &'a Pipe,
    local: &'a Local,
}

impl Protocol<'_> {
    /// Until the upstream has spoken, which it has to by `limit`, no call is sent: one that would accept connections and
    /// say nothing would cost each of them its deadline.
    async fn run(self, mut h2: h2::client::Connection<Io>, timer: Timer, limit: Moment) {
        let mut pings = h2.ping_pong().map(Pings::new);
        let mut h2 = pin!(h2);
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        timer.arm(limit, &waker);
        let ended = poll_fn(|cx| {
            let polled = h2.as_mut().poll(cx);
            // What it said may have come together with its goodbye; but bytes that are not HTTP/2 are no word.
            let understood = !matches!(&polled, Poll::Ready(Err(error)) if error.is_library());
            if !self.attempt.has_succeeded() && understood && self.pipe.has_spoken() {
                self.attempt.succeeded(self.connection);
                timer.arm(self.pipe.received_at().plus(self.attempt.endpoint.ping_interval.get()), &waker);
            }
            if polled.is_ready() {
                return polled;
            }
            if !self.attempt.has_succeeded() {
                if timer.fired() {
                    self.attempt.timed_out();
                    self.pipe.abort();
                }
                return Poll::Pending;
            }
            let before = self.connection.cap.get();
            self.connection.refresh_cap();
            if before < self.connection.cap.get() {
                self.attempt.pool.wake_waiters(self.connection.cap.get() - before);
            }
            if let Some(pings) = &mut pings {
                self.keep_alive(cx, pings, &timer, h2.as_mut());
            }
            Poll::Pending
        })
        .await;
        if let Err(error) = ended {
            self.ended_with(&error);
        }
    }

    /// Pings a connection that has been silent, and cuts it if that stays so.
    fn keep_alive(
        &self,
        cx: &mut Context<'_>,
        pings: &mut Pings,
        timer: &Timer,
        h2: Pin<&mut h2::client::Connection<Io>>,
    ) {
        let answered = pings.poll_answered(cx);
        if !timer.fired() {
            return;
        }
        let settings = self.attempt.pool.settings();
        let settings = &settings.keepalive;
        let now = self.local.timers.now();
        let silent_since = self.pipe.received_at();
        if let Some(sent) = pings.sent.filter(|_| !answered)
            && silent_since < sent
        {
            self.attempt.pool.counts().keepalive_timeouts.add(1);
            return self.pipe.abort();
        }
        let due = silent_since.plus(self.attempt.endpoint.ping_interval.get());
        if now < due {
            return timer.arm(due, cx.waker());
        }
        if self.connection.active() == 0 && !settings.without_calls {
            return timer.arm(now.plus(self.attempt.endpoint.ping_interval.get()), cx.waker());
        }
        if pings.send(now) {
            // The frame was queued after h2 had looked for frames to send.
            let _ = h2.poll(cx);
        }
        timer.arm(now.plus(settings.timeout), cx.waker());
    }

    fn ended_with(&self, error: &h2::Error) {
        tracing::debug!(cluster = self.attempt.pool.settings().name, endpoint = %self.attempt.endpoint.address, %error, "connection ended");
        if !error.is_go_away() {
            return;
        }
        self.attempt.pool.counts().goaways.add(1);
        // grpc servers answer pings that they find too frequent with this; gRFC A8 asks clients to double the interval.
        if error.is_remote() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
            self.attempt.endpoint.ping_interval.set(self.attempt.endpoint.ping_interval.get() * 2);
        }
    }
}

/// Our pings on one connection.
struct Pings {
    handle: PingPong,
    /// When the one under way was sent.
    sent: Option<Moment>,
}

impl Pings {
    fn new(handle: PingPong) -> Pings {
        Pings { handle, sent: None }
    }

    /// Whether none is under way, or it has just been answered.
    fn poll_answered(&mut self, cx: &mut Context<'_>) -> bool {
        if self.sent.is_some() && self.handle.poll_pong(cx).is_ready() {
            self.sent = None;
        }
        self.sent.is_none()
    }

    fn send(&mut self, now: Moment) -> bool {
        let sent = self.sent.is_none() && self.handle.send_ping(Ping::opaque()).is_ok();
        if sent {
            self.sent = Some(now);
        }
        sent
    }
}
