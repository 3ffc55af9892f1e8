//! Connections that one worker accepts and another one serves, because it has fewer.
#![allow(
    clippy::disallowed_types,
    reason = "locked by a worker that hands a connection over, and by the other when its bell rings; never by a call"
)]

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Worker;
use super::accept::Door;
use super::control::{Control, Wanted};
use crate::net::Socket;
use crate::net::socket::Unowned;
use crate::time::seldom::Seldom;

/// Connections that were lost on their way here, of all workers.
static FAILURES: Seldom = Seldom::new();

/// A connection on its way to another worker. It is counted in there already.
pub(super) struct Handed {
    socket: Unowned,
    peer: SocketAddr,
    /// The number of the listener.
    listener: usize,
}

/// Connections that were handed to a worker and wait for it.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    waiting: VecDeque<Handed>,
    /// The worker has ended, or is about to.
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes back with the connection if `max` wait, or if the worker takes none any more.
    fn put(&self, handed: Handed, max: u32) -> Result<(), Handed> {
        let mut shelf = self.lock();
        if shelf.closed || max as usize <= shelf.waiting.len() {
            return Err(handed);
        }
        shelf.waiting.push_back(handed);
        Ok(())
    }

    fn take(&self) -> Option<Handed> {
        self.lock().waiting.pop_front()
    }

    /// Takes no more from now on, unless a connection waits still.
    fn close_if_empty(&self) -> bool {
        let mut shelf = self.lock();
        shelf.closed |= shelf.waiting.is_empty();
        shelf.closed
    }

    /// Takes no more, and closes what waits.
    pub(super) fn close(&self) {
        let mut shelf = self.lock();
        shelf.closed = true;
        shelf.waiting.clear();
    }
}

/// A worker as the others reach it.
pub struct Neighbour {
    control: Arc<Control>,
    bell: UnixStream,
}

impl Neighbour {
    /// `bell` must not block whoever rings it.
    pub fn new(control: Arc<Control>, bell: UnixStream) -> Neighbour {
        Neighbour { control, bell }
    }

    fn ring(&self) {
        // One that is full of rings will be heard.
        let _ = (&self.bell).write_all(&[1]);
    }
}

impl fmt::Debug for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neighbour").field("control", &self.control).finish_non_exhaustive()
    }
}

/// A connection that is counted in at the worker that serves it, until this is dropped.
pub(super) struct Inside {
    worker: Rc<Worker>,
    listener: usize,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.worker.spread.leave(self.worker.number, self.listener);
        self.worker.end_if_alone();
    }
}

impl Worker {
    /// Finds who serves a connection that was accepted here. Comes back with it if that is this worker.
    pub(super) fn place(
        self: &Rc<Self>,
        door: &Door,
        accepted: (Socket, SocketAddr),
    ) -> Option<(Inside, Socket)> {
        let (socket, peer) = accepted;
        let (own, listener, max) = (self.number, door.number, door.settings.max_connections);
        let counts = self.local.counts();
        let balances = door.settings.balance_connections && self.serves();
        let place = if balances {
            self.spread.place(own, listener, max)
        } else {
            self.spread.enter(own, listener, max).then_some(own)
        };
        match place {
            Some(number) if number == own => return Some((self.inside(listener), socket)),
            Some(number) => {
                let handed = Handed { socket: socket.release(), peer, listener };
                match self.hand(number, handed, door.settings.backlog) {
                    Ok(()) => counts.connections_handed.add(1),
                    // Better served here than not at all.
                    Err(handed) if self.spread.enter(own, listener, max) => {
                        return self.adopt(handed).map(|(inside, socket, _)| (inside, socket));
                    }
                    Err(_) => counts.connections_refused.add(1),
                }
            }
            None => counts.connections_refused.add(1),
        }
        None
    }

    /// Hands a connection over that is counted in at worker `number`; comes back with it if that one cannot take it.
    fn hand(&self, number: usize, handed: Handed, max: u32) -> Result<(), Handed> {
        let (neighbour, listener) = (&self.neighbours[number], handed.listener);
        let result = neighbour.control.inbox().put(handed, max);
        if result.is_err() {
            self.spread.leave(number, listener);
        }
        // Rung for one it did not take, too: if it drains, it may have waited for just this one.
        neighbour.ring();
        result
    }

    /// The next connection that was handed to this worker: the number of its listener, and what is known of it.
    pub(super) fn take_handed(self: &Rc<Self>) -> Option<(usize, Inside, (Socket, SocketAddr))> {
        loop {
            let handed = self.control.inbox().take()?;
            let listener = handed.listener;
            if let Some((inside, socket, peer)) = self.adopt(handed) {
                return Some((listener, inside, (socket, peer)));
            }
        }
    }

    /// Makes a connection this loop's own that is counted in here.
    fn adopt(self: &Rc<Self>, handed: Handed) -> Option<(Inside, Socket, SocketAddr)> {
        let inside = self.inside(handed.listener);
        match Socket::take_over(handed.socket) {
            Ok(socket) => Some((inside, socket, handed.peer)),
            Err(error) => {
                self.local.counts().accept_errors.add(1);
                if let Some(more) = FAILURES.pass(self.clock.now()) {
                    tracing::warn!(%error, more, "cannot serve a connection that another worker has accepted");
                }
                None
            }
        }
    }

    fn inside(self: &Rc<Self>, listener: usize) -> Inside {
        Inside { worker: Rc::clone(self), listener }
    }

    /// Ends this worker, if it is to end and no connection is left: none here, and none on the way, be it from another
    /// worker or from an accept that has not come back yet.
    pub(super) fn end_if_alone(&self) {
        let alone = || {
            self.accepting.get() == 0
                && self.spread.connections(self.number) == 0
                && self.control.inbox().close_if_empty()
        };
        if self.control.wanted() != Wanted::Serve && alone() {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use super::*;

    /// A connection to be handed over, and the client's end of it.
    fn connection() -> (Handed, UnixStream) {
        let (socket, client) = UnixStream::pair().unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        (Handed { socket: OwnedFd::from(socket).into(), peer, listener: 0 }, client)
    }

    #[test]
    fn an_inbox_has_a_bound_and_an_order() {
        let inbox = Inbox::default();
        let sent = [0, 1, 2].map(|listener| Handed { listener, ..connection().0 });
        let results = sent.map(|handed| inbox.put(handed, 2).map_err(|handed| handed.listener));
        assert_eq!(results, [Ok(()), Ok(()), Err(2)]);
        let taken = [(); 3].map(|()| inbox.take().map(|handed| handed.listener));
        assert_eq!(taken, [Some(0), Some(1), None]);
    }

    #[test]
    fn a_worker_that_ends_leaves_nobody_waiting() {
        let inbox = Inbox::default();
        let (handed, mut client) = connection();
        assert!(inbox.put(handed, 9).is_ok());
        assert!(!inbox.close_if_empty(), "one is on the way");
        // What comes as long as it has not ended is taken; and closed, if it never looks again.
        assert!(inbox.put(connection().0, 9).is_ok());
        inbox.close();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert!(inbox.put(connection().0, 9).is_err() && inbox.take().is_none());
        assert!(Inbox::default().close_if_empty());
    }
}
