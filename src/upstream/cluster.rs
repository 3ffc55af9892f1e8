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
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use http::Request;

use super::connection::{self, Connection};
use super::endpoint::{Endpoint, Room};
use super::failed::Failed;
use super::guard::{self, Attempted, Passes};
use super::latencies::Latencies;
use super::methods::{Method, Methods};
use super::waiters::{Left, Waiters};
use crate::config;
use crate::metrics::{ClusterBlock, EndpointSlot, TimeoutSlot};
use crate::net::Local;
use crate::net::pipe::Outgoing;
use crate::policy::balance::{Balance, Candidate, Tried};
use crate::policy::breaker::LocalBreaker;
use crate::policy::budget::Budget;
use crate::policy::failure::Failure;
use crate::policy::health::SharedHealth;
use crate::policy::limit::{Limit, SharedLimit};
use crate::policy::outcome::Outcome;
use crate::policy::outlier::{Outliers, Seen};
use crate::policy::retry::End;
use crate::policy::shares::Shares;
use crate::random::Random;
use crate::time::Moment;

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

    // This worker's side of what all share.
    /// The limit on calls in flight.
    limit: Limit,
    connections: Limit,
    /// Calls that wait for a connection.
    pending: Limit,
    budget: Budget,
    breaker: Option<LocalBreaker>,
    outliers: Outliers,
    health: Option<Arc<SharedHealth>>,
    latencies: Option<Latencies>,
    methods: Methods,
    /// It gets no new calls; its connections end with those it has.
    retired: Cell<bool>,
}

/// What a worker is given of a cluster.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The number of the worker.
    pub worker: usize,
    /// The addresses of its endpoints.
    pub addresses: &'a [SocketAddr],
    /// Where it counts.
    pub counts: Arc<ClusterBlock>,
    /// The limit on calls in flight.
    pub limit: Arc<SharedLimit>,
    /// What else all workers share of it.
    pub shares: &'a Shares,
}

impl Cluster {
    /// A cluster without connections.
    pub fn new(settings: config::Cluster, parts: Parts<'_>, local: Rc<Local>, seed: u64) -> Rc<Cluster> {
        let Parts { worker, addresses, counts, limit, shares } = parts;
        let endpoint = |(at, address): (usize, &SocketAddr)| Rc::new(Endpoint::new(at, *address, &settings));
        let throttling = settings.service_config.as_ref().and_then(|config| config.throttling);
        let breaker = |shared: &Arc<_>| LocalBreaker::new(Arc::clone(shared), worker);
        Rc::new(Cluster {
            balance: RefCell::new(Balance::new(settings.lb_policy, settings.healthy_panic_threshold)),
            endpoints: addresses.iter().enumerate().map(endpoint).collect(),
            connections: Limit::new(Arc::clone(&shares.connections)),
            pending: Limit::new(Arc::clone(&shares.pending)),
            budget: Budget::new(&shares.budget, throttling),
            breaker: shares.breaker.as_ref().map(breaker),
            outliers: Outliers::new(Arc::clone(&shares.outliers)),
            health: shares.health.clone(),
            latencies: settings.adaptive_timeout.clone().map(Latencies::new),
            methods: Methods::new(&settings, shares, worker),
            settings,
            local,
            counts,
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

    /// What pays for its retries.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Timeouts that follow the latency, if it has such.
    pub fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_ref()
    }

    /// What is set for the method of this path.
    pub fn method(&self, path: &str) -> &Method {
        self.methods.find(path)
    }

    /// The right to make an attempt.
    ///
    /// # Errors
    /// How long the breaker that refuses stays open.
    pub fn ask<'a>(&'a self, method: &'a Method, now: Moment) -> Result<Passes<'a>, Duration> {
        let passes =
            Passes::ask(self.breaker.as_ref(), method.breaker.as_ref(), now, &mut self.random.borrow_mut());
        if passes.is_err() {
            self.counts.breaker_refused.add(1);
        }
        passes
    }

    /// Settles what other workers depend on, and reads what they have said. To be called each 100 ms.
    pub fn settle(&self, now: Moment) {
        self.limit.settle();
        self.outliers.tick(now);
        self.methods.tick(now);
        if let Some(breaker) = &self.breaker {
            breaker.tick(now);
        }
    }

    /// Its counters.
    pub fn counts(&self) -> &ClusterBlock {
        &self.counts
    }

    /// Says how its endpoints are, and the timeouts of its methods, for people to look at.
    pub fn publish(&self, slots: &[EndpointSlot], timeouts: &[TimeoutSlot]) {
        if let Some(latencies) = &self.latencies {
            latencies.publish(timeouts);
        }
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

    /// Waits for a connection that takes a call, on an endpoint that it has not been `tried` on if there is any.
    pub fn acquire(self: &Rc<Self>, tried: Tried) -> Acquire {
        Acquire { cluster: Rc::clone(self), tried, ticket: None }
    }

    /// A connection that takes a call now.
    fn try_lease(self: &Rc<Self>, tried: Tried) -> Result<Lease, Unavailable> {
        // Each round either succeeds or finds a connection that has ended, so there are not many.
        loop {
            let mut picked = self.pick(tried, |index| self.fitness(index));
            // Better one that is ejected than none at all.
            if picked.is_none() && !self.has_hope(|index| self.fitness(index).0) {
                picked = self.pick(tried, |_| (true, 1.0));
            }
            let Some(index) = picked else { return Err(self.why_not()) };
            let endpoint = &self.endpoints[index];
            let Room::Here(connection) = endpoint.room() else { return Err(self.why_not()) };
            if connection.is_usable() {
                connection.begin();
                endpoint.calls.set(endpoint.calls.get() + 1);
                self.counts().calls_active.raise();
                self.grow(endpoint);
                let (cluster, endpoint) = (Rc::clone(self), Rc::clone(endpoint));
                return Ok(Lease { cluster, endpoint, connection, sent_after: Cell::default() });
            }
        }
    }

    fn pick(self: &Rc<Self>, tried: Tried, of: impl Fn(usize) -> (bool, f32)) -> Option<usize> {
        let look = |index: usize| {
            let (fit, weight) = of(index);
            let load = self.look_at(&self.endpoints[index]);
            Candidate { load, fit, weight, avoid: tried.has(index) }
        };
        self.balance.borrow_mut().pick(self.endpoints.len(), look, &mut self.random.borrow_mut())
    }

    /// Whether an endpoint may get calls, and what of its share.
    fn fitness(&self, index: usize) -> (bool, f32) {
        let (fit, weight) = self.outliers.of(index);
        (fit && self.health.as_ref().is_none_or(|health| health.is_fit(index)), weight)
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
        if !endpoint.wants_connection(&self.settings) || !endpoint.may_connect(self.local.timers.now()) {
            return;
        }
        if self.connections.take() {
            connection::open(self, endpoint);
        } else {
            self.counts().connections_refused.add(1);
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
        if self.has_hope(|_| true) {
            return Unavailable::ForNow;
        }
        // One that could be connected to and is not: all connections there may be are open.
        let now = self.local.timers.now();
        let full =
            |endpoint: &Rc<Endpoint>| endpoint.wants_connection(&self.settings) && endpoint.may_connect(now);
        if self.endpoints.iter().any(full) {
            return Unavailable::Fails(Failure::LimitReached);
        }
        let failure =
            self.endpoints.first().map_or(Failure::ConnectFailed, |endpoint| endpoint.last_failure());
        Unavailable::Fails(failure)
    }

    /// Whether one of these endpoints will take a call soon.
    fn has_hope(&self, which: impl Fn(usize) -> bool) -> bool {
        self.endpoints.iter().enumerate().filter(|(index, _)| which(*index)).any(|(_, endpoint)| {
            endpoint.connecting.get() || matches!(endpoint.room(), Room::Full | Room::Here(_))
        })
    }

    /// A connection has ended, or did not come about: another one may be opened in its place.
    pub(super) fn give_connection(&self) {
        self.connections.give();
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
        let now = self.local.timers.now();
        endpoint.failed(failure, now, &mut self.random.borrow_mut());
        self.outliers.tell(endpoint.index, Seen::Local, now);
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
    tried: Tried,
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
        match self.cluster.try_lease(self.tried) {
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
            None if !self.cluster.pending.take() => {
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
        self.cluster.pending.give();
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
    /// How far the connection was when the head of the call was given to it.
    sent_after: Cell<Outgoing>,
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
        self.sent_after.set(self.connection.outgoing());
        self.connection.send(request, end)
    }

    /// Judges the failure of a call that was sent: if its connection ended before a byte of it was written, nobody has
    /// seen it.
    pub fn judge(&self, failed: Failed) -> Failed {
        let gone = failed.end == End::Lost && failed.failure == Failure::UpstreamGone;
        if gone && self.connection.ended_at(self.sent_after.get()) {
            return Failed { end: End::NotWritten, ..failed };
        }
        failed
    }

    /// The attempt is over; that says something of its endpoint.
    pub fn tell(&self, attempted: Attempted, took: Duration, now: Moment) {
        let seen = match (attempted.outcome(took, guard::ENDPOINT_MIN_DEADLINE), attempted) {
            (Outcome::Silent, _) => return,
            (Outcome::Well, _) => Seen::Well,
            (Outcome::Ill, Attempted::Answered(_) | Attempted::Failed(Failure::UpstreamNotGrpc(_))) => {
                Seen::Gateway
            }
            (Outcome::Ill, Attempted::Failed(_)) => Seen::Local,
        };
        self.cluster.outliers.tell(self.endpoint.index, seen, now);
    }

    /// Which of the cluster's endpoints it goes to.
    pub fn endpoint(&self) -> usize {
        self.endpoint.index
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
