//! A load that is to be made: its calls, and how they follow each other.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

/// The target of calls: an address and a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A gateway, or the service itself.
    pub address: SocketAddr,
    /// The call that is made again and again.
    pub request: Request,
}

/// A call of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// gRPC over HTTP/2.
    Grpc {
        /// `/{service}/{method}`.
        path: String,
        /// The message, encoded.
        message: Bytes,
        /// Further header fields.
        headers: Vec<(String, String)>,
    },
    /// JSON over HTTP/1.1.
    Json {
        /// The HTTP method.
        method: Method,
        /// The path with its query.
        path: String,
        /// The body; may be empty.
        body: Bytes,
    },
}

/// How calls follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many at once, until so many were made.
    Calls {
        /// Calls in all.
        calls: u64,
        /// In flight at once.
        at_once: usize,
    },
    /// So many at once, for so long.
    Span {
        /// How long.
        span: Duration,
        /// In flight at once.
        at_once: usize,
    },
    /// On a schedule.
    Schedule {
        /// Calls per second.
        rate: f64,
        /// How long.
        span: Duration,
    },
}

/// A load to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// The target of the calls.
    pub target: Target,
    /// How calls follow each other.
    pub pace: Pace,
    /// Connections over all threads. JSON has one for each lane, as HTTP/1.1 carries one call at a time.
    pub connections: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Calls that are made first and not counted.
    pub warm_up: u64,
    /// How long a call may take before it is given up.
    pub patience: Duration,
}

/// In flight at once on a connection of an open loop, at most.
pub(super) const STREAMS_MAX: usize = 100;

impl Load {
    /// A load with the usual settings: one thread, at most 16 connections, a warm-up of a tenth of the calls.
    pub fn new(target: Target, pace: Pace) -> Load {
        let (connections, warm_up) = match pace {
            Pace::Calls { calls, at_once } => (at_once.clamp(1, 16), (calls / 10).max(at_once as u64)),
            Pace::Span { at_once, .. } => (at_once.clamp(1, 16), 10 * at_once as u64),
            Pace::Schedule { .. } => (16, 500),
        };
        let mut load =
            Load { target, pace, connections, threads: 1, warm_up, patience: Duration::from_secs(10) };
        if let (Request::Json { .. }, Pace::Calls { at_once, .. } | Pace::Span { at_once, .. }) =
            (&load.target.request, pace)
        {
            load.connections = at_once.max(1);
        }
        load
    }

    /// Calls that can be in flight at once.
    pub(super) fn lanes(&self) -> usize {
        match (self.pace, &self.target.request) {
            (Pace::Calls { at_once, .. } | Pace::Span { at_once, .. }, Request::Grpc { .. }) => {
                at_once.max(1)
            }
            // A connection of HTTP/1.1 carries one call at a time.
            (_, Request::Json { .. }) => self.connections,
            (Pace::Schedule { .. }, Request::Grpc { .. }) => self.connections * STREAMS_MAX,
        }
    }

    /// How far a progress bar goes: calls, or milliseconds.
    pub fn length(&self) -> u64 {
        match self.pace {
            Pace::Calls { calls, .. } => calls,
            Pace::Span { span, .. } | Pace::Schedule { span, .. } => {
                u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}
