//! A worker's heartbeat.
//!
//! On io_uring it is one timerfd whose read stays in the ring. The loop's own timer would turn every wait into a timed
//! one: a timer to program and to cancel for each `io_uring_enter`, where this programs one for each beat.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::time::Duration;

use super::ring::Rung;
use super::{runtime, sys};

/// Beats at a fixed period.
pub struct Ticker {
    period: Duration,
    timer: Option<monoio::fs::File>,
    /// What the timer's count is read into; out while a read is in the ring.
    count: RefCell<Vec<u8>>,
}

impl Ticker {
    /// A heartbeat for a loop on `rung`.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new(rung: Rung, period: Duration) -> io::Result<Ticker> {
        let timer = match rung {
            // There a wait always has a timeout, which costs nothing more, and reading a file would block.
            Rung::Epoll => None,
            _ => Some(monoio::fs::File::from_std(File::from(sys::timer(period)?))?),
        };
        Ok(Ticker { period, timer, count: RefCell::new(vec![0; 8]) })
    }

    /// Waits for the next beat. Must be awaited to its end.
    pub async fn beat(&self) {
        let Some(timer) = &self.timer else { return runtime::sleep(self.period).await };
        let buffer = self.count.take();
        let (result, buffer) = timer.read_at(buffer, 0).await;
        *self.count.borrow_mut() = buffer;
        if result.is_err() {
            runtime::sleep(self.period).await;
        }
    }
}

impl std::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticker").field("period", &self.period).finish_non_exhaustive()
    }
}
