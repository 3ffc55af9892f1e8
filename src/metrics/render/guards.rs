//! Families of breakers and ejected endpoints, whose state the workers share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::metrics::page::{Escaped, Page};
use crate::policy::breaker::{SharedBreaker, State};
use crate::policy::shared_cluster::SharedClusterState;

/// A family of the page with a row for each breaker.
type BreakerRow = (&'static str, &'static str, &'static str, fn(&SharedBreaker) -> u64);

#[rustfmt::skip]
const BREAKER_ROWS: [BreakerRow; 4] = [
    ("ringway_breaker_state", "gauge",
        "0 while the breaker is closed, 1 while it is half-open, 2 while it is open.", |breaker| state(breaker.state())),
    ("ringway_breaker_opens_total", "counter",
        "How often the breaker opened, from closed.", SharedBreaker::opens),
    ("ringway_breaker_reopens_total", "counter",
        "How often a failed probe opened the breaker again.", SharedBreaker::reopens),
    ("ringway_breaker_closes_total", "counter",
        "How often the breaker closed: its probes succeeded, or nobody asked it for long.", SharedBreaker::closes),
];

const fn state(state: State) -> u64 {
    match state {
        State::Closed => 0,
        State::HalfOpen => 1,
        State::Open => 2,
    }
}

/// A family of the page with a row for each cluster, about its endpoints.
type OutlierRow = (&'static str, &'static str, &'static str, fn(&SharedClusterState) -> u64);

#[rustfmt::skip]
const OUTLIER_ROWS: [OutlierRow; 2] = [
    ("ringway_outlier_ejected", "gauge",
        "Endpoints that get no calls now because they failed.", |shares| u64::from(shares.outliers.ejected())),
    ("ringway_outlier_ejections_total", "counter",
        "How often an endpoint was ejected.", |shares| shares.outliers.ejections()),
];

pub(super) fn write(page: &mut Page, shares: &[Arc<SharedClusterState>]) {
    if shares.iter().any(|shares| shares.breakers().next().is_some()) {
        for (name, kind, help, read) in BREAKER_ROWS {
            page.family(name, kind, help);
            for shares in shares {
                for (of, breaker) in shares.breakers() {
                    let cluster = Escaped(&shares.cluster);
                    let method = Escaped(of.method().unwrap_or_default());
                    let labels = format_args!("cluster=\"{cluster}\",method=\"{method}\"");
                    match of.route().map(Escaped) {
                        Some(route) => {
                            page.sample(name, &format_args!("{labels},route=\"{route}\""), read(breaker));
                        }
                        None => page.sample(name, &labels, read(breaker)),
                    }
                }
            }
        }
    }
    if shares.iter().any(|shares| shares.health.is_some()) {
        page.family(
            "ringway_health_unhealthy",
            "gauge",
            "Endpoints that get no calls because of what they say of themselves.",
        );
        for (shares, health) in shares.iter().filter_map(|shares| Some((shares, shares.health.as_ref()?))) {
            let labels = format_args!("cluster=\"{}\"", Escaped(&shares.cluster));
            page.sample("ringway_health_unhealthy", &labels, health.unhealthy() as u64);
        }
        let failures = "ringway_health_check_failures_total";
        page.family(failures, "counter", "Health checks that were answered badly or not at all.");
        for (shares, health) in shares.iter().filter_map(|shares| Some((shares, shares.health.as_ref()?))) {
            let labels = format_args!("cluster=\"{}\"", Escaped(&shares.cluster));
            page.sample(failures, &labels, health.failures().load(Ordering::Relaxed));
        }
    }
    for (name, kind, help, read) in OUTLIER_ROWS.iter().filter(|_| !shares.is_empty()) {
        page.family(name, kind, help);
        for shares in shares {
            page.sample(name, &format_args!("cluster=\"{}\"", Escaped(&shares.cluster)), read(shares));
        }
    }
}
