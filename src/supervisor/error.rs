//! Errors of a gateway's start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::{EndpointAddress, UnixPath};
use crate::net::ring::RingUnavailable;
use crate::tls;
use crate::transcode::problem::Problem;

/// The reason why a gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// io_uring was demanded and is not there.
    #[error("io_uring is not available, and io.on_unavailable is \"fail\": {0}")]
    NoIoUring(RingUnavailable),
    /// `io.sqpoll_idle` or `io.busy_poll` is set, and the kernel lacks it.
    #[error("io.sqpoll_idle and io.busy_poll need io_uring as they ask for it: {0}")]
    Option(RingUnavailable),
    /// An address of a listener could not be bound.
    #[error("cannot listen on {0}, an address of [[listeners]]: {reason}", reason = bind_reason(*.0, .1, true))]
    Bind(EndpointAddress, io::Error),
    /// The address of the admin pages could not be bound.
    #[error("cannot listen on {0}, the address of [admin]: {reason}", reason = bind_reason((*.0).into(), .1, false))]
    BindAdmin(SocketAddr, io::Error),
    /// An endpoint's name has no address.
    #[error("cannot resolve the endpoint {0}: {1}")]
    Resolve(String, io::Error),
    /// The file of the access log could not be opened.
    #[error("cannot open the access log {path}: {1}", path = .0.display())]
    AccessLog(PathBuf, io::Error),
    /// `cpu_policy` leaves no CPU.
    #[error("{0}")]
    Place(String),
    /// Descriptors, or what they say of HTTP, are wrong.
    #[error("transcoding: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Transcoding(Vec<Problem>),
    /// A file of TLS cannot be used.
    #[error("TLS: {0}")]
    Tls(tls::Problem),
    /// A worker could not set itself up.
    #[error("worker {0} cannot start: {1}")]
    Worker(usize, String),
    /// A thread or a socket pair could not be made.
    #[error("cannot start: {0}")]
    System(io::Error),
}

impl StartError {
    /// The process's exit code: 78 (EX_CONFIG) where the host does not allow what was demanded, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::NoIoUring(_) | StartError::Option(_) => 78,
            StartError::Bind(..)
            | StartError::BindAdmin(..)
            | StartError::Resolve(..)
            | StartError::AccessLog(..)
            | StartError::Place(_)
            | StartError::Transcoding(_)
            | StartError::Tls(_)
            | StartError::Worker(..)
            | StartError::System(_) => 1,
        }
    }
}

/// Ports below it belong to programs with a capability, unless the host says otherwise.
const UNPRIVILEGED_PORTS: u16 = 1024;

/// Why an address cannot be listened on, and the remedy. `may_share`: another gateway may take such an address over.
pub(super) fn bind_reason(address: EndpointAddress, error: &io::Error, may_share: bool) -> String {
    let address = match address {
        EndpointAddress::Ip(address) => address,
        EndpointAddress::Unix(path) => return unix_reason(path, error),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let remedy = if may_share {
                "listeners.reuse_port = true lets a new gateway take over from a running one"
            } else {
                "--admin 127.0.0.1:9902 takes another one, as admin.address does in a file"
            };
            format!(
                "port {0} is taken by another process (ss -ltnp 'sport = :{0}' shows which; {remedy})",
                address.port()
            )
        }
        io::ErrorKind::PermissionDenied if address.port() < UNPRIVILEGED_PORTS => format!(
            "a port below {UNPRIVILEGED_PORTS} needs the capability CAP_NET_BIND_SERVICE (setcap \
             cap_net_bind_service=+ep on the program, AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit, or \
             sysctl net.ipv4.ip_unprivileged_port_start={})",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => format!("{} is no address of this host", address.ip()),
        _ => error.to_string(),
    }
}

/// Why there can be no listening socket at a path, and the remedy.
fn unix_reason(path: UnixPath, error: &io::Error) -> String {
    let path = path.path();
    let folder = path.parent().unwrap_or(path).display();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another process listens there (ss -lxp 'src {}' shows which)", path.display())
        }
        io::ErrorKind::AlreadyExists => "the file there is no socket, and is left as it is".to_owned(),
        io::ErrorKind::NotFound => format!("there is no folder {folder}"),
        io::ErrorKind::PermissionDenied => {
            format!("this user may not connect to a socket there, nor make a file in {folder}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_had_says_how_it_could() {
        let address: SocketAddr = "10.1.2.3:80".parse().expect("an address");
        let address = EndpointAddress::from(address);
        for (kind, word) in [
            (io::ErrorKind::AddrInUse, "port 80 is taken"),
            (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (io::ErrorKind::AddrNotAvailable, "10.1.2.3 is no address of this host"),
        ] {
            let error = StartError::Bind(address, kind.into()).to_string();
            assert!(error.contains("10.1.2.3:80") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_taken_port_of_the_admin_pages_gets_no_hint_for_listeners() {
        let address: SocketAddr = "127.0.0.1:9901".parse().expect("an address");
        let of_admin = StartError::BindAdmin(address, io::ErrorKind::AddrInUse.into()).to_string();
        assert!(of_admin.contains("port 9901 is taken") && of_admin.contains("admin.address"), "{of_admin}");
        assert!(!of_admin.contains("reuse_port"), "{of_admin}");
        let of_listener = StartError::Bind(address.into(), io::ErrorKind::AddrInUse.into()).to_string();
        assert!(of_listener.contains("listeners.reuse_port"), "{of_listener}");
    }
}
