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
mod plan;
mod round;
pub mod rows;
mod tally;
#[cfg(test)]
mod tests;
mod thread;
mod traffic;

pub use case::Case;
pub use plan::{Load, Pace, Request, Target};
pub use round::Round;
pub use tally::{Ending, Tally};
pub use thread::{probe, run, run_alone, run_between};
