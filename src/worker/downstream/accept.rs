//! Accepts connections, several at a time, until the listener is stopped. [`transfer`](super::transfer) decides which worker serves
//! them.

use std::rc::Rc;
use std::time::Duration;

use super::detect;
use super::listener::ListenerState;
use crate::net::runtime;
use crate::time::seldom::Seldom;
use crate::worker::core::Worker;

/// The wait after an accept that failed for want of descriptors or memory: an immediate one would fail again.
const PAUSE: Duration = Duration::from_millis(50);

/// Failed accepts of all workers: they fail for a while, many times a second.
static FAILURES: Seldom = Seldom::new();

/// Accepts and serves until the listener is stopped. Each accept is awaited to its end, for a dropped one may lose a
/// connection.
pub(in crate::worker) async fn run(worker: Rc<Worker>, listener: Rc<ListenerState>) {
    let _pending = PendingAccept::begin(&worker);
    loop {
        let accepted = listener.socket.accept().await;
        let counts = worker.local.counts();
        match accepted {
            Ok((socket, peer)) => {
                let Some((slot, socket)) = worker.assign(&listener, (socket, peer)) else { continue };
                let listener = Rc::clone(&listener);
                worker.spawn(detect::serve(Rc::clone(&worker), listener, slot, (socket, peer)));
            }
            Err(_) if !worker.serves() => return,
            Err(error) => {
                counts.accept_errors.add(1);
                if let Some(more) = FAILURES.pass(worker.clock.now()) {
                    tracing::warn!(address = %listener.settings.address, %error, more, "accept failed");
                }
                runtime::sleep(PAUSE).await;
            }
        }
    }
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
