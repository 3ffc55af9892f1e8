//! The services behind the gateway, as one worker sees them: clusters of endpoints, each with its own connections.
//!
//! Read `cluster.rs` first: what one configuration makes of a service. `pool.rs` is what outlives it: which endpoint and
//! connection takes the next call, and who waits (`acquire.rs`, `waiters.rs`). `connection.rs` is one HTTP/2 connection
//! from its connect to its end; it reports events, which its pool applies. `lease.rs` is a call's place on one.
//! Nothing here is shared between workers but what `policy/shares.rs` lists.

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
pub use permits::{AttemptResult, BreakerPermits, Refusal};
