//! Logs when a breaker opens, lets probes out and closes: once for all workers, on a thread that is none of theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failing::{self, Codes, codes_by_cluster};
use crate::admin::GatewayView;
use crate::policy::breaker::{self, Cause, SharedBreaker};
use crate::policy::shared_cluster::BreakerOf;

/// Counts and state of a breaker, at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BreakerCounts {
    opens: u64,
    reopens: u64,
    closes: u64,
    is_half_open: bool,
    cause: Cause,
}

impl BreakerCounts {
    fn of(breaker: &SharedBreaker) -> BreakerCounts {
        BreakerCounts {
            opens: breaker.opens(),
            reopens: breaker.reopens(),
            closes: breaker.closes(),
            is_half_open: breaker.state() == breaker::State::HalfOpen,
            cause: breaker.cause(),
        }
    }
}

/// An event to be logged; a number is how often it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Opened(Cause),
    HalfOpen,
    Reopened(u64),
    Closed,
}

/// Breakers as of the last look, by cluster and method.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    known: BTreeMap<(String, String), BreakerCounts>,
    /// Ended calls of each cluster as of the last look.
    codes: BTreeMap<String, Codes>,
}

impl Breakers {
    /// Logs the events since the last look. An event that happened more than once is logged once, with a count.
    pub(super) fn look(&mut self, view: &GatewayView) {
        let mut seen = BTreeMap::new();
        let codes = codes_by_cluster(view);
        for shares in &view.shares {
            for (of, breaker) in shares.breakers() {
                let calls = match of {
                    BreakerOf::Cluster => "all".to_owned(),
                    BreakerOf::Method(path) => path.to_owned(),
                    BreakerOf::Route(name) => format!("route {name}"),
                };
                let name = (shares.cluster.clone(), calls);
                let now = BreakerCounts::of(breaker);
                let before = self.known.get(&name).copied().unwrap_or_default();
                let all = news(before, now);
                let opened = all.iter().any(|news| matches!(news, News::Opened(_)));
                let status = if opened { self.status_of(&name.0, &codes) } else { None };
                let probes_in = breaker.settings().timeout;
                all.into_iter().for_each(|news| say(&name, news, status, probes_in));
                seen.insert(name, now);
            }
        }
        self.known = seen;
        self.codes = codes;
    }

    /// The most frequent status of a cluster's calls that did not end with OK, since the last look.
    fn status_of(&self, cluster: &str, codes: &BTreeMap<String, Codes>) -> Option<&'static str> {
        let (now, before) = (codes.get(cluster)?, self.codes.get(cluster).copied().unwrap_or_default());
        let since = std::array::from_fn(|code| now[code].saturating_sub(before[code]));
        failing::most(&since, &(1..since.len()).collect::<Vec<_>>())
    }
}

/// The events between two looks, in their order.
fn news(before: BreakerCounts, now: BreakerCounts) -> Vec<News> {
    // A breaker that has counted less is another one, which a reload has put in its place.
    let before = if now.opens < before.opens { BreakerCounts::default() } else { before };
    let mut all = Vec::new();
    if now.opens > before.opens {
        all.push(News::Opened(now.cause));
    }
    let (reopens, closes) = (now.reopens.saturating_sub(before.reopens), now.closes > before.closes);
    if !before.is_half_open && (now.is_half_open || reopens > 0 || closes) {
        all.push(News::HalfOpen);
    }
    if reopens > 0 {
        all.push(News::Reopened(reopens));
    }
    if closes {
        all.push(News::Closed);
    }
    all
}

fn say((cluster, method): &(String, String), news: News, status: Option<&'static str>, probes_in: Duration) {
    match news {
        News::Opened(Cause { calls, failed, unreached }) => {
            let reason =
                if unreached * 2 >= failed { "no connection" } else { "bad answers or none in time" };
            let status = status.unwrap_or("-");
            // Where connects fail, one that succeeds lets probes out at once.
            tracing::warn!(
                cluster,
                method,
                failed,
                calls,
                unreached,
                reason,
                status,
                ?probes_in,
                "the breaker has opened: {failed} of {calls} calls failed"
            );
        }
        News::HalfOpen => tracing::info!(cluster, method, "the breaker is half-open: probes go out"),
        News::Reopened(times) => {
            tracing::warn!(cluster, method, times, "a probe failed: the breaker is open again");
        }
        News::Closed => tracing::info!(cluster, method, "the breaker is closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_said_once() {
        let cause = Cause { calls: 40, failed: 30, unreached: 30 };
        let seen = |opens, reopens, closes, is_half_open| BreakerCounts {
            opens,
            reopens,
            closes,
            is_half_open,
            cause,
        };
        let opened = News::Opened(cause);
        let table = [
            (seen(0, 0, 0, false), vec![]),
            (seen(1, 0, 0, false), vec![opened]),
            (seen(1, 0, 0, false), vec![]),
            (seen(1, 0, 0, true), vec![News::HalfOpen]),
            (seen(1, 0, 0, true), vec![]),
            (seen(1, 1, 0, false), vec![News::Reopened(1)]),
            (seen(1, 3, 0, false), vec![News::HalfOpen, News::Reopened(2)]),
            (seen(1, 3, 1, false), vec![News::HalfOpen, News::Closed]),
            (seen(2, 3, 2, false), vec![opened, News::HalfOpen, News::Closed]),
            // A reload has made another one.
            (seen(0, 0, 0, false), vec![]),
            (seen(1, 0, 0, false), vec![opened]),
        ];
        let mut before = BreakerCounts::default();
        for (at, (now, wanted)) in table.into_iter().enumerate() {
            assert_eq!(news(before, now), wanted, "{at}");
            before = now;
        }
    }
}
