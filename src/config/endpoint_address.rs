//! Addresses of endpoints and listeners: an IP address and a port, or the path of a Unix socket.
//!
//! Workers hand an address on with each call, and records of calls hold it as plain words. So it is a value to copy, and
//! each path is kept once, under a number, until the process ends. Paths come from configurations alone, so they are few.
#![allow(
    clippy::disallowed_types,
    reason = "control plane: paths are numbered while a configuration is read"
)]

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// All paths so far, at the positions of their numbers.
static PATHS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// The address that an endpoint or a listener listens on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// A TCP socket.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(UnixPath),
}

/// The path of a Unix socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixPath {
    text: &'static str,
    number: u32,
}

impl UnixPath {
    /// The longest path that the kernel takes, in bytes: `sun_path` has room for that many and a zero.
    pub const MAX: usize = 107;

    /// The path that this text is.
    pub fn new(text: &str) -> UnixPath {
        let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = paths.iter().position(|path| *path == text);
        let at = known.unwrap_or_else(|| {
            paths.push(String::leak(text.to_owned()));
            paths.len() - 1
        });
        UnixPath { text: paths[at], number: u32::try_from(at).expect("a file names fewer paths") }
    }

    /// The path of that number. `None` if no path has it.
    pub fn numbered(number: u32) -> Option<UnixPath> {
        let paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
        let text = *paths.get(usize::try_from(number).ok()?)?;
        Some(UnixPath { text, number })
    }

    /// The number under which it is kept.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The path, for the file system.
    pub fn path(self) -> &'static Path {
        Path::new(self.text)
    }
}

impl EndpointAddress {
    /// The address of a TCP socket; `None` if it is a Unix socket's.
    pub fn tcp(self) -> Option<SocketAddr> {
        match self {
            EndpointAddress::Ip(address) => Some(address),
            EndpointAddress::Unix(_) => None,
        }
    }

    /// The port of a TCP socket; 0 if it is a Unix socket, which has none.
    pub fn port(self) -> u16 {
        self.tcp().map_or(0, |address| address.port())
    }
}

impl From<SocketAddr> for EndpointAddress {
    fn from(address: SocketAddr) -> EndpointAddress {
        EndpointAddress::Ip(address)
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Ip(address) => address.fmt(f),
            EndpointAddress::Unix(path) => path.fmt(f),
        }
    }
}

impl fmt::Debug for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.text)
    }
}

impl fmt::Debug for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_once_and_found_by_its_number() {
        let [one, other] = ["/run/one.sock", "/run/other.sock"].map(UnixPath::new);
        assert_eq!(one, UnixPath::new("/run/one.sock"));
        assert_ne!(one.number(), other.number());
        for path in [one, other] {
            assert_eq!(UnixPath::numbered(path.number()), Some(path));
        }
        assert_eq!(UnixPath::numbered(u32::MAX), None);
    }

    #[test]
    fn an_address_reads_as_it_is_configured() {
        let ip: SocketAddr = "[::1]:7".parse().expect("an address");
        assert_eq!(EndpointAddress::from(ip).to_string(), "[::1]:7");
        let unix = EndpointAddress::Unix(UnixPath::new("/run/echo.sock"));
        assert_eq!(format!("{unix} {unix:?}"), "unix:///run/echo.sock unix:///run/echo.sock");
    }
}
