//! Accepts connections, several at a time, until the listener is stopped. [`transfer`](super::transfer) decides which worker serves
//! them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::detect;
use super::listener::OpenListener;
use crate::net::{Socket, runtime};
use crate::time::seldom::Seldom;
use crate::worker::core::Worker;

/// The wait after an accept that failed for want of descriptors or memory: an immediate one would fail again.
const PAUSE: Duration = Duration::from_millis(50);

/// Failed accepts of all workers: they fail for a while, many times a second.
static FAILURES: Seldom = Seldom::new();

/// Accepts and serves until the listener is stopped. Each accept is awaited to its end, for a dropped one may lose a
/// connection.
pub(in crate::worker) async fn run(worker: Rc<Worker>, listener: Rc<OpenListener>) {
    let _pending = PendingAccept::begin(&worker);
    loop {
        let accepted = listener.accept().await;
        let counts = worker.local.counts();
        match accepted {
            Ok(accepted) => begin(&worker, &listener, accepted),
            Err(_) if listener.is_closing() || !worker.serves() => return,
            Err(error) => {
                counts.accept_errors.add(1);
                if let Some(more) = FAILURES.pass(worker.clock.now()) {
                    let address = listener.state().settings().address;
                    tracing::warn!(%address, %error, more, "accept failed");
                }
                runtime::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves all connections that wait to be accepted: the listener is about to close, which would reset them.
pub(in crate::worker) fn take_waiting(worker: &Rc<Worker>, listener: &OpenListener) {
    // More than the backlog come only while this runs.
    for _ in 0..=listener.state().settings().backlog {
        let Some(accepted) = listener.accept_now() else { return };
        begin(worker, listener, accepted);
    }
}

/// Begins to serve a connection that was accepted here.
fn begin(worker: &Rc<Worker>, listener: &OpenListener, (socket, peer): (Socket, Option<SocketAddr>)) {
    let state = listener.state();
    let Some((slot, socket)) = worker.assign(&state, (socket, peer)) else { return };
    worker.spawn(detect::serve(Rc::clone(worker), state, slot, (socket, peer)));
}

/// A pending accept of a worker. The worker does not end before it has come back: it may bring a connection.
struct PendingAccept(Rc<Worker>);

impl PendingAccept {
    fn begin(worker: &Rc<Worker>) -> PendingAccept {
        worker.accepting.set(worker.accepting.get() + 1);
        PendingAccept(Rc::clone(worker))
    }
}

impl Drop for PendingAccept {
    fn drop(&mut self) {
        self.0.accepting.set(self.0.accepting.get() - 1);
        self.0.end_if_alone();
    }
}
