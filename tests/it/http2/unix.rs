//! Endpoints behind Unix sockets, and clients that come by one.

use super::interop::{CASE_MAX, run_all};
use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::health::health_service;
use crate::support::http1::Http1;
use crate::support::interop_client as cases;
use crate::support::interop_server::InteropServer;
use crate::support::raw::{EMPTY_CALL, RawClient, message};
use crate::support::unix::{UnixDoor, UnixFront, free_path, pass};
use crate::support::within;
use ringway::supervisor::Gateway;
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tonic::Code;

/// A gateway before the socket of this path, and where clients connect.
fn before(path: &Path, backend: &str, extra: &str) -> (Gateway, SocketAddr) {
    let endpoints = format!("[\"unix://{}\"]", path.display());
    let config = GatewayBuilder::new(&[], backend).set_toml("clusters.endpoints", endpoints);
    let gateway = config.extra(extra).start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// Waits until the page of clusters says these words, at most ten seconds.
async fn clusters_say(gateway: &Gateway, words: &str) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let look = async {
        loop {
            looks.tick().await;
            let page = Http1::connect(gateway.admin()).await.ask("GET /clusters", &[], b"").await;
            if page.text().contains(words) {
                return;
            }
        }
    };
    within(CASE_MAX, words, look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_to_a_unix_socket() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let path = free_path();
        let _front = UnixFront::start(path.clone(), server.address());
        let (gateway, address) = before(&path, backend, "");
        run_all(address, &server).await;
        assert!(server.calls().iter().all(|call| call.headers.get("host").is_none()));
        metric_becomes(&gateway, "ringway_upstream_calls_active", 0).await;
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0);
        let label = format!("endpoint=\"unix://{}\"", path.display());
        let page = gateway.metrics();
        assert!(page.contains(&label), "no {label} on the page:\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_is_not_there_yet_is_connected_to_once_it_is() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let path = free_path();
        let extra = "[clusters.reconnect]\ninitial_backoff = \"10ms\"\nmax_backoff = \"20ms\"\n";
        let (gateway, address) = before(&path, backend, extra);
        let channel = cases::connect(address).await;
        let refused = cases::try_empty_unary(&channel).await.expect_err("nobody listens there");
        assert_eq!(refused.code(), Code::Unavailable, "{backend}: {refused:?}");
        clusters_say(&gateway, "refused: nothing listens there").await;

        let front = UnixFront::start(path.clone(), server.address());
        let served = async { while cases::try_empty_unary(&channel).await.is_err() {} };
        within(CASE_MAX, "the socket is used", served).await;
        // The service starts anew: its file is another one.
        drop(front);
        let ended = async { while cases::try_empty_unary(&channel).await.is_ok() {} };
        within(CASE_MAX, "the connection ends", ended).await;
        let _front = UnixFront::start(path, server.address());
        let served = async { while cases::try_empty_unary(&channel).await.is_err() {} };
        within(CASE_MAX, "the new socket is used", served).await;
    }
}

/// The kernel says of a full queue neither that it is full nor when it has room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_waited_for() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let path = free_path();
        let place = SockAddr::unix(&path).expect("a short path");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        listener.bind(&place).expect("a free path");
        listener.listen(0).expect("it is bound");
        // The queue of such a socket has room for one.
        let first = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        first.connect(&place).expect("there is room");

        let (gateway, address) = before(&path, backend, "connect_timeout = \"8s\"\n");
        let channel = cases::connect(address).await;
        let call = tokio::spawn(async move { cases::try_empty_unary(&channel).await });
        clusters_say(&gateway, "connecting").await;
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::UnixListener::from_std(listener.into()).expect("a loop");
        let _passing = tokio::spawn(pass(listener, server.address()));
        within(CASE_MAX, "the call", call).await.expect("no panic").expect("it waited");
        assert_eq!(metric(&gateway, "ringway_upstream_connect_failures_total"), 0, "{backend}");
        std::fs::remove_file(&path).expect("the socket's file");
    }
}

#[tokio::test]
async fn health_is_asked_over_a_unix_socket() {
    let extra = "[clusters.health_checks]\ninterval = \"100ms\"\nunhealthy_threshold = 1\n\
        healthy_threshold = 1\nservice = \"a.A\"\n";
    for backend in BACKENDS {
        let (service, reporter) = health_service().await;
        let path = free_path();
        let _front = UnixFront::start(path.clone(), service);
        let (gateway, _) = before(&path, backend, extra);
        reporter.set_service_status("a.A", tonic_health::ServingStatus::NotServing).await;
        metric_becomes(&gateway, "ringway_health_unhealthy", 1).await;
        reporter.set_service_status("a.A", tonic_health::ServingStatus::Serving).await;
        metric_becomes(&gateway, "ringway_health_unhealthy", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_from_clients_of_a_unix_socket() {
    for backend in BACKENDS {
        let (server, path) = (InteropServer::start(), free_path());
        let config = GatewayBuilder::new(&[server.address()], backend);
        let gateway = config.set("listeners.address", format!("unix://{}", path.display())).start();
        let door = UnixDoor::start(&path).await;
        run_all(door.address(), &server).await;
        let web = [("content-type", "application/grpc-web+proto")];
        let mut client = Http1::connect(door.address()).await;
        for _ in 0..3 {
            let answer = client.ask(&format!("POST {EMPTY_CALL}"), &web, &message(0, b"")).await;
            assert_eq!(answer.status, 200, "{backend}: {answer:?}");
        }
        // All workers accept, and connections are balanced.
        let mut open = Vec::new();
        for _ in 0..16 {
            let mut client = RawClient::connect(door.address()).await;
            assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
            open.push(client);
        }
        let page = gateway.metrics();
        let of_worker = |worker: usize| {
            let family = format!("ringway_connections_active{{worker=\"{worker}\"}} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&family)).expect("the family");
            line.parse::<u64>().expect("a number")
        };
        assert!(of_worker(0) > 0 && of_worker(1) > 0, "{backend}: {} and {}", of_worker(0), of_worker(1));
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0);
        drop(gateway);
        assert!(!path.exists(), "{backend}");
    }
}
