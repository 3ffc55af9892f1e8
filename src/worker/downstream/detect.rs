//! Serves one connection: shakes hands where the listener has TLS, tells HTTP/2 from HTTP/1.1, and serves that.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::client::Client;
use super::listener::ListenerState;
use super::transfer::ConnectionSlot;
use super::{http1, http2, proxy_protocol};
use crate::config::TlsVersion;
use crate::http2::frame::PREFACE;
use crate::metrics::{Denial, TlsError};
use crate::net::{BufferedConn, Socket, stream};
use crate::policy::address_counts::{AddressCounts, AddressPlace};
use crate::time::seldom::Seldom;
use crate::tls::{Alpn, Facts, ServerContext, SessionError};
use crate::worker::core::Worker;

/// Connections of all workers that ended over TLS: what is wrong with one is often wrong with many.
static FAILURES: Seldom = Seldom::new();

/// Serves a connection to its end, and then drops `slot`.
pub(in crate::worker) fn serve(
    worker: Rc<Worker>,
    listener: Rc<ListenerState>,
    slot: ConnectionSlot,
    (socket, peer): (Socket, Option<SocketAddr>),
) -> impl Future<Output = ()> {
    let local = Rc::clone(&worker.local);
    local.timers.stir(worker.clock.now());
    let conn = BufferedConn::new(Rc::clone(&local.buffers), local.timers.now());
    let tls = listener.tls();
    let shared = (Rc::clone(&local), Rc::clone(&worker.unbegun));
    let client = Client::new(shared, listener, peer, &mut worker.random.borrow_mut());
    let registered = worker.register(&client);
    if socket.arrives_here() {
        local.counts().connections_local.add(1);
    }
    let protocol = detect_protocol(worker, client, Rc::clone(&conn), tls);
    // The slot is dropped first: when the metric says that nobody is connected, the next connection finds it so, too.
    stream::drive(local, conn, socket, Box::pin(protocol), (slot, registered))
}

/// Finds out what the client speaks, and serves that.
#[expect(clippy::manual_async_fn, reason = "the future of an `async fn` holds its arguments twice")]
fn detect_protocol(
    worker: Rc<Worker>,
    client: Rc<Client>,
    conn: Rc<BufferedConn>,
    tls: Option<Arc<ServerContext>>,
) -> impl Future<Output = ()> {
    async move {
        let timer = worker.local.timers.timer();
        if let Some(settings) = &client.settings().proxy_protocol {
            // In a box, for most listeners have none.
            let read = Box::pin(proxy_protocol::read(settings, &client, &conn, &timer));
            if read.await.is_err() {
                return conn.abort();
            }
        }
        let places = match Places::take(&client) {
            Ok(places) => places,
            Err(denial) => {
                worker.local.counts().connections_denied.add(denial as usize);
                return conn.abort();
            }
        };
        let due = worker.local.timers.now().plus(client.settings().handshake_timeout);
        let is_secure = tls.is_some();
        // In a box that is gone when the client is known: a connection would hold its memory to its end.
        let greeting = Box::pin(timer.within(due, handshake_and_detect(&worker, &client, &conn, tls)));
        let protocol = match greeting.await {
            Some(Ok(protocol)) => protocol,
            Some(Err(error)) => return failed(&client, &error),
            None => {
                worker.local.counts().handshake_timeouts.add(1);
                return conn.abort();
            }
        };
        let _connection = places.greeted();
        match protocol {
            Protocol::Http2 => http2::serve(Rc::clone(&worker), Rc::clone(&client), &conn, &timer).await,
            // In a box, for a connection is either of the two, and would hold the larger one.
            Protocol::Http1 => {
                Box::pin(http1::serve(Rc::clone(&worker), Rc::clone(&client), &conn, &timer)).await;
            }
        }
        if is_secure && let Some(error) = conn.take_tls_error() {
            failed(&client, &error);
        }
    }
}

/// The counts that a connection is part of, with its address. In boxes, for most listeners count nothing.
#[derive(Default)]
struct Places {
    connection: Option<Box<AddressPlace>>,
    handshake: Option<Box<AddressPlace>>,
}

impl Places {
    /// Counts a connection, unless its address may have no more.
    fn take(client: &Client) -> Result<Places, Denial> {
        let (settings, address) = (&client.settings().admission, client.ip());
        if !settings.admits(address) {
            return Err(Denial::Address);
        }
        let Some(address) = address else { return Ok(Places::default()) };
        // Those speak for many.
        if client.settings().forwarding.trusted_cidrs.contains(address) {
            return Ok(Places::default());
        }
        let identity = client.came_by();
        let enter = |counts: &Arc<AddressCounts>, max: u32, denial| match max {
            0 => Ok(None),
            max => counts.enter(address, max).map(|place| Some(Box::new(place))).ok_or(denial),
        };
        let connections = settings.max_connections_per_address;
        let connection = enter(&identity.connections, connections, Denial::Connections)?;
        let handshakes = settings.max_handshakes_per_address;
        let handshake = enter(&identity.handshakes, handshakes, Denial::Handshakes)?;
        Ok(Places { connection, handshake })
    }

    /// The client has said what it speaks. Gives the place that its connection keeps.
    fn greeted(self) -> Option<Box<AddressPlace>> {
        drop(self.handshake);
        self.connection
    }
}

/// The protocol of a client.
enum Protocol {
    Http2,
    Http1,
}

/// Shakes hands where there is TLS, and finds out what the client speaks: ALPN tells, or else the first bytes.
async fn handshake_and_detect(
    worker: &Worker,
    client: &Client,
    conn: &BufferedConn,
    tls: Option<Arc<ServerContext>>,
) -> Result<Protocol, SessionError> {
    let Some(context) = tls else { return first_bytes(conn, false).await };
    let session = context.session();
    conn.secure(session.map_err(|problem| SessionError::new(TlsError::Other, problem.to_string()))?);
    let facts = conn.handshake(&worker.local.handshakes, context.max_handshakes_per_turn()).await?;
    drop(context);
    let counts = worker.local.counts();
    counts.tls_handshakes.add(kind(&facts));
    let alpn = facts.alpn;
    client.identify(Rc::new(facts.peer));
    match alpn {
        Some(Alpn::H2) => Ok(Protocol::Http2),
        Some(Alpn::Http1) => Ok(Protocol::Http1),
        None => first_bytes(conn, true).await,
    }
}

/// The place of a handshake in `labels::TLS_HANDSHAKES`.
fn kind(facts: &Facts) -> usize {
    2 * usize::from(facts.version == TlsVersion::V1_3) + usize::from(facts.is_resumed)
}

/// Waits for the client's first bytes.
async fn first_bytes(conn: &BufferedConn, is_secure: bool) -> Result<Protocol, SessionError> {
    /// How a handshake of TLS begins.
    const HANDSHAKE: &[u8] = &[22, 3];
    poll_fn(|_| match conn.starts_with(PREFACE) {
        None => Poll::Pending,
        Some(true) => Poll::Ready(Ok(Protocol::Http2)),
        Some(false) if is_secure => Poll::Ready(Ok(Protocol::Http1)),
        Some(false) => match conn.starts_with(HANDSHAKE) {
            None => Poll::Pending,
            Some(false) => Poll::Ready(Ok(Protocol::Http1)),
            Some(true) => Poll::Ready(Err(SessionError::new(
                TlsError::OnPlaintext,
                "the client speaks TLS, and the listener has no [listeners.tls]",
            ))),
        },
    })
    .await
}

/// Counts a connection that ended over TLS, and reports it at a bounded rate.
fn failed(client: &Client, error: &SessionError) {
    client.local.counts().tls_errors.add(error.kind as usize);
    // A look whether the port is open is no error.
    if error.kind != TlsError::Closed
        && let Some(more) = FAILURES.pass(client.local.timers.now())
    {
        let (listener, peer) = (client.settings().address, client.peer().map(tracing::field::display));
        tracing::info!(%listener, peer, reason = %error, more, "a client's connection ended over TLS");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::labels::TLS_HANDSHAKES;
    use crate::policy::peer::Peer;

    #[test]
    fn handshakes_are_counted_under_their_names() {
        for (version, is_resumed, name) in [
            (TlsVersion::V1_2, false, "tls1.2"),
            (TlsVersion::V1_2, true, "tls1.2_resumed"),
            (TlsVersion::V1_3, false, "tls1.3"),
            (TlsVersion::V1_3, true, "tls1.3_resumed"),
        ] {
            let facts = Facts { alpn: None, version, is_resumed, peer: Peer::plaintext() };
            assert_eq!(TLS_HANDSHAKES[kind(&facts)], name);
        }
    }
}
