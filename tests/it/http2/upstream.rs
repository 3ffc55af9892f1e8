//! Upstreams that misbehave, and what a call through the gateway comes to.
#![allow(clippy::disallowed_methods, reason = "a test measures how long an answer takes")]

use crate::support::gateway::{self, BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::raw::{self, RawClient, RawReply};
use crate::support::raw_server::{
    CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, RawServer, Stage, Step,
};
use crate::support::within;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const EMPTY_CALL: &str = "/grpc.testing.TestService/EmptyCall";
const REPLAYS: &str = "ringway_upstream_replays_total";

/// A call through a gateway of its own to a server of these steps; the gateway's replays.
async fn called(backend: &str, steps: &[Step]) -> (RawServer, RawReply, u64) {
    let server = RawServer::start(steps).await;
    // The replays here do not depend on the retry policy; see retries.rs for that.
    let once = "[clusters.retry]\nmax_attempts = 1\n";
    let (gateway, address) = gateway::before(&[server.address()], backend, once);
    let reply = RawClient::connect(address).await.call(EMPTY_CALL, &[], b"").await;
    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    metric_becomes(&gateway, "ringway_upstream_calls_active", 0).await;
    let replays = metric(&gateway, REPLAYS);
    (server, reply, replays)
}

/// The call has come to exactly this status, after this many attempts.
fn check(what: &str, (server, reply, replays): &(RawServer, RawReply, u64), status: &str, attempts: usize) {
    assert_eq!((reply.status, reply.grpc_status()), (200, Some(status)), "{what}: {reply:?}");
    assert!(reply.error.is_none(), "{what}: {reply:?}");
    let record = server.record();
    assert_eq!(record.requests, attempts, "{what}: {record:?}");
    assert_eq!(*replays, attempts as u64 - 1, "{what}");
}

/// Row 9: a service may go away in order, with NO_ERROR.
#[tokio::test]
async fn a_goodbye_in_order_is_counted() {
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::GoawayThenAnswer, Step::Answer]).await;
        let (gateway, address) = gateway::before(&[server.address()], backend, "");
        let mut client = RawClient::connect(address).await;
        for _ in 0..2 {
            assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
        }
        assert_eq!(metric(&gateway, "ringway_upstream_goaways_total"), 1, "{backend}");
        assert_eq!(metric(&gateway, "ringway_upstream_too_many_pings_total"), 0, "{backend}");
    }
}

#[tokio::test]
async fn a_call_that_was_refused_unseen_is_sent_once_more() {
    for backend in BACKENDS {
        for unseen in [Step::Reset(Stage::Nothing, REFUSED_STREAM), Step::GoawayUnseen] {
            let what = format!("{backend}, {unseen:?}");
            let ended = called(backend, &[unseen.clone(), Step::Answer]).await;
            check(&what, &ended, "0", 2);
            assert_eq!(&ended.1.body[..], [0; 5], "{what}");
            let record = ended.0.record();
            let connections = if unseen == Step::GoawayUnseen { 2 } else { 1 };
            assert_eq!(
                (record.connections, record.body_bytes > 0),
                (connections, true),
                "{what}: {record:?}"
            );
            check(&what, &called(backend, &[unseen]).await, "14", 2);
        }
    }
}

#[tokio::test]
async fn a_call_that_may_have_arrived_is_not_sent_again() {
    let resets = [(NO_ERROR, "13"), (INTERNAL_ERROR, "13"), (CANCEL, "1"), (ENHANCE_YOUR_CALM, "8")];
    for backend in BACKENDS {
        for (code, status) in resets {
            let step = Step::Reset(Stage::Nothing, code);
            check(&format!("{backend}, {step:?}"), &called(backend, &[step]).await, status, 1);
        }
        for stage in [Stage::Nothing, Stage::Head, Stage::HalfMessage, Stage::Message] {
            let reset = Step::Reset(stage, INTERNAL_ERROR);
            check(&format!("{backend}, {reset:?}"), &called(backend, &[reset]).await, "13", 1);
            let close = Step::Close(stage);
            check(&format!("{backend}, {close:?}"), &called(backend, &[close]).await, "14", 1);
        }
    }
}

#[tokio::test]
async fn answers_pass_as_they_are() {
    for backend in BACKENDS {
        for step in [Step::Answer, Step::Drip, Step::PingThenAnswer, Step::GoawayThenAnswer] {
            let what = format!("{backend}, {step:?}");
            let ended = called(backend, &[step]).await;
            check(&what, &ended, "0", 1);
            assert_eq!(&ended.1.body[..], [0; 5], "{what}");
        }
        let ended = called(backend, &[Step::Status(5, "gone%20away")]).await;
        check(backend, &ended, "5", 1);
        assert_eq!(ended.1.field("grpc-message"), Some("gone%20away"));
        assert!(ended.1.trailers.is_none(), "still one head and no more");
    }
}

/// doc/http-grpc-status-mapping.md
#[tokio::test]
async fn answers_that_are_not_grpc_become_a_status() {
    let statuses = [
        (200, "2"),
        (400, "13"),
        (401, "16"),
        (403, "7"),
        (404, "12"),
        (429, "14"),
        (500, "2"),
        (502, "14"),
        (503, "14"),
        (504, "14"),
    ];
    for backend in BACKENDS {
        for (http, status) in statuses {
            let ended = called(backend, &[Step::Http(http)]).await;
            check(&format!("{backend}, HTTP {http}"), &ended, status, 1);
            assert!(ended.1.body.is_empty(), "no HTML reaches a gRPC client");
        }
        check(backend, &called(backend, &[Step::NoStatus]).await, "2", 1);
    }
}

#[tokio::test]
async fn few_streams_at_a_time_are_enough_for_ten_calls() {
    for (backend, max_streams) in BACKENDS.into_iter().flat_map(|backend| [1, 2, 7].map(|max| (backend, max)))
    {
        let server = RawServer::with_max_streams(&[Step::Answer], max_streams).await;
        let one = "[clusters.pool]\nmax_connections_per_endpoint = 1\n";
        let (gateway, address) = gateway::before(&[server.address()], backend, one);
        let mut client = RawClient::connect(address).await;
        for _ in 0..2 {
            let mut calls = Vec::new();
            for _ in 0..10 {
                let mut call = client.open(EMPTY_CALL, &[]).await;
                call.send(raw::message(0, b""), true);
                calls.push(call);
            }
            for call in calls {
                let reply = call.reply().await;
                assert_eq!(reply.grpc_status(), Some("0"), "{backend}, {max_streams}: {reply:?}");
            }
        }
        assert_eq!((server.record().requests, server.record().connections), (20, 1));
        assert_eq!(metric(&gateway, REPLAYS), 0);
    }
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_at_its_deadline() {
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Answer, Step::Never]).await;
        let (_gateway, address) = gateway::before(&[server.address()], backend, "");
        let mut client = RawClient::connect(address).await;
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
        let began = Instant::now();
        let reply = client.call(EMPTY_CALL, &[("grpc-timeout", "100m")], b"").await;
        let took = began.elapsed();
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
        let allowed = Duration::from_millis(100)..Duration::from_millis(250);
        assert!(allowed.contains(&took), "{backend}: {took:?}");
        server.wait_until("the upstream sees the cancel", |record| record.resets == [CANCEL]).await;
    }
}

#[tokio::test]
async fn an_upstream_that_says_nothing_at_all_costs_the_deadline() {
    for backend in BACKENDS {
        let server = RawServer::silent().await;
        let (_gateway, address) = gateway::before(&[server.address()], backend, "");
        let mut client = RawClient::connect(address).await;
        let reply = client.call(EMPTY_CALL, &[("grpc-timeout", "100m")], b"").await;
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
    }
}

/// An address where nobody listens.
fn dead_address() -> SocketAddr {
    // Not 127.0.0.1, where the next test could get the port.
    let listener = std::net::TcpListener::bind("127.0.0.9:0").expect("a free loopback port");
    listener.local_addr().expect("a bound socket has an address")
}

#[tokio::test]
async fn a_dead_upstream_is_told_quickly_and_used_when_it_is_back() {
    for backend in BACKENDS {
        let address = dead_address();
        let quick = "[clusters.reconnect]\ninitial_backoff = \"10ms\"\nmax_backoff = \"50ms\"\n";
        let (gateway, front) = gateway::before(&[address], backend, quick);
        let mut client = RawClient::connect(front).await;
        for _ in 0..3 {
            let began = Instant::now();
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("14"), "{backend}: {reply:?}");
            assert!(began.elapsed() < Duration::from_secs(1), "{backend}: {:?}", began.elapsed());
        }
        for _ in 0..2 {
            let server = RawServer::start_at(address, &[Step::Answer]).await;
            let answered =
                async { while client.call(EMPTY_CALL, &[], b"").await.grpc_status() != Some("0") {} };
            within(Duration::from_secs(5), "the upstream that is back is used", answered).await;
            drop(server);
            let noticed =
                async { while client.call(EMPTY_CALL, &[], b"").await.grpc_status() == Some("0") {} };
            within(Duration::from_secs(5), "its end is noticed", noticed).await;
        }
        metric_becomes(&gateway, "ringway_upstream_connections_active", 0).await;
    }
}

/// Small DATA frames that do not end their stream look like an attack to h2's defaults (h2 0.4.14 and later).
#[tokio::test]
async fn a_thousand_small_answers_share_one_connection() {
    const CALLS: usize = 1_000;
    let extra = "[clusters.pool]\nmax_connections_per_endpoint = 1\nmax_streams_per_connection = 1000\n\
                 [[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.http2]\nmax_concurrent_streams = 1000\n";
    for (backend, step) in
        BACKENDS.into_iter().flat_map(|backend| [Step::Answer, Step::Drip].map(|step| (backend, step)))
    {
        let server = RawServer::start(&[step]).await;
        let (gateway, _) = gateway::before(&[server.address()], backend, extra);
        let mut client = RawClient::connect(gateway.listeners()[1]).await;
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            calls.push(client.open(EMPTY_CALL, &[]).await);
        }
        for call in &mut calls {
            call.send(raw::message(0, b""), true);
        }
        for call in calls {
            let reply = call.reply().await;
            assert_eq!((reply.grpc_status(), reply.body.len()), (Some("0"), 5), "{backend}: {reply:?}");
        }
        let record = server.record();
        assert_eq!((record.connections, record.requests_whole, record.goaways), (1, CALLS, 0), "{backend}");
        assert_eq!(metric(&gateway, "ringway_upstream_goaways_total"), 0);
        assert_eq!(metric(&gateway, REPLAYS), 0);
    }
}

/// Calls wait in line until the upstream's limit is known, and for one connection after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_find_room_on_large_connections() {
    const CALLS: usize = 1_000;
    let extra = "[clusters.pool]\nmax_connections_per_endpoint = 8\nmax_streams_per_connection = 190\n\
                 [[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.http2]\nmax_concurrent_streams = 1000\n";
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Never]).await;
        let (gateway, _) = gateway::before(&[server.address()], backend, extra);
        let mut client = RawClient::connect(gateway.listeners()[1]).await;
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let mut call = client.open(EMPTY_CALL, &[]).await;
            call.send(raw::message(0, b""), true);
            calls.push(call);
        }
        server.wait_until("all calls reach the server", |record| record.requests_whole == CALLS).await;
        assert_eq!(metric(&gateway, "ringway_upstream_pending_active"), 0, "{backend}");
    }
}

/// A connection carries so many calls, and the next one takes over; nobody notices.
#[tokio::test]
async fn connections_take_turns_before_they_are_worn_out() {
    const CALLS: usize = 50;
    const EACH: usize = 5;
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Answer]).await;
        let extra = format!("[clusters.pool]\nmax_requests_per_connection = {EACH}\n");
        let (gateway, address) = gateway::before(&[server.address()], backend, &extra);
        let mut client = RawClient::connect(address).await;
        for _ in 0..CALLS {
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
        }
        // A further connection may have been opened already, for the calls to come.
        let record = server.record();
        assert_eq!(record.requests, CALLS, "{backend}");
        assert!((CALLS / EACH..=CALLS / EACH + 1).contains(&record.connections), "{backend}: {record:?}");
        // Some at once: they find a connection too, and none carries more than its share.
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let mut call = client.open(EMPTY_CALL, &[]).await;
            call.send(raw::message(0, b""), true);
            calls.push(call);
        }
        for call in calls {
            assert_eq!(call.reply().await.grpc_status(), Some("0"), "{backend}");
        }
        let record = server.record();
        assert_eq!(record.requests, 2 * CALLS, "{backend}: none was sent twice");
        assert!(record.connections >= 2 * CALLS / EACH, "{backend}: {record:?}");
        assert_eq!(metric(&gateway, REPLAYS), 0, "{backend}");
    }
}

#[tokio::test]
async fn clusters_of_a_route_share_its_calls_by_weight() {
    const CALLS: usize = 1_000;
    for backend in BACKENDS {
        let servers = [RawServer::start(&[Step::Answer]).await, RawServer::start(&[Step::Answer]).await];
        let none = RawServer::start(&[Step::Answer]).await;
        let cluster = |name: &str, server: &RawServer| {
            format!("[[clusters]]\nname = \"{name}\"\nendpoints = [\"{}\"]\n", server.address())
        };
        let more = cluster("few", &servers[1]) + &cluster("none", &none);
        let config = GatewayBuilder::new(&[servers[0].address()], backend).extra(&more);
        let weighted = "[{ name = \"interop\", weight = 80 }, { name = \"few\", weight = 20 }, \
                        { name = \"none\", weight = 0 }]";
        let config = config.unset("routes.cluster").set_toml("routes.weighted_clusters", weighted);
        let gateway = config.start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        for _ in 0..CALLS {
            assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
        }
        let [most, few] = [0, 1].map(|at: usize| servers[at].record().requests);
        assert_eq!((most + few, none.record().requests), (CALLS, 0), "{backend}");
        // Five standard deviations of such a coin to either side.
        assert!((137..=263).contains(&few), "{backend}: {few} of {CALLS}, and 200 are its share");
    }
}
