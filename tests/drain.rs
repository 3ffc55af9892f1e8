//! A gateway that ends in order: another one takes over its address, and no call is lost.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test measures answers and shares a list"
)]

mod support;

use ringway::supervisor::{Ended, Gateway};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::gateway::{self, BACKENDS, gateway_config, metric, metric_becomes};
use support::interop_server::InteropServer;
use support::raw::{self, RawCall, RawClient};
use support::raw_server::{RawServer, Step};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EMPTY_CALL: &str = "/grpc.testing.TestService/EmptyCall";
const DUPLEX_CALL: &str = "/grpc.testing.TestService/FullDuplexCall";
const ROUNDS: usize = 20;
const CLEAN: Ended = Ended { calls_cut: 0, workers_lost: 0 };

async fn join(gateway: Gateway) -> Ended {
    let joined = tokio::task::spawn_blocking(|| gateway.join());
    within(Duration::from_secs(10), "the gateway ends", joined).await.expect("no panic")
}

/// The status line of an answer of the admin address.
async fn asked(admin: SocketAddr, path: &str) -> String {
    let work = async {
        let mut stream = TcpStream::connect(admin).await.expect("the admin address listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer.lines().next().unwrap_or_default().to_owned()
    };
    within(Duration::from_secs(5), path, work).await
}

/// What the callers have seen.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    ok: AtomicU64,
    reconnects: AtomicU64,
    failed: Mutex<Vec<String>>,
}

/// Calls one after the other; connects anew when the connection takes no more, and now and then for no reason.
async fn call_on(address: SocketAddr, tally: Arc<Tally>) {
    while !tally.stop.load(Ordering::Relaxed) {
        // A connection that waits in the queue of a socket that closes is reset: it has not been accepted.
        let Ok(mut client) = RawClient::try_connect(address).await else { continue };
        tally.reconnects.fetch_add(1, Ordering::Relaxed);
        for on_this_connection in 0..50 {
            let Some(reply) = client.try_call(EMPTY_CALL, b"").await else { break };
            if reply.grpc_status() == Some("0") && reply.error.is_none() {
                tally.ok.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let error = reply.error.as_ref();
            let told_unseen = error.is_some_and(|error| error.is_go_away() && error.is_remote());
            let never_accepted = on_this_connection == 0 && error.is_some_and(h2::Error::is_io);
            if !told_unseen && !never_accepted {
                let note = format!("call {on_this_connection} of its connection: {reply:?}");
                tally.failed.lock().expect("nobody panics with it").push(note);
            }
            break;
        }
    }
}

/// Waits until `more` calls have succeeded from now on.
async fn progress(tally: &Tally, more: u64) {
    let wanted = tally.ok.load(Ordering::Relaxed) + more;
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    let look = async {
        while tally.ok.load(Ordering::Relaxed) < wanted {
            looks.tick().await;
        }
    };
    within(Duration::from_secs(20), "calls go on", look).await;
}

async fn hand_over_many_times(backend: &str) {
    let server = InteropServer::start();
    let config = gateway_config(&[server.address()], backend, "");
    let mut current = gateway::start(&config);
    let address = current.listeners()[0];
    let here = format!("[[listeners]]\naddress = \"{address}\"");
    let config = config.replace("[[listeners]]\naddress = \"127.0.0.1:0\"", &here);
    let tally = Arc::new(Tally::default());
    let callers: Vec<_> = (0..4).map(|_| tokio::spawn(call_on(address, Arc::clone(&tally)))).collect();
    for round in 0..ROUNDS {
        progress(&tally, 50).await;
        let next = gateway::start(&config);
        assert_eq!(next.listeners(), [address]);
        current.drain();
        assert_eq!(join(std::mem::replace(&mut current, next)).await, CLEAN, "round {round}");
    }
    progress(&tally, 50).await;
    tally.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        within(Duration::from_secs(5), "a caller stops", caller).await.expect("no panic");
    }
    let failed = tally.failed.lock().expect("nobody panics with it");
    assert!(failed.is_empty(), "{} of {:?}:\n{}", failed.len(), tally.ok, failed.join("\n"));
    assert!(tally.reconnects.load(Ordering::Relaxed) >= 4 * ROUNDS as u64 / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_another_gateway_takes_over_on_io_uring() {
    hand_over_many_times("io_uring").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_another_gateway_takes_over_on_epoll() {
    hand_over_many_times("epoll").await;
}

/// A duplex call that has reached the server and is open on both sides.
async fn open_call(client: &mut RawClient, server: &InteropServer) -> RawCall {
    let before = server.calls().len();
    let mut call = client.open(DUPLEX_CALL, &[]).await;
    call.send(raw::message(0, b""), false);
    server.wait_until("the call reaches the server", |calls| calls.len() > before).await;
    call
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_never_ends_is_cut_at_drain_timeout() {
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Never]).await;
        let config = gateway_config(&[server.address()], backend, "");
        let config = config.replace("drain_timeout = \"5s\"", "drain_timeout = \"200ms\"");
        let gateway = gateway::start(&config);
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
