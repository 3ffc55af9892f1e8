//! Connections of clients and to services: how many, how old, how silent.

use std::time::Duration;

/// How old a connection may become (gRFC A9).
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionAge {
    /// After this time it takes no new calls; `None`: it has no bound.
    pub max: Option<Duration>,
    /// The share by which the age of a connection differs at most from `max`.
    pub jitter: f64,
    /// How long calls may take to finish after that, before they are cut; `None`: as long as they like.
    pub grace: Option<Duration>,
}

/// Pings to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// The silence after which a client is pinged; `None`: never.
    pub interval: Option<Duration>,
    /// Its connection is closed if the answer takes longer than this.
    pub timeout: Duration,
}

/// Connections of one worker to each endpoint of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Connections at most.
    pub max_connections_per_endpoint: u32,
    /// Calls at once on a connection, where the upstream's own limit is not lower.
    pub max_streams_per_connection: u32,
    /// Calls of a connection in its life, before a new one takes over.
    pub max_requests_per_connection: u32,
    /// How old a connection may become.
    pub age: ConnectionAge,
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
    /// Bytes a second that the upstream has to take of a request that waits for it.
    pub min_rate: u32,
    /// Bytes of one request that are kept so that it can be sent again if the upstream refused it unseen.
    pub replay_buffer_size: u32,
}

/// Pings that find dead connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence after which a connection is pinged.
    pub interval: Duration,
    /// The interval after a ping since which nothing came but its answer.
    pub interval_without_data: Duration,
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
    /// The factor from each wait to the next.
    pub backoff_multiplier: f64,
    /// The longest wait.
    pub max_backoff: Duration,
}
