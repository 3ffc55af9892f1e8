//! Serves one connection: tells HTTP/2 from HTTP/1.1 by its first bytes, and serves that.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use super::client::Client;
use super::listener::ListenerState;
use super::transfer::ConnectionSlot;
use super::{http1, http2, proxy_protocol};
use crate::http2::frame::PREFACE;
use crate::net::{Pipe, Socket, stream};
use crate::worker::core::Worker;

/// Serves a connection to its end, and then drops `slot`.
pub(in crate::worker) fn serve(
    worker: Rc<Worker>,
    listener: Rc<ListenerState>,
    slot: ConnectionSlot,
    (socket, peer): (Socket, SocketAddr),
) -> impl Future<Output = ()> {
    let local = Rc::clone(&worker.local);
    local.timers.stir(worker.clock.now());
    let pipe = Pipe::new(Rc::clone(&local.buffers), local.timers.now());
    let shared = (Rc::clone(&local), Rc::clone(&worker.unbegun));
    let client = Client::new(shared, listener, peer, &mut worker.random.borrow_mut());
    let registered = worker.register(&client);
    if socket.arrives_here() {
        local.counts().connections_local.add(1);
    }
    let protocol = detect_protocol(worker, client, Rc::clone(&pipe));
    // The slot is dropped first: when the metric says that nobody is connected, the next connection finds it so, too.
    stream::drive(local, pipe, socket, Box::pin(protocol), (slot, registered))
}

/// Tells HTTP/2 from HTTP/1.1 by the first bytes, and serves that.
#[expect(clippy::manual_async_fn, reason = "the future of an `async fn` holds its arguments twice")]
fn detect_protocol(worker: Rc<Worker>, client: Rc<Client>, pipe: Rc<Pipe>) -> impl Future<Output = ()> {
    async move {
        let timer = worker.local.timers.timer();
        if let Some(settings) = &client.settings().proxy_protocol {
            // In a box, for most listeners have none.
            let read = Box::pin(proxy_protocol::read(settings, &client, &pipe, &timer));
            if read.await.is_err() {
                return pipe.abort();
            }
        }
        if !client.settings().admission.admits(client.peer().ip()) {
            worker.local.counts().connections_denied.add(1);
            return pipe.abort();
        }
        let due = worker.local.timers.now().plus(client.settings().handshake_timeout);
        match timer.within(due, first_bytes(&pipe)).await {
            Some(Protocol::Http2) => http2::serve(worker, client, &pipe, timer).await,
            // In a box, for a connection is either of the two, and would hold the larger one.
            Some(Protocol::Http1) => Box::pin(http1::serve(worker, client, &pipe, timer)).await,
            None => {
                worker.local.counts().handshake_timeouts.add(1);
                pipe.abort();
            }
        }
    }
}

/// The protocol of a client.
enum Protocol {
    Http2,
    Http1,
}

/// Waits for the client's first bytes.
async fn first_bytes(pipe: &Rc<Pipe>) -> Protocol {
    let is_http2 = poll_fn(|_| pipe.starts_with(PREFACE).map_or(Poll::Pending, Poll::Ready)).await;
    if is_http2 { Protocol::Http2 } else { Protocol::Http1 }
}
