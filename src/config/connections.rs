//! Connections of clients and to services: how many, how old, how silent.

use std::time::Duration;

/// How old a connection may become (gRFC A9).
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionAge {
    /// A connection takes no new calls after this time (GOAWAY, `connection: close`) and ends with its last one, so
    /// that clients spread over new gateways. `None` for "0s".
    pub max: Option<Duration>,
    /// The age of a connection is by chance up to this share lower or higher, so that connections that began together
    /// do not end together.
    pub jitter: f64,
    /// Calls that still run so long after `max_connection_age` are cut with UNAVAILABLE. `None` for "0s".
    pub grace: Option<Duration>,
}

/// Pings to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// A client that has been silent for this long is pinged, with or without calls: keeps the entries of NATs and
    /// balancers, and finds clients that have vanished. `None` for "0s".
    pub interval: Option<Duration>,
    /// A pinged client's connection is closed if the answer takes longer than this.
    pub timeout: Duration,
}

/// Connections of one worker to each endpoint of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Connections of one worker to one endpoint, at most.
    pub max_connections_per_endpoint: u32,
    /// Calls one connection carries at once, where the upstream's own limit is not lower.
    pub max_streams_per_connection: u32,
    /// Calls one connection carries in its life, before a new one takes over.
    pub max_requests_per_connection: u32,
    /// How old a connection may become.
    pub age: ConnectionAge,
    /// Bytes the upstream may send on one call before the client has taken them, at first; calls whose bytes are taken
    /// as fast as they come get more, up to a quarter of the connection's.
    pub initial_stream_window_size: u32,
    /// Bytes the upstream may send on one connection before the clients have taken them; not below the window of a
    /// stream.
    pub initial_connection_window_size: u32,
    /// The largest frame the upstream may send.
    pub max_frame_size: u32,
    /// Bytes of all header fields of a response, counted as for requests.
    pub max_header_list_size: u32,
    /// Bytes of requests that one connection may have staged for the upstream to read; while there are more, nothing
    /// more is read from it.
    pub max_send_buffer_size: u32,
    /// Bytes a second that the upstream has to take of a request that waits for it; one that takes fewer is as one that
    /// takes none, and the `timeout` of the route runs.
    pub min_rate: u32,
    /// Bytes of one request that are kept so that it can be sent again if the upstream refused it unseen.
    pub replay_buffer_size: u32,
}

/// Pings that find dead connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// A connection that has been silent for this long is pinged.
    pub interval: Duration,
    /// After a ping since which nothing came but its answer, the next one waits for this long: gRPC servers by default
    /// allow one in 5 minutes, and end the connection after the third that comes sooner.
    pub interval_without_data: Duration,
    /// A pinged connection is closed if the answer takes longer than this.
    pub timeout: Duration,
    /// Whether connections without calls are pinged too.
    pub without_calls: bool,
}

/// The wait before connecting again after a failed connect: initial, times multiplier each time, at most max, +-20 %.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconnect {
    /// The wait after the first failed connect.
    pub initial_backoff: Duration,
    /// Each next wait is this much longer.
    pub backoff_multiplier: f64,
    /// No wait is longer than this; not below `initial_backoff`.
    pub max_backoff: Duration,
}
