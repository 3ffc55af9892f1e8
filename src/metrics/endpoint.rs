//! Values of each endpoint, as one core sees it: the cores publish them for people to look at.
//!
//! A core publishes them at its tick, all of an endpoint at once, so no call pays for it. A reader's values are up to a
//! tick old. The endpoints of a cluster may change while it runs, so each slot names its endpoint.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::address;
use crate::config::EndpointAddress;
use crate::time::Moment;

/// The state of an endpoint, as one core sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EndpointState {
    /// No connection, and none was asked for.
    Idle = 0,
    /// The first connection is being made.
    Connecting = 1,
    /// There is a connection that takes calls.
    Connected = 2,
    /// The last connect failed; the next one waits.
    Backoff = 3,
    /// The last connect failed; the next call begins another one.
    Failed = 4,
}

impl EndpointState {
    /// All of them, each at the position of its number.
    pub const ALL: [EndpointState; 5] =
        [Self::Idle, Self::Connecting, Self::Connected, Self::Backoff, Self::Failed];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
        }
    }
}

/// Why a connect came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ConnectError {
    /// Nothing listens there.
    Refused = 1,
    /// `connect_timeout` passed before the service sent a byte.
    TimedOut = 2,
    /// The host or its network cannot be reached.
    Unreachable = 3,
    /// The service ended the connection before it sent a byte.
    Closed = 4,
    /// The service answered in TLS, and plaintext is configured.
    AnsweredTls = 5,
    /// The service answered in HTTP/1.
    AnsweredHttp1 = 6,
    /// The service answered something else that is no HTTP/2.
    NotHttp2 = 7,
    /// The handshake of TLS failed.
    TlsFailed = 8,
    /// The system refused it for another reason.
    Other = 9,
    /// The socket's file, or its folder, is not for this user.
    Denied = 10,
}

impl ConnectError {
    /// All of them, by their numbers from 1.
    pub const ALL: [ConnectError; 10] = [
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Closed,
        Self::AnsweredTls,
        Self::AnsweredHttp1,
        Self::NotHttp2,
        Self::TlsFailed,
        Self::Other,
        Self::Denied,
    ];

    /// The reason in a few words, and what to do about it where that is known.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused: nothing listens there",
            Self::TimedOut => "timed out: no answer within connect_timeout",
            Self::Unreachable => "unreachable: there is no way to the host",
            Self::Closed => "closed before it answered",
            Self::AnsweredTls => "it answered in TLS: set [clusters.tls]",
            Self::AnsweredHttp1 => "it answered in HTTP/1: the service has to speak HTTP/2",
            Self::NotHttp2 => "what it answered is no HTTP/2",
            Self::TlsFailed => "the TLS handshake failed",
            Self::Other => "the system refused the connect",
            Self::Denied => "permission denied: this user may not write to the socket's file",
        }
    }

    /// The error of a connect that the system refused.
    pub fn of_system(error: &io::Error) -> ConnectError {
        match error.kind() {
            // A Unix socket whose file is not there is one on which nobody listens yet.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Closed,
            _ => Self::Other,
        }
    }

    /// The error that the first bytes of a service tell, where a connection came to nothing.
    pub fn of_first_bytes(bytes: &[u8]) -> ConnectError {
        match bytes {
            [] => Self::Closed,
            // An alert, or a handshake, of any version of TLS.
            [0x15 | 0x16, 3, ..] => Self::AnsweredTls,
            _ if bytes.starts_with(b"HTTP/1.") => Self::AnsweredHttp1,
            _ => Self::NotHttp2,
        }
    }
}

/// The values of an endpoint, as one core sees it at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// The endpoint's address.
    pub address: EndpointAddress,
    /// The state of the endpoint.
    pub state: EndpointState,
    /// Connections that are open.
    pub connections: u64,
    /// Calls in flight.
    pub calls_active: u64,
    /// Calls sent so far.
    pub calls: u64,
    /// Connects that failed so far.
    pub connect_failures: u64,
    /// The time until the next connect may begin.
    pub retry_in: Duration,
    /// Why the last connect that failed did, and when.
    pub last_error: Option<(ConnectError, Moment)>,
}

/// Room for one endpoint. One core writes, anybody may read.
#[derive(Debug, Default)]
pub struct EndpointSlot {
    /// Port and family; zero while the slot has no endpoint.
    tag: AtomicU64,
    address: [AtomicU64; 2],
    figures: [AtomicU64; FIGURES],
}

const FIGURES: usize = 8;

impl EndpointSlot {
    /// Publishes the present values. Only the owning core may call this.
    pub fn publish(&self, view: &EndpointView) {
        let [tag, words @ ..] = address::pack_endpoint(view.address);
        let same = self.tag.load(Relaxed) == tag
            && self.address.iter().zip(words).all(|(word, new)| word.load(Relaxed) == new);
        if !same {
            // The slot has no endpoint while it holds parts of both addresses.
            self.tag.store(0, Release);
            for (word, new) in self.address.iter().zip(words) {
                word.store(new, Release);
            }
        }
        let retry_ms = u64::try_from(view.retry_in.as_millis()).unwrap_or(u64::MAX);
        let figures = [
            view.state as u64,
            view.connections,
            view.calls_active,
            view.calls,
            view.connect_failures,
            retry_ms,
            view.last_error.map_or(0, |(error, _)| error as u64),
            view.last_error.map_or(0, |(_, at)| at.as_nanos()),
        ];
        for (figure, new) in self.figures.iter().zip(figures) {
            figure.store(new, Relaxed);
        }
        self.tag.store(tag, Release);
    }

    /// Empties the slot. Only the owning core may call this.
    pub fn clear(&self) {
        self.tag.store(0, Release);
    }

    /// The values published last; `None` for an empty slot.
    pub fn read(&self) -> Option<EndpointView> {
        let tag = self.tag.load(Acquire);
        let [high, low] = [0, 1].map(|at| self.address[at].load(Acquire));
        let address = address::unpack_endpoint([tag, high, low])?;
        let [state, connections, calls_active, calls, connect_failures, retry_ms, error, failed_at] =
            std::array::from_fn(|at| self.figures[at].load(Relaxed));
        let error = usize::try_from(error).ok()?.checked_sub(1).and_then(|at| ConnectError::ALL.get(at));
        Some(EndpointView {
            address,
            state: *EndpointState::ALL.get(usize::try_from(state).ok()?)?,
            connections,
            calls_active,
            calls,
            connect_failures,
            retry_in: Duration::from_millis(retry_ms),
            last_error: error.map(|error| (*error, Moment::from_nanos(failed_at))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UnixPath;

    fn view(address: EndpointAddress, calls: u64) -> EndpointView {
        EndpointView {
            address,
            state: EndpointState::Backoff,
            connections: 2,
            calls_active: 3,
            calls,
            connect_failures: 5,
            retry_in: Duration::from_millis(70),
            last_error: Some((ConnectError::AnsweredTls, Moment::from_nanos(9))),
        }
    }

    #[test]
    fn what_is_published_is_read() {
        let slot = EndpointSlot::default();
        assert_eq!(slot.read(), None);
        let ip = |text: &str| EndpointAddress::Ip(text.parse().expect(text));
        let unix = |path: &str| EndpointAddress::Unix(UnixPath::new(path));
        let addresses = [
            ip("10.0.0.7:50051"),
            ip("[2001:db8::1]:0"),
            unix("/run/published.sock"),
            ip("0.0.0.0:65535"),
            unix("/run/another.sock"),
        ];
        for (calls, address) in (0..).zip(addresses) {
            let view = view(address, calls);
            slot.publish(&view);
            assert_eq!(slot.read(), Some(view));
        }
        slot.clear();
        assert_eq!(slot.read(), None);
    }

    #[test]
    fn the_first_bytes_tell_what_answered() {
        for (number, error) in (1..).zip(ConnectError::ALL) {
            assert_eq!(error as u64, number);
        }
        for (bytes, wanted) in [
            (&b""[..], ConnectError::Closed),
            (b"\x15\x03\x01\0\x02\x02\x16", ConnectError::AnsweredTls),
            (b"HTTP/1.1 400 Bad Request\r\n", ConnectError::AnsweredHttp1),
            (b"SSH-2.0-x\r\n", ConnectError::NotHttp2),
        ] {
            assert_eq!(ConnectError::of_first_bytes(bytes), wanted);
        }
    }

    #[test]
    fn every_state_has_its_number() {
        for (number, state) in EndpointState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
        }
    }
}
