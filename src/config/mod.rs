//! An operator's settings, as checked types.
//!
//! [`mod@parse`] turns text into these types once; afterwards the type is the proof. Every value here is within its
//! bounds, and every name it refers to exists. Read `knobs/table/` for bounds and defaults, `docs/CONFIG.md` for the
//! table in Markdown, and [`reader`] for the way that errors are found.

mod access;
mod access_log;
mod actions;
mod addresses;
mod at_start;
mod callers;
mod certificates;
mod checks;
mod codes;
mod conditions;
mod connections;
mod destinations;
mod edge;
mod effective;
mod endpoint_address;
mod errors;
pub mod fields;
mod format;
mod forms;
mod guards;
mod host;
mod init;
pub mod knobs;
mod load;
mod logs;
mod matching;
mod overrides;
mod parse;
mod places;
mod policies;
pub mod rbac;
mod reader;
mod regex;
mod resilience;
mod routes;
mod scalars;
mod schema;
mod service_config;
mod spelling;
mod terms;
#[cfg(test)]
mod tests;
mod tls;
mod transcoding;
mod units;
mod variables;
mod web;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use access::{
    ApiKeys, AppendAction, ExtAuthz, Fault, HeaderMutation, HeaderToAdd, HeaderValue, JwtProvider,
    JwtRequirement, KeyedRateLimit, Mirror, RateKey, RemoteJwks, RoutePolicies,
};
pub use access_log::{AccessLog, FIELDS as LOG_FIELDS, LogSink};
pub use actions::{DirectResponse, LocalAnswer, Override, PathRewrite, Redirect, RouteActions};
pub use addresses::{Addresses, Cidr};
pub use at_start::Waiting;
pub use callers::{Admission, CertDetails, ForwardCert, Forwarding, ProxyProtocol};
pub use codes::Codes;
pub use connections::{ClientKeepalive, ConnectionAge, Keepalive, Pool, Reconnect};
pub use effective::{Effective, Setting};
pub use endpoint_address::{EndpointAddress, UnixPath};
pub use errors::{Error, Errors, Place};
pub use host::refuse;
pub use init::template;
pub use load::{load, load_with, parse, parse_with};
pub use matching::{MILLION, Match, PathMatch, Percent, ValueMatch, ValueMatcher};
pub use places::Places;
pub use regex::{Regex, Substitution, Walk};
pub use resilience::{
    AdaptiveTimeout, Breaker, HealthChecks, Hedging, OutlierDetection, Overload, RateLimit, Retry,
    RetryBudget, SlowStart, Throttling,
};
pub use schema::schema;
pub use service_config::{MethodConfig, MethodName, ServiceConfig};
pub use spelling::nearest;
pub use tls::{
    CIPHER_SUITES, ClusterTls, GROUPS, ListenerTls, SanKind, SanMatcher, StringMatcher, TlsCertificate,
    TlsParams, TlsVersion, ValidationContext,
};
pub use web::{
    AllowOrigins, Compatibility, Compression, ContentCoding, Cors, GrpcCompression, OnBadRule, PrintOptions,
    Transcoding,
};

/// A whole, checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The number of workers.
    pub workers: Workers,
    /// The CPUs that workers may take.
    pub cpu_policy: CpuPolicy,
    /// The I/O back-end and its ring.
    pub io: Io,
    /// The address for operators.
    pub admin: Admin,
    /// The resolution of host names.
    pub dns: Dns,
    /// The page of metrics.
    pub metrics: Metrics,
    /// The access log.
    pub access_log: AccessLog,
    /// The export of spans, if there is one.
    pub tracing: Option<Tracing>,
    /// The time for calls in flight to finish after SIGTERM; then they are cut.
    pub drain_timeout: Duration,
    /// The guard against overload.
    pub overload: Overload,
    /// The addresses that clients connect to; at least one.
    pub listeners: Vec<Listener>,
    /// The routes; the first that matches wins.
    pub routes: Vec<Route>,
    /// The services behind the gateway.
    pub clusters: Vec<Cluster>,
    /// The issuers of tokens.
    pub jwt_providers: Vec<JwtProvider>,
    /// JSON in front of gRPC.
    pub transcoding: Transcoding,
    /// The folder of the file: relative paths in it begin here. Empty for the current directory.
    pub directory: PathBuf,
    /// Other files whose contents are part of this.
    pub files: Vec<PathBuf>,
    /// All settings as text, for people.
    pub effective: Effective,
    /// Where some values stand in the file.
    pub places: Places,
}

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
    /// The back-end to use.
    pub backend: Backend,
    /// Submission queue entries of each worker's ring, a power of two.
    pub entries: u32,
    /// The reaction where io_uring is wanted but not available.
    pub on_unavailable: OnUnavailable,
    /// Let a thread of the kernel take submissions, which sleeps after this long without any. `None` by default.
    pub sqpoll_idle: Option<Duration>,
    /// The time that a receive may poll the interface's queue before it sleeps. `None` by default.
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
    /// The address of the dashboard, /metrics and all other pages for operators.
    pub address: SocketAddr,
    /// Names besides addresses and names without a dot that a request may have as its host; in lower case.
    pub allowed_hosts: Vec<String>,
    /// Whether calls may be watched live.
    pub tap: bool,
}

/// The resolution of endpoints' host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The name servers to ask; where empty, those that the system asks.
    pub servers: Vec<SocketAddr>,
    /// The longest time until a name is asked for again.
    pub refresh_rate: Duration,
    /// The shortest such time, however short the TTL is.
    pub min_refresh_rate: Duration,
    /// The time that an answer may take.
    pub timeout: Duration,
    /// The most addresses of one name that are used.
    pub max_addresses: u32,
    /// Whether a start fails where a name has no address.
    pub required: bool,
}

/// The page of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The bounds of durations, in ascending order; empty for the default ones.
    pub latency_buckets: Vec<Duration>,
}

/// The export of spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// The collector's address, as `http://host:port`.
    pub endpoint: String,
    /// The share of calls without a caller's decision that get spans.
    pub sample: f64,
    /// This gateway's name in traces.
    pub service_name: String,
    /// Spans of one worker that may wait; a power of two.
    pub queue_spans: u32,
    /// Spans of one export.
    pub batch_spans: u32,
    /// The time that spans are collected for one export.
    pub interval: Duration,
    /// The time that one export may take.
    pub timeout: Duration,
}

impl Listener {
    /// Whether an answer has a `server-timing`; `asked`: the request wants one.
    pub fn tells_time(&self, asked: bool) -> bool {
        match self.server_timing {
            ServerTiming::Off => false,
            ServerTiming::OnRequest => asked,
            ServerTiming::Always => true,
        }
    }
}

/// The condition for a `server-timing` in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTiming {
    /// Never.
    Off,
    /// If the request asks for it.
    OnRequest,
    /// Always.
    Always,
}

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The address, shared by all workers with SO_REUSEPORT.
    pub address: SocketAddr,
    /// Connections the kernel may hold for one worker before it accepts them, and others may have handed to it.
    pub backlog: u32,
    /// Connections one worker serves at once on this listener; a connection that no worker has room for is closed at
    /// once.
    pub max_connections: u32,
    /// Whether a worker transfers a connection to one that has clearly fewer.
    pub balance_connections: bool,
    /// Whether another process may listen on the address at the same time.
    pub reuse_port: bool,
    /// How long a client may take from its connect to the end of its HTTP/2 preface; over HTTP/1.1 for a head, or for the
    /// rest of a body whose answer is whole.
    pub handshake_timeout: Duration,
    /// A connection without calls for this long is closed.
    pub idle_timeout: Duration,
    /// How old a connection may become.
    pub age: ConnectionAge,
    /// A connection whose peer takes no bytes for this long while some wait is closed.
    pub write_timeout: Duration,
    /// A call whose client has begun a message and sends nothing more of it for this long is ended.
    pub read_timeout: Duration,
    /// Bytes a second, for both directions: a client that moves fewer is as one that moves none.
    pub min_rate: u32,
    /// Bytes of unfinished JSON requests that one connection may have held.
    pub max_buffered_bytes: u32,
    /// Over HTTP/1.1, bytes of a body that are read and dropped once no call wants them.
    pub max_unread_body_size: u32,
    /// The condition for a `server-timing` in answers.
    pub server_timing: ServerTiming,
    /// The port of `https` that plain HTTP is sent to; 0 if it is served.
    pub https_redirect_port: u16,
    /// HTTP/2 settings towards clients.
    pub http2: Http2,
    /// Calls from pages of other origins.
    pub cors: Cors,
    /// The trust in addresses that callers state, and the fields that are added.
    pub forwarding: Forwarding,
    /// The PROXY protocol. `None` by default.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Addresses that may connect.
    pub admission: Admission,
    /// TLS; `None` for plaintext.
    pub tls: Option<ListenerTls>,
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
    /// PING frames a second that no payload has earned; twice as many at once, as of all below.
    pub max_pings_per_second: u32,
    /// SETTINGS frames a second.
    pub max_settings_per_second: u32,
    /// DATA frames a second without payload.
    pub max_empty_frames_per_second: u32,
    /// WINDOW_UPDATE frames a second that no payload has earned.
    pub max_window_updates_per_second: u32,
    /// PRIORITY frames a second, and frames of unknown kinds.
    pub max_priority_frames_per_second: u32,
    /// CONTINUATION frames of one head.
    pub max_continuations: u32,
    /// Pings to clients.
    pub keepalive: ClientKeepalive,
}

/// A route: the calls that it matches, and the clusters that they go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The name in metrics; by default what the route matches.
    pub name: String,
    /// The condition on its calls.
    pub matching: Match,
    /// The clusters of its calls: one, or several by weight, which add up to at least 1. Empty only where the route answers
    /// by itself.
    pub clusters: Vec<WeightedCluster>,
    /// Time from the end of the request to the beginning of the answer. `None` where set to "0s".
    pub timeout: Option<Duration>,
    /// Time a whole call may take, streams included; caps the caller's grpc-timeout. `None` by default.
    pub max_stream_duration: Option<Duration>,
    /// The time after which a call is ended on which no bytes move. `None` where set to "0s".
    pub idle_timeout: Option<Duration>,
    /// The rate limit. `None` by default.
    pub rate_limit: Option<RateLimit>,
    /// Who may call, and what is done to calls.
    pub policies: RoutePolicies,
    /// Rewrites, answers of its own, and policies in place of its clusters'.
    pub actions: RouteActions,
}

/// A cluster and its share of a route's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Position in `Config::clusters`.
    pub cluster: usize,
    /// Its share of the calls is this over the sum of all weights.
    pub weight: u32,
}

/// A service behind the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name in routes and metrics.
    pub name: String,
    /// The endpoints; never empty.
    pub endpoints: Vec<Endpoint>,
    /// The policy that chooses an endpoint for each call.
    pub lb_policy: LbPolicy,
    /// The time that a connect may take, the HTTP/2 handshake included.
    pub connect_timeout: Duration,
    /// Whether connections begin with a header of the PROXY protocol, version 2.
    pub sends_proxy_protocol: bool,
    /// Calls in flight at once, over all workers.
    pub max_requests: u32,
    /// Calls that may wait for a connection at once, over all workers.
    pub max_pending_requests: u32,
    /// Connections to all endpoints at once, over all workers.
    pub max_connections: u32,
    /// The timeout in place of the routes'.
    pub timeout: Option<Duration>,
    /// The cluster's gRPC service config, if it has one.
    pub service_config: Option<ServiceConfig>,
    /// Where less than this share of the endpoints is fit, all are used.
    pub healthy_panic_threshold: u32,
    /// Connections to each endpoint.
    pub pool: Pool,
    /// Pings that find dead connections.
    pub keepalive: Keepalive,
    /// The wait before connecting again after a failed connect.
    pub reconnect: Reconnect,
    /// Settings of single methods.
    pub methods: Vec<Method>,
    /// The retry policy.
    pub retry: Retry,
    /// The retry budget, which bounds retries and hedges.
    pub retry_budget: RetryBudget,
    /// The circuit breaker. `None` where it is turned off.
    pub breaker: Option<Breaker>,
    /// Breakers in its place for the calls of single routes, by the name of the route.
    pub route_breakers: Vec<(String, Breaker)>,
    /// Outlier detection, which ejects endpoints for a while. `None` where it is turned off.
    pub outlier_detection: Option<OutlierDetection>,
    /// Slow start of endpoints that come back.
    pub slow_start: SlowStart,
    /// The adaptive timeout, which follows the latency. `None` by default.
    pub adaptive_timeout: Option<AdaptiveTimeout>,
    /// Active health checks. `None` by default.
    pub health_checks: Option<HealthChecks>,
    /// TLS towards the endpoints; `None` for plaintext.
    pub tls: Option<ClusterTls>,
}

/// An endpoint, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP socket.
    Tcp {
        /// An IP address or a host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(UnixPath),
}

impl Endpoint {
    /// The IP address or host name. `None` for a Unix socket.
    pub fn host(&self) -> Option<&str> {
        match self {
            Endpoint::Tcp { host, .. } => Some(host),
            Endpoint::Unix(_) => None,
        }
    }
}

/// The policy that chooses an endpoint for each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LbPolicy {
    /// The one with fewer calls in flight out of two taken at random.
    LeastRequest,
    /// Each endpoint in turn.
    RoundRobin,
}

/// Settings of one method.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// `/{service}/{method}`.
    pub path: String,
    /// The timeout in place of the route's or the cluster's.
    pub timeout: Option<Duration>,
    /// It takes one message and answers with one.
    pub unary: bool,
    /// A second execution does no harm.
    pub idempotent: bool,
    /// The hedging policy. Only if the method is idempotent.
    pub hedging: Option<Hedging>,
    /// A breaker of its own, beside that of the cluster.
    pub breaker: Option<Breaker>,
}
