//! A service behind the gateway: what one configuration makes of it on one worker.
//!
//! A new configuration replaces it as a whole; a call keeps the one it began with. Some parts hold learnt values, or
//! counts over calls of both. The next cluster takes these over where their settings stay the same: breakers, limits,
//! the retry budget, latencies, and the pool with endpoints and connections ([`pool`](super::pool)).

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::acquire::AcquireStream;
use super::latencies::Latencies;
use super::methods::{self, Method, Methods};
use super::permits::{BreakerPermits, BreakerRefusal};
use super::pool::Pool;
use crate::config::{self, EndpointAddress};
use crate::http2::Memory;
use crate::metrics::{ClusterBlock, EndpointSlot, TimeoutSlot};
use crate::net::IoContext;
use crate::policy::balance::Tried;
use crate::policy::breaker::LocalBreaker;
use crate::policy::budget::Budget;
use crate::policy::limit::{Limit, SharedLimit};
use crate::policy::retry::AttemptOutcome;
use crate::policy::shared_cluster::SharedClusterState;
use crate::time::Moment;
use crate::tls::{ClientContext, ClusterContext};

/// A cluster, as one worker sees it.
pub struct Cluster {
    settings: Rc<config::Cluster>,
    pool: Rc<Pool>,
    methods: Methods,

    // This worker's side of shared state.
    /// The limit on calls in flight.
    limit: Rc<Limit>,
    budget: Rc<Budget>,
    breaker: Option<Rc<LocalBreaker>>,
    /// Breakers in its place, in the order of the settings.
    route_breakers: Vec<Rc<LocalBreaker>>,
    latencies: Option<Rc<Latencies>>,
}

/// The breaker that stands for the cluster in the calls of a route. A method's own is asked beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteBreaker {
    /// The cluster's.
    OfCluster,
    /// None.
    Off,
    /// The one at this position in [`config::Cluster::route_breakers`].
    Own(u32),
}

/// The inputs that a worker builds a [`Cluster`] from.
#[derive(Debug)]
pub struct ClusterInputs<'a> {
    /// The number of the worker.
    pub worker: usize,
    /// The addresses of its endpoints.
    pub addresses: &'a [EndpointAddress],
    /// The counters of the cluster on this worker.
    pub counts: Arc<ClusterBlock>,
    /// The limit on calls in flight.
    pub limit: Arc<SharedLimit>,
    /// Further state of the cluster that all workers share.
    pub shares: &'a SharedClusterState,
    /// Memory of its connections.
    pub memory: &'a Rc<Memory>,
    /// TLS towards its endpoints; `None` for plaintext.
    pub tls: Option<ClusterContext>,
    /// The cluster as the previous configuration had it, if it did.
    pub before: Option<&'a Cluster>,
}

impl Cluster {
    /// A cluster with those parts of the one before that stay; without one, it has no connections.
    pub fn new(
        settings: config::Cluster,
        parts: ClusterInputs<'_>,
        local: &Rc<IoContext>,
        seed: u64,
    ) -> Rc<Cluster> {
        let ClusterInputs { worker, addresses, counts, limit, shares, memory, tls, before } = parts;
        let settings = Rc::new(settings);
        // The limit counts connections that are open, so it and they go together.
        let pool = match before.filter(|before| before.pool.counts_in(&shares.connections)) {
            Some(before) => {
                before.pool.adopt(&settings, addresses, shares);
                Rc::clone(&before.pool)
            }
            None => Pool::new(&settings, addresses, shares, &counts, (local, memory), seed),
        };
        pool.set_tls(tls);
        let throttling = |settings: &config::Cluster| settings.service_config.as_ref()?.throttling;
        let same_budget = |before: &&Cluster| {
            Arc::ptr_eq(before.budget.shared(), &shares.budget)
                && throttling(&before.settings) == throttling(&settings)
        };
        let budget = before.filter(same_budget).map(|before| Rc::clone(&before.budget));
        let known = before.and_then(|before| before.breaker.as_ref());
        let breaker = shares.breaker.as_ref().map(|shared| methods::breaker(known, shared, worker));
        let of_routes = |before: &'_ Cluster| before.route_breakers.clone();
        let known = before.map(of_routes).unwrap_or_default();
        let route_breakers = shares.route_breakers.iter().map(|(_, shared)| {
            let known = known.iter().find(|known| Arc::ptr_eq(known.shared(), shared));
            methods::breaker(known, shared, worker)
        });
        let route_breakers = route_breakers.collect();
        let latencies = settings.adaptive_timeout.as_ref().map(|wanted| {
            let known = before.and_then(|before| before.latencies.as_ref());
            let known = known.filter(|known| known.settings() == wanted);
            known.map_or_else(|| Rc::new(Latencies::new(wanted.clone())), Rc::clone)
        });
        let same_limit = |before: &&Cluster| Arc::ptr_eq(before.limit.shared(), &limit);
        let kept_limit = before.filter(same_limit).map(|before| Rc::clone(&before.limit));
        Rc::new(Cluster {
            pool,
            budget: budget.unwrap_or_else(|| Rc::new(Budget::new(&shares.budget, throttling(&settings)))),
            breaker,
            route_breakers,
            latencies,
            methods: Methods::new(&settings, shares, worker, before.map(|before| &before.methods)),
            limit: kept_limit.unwrap_or_else(|| Rc::new(Limit::new(limit))),
            settings,
        })
    }

    /// Whether `next` has taken over its endpoints and connections.
    pub fn shares_pool_with(&self, next: &Cluster) -> bool {
        Rc::ptr_eq(&self.pool, &next.pool)
    }

    /// Ends its connections as soon as they have no calls. Calls that have begun go on, and may still begin attempts.
    pub fn retire(&self) {
        self.pool.retire();
    }

    /// Takes over other certificates. Connections that have begun keep theirs.
    pub fn renew_tls(&self, context: &Arc<ClientContext>) {
        self.pool.renew_tls(context);
    }

    /// The cluster's settings, as configured.
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

    /// The retry budget, which pays for each retry.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The adaptive timeouts, if the cluster has them.
    pub fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_deref()
    }

    /// The settings of the method at this path.
    pub fn method(&self, path: impl AsRef<[u8]>) -> &Method {
        self.methods.find(path.as_ref())
    }

    /// The right to make an attempt.
    ///
    /// # Errors
    /// The refusal of the breaker that is open.
    pub fn admit<'a>(
        &'a self,
        method: &'a Method,
        route: RouteBreaker,
        now: Moment,
    ) -> Result<BreakerPermits<'a>, BreakerRefusal> {
        let own = match route {
            RouteBreaker::OfCluster => self.breaker.as_deref(),
            RouteBreaker::Off => None,
            RouteBreaker::Own(position) => {
                self.route_breakers.get(position as usize).map(|breaker| &**breaker)
            }
        };
        let breakers = [own, method.breaker.as_deref()];
        breakers.into_iter().flatten().for_each(|breaker| self.reach(breaker, now));
        let passes = BreakerPermits::admit(breakers[0], breakers[1], now, &mut self.pool.random());
        passes.inspect_err(|refusal| {
            // Connects go on as if the call were there.
            self.pool.connect_wanted();
            // A refusal of a held call counts, if there is one, when the call has waited.
            if refusal.outcome != AttemptOutcome::Held {
                self.counts().breaker_refused.add(1);
            }
        })
    }

    /// Whether this worker has a connection to it.
    pub fn is_connected(&self) -> bool {
        self.pool.is_connected()
    }

    /// Connects again while a breaker is not closed, and tells it when that has succeeded.
    fn reach(&self, breaker: &LocalBreaker, now: Moment) {
        if !breaker.is_closed() && breaker.reach(self.pool.is_connected(), now) {
            self.pool.reconnect();
        }
    }

    /// Settles state that other workers depend on, and reads theirs. To be called each 100 ms.
    pub fn sync_shared(&self, now: Moment) {
        self.limit.sync_shared();
        self.pool.sync_shared(now);
        self.methods.tick(now);
        for breaker in self.breaker.iter().chain(&self.route_breakers) {
            breaker.tick(now);
            self.reach(breaker, now);
        }
    }

    /// Whether there is nothing to synchronise without calls: all breakers are closed.
    pub fn is_at_rest(&self) -> bool {
        let mut own = self.breaker.iter().chain(&self.route_breakers);
        own.all(|breaker| breaker.is_closed()) && self.methods.are_closed()
    }

    /// Whether a connection to it has a send in flight.
    #[cfg(test)]
    pub(crate) fn is_sending(&self) -> bool {
        self.pool.is_sending()
    }

    /// Its counters.
    pub fn counts(&self) -> &ClusterBlock {
        self.pool.counts()
    }

    /// Publishes the state of its endpoints, and the timeouts of its methods, for people to look at.
    pub fn publish(&self, slots: &[EndpointSlot], timeouts: &[TimeoutSlot]) {
        if let Some(latencies) = &self.latencies {
            latencies.publish(timeouts);
        }
        self.pool.publish(slots);
    }

    /// Waits for a connection that takes a call, on an endpoint that it has not been `tried` on if there is any.
    /// `yields`: others that wait go before it.
    pub fn acquire(&self, tried: Tried, yields: bool) -> AcquireStream {
        AcquireStream::new(&self.pool, tried, yields)
    }

    /// Calls, up to `max`, that wait although there are connections, and that let nobody pass.
    pub fn urgent(&self, max: usize) -> usize {
        if self.pool.is_connected() { self.pool.waiters.borrow().urgent(max) } else { 0 }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
