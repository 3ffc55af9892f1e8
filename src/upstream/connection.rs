//! An HTTP/2 connection to an endpoint, from its connect to its end.

use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::places::Connection;
use crate::config::{self, EndpointAddress};
use crate::http2::{self, Bounds, ErrorCode, Memory, Notes};
use crate::metrics::{ConnectError, TlsError};
use crate::net::{BufferedConn, IoContext, listener, stream};
use crate::policy::age::Age;
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::time::timers::Timer;
use crate::tls::{Alpn, Problem, Session, SessionError};
use crate::wire::proxy_protocol;

/// Inputs of a connect.
pub(super) struct Connect {
    pub(super) address: EndpointAddress,
    pub(super) local: Rc<IoContext>,
    /// Memory for streams and the heads of responses.
    pub(super) memory: Rc<Memory>,
    /// How long the connection may be silent before it is pinged.
    pub(super) ping_interval: Rc<Cell<Duration>>,
    /// TLS, or why there can be none; `None` for plaintext.
    pub(super) tls: Option<Result<Session, Problem>>,
}

/// An event of a connection, for its pool.
pub(super) enum ConnectionEvent {
    /// The upstream's first bytes came: from now on the connection takes calls.
    Ready(Rc<Connection>),
    /// The connection takes so many further calls at once.
    Capacity(u32),
    /// The upstream has sent so many GOAWAYs.
    Goaway {
        frames: u32,
        /// It asks for less of something (ENHANCE_YOUR_CALM).
        is_too_much: bool,
        /// That is pings, as it says.
        too_many_pings: bool,
    },
    /// Other things it did.
    Noted(Notes),
    /// It broke the rules of HTTP/2, and the connection ends.
    ProtocolError,
    /// The handshake of TLS failed.
    TlsFailed(SessionError),
    /// A ping was not answered.
    KeepaliveTimeout,
    /// A connection that was ready is about to end. It has carried a call, or has lived for a while.
    WasOfUse,
    /// A connection that was ready is about to end. The service has ended it before anything came of it.
    WasOfNoUse,
    /// A connection that was ready has ended.
    Closed(Rc<Connection>),
    /// The connect failed, or the connection ended before it could carry calls.
    Failed(Failure, ConnectError),
}

/// The owner of a connection. Events are reported to it and applied at once. The last one is `Closed` or `Failed`.
pub(super) trait Owner {
    /// The configuration in use.
    fn settings(&self) -> Rc<config::Cluster>;
    /// How old a connection may become that begins at `now`.
    fn age(&self, now: Moment) -> Age;
    /// Applies an event.
    fn apply(&self, event: ConnectionEvent);
}

/// The life of one connection, from its connect on. Dropping it reports its end, for any reason, even a panic.
struct Life<O: Owner> {
    owner: O,
    ping_interval: Rc<Cell<Duration>>,
    /// The failure to report if it is dropped before the connection is ready.
    failure: Cell<Failure>,
    /// And why.
    error: Cell<ConnectError>,
    /// Set once the upstream has sent its first bytes.
    connection: OnceCell<Rc<Connection>>,
}

impl<O: Owner> Life<O> {
    fn is_ready(&self) -> bool {
        self.connection.get().is_some()
    }

    /// Reports that the upstream has sent its first bytes.
    fn ready(&self, connection: &Rc<Connection>) {
        if self.connection.set(Rc::clone(connection)).is_ok() {
            self.owner.apply(ConnectionEvent::Ready(Rc::clone(connection)));
        }
    }

    /// Reports that the handshake of TLS failed.
    fn tls_failed(&self, error: SessionError) {
        self.error.set(ConnectError::TlsFailed);
        self.owner.apply(ConnectionEvent::TlsFailed(error));
    }

    /// Notes what the first bytes of the service say, for the case that nothing comes of the connection.
    fn answered(&self, error: ConnectError) {
        if self.error.get() == ConnectError::Closed {
            self.error.set(error);
        }
    }

    /// Notes that `connect_timeout` is over.
    fn timed_out(&self) {
        self.failure.set(Failure::ConnectTimedOut);
        self.error.set(ConnectError::TimedOut);
    }
}

impl<O: Owner> Drop for Life<O> {
    fn drop(&mut self) {
        self.owner.apply(match self.connection.take() {
            Some(connection) => {
                connection.end_all();
                ConnectionEvent::Closed(connection)
            }
            None => ConnectionEvent::Failed(self.failure.get(), self.error.get()),
        });
    }
}

/// Connects, and runs the connection to its end.
pub(super) fn run(connect: Connect, owner: impl Owner) -> impl Future<Output = ()> {
    let Connect { address, local, memory, ping_interval, tls } = connect;
    // Made before the first poll: a task that is dropped unpolled has failed, too.
    let life = Life {
        owner,
        ping_interval,
        failure: Cell::new(Failure::ConnectFailed),
        error: Cell::new(ConnectError::Closed),
        connection: OnceCell::new(),
    };
    async move {
        let settings = life.owner.settings();
        let timer = local.timers.timer();
        let limit = local.timers.now().plus(settings.connect_timeout);
        let connected = timer.within(limit, listener::connect(address)).await;
        let socket = match connected {
            Some(Ok(socket)) => socket,
            Some(Err(error)) => {
                life.error.set(ConnectError::of_system(&error));
                tracing::debug!(cluster = settings.name, endpoint = %address, %error, "connect failed");
                return;
            }
            None => return life.timed_out(),
        };
        let conn = BufferedConn::new(Rc::clone(&local.buffers), local.timers.now());
        let is_secure = tls.is_some();
        match tls.transpose() {
            Ok(session) => session.into_iter().for_each(|session| conn.secure(session)),
            Err(problem) => {
                return life.tls_failed(SessionError::new(TlsError::Other, problem.to_string()));
            }
        }
        // A reload may have changed the configuration by now.
        let settings = life.owner.settings();
        if settings.sends_proxy_protocol {
            conn.say_first(&proxy_protocol::LOCAL);
        }
        let age = life.owner.age(local.timers.now());
        let bounds = Rc::new(bounds(&settings.pool));
        let session = http2::Session::new(Rc::clone(&conn) as _, Rc::clone(&local.timers), |out| {
            http2::Connection::client(bounds, memory, out)
        });
        let connection = Connection::new(&session, &settings, &conn, local.timers.now());
        drop(settings);
        let (connection, conn, local) = (&connection, &conn, &local);
        let protocol = Protocol { life: &life, address, connection, conn, local, is_secure, age };
        let protocol = Box::pin(protocol.run(timer, limit));
        stream::drive(Rc::clone(local), Rc::clone(conn), socket, protocol, ()).await;
    }
}

/// Bounds towards upstreams.
fn bounds(pool: &config::Pool) -> Bounds {
    Bounds {
        stream_window: pool.initial_stream_window_size,
        max_stream_window: (pool.initial_connection_window_size / 4).max(pool.initial_stream_window_size),
        connection_window: pool.initial_connection_window_size,
        max_frame_size: pool.max_frame_size,
        max_header_list_size: pool.max_header_list_size,
        max_headers_count: u32::MAX,
        max_send_buffer_size: pool.max_send_buffer_size,
        min_send_rate: pool.min_rate,
        ..Bounds::default()
    }
}

/// The protocol of a connection: HTTP/2, and pings.
struct Protocol<'a, O: Owner> {
    life: &'a Life<O>,
    address: EndpointAddress,
    connection: &'a Rc<Connection>,
    conn: &'a BufferedConn,
    local: &'a IoContext,
    age: Age,
    /// TLS goes first.
    is_secure: bool,
}

impl<O: Owner> Protocol<'_, O> {
    /// Sends no call until the upstream's first bytes, which have to come by `limit`. An upstream that accepts
    /// connections and stays silent would cost each call its deadline.
    async fn run(self, timer: Timer, limit: Moment) {
        if self.is_secure && !self.shake_hands(&timer, limit).await {
            return self.connection.session.ask(http2::Connection::end);
        }
        let (due, aged) = (self.local.timers.timer(), self.local.timers.timer());
        let mut armed = false;
        poll_fn(|cx| {
            if !armed {
                timer.arm(limit, cx.waker());
                armed = true;
                let retires = self.age.next(self.local.timers.now());
                retires.into_iter().for_each(|at| aged.arm(at, cx.waker()));
            }
            if aged.fired() && self.connection.takes_calls() {
                self.connection.drain();
            }
            self.poll(cx, &timer, &due)
        })
        .await;
        if !self.life.is_ready() {
            // With TLS 1.3 a service may refuse our certificate when the handshake is done for us.
            if let Some(error) = self.conn.take_tls_error() {
                self.life.tls_failed(error);
            }
            self.connection.session.ask(http2::Connection::end);
        }
    }

    /// Shakes hands, which has to be done by `limit`. What HTTP/2 has staged leaves after that. False if it fails.
    async fn shake_hands(&self, timer: &Timer, limit: Moment) -> bool {
        /// Connections to services are few.
        const IN_A_TURN: u32 = 16;
        let handshake = self.conn.handshake(&self.local.handshakes, IN_A_TURN);
        match timer.within(limit, handshake).await {
            // A service that knows no ALPN may speak HTTP/2 all the same, but nothing says so.
            Some(Ok(facts)) if facts.alpn == Some(Alpn::H2) => return true,
            Some(Ok(_)) => {
                let reason = "the service does not offer h2 by ALPN";
                self.life.tls_failed(SessionError::new(TlsError::NoApplicationProtocol, reason));
            }
            Some(Err(error)) => self.life.tls_failed(error),
            None => {
                self.life.timed_out();
                self.conn.abort();
            }
        }
        false
    }

    fn poll(&self, cx: &mut Context<'_>, timer: &Timer, due: &Timer) -> Poll<()> {
        let session = &self.connection.session;
        session.ask(|http2| http2.keep_task(cx));
        if !self.life.is_ready() {
            // A service that speaks something else says so at once.
            self.conn.look(|bytes| {
                self.life.answered(ConnectError::of_first_bytes(bytes));
                Some(())
            });
        }
        session.pump();
        let has_ended = self.conn.read_end().is_some();
        self.note();
        if !self.life.is_ready() && session.ask(|http2| http2.has_settings()) {
            self.connection.refresh_cap();
            self.life.ready(self.connection);
            timer.arm(self.conn.received_at().plus(self.life.ping_interval.get()), cx.waker());
        }
        if has_ended {
            session.ask(http2::Connection::end);
        }
        if session.ask(|http2| http2.is_done()) {
            self.ended();
            return Poll::Ready(());
        }
        if !self.life.is_ready() {
            if timer.fired() {
                self.life.timed_out();
                self.conn.abort();
            }
            return Poll::Pending;
        }
        // Before the capacity is asked: a stream whose reset waits counts as open.
        self.send_due(cx, due);
        let before = self.connection.cap.get();
        self.connection.refresh_cap();
        if before < self.connection.cap.get() {
            self.life.owner.apply(ConnectionEvent::Capacity(self.connection.cap.get() - before));
        }
        if session.ask(|http2| !http2.takes_streams()) {
            self.connection.stop_taking_calls();
        }
        self.keep_alive(cx, timer);
        Poll::Pending
    }

    /// Reports the upstream's GOAWAYs.
    fn note(&self) {
        let session = &self.connection.session;
        let notes = session.ask(http2::Connection::take_notes);
        if notes.goaways > 0 {
            // grpc servers answer pings that they find too frequent with this GOAWAY; gRFC A8 asks clients to double
            // the interval.
            let goaway = session.ask(|http2| http2.goaway());
            let is_too_much = goaway.is_some_and(|goaway| goaway.code == ErrorCode::ENHANCE_YOUR_CALM);
            let too_many_pings = is_too_much && goaway.is_some_and(|goaway| goaway.too_many_pings);
            let frames = notes.goaways;
            self.life.owner.apply(ConnectionEvent::Goaway { frames, is_too_much, too_many_pings });
        }
        if notes != Notes::default() {
            self.life.owner.apply(ConnectionEvent::Noted(notes));
        }
    }

    /// Sends resets that were put off, and arms the timer for the next of them.
    fn send_due(&self, cx: &Context<'_>, due: &Timer) {
        let session = &self.connection.session;
        let Some(next) = session.ask(|http2| http2.next_due()) else { return };
        let now = self.local.timers.now();
        if next <= now {
            session.with(|http2, out, _| http2.send_due(now, out));
        }
        if let Some(next) = session.ask(|http2| http2.next_due())
            && !due.is_armed()
        {
            due.arm(next, cx.waker());
        }
    }

    /// Pings a silent connection, and cuts it if it stays silent.
    fn keep_alive(&self, cx: &Context<'_>, timer: &Timer) {
        if !timer.fired() {
            return;
        }
        let session = &self.connection.session;
        let settings = self.life.owner.settings();
        let settings = &settings.keepalive;
        let now = self.local.timers.now();
        let silent_since = self.conn.received_at();
        if let Some(sent) = session.ask(|http2| http2.ping_sent())
            && silent_since < sent
        {
            self.life.owner.apply(ConnectionEvent::KeepaliveTimeout);
            return self.conn.abort();
        }
        // gRPC servers count pings since they have last sent something of a stream.
        let quiet = session.ask(|http2| http2.quiet_ping());
        let due = silent_since.plus(self.life.ping_interval.get());
        let due = quiet.map_or(due, |sent| due.max(sent.plus(settings.interval_without_data)));
        if now < due {
            return timer.arm(due, cx.waker());
        }
        if self.connection.active() == 0 && !settings.without_calls {
            return timer.arm(now.plus(self.life.ping_interval.get()), cx.waker());
        }
        session.with(|http2, out, _| http2.ping(now, out));
        timer.arm(now.plus(settings.timeout), cx.waker());
    }

    fn ended(&self) {
        if self.life.is_ready() {
            if self.connection.was_of_use(self.local.timers.now()) {
                self.life.owner.apply(ConnectionEvent::WasOfUse);
            } else if !self.connection.is_retired.get() {
                self.life.owner.apply(ConnectionEvent::WasOfNoUse);
            }
        }
        if let Some(error) = self.connection.session.ask(|http2| http2.failed()) {
            self.life.owner.apply(ConnectionEvent::ProtocolError);
            tracing::debug!(
                cluster = self.life.owner.settings().name,
                endpoint = %self.address,
                code = %error.code,
                reason = error.reason,
                "connection ended"
            );
        }
    }
}
