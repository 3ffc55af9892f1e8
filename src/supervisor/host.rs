//! Demands of a configuration on this host, and whether the host meets them.

use std::net::SocketAddr;

use super::background::BackgroundRuntime;
use super::{dns, error, placement};
use crate::config::{Config, Io};
use crate::net::{listener, ring};

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

/// The host names of endpoints that do not resolve now, each with the reason.
pub fn unresolved(config: &Config) -> Vec<(String, String)> {
    match BackgroundRuntime::start() {
        Ok(background) => dns::unresolved(background.handle(), config),
        Err(_) => Vec::new(), // a host that gives no thread has said so to whoever asked before
    }
}

/// The addresses that cannot be listened on now: each with its key and the reason.
pub fn unavailable(config: &Config) -> Vec<(&'static str, SocketAddr, String)> {
    let listeners = config.listeners.iter().filter(|listener| !listener.reuse_port);
    let listeners = listeners.map(|listener| ("listeners.address", listener.address));
    let all = std::iter::once(("admin.address", config.admin.address)).chain(listeners);
    all.filter_map(|(key, address)| {
        let error = listener::is_free(address).err()?;
        Some((key, address, error::bind_reason(address, &error)))
    })
    .collect()
}
