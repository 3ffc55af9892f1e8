//! Helpers of the integration tests: services, clients, and peers that misbehave.
//!
//! Each test binary compiles all of it and uses a part. Nothing here sleeps to wait for some state, and every
//! wait is bounded.
#![allow(dead_code, reason = "no test binary uses all of it")]
#![allow(unreachable_pub, reason = "a test binary has no public side")]
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]

pub mod any_message;
pub mod callers;
pub mod child;
pub mod collector;
pub mod edits;
pub mod gateway;
pub mod health;
pub mod http1;
pub mod idp;
pub mod interop;
pub mod interop_client;
pub mod interop_server;
pub mod issuer;
pub mod library;
pub mod open_loop;
pub mod pki;
pub mod process;
pub mod raw;
pub mod raw_server;
pub mod seccomp;
pub mod service;
pub mod sites;
pub mod speaker;
pub mod tools;
pub mod tunnel;
pub mod unix;
pub mod watch;
pub mod web;

use std::time::Duration;

/// Runs `work`, at most `limit` long; the panic names `what` took longer.
pub async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => panic!("{what}: not done within {limit:?}"),
    }
}
