//! The other ends of the gateway's connections: HTTP/2 by our own engine, with scripts for what they do.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::http2::{self, Bounds, Head, Heads, Session, Stream};
use crate::net::memory::{End, Memory, World};
use crate::net::{BufferedConn, IoContext, Socket, runtime, stream};
use crate::time::Moment;
use crate::tls::{self, Contexts};

/// The state that all peers of a simulation share.
pub(super) struct Far {
    pub(super) memory: Rc<Memory>,
    pub(super) heads: Rc<Heads>,
    http2: Rc<http2::Memory>,
    local: Rc<IoContext>,
    /// TLS of all peers, if there is any: that of the gateway, in the other role.
    tls: RefCell<Option<Arc<Contexts>>>,
    panics: Cell<u32>,
}

impl Far {
    pub(super) fn new(world: &World) -> Rc<Far> {
        let memory = Rc::clone(&world.memory);
        let local = IoContext::new(Default::default(), memory.now());
        let heads = Heads::new();
        let http2 = http2::Memory::new(&heads);
        let (tls, panics) = Default::default();
        let far = Rc::new(Far { memory, heads, http2, local, tls, panics });
        far.spawn(Rc::clone(&far).tick());
        far
    }

    /// From now on connections have TLS where the gateway has it.
    pub(super) fn secure(&self, tls: &Arc<Contexts>) {
        *self.tls.borrow_mut() = Some(Arc::clone(tls)).filter(|tls| tls.listener(0).is_some());
    }

    /// The session of a peer's new connection.
    fn session(&self, is_client: bool) -> Option<tls::Session> {
        let tls = self.tls.borrow();
        let tls = tls.as_ref()?;
        let session = match is_client {
            true => tls.cluster(0)?.session("the settings have a name"),
            false => tls.listener(0)?.session(),
        };
        Some(session.expect("the gateway takes these settings, too"))
    }

    /// Adds a task to the simulation. That it has panicked is known by [`Far::check`].
    pub(super) fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let far = Rc::clone(self);
        runtime::spawn(move || far.panics.set(far.panics.get() + 1), task);
    }

    /// Panics if a script has.
    pub(super) fn check(&self, context: &str) {
        assert_eq!(self.panics.get(), 0, "a script panicked; {context}");
    }

    async fn tick(self: Rc<Self>) {
        let timers = &self.local.timers;
        loop {
            timers.advance(self.memory.now());
            if timers.armed() > 0 {
                self.memory.pause(Duration::from_millis(5)).await;
                continue;
            }
            let mut sleep = pin!(self.memory.pause(Duration::from_secs(3600)));
            poll_fn(|cx| {
                timers.wake_when_armed(Moment::from_nanos(u64::MAX), false, cx.waker());
                if timers.armed() > 0 { Poll::Ready(()) } else { sleep.as_mut().poll(cx) }
            })
            .await;
        }
    }

    /// Waits until `is_true`, looking each millisecond.
    pub(super) async fn until(&self, is_true: impl Fn() -> bool) {
        while !is_true() {
            self.memory.pause(Duration::from_millis(1)).await;
        }
    }
}

/// An end of an HTTP/2 connection.
pub(super) struct Peer {
    pub(super) session: Rc<Session>,
    pub(super) conn: Rc<BufferedConn>,
    has_ended: Cell<bool>,
    /// Closes its side without a word.
    closes: Cell<bool>,
    /// A GOAWAY of its script covers no stream above this one.
    pub(super) covers: Cell<u32>,
    task: RefCell<Option<Waker>>,
}

impl Peer {
    /// The client's end.
    pub(super) fn client(far: &Rc<Far>, end: End, bounds: Bounds) -> Rc<Peer> {
        Peer::start(far, end, bounds, true, |_, _, _| unreachable!("a client accepts nothing"))
    }

    /// A service's end; `accepted` is told of each stream.
    pub(super) fn server(
        far: &Rc<Far>,
        end: End,
        bounds: Bounds,
        accepted: impl Fn(&Rc<Peer>, Stream, Head) + 'static,
    ) -> Rc<Peer> {
        Peer::start(far, end, bounds, false, accepted)
    }

    fn start(
        far: &Rc<Far>,
        end: End,
        bounds: Bounds,
        is_client: bool,
        accepted: impl Fn(&Rc<Peer>, Stream, Head) + 'static,
    ) -> Rc<Peer> {
        let local = Rc::clone(&far.local);
        let conn = BufferedConn::new(Rc::clone(&local.buffers), local.timers.now());
        let (bounds, memory) = (Rc::new(bounds), Rc::clone(&far.http2));
        let session = Session::new(Rc::clone(&conn) as _, Rc::clone(&local.timers), |out| match is_client {
            true => http2::Connection::client(bounds, memory, out),
            false => http2::Connection::server(bounds, memory, out),
        });
        let (has_ended, closes) = (Cell::new(false), Cell::new(false));
        let covers = Cell::new(u32::MAX);
        let peer = Rc::new(Peer { session, conn, has_ended, closes, covers, task: RefCell::default() });
        let is_secure = far.session(is_client).map(|session| peer.conn.secure(session)).is_some();
        let protocol = Rc::clone(&peer).run(Rc::clone(&local), is_secure, accepted);
        let (told, conn) = (Rc::clone(&peer), Rc::clone(&peer.conn));
        let socket = Socket::in_memory(end);
        far.spawn(async move {
            stream::drive(local, conn, socket, Box::pin(protocol), ()).await;
            told.session.ask(http2::Connection::end);
            told.has_ended.set(true);
        });
        peer
    }

    async fn run(
        self: Rc<Self>,
        local: Rc<IoContext>,
        is_secure: bool,
        accepted: impl Fn(&Rc<Peer>, Stream, Head),
    ) {
        if is_secure && self.conn.handshake(&local.handshakes, u32::MAX).await.is_err() {
            return;
        }
        let due = local.timers.timer();
        let session = &self.session;
        poll_fn(|cx| {
            self.task.borrow_mut().get_or_insert_with(|| cx.waker().clone());
            session.ask(|http2| http2.keep_task(cx));
            session.pump();
            while let Some((stream, head, _)) = session.accept() {
                accepted(&self, stream, head);
            }
            session.ask(|http2| http2.check());
            if let Some(next) = session.ask(|http2| http2.next_due()) {
                let now = local.timers.now();
                session.with(|http2, out, _| http2.send_due(now, out));
                if !due.is_armed() && now < next {
                    due.arm(next, cx.waker());
                }
            }
            if self.conn.read_end().is_some() || self.closes.get() || self.conn.is_aborted() {
                session.ask(http2::Connection::end);
            }
            if session.ask(|http2| http2.is_done()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Opens no more calls, and ends with the last of those it has.
    pub(super) fn finish(&self) {
        self.session.with(|http2, out, _| http2.shut_down(out));
        self.wake();
    }

    /// Closes its side in order, whatever is in flight.
    pub(super) fn close(&self) {
        self.closes.set(true);
        self.wake();
    }

    /// Cuts the connection.
    pub(super) fn cut(&self) {
        self.conn.abort();
        self.wake();
    }

    fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }
}

/// The connections that a service has had.
pub(super) type Peers = Rc<RefCell<Vec<Rc<Peer>>>>;

/// Serves an address: `accepted` is told of each stream of each connection.
pub(super) fn serve(
    far: &Rc<Far>,
    address: SocketAddr,
    bounds: Bounds,
    accepted: impl Fn(&Rc<Peer>, Stream, Head) + 'static,
) -> Peers {
    let (far, accepted) = (Rc::clone(far), Rc::new(accepted));
    let known = Peers::default();
    let peers = Rc::clone(&known);
    far.clone().spawn(async move {
        while let Ok((end, _)) = far.memory.accept(address).await {
            let accepted = Rc::clone(&accepted);
            let accepted = move |peer: &Rc<Peer>, stream, head| accepted(peer, stream, head);
            known.borrow_mut().push(Peer::server(&far, end, bounds.clone(), accepted));
        }
    });
    peers
}
