//! Says in the log which endpoints cannot be connected to, and which can be again: once for all workers, on a thread that
//! is none of theirs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use super::state::State;
use crate::admin::{Source, World};
use crate::metrics::{EndpointSlot, EndpointState};

/// How often it looks; an endpoint gets no more than a line in that time.
const LOOK: Duration = Duration::from_secs(1);

/// Endpoints, by cluster and address.
type Endpoints<T> = BTreeMap<(String, SocketAddr), T>;

/// How all workers together stand to an endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// One of them is connected, which is enough.
    connected: bool,
    /// Connects that failed so far.
    failures: u64,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    failures: u64,
    /// It was said that it cannot be connected to.
    is_out: bool,
}

/// Looks until the gateway ends.
pub(super) async fn watch(state: Weak<State>) {
    let mut known = Endpoints::new();
    let mut turns = tokio::time::interval(LOOK);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Some(state) = state.upgrade() else { return };
        for ((cluster, endpoint), is_out) in learn(&mut known, look(&state.world())) {
            if is_out {
                tracing::warn!(cluster, %endpoint, "the endpoint cannot be connected to");
            } else {
                tracing::info!(cluster, %endpoint, "the endpoint is connected again");
            }
        }
    }
}

fn look(world: &World) -> Endpoints<Seen> {
    let mut all = Endpoints::<Seen>::new();
    for (at, cluster) in world.config.clusters.iter().enumerate() {
        let slots = world.shards.iter().filter_map(|shard| shard.endpoints.get(at));
        for view in slots.flat_map(|slots| slots.iter().filter_map(EndpointSlot::read)) {
            let seen = all.entry((cluster.name.clone(), view.address)).or_default();
            seen.connected |= view.state == EndpointState::Connected;
            seen.failures += view.connect_failures;
        }
    }
    all
}

/// Takes over what was seen, and gives what is news: which endpoints are out now, and which no longer. That nobody has
/// tried to connect says nothing.
fn learn(known: &mut Endpoints<Known>, seen: Endpoints<Seen>) -> Vec<((String, SocketAddr), bool)> {
    let mut news = Vec::new();
    let before = std::mem::take(known);
    for (endpoint, Seen { connected, failures }) in seen {
        let last = before.get(&endpoint).copied().unwrap_or_default();
        let is_out = !connected && (last.is_out || last.failures < failures);
        if is_out != last.is_out {
            news.push((endpoint.clone(), is_out));
        }
        known.insert(endpoint, Known { failures, is_out });
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_and_its_end_too() {
        let endpoint = ("echo".to_owned(), "10.0.0.1:1".parse().unwrap());
        let mut known = Endpoints::new();
        for (what, connected, failures, news) in [
            ("nothing was tried", false, 0, None),
            ("it is connected, as it should be", true, 0, None),
            ("its connection has ended, and nobody wants another one", false, 0, None),
            ("it is out", false, 1, Some(true)),
            ("still", false, 2, None),
            ("nobody tries", false, 2, None),
            ("it is back", true, 2, Some(false)),
            ("another worker cannot connect", true, 3, None),
            ("all have ended in order", false, 3, None),
        ] {
            let seen = Endpoints::from([(endpoint.clone(), Seen { connected, failures })]);
            let said = learn(&mut known, seen);
            assert_eq!(said, Vec::from_iter(news.map(|is_out| (endpoint.clone(), is_out))), "{what}");
        }
        assert_eq!(learn(&mut known, Endpoints::new()), [], "the configuration has it no more");
        assert!(known.is_empty());
    }
}
