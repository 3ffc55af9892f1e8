//! A listener of a worker.

use std::rc::Rc;

use crate::config;
use crate::net::listener::Listener;
use crate::worker::call::cors;

/// A listener of a worker: its socket, and what the operator set.
pub(in crate::worker) struct ListenerState {
    pub(in crate::worker) number: usize,
    pub(in crate::worker) settings: config::Listener,
    /// The listener's CORS policy, if it has one.
    pub(in crate::worker) cors: Option<cors::Policy>,
    pub(in crate::worker) socket: Listener,
}

impl ListenerState {
    pub(in crate::worker) fn new(
        number: usize,
        settings: config::Listener,
        socket: Listener,
    ) -> Rc<ListenerState> {
        let cors = cors::Policy::new(&settings.cors);
        Rc::new(ListenerState { number, settings, cors, socket })
    }
}
