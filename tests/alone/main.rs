//! Tests that load the machine, or measure it or their own process. Each holds [`alone`], so they run one at a time.
#![allow(unreachable_pub, reason = "a test binary has no public side")]
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]

#[path = "../support/mod.rs"]
mod support;

mod accounting;
mod chaos;
mod commands;
mod deadlines;
mod enters;
mod host_options;
mod idle;
mod load;
mod outage;
mod overload;
mod performance_monitoring;
mod reload;
mod slow_reader;
mod tls;
mod tokens;
mod verify;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::gateway::BACKENDS;

/// `ringway verify` asks a gateway what is live on its heap, so this process counts as the program does.
#[global_allocator]
static ALLOCATOR: ringway::alloc::Counting = ringway::alloc::Counting;

/// The right to be the only test that runs.
#[must_use]
struct Alone {
    _held: MutexGuard<'static, ()>,
}

/// Waits until no other test runs. One that has failed stands in nobody's way.
fn alone() -> Alone {
    static RUNNING: Mutex<()> = Mutex::new(());
    Alone { _held: RUNNING.lock().unwrap_or_else(PoisonError::into_inner) }
}

/// A number for a machine that others use, or the whole one.
fn either(few: u32, all: u32) -> u32 {
    if std::env::var_os("RINGWAY_FULL").is_some() { all } else { few }
}

/// The back-ends that are asked.
fn backends() -> &'static [&'static str] {
    &BACKENDS[..either(1, BACKENDS.len() as u32) as usize]
}
