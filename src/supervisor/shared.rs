//! What all workers share of one configuration, made before the first of them starts.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, Route};
use crate::metrics::Shard;
use crate::policy::limit::SharedLimit;
use crate::policy::rate::SharedRate;
use crate::policy::shares::Shares;
use crate::time::Moment;
use crate::worker::Scheme;

/// What all workers share of one configuration.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) addresses: Vec<Vec<SocketAddr>>,
    /// For each cluster.
    limits: Vec<Arc<SharedLimit>>,
    pub(super) shares: Vec<Arc<Shares>>,
    /// For each route.
    rates: Vec<Option<Arc<SharedRate>>>,
}

impl Shared {
    /// For so many workers, whose clock stands at `now`.
    pub(super) fn new(
        config: &Arc<Config>,
        addresses: Vec<Vec<SocketAddr>>,
        workers: usize,
        now: Moment,
    ) -> Shared {
        let clusters = || config.clusters.iter().zip(&addresses);
        let rate = |settings| SharedRate::new(settings, workers, now);
        Shared {
            limits: clusters().map(|(cluster, _)| SharedLimit::new(cluster.max_requests, workers)).collect(),
            shares: clusters().map(|(cluster, at)| Shares::new(cluster, at.len(), workers)).collect(),
            rates: config.routes.iter().map(|route| route.rate_limit.map(rate)).collect(),
            config: Arc::clone(config),
            addresses,
        }
    }

    /// For another configuration: what it has in common with this one is taken over, with all that was learnt.
    pub(super) fn next(
        &self,
        config: &Arc<Config>,
        addresses: Vec<Vec<SocketAddr>>,
        workers: usize,
        now: Moment,
    ) -> Shared {
        let mut next = Shared::new(config, addresses, workers, now);
        for (at, cluster) in config.clusters.iter().enumerate() {
            let Some(before) = self.config.clusters.iter().position(|known| known.name == cluster.name)
            else {
                continue;
            };
            let known = &self.config.clusters[before];
            if known.max_requests == cluster.max_requests {
                next.limits[at] = Arc::clone(&self.limits[before]);
            }
            if known == cluster && self.addresses[before] == next.addresses[at] {
                next.shares[at] = Arc::clone(&self.shares[before]);
            }
        }
        for (at, route) in config.routes.iter().enumerate() {
            let same = |known: &Route| known.name == route.name && known.rate_limit == route.rate_limit;
            if let Some(before) = self.config.routes.iter().position(same) {
                next.rates[at].clone_from(&self.rates[before]);
            }
        }
        next
    }

    /// What worker number `worker` gets of it. The access log adds `series_base` to the numbers of its series.
    pub(super) fn scheme(&self, worker: usize, shard: &Arc<Shard>, series_base: u32) -> Scheme {
        Scheme {
            config: Arc::clone(&self.config),
            addresses: self.addresses.clone(),
            worker,
            limits: self.limits.clone(),
            shares: self.shares.clone(),
            rates: self.rates.clone(),
            shard: Arc::clone(shard),
            series_base,
        }
    }
}
