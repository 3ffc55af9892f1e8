//! The services behind the gateway, as one worker sees them: clusters of endpoints, each with its own connections.
//!
//! Read `cluster.rs` first: a service as one configuration has it. `pool.rs` outlives it: it chooses endpoint and
//! connection of the next call, and holds the calls that wait (`acquire.rs`, `waiters.rs`). `connection.rs` is one
//! HTTP/2 connection from its connect to its end; it reports events, which its pool applies. `lease.rs` is a call's
//! place on one. Workers share nothing here but the parts in `policy/shared_cluster.rs`.

mod acquire;
mod attempt_error;
mod cluster;
mod connection;
mod endpoint;
mod latencies;
mod lease;
mod methods;
mod permits;
mod pool;
mod waiters;

pub use acquire::AcquireStream;
pub use attempt_error::AttemptError;
pub use cluster::{Cluster, ClusterInputs};
pub use latencies::{Latencies, LatencySample};
pub use lease::StreamLease;
pub use methods::Method;
pub use permits::{AttemptResult, BreakerPermits, BreakerRefusal};
