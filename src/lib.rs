//! Ringway: an API gateway for gRPC services on Linux, one worker per core, each on its own io_uring.
//!
//! Three floors; a module imports only from floors below it. `tests/tidy.rs` holds the law.
//!
//! - Ground, without I/O, clock or runtime: [`time`], [`random`], [`config`], [`policy`], [`metrics`], [`alloc`],
//!   [`buffer`].
//! - Middle, bytes and sockets: [`wire`], [`transcode`], [`http2`], [`tls`], [`net`], [`upstream`].
//! - Upper, cores and people: [`worker`], [`supervisor`], [`admin`], [`demo`], [`tools`], [`cli`].
//!
//! Read `worker/call/mod.rs` first: it is one call from its head to its last byte.

pub mod alloc;
pub mod buffer;
pub mod config;
pub mod metrics;
pub mod policy;
pub mod random;
pub mod time;

pub mod http2;
pub mod net;
pub mod tls;
pub mod transcode;
pub mod upstream;
pub mod wire;

pub mod admin;
pub mod cli;
pub mod demo;
pub mod supervisor;
pub mod tools;
pub mod worker;
