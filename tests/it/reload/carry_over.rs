//! State of a gateway over a reload: learnt values and limits in use. Each part stays that is not set otherwise.
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::gateway::{self, BACKENDS, GatewayBuilder, gateway_config, metric, metric_becomes};
use crate::support::health::health_service;
use crate::support::raw::{self, EMPTY_CALL, RawCall, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;
use ringway::config;
use ringway::supervisor::Gateway;

fn reload(gateway: &mut Gateway, text: &str) {
    let config = config::parse(text, Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    gateway.reload(config).unwrap_or_else(|error| panic!("{error}"));
}

/// A service that is ill while this says so.
async fn service(ill: &Arc<AtomicBool>) -> Service {
    let ill = Arc::clone(ill);
    Service::start(move |_, _| if ill.load(Ordering::SeqCst) { Act::Status(14, None) } else { Act::Answer })
        .await
}

/// The codes of so many calls, one after the other.
async fn codes(client: &mut RawClient, count: usize) -> Vec<String> {
    let mut codes = Vec::new();
    for _ in 0..count {
        let reply = client.call(EMPTY_CALL, &[], b"").await;
        codes.push(reply.grpc_status().unwrap_or_else(|| panic!("{reply:?}")).to_owned());
    }
    codes
}

const ALONE: &str = "[clusters.retry]\nmax_attempts = 1\n";

#[tokio::test]
async fn a_breaker_that_is_open_stays_open_when_something_else_changes() {
    for backend in BACKENDS {
        let service = service(&Arc::new(AtomicBool::new(true))).await;
        let another = Service::start(|_, _| Act::Answer).await;
        let config = |first: &str, endpoints: &[SocketAddr], least: u32| {
            let breaker = format!("[clusters.breaker]\nmin_requests = {least}\ntimeout = \"1h\"\n");
            gateway_config(endpoints, backend, &format!("{first}{ALONE}{breaker}"))
        };
        let mut gateway = gateway::start(&config("", &[service.address()], 5));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        assert_eq!(codes(&mut client, 6).await, ["14"; 6], "{backend}");
        let state = |gateway: &Gateway| {
            ["state", "opens_total"].map(|what| metric(gateway, &format!("ringway_breaker_{what}")))
        };
        assert_eq!((service.count(), state(&gateway)), (5, [2, 1]), "{backend}");

        let both = [another.address(), service.address()];
        for (first, endpoints) in
            [("timeout = \"3s\"\n", &both[1..]), ("max_requests = 9\n", &both[1..]), ("", &both[..])]
        {
            reload(&mut gateway, &config(first, endpoints, 5));
            assert_eq!(codes(&mut client, 3).await, ["14"; 3], "{backend}, {first}");
        }
        assert_eq!((service.count(), another.count(), state(&gateway)), (5, 0, [2, 1]), "{backend}");
        // Another breaker begins closed.
        reload(&mut gateway, &config("", &both[..1], 6));
        // A call that comes with the news may still meet the one before.
        let taken = async { while codes(&mut client, 1).await != ["0"] {} };
        within(Duration::from_secs(5), "the worker has the other breaker", taken).await;
        assert_eq!(codes(&mut client, 3).await, ["0"; 3], "{backend}");
        assert_eq!(state(&gateway), [0, 0], "{backend}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_ejected_stays_so_and_is_forgotten_when_it_is_gone() {
    const EJECTED: &str = "ringway_outlier_ejected";
    for backend in BACKENDS {
        let moods = [true, false, false].map(|ill| Arc::new(AtomicBool::new(ill)));
        let services = [service(&moods[0]).await, service(&moods[1]).await, service(&moods[2]).await];
        let at = |all: &[usize]| all.iter().map(|at| services[*at].address()).collect::<Vec<_>>();
        let rest = format!(
            "{ALONE}[clusters.breaker]\nenabled = false\n[clusters.outlier_detection]\nbase_ejection_time = \"1h\"\n"
        );
        let config =
            |all: &[usize], first: &str| gateway_config(&at(all), backend, &format!("{first}{rest}"));
        let mut gateway = gateway::start(&config(&[0, 1], ""));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let ejected = async {
            while metric(&gateway, EJECTED) == 0 {
                codes(&mut client, 1).await;
            }
        };
        within(Duration::from_secs(5), "the ill one is ejected", ejected).await;
        let before = services[0].count();
        for (all, first) in [
            (&[0, 1][..], "max_requests = 9\n"),
            (&[2, 1, 0], ""),
            (&[1, 0], "lb_policy = \"round_robin\"\n"),
        ] {
            reload(&mut gateway, &config(all, first));
            // Another client may be another worker's.
            for client in [&mut client, &mut RawClient::connect(gateway.listeners()[0]).await] {
                assert_eq!(codes(client, 20).await, ["0"; 20], "{backend}, {all:?}");
            }
        }
        assert_eq!((services[0].count(), metric(&gateway, EJECTED)), (before, 1), "{backend}");
        assert_eq!(metric(&gateway, "ringway_outlier_ejections_total"), 1, "{backend}");
        reload(&mut gateway, &config(&[1, 2], ""));
        assert_eq!(metric(&gateway, EJECTED), 0, "{backend}");
        // Where it is added again it begins anew.
        moods[0].store(false, Ordering::SeqCst);
        reload(&mut gateway, &config(&[0, 1], ""));
        assert_eq!(codes(&mut client, 40).await, ["0"; 40], "{backend}");
        assert!(services[0].count() > before, "{backend}");
    }
}

/// Connections enough that each of two workers has some.
async fn clients(address: SocketAddr) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(RawClient::connect(address).await);
    }
    clients
}

/// Calls to a service that says nothing: those that it got, in `open`, and how many were refused.
async fn opened(
    clients: &mut [RawClient],
    service: &Service,
    count: usize,
    open: &mut Vec<RawCall>,
) -> usize {
    let mut refused = 0;
    for at in 0..count {
        let before = service.count();
        let at = at % clients.len();
        let mut call = clients[at].open(EMPTY_CALL, &[]).await;
        call.send(raw::message(0, b""), true);
        tokio::select! {
            _ = call.head() => refused += 1,
            _ = service.wait_until("the call", |all| all.len() > before) => open.push(call),
        }
    }
    refused
}

/// Calls that the service has and nobody has given up.
fn in_flight(service: &Service) -> usize {
    service.asked().iter().filter(|call| call.cancelled_at.is_none()).count()
}

#[tokio::test]
async fn calls_of_both_configurations_count_against_the_limit() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Silence).await;
        let config = |max: u32, timeout: u32| {
            let extra = format!("max_requests = {max}\ntimeout = \"{timeout}s\"\n{ALONE}");
            gateway_config(&[service.address()], backend, &extra)
        };
        let mut gateway = gateway::start(&config(6, 60));
        let (mut clients, mut open) = (clients(gateway.listeners()[0]).await, Vec::new());
        assert_eq!(opened(&mut clients, &service, 10, &mut open).await, 4, "{backend}");
        // Something else changes: still six. Then fewer, so that some have to end first.
        for (max, ended, more) in
            [(6, 0, 0), (4, 1, 0), (4, 2, 1), (8, 0, 4), (3, 7, 2), (3, 0, 0), (5, 0, 2)]
        {
            reload(&mut gateway, &config(max, 50 + max));
            let left = open.len() - ended;
            open.truncate(left);
            service
                .wait_until("they have ended", |all| {
                    all.iter().filter(|call| call.cancelled_at.is_none()).count() == left
                })
                .await;
            metric_becomes(&gateway, "ringway_calls_active", left as u64).await;
            assert_eq!(opened(&mut clients, &service, 6, &mut open).await, 6 - more, "{backend}: {max}");
            assert_eq!(in_flight(&service), left + more, "{backend}: {max}");
        }
    }
}

#[tokio::test]
async fn what_is_used_of_a_rate_stays_used() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let config = |max: u32, timeout: u32| {
            let rate = format!("{{ max_tokens = {max}, tokens_per_fill = 1, fill_interval = \"1h\" }}");
            GatewayBuilder::new(&[service.address()], backend)
                .set_toml("routes.match", "{ prefix = \"/grpc.testing.TestService/\" }")
                .set("routes.timeout", format!("{timeout}s"))
                .set_toml("routes.rate_limit", rate)
                .text()
        };
        let last = format!(
            "{}[[routes]]\nmatch = {{ prefix = \"/last/\" }}\ncluster = \"interop\"\n",
            config(5, 30)
        );
        let mut gateway = gateway::start(&config(20, 30));
        let mut clients = clients(gateway.listeners()[0]).await;
        for at in 0..12 {
            assert_eq!(codes(&mut clients[at % 8], 1).await, ["0"], "{backend}");
        }
        // Of the eight that are left none is added by other settings of the route, nor by a larger bucket.
        for text in [config(20, 31), config(30, 31), last] {
            reload(&mut gateway, &text);
        }
        // A worker that has not yet taken the last settings may still spend what it leased under those before.
        for client in &mut clients {
            let taken =
                async { while client.call("/last/Call", &[], b"").await.grpc_status() != Some("0") {} };
            within(Duration::from_secs(5), "the worker has the last settings", taken).await;
        }
        let mut passed = 0;
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(400) {
            for client in &mut clients {
                passed += codes(client, 1).await.iter().filter(|code| *code == "0").count();
            }
        }
        assert_eq!(passed, 5, "{backend}: as many as fit at last");
        reload(&mut gateway, &config(30, 30));
        assert_eq!(codes(&mut clients[0], 5).await, ["8"; 5], "{backend}");
    }
}

#[tokio::test]
async fn connections_that_are_too_many_now_end() {
    const ACTIVE: &str = "ringway_upstream_connections_active";
    for backend in BACKENDS {
        let services = [Service::start(|_, _| Act::Answer).await, Service::start(|_, _| Act::Answer).await];
        let all = [services[0].address(), services[1].address()];
        let config = |max: u32| gateway_config(&all, backend, &format!("max_connections = {max}\n{ALONE}"));
        let mut gateway = gateway::start(&config(100));
        let mut clients = clients(gateway.listeners()[0]).await;
        let connected = async {
            while metric(&gateway, ACTIVE) < 3 {
                for client in &mut clients {
                    codes(client, 1).await;
                }
            }
        };
        within(Duration::from_secs(5), "both workers are connected", connected).await;
        let opened = metric(&gateway, "ringway_upstream_connections_opened_total");
        reload(&mut gateway, &config(2));
        let fewer = async {
            while metric(&gateway, ACTIVE) > 2 {
                tokio::task::yield_now().await;
            }
        };
        within(Duration::from_secs(5), "some end", fewer).await;
        assert_eq!(metric(&gateway, "ringway_upstream_connections_opened_total"), opened, "{backend}");
    }
}

#[tokio::test]
async fn an_endpoint_that_was_unhealthy_at_a_reload_comes_back_with_a_good_answer() {
    use tonic_health::ServingStatus::{NotServing, Serving};
    const UNHEALTHY: &str = "ringway_health_unhealthy";
    let (ill, reporter) = health_service().await;
    let (well, _kept) = health_service().await;
    let config = |all: &[SocketAddr], first: &str, bad: u32| {
        let checks = format!(
            "[clusters.health_checks]\ninterval = \"100ms\"\nunhealthy_threshold = {bad}\nhealthy_threshold = 1\nservice = \"a.A\"\n"
        );
        gateway_config(all, "io_uring", &format!("{first}{checks}"))
    };
    let mut gateway = gateway::start(&config(&[ill, well], "", 1));
    // The health check goes on, or begins anew because something else changes: the questions, or the order.
    for (all, first, bad) in [
        ([ill, well], "max_requests = 9\n", 1),
        ([ill, well], "max_requests = 9\n", 2),
        ([well, ill], "max_requests = 8\n", 2),
    ] {
        reporter.set_service_status("a.A", NotServing).await;
        metric_becomes(&gateway, UNHEALTHY, 1).await;
        reload(&mut gateway, &config(&all, first, bad));
        assert_eq!(metric(&gateway, UNHEALTHY), 1, "{first} {bad}");
        reporter.set_service_status("a.A", Serving).await;
        metric_becomes(&gateway, UNHEALTHY, 0).await;
    }
}
