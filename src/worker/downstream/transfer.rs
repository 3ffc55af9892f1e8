//! Transfers connections from the worker that accepts them to one that has fewer.

use std::net::SocketAddr;
use std::rc::Rc;

use super::listener::ListenerState;
use crate::net::Socket;
use crate::time::seldom::Seldom;
use crate::worker::core::Worker;
use crate::worker::transfer_queue::TransferredConnection;

/// Connections of all workers that were lost on their way.
static FAILURES: Seldom = Seldom::new();

/// A connection's count at the worker that serves it, until this is dropped.
pub(in crate::worker) struct ConnectionSlot {
    worker: Rc<Worker>,
    listener: usize,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.worker.balance.leave(self.worker.number, self.listener);
        self.worker.end_if_alone();
    }
}

impl Worker {
    /// Chooses the worker for a connection that was accepted here. Gives the connection back if it is this one.
    pub(in crate::worker) fn assign(
        self: &Rc<Self>,
        at: &ListenerState,
        accepted: (Socket, SocketAddr),
    ) -> Option<(ConnectionSlot, Socket)> {
        let (socket, peer) = accepted;
        let (own, listener, max) = (self.number, at.number, at.settings.max_connections);
        let counts = self.local.counts();
        let balances = at.settings.balance_connections && self.serves();
        let place = if balances {
            self.balance.place(own, listener, max)
        } else {
            self.balance.enter(own, listener, max).then_some(own)
        };
        match place {
            Some(number) if number == own => return Some((self.slot(listener), socket)),
            Some(number) => {
                let transferred = TransferredConnection { socket: socket.release(), peer, listener };
                match self.transfer(number, transferred, at.settings.backlog) {
                    Ok(()) => counts.connections_handed.add(1),
                    // Serving it here is better than not at all.
                    Err(transferred) if self.balance.enter(own, listener, max) => {
                        return self.receive(transferred).map(|(slot, socket, _)| (slot, socket));
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
        let (peer_worker, listener) = (&self.peers[number], transferred.listener);
        let result = peer_worker.control.queue().put(transferred, max);
        if result.is_err() {
            self.balance.leave(number, listener);
        }
        // The peer is notified even of a refused connection: a worker that drains may have waited for just this one.
        peer_worker.notify();
        result
    }

    /// The next connection that was transferred to this worker: its listener's number, its count, and the socket.
    pub(in crate::worker) fn take_transferred(
        self: &Rc<Self>,
    ) -> Option<(usize, ConnectionSlot, (Socket, SocketAddr))> {
        loop {
            let transferred = self.control.queue().take()?;
            let listener = transferred.listener;
            if let Some((slot, socket, peer)) = self.receive(transferred) {
                return Some((listener, slot, (socket, peer)));
            }
        }
    }

    /// Takes a transferred connection over into this loop.
    fn receive(
        self: &Rc<Self>,
        transferred: TransferredConnection,
    ) -> Option<(ConnectionSlot, Socket, SocketAddr)> {
        let slot = self.slot(transferred.listener);
        match Socket::take_over(transferred.socket) {
            Ok(socket) => Some((slot, socket, transferred.peer)),
            Err(error) => {
                self.local.counts().accept_errors.add(1);
                if let Some(more) = FAILURES.pass(self.clock.now()) {
                    tracing::warn!(%error, more, "cannot serve a connection that another worker has accepted");
                }
                None
            }
        }
    }

    fn slot(self: &Rc<Self>, listener: usize) -> ConnectionSlot {
        ConnectionSlot { worker: Rc::clone(self), listener }
    }
}
