//! The state of one configuration that all workers share, made before the first of them starts.

use std::fmt;
use std::sync::Arc;

use super::channel::Target;
use crate::config::{self, Config, EndpointAddress, JwtProvider, Route};
use crate::metrics::Shard;
use crate::policy::jwt::{KeySet, SharedKeys};
use crate::policy::keyed_rate::KeyedRate;
use crate::policy::limit::SharedLimit;
use crate::policy::rate::SharedRate;
use crate::policy::shared_cluster::SharedClusterState;
use crate::time::Moment;
use crate::tls::{ClusterContext, Contexts, Hosts};
use crate::worker::{ConfigSnapshot, ListenerIdentity, SharedListener};

/// The state of one configuration that all workers share.
#[derive(Debug)]
pub(super) struct SharedState {
    pub(super) config: Arc<Config>,
    pub(super) addresses: Vec<Vec<EndpointAddress>>,
    /// For each cluster.
    limits: Vec<Arc<SharedLimit>>,
    pub(super) shares: Vec<Arc<SharedClusterState>>,
    /// For each route.
    rates: Vec<Option<Arc<SharedRate>>>,
    /// For each route, its rate limits by caller.
    keyed_rates: Vec<Vec<Arc<KeyedRate>>>,
    /// For each provider of tokens.
    pub(super) keys: Vec<Arc<SharedKeys>>,
    /// TLS of listeners and clusters.
    pub(super) tls: Arc<Contexts>,
    /// The hosts by which the endpoints are configured.
    hosts: Arc<Hosts>,
    /// For each listener.
    listeners: Vec<Arc<SharedListener>>,
}

/// How listeners differ from those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerChanges {
    /// Listeners that are new.
    pub added: usize,
    /// Listeners that there are no longer.
    pub removed: usize,
    /// Listeners with other settings.
    pub changed: usize,
}

impl fmt::Display for ListenerChanges {
    /// `1 listener added, 2 removed`; nothing where none changes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [(self.added, "added"), (self.removed, "removed"), (self.changed, "changed")];
        let mut separator = "listeners: ";
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The part of the state that files, names and sockets decide.
pub(super) struct Found {
    /// The addresses of each cluster's endpoints.
    pub(super) addresses: Vec<Vec<EndpointAddress>>,
    /// The hosts by which these are configured.
    pub(super) hosts: Hosts,
    /// TLS of listeners and clusters.
    pub(super) tls: Arc<Contexts>,
    /// The identity of each listener.
    pub(super) listeners: Vec<Arc<ListenerIdentity>>,
}

impl Found {
    /// The endpoints of a cluster, as the control side reaches them.
    pub(super) fn targets(&self, config: &Config, cluster: usize) -> Vec<Target> {
        targets(&self.addresses[cluster], (config, &self.tls, &self.hosts), cluster)
    }
}

fn targets(
    addresses: &[EndpointAddress],
    (config, tls, hosts): (&Config, &Contexts, &Hosts),
    cluster: usize,
) -> Vec<Target> {
    let sends_proxy_protocol = config.clusters[cluster].sends_proxy_protocol;
    let tls = tls.cluster(cluster).map(|context| ClusterContext {
        context: Arc::clone(context),
        hosts: hosts.get(cluster).cloned().unwrap_or_default(),
    });
    let target =
        |address: &EndpointAddress| Target { address: *address, sends_proxy_protocol, tls: tls.clone() };
    addresses.iter().map(target).collect()
}

impl SharedState {
    /// The state for so many workers, whose clock stands at `now`.
    pub(super) fn new(config: &Arc<Config>, found: Found, workers: usize, now: Moment) -> SharedState {
        let Found { addresses, hosts, tls, listeners } = found;
        let listener = |(settings, identity): (&config::Listener, _)| {
            Arc::new(SharedListener { settings: settings.clone(), identity })
        };
        let clusters = || config.clusters.iter().zip(&addresses);
        let rate = |settings| SharedRate::new(settings, workers, now);
        SharedState {
            limits: clusters().map(|(cluster, _)| SharedLimit::new(cluster.max_requests, workers)).collect(),
            shares: clusters()
                .map(|(cluster, at)| SharedClusterState::new(cluster, at.len(), workers))
                .collect(),
            rates: config.routes.iter().map(|route| route.rate_limit.map(rate)).collect(),
            keyed_rates: config.routes.iter().map(keyed_rates).collect(),
            keys: config.jwt_providers.iter().map(|provider| Arc::new(keys_of(provider))).collect(),
            listeners: config.listeners.iter().zip(listeners).map(listener).collect(),
            config: Arc::clone(config),
            addresses,
            tls,
            hosts: Arc::new(hosts),
        }
    }

    /// The state for another configuration, or other addresses. Each part that does not change is taken over with its
    /// learnt values, and each limit with its use. Nothing changes before [`SharedState::hand_over_to`] is called.
    pub(super) fn next(
        &self,
        config: &Arc<Config>,
        found: Found,
        workers: usize,
        now: Moment,
    ) -> SharedState {
        let mut next = SharedState::new(config, found, workers, now);
        for (at, cluster) in config.clusters.iter().enumerate() {
            let Some(before) = self.position(&cluster.name) else { continue };
            next.limits[at] = Arc::clone(&self.limits[before]);
            let (known, wanted) = (&self.addresses[before], &next.addresses[at]);
            let kept: Vec<_> =
                wanted.iter().map(|wanted| known.iter().position(|known| known == wanted)).collect();
            let settings = &self.config.clusters[before];
            next.shares[at] = if settings == cluster && known == wanted {
                Arc::clone(&self.shares[before])
            } else {
                self.shares[before].next(cluster, settings, &kept, workers)
            };
        }
        for (at, provider) in config.jwt_providers.iter().enumerate() {
            let mut known = self.config.jwt_providers.iter().zip(&self.keys);
            let has_its_keys = |known: &&(&JwtProvider, &Arc<SharedKeys>)| {
                known.0.name == provider.name
                    && known.0.remote_jwks == provider.remote_jwks
                    && known.0.local_jwks == provider.local_jwks
            };
            if let Some((_, keys)) = known.by_ref().find(|known| has_its_keys(&known)) {
                next.keys[at] = Arc::clone(keys);
            }
        }
        for listener in &mut next.listeners {
            let mut known = self.listeners.iter();
            let is_same = |known: &&Arc<SharedListener>| {
                Arc::ptr_eq(&known.identity, &listener.identity) && known.settings == listener.settings
            };
            if let Some(known) = known.find(is_same) {
                *listener = Arc::clone(known);
            }
        }
        for (at, before) in self.routes_in(config).into_iter().enumerate() {
            if let Some((wanted, known)) =
                next.rates[at].as_mut().zip(before.and_then(|at| self.rates[at].as_ref()))
            {
                *wanted = Arc::clone(known);
            }
            if let Some(before) = before
                && self.config.routes[before].policies.rate_limits == config.routes[at].policies.rate_limits
            {
                next.keyed_rates[at].clone_from(&self.keyed_rates[before]);
            }
        }
        next
    }

    /// Lets `next`, which was made of this one, take its place: from now on its limits hold.
    pub(super) fn hand_over_to(&self, next: &SharedState, now: Moment) {
        for (at, cluster) in next.config.clusters.iter().enumerate() {
            next.limits[at].resize(cluster.max_requests);
            if let Some(before) = self.position(&cluster.name) {
                self.shares[before].hand_over_to(&next.shares[at], cluster);
            }
        }
        for (at, before) in self.routes_in(&next.config).into_iter().enumerate() {
            let known = before.and_then(|before| self.config.routes[before].rate_limit);
            if let Some((rate, settings)) = next.rates[at].as_ref().zip(next.config.routes[at].rate_limit)
                && known.is_some_and(|known| known != settings)
            {
                rate.change(settings, now);
            }
        }
    }

    /// The identity of each listener.
    pub(super) fn identities(&self) -> Vec<Arc<ListenerIdentity>> {
        self.listeners.iter().map(|listener| Arc::clone(&listener.identity)).collect()
    }

    /// Marks listeners that `next` has no longer, and counts how listeners change.
    pub(super) fn hand_over_listeners(&self, next: &SharedState) -> ListenerChanges {
        let is_in = |listener: &SharedListener, all: &[Arc<SharedListener>]| {
            all.iter().any(|other| Arc::ptr_eq(&other.identity, &listener.identity))
        };
        let mut changes = ListenerChanges::default();
        for listener in self.listeners.iter().filter(|listener| !is_in(listener, &next.listeners)) {
            listener.identity.remove();
            changes.removed += 1;
        }
        for listener in &next.listeners {
            match is_in(listener, &self.listeners) {
                false => changes.added += 1,
                true if !self.listeners.iter().any(|known| Arc::ptr_eq(known, listener)) => {
                    changes.changed += 1
                }
                true => {}
            }
        }
        changes
    }

    /// Clusters of `next` that are new or have other settings or addresses.
    pub(super) fn changed_in(&self, next: &SharedState) -> usize {
        let known =
            |shares: &&Arc<SharedClusterState>| self.shares.iter().any(|known| Arc::ptr_eq(known, shares));
        next.shares.iter().filter(|shares| !known(shares)).count()
    }

    /// The endpoints of a cluster, as the control side reaches them.
    pub(super) fn targets(&self, cluster: usize) -> Vec<Target> {
        targets(&self.addresses[cluster], (&self.config, &self.tls, &self.hosts), cluster)
    }

    /// The endpoints of the cluster of this name; none if there is no such one.
    pub(super) fn targets_of(&self, cluster: &str) -> Vec<Target> {
        self.position(cluster).map_or_else(Vec::new, |at| self.targets(at))
    }

    /// The addresses of a cluster; none if there is no such one.
    pub(super) fn addresses_of(&self, cluster: &str) -> &[EndpointAddress] {
        self.position(cluster).map_or(&[], |at| &self.addresses[at])
    }

    fn position(&self, cluster: &str) -> Option<usize> {
        self.config.clusters.iter().position(|known| known.name == cluster)
    }

    /// For each route of another configuration, its position here: that of its name. Of several with one name, the
    /// first is the first and so on.
    fn routes_in(&self, config: &Config) -> Vec<Option<usize>> {
        let mut taken = vec![false; self.config.routes.len()];
        let find = |route: &Route| {
            let mut known = self.config.routes.iter().enumerate();
            let (at, _) = known.find(|(at, known)| !taken[*at] && known.name == route.name)?;
            taken[at] = true;
            Some(at)
        };
        config.routes.iter().map(find).collect()
    }

    /// The snapshot for worker number `worker`. The access log adds `series_base` to the numbers of its series.
    pub(super) fn snapshot(&self, worker: usize, shard: &Arc<Shard>, series_base: u32) -> ConfigSnapshot {
        ConfigSnapshot {
            config: Arc::clone(&self.config),
            addresses: self.addresses.clone(),
            worker,
            limits: self.limits.clone(),
            shares: self.shares.clone(),
            rates: self.rates.clone(),
            keyed_rates: self.keyed_rates.clone(),
            keys: self.keys.clone(),
            shard: Arc::clone(shard),
            series_base,
            tls: Arc::clone(&self.tls),
            hosts: Arc::clone(&self.hosts),
            listeners: self.listeners.clone(),
        }
    }
}

fn keyed_rates(route: &Route) -> Vec<Arc<KeyedRate>> {
    route.policies.rate_limits.iter().map(|settings| Arc::new(KeyedRate::new(settings))).collect()
}

/// The keys of a provider before any are fetched: those of its file.
fn keys_of(provider: &JwtProvider) -> SharedKeys {
    let Some((file, text)) = &provider.local_jwks else { return SharedKeys::default() };
    let keys = KeySet::parse(text).unwrap_or_default();
    if keys.is_empty() {
        let (provider, file) = (&provider.name, file.display());
        tracing::warn!(provider, %file, "no key in it verifies signatures: every token is refused");
    }
    SharedKeys::fixed(keys)
}
