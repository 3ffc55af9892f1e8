//! Pings that find dead upstreams, and good manners towards those that do not like them. Intervals are shorter than an
//! operator may set, or each test would take minutes.

use crate::support::gateway::{BACKENDS, gateway_config, metric, metric_becomes};
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::raw_server::{RawServer, Step};
use ringway::config;
use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(200);

fn before(server: &RawServer, backend: &str, without_calls: bool) -> (Gateway, SocketAddr) {
    before_with(server, backend, without_calls, INTERVAL)
}

/// `quiet` is the interval after a ping since which nothing came but its answer.
fn before_with(
    server: &RawServer,
    backend: &str,
    without_calls: bool,
    quiet: Duration,
) -> (Gateway, SocketAddr) {
    let config = gateway_config(&[server.address()], backend, "");
    let mut config = config::parse(&config, Path::new("test.toml")).expect("a good configuration");
    let keepalive = &mut config.clusters[0].keepalive;
    (keepalive.interval, keepalive.timeout) = (INTERVAL, INTERVAL);
    keepalive.interval_without_data = quiet;
    keepalive.without_calls = without_calls;
    let gateway = Gateway::start(config).expect("it starts");
    let address = gateway.listeners()[0];
    (gateway, address)
}

#[tokio::test]
async fn a_silent_connection_with_calls_is_pinged_and_stays() {
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Never]).await;
        let (gateway, address) = before(&server, backend, false);
        let mut client = RawClient::connect(address).await;
        let mut call = client.open(EMPTY_CALL, &[]).await;
        call.send(raw::message(0, b""), true);
        let record = server.wait_until("three pings", |record| record.pings >= 3).await;
        assert!(record.silences[0] >= INTERVAL * 9 / 10, "{backend}: {record:?}");
        assert_eq!((record.connections, record.connections_closed), (1, 0), "{backend}: they are answered");
        assert_eq!(metric(&gateway, "ringway_upstream_keepalive_timeouts_total"), 0, "{backend}");
    }
}

/// Method: one connection with a call and one without, side by side, for as long as the first is pinged three times.
#[tokio::test]
async fn a_connection_without_calls_is_left_alone() {
    for backend in BACKENDS {
        let (busy, idle) = (RawServer::start(&[Step::Never]).await, RawServer::start(&[Step::Answer]).await);
        let (_kept, address) = before(&idle, backend, false);
        let reply = RawClient::connect(address).await.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("0"), "{backend}");
        let (_gateway, address) = before(&busy, backend, false);
        let mut client = RawClient::connect(address).await;
        let mut call = client.open(EMPTY_CALL, &[]).await;
        call.send(raw::message(0, b""), true);
        busy.wait_until("three pings", |record| record.pings >= 3).await;
        assert_eq!(idle.record().pings, 0, "{backend}");
    }
}

/// Row 44: gRPC servers by default end a connection on which pings come with nothing of theirs in between. Method: a
/// connection that hears nothing but answers to pings, beside one that may be pinged again at once and that is pinged
/// five times meanwhile.
#[tokio::test]
async fn a_stream_that_is_idle_is_pinged_once() {
    for backend in BACKENDS {
        let (idle, clock) = (RawServer::start(&[Step::Never]).await, RawServer::start(&[Step::Never]).await);
        let (_gateway, address) = before_with(&idle, backend, false, Duration::from_secs(300));
        let mut client = RawClient::connect(address).await;
        let mut call = client.open(EMPTY_CALL, &[]).await;
        call.send(raw::message(0, b""), true);
        idle.wait_until("a ping", |record| record.pings == 1).await;
        let (_other, address) = before(&clock, backend, false);
        let mut beside = RawClient::connect(address).await;
        let mut other = beside.open(EMPTY_CALL, &[]).await;
        other.send(raw::message(0, b""), true);
        clock.wait_until("five pings", |record| record.pings >= 5).await;
        let record = idle.record();
        assert_eq!((record.pings, record.connections_closed), (1, 0), "{backend}: {record:?}");
    }
}

/// A peer that answers no ping is given up, with its calls; the next call gets a connection that works.
#[tokio::test]
async fn a_peer_that_answers_no_ping_is_given_up() {
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Freeze, Step::Answer]).await;
        let (gateway, address) = before(&server, backend, false);
        let mut client = RawClient::connect(address).await;
        let reply = client.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("14"), "{backend}: {reply:?}");
        assert_eq!(metric(&gateway, "ringway_upstream_keepalive_timeouts_total"), 1, "{backend}");
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
        metric_becomes(&gateway, "ringway_upstream_connections_active", 1).await;
        assert_eq!(server.record().requests, 2, "{backend}: what may have arrived is not sent again");
    }
}

/// gRFC A8: who is told `too_many_pings` pings half as often from then on.
#[tokio::test]
async fn who_is_told_that_pings_are_too_many_waits_twice_as_long() {
    for backend in BACKENDS {
        let server = RawServer::calm(&[Step::Answer]).await;
        let (gateway, address) = before(&server, backend, true);
        let mut client = RawClient::connect(address).await;
        for round in 0..3_u32 {
            assert_eq!(
                client.call(EMPTY_CALL, &[], b"").await.grpc_status(),
                Some("0"),
                "{backend}, {round}"
            );
            let pinged = |record: &crate::support::raw_server::Record| record.pings == 1 + round as usize;
            let record = server.wait_until("a ping", pinged).await;
            let (silence, least) = (record.silences[round as usize], INTERVAL * 2_u32.pow(round));
            assert!(silence >= least * 9 / 10, "{backend}, {round}: {silence:?} for {least:?}");
            metric_becomes(&gateway, "ringway_upstream_connections_active", 0).await;
        }
        assert_eq!(metric(&gateway, "ringway_upstream_goaways_total"), 3, "{backend}");
        assert_eq!(metric(&gateway, "ringway_upstream_too_many_pings_total"), 3, "{backend}");
    }
}
