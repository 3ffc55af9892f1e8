//! What all workers share of one configuration, made before the first of them starts.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::Config;
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

    /// What worker number `worker` gets of it.
    pub(super) fn scheme(&self, worker: usize, shard: &Arc<Shard>) -> Scheme {
        Scheme {
            config: Arc::clone(&self.config),
            addresses: self.addresses.clone(),
            worker,
            limits: self.limits.clone(),
            shares: self.shares.clone(),
            rates: self.rates.clone(),
            shard: Arc::clone(shard),
        }
    }
}
