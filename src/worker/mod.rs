//! A worker: everything that one core owns, and the tasks that run on it.
//!
//! Nothing here is shared with another thread but the metric shard, which others read, the limits' tokens, and the
//! notifier that wakes the worker when the supervisor wants something.
//!
//! Where to begin: `call` is the page of a call, from its head to its end.
//!
//! - `core`: the values that one core owns. It knows of nobody who changes them.
//! - `run`: starts a worker, ticks, and carries out the orders in `control`.
//! - `executor`: polls the futures of calls.
//! - `config`: a configuration as the supervisor gives it, and as a worker has it.
//! - `control`: orders of the supervisor to a worker, and connections on their way to it.
//! - `downstream`: listeners, and clients' connections by HTTP/2 and HTTP/1.1.
//! - `call`: decode, route, admit, body, attempt, respond.
//! - `telemetry`: records of a call for access log and traces, and the times of its stages.

mod call;
mod clock;
mod config;
mod control;
mod core;
mod downstream;
mod executor;
mod run;
mod shared_listener;
#[cfg(test)]
mod simulation;
mod telemetry;
mod transfer_queue;

pub use self::clock::Clock;
pub use self::config::{ConfigSnapshot, layout};
pub use self::control::{Control, WorkerPeer};
pub use self::downstream::content_lengths::followed_by_http1;
pub use self::run::{Plan, run};
pub use self::shared_listener::{ListenerIdentity, NewSocket, SharedListener};
pub use self::telemetry::buffers::{Access, KeptHeaders, TelemetryConfig, Tracing};
