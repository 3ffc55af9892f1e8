//! The table of knobs, in the order of the file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Kind, Knob};

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;
/// RFC 9113 section 6.5.2: SETTINGS_MAX_FRAME_SIZE, 2^14 to 2^24 - 1.
const FRAME_MAX: u32 = 16 * MIB - 1;
/// RFC 9113 section 6.9.2: a window begins at 2^16 - 1. Smaller ones slow every call and save little.
const WINDOW_MIN: u32 = 65_535;
/// RFC 9113 section 6.9.1: no window may be larger.
const WINDOW_MAX: u32 = 0x7fff_ffff;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Every key there is, in the order of the file.
#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub const KNOBS: &[Knob] = &[
    count_or_auto("workers", 1, 1024,
        "Worker threads. `auto` is one for each CPU this process may use: affinity, cpuset and cgroup quota are respected."),
    other("cpu_policy", "\"all\", \"physical_cores\" or \"numa_node:0\"",
        "Which of those CPUs workers take: all, one of each core, or those of one memory node. By default all. Where workers are fewer, CPUs that take an interface's packets for all of them are left out, unless there is such a CPU for each worker."),
    time("drain_timeout", secs(30), Duration::ZERO, HOUR,
        "How long calls in flight may take to finish after SIGTERM before they are cut."),

    table("io", "How workers talk to the kernel."),
    word("io.backend", "auto", &["auto", "io_uring", "epoll"],
        "`auto` is io_uring where every core can have a ring, epoll otherwise."),
    power_of_two("io.entries", 4096, 256, 32_768,
        "Submission queue entries of each worker's ring."),
    word("io.on_unavailable", "fallback", &["fallback", "fail"],
        "Where io_uring is wanted but not available: use epoll with a warning, or exit with code 78."),
    time_or_none("io.sqpoll_idle", None, MS, Duration::from_secs(60),
        "A thread of the kernel takes each worker's submissions and sleeps after this long without any; it needs a CPU of its own for each worker, 4 `io.entries` for each of its connections, and Linux 6.0. `check` and start refuse it elsewhere."),
    time_or_none("io.busy_poll", None, Duration::from_micros(1), Duration::from_millis(1),
        "How long a worker's ring may poll the interfaces of its sockets before it sleeps (NAPI busy polling, preferred to interrupts). Needs io_uring and Linux 6.9; `check` and start refuse it elsewhere. Does nothing on loopback."),

    table("admin", "The address for operators."),
    address("admin.address", Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901)),
        "Where the dashboard, `/metrics` and all other pages for operators are served. Keep it off public networks."),

    table("overload", "When a worker has more than it can do, it refuses calls with UNAVAILABLE before anything of them is read."),
    count("overload.max_active_calls", 65_536, 1, 1_000_000_000,
        "Calls one worker has at once, streams included; more are refused."),
    time_or_none("overload.max_loop_delay", Some(Duration::from_millis(500)), Duration::from_millis(10), HOUR,
        "How late a worker may come to what has arrived. Of the calls that it comes to later, nearly all are refused, once it has been late for `interval`."),
    time("overload.interval", secs(1), Duration::from_millis(10), HOUR,
        "So long it has to be later than that without a break: a short rush refuses nothing."),

    table("dns", "How host names of endpoints become addresses. They are asked for again and again; while that fails, the last good answer holds."),
    list("dns.servers", "an IP address and a port, such as \"10.0.0.2:53\"", 0, 8,
        "Name servers; by default those of `/etc/resolv.conf`. `/etc/hosts` goes before them."),
    time("dns.refresh_rate", secs(30), Duration::from_millis(10), HOUR,
        "A name is asked for again after this time, or sooner if the TTL of its answer is over."),
    time("dns.min_refresh_rate", secs(1), Duration::from_millis(10), HOUR,
        "But never sooner than this, which is also the first wait after a failure; not above `refresh_rate`."),
    time("dns.timeout", secs(5), MS, HOUR,
        "An answer that takes longer is none. A reload waits no longer than this for names that are new."),
    count("dns.max_addresses", 256, 1, 4096,
        "Of the addresses of one name, so many are used."),

    table("access_log", "A line of JSON for each call, or for a share of them."),
    other("access_log.path", "the path of a file, or \"-\" for standard output",
        "Where lines are appended; no access log without it. SIGUSR1 opens the file anew."),
    ratio("access_log.sample", 0.01, 0.0, 1.0,
        "The share of calls that get a line."),
    flag("access_log.errors", true,
        "Whether each call that does not end with OK gets one, whatever the share is."),

    table("tracing", "Spans for an OpenTelemetry collector, over OTLP: one for each call, and one for each of its attempts. W3C's `traceparent` is followed, and passes untouched where tracing is off."),
    other("tracing.endpoint", "\"http://\", a host and a port, such as \"http://127.0.0.1:4317\"",
        "Where the collector takes OTLP over gRPC; no tracing without it."),
    ratio("tracing.sample", 0.01, 0.0, 1.0,
        "The share of calls that get spans, of those that come without a decision; a caller's decision is followed."),
    other("tracing.service_name", "1 to 100 printable characters",
        "`service.name` of all spans; \"ringway\" by default."),
    power_of_two("tracing.queue_spans", 2048, 64, 65_536,
        "Spans of one worker that may wait to be exported, 304 bytes each; more are left out and counted."),
    count("tracing.batch_spans", 512, 1, 65_536,
        "Spans that are exported at once."),
    time("tracing.interval", secs(1), MS, secs(60),
        "How long spans are collected before they are exported."),
    time("tracing.timeout", secs(5), MS, secs(60),
        "How long the collector may take for one export; spans it did not take after three tries are lost and counted."),

    tables("listeners", 1, 64, "An address that clients connect to."),
    address("listeners.address", None,
        "The address; needed. All workers share it with SO_REUSEPORT."),
    count("listeners.backlog", 4096, 1, 65_535,
        "Connections the kernel may hold for one worker before it accepts them, and others may have handed to it."),
    count("listeners.max_connections", 65_536, 1, 1_000_000,
        "Connections one worker serves at once on this listener; what no worker has room for is closed at once."),
    flag("listeners.balance_connections", true,
        "Whether a worker hands a connection it accepts to one that has clearly fewer; else it keeps what the kernel gives it."),
    time("listeners.handshake_timeout", secs(10), MS, HOUR,
        "From a client's connect to the end of its HTTP/2 preface."),
    time("listeners.idle_timeout", secs(300), MS, DAY,
        "A connection without calls for this long is closed."),
    time("listeners.write_timeout", secs(30), MS, DAY,
        "A connection whose client takes no bytes for this long, while some wait, is closed."),
    word("listeners.server_timing", "on_request", &["off", "on_request", "always"],
        "Whether answers say in `server-timing` where their time went: when the request has `x-ringway-timing`, never, or always."),
    later("listeners.tls", "end TLS", "Let something in front of Ringway end TLS."),

    table("listeners.http2", "HTTP/2 towards clients."),
    count("listeners.http2.max_concurrent_streams", 256, 1, 1_000_000,
        "Calls one connection may have open at once."),
    size("listeners.http2.initial_stream_window_size", MIB, WINDOW_MIN, WINDOW_MAX,
        "Bytes a client may send on one call before the upstream has taken them."),
    size("listeners.http2.initial_connection_window_size", 16 * MIB, WINDOW_MIN, WINDOW_MAX,
        "Bytes a client may send on one connection before the upstreams have taken them; not below the window of a stream."),
    size("listeners.http2.max_frame_size", 16 * KIB, 16 * KIB, FRAME_MAX,
        "The largest frame a client may send."),
    size("listeners.http2.max_header_list_size", 16 * KIB, KIB, MIB,
        "Bytes of all header fields of a request, and 32 more for each field, as RFC 9113 section 6.5.2 counts."),
    count("listeners.http2.max_headers_count", 100, 8, 4096,
        "Header fields of a request."),
    size("listeners.http2.max_send_buffer_size", 64 * KIB, KIB, 64 * MIB,
        "Bytes of one answer that may wait in memory for the client's window."),
    count("listeners.http2.max_resets_per_second", 1000, 1, 1_000_000,
        "Calls a client may cancel before their answer began, per second; twice as many at once. Above it the connection is closed."),

    table("listeners.cors", "Calls from web pages of other origins. Preflights are answered here and never reach an upstream."),
    list("listeners.cors.allow_origins", ORIGIN, 0, 256,
        "Who may call. Empty: nobody, and no CORS header is ever sent."),
    list("listeners.cors.allow_headers", HEADER, 0, 256,
        "What a page may send besides the headers that JSON, gRPC-Web and deadlines need."),
    list("listeners.cors.expose_headers", HEADER, 0, 256,
        "What a page may read besides the headers of gRPC."),
    time("listeners.cors.max_age", DAY, Duration::ZERO, DAY,
        "How long a browser may remember the answer to a preflight. Browsers have lower caps of their own."),

    table("transcoding", "JSON in front of gRPC: the rules of `google.api.http`. On where any descriptors are named. Relative paths begin at this file's directory."),
    list("transcoding.descriptor_sets", FILE, 0, 256,
        "Files with a `google.protobuf.FileDescriptorSet`, as `protoc --include_imports --descriptor_set_out` and `buf build` write them."),
    list("transcoding.protos", FILE, 0, 4096,
        "`.proto` files, compiled at start. They must lie below one of `proto_paths`."),
    list("transcoding.proto_paths", FILE, 0, 256,
        "Where imports are looked for, in this order; by default this file's directory. `google/protobuf` and the usual ones of `google/api` are built in."),
    list("transcoding.reflection", CLUSTER, 0, 1024,
        "Clusters whose server reflection is asked for descriptors: v1, else v1alpha. The last good answer is kept."),
    time("transcoding.reflection_interval", secs(60), secs(1), DAY,
        "How often they are asked."),
    list("transcoding.services", "a service's full name, such as \"bench.v1.Echo\"", 0, 4096,
        "The services to serve as JSON; empty for all that the descriptors have."),
    flag("transcoding.auto_mapping", true,
        "Whether `POST /{service}/{method}` with a JSON body works for every method, annotated or not."),
    size("transcoding.max_request_body_size", 4 * MIB, KIB, 1024 * MIB,
        "Bytes of a JSON request; more are answered with 413."),
    size("transcoding.max_response_message_size", 4 * MIB, KIB, 1024 * MIB,
        "Bytes of one message of an answer, which is held while it is turned into JSON."),
    flag("transcoding.ignore_unknown_fields", false,
        "Whether fields that a message does not have are left out of a JSON request; else they are errors."),
    flag("transcoding.ignore_unknown_query_parameters", false,
        "The same for query parameters."),

    table("transcoding.print_options", "How JSON is written."),
    flag("transcoding.print_options.add_whitespace", false,
        "Lines and indents, for people."),
    flag("transcoding.print_options.always_print_primitive_fields", false,
        "Write fields that hold their default, where the message cannot tell them from unset ones."),
    flag("transcoding.print_options.always_print_enums_as_ints", false,
        "Write enum values as numbers."),
    flag("transcoding.print_options.preserve_proto_field_names", false,
        "Write `snake_case` names as in the `.proto` file, in place of `camelCase`."),

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

    tables("clusters", 1, 1024, "A service behind the gateway."),
    other("clusters.name", "1 to 100 letters, digits, `_`, `-` or `.`",
        "Its name in routes and metrics; needed."),
    list("clusters.endpoints", ENDPOINT, 1, 1024,
        "Where it runs; needed. Each address of a host name is an endpoint: its IPv4 addresses if it has any, else those of IPv6; see `[dns]`."),
    word("clusters.lb_policy", "least_request", &["least_request", "round_robin"],
        "Which endpoint takes the next call: the one with fewer calls in flight out of two taken at random, or one after the other."),
    time("clusters.connect_timeout", secs(1), MS, HOUR,
        "How long a connect may take, the HTTP/2 handshake included."),
    count("clusters.max_requests", 1024, 1, 1_000_000_000,
        "Calls in flight at once, over all workers."),
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
    later("clusters.tls", "connect with TLS", "Keep upstreams on a network you trust."),

    table("clusters.pool", "Connections of one worker to each endpoint."),
    count("clusters.pool.max_connections", 8, 1, 1024,
        "At most this many."),
    count("clusters.pool.max_streams_per_connection", 100, 1, 1_000_000,
        "Calls one of them carries at once, where the upstream's own limit is not lower."),
    count("clusters.pool.max_requests_per_connection", 500_000_000, 1, 1_000_000_000,
        "Calls one of them carries in its life, before a new one takes over."),
    size("clusters.pool.initial_stream_window_size", MIB, WINDOW_MIN, WINDOW_MAX,
        "Bytes the upstream may send on one call before the client has taken them."),
    size("clusters.pool.initial_connection_window_size", 16 * MIB, WINDOW_MIN, WINDOW_MAX,
        "Bytes the upstream may send on one connection before the clients have taken them; not below the window of a stream."),
    size("clusters.pool.max_frame_size", 64 * KIB, 16 * KIB, FRAME_MAX,
        "The largest frame the upstream may send."),
    size("clusters.pool.max_header_list_size", 64 * KIB, KIB, MIB,
        "Bytes of all header fields of an answer, counted as for requests."),
    size("clusters.pool.max_send_buffer_size", 256 * KIB, KIB, 64 * MIB,
        "Bytes of one request that may wait in memory for the upstream's window."),
    size("clusters.pool.replay_buffer_size", 64 * KIB, 0, 16 * MIB,
        "Bytes of one request that are kept so that it can be sent again if the upstream refused it unseen."),

    table("clusters.keepalive", "Pings that find dead connections."),
    time("clusters.keepalive.interval", secs(30), secs(10), DAY,
        "A connection that has been silent for this long is pinged. gRPC servers answer faster pings with GOAWAY too_many_pings."),
    time("clusters.keepalive.timeout", secs(5), MS, HOUR,
        "It is closed if the answer takes longer than this."),
    flag("clusters.keepalive.without_calls", false,
        "Whether connections without calls are pinged too. Many gRPC servers forbid it."),

    table("clusters.reconnect", "The wait before connecting again after a failed connect, +-20 %."),
    time("clusters.reconnect.initial_backoff", Duration::from_millis(100), MS, HOUR,
        "The first wait."),
    ratio("clusters.reconnect.backoff_multiplier", 1.6, 1.0, 10.0,
        "Each next one is this much longer."),
    time("clusters.reconnect.max_backoff", secs(10), MS, HOUR,
        "Never longer than this; not below `initial_backoff`."),

    tables("clusters.methods", 0, 4096, "What is special about one method of the cluster."),
    other("clusters.methods.path", PATH,
        "The method; needed."),
    time_if_set("clusters.methods.timeout", MS, DAY,
        "In place of the route's `timeout`."),
    flag("clusters.methods.unary", false,
        "Whether it takes one message and answers with one, where no descriptors say so. Then the service is told what is left of `timeout`, which for a stream ends as its answer begins."),
    flag("clusters.methods.idempotent", false,
        "Whether to do it twice is as good as once. Then a call whose fate is unknown may be sent again."),
    table("clusters.methods.hedging", "Sends a call again before the first attempt has failed; for idempotent methods only. Off without this table."),
    count("clusters.methods.hedging.max_attempts", 2, 2, 5,
        "How often a call may be sent, the first time included; the retry budget pays for all but that."),
    time("clusters.methods.hedging.hedging_delay", Duration::from_millis(100), Duration::ZERO, HOUR,
        "The wait between two attempts."),
    codes("clusters.methods.hedging.non_fatal_status_codes", &["UNAVAILABLE"],
        "Answers after which the next attempt begins at once; others end the call."),
    table("clusters.methods.breaker", "A breaker of the method's own, beside that of the cluster. Off without this table."),
    count("clusters.methods.breaker.max_requests", 50, 1, 1_000_000,
        "Probes that a half-open breaker lets through, over all workers; all must succeed to close it."),
    time("clusters.methods.breaker.interval", secs(30), Duration::from_millis(100), HOUR,
        "The window over which a closed breaker counts."),
    time("clusters.methods.breaker.timeout", secs(60), MS, HOUR,
        "How long it stays open."),
    count("clusters.methods.breaker.min_requests", 20, 1, 1_000_000,
        "It does not open on fewer calls than this in the window."),
    ratio("clusters.methods.breaker.failure_ratio", 0.5, 0.001, 1.0,
        "The share of failed calls at which it opens: UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, no connection."),
    time("clusters.methods.breaker.ramp", secs(10), Duration::ZERO, HOUR,
        "Once closed, the share of calls let through grows from a tenth to all over this time."),
    time("clusters.methods.breaker.min_deadline", secs(1), Duration::ZERO, HOUR,
        "A caller's deadline that passed sooner than this is the caller's doing and counts neither way."),

    table("clusters.retry", "When a failed call is sent again (gRFC A6). What no service has seen is sent again in any case, once."),
    count("clusters.retry.max_attempts", 3, 1, 10,
        "How often a call may be sent, the first time included."),
    time("clusters.retry.initial_backoff", Duration::from_millis(100), MS, HOUR,
        "The wait before the second attempt, +-20 % as all of them."),
    ratio("clusters.retry.backoff_multiplier", 2.0, 1.0, 10.0,
        "Each next wait is this much longer."),
    time("clusters.retry.max_backoff", secs(5), MS, HOUR,
        "Never longer than this; not below `initial_backoff`."),
    codes("clusters.retry.retryable_status_codes", &["UNAVAILABLE"],
        "What a service may answer, instead of a head, for the call to be sent again."),
    count("clusters.retry.budget_percent", 20, 0, 100,
        "For a hundred calls, so many retries and hedges."),
    count("clusters.retry.budget_min_retries", 10, 0, 1_000_000,
        "And so many on top, once, over all workers; later calls pay for them."),

    table("clusters.breaker", "Gives a service that fails a rest (gobreaker's words). For limits see `max_requests`, for single endpoints `outlier_detection`."),
    flag("clusters.breaker.enabled", true,
        "Whether there is one."),
    count("clusters.breaker.max_requests", 50, 1, 1_000_000,
        "Probes that a half-open breaker lets through, over all workers; all must succeed to close it."),
    time("clusters.breaker.interval", secs(30), Duration::from_millis(100), HOUR,
        "The window over which a closed breaker counts."),
    time("clusters.breaker.timeout", secs(60), MS, HOUR,
        "How long it stays open."),
    count("clusters.breaker.min_requests", 20, 1, 1_000_000,
        "It does not open on fewer calls than this in the window."),
    ratio("clusters.breaker.failure_ratio", 0.5, 0.001, 1.0,
        "The share of failed calls at which it opens: UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, no connection."),
    time("clusters.breaker.ramp", secs(10), Duration::ZERO, HOUR,
        "Once closed, the share of calls let through grows from a tenth to all over this time."),
    time("clusters.breaker.min_deadline", secs(1), Duration::ZERO, HOUR,
        "A caller's deadline that passed sooner than this is the caller's doing and counts neither way."),

    table("clusters.outlier_detection", "Which endpoints get no calls for a while (Envoy's words)."),
    flag("clusters.outlier_detection.enabled", true,
        "Whether endpoints are ejected."),
    count("clusters.outlier_detection.consecutive_gateway_failure", 5, 0, 1_000_000,
        "UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL or UNKNOWN so often in a row ejects. 0 is off."),
    count("clusters.outlier_detection.consecutive_local_origin_failure", 5, 0, 1_000_000,
        "Failed connects, resets and timeouts, so often in a row, eject. 0 is off."),
    time("clusters.outlier_detection.base_ejection_time", secs(30), MS, DAY,
        "The first ejection lasts this long, the n-th in short order n times as long."),
    time("clusters.outlier_detection.max_ejection_time", secs(300), MS, DAY,
        "But never longer than this."),
    count("clusters.outlier_detection.max_ejection_percent", 50, 0, 100,
        "No more than this share of the endpoints is ejected at once."),
    time("clusters.outlier_detection.interval", secs(10), MS, HOUR,
        "An endpoint that stays well for this long has one ejection forgotten."),

    table("clusters.slow_start", "How an endpoint that comes back gets its share of calls (Envoy's words)."),
    time("clusters.slow_start.window", Duration::ZERO, Duration::ZERO, HOUR,
        "The time until it has its whole share. `0s` is at once."),
    ratio("clusters.slow_start.aggression", 1.0, 0.1, 10.0,
        "1 is a straight line; above it, the share grows faster at first."),
    count("clusters.slow_start.min_weight_percent", 10, 1, 100,
        "The share it begins with."),

    table("clusters.adaptive_timeout", "A timeout for each method that follows its latency, never above the fixed one. Off without this table."),
    ratio("clusters.adaptive_timeout.percentile", 99.9, 50.0, 99.99,
        "The latency that this share of calls, in percent, is not above."),
    ratio("clusters.adaptive_timeout.multiplier", 3.0, 1.0, 100.0,
        "The timeout is this much longer."),
    time("clusters.adaptive_timeout.floor", Duration::from_millis(50), MS, HOUR,
        "And never shorter than this."),
    time("clusters.adaptive_timeout.window", secs(60), secs(1), DAY,
        "After this time a latency counts for half."),

    table("clusters.health_checks", "Asks each endpoint how it is, by `grpc.health.v1`. Off without this table."),
    time("clusters.health_checks.interval", secs(10), Duration::from_millis(100), HOUR,
        "The time between two questions to one endpoint, from all workers together."),
    time("clusters.health_checks.timeout", secs(1), MS, HOUR,
        "An answer that takes longer is none."),
    count("clusters.health_checks.unhealthy_threshold", 3, 1, 1000,
        "So many bad answers in a row and it gets no calls."),
    count("clusters.health_checks.healthy_threshold", 2, 1, 1000,
        "So many good answers in a row and it gets calls again."),
    other("clusters.health_checks.service", SERVICE,
        "The service that is asked for; by default the server as a whole."),
];

const ENDPOINT: &str =
    "an IP address or host name and a port, such as \"10.0.0.7:50051\" or \"echo.internal:50051\"";
const CLUSTER: &str = "the name of a cluster";
const FILE: &str = "the path of a file or directory";
const HEADER: &str = "the name of a header field";
const ORIGIN: &str =
    "an origin, such as \"https://app.example.com\" or \"http://localhost:3000\", or \"*\" for every one";
const NAME: &str = "1 to 200 characters without control characters";
const SERVICE: &str = "a service's full name, such as \"bench.v1.Echo\"";
const PATH: &str = "a service and a method, such as \"/bench.v1.Echo/Unary\"";

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn count(key: &'static str, default: u32, min: u32, max: u32, about: &'static str) -> Knob {
    let kind = Kind::Count { default, min, max };
    Knob { key, kind, about }
}

const fn size(key: &'static str, default: u32, min: u32, max: u32, about: &'static str) -> Knob {
    let kind = Kind::Size { default, min, max };
    Knob { key, kind, about }
}

const fn time(
    key: &'static str,
    default: Duration,
    min: Duration,
    max: Duration,
    about: &'static str,
) -> Knob {
    let kind = Kind::Time { default, min, max };
    Knob { key, kind, about }
}

const fn time_or_none(
    key: &'static str,
    default: Option<Duration>,
    min: Duration,
    max: Duration,
    about: &'static str,
) -> Knob {
    let kind = Kind::TimeOrNone { default, min, max };
    Knob { key, kind, about }
}

const fn ratio(key: &'static str, default: f64, min: f64, max: f64, about: &'static str) -> Knob {
    let kind = Kind::Ratio { default, min, max };
    Knob { key, kind, about }
}

const fn flag(key: &'static str, default: bool, about: &'static str) -> Knob {
    let kind = Kind::Flag { default };
    Knob { key, kind, about }
}

const fn word(
    key: &'static str,
    default: &'static str,
    words: &'static [&'static str],
    about: &'static str,
) -> Knob {
    let kind = Kind::Word { default, words };
    Knob { key, kind, about }
}

const fn other(key: &'static str, wanted: &'static str, about: &'static str) -> Knob {
    let kind = Kind::Other { wanted };
    Knob { key, kind, about }
}

const fn count_or_auto(key: &'static str, min: u32, max: u32, about: &'static str) -> Knob {
    let kind = Kind::CountOrAuto { min, max };
    Knob { key, kind, about }
}

const fn power_of_two(key: &'static str, default: u32, min: u32, max: u32, about: &'static str) -> Knob {
    let kind = Kind::PowerOfTwo { default, min, max };
    Knob { key, kind, about }
}

const fn time_if_set(key: &'static str, min: Duration, max: Duration, about: &'static str) -> Knob {
    let kind = Kind::TimeIfSet { min, max };
    Knob { key, kind, about }
}

const fn address(key: &'static str, default: Option<SocketAddr>, about: &'static str) -> Knob {
    let kind = Kind::Address { default };
    Knob { key, kind, about }
}

const fn table(key: &'static str, about: &'static str) -> Knob {
    let kind = Kind::Table;
    Knob { key, kind, about }
}

const fn tables(key: &'static str, min: usize, max: usize, about: &'static str) -> Knob {
    let kind = Kind::Tables { min, max };
    Knob { key, kind, about }
}

const fn names(key: &'static str, max: usize, about: &'static str) -> Knob {
    let kind = Kind::Names { max };
    Knob { key, kind, about }
}

const fn list(key: &'static str, wanted: &'static str, min: usize, max: usize, about: &'static str) -> Knob {
    let kind = Kind::List { wanted, min, max };
    Knob { key, kind, about }
}

const fn codes(key: &'static str, default: &'static [&'static str], about: &'static str) -> Knob {
    let kind = Kind::Codes { default };
    Knob { key, kind, about }
}

const fn later(key: &'static str, about: &'static str, instead: &'static str) -> Knob {
    let kind = Kind::Later { instead };
    Knob { key, kind, about }
}
