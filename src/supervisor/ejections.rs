//! Logs which endpoints are ejected and which return: once for all workers.

use std::collections::BTreeMap;

use crate::admin::GatewayView;
use crate::config::EndpointAddress;
use crate::time::Moment;

/// The endpoints that are ejected, as of the last look, each with the end of that.
#[derive(Debug, Default)]
pub(super) struct Ejections(BTreeMap<(String, EndpointAddress), Moment>);

impl Ejections {
    /// Logs changes since the last look; the workers' clock stands at `now`.
    pub(super) fn look(&mut self, view: &GatewayView, now: Moment) {
        let seen = look(view);
        for ((cluster, endpoint), until) in &seen {
            if self.0.get(&(cluster.clone(), *endpoint)) != Some(until) {
                let seconds = until.since(now).as_secs_f64().ceil();
                tracing::warn!(cluster, %endpoint, seconds, "the endpoint is ejected: it failed too often in a row");
            }
        }
        for (cluster, endpoint) in self.0.keys().filter(|known| !seen.contains_key(known)) {
            tracing::info!(cluster, %endpoint, "the endpoint is no longer ejected");
        }
        self.0 = seen;
    }
}

fn look(view: &GatewayView) -> BTreeMap<(String, EndpointAddress), Moment> {
    let mut all = BTreeMap::new();
    for (at, shares) in view.shares.iter().enumerate() {
        for (position, until) in shares.outliers.ejected_hosts() {
            // A slot has the position of its endpoint.
            let mut slots =
                view.shards.iter().filter_map(|shard| shard.endpoints.get(at)?.get(position)?.read());
            if let Some(view) = slots.next_back() {
                all.insert((shares.cluster.clone(), view.address), until);
            }
        }
    }
    all
}
