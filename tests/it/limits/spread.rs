//! Which worker serves a connection: a few that live long must not all stay with one.

use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;
use ringway::supervisor::{Ended, Gateway};
use std::net::SocketAddr;
use std::time::Duration;

const ACTIVE: &str = "ringway_connections_active";
const HANDED: &str = "ringway_connections_handed_total";
const REFUSED: &str = "ringway_connections_refused_total";

/// A gateway of so many workers, with more lines in its listener.
fn start(service: &Service, backend: &str, workers: usize, listener: &str) -> (Gateway, SocketAddr) {
    let gateway = GatewayBuilder::new(&[service.address()], backend)
        .set("drain_timeout", "60s")
        .set("workers", workers)
        .listener(listener)
        .start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// The connections of each worker.
fn connections(gateway: &Gateway, workers: usize) -> Vec<u64> {
    (0..workers).map(|worker| metric(gateway, &format!("{ACTIVE}{{worker=\"{worker}\"}}"))).collect()
}

async fn call(client: &mut RawClient) {
    let reply = client.call(EMPTY_CALL, &[], b"").await;
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
}

#[tokio::test]
async fn two_connections_live_on_two_workers() {
    const ROUNDS: usize = 100;
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = start(&service, backend, 2, "");
        for round in 0..ROUNDS {
            let mut one = RawClient::connect(address).await;
            call(&mut one).await;
            let mut other = RawClient::connect(address).await;
            call(&mut other).await;
            assert_eq!(connections(&gateway, 2), [1, 1], "{backend}, round {round}");
            drop((one, other));
            metric_becomes(&gateway, ACTIVE, 0).await;
        }
        println!("{backend}: apart in {ROUNDS} rounds, {} handed", metric(&gateway, HANDED));
        assert_eq!((service.count(), metric(&gateway, REFUSED)), (2 * ROUNDS, 0), "{backend}");

        let mut kept = [RawClient::connect(address).await, RawClient::connect(address).await];
        for client in &mut kept {
            call(client).await;
        }
        let mut admin = Http1::connect(gateway.admin()).await;
        let page = admin.ask("GET /workers?format=json", &[], b"").await.json();
        let at = |worker: usize| page["workers"][worker]["connections"].as_u64();
        assert_eq!([at(0), at(1)], [Some(1), Some(1)], "{backend}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_spread_and_each_connection_served() {
    const CLIENTS: usize = 60;
    const WORKERS: u64 = 3;
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = start(&service, backend, 3, "");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            tasks.spawn(async move {
                let mut client = RawClient::connect(address).await;
                call(&mut client).await;
                client
            });
        }
        let _clients = tasks.join_all().await;
        let all = connections(&gateway, 3);
        let (most, fewest) = (all.iter().max().unwrap(), all.iter().min().unwrap());
        println!("{backend}: {all:?}, {} handed", metric(&gateway, HANDED));
        assert_eq!(all.iter().sum::<u64>(), CLIENTS as u64, "{backend}");
        // An eighth, and one that each worker places without seeing what the others place at the same moment. The simulation
        // has them one after the other, and holds it exactly: `src/worker/simulation/fleet.rs`.
        assert!(*most <= fewest + fewest / 8 + WORKERS, "{backend}: {all:?}");
        assert_eq!(metric(&gateway, REFUSED), 0, "{backend}");
    }
}

#[tokio::test]
async fn each_worker_takes_what_it_may_and_no_more() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = start(&service, backend, 2, "max_connections = 2");
        for round in 1..=5 {
            let mut clients = Vec::new();
            for _ in 0..4 {
                let mut client = RawClient::connect(address).await;
                call(&mut client).await;
                clients.push(client);
            }
            assert_eq!(connections(&gateway, 2), [2, 2], "{backend}");
            if let Ok(refused) = RawClient::try_connect(address).await {
                refused.closed().await;
            }
            metric_becomes(&gateway, REFUSED, round).await;
            drop(clients);
            metric_becomes(&gateway, ACTIVE, 0).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_handed_where_the_operator_wants_none() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = start(&service, backend, 2, "balance_connections = false");
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = RawClient::connect(address).await;
            call(&mut client).await;
            clients.push(client);
        }
        assert_eq!((metric(&gateway, ACTIVE), metric(&gateway, HANDED)), (20, 0), "{backend}");
    }
}

/// Method: clients connect and call all the time, three of four to be handed on, while the gateway drains. An accepted
/// client has its answers, or is told to go. Nobody waits for a worker that has ended, nor does a worker for anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_while_it_drains_are_not_lost() {
    const ROUNDS: usize = 8;
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let mut handed = 0;
        for round in 0..ROUNDS {
            let (gateway, address) = start(&service, backend, 4, "");
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..8 {
                tasks.spawn(async move {
                    let mut served = 0;
                    // Refused once nobody listens; one that waits in the queue of a socket that closes is reset.
                    while let Ok(mut client) = RawClient::try_connect(address).await {
                        let Some(reply) = client.try_call(EMPTY_CALL, b"").await else { continue };
                        assert!(reply.error.is_some() || reply.grpc_status() == Some("0"), "{reply:?}");
                        served += usize::from(reply.error.is_none());
                    }
                    served
                });
            }
            let busy = async {
                while metric(&gateway, "ringway_connections_accepted_total") < 50 + 10 * round as u64 {
                    tokio::task::yield_now().await;
                }
            };
            within(Duration::from_secs(10), "connections come", busy).await;
            gateway.drain();
            handed += metric(&gateway, HANDED);
            let joined = tokio::task::spawn_blocking(|| gateway.join());
            // Far below drain_timeout, at which it would end whatever it waits for.
            let ended = within(Duration::from_secs(10), "the gateway ends", joined).await.expect("no panic");
            assert_eq!(ended, Ended { calls_cut: 0, workers_lost: 0 }, "{backend}");
            let all = within(Duration::from_secs(10), "every client is told", tasks.join_all()).await;
            assert!(all.iter().sum::<usize>() > 0, "{backend}");
        }
        println!("{backend}: {handed} handed");
        assert!(handed > 0, "{backend}");
    }
}
