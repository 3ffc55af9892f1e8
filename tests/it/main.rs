//! The integration tests: one program, a folder for each subject. `cargo test --test it -- json::rules` runs a part.
//!
//! Tests run beside each other here, so none may need the machine or the process for itself: those are in
//! `tests/alone/`, one at a time, and `tests/allocations/`, whose allocator counts.
#![allow(unreachable_pub, reason = "a test binary has no public side")]

#[path = "../support/mod.rs"]
mod support;

mod edge;
mod fuzzed;
mod host;
mod http1;
mod http2;
mod json;
mod limits;
mod observability;
mod packaging;
mod reload;
mod resilience;
mod tls;
