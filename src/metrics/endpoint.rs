//! Values of each endpoint, as one core sees it: the cores publish them for people to look at.
//!
//! A core publishes them at its tick, all of an endpoint at once, so no call pays for it. A reader's values are up to a
//! tick old. The endpoints of a cluster may change while it runs, so each slot names its endpoint.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::address;

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
}

impl EndpointState {
    /// All of them, each at the position of its number.
    pub const ALL: [EndpointState; 4] = [Self::Idle, Self::Connecting, Self::Connected, Self::Backoff];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Backoff => "backoff",
        }
    }
}

/// The values of an endpoint, as one core sees it at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// The endpoint's address.
    pub address: SocketAddr,
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
}

/// Room for one endpoint. One core writes, anybody may read.
#[derive(Debug, Default)]
pub struct EndpointSlot {
    /// Port and family; zero while the slot has no endpoint.
    tag: AtomicU64,
    address: [AtomicU64; 2],
    figures: [AtomicU64; FIGURES],
}

const FIGURES: usize = 6;

impl EndpointSlot {
    /// Publishes the present values. Only the owning core may call this.
    pub fn publish(&self, view: &EndpointView) {
        let [tag, words @ ..] = address::pack(view.address);
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
        let address = address::unpack([tag, high, low])?;
        let [state, connections, calls_active, calls, connect_failures, retry_ms] =
            std::array::from_fn(|at| self.figures[at].load(Relaxed));
        Some(EndpointView {
            address,
            state: *EndpointState::ALL.get(usize::try_from(state).ok()?)?,
            connections,
            calls_active,
            calls,
            connect_failures,
            retry_in: Duration::from_millis(retry_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(address: &str, calls: u64) -> EndpointView {
        EndpointView {
            address: address.parse().unwrap(),
            state: EndpointState::Backoff,
            connections: 2,
            calls_active: 3,
            calls,
            connect_failures: 5,
            retry_in: Duration::from_millis(70),
        }
    }

    #[test]
    fn what_is_published_is_read() {
        let slot = EndpointSlot::default();
        assert_eq!(slot.read(), None);
        for view in [view("10.0.0.7:50051", 4), view("[2001:db8::1]:0", 1), view("0.0.0.0:65535", 0)] {
            slot.publish(&view);
            assert_eq!(slot.read(), Some(view));
        }
        slot.clear();
        assert_eq!(slot.read(), None);
    }

    #[test]
    fn every_state_has_its_number() {
        for (number, state) in EndpointState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
        }
    }
}
