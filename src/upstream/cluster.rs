//! A service behind the gateway: which endpoint and connection takes the next call, and who waits for one.
//!
//! A call goes to an endpoint that can take it at once, if there is any; it waits only while there is hope, that is, a
//! connect under way or a full connection that will have room again. Connects are lazy, one at a time for each endpoint.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use http::Request;

use super::connection::{self, Connection};
use super::endpoint::{Endpoint, Room};
use super::waiters::{Left, Waiters};
use crate::config;
use crate::metrics::{ClusterBlock, EndpointSlot};
use crate::net::Local;
use crate::policy::balance::{Balance, Candidate};
use crate::policy::failure::Failure;
use crate::policy::limit::{Limit, SharedLimit};
use crate::random::Random;

/// Where less than this share of the endpoints are fit, all count as fit.
const PANIC_PERCENT: u32 = 50;

/// One cluster, as one worker sees it.
pub struct Cluster {
    // Set at start.
    settings: config::Cluster,
    local: Rc<Local>,
    counts: Arc<ClusterBlock>,
    endpoints: Vec<Rc<Endpoint>>,

    // Changed by this worker; borrowed for a statement, never across an await.
    balance: RefCell<Balance>,
    random: RefCell<Random>,
    waiters: RefCell<Waiters>,

    /// This worker's part of the limit on calls in flight.
    limit: Limit,
    /// It gets no new calls; its connections end with those it has.
    retired: Cell<bool>,
}

impl Cluster {
    /// A cluster without connections. `addresses` are those of its endpoints.
    pub fn new(
        settings: config::Cluster,
        addresses: &[SocketAddr],
        local: Rc<Local>,
        counts: Arc<ClusterBlock>,
        limit: Arc<SharedLimit>,
        seed: u64,
    ) -> Rc<Cluster> {
        let endpoints = addresses.iter().map(|address| Rc::new(Endpoint::new(*address, &settings))).collect();
        Rc::new(Cluster {
            balance: RefCell::new(Balance::new(settings.lb_policy, PANIC_PERCENT)),
            settings,
            local,
            counts,
            endpoints,
            random: RefCell::new(Random::seeded(seed)),
            waiters: RefCell::default(),
            limit: Limit::new(limit),
            retired: Cell::new(false),
        })
    }

    /// Whether it is just what a cluster of these settings at these addresses would be.
    pub fn is(&self, settings: &config::Cluster, addresses: &[SocketAddr]) -> bool {
        let same = self.endpoints.iter().map(|endpoint| &endpoint.address).eq(addresses);
        same && self.settings == *settings
    }

    /// Ends its connections as soon as they have no calls. Calls that have begun go on, and may still begin attempts.
    pub fn retire(&self) {
        self.retired.set(true);
        for endpoint in &self.endpoints {
            endpoint.drain();
        }
    }

    /// What the operator set.
    pub fn settings(&self) -> &config::Cluster {
        &self.settings
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The limit on its calls in flight, exact over all workers.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Its counters.
    pub fn counts(&self) -> &ClusterBlock {
        &self.counts
    }

    /// Says how its endpoints are, for people to look at.
    pub fn publish(&self, slots: &[EndpointSlot]) {
        let now = self.local.timers.now();
        let mut endpoints = self.endpoints.iter();
        for slot in slots {
            match endpoints.next() {
                Some(endpoint) => slot.publish(&endpoint.view(now)),
                None => slot.clear(),
            }
        }
    }

    pub(super) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    /// Waits for a connection that takes a call.
    pub fn acquire(self: &Rc<Self>) -> Acquire {
        Acquire { cluster: Rc::clone(self), ticket: None }
    }

    /// A connection that takes a call now.
    fn try_lease(self: &Rc<Self>) -> Result<Lease, Unavailable> {
        // Each round either succeeds or finds a connection that has ended, so there are not many.
        loop {
            let picked = self.balance.borrow_mut().pick(
                self.endpoints.len(),
                |index| Candidate::good(self.look_at(&self.endpoints[index])),
                &mut self.random.borrow_mut(),
            );
            let Some(index) = picked else { return Err(self.why_not()) };
            let endpoint = &self.endpoints[index];
            let Room::Here(connection) = endpoint.room() else { return Err(self.why_not()) };
            if connection.is_usable() {
                connection.begin();
                endpoint.calls.set(endpoint.calls.get() + 1);
                self.counts().calls_active.raise();
                self.grow(endpoint);
                return Ok(Lease { cluster: Rc::clone(self), endpoint: Rc::clone(endpoint), connection });
            }
        }
    }

    /// The load of an endpoint that can take a call now; begins to connect to one that cannot.
    fn look_at(self: &Rc<Self>, endpoint: &Rc<Endpoint>) -> Option<u32> {
        let load = endpoint.load();
        if load.is_none() {
            self.grow(endpoint);
        }
        load
    }

    fn grow(self: &Rc<Self>, endpoint: &Rc<Endpoint>) {
        if endpoint.wants_connection(&self.settings) && endpoint.may_connect(self.local.timers.now()) {
            connection::open(self, endpoint);
        }
    }

    fn grow_all(self: &Rc<Self>) {
        for endpoint in &self.endpoints {
            self.grow(endpoint);
        }
    }

    /// Nobody can take a call: whether that is worth waiting for.
    fn why_not(self: &Rc<Self>) -> Unavailable {
        self.grow_all();
        let hope = self.endpoints.iter().any(|endpoint| {
            endpoint.connecting.get() || matches!(endpoint.room(), Room::Full | Room::Here(_))
        });
        if hope {
            return Unavailable::ForNow;
        }
        let failure =
            self.endpoints.first().map_or(Failure::ConnectFailed, |endpoint| endpoint.last_failure());
        Unavailable::Fails(failure)
    }

    /// A new connection is there.
    pub(super) fn connected(&self, connection: &Connection) {
        debug_assert!(connection.takes_calls());
        if self.retired.get() && self.waiters.borrow().is_empty() {
            return connection.drain();
        }
        self.wake_waiters(self.settings.pool.max_streams_per_connection);
    }

    /// A connect has failed: those who wait look whether there is hope still.
    pub(super) fn connect_failed(&self, endpoint: &Endpoint, failure: Failure) {
        endpoint.failed(failure, self.local.timers.now(), &mut self.random.borrow_mut());
        self.wake_waiters(u32::MAX);
    }

    /// A connection has ended: those who waited for room on it need another.
    pub(super) fn disconnected(&self) {
        self.wake_waiters(u32::MAX);
    }

    pub(super) fn wake_waiters(&self, count: u32) {
        let mut waiters = self.waiters.borrow_mut();
        let count = waiters.len().min(count as usize);
        waiters.wake(count);
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

enum Unavailable {
    /// A connect is under way, or a connection will have room again.
    ForNow,
    /// There is no hope.
    Fails(Failure),
}

/// The wait for a connection; see [`Cluster::acquire`].
#[derive(Debug)]
pub struct Acquire {
    cluster: Rc<Cluster>,
    /// The place in the queue, once it had to wait.
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Result<Lease, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_due() {
            self.cluster.grow_all();
            return self.wait(cx);
        }
        match self.cluster.try_lease() {
            Ok(lease) => {
                self.leave();
                Poll::Ready(Ok(lease))
            }
            Err(Unavailable::Fails(failure)) => {
                self.leave();
                Poll::Ready(Err(failure))
            }
            Err(Unavailable::ForNow) => self.wait(cx),
        }
    }
}

impl Acquire {
    /// Whether nobody stands before it.
    fn is_due(&self) -> bool {
        let waiters = self.cluster.waiters.borrow();
        self.ticket.map_or_else(|| waiters.is_empty(), |ticket| waiters.is_woken(ticket))
    }

    fn wait(&mut self, cx: &Context<'_>) -> Poll<Result<Lease, Failure>> {
        let mut waiters = self.cluster.waiters.borrow_mut();
        match self.ticket {
            Some(ticket) => waiters.stay(ticket, cx.waker()),
            None if waiters.len() >= self.cluster.settings.max_pending_requests as usize => {
                self.cluster.counts().pending_overflow.add(1);
                return Poll::Ready(Err(Failure::PendingFull));
            }
            None => {
                self.cluster.counts().pending_active.raise();
                self.ticket = Some(waiters.enter(cx.waker()));
            }
        }
        Poll::Pending
    }

    /// Leaves the queue, if it stands there.
    fn leave(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        self.cluster.counts().pending_active.lower();
        let left = self.cluster.waiters.borrow_mut().leave(ticket);
        if left == Left::Woken {
            self.cluster.wake_waiters(1);
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The right to one call on a connection; dropping it gives the place to the next.
pub struct Lease {
    cluster: Rc<Cluster>,
    endpoint: Rc<Endpoint>,
    connection: Rc<Connection>,
}

impl Lease {
    /// Sends the head of the call.
    ///
    /// # Errors
    /// When h2 finds the head malformed, or the connection has just ended.
    pub fn send(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.cluster.counts().calls.add(1);
        self.endpoint.sent();
        self.connection.send(request, end)
    }

    /// Where the call goes.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.calls.set(self.endpoint.calls.get() - 1);
        self.cluster.counts().calls_active.lower();
        self.connection.end();
        if self.cluster.retired.get()
            && self.connection.active() == 0
            && self.cluster.waiters.borrow().is_empty()
        {
            self.connection.drain();
        }
        self.cluster.wake_waiters(1);
    }
}
