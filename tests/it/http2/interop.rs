//! The gRPC interop cases: between a client and a server directly, and with the gateway between.

use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::interop_client as cases;
use crate::support::interop_server::{Ended, InteropServer};
use crate::support::raw::{self, RawClient};
use crate::support::watch::Walker;
use crate::support::within;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const CASE_MAX: Duration = Duration::from_secs(10);
const LOAD_MAX: Duration = Duration::from_secs(120);

/// Every case, one after the other. `client_address` is where a client connects: the server, or a gateway before it.
pub(super) async fn run_all(client_address: SocketAddr, server: &InteropServer) {
    let channel = within(CASE_MAX, "connect", cases::connect(client_address)).await;
    let channel = &channel;
    macro_rules! run {
        ($($case:ident($($argument:expr),*);)*) => {
            $(within(CASE_MAX, stringify!($case), cases::$case($($argument),*)).await;)*
        };
    }
    run! {
        empty_unary(channel);
        large_unary(channel);
        client_streaming(channel);
        server_streaming(channel);
        ping_pong(channel);
        empty_stream(channel);
        client_compressed_unary(channel);
        client_compressed_streaming(client_address);
        server_compressed_unary(channel);
        custom_metadata(channel);
        status_code_and_message(channel);
        special_status_message(channel);
        unimplemented_method(channel);
        unimplemented_service(channel);
        cancel_after_begin(channel, server);
        cancel_after_first_response(client_address, server);
        cancel_of_server_streaming(channel, server);
        timeout_on_sleeping_server(channel);
        empty_unary(channel); // and the connection is as good as new
    }
}

/// `calls` large calls one after the other, then `calls` at once; afterwards none is left over on the server.
async fn run_load(client_address: SocketAddr, server: &InteropServer, calls: usize) {
    let channel = within(CASE_MAX, "connect", cases::connect(client_address)).await;
    let soak = cases::rpc_soak(&channel, calls, Duration::from_secs(1));
    within(LOAD_MAX, "rpc_soak", soak).await;
    within(LOAD_MAX, "concurrent_large_unary", cases::concurrent_large_unary(&channel, calls)).await;
    let ended = |call: &crate::support::interop_server::Call| call.ended == Ended::Finished;
    let seen = server.wait_until("every call ends", |calls| calls.iter().all(ended)).await;
    assert_eq!(seen.len(), 2 * calls, "each call reaches the server once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_without_a_gateway() {
    let server = InteropServer::start();
    run_all(server.address(), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_passes_without_a_gateway() {
    let server = InteropServer::start();
    run_load(server.address(), &server, 1_000).await;
}

/// The page names the back-end that the test asked for.
fn check_backend(gateway: &ringway::supervisor::Gateway, backend: &str) {
    let page = gateway.metrics();
    let line = format!("ringway_io_backend{{backend=\"{backend}\"}} 1");
    assert!(page.lines().any(|found| found == line), "{line} is not on the page:\n{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_through_the_gateway() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = gateway::before(&[server.address()], backend, "");
        check_backend(&gateway, backend);
        run_all(address, &server).await;
        let deadline = Duration::from_millis(200);
        let kept = cases::deadline_kept_by_the_peer(address, &server, deadline);
        within(CASE_MAX, "deadline_kept_by_the_peer", kept).await;
        gateway::metric_becomes(&gateway, "ringway_calls_active", 0).await;
        gateway::metric_becomes(&gateway, "ringway_upstream_calls_active", 0).await;
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0);
        assert_eq!(metric(&gateway, "ringway_upstream_replays_total"), 0);
    }
}

/// A server that answers every call with these messages, the first compressed and the second not.
async fn mixing(messages: Bytes) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let messages = messages.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = http::Response::builder().header("content-type", "application/grpc");
                    let head = head.header("grpc-encoding", "gzip").body(()).expect("valid");
                    let Ok(mut sink) = respond.send_response(head, false) else { return };
                    let _ = sink.send_data(messages.clone(), false); // the client tells if they do not come
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                    let _ = sink.send_trailers(trailers);
                }
            });
        }
    });
    address
}

/// `server_compressed_streaming`: the flag belongs to the message, not to the answer. tonic cannot mix them, so the
/// messages are made by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_compressed_streaming_passes_through_the_gateway() {
    let [first, second] = [31_415, 92_653].map(|size| vec![0; size]);
    let sent = [raw::message(1, &cases::gzip(&first)), raw::message(0, &second)].concat();
    let server = mixing(sent.clone().into()).await;
    for backend in BACKENDS {
        let (_gateway, address) = gateway::before(&[server], backend, "");
        let mut client = RawClient::connect(address).await;
        let headers = [("grpc-accept-encoding", "gzip")];
        let reply = client.call("/grpc.testing.TestService/StreamingOutputCall", &headers, b"").await;
        assert_eq!(
            (reply.grpc_status(), &reply.headers["grpc-encoding"]),
            (Some("0"), &"gzip".parse().unwrap())
        );
        let (mut walker, mut flags) = (Walker::default(), Vec::new());
        walker.walk(&reply.body, |flag| flags.push(flag));
        assert_eq!(flags, [1, 0], "{backend}");
        assert!(reply.body == sent, "{backend}: every byte as it was sent");
    }
}

/// 1,000 large calls one after the other, then 1,000 at once over one connection.
async fn load_through_the_gateway(backend: &str) {
    let server = InteropServer::start();
    let at_once =
        "\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.http2]\nmax_concurrent_streams = 1000\n";
    let (gateway, _) = gateway::before(&[server.address()], backend, at_once);
    check_backend(&gateway, backend);
    run_load(gateway.listeners()[1], &server, 1_000).await;
    gateway::metric_becomes(&gateway, "ringway_calls_active", 0).await;
    assert_eq!(metric(&gateway, "ringway_calls_started_total"), 2_000);
    assert_eq!(metric(&gateway, "ringway_connections_accepted_total"), 1, "one client connection for all");
    assert_eq!(metric(&gateway, "ringway_panics_total"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_passes_through_the_gateway_on_io_uring() {
    load_through_the_gateway("io_uring").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_passes_through_the_gateway_on_epoll() {
    load_through_the_gateway("epoll").await;
}
