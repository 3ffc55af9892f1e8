//! A client's connection, as its calls see it, and its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::held::HeldBytes;
use super::listener::ListenerState;
use crate::config;
use crate::http2::Bounds;
use crate::metrics::ProtocolError;
use crate::net::{BufferedConn, IoContext};
use crate::policy::age::Age;
use crate::policy::client_cert;
use crate::policy::failure::Failure;
use crate::policy::peer::Peer;
use crate::random::Random;
use crate::time::Moment;
use crate::worker::call::admission::{Caller, Unbegun};
use crate::worker::call::cors;
use crate::worker::shared_listener::ListenerIdentity;

/// How often a connection is checked for idleness and for a peer that does not read.
pub(in crate::worker) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A client's connection, as its calls see it.
pub(in crate::worker) struct Client {
    pub(in crate::worker) local: Rc<IoContext>,
    /// Its address, or the one that the PROXY protocol names. `None` of a Unix socket.
    peer: Cell<Option<SocketAddr>>,
    /// In a box, for most services are not told who calls.
    texts: OnceCell<Box<PeerTexts>>,
    /// The identity that its connection has proven.
    identity: RefCell<Rc<Peer>>,
    /// The listener that it came in by.
    listener: Rc<ListenerState>,
    calls: Cell<u32>,
    /// The end of its last call.
    idle_since: Cell<Moment>,
    age: Age,
    /// The connection ends once its calls have.
    pub(in crate::worker) drains: Cell<bool>,
    /// Its calls end now.
    cut: Cell<bool>,
    pub(in crate::worker) speaks_http1: Cell<bool>,
    /// Bytes of its JSON requests and answers that are not whole. In a box, for most clients have none.
    held: OnceCell<Box<HeldBytes>>,
    /// Where its calls wait of which only the head has come.
    pub(in crate::worker) unbegun: Rc<Unbegun>,
    /// Wakes its task.
    waker: RefCell<Option<Waker>>,
}

/// Texts about a client, for services.
#[derive(Default)]
struct PeerTexts {
    /// Its address.
    address: OnceCell<Box<str>>,
    /// The field about its certificate, if it has shown one.
    cert_element: OnceCell<Option<Box<str>>>,
}

impl Client {
    pub(in crate::worker) fn new(
        (local, unbegun): (Rc<IoContext>, Rc<Unbegun>),
        listener: Rc<ListenerState>,
        peer: Option<SocketAddr>,
        random: &mut Random,
    ) -> Rc<Client> {
        let now = local.timers.now();
        let age = Age::begin(&listener.settings().age, now, random);
        Rc::new(Client {
            peer: Cell::new(peer),
            texts: OnceCell::new(),
            identity: RefCell::new(nobody()),
            listener,
            calls: Cell::new(0),
            idle_since: Cell::new(now),
            age,
            drains: Cell::new(false),
            cut: Cell::new(false),
            speaks_http1: Cell::new(false),
            held: OnceCell::new(),
            unbegun,
            waker: RefCell::new(None),
            local,
        })
    }

    /// The identity that its connection has proven; plaintext proves nothing. Calls begin after the handshake, and see
    /// one value.
    pub(in crate::worker) fn identity(&self) -> Rc<Peer> {
        Rc::clone(&self.identity.borrow())
    }

    /// Notes what the handshake has proven.
    pub(super) fn identify(&self, peer: Rc<Peer>) {
        *self.identity.borrow_mut() = peer;
    }

    /// Its address, or the one that the PROXY protocol names. `None` of a Unix socket.
    pub(in crate::worker) fn peer(&self) -> Option<SocketAddr> {
        self.peer.get()
    }

    /// Takes the address that the PROXY protocol names. To be called before the first call.
    pub(in crate::worker) fn is_behind(&self, address: SocketAddr) {
        self.peer.set(Some(address));
    }

    /// Its IP address. `None` of a Unix socket.
    pub(in crate::worker) fn ip(&self) -> Option<IpAddr> {
        self.peer().map(|peer| peer.ip())
    }

    /// The text of its address, without a port. `None` of a Unix socket.
    pub(in crate::worker) fn peer_text(&self) -> Option<&str> {
        let ip = self.ip()?;
        let texts = self.texts.get_or_init(Box::default);
        Some(texts.address.get_or_init(|| ip.to_canonical().to_string().into()))
    }

    /// The field about its certificate for services; `None` if it has shown none.
    pub(in crate::worker) fn cert_element(&self) -> Option<&str> {
        let details = self.settings().forwarding.set_current_client_cert_details;
        let element = || client_cert::element(details, &self.identity.borrow()).map(Into::into);
        self.texts.get_or_init(Box::default).cert_element.get_or_init(element).as_deref()
    }

    /// Bytes of its JSON requests and answers that are not whole.
    pub(super) fn held(&self) -> &HeldBytes {
        self.held.get_or_init(Box::default)
    }

    /// The scheme that its requests come by.
    pub(in crate::worker) fn scheme(&self) -> &'static str {
        self.identity.borrow().scheme()
    }

    /// The settings of the listener that the client came in by.
    pub(in crate::worker) fn settings(&self) -> &config::Listener {
        self.listener.settings()
    }

    /// The listener that the client came in by, whatever its settings are now.
    pub(in crate::worker) fn came_by(&self) -> &Arc<ListenerIdentity> {
        self.listener.identity()
    }

    /// The `strict-transport-security` of that listener.
    pub(in crate::worker) fn hsts(&self) -> Option<Rc<Box<str>>> {
        self.listener.hsts.clone()
    }

    /// The bounds of an HTTP/2 connection where it came in.
    pub(in crate::worker) fn bounds(&self) -> Rc<Bounds> {
        Rc::clone(&self.listener.bounds)
    }

    /// The CORS policy of that listener, if it has one.
    pub(in crate::worker) fn cors(&self) -> Option<&cors::Policy> {
        self.listener.cors.as_ref()
    }

    /// Counts a call until the guard is dropped.
    pub(in crate::worker) fn begin_call(self: &Rc<Self>) -> Counted {
        self.calls.set(self.calls.get() + 1);
        self.local.counts().calls_started.add(1);
        self.local.counts().calls_active.raise();
        Counted(Rc::clone(self))
    }

    /// Counts a failed call of this client.
    pub(in crate::worker) fn call_failed(&self, failure: Failure) {
        if failure == Failure::Draining {
            self.local.counts().calls_cut.add(1);
        }
        self.local.counts().failures.add(failure.number());
        // Over HTTP/2 it is a stream's error, which is counted there.
        if failure == Failure::BrokenBody && self.speaks_http1.get() {
            self.protocol_error(ProtocolError::Http1Body);
        }
        if failure == Failure::DownstreamReset {
            self.local.counts().client_resets.add(1);
        }
    }

    /// It broke the rules, and its connection ends.
    pub(in crate::worker) fn protocol_error(&self, error: ProtocolError) {
        self.local.counts().protocol_errors.add(error as usize);
    }

    /// Asks the connection to end once its calls have.
    pub(in crate::worker) fn drain(&self) {
        self.drains.set(true);
        self.wake();
    }

    /// Cuts the calls: they end now, whatever they wait for. They have to be woken.
    pub(in crate::worker) fn cut(&self) {
        self.cut.set(true);
    }

    /// Whether its calls have to end now.
    pub(in crate::worker) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Asks the connection to end if it has reached its age. True if its calls, which have to be woken, end now.
    pub(super) fn grow_old(&self, now: Moment) -> bool {
        if self.age.is_retired(now) && !self.drains.replace(true) {
            self.local.counts().connections_aged.add(1);
        }
        self.age.is_over(now) && self.has_calls() && !self.cut.replace(true)
    }

    /// When it should be checked next.
    pub(super) fn next_check(&self, now: Moment) -> Moment {
        let next = now.plus(CHECK_INTERVAL);
        self.age.next(now).map_or(next, |age| next.min(age))
    }

    /// Keeps the waker of the connection's task.
    pub(in crate::worker) fn keep_waker(&self, cx: &Context<'_>) {
        self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
    }

    /// Whether it has calls in flight.
    pub(in crate::worker) fn has_calls(&self) -> bool {
        self.calls.get() > 0
    }

    /// The end of its last call, or else the time of its connection.
    pub(in crate::worker) fn idle_since(&self) -> Moment {
        self.idle_since.get()
    }

    /// It is idle from now on: what its last call left has come.
    pub(in crate::worker) fn rest(&self) {
        self.idle_since.set(self.local.timers.now());
    }

    /// Whether it has had no call for too long.
    pub(in crate::worker) fn has_been_idle(&self, now: Moment) -> bool {
        !self.has_calls() && self.idle_since.get().plus(self.settings().idle_timeout) <= now
    }

    /// Whether bytes have waited longer than `write_timeout` for the client; counts that.
    pub(in crate::worker) fn does_not_read(&self, conn: &BufferedConn, now: Moment) -> bool {
        let timeout = self.settings().write_timeout;
        let since = conn.sending_since().is_some_and(|since| since.plus(timeout) <= now);
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

impl Caller for Client {
    fn calls(&self) -> u32 {
        self.calls.get()
    }
}

/// The peer of a connection without TLS: one value for all of them.
fn nobody() -> Rc<Peer> {
    thread_local! {
        static NOBODY: Rc<Peer> = Rc::new(Peer::plaintext());
    }
    NOBODY.with(Rc::clone)
}

/// A call in flight.
pub(in crate::worker) struct Counted(Rc<Client>);

impl Drop for Counted {
    fn drop(&mut self) {
        let client = &self.0;
        client.calls.set(client.calls.get() - 1);
        client.idle_since.set(client.local.timers.now());
        client.local.counts().calls_active.lower();
    }
}
