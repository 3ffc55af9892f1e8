//! A load: many calls of one kind to one address, and what became of them.
//!
//! A closed loop keeps some calls in flight: each lane begins its next call when the last one has ended, so a server
//! that stalls is asked less, and its stall is counted once for each lane only. An open loop begins calls on a
//! schedule whatever became of the earlier ones, and a call's latency counts from when it was to begin; nothing that a
//! client would have suffered is left out.
//!
//! Each thread of the generator has its own connections and its own loop. Its results are a [`Round`];
//! [`Round::invalid`] says whether a round may be believed.

mod case;
mod closed;
mod grpc;
mod json;
mod line;
mod open;
mod pace;
pub mod rows;
mod tally;
mod thread;
mod traffic;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::usage::{Cpu, Side};

pub use case::Case;
pub use tally::{Ending, Tally};
pub use thread::{probe, run, run_between};

/// The target of calls: an address and a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A gateway, or the service itself.
    pub address: SocketAddr,
    /// The call that is made again and again.
    pub request: Request,
}

/// A call of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// gRPC over HTTP/2.
    Grpc {
        /// `/{service}/{method}`.
        path: String,
        /// The message, encoded.
        message: Bytes,
        /// Further header fields.
        headers: Vec<(String, String)>,
    },
    /// JSON over HTTP/1.1.
    Json {
        /// The HTTP method.
        method: Method,
        /// The path with its query.
        path: String,
        /// The body; may be empty.
        body: Bytes,
    },
}

/// How calls follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many at once, until so many were made.
    Calls {
        /// Calls in all.
        calls: u64,
        /// In flight at once.
        at_once: usize,
    },
    /// So many at once, for so long.
    Span {
        /// How long.
        span: Duration,
        /// In flight at once.
        at_once: usize,
    },
    /// On a schedule.
    Schedule {
        /// Calls per second.
        rate: f64,
        /// How long.
        span: Duration,
    },
}

/// A load to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// The target of the calls.
    pub target: Target,
    /// How calls follow each other.
    pub pace: Pace,
    /// Connections over all threads. JSON has one for each lane, as HTTP/1.1 carries one call at a time.
    pub connections: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Calls that are made first and not counted.
    pub warm_up: u64,
    /// How long a call may take before it is given up.
    pub patience: Duration,
}

/// In flight at once on a connection of an open loop, at most.
const STREAMS_MAX: usize = 100;

impl Load {
    /// A load with the usual settings: one thread, at most 16 connections, a warm-up of a tenth of the calls.
    pub fn new(target: Target, pace: Pace) -> Load {
        let (connections, warm_up) = match pace {
            Pace::Calls { calls, at_once } => (at_once.clamp(1, 16), (calls / 10).max(at_once as u64)),
            Pace::Span { at_once, .. } => (at_once.clamp(1, 16), 10 * at_once as u64),
            Pace::Schedule { .. } => (16, 500),
        };
        let mut load =
            Load { target, pace, connections, threads: 1, warm_up, patience: Duration::from_secs(10) };
        if let (Request::Json { .. }, Pace::Calls { at_once, .. } | Pace::Span { at_once, .. }) =
            (&load.target.request, pace)
        {
            load.connections = at_once.max(1);
        }
        load
    }

    /// Calls that can be in flight at once.
    fn lanes(&self) -> usize {
        match (self.pace, &self.target.request) {
            (Pace::Calls { at_once, .. } | Pace::Span { at_once, .. }, Request::Grpc { .. }) => {
                at_once.max(1)
            }
            // A connection of HTTP/1.1 carries one call at a time.
            (_, Request::Json { .. }) => self.connections,
            (Pace::Schedule { .. }, Request::Grpc { .. }) => self.connections * STREAMS_MAX,
        }
    }

    /// How far a progress bar goes: calls, or milliseconds.
    pub fn length(&self) -> u64 {
        match self.pace {
            Pace::Calls { calls, .. } => calls,
            Pace::Span { span, .. } | Pace::Schedule { span, .. } => {
                u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}

/// The results of a load.
#[derive(Clone, Debug)]
pub struct Round {
    /// The load's connections, and those of them on which a call was answered.
    pub connections: usize,
    /// Connections on which the first call was answered.
    pub admitted: usize,
    /// From the first call to the last answer.
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
/// An open loop whose worst hundredth begins later than this does not keep its schedule.
const LAG_MAX: Duration = Duration::from_millis(20);

impl Round {
    /// Calls answered per second, whatever the answer.
    pub fn rate(&self) -> f64 {
        self.tally.calls() as f64 / self.took.as_secs_f64().max(1e-9)
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

/// Makes a load in the calling thread's name, without watching anybody.
///
/// # Errors
/// See [`run`].
pub fn run_alone(load: &Load) -> io::Result<Round> {
    run(load, &[] as &[Side], |_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::status::Code;

    /// A round of a second and a hundred calls, with this done to it.
    fn round(change: impl FnOnce(&mut Round)) -> Round {
        let mut tally = Tally::default();
        (0..100).for_each(|_| tally.record(Ending::Answered(Code::Ok), Duration::from_millis(1)));
        let mut round = Round {
            connections: 4,
            admitted: 4,
            took: Duration::from_secs(1),
            tally,
            lag: Duration::ZERO,
            generator: Cpu { ran: Duration::from_millis(900), waited: Duration::ZERO },
            threads: 1,
            sides: Vec::new(),
        };
        change(&mut round);
        round
    }

    #[test]
    fn a_round_says_why_it_is_invalid() {
        type Change = fn(&mut Round);
        let table: [(Change, Option<&str>); 7] = [
            (|_| (), None),
            (|round| round.admitted = 3, Some("3 of 4 connections admitted")),
            (|round| round.tally = Tally::default(), Some("no call was made")),
            (
                |round| round.generator.ran = Duration::from_millis(960),
                Some("the generator was busy for 96 % of the time"),
            ),
            // Two threads have twice the time.
            (|round| (round.generator.ran, round.threads) = (Duration::from_millis(1800), 2), None),
            (|round| round.lag = Duration::from_millis(20), None),
            (
                |round| round.lag = Duration::from_millis(21),
                Some("the generator began calls up to 21 ms late"),
            ),
        ];
        for (number, (change, reason)) in table.into_iter().enumerate() {
            assert_eq!(round(change).invalid().as_deref(), reason, "row {number}");
        }
    }

    #[test]
    fn a_case_is_invalid_if_more_than_a_quarter_of_its_rounds_are() {
        let late = || round(|round| round.lag = Duration::from_secs(1));
        let case = |late_rounds: usize| Case {
            rounds: (0..8).map(|number| if number < late_rounds { late() } else { round(|_| ()) }).collect(),
            ..Case::new("case")
        };
        assert_eq!(case(2).invalid(), None);
        let reason = "the generator began calls up to 1000 ms late (3 of 8 rounds)";
        assert_eq!(case(3).invalid().as_deref(), Some(reason));
    }
}
