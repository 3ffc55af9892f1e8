//! `/workers` and `/history`: where each worker runs, and what it did in the last seconds.

use super::request::AdminRequest;
use super::response::AdminResponse;
use super::value::Value;

/// Where each worker runs, its gauges as they are, its rates in the last second.
pub(super) fn page(asked: &AdminRequest) -> Value {
    let view = asked.source().view();
    let latest = asked.history().latest();
    let rows = view.workers.iter().zip(&view.shards).enumerate().map(|(number, (place, shard))| {
        let mut entries = vec![
            ("worker", number.into()),
            ("core", place.core.into()),
            ("numa_node", place.numa_node.into()),
            ("backend", view.backend.into()),
            ("flags", view.flags.into()),
        ];
        match latest.as_ref().and_then(|latest| latest.workers.get(number)) {
            Some(rates) => {
                let mut rates = rates.entries();
                for (key, value) in &mut rates {
                    match *key {
                        "connections" => *value = shard.worker.connections_active.get().into(),
                        "calls_active" => *value = shard.worker.calls_active.get().into(),
                        _ => {}
                    }
                }
                entries.extend(rates);
            }
            None => {
                entries.push(("connections", shard.worker.connections_active.get().into()));
                entries.push(("calls_active", shard.worker.calls_active.get().into()));
            }
        }
        entries.push(("calls", shard.worker.calls_started.get().into()));
        Value::Record(entries)
    });
    Value::Record(vec![("workers", rows.collect())])
}

/// The samples from number `from` on.
pub(super) fn history(asked: &AdminRequest) -> AdminResponse {
    let from = asked.query().get("from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let view = asked.source().view();
    let (samples, next) = asked.history().from(from);
    // Samples from before a change of the configuration speak of other clusters.
    let fits = |clusters: usize, workers: usize| {
        clusters == view.layout.clusters.len() && workers == view.shards.len()
    };
    let samples = samples.iter().filter(|it| fits(it.clusters.len(), it.workers.len()));
    AdminResponse::json(&Value::Record(vec![
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("ready", asked.source().ready().into()),
        ("backend", view.backend.into()),
        ("flags", view.flags.into()),
        ("next", next.into()),
        ("samples", samples.map(|sample| sample.value(&view)).collect()),
    ]))
}
