//! Pings that find dead upstreams, and good manners towards those that do not like them. Intervals are shorter than an
//! operator may set, or each test would take minutes.

mod support;

use ringway::config;
use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use support::gateway::{BACKENDS, gateway_config, metric, metric_becomes};
use support::raw::{self, EMPTY_CALL, RawClient};
use support::raw_server::{RawServer, Step};

const INTERVAL: Duration = Duration::from_millis(200);

fn before(server: &RawServer, backend: &str, without_calls: bool) -> (Gateway, SocketAddr) {
    let config = gateway_config(&[server.address()], backend, "");
    let mut config = config::parse(&config, Path::new("test.toml")).expect("a good configuration");
    let keepalive = &mut config.clusters[0].keepalive;
    (keepalive.interval, keepalive.timeout) = (INTERVAL, INTERVAL);
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
            let pinged = |record: &support::raw_server::Record| record.pings == 1 + round as usize;
            let record = server.wait_until("a ping", pinged).await;
            let (silence, least) = (record.silences[round as usize], INTERVAL * 2_u32.pow(round));
            assert!(silence >= least * 9 / 10, "{backend}, {round}: {silence:?} for {least:?}");
            metric_becomes(&gateway, "ringway_upstream_connections_active", 0).await;
        }
        assert_eq!(metric(&gateway, "ringway_upstream_goaways_total"), 3, "{backend}");
    }
}
