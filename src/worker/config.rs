//! A worker's view of one configuration: its routes, and the clusters that they lead to. Each new configuration
//! replaces all of it; a call keeps the view that it began with.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

use super::call::guards::{Guards, Tokens};
use super::call::headers;
use super::call::known::KnownHeads;
use super::call::timeouts::RouteTimeouts;
use super::clock;
use super::shared_listener::SharedListener;
use crate::config::{
    self, Config, EndpointAddress, LocalResponse, MILLION, Override, PathRewrite, Route, RouteActions,
};
use crate::http2::{Head, Memory};
use crate::metrics::{Bounds, CallBlock, CallLabels, Layout, METHODS_SHOWN_MAX, Shard};
use crate::net::IoContext;
use crate::policy::failure::Failure;
use crate::policy::jwt::SharedKeys;
use crate::policy::keyed_rate::KeyedRate;
use crate::policy::limit::SharedLimit;
use crate::policy::rate::{Rate, SharedRate};
use crate::policy::route::{Found, Pseudo, Question, Rewriter, Routes};
use crate::policy::shared_cluster::SharedClusterState;
use crate::random::Random;
use crate::time::Moment;
use crate::tls::{ClusterContext, Contexts, Hosts};
use crate::upstream::{Cluster, ClusterInputs, Method, RouteBreaker};

/// A configuration with its shared state, as the supervisor gives it to a worker.
#[derive(Debug)]
pub struct ConfigSnapshot {
    /// The operator's configuration.
    pub config: Arc<Config>,
    /// The resolved addresses of each cluster's endpoints.
    pub addresses: Vec<Vec<EndpointAddress>>,
    /// The number of the worker.
    pub worker: usize,
    /// The limit on calls in flight of each cluster.
    pub limits: Vec<Arc<SharedLimit>>,
    /// Further state of each cluster that the workers share.
    pub shares: Vec<Arc<SharedClusterState>>,
    /// The rate limit of each route that has one.
    pub rates: Vec<Option<Arc<SharedRate>>>,
    /// The rate limits by caller of each route.
    pub keyed_rates: Vec<Vec<Arc<KeyedRate>>>,
    /// The keys of each provider of tokens.
    pub keys: Vec<Arc<SharedKeys>>,
    /// The counts of the worker.
    pub shard: Arc<Shard>,
    /// Added to a series' number for the access log, so that numbers of different configurations differ.
    pub series_base: u32,
    /// TLS of listeners and clusters, as the files are now.
    pub tls: Arc<Contexts>,
    /// The hosts of the clusters' endpoints.
    pub hosts: Arc<Hosts>,
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<Arc<SharedListener>>,
}

impl ConfigSnapshot {
    /// TLS towards a cluster, if there is any.
    fn cluster_tls(&self, number: usize) -> Option<ClusterContext> {
        let context = Arc::clone(self.tls.cluster(number)?);
        Some(ClusterContext { context, hosts: self.hosts.get(number).cloned().unwrap_or_default() })
    }
}

/// The properties of a request, as it came, that routes may ask for.
#[derive(Default)]
struct KeptRequest {
    method: Vec<u8>,
    path: Vec<u8>,
}

/// A worker's own form of a [`ConfigSnapshot`].
pub(super) struct WorkerConfig {
    pub(super) config: Arc<Config>,
    routes: Routes,
    /// The request of the call that is being routed, as it came.
    came: RefCell<KeptRequest>,
    /// Whether a path of plain HTTP means something to a route, before it means a method.
    takes_paths: bool,
    /// The rewrite of each route that has one, for its service or for its callers.
    rewriters: Vec<Option<Rewriter>>,
    /// The path that a rewrite makes.
    path: RefCell<Vec<u8>>,
    pub(super) known: KnownHeads,
    /// For each route, its choices.
    targets: Vec<Vec<Target>>,
    timeouts: Vec<RouteTimeouts>,
    rates: Vec<Option<Rc<Rate>>>,
    /// The guards of each route; `None` where it has none.
    guards: Vec<Option<Rc<Guards>>>,
    /// Fields that only the gateway sets.
    reserved: Vec<Box<[u8]>>,
    /// The difference between a moment and Unix time, in microseconds.
    epoch_us: Cell<u64>,
    pub(super) clusters: Vec<Rc<Cluster>>,
    shard: Arc<Shard>,
    series_base: u32,
}

/// A choice of a route: its cluster, and its series by [`Method::place`].
struct Target {
    cluster: usize,
    series: Vec<usize>,
    breaker: RouteBreaker,
}

/// The target of a call.
pub(super) struct RouteMatch<'s> {
    pub(super) cluster: &'s Rc<Cluster>,
    /// Its series, by [`Method::place`].
    pub(super) series: &'s [usize],
    /// The breaker that its attempts ask.
    pub(super) breaker: RouteBreaker,
}

impl WorkerConfig {
    /// Takes over what can stay of the configuration before: see `upstream::cluster`.
    pub(super) fn new(
        snapshot: &ConfigSnapshot,
        (local, memory): (&Rc<IoContext>, &Rc<Memory>),
        seed: u64,
        before: Option<&WorkerConfig>,
    ) -> Rc<WorkerConfig> {
        let config = &snapshot.config;
        let mut clusters = Vec::new();
        for (index, settings) in config.clusters.iter().enumerate() {
            let mut known = before.iter().flat_map(|before| &before.clusters);
            let parts = ClusterInputs {
                worker: snapshot.worker,
                addresses: &snapshot.addresses[index],
                counts: Arc::clone(&snapshot.shard.clusters[index]),
                limit: Arc::clone(&snapshot.limits[index]),
                shares: &snapshot.shares[index],
                memory,
                tls: snapshot.cluster_tls(index),
                before: known.find(|known| known.name() == settings.name).map(|known| &**known),
            };
            clusters.push(Cluster::new(settings.clone(), parts, local, seed));
        }
        let timeouts = config.routes.iter().map(|route| RouteTimeouts {
            response: route.timeout,
            whole: route.max_stream_duration,
            idle: route.idle_timeout,
        });
        let rate = |shared: &Arc<SharedRate>| {
            let mut known = before.iter().flat_map(|before| before.rates.iter().flatten());
            let known = known.find(|known| Arc::ptr_eq(known.shared(), shared));
            known.map_or_else(|| Rc::new(Rate::new(Arc::clone(shared))), Rc::clone)
        };
        let rates = snapshot.rates.iter().map(|shared| shared.as_ref().map(rate));
        let made = WorkerConfig {
            config: Arc::clone(config),
            routes: Routes::new(&config.routes),
            came: RefCell::default(),
            takes_paths: config.routes.iter().any(|route| route.actions.takes_paths()),
            rewriters: config.routes.iter().map(|route| rewrite_of(route).map(Rewriter::new)).collect(),
            path: RefCell::default(),
            known: KnownHeads::default(),
            targets: targets(config),
            timeouts: timeouts.collect(),
            rates: rates.collect(),
            guards: Guards::all(
                config,
                &Tokens::all(config, &snapshot.keys),
                &snapshot.keyed_rates,
                &clusters,
            ),
            reserved: reserved(config),
            epoch_us: Cell::new(0),
            clusters,
            shard: Arc::clone(&snapshot.shard),
            series_base: snapshot.series_base,
        };
        made.sync_shared(local.timers.now());
        Rc::new(made)
    }

    /// Keeps what a head says of its request, if a route asks for that: decoding changes it.
    pub(super) fn keep_request(&self, head: &Head) {
        if self.routes.asks_request() {
            let mut kept = self.came.borrow_mut();
            let KeptRequest { method, path } = &mut *kept;
            for (to, from) in [(method, head.method()), (path, head.path())] {
                to.clear();
                to.extend_from_slice(from.unwrap_or_default());
            }
        }
    }

    /// A draw for a call that is about to be routed.
    pub(super) fn draw(&self, random: &RefCell<Random>) -> u32 {
        if self.routes.draws() { random.borrow_mut().below(MILLION) } else { 0 }
    }

    /// Finds the route of a call whose request was kept.
    pub(super) fn find(&self, head: &Head, draw: u32) -> Option<Found> {
        let KeptRequest { method, path } = &*self.came.borrow();
        let came = Pseudo { method, path, authority: headers::authority(head) };
        let (path, host) = (headers::path(head), headers::host(head));
        self.routes.find(&Question { path, host, came, headers: head, draw })
    }

    /// Whether a path of plain HTTP may mean something to a route, before it means a method.
    pub(super) fn takes_paths(&self) -> bool {
        self.takes_paths
    }

    /// The actions of a route.
    pub(super) fn actions(&self, route: usize) -> &RouteActions {
        &self.config.routes[route].actions
    }

    /// The path that this one becomes; `None` where the route has no rewrite.
    pub(super) fn rewritten(
        &self,
        route: usize,
        path: &[u8],
    ) -> Result<Option<RefMut<'_, Vec<u8>>>, Failure> {
        let Some(rewriter) = &self.rewriters[route] else { return Ok(None) };
        let mut made = self.path.borrow_mut();
        if rewriter.rewrite(path, &mut made) { Ok(Some(made)) } else { Err(Failure::BadPath) }
    }

    /// Chooses the one of a route's clusters that takes a call.
    pub(super) fn choose(&self, route: usize, random: &mut Random) -> RouteMatch<'_> {
        let Target { cluster, series, breaker } = &self.targets[route][self.routes.choose(route, random)];
        RouteMatch { cluster: &self.clusters[*cluster], series, breaker: *breaker }
    }

    /// The series of a route that answers by itself.
    pub(super) fn answered(&self, route: usize) -> usize {
        self.targets[route][0].series[0]
    }

    /// Whether the rate limit of a route admits a call now.
    pub(super) fn admit_rate(&self, route: usize, now: Moment) -> bool {
        self.rates[route].as_ref().is_none_or(|rate| rate.take(now))
    }

    /// The guards of a route.
    pub(super) fn guards(&self, route: usize) -> Option<&Rc<Guards>> {
        self.guards[route].as_ref()
    }

    /// Fields that only the gateway sets, so that no caller can.
    pub(super) fn reserved(&self) -> &[Box<[u8]>] {
        &self.reserved
    }

    /// Unix time in seconds. It follows the system's clock from one settling to the next.
    pub(super) fn unix_seconds(&self, now: Moment) -> u64 {
        (self.epoch_us.get() + now.as_nanos() / 1000) / 1_000_000
    }

    /// The timeouts of a call of this route to this method.
    pub(super) fn timeouts(&self, route: usize, method: &Method) -> RouteTimeouts {
        let RouteTimeouts { response, whole, idle } = self.timeouts[route];
        let whole = whole.into_iter().chain(method.whole).min();
        RouteTimeouts { response: method.timeout.or(response), whole, idle }
    }

    /// The series of calls that found no route.
    pub(super) fn unrouted(&self) -> usize {
        self.shard.calls.len() - 1
    }

    /// The number of a series in the access log.
    pub(super) fn logged(&self, series: usize) -> u32 {
        self.series_base.saturating_add(u32::try_from(series).unwrap_or(u32::MAX))
    }

    /// Lets go of the clusters whose connections the next configuration has not taken over. Their calls end in peace.
    pub(super) fn retire(&self, next: &WorkerConfig) {
        for cluster in &self.clusters {
            if !next.clusters.iter().any(|next| cluster.shares_pool_with(next)) {
                cluster.retire();
            }
        }
    }

    /// The counts of a series.
    pub(super) fn series(&self, series: usize) -> &CallBlock {
        &self.shard.calls[series]
    }

    /// Settles state that other workers depend on, and publishes that of endpoints.
    pub(super) fn sync_shared(&self, now: Moment) {
        let slots = self.shard.endpoints.iter().zip(&self.shard.timeouts);
        for (cluster, (endpoints, timeouts)) in self.clusters.iter().zip(slots) {
            cluster.sync_shared(now);
            cluster.publish(endpoints, timeouts);
        }
        for rate in self.rates.iter().flatten() {
            rate.sync_shared(now);
        }
        if !self.config.jwt_providers.is_empty() {
            self.epoch_us.set(clock::unix_us().saturating_sub(now.as_nanos() / 1000));
        }
    }

    /// Whether there is nothing to synchronise without calls.
    pub(super) fn is_at_rest(&self) -> bool {
        self.clusters.iter().all(|cluster| cluster.is_at_rest())
    }
}

/// Fields that say who calls, as tokens and keys have proven it.
fn reserved(config: &Config) -> Vec<Box<[u8]>> {
    let claims = config.jwt_providers.iter().flat_map(|provider| &provider.claim_to_headers);
    let keys =
        config.routes.iter().filter_map(|route| route.policies.api_keys.as_ref()?.forward_header.as_ref());
    let names = claims.map(|(name, _)| name).chain(keys);
    let mut names: Vec<Box<[u8]>> = names.map(|name| name.as_bytes().into()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The series of a route and one of its clusters: one for each of the cluster's methods that the route can take, and
/// before them one for all others.
fn methods<'c>(route: &'c Route, cluster: &'c config::Cluster) -> impl Iterator<Item = Option<&'c str>> {
    let own = cluster.methods.iter().map(|method| method.path.as_str());
    let may_come = |path: &str| route.actions.rewrite.is_some() || route.matching.path.takes(path);
    own.map(move |path| may_come(path).then_some(path))
}

/// The rewrite of a route, for its service or for its callers.
fn rewrite_of(route: &Route) -> Option<&PathRewrite> {
    match &route.actions.response {
        Some(LocalResponse::Redirect(redirect)) => redirect.rewrite.as_ref(),
        Some(LocalResponse::Direct(_)) => None,
        None => route.actions.rewrite.as_ref(),
    }
}

/// The order of series in the metrics, as [`layout`] has them.
fn targets(config: &Config) -> Vec<Vec<Target>> {
    let all = Cell::new(0);
    let next = || all.replace(all.get() + 1);
    let target = |route: &Route, cluster: usize| {
        let others = next();
        let settings = &config.clusters[cluster];
        let series = methods(route, settings).map(|method| method.map_or(others, |_| next()));
        let series = std::iter::once(others).chain(series.collect::<Vec<_>>()).collect();
        let breaker = match &route.actions.breaker {
            None => RouteBreaker::OfCluster,
            Some(Override::Off) => RouteBreaker::Off,
            Some(Override::Own(_)) => {
                let mut own = (0..).zip(&settings.route_breakers);
                let own = own.find(|(_, (name, _))| *name == route.name);
                own.map_or(RouteBreaker::OfCluster, |(position, _)| RouteBreaker::Own(position))
            }
        };
        Target { cluster, series, breaker }
    };
    let all_of = |route: &Route| match route.clusters.is_empty() {
        // It answers by itself, and has no cluster.
        true => vec![Target { cluster: usize::MAX, series: vec![next()], breaker: RouteBreaker::Off }],
        false => route.clusters.iter().map(|choice| target(route, choice.cluster)).collect(),
    };
    config.routes.iter().map(all_of).collect()
}

/// The labels of all series, in the order of the counts.
pub fn layout(config: &Config) -> Layout {
    let mut calls = Vec::new();
    for route in &config.routes {
        if route.clusters.is_empty() {
            let (cluster, method) = Default::default();
            calls.push(CallLabels { route: route.name.clone(), cluster, method });
        }
        for choice in &route.clusters {
            let cluster = &config.clusters[choice.cluster];
            let methods = methods(route, cluster).flatten();
            calls.extend(std::iter::once("").chain(methods).map(|method| CallLabels {
                route: route.name.clone(),
                cluster: cluster.name.clone(),
                method: method.to_owned(),
            }));
        }
    }
    let timeouts = config.clusters.iter().map(|cluster| match cluster.adaptive_timeout {
        Some(_) => METHODS_SHOWN_MAX,
        None => 0,
    });
    // The configuration has refused what cannot be.
    let bounds = Bounds::new(&config.metrics.latency_buckets).unwrap_or_default();
    Layout::new(config.clusters.iter().map(|cluster| cluster.name.clone()).collect(), calls)
        .with_timeouts(timeouts)
        .with_bounds(bounds)
        .with_exemplars(config.tracing.is_some())
}
