//! Accepts connections, several at a time, until the listener is stopped. Who serves them is decided in `handing.rs`.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use super::calls::Calls;
use super::channel::Channel;
use super::client::{self, Client};
use super::cors;
use super::head::Arrival;
use super::inlet::Inlet;
use crate::config;
use crate::net::listener::Listener;
use crate::net::runtime;
use crate::time::seldom::Seldom;

/// The wait after an accept that failed for want of descriptors or memory: trying at once would fail again.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts that failed, of all workers: they fail for a while, many times a second.
static FAILURES: Seldom = Seldom::new();

/// The function that makes the future of one call.
pub(super) type Begin<F> = fn(Rc<Worker>, Rc<Client>, Arrival, Inlet, Channel) -> F;

/// One listener of a worker: its socket, and what the operator set.
pub(super) struct Door {
    pub(super) number: usize,
    pub(super) settings: config::Listener,
    /// What pages of other origins may do here.
    pub(super) cors: Option<cors::Policy>,
    pub(super) listener: Listener,
}

impl Door {
    pub(super) fn new(number: usize, settings: config::Listener, listener: Listener) -> Rc<Door> {
        let cors = cors::Policy::new(&settings.cors);
        Rc::new(Door { number, settings, cors, listener })
    }
}

/// Accepts and serves until the listener is stopped. An accept is always awaited to its end: one that is dropped may
/// take a connection with it.
pub(super) async fn run<F: Future<Output = ()> + 'static>(
    worker: Rc<Worker>,
    door: Rc<Door>,
    calls: Rc<Calls<F>>,
    begin: Begin<F>,
) {
    let _accepting = Accepting::begin(&worker);
    loop {
        let accepted = door.listener.accept().await;
        worker.local.touch();
        let counts = worker.local.counts();
        match accepted {
            Ok((socket, peer)) => {
                let Some((inside, socket)) = worker.place(&door, (socket, peer)) else { continue };
                let (door, calls) = (Rc::clone(&door), Rc::clone(&calls));
                worker.spawn(client::serve(Rc::clone(&worker), door, inside, (socket, peer), calls, begin));
            }
            Err(_) if !worker.serves() => return,
            Err(error) => {
                counts.accept_errors.add(1);
                if let Some(more) = FAILURES.pass(worker.clock.now()) {
                    tracing::warn!(address = %door.settings.address, %error, more, "accept failed");
                }
                runtime::sleep(PAUSE).await;
            }
        }
    }
}

/// One of a worker's accepts. The worker does not end before it has come back: it may bring a connection.
struct Accepting(Rc<Worker>);

impl Accepting {
    fn begin(worker: &Rc<Worker>) -> Accepting {
        worker.accepting.set(worker.accepting.get() + 1);
        Accepting(Rc::clone(worker))
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.set(self.0.accepting.get() - 1);
        self.0.end_if_alone();
    }
}
