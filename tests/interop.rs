//! The gRPC interop cases: between a client and a server directly, and with the gateway between.

mod support;

use std::net::SocketAddr;
use std::time::Duration;
use support::interop_client as cases;
use support::interop_server::{Ended, InteropServer};
use support::within;

const CASE_MAX: Duration = Duration::from_secs(10);
const LOAD_MAX: Duration = Duration::from_secs(120);

/// Every case, one after the other. `client_address` is where a client connects: the server, or a gateway before it.
async fn run_all(client_address: SocketAddr, server: &InteropServer) {
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
    let ended = |call: &support::interop_server::Call| call.ended == Ended::Finished;
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
