//! Demands of a configuration on this host, and whether the host meets them.

use super::placement;
use crate::config::{Config, Io};
use crate::net::ring;

/// The keys whose demands this host does not meet, each with the reason. Tried for real, on this thread.
pub fn refusals(config: &Config) -> Vec<(&'static str, String)> {
    let mut refused = Vec::new();
    if let Err(reason) = placement::cores(config.workers, config.cpu_policy) {
        refused.push(("cpu_policy", reason));
    }
    let io = config.io;
    let options = [
        ("io.sqpoll_idle", io.sqpoll_idle.is_some(), Io { busy_poll: None, ..io }),
        ("io.busy_poll", io.busy_poll.is_some(), Io { sqpoll_idle: None, ..io }),
    ];
    for (key, _, io) in options.iter().filter(|(_, is_set, _)| *is_set) {
        if let Err(refusal) = ring::probe(io) {
            refused.push((key, refusal.reason));
        }
    }
    refused
}
