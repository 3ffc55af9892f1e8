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
mod loops;
mod matching;
mod overrides;
mod parse;
mod places;
mod policies;
mod process;
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

use std::path::PathBuf;
use std::time::Duration;

pub use access::{
    ApiKeys, AppendAction, ExtAuthz, Fault, HeaderMutation, HeaderToAdd, HeaderValue, JwtProvider,
    JwtRequirement, KeyedRateLimit, Mirror, RateKey, RemoteJwks, RoutePolicies,
};
pub use access_log::{AccessLog, FIELDS as LOG_FIELDS, LogSink};
pub use actions::{DirectResponse, LocalResponse, Override, PathRewrite, Redirect, RouteActions};
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
pub use loops::loops;
pub use matching::{MILLION, Match, PathMatch, Percent, ValueMatch, ValueMatcher};
pub use places::Places;
pub use process::{Admin, Backend, CpuPolicy, Dns, Io, Metrics, OnUnavailable, Tracing, Workers};
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
    /// Worker threads; `auto` is one for each CPU this process may use: affinity, cpuset and cgroup quota are
    /// respected.
    pub workers: Workers,
    /// Which of the CPUs this process may use workers take: all, one of each core, or those of one memory node.
    pub cpu_policy: CpuPolicy,
    /// How workers talk to the kernel.
    pub io: Io,
    /// The address for operators.
    pub admin: Admin,
    /// How host names of endpoints become addresses.
    pub dns: Dns,
    /// The page of metrics.
    pub metrics: Metrics,
    /// A line of JSON for calls that fail, and for a share of all calls.
    pub access_log: AccessLog,
    /// Spans for an OpenTelemetry collector, over OTLP: one for each call, and one for each of its attempts. `None`
    /// where it is not set.
    pub tracing: Option<Tracing>,
    /// How long calls in flight may take to finish after SIGTERM before they are cut.
    pub drain_timeout: Duration,
    /// When a worker has more than it can do, it refuses calls with UNAVAILABLE before anything of them is read.
    pub overload: Overload,
    /// An address that clients connect to.
    pub listeners: Vec<Listener>,
    /// A route: which calls go where.
    pub routes: Vec<Route>,
    /// A service behind the gateway.
    pub clusters: Vec<Cluster>,
    /// An issuer of tokens (JWTs).
    pub jwt_providers: Vec<JwtProvider>,
    /// JSON in front of gRPC: the rules of `google.api.http`; on where any descriptors are named.
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

impl Listener {
    /// Whether a response has a `server-timing`; `asked`: the request wants one.
    pub fn tells_time(&self, asked: bool) -> bool {
        match self.server_timing {
            ServerTiming::Off => false,
            ServerTiming::OnRequest => asked,
            ServerTiming::Always => true,
        }
    }
}

/// The condition for a `server-timing` in responses.
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
    /// The address.
    pub address: EndpointAddress,
    /// Permissions of a Unix socket's file; without it those that the umask leaves. `None` where it is not set.
    pub mode: Option<u32>,
    /// Connections the kernel may hold for one worker before it accepts them, and others may have handed to it.
    pub backlog: u32,
    /// Connections one worker serves at once on this listener; what no worker has room for is closed at once.
    pub max_connections: u32,
    /// Whether a worker hands a connection it accepts to one that has clearly fewer; else it keeps what the kernel
    /// gives it.
    pub balance_connections: bool,
    /// Whether another process may listen on the address, too, so that a new gateway can take over from one that runs.
    pub reuse_port: bool,
    /// From a client's connect to the end of its HTTP/2 preface; over HTTP/1.1 the time for a head, or for the rest of
    /// a body whose response is whole.
    pub handshake_timeout: Duration,
    /// A connection without calls for this long is closed.
    pub idle_timeout: Duration,
    /// How old a connection may become.
    pub age: ConnectionAge,
    /// A connection whose client takes no bytes for this long, while some wait, is closed.
    pub write_timeout: Duration,
    /// A call whose client has begun a message, or a body of JSON, and sends nothing more of it for this long is ended.
    pub read_timeout: Duration,
    /// Bytes a second, for both directions: a client that sends or takes fewer, of what it owes or what waits for it,
    /// is as one that sends or takes none.
    pub min_rate: u32,
    /// Bytes of unfinished JSON requests and responses that one connection may have held, if they are of more than one
    /// call.
    pub max_buffered_bytes: u32,
    /// Over HTTP/1.1, what a call leaves of its body is read and dropped up to this size; where more is left, the
    /// connection is closed.
    pub max_unread_body_size: u32,
    /// Whether responses say in `server-timing` where their time went: when the request has `x-ringway-timing`, never,
    /// or always.
    pub server_timing: ServerTiming,
    /// Plain HTTP is sent to `https` on this port of the requested host (308), whatever its path; gRPC is refused, for
    /// it follows nobody.
    pub https_redirect_port: u16,
    /// HTTP/2 towards clients.
    pub http2: Http2,
    /// Calls from web pages of other origins.
    pub cors: Cors,
    /// The trust in addresses that callers state, and the fields that are added.
    pub forwarding: Forwarding,
    /// The PROXY protocol, versions 1 and 2, before anything else on a connection: the address in it is the peer.
    /// `None` where it is not set.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Addresses that may connect.
    pub admission: Admission,
    /// TLS towards clients (Envoy's words); without this table the port takes plaintext. `None` where it is not set.
    pub tls: Option<ListenerTls>,
}

/// HTTP/2 settings towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Calls one connection may have open at once.
    pub max_concurrent_streams: u32,
    /// Bytes a client may send on one call before the upstream has taken them, at first; calls whose bytes are taken as
    /// fast as they come get more, up to a quarter of the connection's.
    pub initial_stream_window_size: u32,
    /// Bytes a client may send on one connection before the upstreams have taken them; not below the window of a
    /// stream.
    pub initial_connection_window_size: u32,
    /// The largest frame a client may send.
    pub max_frame_size: u32,
    /// Bytes of all header fields of a request, and 32 more for each field, as RFC 9113 section 6.5.2 counts.
    pub max_header_list_size: u32,
    /// Header fields of a request.
    pub max_headers_count: u32,
    /// Bytes of responses that one connection may have staged for the client to read; while there are more, nothing
    /// more is read from it.
    pub max_send_buffer_size: u32,
    /// Calls a client may cancel before their response began, per second; twice as many at once.
    pub max_resets_per_second: u32,
    /// PING frames a client may send per second, but for one since payload was last sent; twice as many at once.
    pub max_pings_per_second: u32,
    /// SETTINGS frames a client may send per second; twice as many at once.
    pub max_settings_per_second: u32,
    /// DATA frames without payload that end nothing, per second; twice as many at once.
    pub max_empty_frames_per_second: u32,
    /// WINDOW_UPDATE frames a client may send per second, but for two for each DATA frame that was sent; twice as many
    /// at once.
    pub max_window_updates_per_second: u32,
    /// PRIORITY frames and frames of unknown kinds, which change nothing, that a client may send per second; twice as
    /// many at once.
    pub max_priority_frames_per_second: u32,
    /// CONTINUATION frames of one head.
    pub max_continuations: u32,
    /// Pings to clients.
    pub keepalive: ClientKeepalive,
}

/// A route: the calls that it matches, and the clusters that they go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The name in metrics; by default what the route matches, such as `service:bench.v1.Echo`.
    pub name: String,
    /// The conditions on a call; all that are given must hold.
    pub matching: Match,
    /// The clusters of its calls: one, or several by weight, which add up to at least 1. Empty only where the route answers
    /// by itself.
    pub clusters: Vec<WeightedCluster>,
    /// The time until the response begins, the waits for the client's own body left out; all attempts together. `None`
    /// for "0s".
    pub timeout: Option<Duration>,
    /// The time of a whole call, streams included; caps the caller's grpc-timeout. `None` for "0s".
    pub max_stream_duration: Option<Duration>,
    /// A call on which nothing moves for this long is ended. `None` for "0s".
    pub idle_timeout: Option<Duration>,
    /// Calls that the route takes, exact over all workers; refused with RESOURCE_EXHAUSTED above it. `None` where it is
    /// not set.
    pub rate_limit: Option<RateLimit>,
    /// Who may call, and what is done to calls.
    pub policies: RoutePolicies,
    /// Rewrites, responses of its own, and policies in place of its clusters'.
    pub actions: RouteActions,
}

/// A cluster and its share of a route's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Position in `Config::clusters`.
    pub cluster: usize,
    /// A cluster's share is this over the sum of all; the sum must be at least 1.
    pub weight: u32,
}

/// A service behind the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name in routes and metrics.
    pub name: String,
    /// Where the service runs.
    pub endpoints: Vec<Endpoint>,
    /// Which endpoint takes the next call: the one with fewer calls in flight out of two taken at random, or one after
    /// the other.
    pub lb_policy: LbPolicy,
    /// How long a connect may take, the HTTP/2 handshake included.
    pub connect_timeout: Duration,
    /// Whether connections begin with a header of the PROXY protocol, version 2, before TLS.
    pub sends_proxy_protocol: bool,
    /// Calls in flight at once, over all workers.
    pub max_requests: u32,
    /// Calls that may wait for a connection at once, over all workers.
    pub max_pending_requests: u32,
    /// Connections to all its endpoints, over all workers.
    pub max_connections: u32,
    /// In place of the routes' `timeout`. `None` where it is not set.
    pub timeout: Option<Duration>,
    /// Timeouts, retries, hedging and the retry throttle of methods, as gRPC clients take them (gRFC A6). `None` where
    /// it is not set.
    pub service_config: Option<ServiceConfig>,
    /// Where less than this percentage of the endpoints is neither ejected nor unhealthy, all are used.
    pub healthy_panic_threshold: u32,
    /// Connections of one worker to each endpoint.
    pub pool: Pool,
    /// Pings that find dead connections.
    pub keepalive: Keepalive,
    /// The wait before connecting again after a failed connect, or a connection that the service ended within
    /// `initial_backoff` and before any call, +-20 %.
    pub reconnect: Reconnect,
    /// Settings of one method of the cluster.
    pub methods: Vec<Method>,
    /// When a failed call is sent again (gRFC A6).
    pub retry: Retry,
    /// The retry budget, which bounds retries and hedges.
    pub retry_budget: RetryBudget,
    /// Gives a service that fails a rest (gobreaker's words).
    ///
    /// `None` where it is turned off.
    pub breaker: Option<Breaker>,
    /// Breakers in its place for the calls of single routes, by the name of the route.
    pub route_breakers: Vec<(String, Breaker)>,
    /// Which endpoints get no calls for a while (Envoy's words).
    ///
    /// `None` where it is turned off.
    pub outlier_detection: Option<OutlierDetection>,
    /// How an endpoint that comes back gets its share of calls (Envoy's words).
    pub slow_start: SlowStart,
    /// A timeout for each method that follows its latency, never above the fixed one. `None` where it is not set.
    pub adaptive_timeout: Option<AdaptiveTimeout>,
    /// Asks each endpoint how it is, by `grpc.health.v1`. `None` where it is not set.
    pub health_checks: Option<HealthChecks>,
    /// TLS towards the cluster's endpoints (Envoy's words), for calls, health checks and reflection; without this table
    /// they are spoken to in plaintext. `None` where it is not set.
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
    /// The method.
    pub path: String,
    /// In place of the route's `timeout`. `None` where it is not set.
    pub timeout: Option<Duration>,
    /// Whether the method takes one message and responds with one, where no descriptors say so.
    pub unary: bool,
    /// Whether to do the method twice is as good as once.
    pub idempotent: bool,
    /// Sends a call again before the first attempt has failed; for idempotent methods only. `None` where it is not set.
    pub hedging: Option<Hedging>,
    /// A breaker of the method's own, beside that of the cluster. `None` where it is not set.
    pub breaker: Option<Breaker>,
}
