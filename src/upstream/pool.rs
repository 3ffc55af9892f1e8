//! The pool of one cluster on one worker: it chooses endpoint and connection of each call, and holds the calls that
//! wait.
//!
//! A call goes to an endpoint that can take it at once, if there is any. It waits only while there is hope: a connect
//! under way, or a full connection that will have room again. Connects are lazy, one at a time for each endpoint.
//!
//! A pool outlives configurations, and takes over each new one. An endpoint that stays keeps its connections. An
//! endpoint that goes takes no more calls, and its connections drain.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::connection::{self, Connect, ConnectionEvent, Owner};
use super::endpoint::{Capacity, Endpoint};
use super::lease::{Lessor, StreamLease};
use super::places::Connection;
use super::waiters::Waiters;
use crate::config::{self, EndpointAddress};
use crate::http2::Memory;
use crate::metrics::labels::Task;
use crate::metrics::{ClusterBlock, ConnectError, EndpointSlot};
use crate::net::{IoContext, runtime};
use crate::policy::age::Age;
use crate::policy::balance::{Balance, Candidate, Tried};
use crate::policy::failure::Failure;
use crate::policy::health::SharedHealth;
use crate::policy::limit::{Limit, SharedLimit};
use crate::policy::outlier::{OutlierEvent, Outliers};
use crate::policy::shared_cluster::SharedClusterState;
use crate::random::Random;
use crate::time::Moment;
use crate::time::seldom::Seldom;
use crate::tls::{ClientContext, ClusterContext, SessionError};

/// A cluster's endpoints and connections, as one worker sees them.
pub(super) struct Pool {
    // Set at start.
    local: Rc<IoContext>,
    memory: Rc<Memory>,
    counts: Arc<ClusterBlock>,
    /// This worker's side of the limit on connections.
    connections: Limit,
    /// And that on calls that wait for one.
    pub(super) pending: Limit,

    /// TLS towards the endpoints.
    tls: RefCell<Option<ClusterContext>>,

    // Changed by this worker; borrowed for a statement, never across an await.
    config: RefCell<PoolConfig>,
    balance: RefCell<Balance>,
    random: RefCell<Random>,
    pub(super) waiters: RefCell<Waiters>,
    /// It gets no new calls; its connections drain.
    retired: Cell<bool>,
}

/// The part of a pool that the configuration in use determines.
struct PoolConfig {
    settings: Rc<config::Cluster>,
    endpoints: Vec<Rc<Endpoint>>,
    outliers: Outliers,
    health: Option<Arc<SharedHealth>>,
}

pub(super) enum Unavailable {
    /// A connect is under way, or a connection will have room again.
    ForNow,
    /// There is no hope.
    Fails(Failure),
}

impl Pool {
    /// A pool without connections.
    pub(super) fn new(
        settings: &Rc<config::Cluster>,
        addresses: &[EndpointAddress],
        shares: &SharedClusterState,
        counts: &Arc<ClusterBlock>,
        (local, memory): (&Rc<IoContext>, &Rc<Memory>),
        seed: u64,
    ) -> Rc<Pool> {
        let config = PoolConfig {
            settings: Rc::clone(settings),
            endpoints: Vec::new(),
            outliers: Outliers::new(Arc::clone(&shares.outliers)),
            health: None,
        };
        let pool = Pool {
            local: Rc::clone(local),
            memory: Rc::clone(memory),
            counts: Arc::clone(counts),
            connections: Limit::new(Arc::clone(&shares.connections)),
            pending: Limit::new(Arc::clone(&shares.pending)),
            tls: RefCell::default(),
            config: RefCell::new(config),
            balance: RefCell::new(balance(settings)),
            random: RefCell::new(Random::seeded(seed)),
            waiters: RefCell::default(),
            retired: Cell::new(false),
        };
        pool.adopt(settings, addresses, shares);
        Rc::new(pool)
    }

    /// Whether this limit counts its connections.
    pub(super) fn counts_in(&self, connections: &Arc<SharedLimit>) -> bool {
        Arc::ptr_eq(self.connections.shared(), connections)
    }

    /// Takes over a configuration.
    pub(super) fn adopt(
        &self,
        settings: &Rc<config::Cluster>,
        addresses: &[EndpointAddress],
        shares: &SharedClusterState,
    ) {
        let config = &mut *self.config.borrow_mut();
        let (old, kept) = (Rc::clone(&config.settings), connections_stay(&config.settings, settings));
        let mut before = std::mem::take(&mut config.endpoints);
        for (index, address) in addresses.iter().enumerate() {
            let known = before.iter().position(|known| kept && known.address == *address);
            let endpoint = match known {
                Some(at) => before.swap_remove(at),
                None => Rc::new(Endpoint::new(*address, settings)),
            };
            endpoint.index.set(Some(index));
            endpoint.adopt(settings, &old);
            config.endpoints.push(endpoint);
        }
        for gone in before {
            gone.index.set(None);
            gone.drain();
        }
        if !Arc::ptr_eq(config.outliers.shared(), &shares.outliers) {
            config.outliers = Outliers::new(Arc::clone(&shares.outliers));
        }
        config.health.clone_from(&shares.health);
        config.settings = Rc::clone(settings);
        let balances = |settings: &config::Cluster| (settings.lb_policy, settings.healthy_panic_threshold);
        if balances(&old) != balances(settings) {
            *self.balance.borrow_mut() = balance(settings);
        }
        // There may be room now where there was none.
        self.wake_waiters(u32::MAX);
    }

    /// Ends its connections as soon as they have no calls. Calls that have begun go on, and may still begin attempts.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        for endpoint in &self.config.borrow().endpoints {
            endpoint.drain();
        }
    }

    /// Sets TLS for connections that begin from now on.
    pub(super) fn set_tls(&self, tls: Option<ClusterContext>) {
        *self.tls.borrow_mut() = tls;
    }

    /// Sets other certificates for them.
    pub(super) fn renew_tls(&self, context: &Arc<ClientContext>) {
        if let Some(tls) = &mut *self.tls.borrow_mut() {
            tls.context = Arc::clone(context);
        }
    }

    /// Whether idle connections are of no more use.
    pub(super) fn is_over(&self) -> bool {
        self.retired.get() && self.waiters.borrow().is_empty()
    }

    /// The cluster's settings, as configured.
    pub(super) fn settings(&self) -> Rc<config::Cluster> {
        Rc::clone(&self.config.borrow().settings)
    }

    pub(super) fn counts(&self) -> &ClusterBlock {
        &self.counts
    }

    pub(super) fn random(&self) -> RefMut<'_, Random> {
        self.random.borrow_mut()
    }

    /// Reads other workers' states, and drains connections that are too many. To be called each 100 ms.
    pub(super) fn sync_shared(&self, now: Moment) {
        let config = self.config.borrow();
        config.outliers.tick(now);
        let ending: usize = config.endpoints.iter().map(|endpoint| endpoint.ending()).sum();
        if self.connections.shared().excess() as usize > ending {
            let all = config.endpoints.iter().filter_map(|endpoint| endpoint.least_busy());
            if let Some(connection) = all.min_by_key(|connection| connection.active()) {
                connection.drain();
            }
        }
    }

    /// Publishes the state of its endpoints, for people to look at.
    pub(super) fn publish(&self, slots: &[EndpointSlot]) {
        let now = self.local.timers.now();
        let config = self.config.borrow();
        let mut endpoints = config.endpoints.iter();
        for slot in slots {
            match endpoints.next() {
                Some(endpoint) => slot.publish(&endpoint.view(now)),
                None => slot.clear(),
            }
        }
    }

    /// A connection that takes a call now.
    pub(super) fn try_lease(self: &Rc<Self>, tried: Tried) -> Result<StreamLease, Unavailable> {
        let config = &*self.config.borrow();
        // Each round either succeeds or finds a connection that has ended, so there are not many.
        loop {
            let mut picked = self.pick(config, tried, |index| config.health(index));
            // An ejected endpoint is better than none at all.
            if picked.is_none() && !config.may_become_available(|index| config.health(index).0) {
                picked = self.pick(config, tried, |_| (true, 1.0));
            }
            let Some(index) = picked else { return Err(self.unavailable_reason(config)) };
            let endpoint = &config.endpoints[index];
            let Capacity::Here(connection) = endpoint.room() else {
                return Err(self.unavailable_reason(config));
            };
            if connection.is_usable() {
                let lease = StreamLease::new(Rc::clone(self) as _, endpoint, index, connection);
                self.connect_if_needed(config, endpoint);
                return Ok(lease);
            }
        }
    }

    fn pick(
        self: &Rc<Self>,
        config: &PoolConfig,
        tried: Tried,
        of: impl Fn(usize) -> (bool, f32),
    ) -> Option<usize> {
        let look = |index: usize| {
            let (healthy, weight) = of(index);
            let load = self.look_at(config, &config.endpoints[index]);
            Candidate { load, healthy, weight, avoid: tried.has(index) }
        };
        self.balance.borrow_mut().pick(config.endpoints.len(), look, &mut self.random.borrow_mut())
    }

    /// The load of an endpoint that can take a call now; begins a connect to one that cannot.
    fn look_at(self: &Rc<Self>, config: &PoolConfig, endpoint: &Rc<Endpoint>) -> Option<u32> {
        let load = endpoint.load();
        if load.is_none() {
            self.connect_if_needed(config, endpoint);
        }
        load
    }

    fn connect_if_needed(self: &Rc<Self>, config: &PoolConfig, endpoint: &Rc<Endpoint>) {
        if !endpoint.wants_connection(&config.settings) || !endpoint.may_connect(self.local.timers.now()) {
            return;
        }
        if self.connections.take() {
            self.connect(endpoint);
        } else {
            self.counts().connections_refused.add(1);
        }
    }

    /// Whether a connection has a send in flight.
    #[cfg(test)]
    pub(super) fn is_sending(&self) -> bool {
        self.config.borrow().endpoints.iter().any(|endpoint| endpoint.is_sending())
    }

    /// Begins all connects that are wanted.
    pub(super) fn connect_wanted(self: &Rc<Self>) {
        self.connect_each(&self.config.borrow());
    }

    /// Whether a connection takes calls.
    pub(super) fn is_connected(&self) -> bool {
        self.config.borrow().endpoints.iter().any(|endpoint| !matches!(endpoint.room(), Capacity::None))
    }

    /// Begins connects to all endpoints that have none, whatever their backoff says.
    pub(super) fn reconnect(self: &Rc<Self>) {
        self.config.borrow().endpoints.iter().for_each(|endpoint| endpoint.hurry());
        self.connect_wanted();
    }

    fn connect_each(self: &Rc<Self>, config: &PoolConfig) {
        for endpoint in &config.endpoints {
            self.connect_if_needed(config, endpoint);
        }
    }

    /// Tells whether a call should wait, where no endpoint takes it now.
    fn unavailable_reason(self: &Rc<Self>, config: &PoolConfig) -> Unavailable {
        self.connect_each(config);
        if config.may_become_available(|_| true) {
            return Unavailable::ForNow;
        }
        // An endpoint may be connected to, but is not: all connections that there may be are open.
        let now = self.local.timers.now();
        let full = |endpoint: &Rc<Endpoint>| {
            endpoint.wants_connection(&config.settings) && endpoint.may_connect(now)
        };
        if config.endpoints.iter().any(full) {
            return Unavailable::Fails(Failure::LimitReached);
        }
        let failure =
            config.endpoints.first().map_or(Failure::ConnectFailed, |endpoint| endpoint.last_failure());
        Unavailable::Fails(failure)
    }

    /// Begins to connect, as a task of its own.
    fn connect(self: &Rc<Self>, endpoint: &Rc<Endpoint>) {
        endpoint.connecting.set(true);
        let owner = Place { pool: Rc::clone(self), endpoint: Rc::clone(endpoint) };
        let connect = Connect {
            address: endpoint.address,
            local: Rc::clone(&self.local),
            memory: Rc::clone(&self.memory),
            ping_interval: Rc::clone(endpoint.ping_interval()),
            tls: self.tls.borrow().as_ref().map(|tls| tls.session(endpoint.address)),
        };
        let pool = Rc::clone(self);
        let panicked = move || pool.local.counts().panics.add(Task::UpstreamConnection as usize);
        runtime::spawn(panicked, connection::run(connect, owner));
    }

    /// Adds a new connection to this endpoint.
    fn connected(&self, endpoint: &Endpoint, connection: &Rc<Connection>) {
        endpoint.connecting.set(false);
        endpoint.connected();
        endpoint.add(Rc::clone(connection));
        self.counts().connections_opened.add(1);
        self.counts().connections_active.raise();
        debug_assert!(connection.takes_calls());
        if endpoint.index.get().is_none() || self.is_over() {
            return connection.drain();
        }
        self.wake_waiters(self.settings().pool.max_streams_per_connection);
    }

    /// Reports a failed handshake, at a bounded rate: a service that is set up in a wrong way fails each of them.
    fn tls_failed(&self, endpoint: &Endpoint, error: &SessionError) {
        static FAILURES: Seldom = Seldom::new();
        self.counts.tls_failures.add(1);
        if let Some(more) = FAILURES.pass(self.local.timers.now()) {
            let cluster = &self.config.borrow().settings.name;
            tracing::warn!(cluster, endpoint = %endpoint.address, reason = %error, more, "TLS handshake with a service failed");
        }
    }

    /// Notes a failed connect, or one of which nothing came: calls that wait look whether there is still hope.
    fn connect_failed(&self, endpoint: &Endpoint, failure: Failure, error: ConnectError) {
        match failure {
            Failure::ConnectTimedOut => self.counts().connect_timeouts.add(1),
            _ => self.counts().connect_failures.add(1),
        }
        let now = self.local.timers.now();
        endpoint.failed((failure, error), now, &mut self.random.borrow_mut());
        self.record(endpoint, OutlierEvent::LocalOriginFailure, now);
        self.wake_waiters(u32::MAX);
    }

    pub(super) fn wake_waiters(&self, count: u32) {
        let mut waiters = self.waiters.borrow_mut();
        let count = waiters.len().min(count as usize);
        waiters.wake(count);
    }
}

/// The place of one connection among those of its pool, and at its endpoint.
struct Place {
    pool: Rc<Pool>,
    endpoint: Rc<Endpoint>,
}

impl Owner for Place {
    fn settings(&self) -> Rc<config::Cluster> {
        self.pool.settings()
    }

    fn age(&self, now: Moment) -> Age {
        Age::begin(&self.settings().pool.age, now, &mut self.pool.random())
    }

    fn apply(&self, event: ConnectionEvent) {
        let Place { pool, endpoint } = self;
        match event {
            ConnectionEvent::Ready(connection) => pool.connected(endpoint, &connection),
            ConnectionEvent::Capacity(more) => pool.wake_waiters(more),
            ConnectionEvent::Goaway { frames, is_too_much, too_many_pings } => {
                pool.counts().goaways.add(frames.into());
                if is_too_much {
                    endpoint.ping_less();
                }
                if too_many_pings {
                    pool.counts().too_many_pings.add(1);
                    let (cluster, endpoint) = (&self.settings().name, endpoint.address);
                    tracing::warn!(cluster, %endpoint, "too_many_pings: keepalive.interval is too short for this service");
                }
            }
            ConnectionEvent::Noted(notes) => {
                pool.counts().late_frames.add(notes.late_frames.into());
                pool.counts().streams_malformed.add(notes.malformed.into());
                pool.counts().held_resets.add(notes.held_resets.into());
            }
            ConnectionEvent::ProtocolError => pool.counts().protocol_errors.add(1),
            ConnectionEvent::TlsFailed(error) => pool.tls_failed(endpoint, &error),
            ConnectionEvent::WasOfUse => endpoint.succeeded(),
            // A service that closes whatever it accepts would be dialled in a loop.
            ConnectionEvent::WasOfNoUse => {
                pool.connect_failed(endpoint, Failure::ConnectFailed, ConnectError::Closed);
            }
            ConnectionEvent::KeepaliveTimeout => pool.counts().keepalive_timeouts.add(1),
            ConnectionEvent::Closed(connection) => {
                // Another connection may be opened in its place.
                pool.connections.give();
                endpoint.remove(&connection);
                pool.counts().connections_active.lower();
                // Calls that waited for room on it need another connection.
                pool.wake_waiters(u32::MAX);
            }
            ConnectionEvent::Failed(failure, error) => {
                pool.connections.give();
                endpoint.connecting.set(false);
                pool.connect_failed(endpoint, failure, error);
            }
        }
    }
}

impl Lessor for Pool {
    fn counts(&self) -> &ClusterBlock {
        &self.counts
    }

    fn record(&self, endpoint: &Endpoint, seen: OutlierEvent, now: Moment) {
        // An endpoint that the cluster has no more is not judged.
        if let Some(index) = endpoint.index.get() {
            self.config.borrow().outliers.record(index, seen, now);
        }
    }

    fn released(&self, connection: &Connection) {
        if connection.active() == 0 && self.is_over() {
            connection.drain();
        }
        self.wake_waiters(1);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.settings().name).finish_non_exhaustive()
    }
}

impl PoolConfig {
    /// Whether an endpoint may get calls, and the part of its share.
    fn health(&self, index: usize) -> (bool, f32) {
        let (healthy, weight) = self.outliers.of(index);
        (healthy && self.health.as_ref().is_none_or(|health| health.is_healthy(index)), weight)
    }

    /// Whether one of these endpoints will take a call soon.
    fn may_become_available(&self, which: impl Fn(usize) -> bool) -> bool {
        self.endpoints.iter().enumerate().filter(|(index, _)| which(*index)).any(|(_, endpoint)| {
            endpoint.connecting.get() || matches!(endpoint.room(), Capacity::Full | Capacity::Here(_))
        })
    }
}

fn balance(settings: &config::Cluster) -> Balance {
    Balance::new(settings.lb_policy, settings.healthy_panic_threshold)
}

/// Whether connections by the settings before are as the new settings would make them.
fn connections_stay(before: &config::Cluster, settings: &config::Cluster) -> bool {
    // These settings are read anew for each connect and each call.
    let ours = |pool: &config::Pool| config::Pool {
        max_connections_per_endpoint: 0,
        replay_buffer_size: 0,
        ..pool.clone()
    };
    ours(&before.pool) == ours(&settings.pool) && before.tls == settings.tls
}
