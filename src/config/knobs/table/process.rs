//! Rows: the process as a whole, and its guards.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::super::knob::Knob;
use super::super::row::{
    address, count, count_or_auto, flag, list, other, power_of_two, ratio, secs, size, table, time,
    time_or_none, word,
};
use super::values::{BUFFERED_MAX, HOUR, KIB, MIB, MS};

#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub(super) const ROWS: &[Knob] = &[
    count_or_auto("workers", 1, 1024,
        "Worker threads; `auto` is one for each CPU this process may use: affinity, cpuset and cgroup quota are respected.").at_start(),
    other("cpu_policy", "\"all\", \"physical_cores\" or \"numa_node:0\"",
        "Which of the CPUs this process may use workers take: all, one of each core, or those of one memory node. By default all. Where workers are fewer, CPUs that take an interface's packets for all of them are left out, unless there is such a CPU for each worker.").at_start(),
    time("drain_timeout", secs(30), Duration::ZERO, HOUR,
        "How long calls in flight may take to finish after SIGTERM before they are cut."),

    table("io", "How workers talk to the kernel."),
    word("io.backend", "auto", &["auto", "io_uring", "epoll"],
        "`auto` is io_uring where every core can have a ring, epoll otherwise.").at_start(),
    power_of_two("io.entries", 4096, 256, 32_768,
        "Submission queue entries of each worker's ring.").at_start(),
    word("io.on_unavailable", "fallback", &["fallback", "fail"],
        "Where io_uring is wanted but not available: use epoll with a warning, or exit with code 78.").at_start(),
    time_or_none("io.sqpoll_idle", None, MS, Duration::from_secs(60),
        "A thread of the kernel takes each worker's submissions and sleeps after this long without any; it needs a CPU of its own for each worker, 4 `io.entries` for each of its connections, and Linux 6.0. `check` and start refuse it elsewhere.").at_start(),
    time_or_none("io.busy_poll", None, Duration::from_micros(1), Duration::from_millis(1),
        "How long a worker's ring may poll the interfaces of its sockets before it sleeps (NAPI busy polling, preferred to interrupts). Needs io_uring and Linux 6.9; `check` and start refuse it elsewhere. Does nothing on loopback.").at_start(),

    table("admin", "The address for operators."),
    address("admin.address", Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901)),
        "Where the dashboard, `/metrics` and all other pages for operators are served. Keep it off public networks.").at_start(),
    flag("admin.tap", true,
        "Whether `/tap` and `ringway tap` may show live which calls pass: paths, callers, statuses and chosen fields, never what is in them."),
    list("admin.allowed_hosts", "a host name without a port, such as \"ringway.example.com\" or \"*.example.com\", or \"*\" for every one", 0, 64,
        "Names that requests may have as their host there, besides addresses and names without a dot; others get 403, for a page on the web can make a browser ask under a name of its own. `/ready` and `/live` answer everybody."),

    table("overload", "When a worker has more than it can do, it refuses calls with UNAVAILABLE before anything of them is read."),
    count("overload.max_active_calls", 65_536, 1, 1_000_000_000,
        "Calls one worker has at once, streams included; more are refused."),
    size("overload.max_buffered_bytes", 256 * MIB, KIB, BUFFERED_MAX,
        "Bytes of unfinished JSON requests and responses that one worker holds, if they are of more than one call; calls above it are refused."),
    time_or_none("overload.max_loop_delay", Some(Duration::from_millis(500)), Duration::from_millis(1), HOUR,
        "How late a worker may come to what has arrived. Of the calls that it comes to later, nearly all are refused, once it has been late for `interval`."),
    time("overload.interval", secs(1), Duration::from_millis(10), HOUR,
        "Calls are refused only after the delay has stayed above `max_loop_delay` for this long."),

    table("dns", "How host names of endpoints become addresses. They are asked for again and again; while that fails, the last good answer holds."),
    list("dns.servers", "an IP address and a port, such as \"10.0.0.2:53\"", 0, 8,
        "Name servers; by default those of `/etc/resolv.conf`. `/etc/hosts` goes before them."),
    time("dns.refresh_rate", secs(30), Duration::from_millis(10), HOUR,
        "A name is asked for again after this time, or sooner if the TTL of its answer is over."),
    time("dns.min_refresh_rate", secs(1), Duration::from_millis(10), HOUR,
        "A name is asked for again no sooner than this, which is also the first wait after a failure; not above `refresh_rate`."),
    time("dns.timeout", secs(5), MS, HOUR,
        "How long an answer may take. A reload waits no longer than this for names that are new."),
    count("dns.max_addresses", 256, 1, 4096,
        "Of the addresses of one name, so many are used."),
    flag("dns.required", false,
        "Whether a name without an address ends the start; else its cluster has no endpoint there until it has one; it is asked for again and again. A reload refuses new names without an address in any case."),

    table("metrics", "The page of metrics."),
    list("metrics.latency_buckets", "a duration from \"1us\" to \"1h\"", 0, 32,
        "The bounds (`le`) of the histogram of durations, in ascending order, each above the one before by a sixteenth at least. By default 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250 and 500 ms, 1, 2.5, 5, 10, 30 and 60 s."),

    table("access_log", "A line of JSON for calls that fail, and for a share of all calls."),
    other("access_log.path", "the path of a file, \"-\" for standard output, or \"stderr\"",
        "Where lines are appended; \"stderr\" by default. SIGUSR1 opens a file anew."),
    ratio("access_log.sample", 0.0, 0.0, 1.0,
        "The share of calls that get a line."),
    flag("access_log.errors", true,
        "Whether each call that does not end with OK gets one, whatever the share is."),
    count("access_log.stderr_lines_per_second", 10, 1, 1_000_000,
        "Lines per second on standard error, over all workers; further ones are counted. Files and standard output get all."),
    list("access_log.fields", "the name of a field of a line, such as \"path\"", 0, 64,
        "The fields of a line; all of them by default. docs/OPERATING.md lists them."),
    list("access_log.request_headers", LOGGED, 0, 8,
        "Fields of requests that are shown, each up to 64 bytes, in lines and to `ringway tap`."),
    list("access_log.response_headers", LOGGED, 0, 8,
        "Fields of the heads of responses that are shown, each up to 64 bytes, in lines and to `ringway tap`."),

    table("tracing", "Spans for an OpenTelemetry collector, over OTLP: one for each call, and one for each of its attempts. W3C's `traceparent` is followed, and passes untouched where tracing is off."),
    other("tracing.endpoint", "\"http://\" or \"https://\", a host and a port, such as \"http://127.0.0.1:4317\"",
        "Where the collector takes OTLP over gRPC; no tracing without it."),
    ratio("tracing.sample", 0.01, 0.0, 1.0,
        "The share of calls that get spans, of those that come without a decision; a caller's decision is followed."),
    other("tracing.service_name", "1 to 100 printable characters",
        "`service.name` of all spans; \"ringway\" by default."),
    power_of_two("tracing.queue_spans", 2048, 64, 65_536,
        "Spans of one worker that may wait to be exported, 784 bytes each; more are left out and counted."),
    count("tracing.batch_spans", 512, 1, 65_536,
        "Spans that are exported at once."),
    time("tracing.interval", secs(1), MS, secs(60),
        "How long spans are collected before they are exported."),
    time("tracing.timeout", secs(5), MS, secs(60),
        "How long the collector may take for one export; spans it did not take after three tries are lost and counted."),
];

const LOGGED: &str = "the name of a header field, in lower case, that holds no credentials";
