//! Demands of a configuration on this host, and whether the host meets them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;

use super::background::BackgroundRuntime;
use super::{dns, error, placement};
use crate::config::{Config, Endpoint, EndpointAddress, Io, UnixPath};
use crate::net::{listener, ring, unix_socket};

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

/// The Unix sockets of endpoints to which nobody can connect now: each with its cluster and the reason.
pub fn missing_sockets(config: &Config) -> Vec<(&str, UnixPath, String)> {
    let of_cluster = |cluster: &'_ crate::config::Cluster| {
        let sockets = cluster.endpoints.iter().filter_map(|endpoint| match endpoint {
            Endpoint::Unix(path) => Some(*path),
            Endpoint::Tcp { .. } => None,
        });
        sockets.filter_map(|path| Some((path, no_socket(path)?))).collect::<Vec<_>>()
    };
    let all = config.clusters.iter();
    all.flat_map(|cluster| {
        of_cluster(cluster).into_iter().map(|(path, reason)| (cluster.name.as_str(), path, reason))
    })
    .collect()
}

/// Why a path leads to no socket. `None` if it leads to one.
fn no_socket(path: UnixPath) -> Option<String> {
    match fs::metadata(path.path()) {
        Ok(file) if file.file_type().is_socket() => None,
        Ok(_) => Some("it is not a socket".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.path().parent().filter(|folder| !folder.is_dir());
            Some(folder.map_or("nobody listens there now".to_owned(), |folder| {
                format!("there is no folder {}", folder.display())
            }))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Says that a port is taken, which it is as well where the gateway of the checked file runs already.
fn taken(port: u16) -> String {
    format!(
        "port {port} is taken now, by a running gateway or by another process: a reload of that gateway keeps it, and a \
         start would fail (ss -ltnp 'sport = :{port}' shows which)"
    )
}

/// The addresses that cannot be listened on now: each with its key and the reason.
pub fn unavailable(config: &Config) -> Vec<(&'static str, EndpointAddress, String)> {
    let listeners = config.listeners.iter().filter(|listener| !listener.reuse_port);
    let listeners = listeners.map(|listener| ("listeners.address", listener.address));
    let all = std::iter::once(("admin.address", config.admin.address.into())).chain(listeners);
    all.filter_map(|(key, address)| {
        let is_free = match address {
            EndpointAddress::Ip(address) => listener::is_free(address),
            EndpointAddress::Unix(path) => unix_socket::is_free(path),
        };
        let error = is_free.err()?;
        let reason = match (address, error.kind()) {
            (EndpointAddress::Ip(address), ErrorKind::AddrInUse) => taken(address.port()),
            _ => error::bind_reason(address, &error, key != "admin.address"),
        };
        Some((key, address, reason))
    })
    .collect()
}
