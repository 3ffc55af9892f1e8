//! Transfers connections from the worker that accepts them to one that has fewer.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::listener::ListenerState;
use crate::net::Socket;
use crate::time::seldom::Seldom;
use crate::tls::ServerContext;
use crate::worker::core::Worker;
use crate::worker::shared_listener::{ListenerIdentity, SharedListener};
use crate::worker::transfer_queue::TransferredConnection;

/// Connections of all workers that were lost on their way.
static FAILURES: Seldom = Seldom::new();

/// A connection's count at the worker that serves it, until this is dropped.
pub(in crate::worker) struct ConnectionSlot {
    worker: Rc<Worker>,
    listener: Arc<ListenerIdentity>,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.worker.balance.leave(self.worker.number, &self.listener.load);
        self.worker.end_if_alone();
    }
}

/// A connection that another worker has transferred, and the listener that has brought it.
pub(in crate::worker) struct Transferred {
    pub(in crate::worker) listener: Arc<SharedListener>,
    pub(in crate::worker) tls: Option<Arc<ServerContext>>,
    pub(in crate::worker) slot: ConnectionSlot,
    pub(in crate::worker) accepted: (Socket, Option<SocketAddr>),
}

impl Worker {
    /// Chooses the worker for a connection that was accepted here. Gives the connection back if it is this one.
    pub(in crate::worker) fn assign(
        self: &Rc<Self>,
        at: &ListenerState,
        accepted: (Socket, Option<SocketAddr>),
    ) -> Option<(ConnectionSlot, Socket)> {
        let (socket, peer) = accepted;
        let (own, listener, max) = (self.number, at.identity(), at.settings().max_connections);
        let load = &listener.load;
        let counts = self.local.counts();
        let balances = at.settings().balance_connections && self.serves();
        let place = if balances {
            self.balance.place(own, load, max)
        } else {
            self.balance.enter(own, load, max).then_some(own)
        };
        match place {
            Some(number) if number == own => return Some((self.slot(listener), socket)),
            Some(number) => {
                let (socket, listener) = (socket.release(), Arc::clone(at.shared()));
                let transferred = TransferredConnection { socket, peer, listener, tls: at.tls() };
                match self.transfer(number, transferred, at.settings().backlog) {
                    Ok(()) => counts.connections_handed.add(1),
                    // Serving it here is better than not at all.
                    Err(transferred) if self.balance.enter(own, load, max) => {
                        return self.receive(transferred).map(|it| (it.slot, it.accepted.0));
                    }
                    Err(_) => counts.connections_refused.add(1),
                }
            }
            None => counts.connections_refused.add(1),
        }
        None
    }

    /// Transfers a connection that is counted at worker `number`. Gives it back if that worker cannot take it.
    fn transfer(
        &self,
        number: usize,
        transferred: TransferredConnection,
        max: u32,
    ) -> Result<(), TransferredConnection> {
        let (peer_worker, listener) = (&self.peers[number], Arc::clone(&transferred.listener));
        let result = peer_worker.control.queue().put(transferred, max);
        if result.is_err() {
            self.balance.leave(number, &listener.identity.load);
        }
        // The peer is notified even of a refused connection: a worker that drains may have waited for just this one.
        peer_worker.notify();
        result
    }

    /// The next connection that was transferred to this worker.
    pub(in crate::worker) fn take_transferred(self: &Rc<Self>) -> Option<Transferred> {
        loop {
            let transferred = self.control.queue().take()?;
            if let Some(received) = self.receive(transferred) {
                return Some(received);
            }
        }
    }

    /// Takes a transferred connection over into this loop.
    fn receive(self: &Rc<Self>, transferred: TransferredConnection) -> Option<Transferred> {
        let TransferredConnection { socket, peer, listener, tls } = transferred;
        let slot = self.slot(&listener.identity);
        match Socket::take_over(socket) {
            Ok(socket) => Some(Transferred { listener, tls, slot, accepted: (socket, peer) }),
            Err(error) => {
                self.local.counts().accept_errors.add(1);
                if let Some(more) = FAILURES.pass(self.clock.now()) {
                    tracing::warn!(%error, more, "cannot serve a connection that another worker has accepted");
                }
                None
            }
        }
    }

    fn slot(self: &Rc<Self>, listener: &Arc<ListenerIdentity>) -> ConnectionSlot {
        ConnectionSlot { worker: Rc::clone(self), listener: Arc::clone(listener) }
    }
}
