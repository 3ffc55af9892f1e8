//! The process as a whole: workers, I/O, and the surfaces for operators.

use std::net::SocketAddr;
use std::time::Duration;

use super::tls::ClusterTls;

/// The number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// A worker for each CPU this process may use: affinity, cpuset and cgroup quota are respected.
    Auto,
    /// A fixed number, at least 1.
    Count(u32),
}

/// The CPUs that workers may take, of those this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuPolicy {
    /// All CPUs.
    All,
    /// A single CPU of each core, where a core has several threads.
    PhysicalCores,
    /// The CPUs of one memory node.
    NumaNode(u32),
}

/// The I/O back-end and its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// `auto` is io_uring where every core can have a ring, epoll otherwise.
    pub backend: Backend,
    /// Submission queue entries of each worker's ring.
    pub entries: u32,
    /// Where io_uring is wanted but not available: use epoll with a warning, or exit with code 78.
    pub on_unavailable: OnUnavailable,
    /// A thread of the kernel takes each worker's submissions and sleeps after this long without any; it needs a CPU of
    /// its own for each worker, 4 `io.entries` for each of its connections, and Linux 6.0. `None` for "0s".
    pub sqpoll_idle: Option<Duration>,
    /// How long a worker's ring may poll the interfaces of its sockets before it sleeps (NAPI busy polling, preferred
    /// to interrupts). `None` for "0s".
    pub busy_poll: Option<Duration>,
}

/// The I/O back-end to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring where every core can have a ring, epoll otherwise.
    Auto,
    /// io_uring; `on_unavailable` says what happens without it.
    IoUring,
    /// epoll.
    Epoll,
}

/// The reaction where io_uring is wanted but not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnavailable {
    /// Warn and use epoll on all cores.
    Fallback,
    /// Exit with code 78.
    Fail,
}

/// The address for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where the dashboard, `/metrics` and all other pages for operators are served.
    pub address: SocketAddr,
    /// Names that requests may have as their host there, besides addresses and names without a dot; others get 403, for
    /// a page on the web can make a browser ask under a name of its own.
    ///
    /// In lower case.
    pub allowed_hosts: Vec<String>,
    /// Whether `/tap` and `ringway tap` may show live which calls pass: paths, callers, statuses and chosen fields,
    /// never what is in them.
    pub tap: bool,
}

/// The resolution of endpoints' host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; by default those of `/etc/resolv.conf`.
    ///
    /// Empty for those of the system.
    pub servers: Vec<SocketAddr>,
    /// A name is asked for again after this time, or sooner if the TTL of its answer is over.
    pub refresh_rate: Duration,
    /// A name is asked for again no sooner than this, which is also the first wait after a failure; not above
    /// `refresh_rate`.
    pub min_refresh_rate: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Of the addresses of one name, so many are used.
    pub max_addresses: u32,
    /// Whether a name without an address ends the start; else its cluster has no endpoint there until it has one; it is
    /// asked for again and again.
    pub required: bool,
}

/// The page of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The bounds (`le`) of the histogram of durations, in ascending order, each above the one before by a sixteenth at
    /// least.
    ///
    /// Empty for the default ones.
    pub latency_buckets: Vec<Duration>,
}

/// The export of spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Where the collector takes OTLP over gRPC; no tracing without it.
    pub endpoint: String,
    /// TLS towards the collector, for an endpoint of `https`; none of it is needed. `None` where it is not set.
    pub tls: Option<ClusterTls>,
    /// The share of calls that get spans, of those that come without a decision; a caller's decision is followed.
    pub sample: f64,
    /// `service.name` of all spans; "ringway" by default.
    pub service_name: String,
    /// Spans of one worker that may wait to be exported, 784 bytes each; more are left out and counted.
    pub queue_spans: u32,
    /// Spans that are exported at once.
    pub batch_spans: u32,
    /// How long spans are collected before they are exported.
    pub interval: Duration,
    /// How long the collector may take for one export; spans it did not take after three tries are lost and counted.
    pub timeout: Duration,
}
