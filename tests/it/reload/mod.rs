//! A gateway that changes or ends while it serves: its configuration, its names, its process.

mod carry_over;
mod discovery;
mod drain;
mod listeners;
mod signals;
mod sinks;
mod told;
mod unix_listeners;
