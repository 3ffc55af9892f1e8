//! Ringway: an API gateway for gRPC services on Linux, one worker per core, each on its own io_uring.

pub mod config;
pub mod demo;
