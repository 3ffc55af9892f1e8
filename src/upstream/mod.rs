//! The services behind the gateway, as one worker sees them: clusters of endpoints, each with its own connections.
//!
//! Read [`cluster`] first: a service as one configuration has it. [`pool`] outlives it: it chooses endpoint and
//! connection of the next call, and holds the calls that wait ([`acquire`], [`waiters`]). [`connection`] is one
//! HTTP/2 connection from its connect to its end; it reports events, which its pool applies. [`places`] are those for
//! calls on one, and [`lease`] is a call's. Workers share nothing here but the parts in [`policy::shared_cluster`](crate::policy::shared_cluster).

mod acquire;
mod attempt_error;
mod cluster;
mod connection;
mod endpoint;
mod latencies;
mod lease;
mod methods;
mod permits;
mod places;
mod pool;
mod waiters;

pub use acquire::AcquireStream;
pub use attempt_error::AttemptError;
pub use cluster::{Cluster, ClusterInputs, RouteBreaker};
pub use latencies::{Latencies, LatencySample};
pub use lease::StreamLease;
pub use methods::Method;
pub use permits::{AttemptResult, BreakerPermits, BreakerRefusal};
