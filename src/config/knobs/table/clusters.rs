//! Rows: services behind the gateway.

use std::time::Duration;

use super::super::knob::Knob;
use super::super::row::{
    codes, count, flag, list, other, ratio, secs, size, table, tables, time, time_if_set, time_or_none, word,
};
use super::resilience::{breaker_rows, hedging_rows, retry_rows};
use super::values::{
    DAY, ENDPOINT, FRAME_MAX, HOUR, KIB, MIB, MONTH, MS, PATH, SERVICE, WINDOW_MAX, WINDOW_MIN,
};

#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub(super) const ROWS: &[Knob] = &[
    tables("clusters", 1, 1024, "A service behind the gateway."),
    other("clusters.name", "1 to 100 letters, digits, `_`, `-` or `.`",
        "Its name in routes and metrics; needed."),
    list("clusters.endpoints", ENDPOINT, 1, 1024,
        "Where the service runs; needed. Each address of a host name is an endpoint: its IPv4 addresses if it has any, else those of IPv6; see `[dns]`."),
    word("clusters.lb_policy", "least_request", &["least_request", "round_robin"],
        "Which endpoint takes the next call: the one with fewer calls in flight out of two taken at random, or one after the other."),
    time("clusters.connect_timeout", secs(1), MS, HOUR,
        "How long a connect may take, the HTTP/2 handshake included."),
    word("clusters.proxy_protocol", "none", &["none", "v2"],
        "Whether connections begin with a header of the PROXY protocol, version 2, before TLS. It says LOCAL, for calls of many callers share a connection: `x-forwarded-for` says who called."),
    count("clusters.max_requests", 1024, 1, 1_000_000_000,
        "Calls in flight at once, over all workers. Of 64 and more: once a client connection was refused that has at most an eighth of them, the last eighth is for such connections, until none has come for two seconds."),
    count("clusters.max_pending_requests", 1024, 1, 1_000_000_000,
        "Calls that may wait for a connection at once, over all workers."),
    count("clusters.max_connections", 1024, 1, 1_000_000,
        "Connections to all its endpoints, over all workers."),
    time_if_set("clusters.timeout", MS, DAY,
        "In place of the routes' `timeout`."),
    other("clusters.service_config", "the path of a gRPC service config, a JSON file",
        "Timeouts, retries, hedging and the retry throttle of methods, as gRPC clients take them (gRFC A6). Relative to this file. `[[clusters.methods]]` goes before it."),
    count("clusters.healthy_panic_threshold", 50, 0, 100,
        "Where less than this percentage of the endpoints is neither ejected nor unhealthy, all are used. 0 is never."),

    table("clusters.pool", "Connections of one worker to each endpoint."),
    count("clusters.pool.max_connections_per_endpoint", 8, 1, 1024,
        "Connections of one worker to one endpoint, at most."),
    count("clusters.pool.max_streams_per_connection", 100, 1, 1_000_000,
        "Calls one connection carries at once, where the upstream's own limit is not lower."),
    count("clusters.pool.max_requests_per_connection", 500_000_000, 1, 1_000_000_000,
        "Calls one connection carries in its life, before a new one takes over."),
    time_or_none("clusters.pool.max_connection_age", None, secs(1), MONTH,
        "A connection takes no new calls after this time, and ends with its last one; a new one takes over."),
    ratio("clusters.pool.max_connection_age_jitter", 0.1, 0.0, 0.9,
        "The age of a connection is by chance up to this share lower or higher."),
    size("clusters.pool.initial_stream_window_size", 128 * KIB, WINDOW_MIN, WINDOW_MAX,
        "Bytes the upstream may send on one call before the client has taken them, at first; calls whose bytes are taken as fast as they come get more, up to a quarter of the connection's."),
    size("clusters.pool.initial_connection_window_size", 16 * MIB, WINDOW_MIN, WINDOW_MAX,
        "Bytes the upstream may send on one connection before the clients have taken them; not below the window of a stream."),
    size("clusters.pool.max_frame_size", 64 * KIB, 16 * KIB, FRAME_MAX,
        "The largest frame the upstream may send."),
    size("clusters.pool.max_header_list_size", 64 * KIB, KIB, MIB,
        "Bytes of all header fields of a response, counted as for requests."),
    size("clusters.pool.max_send_buffer_size", 256 * KIB, KIB, 64 * MIB,
        "Bytes of requests that one connection may have staged for the upstream to read; while there are more, nothing more is read from it."),
    size("clusters.pool.min_rate", 256, 1, MIB,
        "Bytes a second that the upstream has to take of a request that waits for it; one that takes fewer is as one that takes none, and the `timeout` of the route runs."),
    size("clusters.pool.replay_buffer_size", 64 * KIB, 0, 16 * MIB,
        "Bytes of one request that are kept so that it can be sent again if the upstream refused it unseen."),

    table("clusters.keepalive", "Pings that find dead connections."),
    time("clusters.keepalive.interval", secs(30), secs(10), DAY,
        "A connection that has been silent for this long is pinged. gRPC servers answer faster pings with GOAWAY too_many_pings."),
    time("clusters.keepalive.interval_without_data", secs(310), secs(10), DAY,
        "After a ping since which nothing came but its answer, the next one waits for this long: gRPC servers by default allow one in 5 minutes, and end the connection after the third that comes sooner."),
    time("clusters.keepalive.timeout", secs(5), MS, HOUR,
        "A pinged connection is closed if the answer takes longer than this."),
    flag("clusters.keepalive.without_calls", false,
        "Whether connections without calls are pinged too. Many gRPC servers forbid it."),

    table("clusters.reconnect", "The wait before connecting again after a failed connect, or a connection that the service ended within `initial_backoff` and before any call, +-20 %."),
    time("clusters.reconnect.initial_backoff", Duration::from_millis(100), MS, HOUR,
        "The wait after the first failed connect."),
    ratio("clusters.reconnect.backoff_multiplier", 1.6, 1.0, 10.0,
        "Each next wait is this much longer."),
    time("clusters.reconnect.max_backoff", secs(10), MS, HOUR,
        "No wait is longer than this; not below `initial_backoff`."),

    tables("clusters.methods", 0, 4096, "Settings of one method of the cluster."),
    other("clusters.methods.path", PATH,
        "The method; needed."),
    time_if_set("clusters.methods.timeout", MS, DAY,
        "In place of the route's `timeout`."),
    flag("clusters.methods.unary", false,
        "Whether the method takes one message and responds with one, where no descriptors say so. Then the service is told what is left of `timeout`, which for a stream ends as its response begins."),
    flag("clusters.methods.idempotent", false,
        "Whether to do the method twice is as good as once. Then a call whose fate is unknown may be sent again."),
    table("clusters.methods.hedging", "Sends a call again before the first attempt has failed; for idempotent methods only. Off without this table."),
];

#[rustfmt::skip]
pub(super) const METHOD_HEDGING: &[Knob] = hedging_rows!("clusters.methods.hedging");

#[rustfmt::skip]
pub(super) const METHOD_BREAKER_TABLE: &[Knob] = &[
    table("clusters.methods.breaker", "A breaker of the method's own, beside that of the cluster. Off without this table."),
];

#[rustfmt::skip]
pub(super) const METHOD_BREAKER: &[Knob] = breaker_rows!("clusters.methods.breaker");

#[rustfmt::skip]
pub(super) const RETRY_TABLE: &[Knob] = &[
    table("clusters.retry", "When a failed call is sent again (gRFC A6). What no service has seen is sent again in any case, once."),
];

#[rustfmt::skip]
pub(super) const RETRY: &[Knob] = retry_rows!("clusters.retry");

#[rustfmt::skip]
pub(super) const BREAKER_TABLE: &[Knob] = &[
    count("clusters.retry.budget_percent", 20, 0, 100,
        "For a hundred calls, so many retries and hedges."),
    count("clusters.retry.budget_min_retries", 10, 0, 1_000_000,
        "Extra retries for all workers together before calls have earned any; later calls repay them."),

    table("clusters.breaker", "Gives a service that fails a rest (gobreaker's words). For limits see `max_requests`, for single endpoints `outlier_detection`."),
    flag("clusters.breaker.enabled", true,
        "Whether the cluster has a breaker."),
];

#[rustfmt::skip]
pub(super) const BREAKER: &[Knob] = breaker_rows!("clusters.breaker");

#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub(super) const OTHER_ROWS: &[Knob] = &[
    table("clusters.outlier_detection", "Which endpoints get no calls for a while (Envoy's words)."),
    flag("clusters.outlier_detection.enabled", true,
        "Whether endpoints are ejected."),
    count("clusters.outlier_detection.consecutive_gateway_failure", 5, 0, 1_000_000,
        "UNAVAILABLE (HTTP: 502, 503, 504) so often in a row ejects. 0 is off."),
    count("clusters.outlier_detection.consecutive_local_origin_failure", 5, 0, 1_000_000,
        "Failed connects, lost connections, resets and timeouts of the gateway's own, so often in a row, eject. 0 is off."),
    time("clusters.outlier_detection.base_ejection_time", secs(30), MS, DAY,
        "The first ejection lasts this long, the n-th in short order n times as long."),
    time("clusters.outlier_detection.max_ejection_time", secs(300), MS, DAY,
        "No ejection lasts longer than this."),
    count("clusters.outlier_detection.max_ejection_percent", 50, 0, 100,
        "No more than this share of the endpoints is ejected at once."),
    time("clusters.outlier_detection.interval", secs(10), MS, HOUR,
        "An endpoint that stays well for this long has one ejection forgotten."),

    table("clusters.slow_start", "How an endpoint that comes back gets its share of calls (Envoy's words)."),
    time("clusters.slow_start.window", Duration::ZERO, Duration::ZERO, HOUR,
        "The time until an endpoint has its whole share. `0s` is at once."),
    ratio("clusters.slow_start.aggression", 1.0, 0.1, 10.0,
        "1 is a straight line; above it, the share grows faster at first."),
    count("clusters.slow_start.min_weight_percent", 10, 1, 100,
        "The share an endpoint begins with, in percent."),

    table("clusters.adaptive_timeout", "A timeout for each method that follows its latency, never above the fixed one. Off without this table."),
    ratio("clusters.adaptive_timeout.percentile", 99.9, 50.0, 99.99,
        "The latency that this share of calls, in percent, is not above."),
    ratio("clusters.adaptive_timeout.multiplier", 3.0, 1.0, 100.0,
        "The timeout is this much longer than that latency."),
    time("clusters.adaptive_timeout.floor", Duration::from_millis(50), MS, HOUR,
        "The timeout is never shorter than this."),
    time("clusters.adaptive_timeout.window", secs(60), secs(1), DAY,
        "After this time a latency counts for half."),

    table("clusters.health_checks", "Asks each endpoint how it is, by `grpc.health.v1`. Off without this table."),
    time("clusters.health_checks.interval", secs(10), Duration::from_millis(100), HOUR,
        "The time between two questions to one endpoint, from all workers together."),
    time("clusters.health_checks.timeout", secs(1), MS, HOUR,
        "How long a response may take."),
    count("clusters.health_checks.unhealthy_threshold", 3, 1, 1000,
        "So many bad responses in a row and it gets no calls."),
    count("clusters.health_checks.healthy_threshold", 2, 1, 1000,
        "So many good responses in a row and it gets calls again."),
    other("clusters.health_checks.service", SERVICE,
        "The service that is asked for; by default the server as a whole."),
];
