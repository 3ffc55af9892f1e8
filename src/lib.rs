//! Ringway: an API gateway for gRPC services on Linux, one worker per core, each on its own io_uring.

pub mod admin;
pub mod config;
pub mod metrics;
pub mod net;
pub mod policy;
pub mod random;
pub mod supervisor;
pub mod time;
pub mod upstream;
pub mod wire;
pub mod worker;
