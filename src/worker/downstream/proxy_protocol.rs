//! The PROXY protocol of a client's connection: read before anything else.

use std::future::poll_fn;
use std::task::Poll;

use super::client::Client;
use crate::config::ProxyProtocol;
use crate::metrics::ProtocolError;
use crate::net::BufferedConn;
use crate::time::timers::Timer;
use crate::wire::proxy_protocol::{self, Preface};

/// The connection is to be closed.
pub(super) struct Refused;

/// Reads the header, and notes the address in it as the client's.
pub(super) async fn read(
    settings: &ProxyProtocol,
    client: &Client,
    conn: &BufferedConn,
    timer: &Timer,
) -> Result<(), Refused> {
    let is_trusted = settings.trusted_cidrs.is_empty() || settings.trusted_cidrs.holds(client.ip());
    let due = timer.now().plus(settings.timeout);
    let look = |bytes: &[u8]| match proxy_protocol::read(bytes) {
        Preface::Part => None,
        whole => Some(whole),
    };
    let begin = poll_fn(|_| match conn.look(look) {
        Some(begin) => Poll::Ready(begin),
        // It has closed its side, and the rest never comes.
        None if conn.read_end().is_some() => Poll::Ready(Preface::Bad),
        None => Poll::Pending,
    });
    match timer.within(due, begin).await {
        Some(Preface::Header { length, source }) if is_trusted => {
            conn.skip(length);
            source.into_iter().for_each(|source| client.is_behind(source));
            Ok(())
        }
        Some(Preface::Other) if settings.allow_requests_without_proxy_protocol => Ok(()),
        Some(_) => {
            client.protocol_error(ProtocolError::ProxyProtocol);
            Err(Refused)
        }
        None => {
            client.local.counts().handshake_timeouts.add(1);
            Err(Refused)
        }
    }
}
