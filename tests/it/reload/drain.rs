//! A gateway that ends in order: another one takes over its address, and no call is lost.
#![allow(clippy::disallowed_methods, reason = "a test measures how long an end takes")]

use crate::support::callers::{Callers, open_call};
use crate::support::gateway::{self, BACKENDS, GatewayBuilder, asked, metric, metric_becomes};
use crate::support::interop_server::InteropServer;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::raw_server::{RawServer, Step};
use crate::support::within;
use ringway::supervisor::{Ended, Gateway};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: usize = 20;
const CLEAN: Ended = Ended { calls_cut: 0, workers_lost: 0 };

async fn join(gateway: Gateway) -> Ended {
    let joined = tokio::task::spawn_blocking(|| gateway.join());
    within(Duration::from_secs(10), "the gateway ends", joined).await.expect("no panic")
}

async fn hand_over_many_times(backend: &str) {
    let server = InteropServer::start();
    let config = GatewayBuilder::new(&[server.address()], backend);
    let mut current = config.start();
    let address = current.listeners()[0];
    let config = config.set("listeners.address", address.to_string()).set("listeners.reuse_port", true);
    let callers = Callers::start(address, 4, 50);
    for round in 0..ROUNDS {
        callers.progress(50).await;
        let next = config.start();
        assert_eq!(next.listeners(), [address]);
        current.drain();
        assert_eq!(join(std::mem::replace(&mut current, next)).await, CLEAN, "round {round}");
    }
    callers.progress(50).await;
    assert!(callers.stop().await >= 4 * ROUNDS as u64 / 2, "every caller was sent away many times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_another_gateway_takes_over_on_io_uring() {
    hand_over_many_times("io_uring").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_another_gateway_takes_over_on_epoll() {
    hand_over_many_times("epoll").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_is_finished_and_readiness_fails_meanwhile() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = gateway::before(&[server.address()], backend, "");
        let admin = gateway.admin();
        let mut client = RawClient::connect(address).await;
        let mut call = open_call(&mut client, &server).await;
        assert_eq!(asked(admin, "/ready").await, "HTTP/1.1 200 OK");

        gateway.drain();
        assert!(asked(admin, "/ready").await.starts_with("HTTP/1.1 503"), "{backend}");
        assert!(asked(admin, "/live").await.starts_with("HTTP/1.1 200"), "{backend}");
        assert_eq!(metric(&gateway, "ringway_ready"), 0);
        let mut tries = tokio::time::interval(Duration::from_millis(5));
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tries.tick().await;
            }
        };
        within(Duration::from_secs(5), "the address is given up", refused).await;

        metric_becomes(&gateway, "ringway_calls_active", 1).await;
        call.send(raw::message(0, b""), true);
        let reply = call.reply().await;
        assert_eq!((reply.grpc_status(), reply.error.is_none()), (Some("0"), true), "{backend}: {reply:?}");
        assert_eq!(join(gateway).await, CLEAN, "{backend}");
        client.closed().await;
    }
}

/// The GOAWAYs of a connection until it is closed: the last stream and the code of each. The client acknowledges PINGs
/// and says nothing else.
async fn goaways(stream: &mut TcpStream) -> Vec<(u32, u32)> {
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    let mut seen = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await.expect("a whole frame");
        match kind {
            PING if flags & 1 == 0 => {
                let acknowledged = [&[0, 0, 8, PING, 1, 0, 0, 0, 0], &payload[..]].concat();
                stream.write_all(&acknowledged).await.expect("the gateway waits for it");
            }
            GOAWAY => {
                let word =
                    |at: usize| payload[at..at + 4].try_into().map(u32::from_be_bytes).expect("4 bytes");
                seen.push((word(0), word(4)));
            }
            _ => {}
        }
    }
    seen
}

/// RFC 9113 section 6.8: first one that says only that the end is near, so that calls under way are not lost; a round
/// trip later one that says which the last was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goodbye_is_said_twice() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = gateway::before(&[server.address()], backend, "");
        let mut stream = raw::half_said(address, raw::PREFACE).await;
        metric_becomes(&gateway, "ringway_connections_active", 1).await;
        gateway.drain();
        let seen = within(Duration::from_secs(5), "the connection ends", goaways(&mut stream)).await;
        assert_eq!(seen, [(u32::MAX >> 1, 0), (0, 0)], "{backend}");
        drop(stream);
        assert_eq!(join(gateway).await, CLEAN, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_never_ends_is_cut_at_drain_timeout() {
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Never]).await;
        let config = GatewayBuilder::new(&[server.address()], backend).set("drain_timeout", "200ms");
        let gateway = config.start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let mut call = client.open(EMPTY_CALL, &[]).await;
        call.send(raw::message(0, b""), true);
        server.wait_until("the call arrives", |record| record.requests_whole == 1).await;

        let began = Instant::now();
        gateway.drain();
        assert_eq!(join(gateway).await, Ended { calls_cut: 1, workers_lost: 0 }, "{backend}");
        let took = began.elapsed();
        let allowed = Duration::from_millis(200)..Duration::from_millis(1_500);
        assert!(allowed.contains(&took), "{backend}: {took:?}");
        let reply = call.reply().await;
        assert_eq!(reply.grpc_status(), Some("14"), "{backend}: {reply:?}");
    }
}
