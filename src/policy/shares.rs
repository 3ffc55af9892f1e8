//! What all workers share of one cluster: the parts of its policies that are exact over workers.

use std::sync::Arc;

use super::breaker::SharedBreaker;
use super::budget::SharedBudget;
use super::limit::SharedLimit;
use super::outlier::SharedOutliers;
use crate::config;

/// What all workers share of one cluster. Made once; a worker makes its own side of each part.
#[derive(Debug)]
pub struct Shares {
    /// Connections to all endpoints.
    pub connections: Arc<SharedLimit>,
    /// Pays for retries.
    pub budget: Arc<SharedBudget>,
    /// The cluster's breaker, if it has one.
    pub breaker: Option<Arc<SharedBreaker>>,
    /// The breakers of single methods, by their position in `methods`.
    pub method_breakers: Vec<Option<Arc<SharedBreaker>>>,
    /// Which endpoints get no calls. Without outlier detection none is ever ejected.
    pub outliers: Arc<SharedOutliers>,
}

impl Shares {
    /// For a cluster of so many addresses and for so many workers; nothing has happened yet.
    pub fn new(settings: &config::Cluster, endpoints: usize, workers: usize) -> Arc<Shares> {
        let breaker = |settings: &config::Breaker| SharedBreaker::new(settings.clone(), workers);
        let methods = settings.methods.iter().map(|method| method.breaker.as_ref().map(breaker));
        let off = || config::OutlierDetection {
            consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: 0,
            ..config::OutlierDetection::default()
        };
        let outliers = settings.outlier_detection.clone().unwrap_or_else(off);
        Arc::new(Shares {
            connections: SharedLimit::unleased(settings.max_connections),
            budget: SharedBudget::new(settings.retry_budget),
            breaker: settings.breaker.as_ref().map(breaker),
            method_breakers: methods.collect(),
            outliers: SharedOutliers::new(outliers, settings.slow_start, endpoints),
        })
    }
}
