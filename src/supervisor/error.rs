//! Errors of a gateway's start.

use std::path::PathBuf;
use std::{fmt, io};

use crate::config::{EndpointAddress, UnixPath};
use crate::net::ring::RingUnavailable;
use crate::tls;
use crate::transcode::problem::Problem;

/// The reason why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// io_uring was demanded and is not there.
    NoIoUring(RingUnavailable),
    /// `io.sqpoll_idle` or `io.busy_poll` is set, and the kernel lacks it.
    Option(RingUnavailable),
    /// An address could not be bound.
    Bind(EndpointAddress, io::Error),
    /// An endpoint's name has no address.
    Resolve(String, io::Error),
    /// The file of the access log could not be opened.
    AccessLog(PathBuf, io::Error),
    /// `cpu_policy` leaves no CPU.
    Place(String),
    /// Descriptors, or what they say of HTTP, are wrong.
    Transcoding(Vec<Problem>),
    /// A file of TLS cannot be used.
    Tls(tls::Problem),
    /// A worker could not set itself up.
    Worker(usize, String),
    /// A thread or a socket pair could not be made.
    System(io::Error),
}

impl StartError {
    /// The process's exit code: 78 (EX_CONFIG) where the host does not allow what was demanded, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::NoIoUring(_) | StartError::Option(_) => 78,
            StartError::Bind(..)
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

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoIoUring(refusal) => {
                write!(f, "io_uring is not available, and io.on_unavailable is \"fail\": {refusal}")
            }
            StartError::Option(refusal) => {
                write!(f, "io.sqpoll_idle and io.busy_poll need io_uring as they ask for it: {refusal}")
            }
            StartError::Bind(address, error) => {
                let reason = bind_reason(*address, error);
                write!(f, "cannot listen on {address}, an address of [[listeners]] or [admin]: {reason}")
            }
            StartError::Resolve(name, error) => write!(f, "cannot resolve the endpoint {name}: {error}"),
            StartError::AccessLog(path, error) => {
                write!(f, "cannot open the access log {}: {error}", path.display())
            }
            StartError::Place(reason) => write!(f, "{reason}"),
            StartError::Transcoding(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                write!(f, "transcoding: {}", lines.join("; "))
            }
            StartError::Tls(problem) => write!(f, "TLS: {problem}"),
            StartError::Worker(number, reason) => write!(f, "worker {number} cannot start: {reason}"),
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Ports below it belong to programs with a capability, unless the host says otherwise.
const UNPRIVILEGED_PORTS: u16 = 1024;

/// Why an address cannot be listened on, and the remedy.
pub(super) fn bind_reason(address: EndpointAddress, error: &io::Error) -> String {
    let address = match address {
        EndpointAddress::Ip(address) => address,
        EndpointAddress::Unix(path) => return unix_reason(path, error),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {0} is taken by another process (ss -ltnp 'sport = :{0}' shows which; listeners.reuse_port = true \
             lets a new gateway take over from a running one)",
            address.port()
        ),
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
    use std::net::SocketAddr;

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
}
