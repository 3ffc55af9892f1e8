//! What an operator may set, as checked types.
//!
//! Text becomes these types once, in `parse.rs`; afterwards the type is the proof. Every value here is within its
//! bounds and every name it refers to exists. Read `knobs/table.rs` for the bounds and defaults, `docs/CONFIG.md` for
//! the same in Markdown, `reader.rs` for how errors are found.

mod checks;
mod codes;
mod effective;
mod errors;
mod forms;
mod host;
pub mod knobs;
mod parse;
mod policies;
mod reader;
mod resilience;
mod routes;
mod scalars;
mod service_config;
mod spelling;
#[cfg(test)]
mod tests;
mod transcoding;
mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use codes::Codes;
pub use effective::{Effective, Setting};
pub use errors::{Error, Errors, Place};
pub use host::refuse;
pub use parse::{load, parse};
pub use resilience::{
    AdaptiveTimeout, Breaker, HealthChecks, Hedging, OutlierDetection, Overload, RateLimit, Retry,
    RetryBudget, SlowStart, Throttling,
};
pub use service_config::{MethodConfig, MethodName, ServiceConfig};
pub use spelling::nearest;
pub use transcoding::{AllowOrigins, Compatibility, Cors, OnBadRule, PrintOptions, Transcoding};

/// A whole, checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How many workers to run.
    pub workers: Workers,
    /// Which CPUs they may take.
    pub cpu_policy: CpuPolicy,
    /// The I/O back-end and its ring.
    pub io: Io,
    /// The address for operators.
    pub admin: Admin,
    /// How host names become addresses.
    pub dns: Dns,
    /// What is written down of each call, if anything is.
    pub access_log: Option<AccessLog>,
    /// Which spans go where, if any do.
    pub tracing: Option<Tracing>,
    /// How long calls in flight may take to finish after SIGTERM before they are cut.
    pub drain_timeout: Duration,
    /// When a worker has more than it can do.
    pub overload: Overload,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// First match wins, in this order.
    pub routes: Vec<Route>,
    /// The services behind the gateway.
    pub clusters: Vec<Cluster>,
    /// JSON in front of gRPC.
    pub transcoding: Transcoding,
    /// Where the file is: paths in it that are not absolute begin here. Empty for the current directory.
    pub directory: PathBuf,
    /// Other files whose contents are part of this.
    pub files: Vec<PathBuf>,
    /// All of this as text, for people.
    pub effective: Effective,
}

/// How many workers to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per CPU this process may use: affinity, cpuset and cgroup quota are respected.
    Auto,
    /// This many, at least 1.
    Count(u32),
}

/// Which CPUs workers may take, of those this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuPolicy {
    /// All of them.
    All,
    /// One of each core, where a core has several threads.
    PhysicalCores,
    /// Those of one memory node.
    NumaNode(u32),
}

/// The I/O back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Which back-end to use.
    pub backend: Backend,
    /// Submission queue entries of each worker's ring, a power of two.
    pub entries: u32,
    /// What to do where io_uring is wanted but not available.
    pub on_unavailable: OnUnavailable,
    /// Let a thread of the kernel take submissions, which sleeps after this long without any. `None` by default.
    pub sqpoll_idle: Option<Duration>,
    /// How long a receive may poll the interface's queue before it sleeps. `None` by default.
    pub busy_poll: Option<Duration>,
}

/// Which I/O back-end to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring where every core can have a ring, epoll otherwise.
    Auto,
    /// io_uring; `on_unavailable` says what happens without it.
    IoUring,
    /// epoll.
    Epoll,
}

/// What to do where io_uring is wanted but not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnavailable {
    /// Warn and use epoll on all cores.
    Fallback,
    /// Exit with code 78.
    Fail,
}

/// The address for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where the dashboard, /metrics and all other pages for operators are served.
    pub address: SocketAddr,
}

/// How host names of endpoints become addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Whom to ask; where empty, those whom the system asks.
    pub servers: Vec<SocketAddr>,
    /// The longest time until a name is asked for again.
    pub refresh_rate: Duration,
    /// And the shortest, however short its TTL is.
    pub min_refresh_rate: Duration,
    /// An answer that takes longer is none.
    pub timeout: Duration,
    /// Of the addresses of one name, so many are used.
    pub max_addresses: u32,
}

/// What is written down of each call.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// The file that lines are appended to; `None` is standard output.
    pub path: Option<PathBuf>,
    /// The share of calls that get a line.
    pub sample: f64,
    /// Whether each call that does not end with OK gets one.
    pub errors: bool,
}

/// Which spans are exported, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// The collector's address, as `http://host:port`.
    pub endpoint: String,
    /// The share of calls without a caller's decision that get spans.
    pub sample: f64,
    /// What this gateway is called.
    pub service_name: String,
    /// Spans of one worker that may wait; a power of two.
    pub queue_spans: u32,
    /// Spans of one export.
    pub batch_spans: u32,
    /// How long spans are collected.
    pub interval: Duration,
    /// How long one export may take.
    pub timeout: Duration,
}

impl Listener {
    /// Whether the answer to a request says where its time went; `asked` says whether the request wants that.
    pub fn tells_time(&self, asked: bool) -> bool {
        match self.server_timing {
            ServerTiming::Off => false,
            ServerTiming::OnRequest => asked,
            ServerTiming::Always => true,
        }
    }
}

/// When answers say in `server-timing` where their time went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTiming {
    /// Never.
    Off,
    /// When the request asks for it.
    OnRequest,
    /// Always.
    Always,
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address, shared by all workers with SO_REUSEPORT.
    pub address: SocketAddr,
    /// Connections the kernel may hold for one worker before it accepts them, and others may have handed to it.
    pub backlog: u32,
    /// Connections one worker serves at once on this listener; what no worker has room for is closed at once.
    pub max_connections: u32,
    /// Whether a worker hands a connection it accepts to one that has clearly fewer.
    pub balance_connections: bool,
    /// How long a client may take from its connect to the end of its HTTP/2 preface.
    pub handshake_timeout: Duration,
    /// A connection without calls for this long is closed.
    pub idle_timeout: Duration,
    /// A connection whose peer takes no bytes for this long while some wait is closed.
    pub write_timeout: Duration,
    /// Whether answers say where their time went.
    pub server_timing: ServerTiming,
    /// HTTP/2 settings towards clients.
    pub http2: Http2,
    /// Calls from pages of other origins.
    pub cors: Cors,
}

/// HTTP/2 settings towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Calls one connection may have open at once.
    pub max_concurrent_streams: u32,
    /// Bytes a client may send on one call before the upstream has taken them.
    pub initial_stream_window_size: u32,
    /// Bytes a client may send on one connection before the upstreams have taken them.
    pub initial_connection_window_size: u32,
    /// The largest frame a client may send, 16 KiB to 16 MiB.
    pub max_frame_size: u32,
    /// Bytes of all header fields of a request, counted as RFC 9113 section 6.5.2 does (32 more for each field).
    pub max_header_list_size: u32,
    /// Header fields of a request.
    pub max_headers_count: u32,
    /// Bytes of one answer that may wait in memory for the client's window.
    pub max_send_buffer_size: u32,
    /// Calls a client may cancel before their answer began, per second; twice as many at once.
    pub max_resets_per_second: u32,
}

/// Which calls go where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name in metrics; by default what the route matches.
    pub name: String,
    /// Which calls this is for.
    pub matching: Match,
    /// Where they go: one cluster, or several by weight. Never empty, and the weights add up to at least 1.
    pub clusters: Vec<WeightedCluster>,
    /// Time from the end of the request to the beginning of the answer. `None` where set to "0s".
    pub timeout: Option<Duration>,
    /// Time a whole call may take, streams included; caps the caller's grpc-timeout. `None` by default.
    pub max_stream_duration: Option<Duration>,
    /// A call on which nothing moves for this long is ended. `None` where set to "0s".
    pub idle_timeout: Option<Duration>,
    /// How many calls it takes. `None` by default: all.
    pub rate_limit: Option<RateLimit>,
}

/// Which calls a route is for. All that is given must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What the path must be.
    pub path: PathMatch,
    /// The authority without its port, in lower case; `*.example.com` matches any one or more labels before the rest.
    pub host: Option<String>,
    /// Header fields that must be there with just this value. Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// What a path must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// `/{service}/` and any method.
    Service(String),
    /// Begins with this, which begins with a slash.
    Prefix(String),
    /// Just this: `/{service}/{method}`.
    Path(String),
}

impl PathMatch {
    /// Whether it takes calls of this path.
    pub fn takes(&self, path: &str) -> bool {
        match self {
            PathMatch::Service(service) => path
                .strip_prefix('/')
                .and_then(|rest| rest.strip_prefix(service))
                .is_some_and(|rest| rest.starts_with('/')),
            PathMatch::Prefix(prefix) => path.starts_with(prefix),
            PathMatch::Path(known) => path == known,
        }
    }
}

/// A cluster and its share of a route's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Position in `Config::clusters`.
    pub cluster: usize,
    /// Its share is this over the sum of all.
    pub weight: u32,
}

/// A service behind the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name in routes and metrics.
    pub name: String,
    /// Where it runs; never empty.
    pub endpoints: Vec<Endpoint>,
    /// Which endpoint takes the next call.
    pub lb_policy: LbPolicy,
    /// How long a connect may take, the HTTP/2 handshake included.
    pub connect_timeout: Duration,
    /// Calls in flight at once, over all workers.
    pub max_requests: u32,
    /// Calls of one worker that may wait for a connection at once.
    pub max_pending_requests: u32,
    /// Connections to all endpoints at once, over all workers.
    pub max_connections: u32,
    /// In place of the routes' timeouts.
    pub timeout: Option<Duration>,
    /// What a gRPC service config says of it.
    pub service_config: Option<ServiceConfig>,
    /// Where less than this share of the endpoints is fit, all are used.
    pub healthy_panic_threshold: u32,
    /// Connections to each endpoint.
    pub pool: Pool,
    /// Pings that find dead connections.
    pub keepalive: Keepalive,
    /// The wait before connecting again after a failed connect.
    pub reconnect: Reconnect,
    /// What is special about single methods.
    pub methods: Vec<Method>,
    /// When a failed call is sent again.
    pub retry: Retry,
    /// How many retries and hedges there may be.
    pub retry_budget: RetryBudget,
    /// When the service is given a rest. `None` where it is turned off.
    pub breaker: Option<Breaker>,
    /// When an endpoint gets no calls for a while. `None` where it is turned off.
    pub outlier_detection: Option<OutlierDetection>,
    /// How an endpoint that comes back gets its share of calls.
    pub slow_start: SlowStart,
    /// Timeouts that follow the latency. `None` by default.
    pub adaptive_timeout: Option<AdaptiveTimeout>,
    /// Questions to each endpoint. `None` by default.
    pub health_checks: Option<HealthChecks>,
}

/// Where one instance of a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// An IP address or a host name.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Which endpoint takes the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LbPolicy {
    /// The one with fewer calls in flight out of two taken at random.
    LeastRequest,
    /// One after the other.
    RoundRobin,
}

/// Connections of one worker to each endpoint of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// At most this many.
    pub max_connections: u32,
    /// Calls one of them carries at once, where the upstream's own limit is not lower.
    pub max_streams_per_connection: u32,
    /// Calls one of them carries in its life, before a new one takes over.
    pub max_requests_per_connection: u32,
    /// Bytes the upstream may send on one call before the client has taken them.
    pub initial_stream_window_size: u32,
    /// Bytes the upstream may send on one connection before the clients have taken them.
    pub initial_connection_window_size: u32,
    /// The largest frame the upstream may send.
    pub max_frame_size: u32,
    /// Bytes of all header fields of an answer.
    pub max_header_list_size: u32,
    /// Bytes of one request that may wait in memory for the upstream's window.
    pub max_send_buffer_size: u32,
    /// Bytes of one request that are kept so that it can be sent again if the upstream refused it unseen.
    pub replay_buffer_size: u32,
}

/// Pings that find dead connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// A connection that has been silent for this long is pinged.
    pub interval: Duration,
    /// It is closed if the answer takes longer than this.
    pub timeout: Duration,
    /// Whether connections without calls are pinged too.
    pub without_calls: bool,
}

/// The wait before connecting again after a failed connect: initial, times multiplier each time, at most max, +-20 %.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconnect {
    /// The first wait.
    pub initial_backoff: Duration,
    /// Each next one is this much longer.
    pub backoff_multiplier: f64,
    /// Never longer than this.
    pub max_backoff: Duration,
}

/// What is special about one method.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// `/{service}/{method}`.
    pub path: String,
    /// In place of the route's or the cluster's `timeout`.
    pub timeout: Option<Duration>,
    /// It takes one message and answers with one.
    pub unary: bool,
    /// To do it twice is as good as once.
    pub idempotent: bool,
    /// When it is sent several times. Only if it is idempotent.
    pub hedging: Option<Hedging>,
    /// A breaker of its own, beside that of the cluster.
    pub breaker: Option<Breaker>,
}
