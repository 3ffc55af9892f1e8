//! The figures of each route and each cluster on a page of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::tools::scrape::{Page, Sample};

/// Everything that advice is made of.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) routes: Vec<Route>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) methods: Vec<Method>,
}

/// Calls of one route to one cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) calls: Calls,
}

/// A method of a cluster that the configuration has a table for, over all routes to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Method {
    pub(super) cluster: String,
    pub(super) path: String,
    pub(super) calls: Calls,
    /// Calls per second; known only with an earlier page and calls since then.
    pub(super) rate: Option<f64>,
}

/// A cluster, over all routes to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) calls: Calls,
    pub(super) connections_opened: f64,
    pub(super) connections: f64,
    pub(super) pending_overflow: f64,
    pub(super) limit_refused: f64,
    pub(super) workers: f64,
    /// Calls per second, and calls in flight on average; known only with an earlier page and calls since then.
    pub(super) rate: Option<f64>,
    pub(super) in_flight: Option<f64>,
}

/// How calls ended and how long they took.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    pub(super) by_code: BTreeMap<String, f64>,
    /// Upper bounds in seconds, each with the calls that took at most that long.
    pub(super) at_most: Vec<(f64, f64)>,
    pub(super) seconds: f64,
}

const CALLS: &str = "ringway_calls_total";
const BUCKETS: &str = "ringway_call_duration_seconds_bucket";
const SECONDS: &str = "ringway_call_duration_seconds_sum";

impl Observed {
    pub(super) fn on(page: &Page, before: Option<(&Page, Duration)>) -> Observed {
        let labels = |sample: &Sample| (sample.label("route").to_owned(), sample.label("cluster").to_owned());
        let places: BTreeSet<(String, String)> = page.named(CALLS).map(labels).collect();
        let routes = places.into_iter().filter(|(route, cluster)| !route.is_empty() && !cluster.is_empty());
        let routes = routes.map(|(name, cluster)| {
            let calls =
                Calls::on(page, |sample| sample.label("route") == name && sample.label("cluster") == cluster);
            Route { name, cluster, calls }
        });
        let clusters =
            page.named("ringway_upstream_calls_total").map(|sample| sample.label("cluster").to_owned());
        let clusters: BTreeSet<String> = clusters.collect();
        let clusters = clusters.into_iter().map(|name| Cluster::on(page, before, name));
        Observed {
            routes: routes.collect(),
            clusters: clusters.collect(),
            methods: Method::all_on(page, before),
        }
    }
}

impl Method {
    fn all_on(page: &Page, before: Option<(&Page, Duration)>) -> Vec<Method> {
        let labels =
            |sample: &Sample| (sample.label("cluster").to_owned(), sample.label("method").to_owned());
        let known: BTreeSet<(String, String)> = page.named(CALLS).map(labels).collect();
        let known = known.into_iter().filter(|(_, path)| !path.is_empty());
        let method = known.map(|(cluster, path)| {
            let mine = |sample: &Sample| sample.label("cluster") == cluster && sample.label("method") == path;
            let (calls, rate) = (Calls::on(page, mine), growth(page, before, CALLS, mine));
            Method { calls, rate: rate.filter(|rate| *rate > 0.0), cluster, path }
        });
        method.collect()
    }
}

/// By how much the sum of a family has grown in each second since the earlier page.
fn growth(
    page: &Page,
    before: Option<(&Page, Duration)>,
    family: &str,
    mine: impl Fn(&Sample) -> bool + Copy,
) -> Option<f64> {
    let (before, span) = before?;
    let sum = |page: &Page| page.sum_where(family, mine).unwrap_or(0.0);
    Some((sum(page) - sum(before)) / span.as_secs_f64().max(1e-9))
}

impl Cluster {
    fn on(page: &Page, before: Option<(&Page, Duration)>, name: String) -> Cluster {
        let mine = |sample: &Sample| sample.label("cluster") == name;
        let sum = |family| page.sum_where(family, mine).unwrap_or(0.0);
        let grown = |family| growth(page, before, family, mine);
        // A gateway that nobody calls while it is looked at says nothing of what it can bear.
        let rate = grown(CALLS).filter(|rate| *rate > 0.0);
        let calls = Calls::on(page, mine);
        Cluster {
            calls,
            connections_opened: sum("ringway_upstream_connections_opened_total"),
            connections: sum("ringway_upstream_connections_active"),
            pending_overflow: sum("ringway_upstream_pending_overflow_total"),
            limit_refused: sum("ringway_upstream_limit_refused_total"),
            workers: page.sum("ringway_workers").unwrap_or(1.0).max(1.0),
            rate,
            // Little's law: what all calls took in a second is how many were in flight.
            in_flight: rate.and_then(|_| grown(SECONDS)),
            name,
        }
    }
}

impl Calls {
    fn on(page: &Page, mine: impl Fn(&Sample) -> bool) -> Calls {
        let mut by_code = BTreeMap::new();
        for sample in page.named(CALLS).filter(|sample| mine(sample)) {
            *by_code.entry(sample.label("grpc_status").to_owned()).or_default() += sample.value;
        }
        let mut at_most: Vec<(f64, f64)> = Vec::new();
        // Streams are as long as they are meant to be.
        let unary = |sample: &&Sample| mine(sample) && sample.label("grpc_type") != "stream";
        for sample in page.named(BUCKETS).filter(unary) {
            let bound = sample.label("le").parse().unwrap_or(f64::INFINITY);
            match at_most.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += sample.value,
                None => at_most.push((bound, sample.value)),
            }
        }
        at_most.sort_by(|one, other| one.0.total_cmp(&other.0));
        Calls { by_code, at_most, seconds: page.sum_where(SECONDS, mine).unwrap_or(0.0) }
    }

    pub(super) fn count(&self) -> f64 {
        self.by_code.values().sum()
    }

    /// The share of calls that ended with one of these codes.
    pub(super) fn share(&self, codes: &[&str]) -> f64 {
        let ended: f64 = codes.iter().filter_map(|code| self.by_code.get(*code)).sum();
        if self.count() == 0.0 { 0.0 } else { ended / self.count() }
    }

    /// The upper bound of the bucket that the share `q` ends in: never less than the true quantile, and at most two and
    /// a half times that. `None` for the last bucket, which has no bound.
    pub(super) fn quantile(&self, q: f64) -> Option<Duration> {
        let all = self.at_most.last()?.1;
        let (bound, _) = self.at_most.iter().find(|(_, count)| *count >= q * all)?;
        (all > 0.0 && bound.is_finite()).then(|| Duration::from_secs_f64(*bound))
    }
}
