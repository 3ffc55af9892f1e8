//! The services behind the gateway, as one worker sees them: clusters of endpoints, each with its own connections.
//!
//! Read `cluster.rs` first: what one configuration makes of a service. `pool.rs` is what outlives it: which endpoint and
//! connection takes the next call, and who waits. `connection.rs` is one HTTP/2 connection from its connect to its end.
//! Nothing here is shared between workers but what `policy/shares.rs` lists.

mod cluster;
mod connection;
mod endpoint;
mod failed;
mod guard;
mod latencies;
mod lease;
mod methods;
mod pool;
mod waiters;

pub use cluster::{Cluster, Parts};
pub use failed::Failed;
pub use guard::{Attempted, Passes, Refusal};
pub use latencies::{Latencies, Took};
pub use lease::{Acquire, Lease};
pub use methods::Method;
