//! [`SharedClusterState`]: the parts of a cluster's policies that are exact over all workers.

use std::sync::Arc;

use super::breaker::SharedBreaker;
use super::budget::SharedBudget;
use super::health::SharedHealth;
use super::limit::SharedLimit;
use super::outlier::SharedOutliers;
use crate::config;

/// The parts of one cluster's policies that all workers share. Each worker makes its own side of each part.
#[derive(Debug)]
pub struct SharedClusterState {
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
    /// The breakers of single routes, by the name of the route.
    pub route_breakers: Vec<(String, Arc<SharedBreaker>)>,
    /// Health of the endpoints, if they are checked.
    pub health: Option<Arc<SharedHealth>>,
    /// Ejected endpoints. Without outlier detection none is ever ejected.
    pub outliers: Arc<SharedOutliers>,
}

impl SharedClusterState {
    /// The parts for a cluster of so many addresses and for so many workers, at their start.
    pub fn new(settings: &config::Cluster, endpoints: usize, workers: usize) -> Arc<SharedClusterState> {
        let breaker = |settings: &config::Breaker| SharedBreaker::new(settings.clone(), workers);
        let methods = method_breakers(settings).map(|(path, settings)| (path.to_owned(), breaker(settings)));
        let routes = settings.route_breakers.iter();
        let routes = routes.map(|(route, settings)| (route.clone(), breaker(settings)));
        let outliers = SharedOutliers::new(outlier_detection(settings), settings.slow_start, endpoints);
        Arc::new(SharedClusterState {
            cluster: settings.name.clone(),
            connections: SharedLimit::unleased(settings.max_connections),
            pending: SharedLimit::unleased(settings.max_pending_requests),
            budget: SharedBudget::new(settings.retry_budget),
            breaker: settings.breaker.as_ref().map(breaker),
            method_breakers: methods.collect(),
            route_breakers: routes.collect(),
            health: settings.health_checks.as_ref().map(|_| SharedHealth::new(endpoints)),
            outliers,
        })
    }

    /// The parts for the cluster with other settings and addresses. For each address, `kept` is its position before, if
    /// it had one. A part whose settings do not change stays: a breaker for instance, however limits and endpoints
    /// change.
    ///
    /// Nothing changes before [`SharedClusterState::hand_over_to`] is called.
    pub fn next(
        &self,
        settings: &config::Cluster,
        before: &config::Cluster,
        kept: &[Option<usize>],
        workers: usize,
    ) -> Arc<SharedClusterState> {
        let fresh = SharedClusterState::new(settings, kept.len(), workers);
        let same = |known: &Arc<SharedBreaker>, wanted: &Arc<SharedBreaker>| {
            if known.settings() == wanted.settings() { Arc::clone(known) } else { Arc::clone(wanted) }
        };
        let breaker = fresh.breaker.as_ref().map(|wanted| {
            self.breaker.as_ref().map_or_else(|| Arc::clone(wanted), |known| same(known, wanted))
        });
        let named = |known: &[(String, Arc<SharedBreaker>)], wanted: &[(String, Arc<SharedBreaker>)]| {
            let next = |(name, wanted): &(String, Arc<SharedBreaker>)| {
                let known = known.iter().find(|(known, _)| known == name);
                (name.clone(), known.map_or_else(|| Arc::clone(wanted), |(_, known)| same(known, wanted)))
            };
            wanted.iter().map(next).collect()
        };
        let same_budget = settings.retry_budget == before.retry_budget;
        // An operator that turns outlier detection off wants all endpoints back.
        let outliers = match &settings.outlier_detection {
            None if before.outlier_detection.is_some() => Arc::clone(&fresh.outliers),
            _ => self.outliers.next(outlier_detection(settings), settings.slow_start, kept),
        };
        Arc::new(SharedClusterState {
            cluster: fresh.cluster.clone(),
            connections: Arc::clone(&self.connections),
            pending: Arc::clone(&self.pending),
            budget: Arc::clone(if same_budget { &self.budget } else { &fresh.budget }),
            breaker,
            method_breakers: named(&self.method_breakers, &fresh.method_breakers),
            route_breakers: named(&self.route_breakers, &fresh.route_breakers),
            health: fresh.health.as_ref().map(|wanted| {
                self.health.as_ref().map_or_else(|| Arc::clone(wanted), |known| known.next(kept))
            }),
            outliers,
        })
    }

    /// Lets `next` take the place of this one; `settings` are those of `next`.
    pub fn hand_over_to(&self, next: &SharedClusterState, settings: &config::Cluster) {
        next.connections.resize(settings.max_connections);
        next.pending.resize(settings.max_pending_requests);
        self.outliers.hand_over_to(&next.outliers);
    }

    /// All its breakers: its own, those of methods with their path, and those of routes with their name.
    pub fn breakers(&self) -> impl Iterator<Item = (BreakerOf<'_>, &SharedBreaker)> {
        let methods = self.method_breakers.iter();
        let methods = methods.map(|(path, breaker)| (BreakerOf::Method(path), &**breaker));
        let routes = self.route_breakers.iter();
        let routes = routes.map(|(route, breaker)| (BreakerOf::Route(route), &**breaker));
        self.breaker.iter().map(|breaker| (BreakerOf::Cluster, &**breaker)).chain(methods).chain(routes)
    }
}

/// The calls of a cluster that a breaker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerOf<'a> {
    /// All that no route has a breaker for.
    Cluster,
    /// Those of the method of this path.
    Method(&'a str),
    /// Those of the route of this name.
    Route(&'a str),
}

impl<'a> BreakerOf<'a> {
    /// The path of its method.
    pub fn method(self) -> Option<&'a str> {
        if let BreakerOf::Method(path) = self { Some(path) } else { None }
    }

    /// The name of its route.
    pub fn route(self) -> Option<&'a str> {
        if let BreakerOf::Route(name) = self { Some(name) } else { None }
    }
}

fn method_breakers(settings: &config::Cluster) -> impl Iterator<Item = (&str, &config::Breaker)> {
    settings.methods.iter().filter_map(|method| Some((method.path.as_str(), method.breaker.as_ref()?)))
}

/// The settings of outlier detection; without any, those that never eject an endpoint.
fn outlier_detection(settings: &config::Cluster) -> config::OutlierDetection {
    let off = || config::OutlierDetection {
        consecutive_gateway_failure: 0,
        consecutive_local_origin_failure: 0,
        ..config::OutlierDetection::default()
    };
    settings.outlier_detection.clone().unwrap_or_else(off)
}
