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
use std::time::Duration;

use ringway::supervisor::Gateway;

use support::gateway::metric;
use support::within;

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

/// The counter of allocations, once it has not changed from one publication to the next.
async fn at_rest(gateway: &Gateway) -> u64 {
    // A worker publishes every 100 ms, so two looks this far apart see two publications.
    let mut looks = tokio::time::interval(Duration::from_millis(250));
    looks.tick().await;
    let rest = async {
        let mut seen = metric(gateway, "ringway_allocations_total");
        loop {
            looks.tick().await;
            let now = metric(gateway, "ringway_allocations_total");
            if now == seen {
                return now;
            }
            seen = now;
        }
    };
    within(Duration::from_secs(10), "the worker is at rest", rest).await
}
