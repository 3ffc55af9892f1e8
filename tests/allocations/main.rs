//! Heap allocations: none of ours on the way of a call. The allocator of this process counts them.
//!
//! The two that ask what all workers of the process allocate hold [`alone`]; the others ask for their own thread.
#![allow(unreachable_pub, reason = "a test binary has no public side")]
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod http2;
mod json_calls;
mod reading;
mod tls;
mod writing;

use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static ALLOCATOR: ringway::alloc::Counting = ringway::alloc::Counting;

/// The right to be the only test with workers.
#[must_use]
struct Alone {
    _held: MutexGuard<'static, ()>,
}

/// Waits until no other test has workers. One that has failed stands in nobody's way.
fn alone() -> Alone {
    static RUNNING: Mutex<()> = Mutex::new(());
    Alone { _held: RUNNING.lock().unwrap_or_else(PoisonError::into_inner) }
}
