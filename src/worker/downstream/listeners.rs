//! The listeners of a worker: opened, changed and closed as configurations come.

use std::io;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::accept;
use super::listener::{ListenerState, OpenListener};
use super::transfer::Transferred;
use crate::net::ring::IoBackend;
use crate::net::runtime;
use crate::tls::Contexts;
use crate::worker::config::ConfigSnapshot;
use crate::worker::core::Worker;
use crate::worker::shared_listener::{ListenerIdentity, NewSocket};

/// Accepts of one listener that are pending at once, so that a burst of connections comes in one turn. With epoll there
/// is one, which takes the connections one after the other.
const ACCEPTS: usize = 4;

/// The listeners of a worker.
pub(in crate::worker) struct Listeners {
    open: Vec<Rc<OpenListener>>,
    backend: IoBackend,
}

impl Listeners {
    /// None so far.
    pub(in crate::worker) fn new(backend: IoBackend) -> Listeners {
        Listeners { open: Vec::new(), backend }
    }

    /// Takes over the listeners of a configuration. `sockets` are those of listeners that are new. A listener that stays
    /// keeps its socket, and one that is gone serves the connections that it has, and those that wait to be accepted.
    /// Gives the first error of a socket; all else is done nevertheless.
    pub(in crate::worker) fn apply(
        &mut self,
        worker: &Rc<Worker>,
        snapshot: &ConfigSnapshot,
        mut sockets: Vec<NewSocket>,
    ) -> io::Result<()> {
        let mut before = mem::take(&mut self.open);
        let mut result = Ok(());
        for (number, shared) in snapshot.listeners.iter().enumerate() {
            let tls = snapshot.tls.listener(number).map(Arc::clone);
            if let Some(at) = before.iter().position(|known| known.is(&shared.identity)) {
                let known = before.swap_remove(at);
                known.change(shared, number, tls);
                self.open.push(known);
                continue;
            }
            let is_its = |socket: &NewSocket| Arc::ptr_eq(socket.counted.identity(), &shared.identity);
            // It has none where the worker could not take it over.
            let Some(at) = sockets.iter().position(is_its) else { continue };
            let state = ListenerState::new(shared, tls);
            match OpenListener::new(sockets.swap_remove(at), number, state, self.backend) {
                Ok(listener) => self.begin(worker, listener),
                Err(error) => result = result.and(Err(error)),
            }
        }
        for listener in before {
            remove(worker, &listener, snapshot.config.drain_timeout);
        }
        result
    }

    /// Accepts by a listener from now on.
    fn begin(&mut self, worker: &Rc<Worker>, listener: Rc<OpenListener>) {
        let accepts = if self.backend == IoBackend::Epoll { 1 } else { ACCEPTS };
        for _ in 0..accepts {
            worker.spawn(accept::run(Rc::clone(worker), Rc::clone(&listener)));
        }
        self.open.push(listener);
    }

    /// Takes over other certificates for new connections.
    pub(in crate::worker) fn renew_tls(&self, tls: &Contexts) {
        for listener in &self.open {
            listener.renew_tls(tls.listener(listener.number()).map(Arc::clone));
        }
    }

    /// The listener of a transferred connection. This worker may not have it yet, or no longer.
    pub(in crate::worker) fn of(&self, transferred: &Transferred) -> Rc<ListenerState> {
        let states = self.open.iter().map(|listener| listener.state());
        let mut known = states.filter(|state| Arc::ptr_eq(state.shared(), &transferred.listener));
        known.next().unwrap_or_else(|| ListenerState::new(&transferred.listener, transferred.tls.clone()))
    }

    /// Ends all pending accepts and refuses new connections.
    pub(in crate::worker) fn stop(&self) {
        self.open.iter().for_each(|listener| listener.stop());
    }
}

/// Closes a listener. Its clients are told to open no more calls; what still runs at `drain_timeout` is cut.
fn remove(worker: &Rc<Worker>, listener: &OpenListener, drain_timeout: Duration) {
    accept::take_waiting(worker, listener);
    listener.stop();
    let identity = Arc::clone(listener.identity());
    clients_of(worker, &identity, |client| client.drain());
    let ending = Rc::clone(worker);
    worker.spawn(async move {
        runtime::sleep(drain_timeout).await;
        clients_of(&ending, &identity, |client| client.cut());
        ending.wake_calls();
    });
}

fn clients_of(worker: &Worker, identity: &Arc<ListenerIdentity>, each: impl Fn(&super::client::Client)) {
    let clients = worker.clients();
    clients.iter().filter(|client| Arc::ptr_eq(client.came_by(), identity)).for_each(|client| each(client));
}
