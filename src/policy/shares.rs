//! What all workers share of one cluster: the parts of its policies that are exact over workers.

use std::sync::Arc;

use super::breaker::SharedBreaker;
use super::budget::SharedBudget;
use super::health::SharedHealth;
use super::limit::SharedLimit;
use super::outlier::SharedOutliers;
use crate::config;

/// What all workers share of one cluster. Made once; a worker makes its own side of each part.
#[derive(Debug)]
pub struct Shares {
    /// The cluster's name.
    pub cluster: String,
    /// Connections to all endpoints.
    pub connections: Arc<SharedLimit>,
    /// Calls that wait for a connection.
    pub pending: Arc<SharedLimit>,
    /// Pays for retries.
    pub budget: Arc<SharedBudget>,
    /// The cluster's breaker, if it has one.
    pub breaker: Option<Arc<SharedBreaker>>,
    /// The breakers of single methods, by path.
    pub method_breakers: Vec<(String, Arc<SharedBreaker>)>,
    /// Which endpoints say that they are well, if they are asked.
    pub health: Option<Arc<SharedHealth>>,
    /// Which endpoints get no calls. Without outlier detection none is ever ejected.
    pub outliers: Arc<SharedOutliers>,
}

impl Shares {
    /// For a cluster of so many addresses and for so many workers; nothing has happened yet.
    pub fn new(settings: &config::Cluster, endpoints: usize, workers: usize) -> Arc<Shares> {
        let breaker = |settings: &config::Breaker| SharedBreaker::new(settings.clone(), workers);
        let methods = settings.methods.iter();
        let methods =
            methods.filter_map(|method| Some((method.path.clone(), breaker(method.breaker.as_ref()?))));
        let off = || config::OutlierDetection {
            consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: 0,
            ..config::OutlierDetection::default()
        };
        let outliers = settings.outlier_detection.clone().unwrap_or_else(off);
        Arc::new(Shares {
            cluster: settings.name.clone(),
            connections: SharedLimit::unleased(settings.max_connections),
            pending: SharedLimit::unleased(settings.max_pending_requests),
            budget: SharedBudget::new(settings.retry_budget),
            breaker: settings.breaker.as_ref().map(breaker),
            method_breakers: methods.collect(),
            health: settings.health_checks.as_ref().map(|_| SharedHealth::new(endpoints)),
            outliers: SharedOutliers::new(outliers, settings.slow_start, endpoints),
        })
    }

    /// All its breakers: its own, and those of methods with their path.
    pub fn breakers(&self) -> impl Iterator<Item = (Option<&str>, &SharedBreaker)> {
        let methods = self.method_breakers.iter().map(|(path, breaker)| (Some(path.as_str()), &**breaker));
        self.breaker.iter().map(|breaker| (None, &**breaker)).chain(methods)
    }
}
