//! Accepts connections, several at a time, until the listener is stopped.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;

use super::Worker;
use super::calls::Calls;
use super::client::{self, Client};
use crate::config;
use crate::net::listener::Listener;
use crate::net::runtime;

/// The wait after an accept that failed for want of descriptors or memory: trying at once would fail again.
const PAUSE: Duration = Duration::from_millis(50);

/// The function that makes the future of one call.
pub(super) type Begin<F> = fn(Rc<Worker>, Rc<Client>, Request<RecvStream>, SendResponse<Bytes>) -> F;

/// Accepts and serves until the listener is stopped. An accept is always awaited to its end: one that is dropped may
/// take a connection with it.
pub(super) async fn run<F: Future<Output = ()> + 'static>(
    worker: Rc<Worker>,
    settings: Rc<config::Listener>,
    listener: Rc<Listener>,
    calls: Rc<Calls<F>>,
    begin: Begin<F>,
) {
    loop {
        let accepted = listener.accept().await;
        worker.local.touch();
        let counts = worker.local.counts();
        match accepted {
            Ok((socket, _)) if counts.connections_active.get() < u64::from(settings.max_connections) => {
                let settings = Rc::clone(&settings);
                worker.spawn(client::serve(Rc::clone(&worker), settings, socket, Rc::clone(&calls), begin));
            }
            Ok(_) => counts.connections_refused.add(1),
            Err(_) if !worker.serves() => return,
            Err(error) => {
                counts.accept_errors.add(1);
                tracing::warn!(address = %settings.address, %error, "accept failed");
                runtime::sleep(PAUSE).await;
            }
        }
    }
}
