//! A listener of a worker: its settings as they are now, and its socket.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::config;
use crate::http2::Bounds;
use crate::http2::guard::Budgets;
use crate::net::listener::Listener;
use crate::net::ring::IoBackend;
use crate::tls::ServerContext;
use crate::worker::call::cors;
use crate::worker::shared_listener::{CountedSocket, ListenerIdentity, NewSocket, SharedListener};

/// A listener by one configuration. A connection keeps the one that it came in by.
pub(in crate::worker) struct ListenerState {
    shared: Arc<SharedListener>,
    /// The bounds of an HTTP/2 connection by its settings.
    pub(in crate::worker) bounds: Rc<Bounds>,
    /// The listener's CORS policy, if it has one.
    pub(in crate::worker) cors: Option<cors::Policy>,
    /// Its `strict-transport-security`, if it has one.
    pub(in crate::worker) hsts: Option<Rc<Box<str>>>,
    /// Replaced when certificates change.
    tls: RefCell<Option<Arc<ServerContext>>>,
}

impl ListenerState {
    pub(in crate::worker) fn new(
        shared: &Arc<SharedListener>,
        tls: Option<Arc<ServerContext>>,
    ) -> Rc<ListenerState> {
        let cors = cors::Policy::new(&shared.settings.cors);
        let bounds = Rc::new(bounds(&shared.settings));
        let secure = shared.settings.tls.as_ref();
        let hsts =
            secure.and_then(|tls| tls.strict_transport_security.as_deref()).map(|text| Rc::new(text.into()));
        Rc::new(ListenerState { shared: Arc::clone(shared), bounds, cors, hsts, tls: RefCell::new(tls) })
    }

    /// The operator's settings.
    pub(in crate::worker) fn settings(&self) -> &config::Listener {
        &self.shared.settings
    }

    /// The listener, as all workers share it.
    pub(in crate::worker) fn shared(&self) -> &Arc<SharedListener> {
        &self.shared
    }

    /// The identity of the listener, which its settings do not change.
    pub(in crate::worker) fn identity(&self) -> &Arc<ListenerIdentity> {
        &self.shared.identity
    }

    /// TLS for a new connection; `None` for plaintext.
    pub(in crate::worker) fn tls(&self) -> Option<Arc<ServerContext>> {
        self.tls.borrow().clone()
    }
}

/// A listener that is open.
pub(in crate::worker) struct OpenListener {
    /// Its position in the configuration.
    number: Cell<usize>,
    /// For new connections. Replaced when its settings change.
    state: RefCell<Rc<ListenerState>>,
    /// Closed before it is not counted any more.
    socket: Listener,
    counted: CountedSocket,
    is_closing: Cell<bool>,
}

impl OpenListener {
    /// Takes over a socket for this thread's loop.
    pub(in crate::worker) fn new(
        NewSocket { bound, counted }: NewSocket,
        number: usize,
        state: Rc<ListenerState>,
        backend: IoBackend,
    ) -> io::Result<Rc<OpenListener>> {
        let socket = Listener::new(bound, backend)?;
        let (number, state, is_closing) = (Cell::new(number), RefCell::new(state), Cell::default());
        Ok(Rc::new(OpenListener { number, state, socket, counted, is_closing }))
    }

    /// Whether it is this listener, whatever its settings.
    pub(in crate::worker) fn is(&self, identity: &Arc<ListenerIdentity>) -> bool {
        Arc::ptr_eq(self.counted.identity(), identity)
    }

    /// Its identity, which its settings do not change.
    pub(in crate::worker) fn identity(&self) -> &Arc<ListenerIdentity> {
        self.counted.identity()
    }

    /// Its position in the configuration.
    pub(in crate::worker) fn number(&self) -> usize {
        self.number.get()
    }

    /// Its settings for new connections.
    pub(in crate::worker) fn state(&self) -> Rc<ListenerState> {
        Rc::clone(&self.state.borrow())
    }

    /// Takes the settings and the position of another configuration. Connections that have begun keep theirs.
    pub(in crate::worker) fn change(
        &self,
        shared: &Arc<SharedListener>,
        number: usize,
        tls: Option<Arc<ServerContext>>,
    ) {
        self.number.set(number);
        let before = self.state();
        if Arc::ptr_eq(&before.shared, shared) {
            return self.renew_tls(tls);
        }
        let backlog = shared.settings.backlog;
        if before.settings().backlog != backlog
            && let Err(error) = self.socket.set_backlog(backlog)
        {
            let address = shared.settings.address;
            tracing::warn!(%address, backlog, %error, "the kernel keeps the backlog of before");
        }
        *self.state.borrow_mut() = ListenerState::new(shared, tls);
    }

    /// Takes other certificates for new connections.
    pub(in crate::worker) fn renew_tls(&self, tls: Option<Arc<ServerContext>>) {
        *self.state.borrow().tls.borrow_mut() = tls;
    }

    /// The next connection. Must be awaited to its end; see [`Listener::accept`].
    pub(in crate::worker) async fn accept(&self) -> io::Result<(crate::net::Socket, Option<SocketAddr>)> {
        self.socket.accept().await
    }

    /// The next connection that waits already.
    pub(in crate::worker) fn accept_now(&self) -> Option<(crate::net::Socket, Option<SocketAddr>)> {
        self.socket.accept_now()
    }

    /// Whether it is closed, or about to be: an accept that fails is the last one.
    pub(in crate::worker) fn is_closing(&self) -> bool {
        self.is_closing.get() || self.socket.is_stopped()
    }

    /// Ends all pending accepts and refuses new connections.
    pub(in crate::worker) fn stop(&self) {
        self.is_closing.set(true);
        self.socket.stop();
    }
}

/// Bounds towards clients.
fn bounds(listener: &config::Listener) -> Bounds {
    let settings = &listener.http2;
    Bounds {
        max_concurrent_streams: settings.max_concurrent_streams,
        stream_window: settings.initial_stream_window_size,
        max_stream_window: (settings.initial_connection_window_size / 4)
            .max(settings.initial_stream_window_size),
        connection_window: settings.initial_connection_window_size,
        max_frame_size: settings.max_frame_size,
        max_header_list_size: settings.max_header_list_size,
        // The call's own check counts them, which can answer its caller.
        max_headers_count: u32::MAX,
        max_send_buffer_size: settings.max_send_buffer_size,
        max_continuations: settings.max_continuations,
        min_send_rate: listener.min_rate,
        budgets: Budgets {
            resets: settings.max_resets_per_second,
            pings: settings.max_pings_per_second,
            settings: settings.max_settings_per_second,
            empty_frames: settings.max_empty_frames_per_second,
            window_updates: settings.max_window_updates_per_second,
            priorities: settings.max_priority_frames_per_second,
        },
    }
}
