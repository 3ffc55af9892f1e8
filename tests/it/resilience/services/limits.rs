//! Limits that all workers share.

use ringway::supervisor::Gateway;
use std::time::Duration;

use super::{clients, round};
use crate::support::gateway::{self, BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::raw::{self, EMPTY_CALL};
use crate::support::raw_server::{RawServer, Step};
use crate::support::service::{Act, Service};
use crate::support::within;

#[tokio::test]
async fn a_rate_limit_is_exact_over_workers() {
    let limit = "[routes.rate_limit]\nmax_tokens = 100\ntokens_per_fill = 1\nfill_interval = \"1h\"";
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let gateway = GatewayBuilder::new(&[service.address()], backend).route(limit).start();
        let mut clients = clients(gateway.listeners()[0]).await;
        // Idle tokens of one worker reach the other at its tick, so it may take more than one round.
        let all = async {
            while service.count() < 100 {
                round(&mut clients).await;
            }
        };
        within(Duration::from_secs(5), "all tokens are used", all).await;
        for _ in 0..5 {
            assert!(round(&mut clients).await.iter().all(|code| *code == 8), "{backend}");
        }
        assert_eq!(service.count(), 100, "{backend}");
        assert!(metric(&gateway, "ringway_rate_limited_total") >= 60, "{backend}");
    }
}

#[tokio::test]
async fn connections_are_limited_over_all_workers() {
    let extra = "max_connections = 3\n[clusters.pool]\nmax_streams_per_connection = 2\n";
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Never]).await;
        let (gateway, address) = gateway::before(&[server.address()], backend, extra);
        let mut open = Vec::new();
        let mut clients = clients(address).await;
        for at in 0..36 {
            let mut call = clients[at % 12].open(EMPTY_CALL, &[]).await;
            call.send(raw::message(0, b""), true);
            open.push(call);
        }
        // Either worker has 18 calls or more, and wants nine connections.
        let wanted = |page: &Gateway| metric(page, "ringway_upstream_connections_refused_total") > 0;
        let refused = async {
            while !wanted(&gateway) {
                tokio::task::yield_now().await;
            }
        };
        within(Duration::from_secs(5), "more connections are wanted", refused).await;
        let record = server.wait_until("three connections", |record| record.connections >= 3).await;
        assert_eq!(record.connections, 3, "{backend}");
        metric_becomes(&gateway, "ringway_upstream_connections_active", 3).await;
    }
}
