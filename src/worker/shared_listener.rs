//! A listener, as supervisor and workers share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::config;
use crate::net::listener::Bound;
use crate::policy::address_counts::AddressCounts;
use crate::policy::connection_balance::ListenerLoad;

/// A listener by one configuration: its settings, and the identity that it keeps over reloads.
#[derive(Debug)]
pub struct SharedListener {
    /// The operator's settings.
    pub settings: config::Listener,
    /// Its identity, which other settings do not change.
    pub identity: Arc<ListenerIdentity>,
}

/// The identity of a listener: it stays for as long as the address does.
#[derive(Debug)]
pub struct ListenerIdentity {
    /// The connections that each worker has by it.
    pub load: ListenerLoad,
    /// Sockets of workers that are not closed.
    sockets: AtomicU32,
    is_removed: AtomicBool,
    /// Connections of each client address, and of them those that have not said yet what they speak.
    pub(super) connections: Arc<AddressCounts>,
    pub(super) handshakes: Arc<AddressCounts>,
}

impl ListenerIdentity {
    /// A listener of so many workers, without sockets and connections.
    pub fn new(workers: usize) -> Arc<ListenerIdentity> {
        let (sockets, is_removed, connections, handshakes) = Default::default();
        let load = ListenerLoad::new(workers);
        Arc::new(ListenerIdentity { load, sockets, is_removed, connections, handshakes })
    }

    /// Marks it as removed: connections that it still brings are drained.
    pub fn remove(&self) {
        self.is_removed.store(true, Ordering::Release);
    }

    /// Whether a reload has removed it.
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    /// Sockets of workers that are not closed.
    pub fn sockets(&self) -> u32 {
        self.sockets.load(Ordering::Acquire)
    }
}

/// A socket of a listener, counted until this is dropped.
#[derive(Debug)]
pub(super) struct CountedSocket(Arc<ListenerIdentity>);

impl CountedSocket {
    fn new(identity: &Arc<ListenerIdentity>) -> CountedSocket {
        identity.sockets.fetch_add(1, Ordering::AcqRel);
        CountedSocket(Arc::clone(identity))
    }

    /// The listener of the socket.
    pub(super) fn identity(&self) -> &Arc<ListenerIdentity> {
        &self.0
    }
}

impl Drop for CountedSocket {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A bound socket of a listener, on its way to the worker that will own it.
#[derive(Debug)]
pub struct NewSocket {
    /// Closed before it is not counted any more.
    pub(super) bound: Bound,
    pub(super) counted: CountedSocket,
}

impl NewSocket {
    /// A socket of this listener.
    pub fn new(bound: impl Into<Bound>, identity: &Arc<ListenerIdentity>) -> NewSocket {
        NewSocket { bound: bound.into(), counted: CountedSocket::new(identity) }
    }
}
