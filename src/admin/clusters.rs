//! `/clusters`: each cluster with its limits, and each of its endpoints as the workers see it.

use std::collections::BTreeMap;

use super::request::AdminRequest;
use super::value::Value;
use super::view::{GatewayView, Unresolved};
use crate::config::{Endpoint, EndpointAddress, LbPolicy};
use crate::metrics::{ClusterBlock, ConnectError, EndpointState, EndpointView};
use crate::time::Moment;

/// All clusters, in the order of the configuration.
pub(super) fn page(asked: &AdminRequest) -> Value {
    let view = asked.source().view();
    let rows = view.config.clusters.iter().enumerate().map(|(at, settings)| {
        let sum = |read: fn(&ClusterBlock) -> u64| -> Value {
            view.shards
                .iter()
                .filter_map(|shard| shard.clusters.get(at))
                .map(|block| read(block))
                .sum::<u64>()
                .into()
        };
        let lb_policy = match settings.lb_policy {
            LbPolicy::LeastRequest => "least_request",
            LbPolicy::RoundRobin => "round_robin",
        };
        Value::Record(vec![
            ("cluster", settings.name.as_str().into()),
            ("lb_policy", lb_policy.into()),
            ("connections", sum(|block| block.connections_active.get())),
            ("calls_active", sum(|block| block.calls_active.get())),
            ("max_requests", u64::from(settings.max_requests).into()),
            ("pending", sum(|block| block.pending_active.get())),
            ("max_pending_requests", u64::from(settings.max_pending_requests).into()),
            ("calls", sum(|block| block.calls.get())),
            ("replays", sum(|block| block.replays.get())),
            ("refused", sum(|block| block.limit_refused.get() + block.pending_overflow.get())),
            ("endpoints", endpoints(asked, &view, at)),
        ])
    });
    Value::Record(vec![("clusters", rows.collect())])
}

/// An endpoint as all workers together see it.
struct EndpointSummary {
    /// Workers in each state.
    states: [u64; EndpointState::ALL.len()],
    sum: EndpointView,
    is_ejected: bool,
}

/// Host names that do not resolve, then the addresses of all others.
fn endpoints(asked: &AdminRequest, view: &GatewayView, cluster: usize) -> Value {
    let hosts = view.config.clusters[cluster].endpoints.iter();
    let unresolved = hosts.filter_map(|endpoint| {
        let Endpoint::Tcp { host, port } = endpoint else { return None };
        let failed = asked.source().unresolved(host)?;
        Some(unresolved_row(format!("{host}:{port}"), &failed))
    });
    unresolved.chain(addresses(view, cluster, asked.source().now())).collect()
}

fn unresolved_row(endpoint: String, failed: &Unresolved) -> Value {
    let kept = if failed.was_found { "; the last known addresses are kept" } else { "" };
    let nothing = || Value::from(0_u64);
    Value::Record(vec![
        ("address", Value::Text(endpoint)),
        ("state", "unresolved".into()),
        ("last_error", Value::Text(format!("DNS lookup failed: {}{kept}", failed.reason))),
        ("last_error_ago_s", failed.ago.as_secs().into()),
        ("connections", nothing()),
        ("calls_active", nothing()),
        ("calls", nothing()),
        ("connect_failures", nothing()),
        ("workers_connected", nothing()),
        ("workers_in_backoff", nothing()),
        ("retry_in_ms", Value::Null),
        ("ejected", false.into()),
    ])
}

fn addresses(view: &GatewayView, cluster: usize, now: Moment) -> Vec<Value> {
    let ejected: Vec<usize> = match view.shares.get(cluster) {
        Some(shares) => shares.outliers.ejected_hosts().map(|(at, _)| at).collect(),
        None => Vec::new(),
    };
    let mut all: BTreeMap<EndpointAddress, EndpointSummary> = BTreeMap::new();
    let slots = view.shards.iter().filter_map(|shard| shard.endpoints.get(cluster));
    let views = slots.flat_map(|slots| slots.iter().enumerate());
    for (position, view) in views.filter_map(|(position, slot)| Some((position, slot.read()?))) {
        let seen = all.entry(view.address).or_insert_with(|| EndpointSummary {
            states: [0; EndpointState::ALL.len()],
            // A slot has the position of its endpoint.
            is_ejected: ejected.contains(&position),
            sum: EndpointView { connections: 0, calls_active: 0, calls: 0, connect_failures: 0, ..view },
        });
        seen.states[view.state as usize] += 1;
        seen.sum.connections += view.connections;
        seen.sum.calls_active += view.calls_active;
        seen.sum.calls += view.calls;
        seen.sum.connect_failures += view.connect_failures;
        seen.sum.retry_in = seen.sum.retry_in.max(view.retry_in);
        let newest = |one: &(ConnectError, Moment)| one.1;
        seen.sum.last_error = seen.sum.last_error.into_iter().chain(view.last_error).max_by_key(newest);
    }
    all.into_values().map(|seen| seen.value(now)).collect()
}

impl EndpointSummary {
    fn value(&self, now: Moment) -> Value {
        let in_state = |state: EndpointState| self.states[state as usize];
        // The state that matters most to an operator: whether calls go there, and if not, whether that is trouble.
        let by_weight = [
            EndpointState::Connected,
            EndpointState::Backoff,
            EndpointState::Failed,
            EndpointState::Connecting,
        ];
        let state = by_weight.into_iter().find(|&state| in_state(state) > 0).unwrap_or(EndpointState::Idle);
        let retry_ms = u64::try_from(self.sum.retry_in.as_millis()).unwrap_or(u64::MAX);
        Value::Record(vec![
            ("address", Value::Text(self.sum.address.to_string())),
            ("state", state.word().into()),
            ("last_error", self.sum.last_error.map(|(error, _)| error.words()).into()),
            ("last_error_ago_s", self.sum.last_error.map(|(_, at)| now.since(at).as_secs()).into()),
            ("connections", self.sum.connections.into()),
            ("calls_active", self.sum.calls_active.into()),
            ("calls", self.sum.calls.into()),
            ("connect_failures", self.sum.connect_failures.into()),
            ("workers_connected", in_state(EndpointState::Connected).into()),
            ("workers_in_backoff", in_state(EndpointState::Backoff).into()),
            ("retry_in_ms", (in_state(EndpointState::Backoff) > 0).then_some(retry_ms).into()),
            ("ejected", self.is_ejected.into()),
        ])
    }
}
