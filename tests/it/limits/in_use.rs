//! Limits that hold over all workers, however unevenly callers are spread over them.

use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::interop_server::InteropServer;
use crate::support::raw::{self, EMPTY_CALL, RawClient, RawReply};
use crate::support::service::{Act, Service};
use crate::support::within;
use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

const WORKERS: usize = 4;

/// How many calls each of four clients, on four workers, has at once.
const SKEWS: [[usize; WORKERS]; 4] = [[10, 10, 10, 10], [37, 1, 1, 1], [40, 0, 0, 0], [0, 1, 0, 39]];
const CALLS: usize = 40;

const LIMIT_REFUSED: &str = "ringway_upstream_limit_refused_total";
const PENDING: &str = "ringway_upstream_pending_active";
const OVERFLOW: &str = "ringway_upstream_pending_overflow_total";

/// A gateway of four workers before a service that never answers, and a client on each of them.
async fn start(backend: &str, extra: &str) -> (Service, Gateway, Vec<RawClient>) {
    let service = Service::start(|_, _| Act::Silence).await;
    let extra = format!("{extra}[clusters.retry]\nmax_attempts = 1\n");
    let gateway =
        GatewayBuilder::new(&[service.address()], backend).set("workers", WORKERS).extra(&extra).start();
    let clients = clients(&gateway, gateway.listeners()[0]).await;
    (service, gateway, clients)
}

async fn clients(gateway: &Gateway, address: SocketAddr) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for number in 1..=WORKERS {
        clients.push(RawClient::connect(address).await);
        metric_becomes(gateway, "ringway_connections_active", number as u64).await;
    }
    let at = |worker: usize| metric(gateway, &format!("ringway_connections_active{{worker=\"{worker}\"}}"));
    assert_eq!([0, 1, 2, 3].map(at), [1; WORKERS], "one on each worker");
    clients
}

/// Begins calls, so many of each client.
async fn begin(clients: &mut [RawClient], counts: [usize; WORKERS], calls: &mut JoinSet<RawReply>) {
    for (client, count) in clients.iter_mut().zip(counts) {
        for _ in 0..count {
            let mut call = client.open(EMPTY_CALL, &[]).await;
            call.send(raw::message(0, b""), true);
            calls.spawn(call.reply());
        }
    }
}

/// Waits until so many calls are refused.
async fn refused(calls: &mut JoinSet<RawReply>, count: usize, what: &str) {
    for _ in 0..count {
        let ended = within(Duration::from_secs(5), what, calls.join_next()).await;
        let reply = ended.expect("calls are left").expect("no panic");
        assert_eq!(reply.grpc_status(), Some("14"), "{what}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_requests_is_exact_under_any_skew() {
    const MAX: usize = 10;
    for backend in BACKENDS {
        let (service, gateway, mut clients) = start(backend, &format!("max_requests = {MAX}\n")).await;
        for (round, skew) in SKEWS.into_iter().enumerate() {
            let what = format!("{backend}, {skew:?}");
            let mut calls = JoinSet::new();
            begin(&mut clients, skew, &mut calls).await;
            refused(&mut calls, CALLS - MAX, &what).await;
            let rounds = round + 1;
            service.wait_until(&what, |asked| asked.len() == MAX * rounds).await;
            assert_eq!(metric(&gateway, LIMIT_REFUSED), ((CALLS - MAX) * rounds) as u64, "{what}");
            assert_eq!(metric(&gateway, "ringway_upstream_calls_active"), MAX as u64, "{what}");
            // The callers give up, and all tokens are there for the next ones.
            drop(calls);
            metric_becomes(&gateway, "ringway_calls_active", 0).await;
        }
    }
}

/// Method: a limit large enough for workers to lease tokens in batches. Calls come until it is reached, which may take
/// some rounds, for idle tokens come back at the tick of a worker; never is one too many let through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_leased_in_batches_is_reached_and_never_exceeded() {
    const MAX: usize = 200;
    for backend in BACKENDS {
        let extra = format!("max_requests = {MAX}\n[clusters.pool]\nmax_streams_per_connection = 1000\n");
        let (service, gateway, mut clients) = start(backend, &extra).await;
        let mut calls = JoinSet::new();
        let mut begun = 0;
        let all = async {
            for skew in SKEWS.into_iter().cycle() {
                begin(&mut clients, skew, &mut calls).await;
                begun += CALLS;
                let decided = async {
                    while service.count() + (metric(&gateway, LIMIT_REFUSED) as usize) < begun {
                        tokio::task::yield_now().await;
                    }
                };
                within(Duration::from_secs(5), "each call is refused or let through", decided).await;
                assert!(service.count() <= MAX, "{backend}");
                if service.count() == MAX {
                    break;
                }
            }
        };
        within(Duration::from_secs(8), "the limit is reached", all).await;
        assert_eq!(metric(&gateway, "ringway_upstream_calls_active"), MAX as u64, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_pending_requests_is_exact_under_any_skew() {
    const MAX: usize = 10;
    // A single call of a worker goes up, and all others wait for it to end.
    let extra = format!(
        "max_pending_requests = {MAX}\n[clusters.pool]\nmax_connections_per_endpoint = 1\nmax_streams_per_connection = 1\n"
    );
    for (backend, skew) in BACKENDS.into_iter().flat_map(|backend| SKEWS.map(|skew| (backend, skew))) {
        let what = format!("{backend}, {skew:?}");
        let (service, gateway, mut clients) = start(backend, &extra).await;
        let mut calls = JoinSet::new();
        let first = skew.map(|count| count.min(1));
        let sent = first.iter().sum::<usize>();
        begin(&mut clients, first, &mut calls).await;
        service.wait_until(&what, |asked| asked.len() == sent).await;

        begin(&mut clients, [0, 1, 2, 3].map(|at| skew[at] - first[at]), &mut calls).await;
        let above = CALLS - sent - MAX;
        refused(&mut calls, above, &what).await;
        metric_becomes(&gateway, PENDING, MAX as u64).await;
        assert_eq!((metric(&gateway, OVERFLOW), service.count()), (above as u64, sent), "{what}");
        // All give up at once, those who wait and those they wait for: no place is lost.
        drop(calls);
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        assert_eq!(metric(&gateway, PENDING), 0, "{what}");
        let mut calls = JoinSet::new();
        begin(&mut clients, skew, &mut calls).await;
        refused(&mut calls, above, &what).await;
        metric_becomes(&gateway, PENDING, MAX as u64).await;
    }
}

/// Row 51: heads cost a client next to nothing, so calls of which nothing else comes keep no place that somebody needs.
/// Method: two clients take all places with heads alone. Others are refused until a worker has looked whose body has not
/// begun for a second; then they are served, on whichever worker they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_which_only_heads_come_give_their_places_to_others() {
    const MAX: usize = 8;
    for (backend, workers) in BACKENDS.into_iter().flat_map(|backend| [(backend, 1), (backend, WORKERS)]) {
        let server = InteropServer::start();
        let extra = format!("max_requests = {MAX}\n[clusters.retry]\nmax_attempts = 1\n");
        let gateway =
            GatewayBuilder::new(&[server.address()], backend).set("workers", workers).extra(&extra).start();
        let mut clients = Vec::new();
        for number in 1..=WORKERS {
            clients.push(RawClient::connect(gateway.listeners()[0]).await);
            metric_becomes(&gateway, "ringway_connections_active", number as u64).await;
        }
        let (rude, others) = clients.split_at_mut(2);
        let mut heads = JoinSet::new();
        for client in rude {
            for _ in 0..MAX / 2 {
                let call = client.open(EMPTY_CALL, &[]).await;
                heads.spawn(call.reply());
            }
        }
        metric_becomes(&gateway, "ringway_upstream_calls_active", MAX as u64).await;
        for client in others {
            let served = async {
                loop {
                    let reply = client.call(EMPTY_CALL, &[], b"").await;
                    match reply.grpc_status() {
                        Some("0") => break,
                        Some("14") => tokio::task::yield_now().await,
                        other => panic!("{backend}, {workers}: {other:?}, {reply:?}"),
                    }
                }
            };
            within(Duration::from_secs(5), "somebody gives a place up", served).await;
            assert!(metric(&gateway, "ringway_upstream_calls_active") <= MAX as u64, "{backend}, {workers}");
        }
        let lost = heads.join_next().await.expect("calls are left").expect("no panic");
        assert_eq!(lost.grpc_status(), Some("14"), "{backend}, {workers}: {lost:?}");
        assert!(metric(&gateway, "ringway_failures_total{failure=\"limit_reached\"}") >= 1, "{backend}");
        drop(heads);
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        // No place is lost: as many as before are let through at once.
        let mut calls = Vec::new();
        for client in &mut clients {
            for _ in 0..MAX / WORKERS {
                let mut call = client.open("/grpc.testing.TestService/FullDuplexCall", &[]).await;
                call.send(raw::message(0, b""), false);
                calls.push(call);
            }
        }
        for call in &mut calls {
            assert!(!call.head().await.expect("a head").headers().contains_key("grpc-status"), "{backend}");
        }
    }
}
