//! Logs that calls to a cluster fail, and that they no longer do: once for all workers, and at most once a minute for each
//! cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::admin::GatewayView;
use crate::metrics::{BLAMED, GRPC_STATUS_NAMES};

/// Ended calls by gRPC status code.
pub(super) type Codes = [u64; GRPC_STATUS_NAMES.len()];

/// The share of calls whose failing is worth a line, and the calls that it is of.
const SHARE_MIN: f64 = 0.05;
const CALLS_MIN: u64 = 20;

/// The time between two lines of one cluster.
const INTERVAL: Duration = Duration::from_secs(60);

/// The last line of a cluster, and its counts at that time.
#[derive(Debug)]
struct Known {
    codes: Codes,
    told_at: Instant,
    /// The last line says that calls fail.
    fails: bool,
}

/// News of a cluster.
#[derive(Debug, PartialEq)]
enum News {
    /// This share of so many calls failed, most of them with this status.
    Fails(f64, u64, &'static str),
    /// Calls no longer fail.
    Recovered,
}

/// Clusters by name.
#[derive(Debug, Default)]
pub(super) struct Failing(BTreeMap<String, Known>);

impl Failing {
    /// Logs what there is to say since the last look.
    pub(super) fn look(&mut self, view: &GatewayView, now: Instant) {
        let counted = codes_by_cluster(view);
        self.0.retain(|cluster, _| counted.contains_key(cluster));
        for (cluster, codes) in counted {
            // Its calls so far are news, too.
            let first = || Known { codes: Codes::default(), told_at: now, fails: false };
            let known = self.0.entry(cluster.clone()).or_insert_with(first);
            match known.learn(codes, now) {
                None => {}
                Some(News::Fails(share, calls, status)) => {
                    let percent = (share * 100.0).round();
                    tracing::warn!(cluster, calls, status, "{percent} % of the calls to {cluster} fail");
                }
                Some(News::Recovered) => tracing::info!(cluster, "calls to {cluster} no longer fail"),
            }
        }
    }
}

impl Known {
    fn learn(&mut self, codes: Codes, now: Instant) -> Option<News> {
        // A reload may have begun anew.
        let since: Codes = std::array::from_fn(|code| codes[code].saturating_sub(self.codes[code]));
        let (calls, worst) = (since.iter().sum::<u64>(), most(&since, &BLAMED));
        let failed: u64 = BLAMED.iter().map(|&code| since[code]).sum();
        let share = failed as f64 / calls.max(1) as f64;
        let is_due = now.duration_since(self.told_at) >= INTERVAL;
        let fails = calls >= CALLS_MIN && share >= SHARE_MIN;
        let news = match worst {
            Some(status) if fails && (is_due || !self.fails) => Some(News::Fails(share, calls, status)),
            _ if self.fails && !fails && is_due => Some(News::Recovered),
            _ => None,
        };
        if let Some(news) = &news {
            self.fails = matches!(news, News::Fails(..));
        }
        if is_due || news.is_some() {
            (self.codes, self.told_at) = (codes, now);
        }
        news
    }
}

/// The name of the most frequent of these codes; `None` if there was none of them.
pub(super) fn most(codes: &Codes, of: &[usize]) -> Option<&'static str> {
    let worst = of.iter().copied().max_by_key(|&code| codes[code])?;
    (codes[worst] > 0).then(|| GRPC_STATUS_NAMES[worst])
}

/// Ended calls of each cluster so far.
pub(super) fn codes_by_cluster(view: &GatewayView) -> BTreeMap<String, Codes> {
    let mut all = BTreeMap::<String, Codes>::new();
    for (at, labels) in view.layout.calls.iter().enumerate().filter(|(_, labels)| !labels.cluster.is_empty())
    {
        let sum = all.entry(labels.cluster.clone()).or_default();
        for block in view.shards.iter().filter_map(|shard| shard.calls.get(at)) {
            for (sum, count) in sum.iter_mut().zip(block.codes()) {
                *sum += count;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_a_line_a_minute_at_most() {
        let begun = Instant::now();
        let mut known = Known { codes: [0; 17], told_at: begun, fails: false };
        let codes = |ok: u64, not_found: u64, unavailable: u64, internal: u64| {
            let mut codes = [0; 17];
            (codes[0], codes[5], codes[14], codes[13]) = (ok, not_found, unavailable, internal);
            codes
        };
        let mut at = |seconds, codes| known.learn(codes, begun + Duration::from_secs(seconds));
        assert_eq!(at(2, codes(100, 900, 2, 0)), None, "callers are to blame");
        assert_eq!(at(4, codes(100, 900, 100, 3)), Some(News::Fails(103.0 / 1103.0, 1103, "UNAVAILABLE")));
        assert_eq!(at(6, codes(100, 900, 900, 3)), None, "not again within a minute");
        assert_eq!(at(64, codes(100, 900, 950, 2000)), Some(News::Fails(2847.0 / 2847.0, 2847, "INTERNAL")));
        assert_eq!(at(100, codes(5_000, 900, 950, 2000)), None);
        assert_eq!(at(124, codes(9_000, 900, 950, 2000)), Some(News::Recovered));
        assert_eq!(at(200, codes(9_001, 900, 953, 2000)), None, "too few to tell");
    }
}
