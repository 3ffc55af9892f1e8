//! Rows: which calls go where.

use std::time::Duration;

use super::super::knob::Knob;
use super::super::row::{count, names, other, secs, table, tables, time, time_or_none};
use super::values::{CLUSTER, DAY, HOUR, MONTH, MS, NAME, PATH, SERVICE};

#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub(super) const ROWS: &[Knob] = &[
    tables("routes", 1, 4096, "Which calls go where. The first route that matches takes the call."),
    other("routes.name", NAME,
        "The name in metrics; by default what the route matches, such as `service:bench.v1.Echo`."),
    other("routes.cluster", CLUSTER,
        "Where the calls go. This or `weighted_clusters`."),
    time_or_none("routes.timeout", Some(secs(5)), MS, DAY,
        "Until the answer begins, the waits for the client's own body left out; all attempts together. A cluster and its methods may have their own."),
    time_or_none("routes.max_stream_duration", None, MS, MONTH,
        "A whole call, streams included; caps the caller's grpc-timeout."),
    time_or_none("routes.idle_timeout", Some(secs(300)), MS, DAY,
        "A call on which nothing moves for this long is ended."),
    table("routes.rate_limit", "Calls that the route takes, exact over all workers; refused with RESOURCE_EXHAUSTED above it. No limit without this table."),
    count("routes.rate_limit.max_tokens", 100, 1, 1_048_575,
        "So many calls at once: a full bucket."),
    count("routes.rate_limit.tokens_per_fill", 100, 1, 1_048_575,
        "So many more at each `fill_interval`, as far as they fit."),
    time("routes.rate_limit.fill_interval", secs(1), Duration::from_millis(50), HOUR,
        "See `tokens_per_fill`."),
    table("routes.match", "What a call must look like; all that is given must match. Empty or left out: every call."),
    other("routes.match.service", SERVICE,
        "All methods of one service. One of `service`, `prefix`, `path` at most."),
    other("routes.match.prefix", "the beginning of a path, with its slash: \"/bench.v1.\"",
        "All paths that begin so. `\"/\"` is all, and the default."),
    other("routes.match.path", PATH,
        "One method."),
    other("routes.match.host", "a host name without a port, such as \"api.example.com\" or \"*.example.com\"",
        "The call's authority without its port. `*.` stands for one or more labels."),
    names("routes.match.headers", 32,
        "Header fields that must be there with just this value: `{ \"x-canary\" = \"1\" }`."),
    tables("routes.weighted_clusters", 0, 64, "Several clusters that share the calls of a route by weight."),
    other("routes.weighted_clusters.name", CLUSTER,
        "One of them; needed."),
    count("routes.weighted_clusters.weight", 1, 0, 1_000_000,
        "Its share is this over the sum of all; the sum must be at least 1."),
];
