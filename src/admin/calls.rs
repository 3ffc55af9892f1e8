//! `/calls`: the calls of each route, cluster and method, those that fail first.

use super::request::AdminRequest;
use super::value::Value;
use crate::metrics::GRPC_STATUS_NAMES;

/// Entries that are shown.
const ROWS: usize = 1024;

/// A row, and what it is sorted by.
struct Row {
    failures_per_s: f64,
    calls_per_s: f64,
    errors: u64,
    value: Value,
}

pub(super) fn page(asked: &AdminRequest) -> Value {
    let view = asked.source().view();
    let rates = asked.history().latest_calls();
    let mut rows: Vec<Row> = Vec::new();
    for (at, labels) in view.layout.calls.iter().enumerate() {
        let mut codes = [0; GRPC_STATUS_NAMES.len()];
        for block in view.shards.iter().filter_map(|shard| shard.calls.get(at)) {
            for (sum, count) in codes.iter_mut().zip(block.codes()) {
                *sum += count;
            }
        }
        let calls: u64 = codes.iter().sum();
        if calls == 0 {
            continue;
        }
        let worst = (1..codes.len()).max_by_key(|&code| codes[code]).filter(|&code| codes[code] > 0);
        // Another configuration may run since the last sample.
        let rates = rates.get(at).filter(|rates| rates.labels == *labels);
        let name = |label: &String| (!label.is_empty()).then_some(label.as_str()).into();
        let mut entries = vec![
            ("route", name(&labels.route)),
            ("cluster", name(&labels.cluster)),
            ("method", name(&labels.method)),
            ("calls", calls.into()),
            ("errors", (calls - codes[0]).into()),
            ("most_frequent_error", worst.map(|code| GRPC_STATUS_NAMES[code]).into()),
            ("calls_per_s", rates.map(|rates| rates.calls_per_s).into()),
            ("errors_per_s", rates.map(|rates| rates.errors_per_s).into()),
            ("failures_per_s", rates.map(|rates| rates.failures_per_s).into()),
        ];
        entries.extend(rates.map(|rates| rates.latency).unwrap_or_default().entries());
        rows.push(Row {
            failures_per_s: rates.map_or(0.0, |rates| rates.failures_per_s),
            calls_per_s: rates.map_or(0.0, |rates| rates.calls_per_s),
            errors: calls - codes[0],
            value: Value::Record(entries),
        });
    }
    let order = |row: &Row| (row.failures_per_s, row.calls_per_s);
    rows.sort_by(|one, other| {
        let ((a, b), (c, d)) = (order(one), order(other));
        c.total_cmp(&a).then(d.total_cmp(&b)).then(other.errors.cmp(&one.errors))
    });
    Value::Record(vec![("calls", rows.into_iter().take(ROWS).map(|row| row.value).collect())])
}
