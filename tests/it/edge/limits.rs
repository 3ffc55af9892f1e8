//! Rate limits by caller, and copies for mirrors.

use std::time::Duration;

use h2::Reason;

use super::routed;
use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::raw::{EMPTY_CALL, RawClient, message};
use crate::support::service::{Act, Service};

async fn service() -> Service {
    Service::start(|_, _| Act::Answer).await
}

#[tokio::test]
async fn each_caller_has_a_limit_of_its_own() {
    let route = "[[routes.rate_limits]]\nkey = \"header:x-tenant\"\nmax_tokens = 3\ntokens_per_fill = 1\n\
                 fill_interval = \"1h\"\n[[routes.rate_limits]]\nkey = \"remote_address\"\nmax_tokens = 100\n";
    for backend in BACKENDS {
        let service = service().await;
        let (gateway, address) = routed(&service, backend, route, "");
        // Several connections, so that both workers count.
        for tenant in ["a", "b", ""] {
            let mut passed = 0;
            for _ in 0..8 {
                let mut client = RawClient::connect(address).await;
                let reply = client.call(EMPTY_CALL, &[("x-tenant", tenant)], b"").await;
                match reply.grpc_status() {
                    Some("0") => passed += 1,
                    other => assert_eq!(other, Some("8"), "{reply:?}"),
                }
            }
            assert_eq!(passed, 3, "{tenant:?}");
        }
        let mut client = RawClient::connect(address).await;
        let reply = client.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(
            reply.grpc_status(),
            Some("8"),
            "calls without the field share a bucket with an empty one"
        );
        assert_eq!((service.count(), metric(&gateway, "ringway_rate_limited_total")), (9, 16));
    }
}

#[tokio::test]
async fn callers_behind_a_trusted_proxy_are_told_apart() {
    let service = service().await;
    let route = "[[routes.rate_limits]]\nkey = \"remote_address\"\nmax_tokens = 2\ntokens_per_fill = 1\n\
                 fill_interval = \"1h\"\n";
    let gateway = GatewayBuilder::new(&[service.address()], "io_uring")
        .route(route)
        .set_toml("listeners.trusted_cidrs", "[\"127.0.0.0/8\"]")
        .start();
    let mut client = Http1::connect(gateway.listeners()[0]).await;
    for (caller, passes) in [("6.6.6.6", 2), ("6.6.6.7", 2), ("2001:db8::1", 2), ("::ffff:6.6.6.6", 0)] {
        let mut passed = 0;
        for _ in 0..4 {
            let headers = [("content-type", "application/grpc-web+proto"), ("x-forwarded-for", caller)];
            let answer = client.ask(&format!("POST {EMPTY_CALL}"), &headers, &message(0, b"")).await;
            passed += usize::from(String::from_utf8_lossy(&answer.body).contains("grpc-status: 0\r\n"));
        }
        assert_eq!(passed, passes, "{caller}");
    }
}

fn mirrored(percentage: f64, mirror: &Service) -> (String, String) {
    let route = format!(
        "[[routes.request_mirror_policies]]\ncluster = \"mirror\"\npercentage = {percentage:?}\ntimeout = \"300ms\"\n"
    );
    let tables = format!(
        "[[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nunary = true\n[[clusters]]\nname = \"mirror\"\nendpoints = [\"{}\"]\n",
        mirror.address()
    );
    (route, tables)
}

#[tokio::test]
async fn a_share_of_calls_is_copied() {
    const CALLS: usize = 1000;
    for backend in BACKENDS {
        let (service, mirror) = (service().await, service().await);
        let (route, tables) = mirrored(25.0, &mirror);
        let (gateway, address) = routed(&service, backend, &route, &tables);
        let mut client = RawClient::connect(address).await;
        for _ in 0..CALLS {
            let reply = client.call(EMPTY_CALL, &[("x-mine", "1")], b"payload").await;
            assert_eq!(reply.grpc_status(), Some("0"));
        }
        let copies = metric(&gateway, "ringway_mirrored_total");
        // 250 are expected; five standard deviations are 68.
        assert!((182..=318).contains(&copies), "{copies}");
        let asked = mirror
            .wait_until("all copies", |all| all.iter().filter(|it| it.whole).count() as u64 == copies)
            .await;
        assert!(
            asked.iter().all(|it| it.bytes == 12 && it.header("x-mine") == Some("1")),
            "the message in its frame"
        );
        assert_eq!((service.count(), metric(&gateway, "ringway_mirrors_failed_total")), (CALLS, 0));
    }
}

/// Whatever a mirror does, the call is what it was.
#[tokio::test]
async fn a_mirror_in_trouble_troubles_nobody() {
    for act in [
        Act::Silence,
        Act::Reset(Reason::INTERNAL_ERROR),
        Act::Status(14, None),
        Act::AnswerAfter(Duration::from_millis(100)),
    ] {
        let (service, mirror) = (service().await, Service::start(move |_, _| act).await);
        let (route, tables) = mirrored(100.0, &mirror);
        let (gateway, address) = routed(&service, "io_uring", &route, &tables);
        let mut client = RawClient::connect(address).await;
        for _ in 0..200 {
            assert_eq!(client.call(EMPTY_CALL, &[], b"x").await.grpc_status(), Some("0"), "{act:?}");
        }
        assert_eq!(service.count(), 200, "{act:?}");
        metric_becomes(&gateway, "ringway_upstream_calls_active", 0).await;
        let before = mirror.count();
        assert_eq!(client.call(EMPTY_CALL, &[], b"x").await.grpc_status(), Some("0"), "{act:?}");
        mirror.wait_until("a copy more", |all| all.len() > before).await;
    }
}
