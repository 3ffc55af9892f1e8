//! The schedule of an open loop.
//!
//! A thread of its own sleeps from one beginning to the next: the runtime's timers have steps of a millisecond, which
//! would show up in every latency.
#![allow(
    clippy::disallowed_methods,
    reason = "a thread of its own that does nothing but wait for moments of the schedule"
)]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The moments at which calls are to begin, each told when it has come.
///
/// # Errors
/// When no thread can be had.
pub(super) fn moments(rate: f64, span: Duration, began: Instant) -> io::Result<UnboundedReceiver<Instant>> {
    let (tell, told) = unbounded_channel();
    let count = (rate * span.as_secs_f64()).round() as u64;
    thread::Builder::new().name("load-pace".to_owned()).spawn(move || {
        for number in 0..count {
            let due = began + Duration::from_secs_f64(number as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if tell.send(due).is_err() {
                return;
            }
        }
    })?;
    Ok(told)
}
