//! The results of a load, and whether they may be believed.

use std::time::Duration;

use super::tally::Tally;
use crate::tools::usage::Cpu;

/// The results of a load.
#[derive(Clone, Debug)]
pub struct Round {
    /// The load's connections, and those of them on which a call got its response.
    pub connections: usize,
    /// Connections on which the first call got its response.
    pub admitted: usize,
    /// From the first call to the last response.
    pub took: Duration,
    /// The calls' ends and times.
    pub tally: Tally,
    /// How much later than planned calls began, at the worst hundredth; zero in a closed loop.
    pub lag: Duration,
    /// CPU time of the generator's threads.
    pub generator: Cpu,
    /// How many threads the generator had.
    pub threads: usize,
    /// CPU time of the sides that were watched, and the memory of each at the end, by name.
    pub sides: Vec<(&'static str, Cpu, Option<u64>)>,
}

/// A generator that computes for more than this share of the time may itself be what limits a rate.
const BUSY_MAX: f64 = 0.95;
/// Where a larger share of the calls fails, times and rates are those of failures.
const ERRORS_MAX: f64 = 0.01;
/// An open loop whose worst hundredth begins later than this does not keep its schedule.
const LAG_MAX: Duration = Duration::from_millis(20);

impl Round {
    /// Calls that succeeded per second.
    pub fn rate(&self) -> f64 {
        (self.tally.calls() - self.tally.errors()) as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The share of the time that the generator's threads computed.
    pub fn busy(&self) -> f64 {
        self.generator.ran.as_secs_f64() / self.took.as_secs_f64().max(1e-9) / self.threads.max(1) as f64
    }

    /// CPU microseconds per call of the side of this name.
    pub fn cpu_micros(&self, side: &str) -> Option<f64> {
        let (_, cpu, _) = self.sides.iter().find(|(name, ..)| *name == side)?;
        (self.tally.calls() > 0).then(|| cpu.ran.as_secs_f64() * 1e6 / self.tally.calls() as f64)
    }

    /// Why this round says nothing about its target.
    pub fn invalid(&self) -> Option<String> {
        if self.admitted < self.connections {
            return Some(format!("{} of {} connections admitted", self.admitted, self.connections));
        }
        if self.tally.calls() == 0 {
            return Some("no call was made".to_owned());
        }
        if self.tally.error_rate() > ERRORS_MAX {
            return Some(format!("{:.1} % of the calls failed", 100.0 * self.tally.error_rate()));
        }
        if self.busy() > BUSY_MAX {
            return Some(format!("the generator was busy for {:.0} % of the time", 100.0 * self.busy()));
        }
        if self.lag > LAG_MAX {
            let lag = self.lag.as_millis();
            return Some(format!("the generator began calls up to {lag} ms late"));
        }
        None
    }
}
