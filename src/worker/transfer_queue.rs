//! Connections on their way from the worker that accepted them to the one that serves them.
#![allow(
    clippy::disallowed_types,
    reason = "locked by a worker that hands a connection over, and by the other when it is notified; never by a call"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::shared_listener::SharedListener;
use crate::net::socket::Unowned;
use crate::tls::ServerContext;

/// A connection on its way to another worker, which counts it already.
pub(super) struct TransferredConnection {
    pub(super) socket: Unowned,
    /// `None` if it came by a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    /// The listener that has brought it, which the other worker may not have yet, or no longer.
    pub(super) listener: Arc<SharedListener>,
    pub(super) tls: Option<Arc<ServerContext>>,
}

/// Connections that were transferred to a worker and wait for it.
#[derive(Default)]
pub(super) struct TransferQueue(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<TransferredConnection>,
    /// The worker has ended, or is about to.
    closed: bool,
}

impl TransferQueue {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock()
    }

    /// Adds a connection. Gives it back if `max` wait, or if the worker takes none any more.
    pub(super) fn put(
        &self,
        connection: TransferredConnection,
        max: u32,
    ) -> Result<(), TransferredConnection> {
        let mut queue = self.lock();
        if queue.closed || max as usize <= queue.waiting.len() {
            return Err(connection);
        }
        queue.waiting.push_back(connection);
        Ok(())
    }

    pub(super) fn take(&self) -> Option<TransferredConnection> {
        self.lock().waiting.pop_front()
    }

    /// Closes the queue, unless a connection still waits.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut queue = self.lock();
        queue.closed |= queue.waiting.is_empty();
        queue.closed
    }

    /// Closes the queue, and the connections that wait in it.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use super::*;
    use crate::worker::shared_listener::ListenerIdentity;

    /// A connection to be transferred, from this port of the client, and the client's end of it.
    fn connection(port: u16) -> (TransferredConnection, UnixStream) {
        const CONFIG: &str = "[[listeners]]\naddress = \"127.0.0.1:1\"\n[[routes]]\ncluster = \"c\"\n\
                              [[clusters]]\nname = \"c\"\nendpoints = [\"127.0.0.1:2\"]\n";
        let settings = crate::config::parse(CONFIG, Path::new("c.toml")).unwrap().listeners.remove(0);
        let listener = Arc::new(SharedListener { settings, identity: ListenerIdentity::new(1) });
        let (socket, client) = UnixStream::pair().unwrap();
        let (socket, peer) = (OwnedFd::from(socket).into(), Some(SocketAddr::from(([127, 0, 0, 1], port))));
        (TransferredConnection { socket, peer, listener, tls: None }, client)
    }

    #[test]
    fn a_queue_has_a_bound_and_an_order() {
        let queue = TransferQueue::default();
        let sent = [0, 1, 2].map(|port| connection(port).0);
        let port = |transferred: TransferredConnection| transferred.peer.expect("an address").port();
        let results = sent.map(|transferred| queue.put(transferred, 2).map_err(port));
        assert_eq!(results, [Ok(()), Ok(()), Err(2)]);
        let taken = [(); 3].map(|()| queue.take().map(port));
        assert_eq!(taken, [Some(0), Some(1), None]);
    }

    #[test]
    fn a_worker_that_ends_leaves_nobody_waiting() {
        let queue = TransferQueue::default();
        let (transferred, mut client) = connection(1);
        assert!(queue.put(transferred, 9).is_ok());
        assert!(!queue.close_if_empty(), "one is on the way");
        // A worker that has not ended takes connections; the queue closes those that it never looks at.
        assert!(queue.put(connection(2).0, 9).is_ok());
        queue.close();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert!(queue.put(connection(3).0, 9).is_err() && queue.take().is_none());
        assert!(TransferQueue::default().close_if_empty());
    }
}
