//! The program as an operator sees it: a process that gets signals.

use crate::support::callers::{Callers, open_call};
use crate::support::gateway::{BACKENDS, GatewayBuilder, asked, gateway_config};
use crate::support::interop_server::InteropServer;
use crate::support::process::Process;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::within;
use std::time::Duration;

const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_end_it_finishes_its_calls_and_exits_with_0() {
    let server = InteropServer::start();
    for (backend, signal) in
        BACKENDS.into_iter().flat_map(|backend| ["TERM", "INT"].map(|name| (backend, name)))
    {
        let what = format!("{backend}, SIG{signal}");
        let process = Process::start(&gateway_config(&[server.address()], backend, "")).await;
        let mut client = RawClient::connect(process.listener).await;
        let mut call = open_call(&mut client, &server).await;
        assert_eq!(asked(process.admin, "/ready").await, "HTTP/1.1 200 OK", "{what}");

        process.signal(signal);
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let fails = async {
            while !asked(process.admin, "/ready").await.starts_with("HTTP/1.1 503") {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(5), "readiness fails", fails).await;
        call.send(raw::message(0, b""), true);
        let reply = call.reply().await;
        assert_eq!((reply.grpc_status(), reply.error.is_none()), (Some("0"), true), "{what}: {reply:?}");
        assert_eq!(process.ended().await.code(), Some(0), "{what}");
        client.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_does_not_end_it() {
    let server = InteropServer::start();
    let mut process = Process::start(&gateway_config(&[server.address()], BACKENDS[0], "")).await;
    let mut client = RawClient::connect(process.listener).await;
    process.signal("HUP");
    process.says("new configuration").await;
    assert_eq!(asked(process.admin, "/ready").await, "HTTP/1.1 200 OK");
    let reply = client.call(EMPTY_CALL, &[], b"").await;
    assert_eq!(reply.grpc_status(), Some("0"), "the connection from before goes on: {reply:?}");
    drop(client);
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
}

/// The next process is up before the last one is asked to end; the back-ends take turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_one_process_takes_over_from_another() {
    let server = InteropServer::start();
    let config = |round: usize| GatewayBuilder::new(&[server.address()], BACKENDS[round % 2]);
    let mut current = Process::start(&config(0).text()).await;
    let address = current.listener;
    let callers = Callers::start(address, 4, usize::MAX);
    for round in 1..=ROUNDS {
        callers.progress(50).await;
        let next = config(round).set("listeners.address", address.to_string());
        let next = Process::start(&next.set("listeners.reuse_port", true).text()).await;
        assert_eq!(next.listener, address);
        current.signal("TERM");
        let ended = std::mem::replace(&mut current, next).ended().await;
        assert_eq!(ended.code(), Some(0), "round {round}");
    }
    callers.progress(50).await;
    assert!(callers.stop().await >= 4 + ROUNDS as u64, "callers were sent away in every round");
    current.signal("TERM");
    assert_eq!(current.ended().await.code(), Some(0));
}
