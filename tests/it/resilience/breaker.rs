//! Reasons for a breaker to open, reasons that do not count, and its closing: over sockets, with each I/O back-end.
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]

use crate::support::gateway::{self, BACKENDS, metric, metric_becomes};
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;
use h2::Reason;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const OPENS: &str = "ringway_breaker_opens_total";
const STATE: &str = "ringway_breaker_state";

/// The breaker alone, as it is by default but for what is given.
fn alone(before: &str, breaker: &str) -> String {
    format!(
        "{before}[clusters.retry]\nmax_attempts = 1\n[clusters.outlier_detection]\nenabled = false\n\
         [clusters.breaker]\n{breaker}"
    )
}

async fn codes(client: &mut RawClient, headers: &[(&str, &str)], count: usize) -> Vec<String> {
    let mut calls = Vec::new();
    for _ in 0..count {
        let mut call = client.open(EMPTY_CALL, headers).await;
        call.send(raw::message(0, b""), true);
        calls.push(call);
    }
    let mut codes = Vec::new();
    for call in calls {
        codes.push(call.reply().await.grpc_status().unwrap_or("none").to_owned());
    }
    codes
}

/// A deadline that a caller sets says nothing of the service; the operator's own does, whoever notices it first.
#[tokio::test]
async fn only_the_gateways_own_limits_count() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Silence).await;
        let (gateway, address) =
            gateway::before(&[service.address()], backend, &alone("timeout = \"300ms\"\n", ""));
        let mut client = RawClient::connect(address).await;
        let late = codes(&mut client, &[("grpc-timeout", "100m")], 60).await;
        assert_eq!((late, metric(&gateway, OPENS)), (vec!["4".to_owned(); 60], 0), "{backend}");
        codes(&mut client, &[], 20).await;
        assert_eq!(metric(&gateway, OPENS), 1, "{backend}");
    }
    // Services that keep the time they were told, and what they say when it is over: just before the gateway would.
    const OWN: Duration = Duration::from_millis(296);
    const CALLERS: Duration = Duration::from_millis(146);
    for (headers, opens, after) in [(&[][..], 1, OWN), (&[("grpc-timeout", "150m")][..], 0, CALLERS)] {
        for act in
            [Act::StatusAfter(after, 4), Act::StatusAfter(after, 1), Act::ResetAfter(after, Reason::CANCEL)]
        {
            let service = Service::start(move |_, _| act).await;
            let extra = alone("timeout = \"300ms\"\n", "");
            let (gateway, address) = gateway::before(&[service.address()], BACKENDS[0], &extra);
            let mut client = RawClient::connect(address).await;
            // Row 8: whichever way the service says that its time is over, callers are told so.
            assert_eq!(codes(&mut client, headers, 30).await, ["4"; 30], "{act:?} {headers:?}");
            assert_eq!(metric(&gateway, OPENS), opens, "{act:?} {headers:?}");
            let counted = metric(
                &gateway,
                "ringway_calls_total{route=\"prefix:/\",cluster=\"interop\",protocol=\"grpc\",grpc_status=\"DEADLINE_EXCEEDED\"}",
            );
            assert_eq!(counted, 30, "{act:?} {headers:?}");
        }
    }
}

/// Half-open, a service that still answers UNAVAILABLE is found out, whichever way it says it.
#[tokio::test]
async fn probes_are_judged_by_the_status_at_the_end() {
    for (backend, act) in [(BACKENDS[0], Act::Status(14, None)), (BACKENDS[1], Act::LateStatus(14))] {
        let well = Arc::new(AtomicBool::new(false));
        let decides = Arc::clone(&well);
        let service =
            Service::start(move |_, _| if decides.load(Ordering::SeqCst) { Act::Answer } else { act }).await;
        let extra = alone("", "timeout = \"100ms\"\n");
        let (gateway, address) = gateway::before(&[service.address()], backend, &extra);
        let mut client = RawClient::connect(address).await;
        codes(&mut client, &[], 20).await;
        let tried = async {
            while metric(&gateway, "ringway_breaker_reopens_total") < 5 {
                codes(&mut client, &[], 1).await;
            }
        };
        within(Duration::from_secs(10), "it is tried again and again", tried).await;
        let closes = metric(&gateway, "ringway_breaker_closes_total");
        assert_eq!((metric(&gateway, OPENS), closes), (1, 0), "{backend}");
        well.store(true, Ordering::SeqCst);
        let closed = async {
            while metric(&gateway, STATE) != 0 {
                codes(&mut client, &[], 1).await;
            }
        };
        within(Duration::from_secs(5), "it closes when the service is well", closed).await;
    }
}

/// With every endpoint in backoff calls fail at once, with the reason.
#[tokio::test]
async fn where_nobody_can_be_connected_to_calls_fail_at_once() {
    for (backend, breaker) in [(BACKENDS[0], "enabled = false\n"), (BACKENDS[1], "min_requests = 1000\n")] {
        let nobody = [dead(), dead()];
        let extra = format!(
            "[clusters.breaker]\n{breaker}[clusters.reconnect]\ninitial_backoff = \"30s\"\nmax_backoff = \"30s\"\n"
        );
        let (_gateway, address) = gateway::before(&nobody, backend, &extra);
        let mut client = RawClient::connect(address).await;
        codes(&mut client, &[], 4).await;
        let began = Instant::now();
        for _ in 0..50 {
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            let message = reply.field("grpc-message");
            assert_eq!((reply.grpc_status(), message), (Some("14"), Some("cannot connect to the upstream")));
        }
        // A wait of a retry each would make five seconds of it.
        assert!(began.elapsed() < Duration::from_secs(2), "{backend}: {:?}", began.elapsed());
    }
}

fn dead() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port")
}

/// A service that is killed and comes back: its breaker, which would rest for a minute, closes as soon as it is there.
#[tokio::test]
async fn a_breaker_closes_when_the_service_can_be_connected_to() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let at = service.address();
        let (gateway, address) = gateway::before(&[at], backend, "[clusters.breaker]\ntimeout = \"60s\"\n");
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(RawClient::connect(address).await);
        }
        for client in &mut clients {
            assert_eq!(codes(client, &[], 10).await, vec!["0"; 10], "{backend}");
        }
        drop(service);
        let opened = async {
            while metric(&gateway, STATE) != 2 {
                for client in &mut clients {
                    codes(client, &[], 1).await;
                }
            }
        };
        within(Duration::from_secs(3), "it opens", opened).await;
        let _service = Service::start_at(at, |_, _| Act::Answer).await;
        // Nobody calls: connects go on.
        metric_becomes(&gateway, "ringway_upstream_connections_active", 1).await;
        let back = Instant::now();
        // The worker that has connected says so at its next tick.
        let probing = async {
            while metric(&gateway, STATE) == 2 {
                tokio::task::yield_now().await;
            }
        };
        within(Duration::from_secs(1), "it lets probes out", probing).await;
        let whole = async {
            while metric(&gateway, STATE) != 0 {
                for client in &mut clients {
                    let reply = client.call(EMPTY_CALL, &[], b"").await;
                    assert_eq!(
                        reply.grpc_status(),
                        Some("0"),
                        "{backend}: no call is lost to a probe: {reply:?}"
                    );
                }
            }
        };
        within(Duration::from_secs(2), "it closes", whole).await;
        println!("{backend}: closed {:?} after the connection", back.elapsed());
    }
}
