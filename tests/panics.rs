//! A panic in one connection ends that connection, and nobody else's.
//!
//! The panic is a real one, in the task of the connection: that tells a subscriber why its peer ended it, and the
//! subscriber here panics when it is told of a PING of the wrong size. Alone in its process, which has one subscriber.
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]

mod support;

use std::fmt::{Debug, Write as _};
use std::time::Duration;
use support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use support::raw::{self, EMPTY_CALL, PREFACE, RawClient};
use support::raw_server::{RawServer, Step};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The reason that is told of such a PING.
const REASON: &str = "PING of another size";

/// Panics on a worker that tells of it.
struct Trap;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{value:?}");
    }
}

impl Subscriber for Trap {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("ringway::")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let on_a_worker = std::thread::current().name().is_some_and(|name| name.starts_with("worker-"));
        let marked = text.0.contains(REASON);
        assert!(!(on_a_worker && marked), "a trap on a worker's way");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn set_the_trap() {
    let _ = tracing::subscriber::set_global_default(Trap); // the second test finds it set
}

/// Sends a PING that no connection survives, and waits for the end of this one.
async fn provoke(address: std::net::SocketAddr) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: &[u8] = b"\0\0\x07\x06\0\0\0\0\0ringway";
    let mut stream = raw::half_said(address, &[PREFACE, SETTINGS, PING].concat()).await;
    let mut back = Vec::new();
    let _ = within(Duration::from_secs(5), "it ends", stream.read_to_end(&mut back)).await; // or is reset
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn a_panic_in_a_clients_connection_ends_that_one_alone() {
    const PANICS: u64 = 3;
    set_the_trap();
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Answer]).await;
        // All are on the worker that panics.
        let gateway = GatewayBuilder::new(&[server.address()], backend).set("workers", 1).start();
        let address = gateway.listeners()[0];
        let mut beside = RawClient::connect(address).await;
        let mut begun = beside.open(EMPTY_CALL, &[]).await;
        for panics in 1..=PANICS {
            provoke(address).await;
            metric_becomes(&gateway, "ringway_panics_total", panics).await;
            assert_eq!(beside.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
        }
        begun.send(raw::message(0, b""), true);
        assert_eq!(begun.reply().await.grpc_status(), Some("0"), "{backend}: a call from before goes on");
        metric_becomes(&gateway, "ringway_connections_active", 1).await;
        assert_eq!(metric(&gateway, "ringway_calls_active"), 0, "{backend}");
        assert_eq!(metric(&gateway, "ringway_upstream_connections_opened_total"), 1, "{backend}");
        drop(beside);
        metric_becomes(&gateway, "ringway_connections_active", 0).await;
    }
}

#[tokio::test]
async fn a_panic_in_an_upstreams_connection_costs_its_calls_and_no_more() {
    set_the_trap();
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Answer, Step::BrokenPing, Step::Answer]).await;
        let gateway = GatewayBuilder::new(&[server.address()], backend).set("workers", 1).start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert!(reply.error.is_none(), "{backend}: the client's connection stays: {reply:?}");
            statuses.push(reply.grpc_status().map(str::to_owned));
        }
        let wanted = ["0", "14", "0"].map(|status| Some(status.to_owned()));
        assert_eq!(statuses, wanted, "{backend}");
        assert_eq!(metric(&gateway, "ringway_panics_total"), 1, "{backend}");
        metric_becomes(&gateway, "ringway_upstream_connections_active", 1).await;
        metric_becomes(&gateway, "ringway_upstream_calls_active", 0).await;
        assert_eq!(server.record().requests, 3, "{backend}: nothing was sent twice");
    }
}
