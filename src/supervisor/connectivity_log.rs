//! Logs which endpoints cannot be connected to, and which can be again: once for all workers, on a thread that is none
//! of theirs. An endpoint gets no more than a line in the time between two looks.

use std::collections::BTreeMap;

use crate::admin::GatewayView;
use crate::config::EndpointAddress;
use crate::metrics::{ConnectError, EndpointSlot, EndpointState};

/// Endpoints, by cluster and address.
type Endpoints<T> = BTreeMap<(String, EndpointAddress), T>;

/// An endpoint's state, over all workers.
#[derive(Clone, Copy, Debug, Default)]
struct EndpointSummary {
    /// A worker is connected, which is enough.
    connected: bool,
    /// A worker waits after a connect that failed.
    waiting: bool,
    /// Connects that failed so far.
    failures: u64,
}

/// The state of an endpoint, as last seen.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The largest count so far: while workers take over a configuration, not all of them publish theirs.
    failures: u64,
    /// The log says that it cannot be connected to.
    is_out: bool,
    /// It was missing at the last look, as it is for a moment when the configuration changes.
    is_missing: bool,
}

/// The states of all endpoints.
#[derive(Debug, Default)]
pub(super) struct ConnectivityLog(Endpoints<Known>);

impl ConnectivityLog {
    /// Logs changes since the last look.
    pub(super) fn look(&mut self, view: &GatewayView) {
        for ((cluster, endpoint), is_out) in update(&mut self.0, look(view)) {
            if is_out {
                let reason = reason(view, &cluster, endpoint).map_or("", ConnectError::words);
                tracing::warn!(cluster, %endpoint, reason, "the endpoint cannot be connected to");
            } else {
                tracing::info!(cluster, %endpoint, "the endpoint is connected again");
            }
        }
    }
}

fn look(view: &GatewayView) -> Endpoints<EndpointSummary> {
    let mut all = Endpoints::<EndpointSummary>::new();
    for (at, cluster) in view.config.clusters.iter().enumerate() {
        let slots = view.shards.iter().filter_map(|shard| shard.endpoints.get(at));
        for view in slots.flat_map(|slots| slots.iter().filter_map(EndpointSlot::read)) {
            let seen = all.entry((cluster.name.clone(), view.address)).or_default();
            seen.connected |= view.state == EndpointState::Connected;
            seen.waiting |= view.state == EndpointState::Backoff;
            seen.failures += view.connect_failures;
        }
    }
    all
}

/// Why the last connect to an endpoint failed, of any worker.
fn reason(view: &GatewayView, cluster: &str, endpoint: EndpointAddress) -> Option<ConnectError> {
    let at = view.config.clusters.iter().position(|known| known.name == cluster)?;
    let slots = view.shards.iter().filter_map(|shard| shard.endpoints.get(at));
    let views = slots.flat_map(|slots| slots.iter().filter_map(EndpointSlot::read));
    let errors = views.filter(|view| view.address == endpoint).filter_map(|view| view.last_error);
    errors.max_by_key(|(_, at)| *at).map(|(error, _)| error)
}

/// Takes over the new states, and gives the news: endpoints that are out now, and those that no longer are. Without an
/// attempt to connect there is no news.
fn update(
    known: &mut Endpoints<Known>,
    seen: Endpoints<EndpointSummary>,
) -> Vec<((String, EndpointAddress), bool)> {
    let mut news = Vec::new();
    known.retain(|endpoint, last| {
        let was_missing = std::mem::replace(&mut last.is_missing, !seen.contains_key(endpoint));
        !(was_missing && last.is_missing)
    });
    for (endpoint, EndpointSummary { connected, waiting, failures }) in seen {
        let last =
            known.get(&endpoint).copied().unwrap_or(Known { failures, is_out: false, is_missing: false });
        let is_out = !connected && (last.is_out || waiting || last.failures < failures);
        if is_out != last.is_out {
            news.push((endpoint.clone(), is_out));
        }
        known.insert(endpoint, Known { failures: failures.max(last.failures), is_out, is_missing: false });
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_and_its_end_too() {
        let address: std::net::SocketAddr = "10.0.0.1:1".parse().expect("an address");
        let endpoint = ("echo".to_owned(), EndpointAddress::Ip(address));
        let mut known = Endpoints::new();
        let seen = |connected, waiting, failures| Some(EndpointSummary { connected, waiting, failures });
        for (what, seen, news) in [
            ("it failed long ago, and nobody tries", seen(false, false, 7), None),
            ("it is connected, as it should be", seen(true, false, 7), None),
            ("its connection has ended, and nobody wants another one", seen(false, false, 7), None),
            ("it is out, though its pause is over already", seen(false, false, 8), Some(true)),
            ("still", seen(false, true, 9), None),
            ("workers take over another configuration", None, None),
            ("one of them has", seen(false, false, 4), None),
            ("both", seen(false, false, 9), None),
            ("it is back", seen(true, false, 9), Some(false)),
            ("another worker cannot connect", seen(true, true, 10), None),
            ("all connections have ended in order", seen(false, false, 10), None),
            ("nobody could connect", seen(false, true, 10), Some(true)),
            ("the configuration has it no more", None, None),
            ("still", None, None),
            ("it is new, and out", seen(false, true, 1), Some(true)),
        ] {
            let said = update(&mut known, seen.map(|seen| (endpoint.clone(), seen)).into_iter().collect());
            assert_eq!(said, Vec::from_iter(news.map(|is_out| (endpoint.clone(), is_out))), "{what}");
        }
        for _ in 0..2 {
            assert_eq!(update(&mut known, Endpoints::new()), []);
        }
        assert!(known.is_empty(), "{known:?}");
    }
}
