//! The running state of the gateway. A reload changes it, and so does a name that leads to other addresses. Changes
//! come one at a time, and reach all workers.

use std::sync::Arc;
use std::{fmt, mem};

use parking_lot::Mutex;

use super::apis::Watcher;
use super::certificates::Certificates;
use super::dns::{Answer, DnsResolver, Renamed};
use super::health::Checks;
use super::jwks::KeyFetches;
use super::notifiers::Notifiers;
use super::shared_state::{Found, ListenerChanges, SharedState};
use super::state::State;
use crate::admin::{GatewayView, Source as _};
use crate::config::{Config, EndpointAddress, Waiting};
use crate::metrics::Layout;
use crate::tls::Contexts;
use crate::worker::{self, Clock, ListenerIdentity, NewSocket};

/// Room for endpoints comes in steps of this many.
const ENDPOINTS: usize = 16;

/// The running state, and the means to change it. Holders keep its lock only while they tell the workers.
pub(super) struct ActiveConfig {
    pub(super) state: Arc<State>,
    pub(super) notifiers: Arc<Notifiers>,
    pub(super) clock: Clock,
    pub(super) shared: SharedState,
    /// Keys whose values in the file wait for a restart.
    pub(super) waiting: Arc<[Waiting]>,
    /// Added to the number of a series for the access log.
    pub(super) series_base: u32,
    pub(super) dns: DnsResolver,
    pub(super) checks: Checks,
    pub(super) key_fetches: KeyFetches,
    pub(super) certificates: Certificates,
    /// Watches the descriptors, if there are any.
    pub(super) descriptors: Option<Watcher>,
}

/// The room that shards have: for endpoints more than there are, because a name may get another address.
pub(super) fn layout(config: &Config, addresses: &[Vec<EndpointAddress>]) -> Layout {
    let endpoints = addresses.iter().map(|addresses| addresses.len().next_multiple_of(ENDPOINTS));
    worker::layout(config).with_endpoints(endpoints)
}

/// Takes answers for names that lead to other addresses, as long as the gateway runs.
pub(super) fn on_renamed(active: &Arc<Mutex<ActiveConfig>>) -> Renamed {
    let active = Arc::downgrade(active);
    Arc::new(move |host: &str, answer| {
        let Some(active) = active.upgrade() else { return false };
        renamed(&mut active.lock(), host, answer);
        true
    })
}

/// Applies a name's new addresses.
fn renamed(active: &mut ActiveConfig, host: &str, answer: Answer) {
    if !active.dns.update(host, answer) {
        return;
    }
    let config = Arc::clone(&active.shared.config);
    let addresses = active.dns.addresses(&config, Some(&active.shared));
    if addresses == active.shared.addresses {
        return;
    }
    for ((cluster, before), now) in config.clusters.iter().zip(&active.shared.addresses).zip(&addresses) {
        if before != now {
            active.dns.counts().changed();
            tracing::info!(cluster = cluster.name, name = host, ?before, ?now, "other endpoints");
        }
    }
    let tls = Arc::clone(&active.shared.tls);
    active.apply(&config, (addresses, tls), (active.shared.identities(), Vec::new()));
}

/// How a configuration differs from the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// Clusters that are new or changed.
    pub(super) clusters: usize,
    pub(super) listeners: ListenerChanges,
}

impl ActiveConfig {
    /// Begins health checks, and name resolution.
    pub(super) fn begin(mut self) -> Arc<Mutex<ActiveConfig>> {
        self.checks.set(&self.shared);
        self.key_fetches.set(&self.shared);
        let config = Arc::clone(&self.shared.config);
        let active = Arc::new(Mutex::new(self));
        active.lock().dns.keep(&config, &on_renamed(&active));
        active
    }

    /// Lets health checks and reflection use the certificates that are in use now.
    pub(super) fn renew_targets(&mut self) {
        self.checks.set(&self.shared);
        if let Some(descriptors) = &self.descriptors {
            descriptors.relocate(|cluster| self.shared.targets_of(cluster));
        }
    }

    /// Applies a configuration to all workers. `sockets` are those of new listeners, for each worker. Nothing here can
    /// fail.
    pub(super) fn apply(
        &mut self,
        config: &Arc<Config>,
        (addresses, tls): (Vec<Vec<EndpointAddress>>, Arc<Contexts>),
        (listeners, sockets): (Vec<Arc<ListenerIdentity>>, Vec<Vec<NewSocket>>),
    ) -> Changes {
        let before = self.state.view();
        let next = layout(config, &addresses);
        let same = Arc::ptr_eq(config, &before.config) && next.endpoints == before.layout.endpoints;
        let shards = match same {
            true => before.shards.clone(),
            false => before.shards.iter().map(|shard| shard.next(&before.layout, &next)).collect(),
        };
        let now = self.clock.now();
        let found = Found { addresses, hosts: self.dns.hosts(config), tls, listeners };
        let shared = self.shared.next(config, found, shards.len(), now);
        let listeners = self.shared.hand_over_listeners(&shared);
        let changes = Changes { clusters: self.shared.changed_in(&shared), listeners };
        self.shared.hand_over_to(&shared, now);
        let mut sockets = sockets.into_iter();
        for (number, shard) in shards.iter().enumerate() {
            let snapshot = shared.snapshot(number, shard, self.series_base);
            self.notifiers.control(number).apply(snapshot, sockets.next().unwrap_or_default());
        }
        self.checks.set(&shared);
        self.key_fetches.set(&shared);
        if let Some(descriptors) = &self.descriptors {
            descriptors.relocate(|cluster| shared.targets_of(cluster));
        }
        self.state.set_view(GatewayView {
            config: Arc::clone(config),
            waiting: Arc::clone(&self.waiting),
            shares: shared.shares.clone(),
            layout: next,
            shards,
            workers: before.workers.clone(),
            backend: before.backend,
            flags: before.flags,
        });
        drop(mem::replace(&mut self.shared, shared));
        self.renew_targets();
        // The workers take it over when they are notified.
        self.notifiers.notify();
        changes
    }
}

impl fmt::Debug for ActiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveConfig").field("shared", &self.shared).finish_non_exhaustive()
    }
}
