//! Breakers of clusters and methods. When they open and close exactly, and that all workers agree, is held where time
//! is virtual: `src/worker/simulation/`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{ILL, Mood, SLOW, WELL, clients, round};
use crate::support::gateway::{self, BACKENDS, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;

const STATE: &str = "ringway_breaker_state";
const OPEN: u64 = 2;
const BREAKER: &str = "[clusters.retry]\nmax_attempts = 1\n[clusters.outlier_detection]\nenabled = false\n\
                       [clusters.breaker]\nmax_requests = 3\ntimeout = \"700ms\"\nmin_requests = 10\nramp = \"200ms\"\n";

#[tokio::test]
async fn a_breaker_opens_lets_few_try_and_closes() {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/grpc/testing/test.proto");
    let extra = format!("{BREAKER}[transcoding]\nproto_paths = [{proto:?}]\nprotos = [{file:?}]\n");
    for backend in BACKENDS {
        let mood = Mood::default();
        let service = mood.service().await;
        let (gateway, address) = gateway::before(&[service.address()], backend, &extra);
        let mut clients = clients(address).await;
        mood.set(ILL);

        // The calls of one worker are reason enough: it opens at the tenth, and the others hear of it.
        for _ in 0..10 {
            assert_eq!(round(&mut clients[..1]).await, [14], "{backend}");
        }
        assert_eq!((service.count(), metric(&gateway, STATE)), (10, OPEN), "{backend}");
        // At once: see `src/worker/simulation/outages.rs`.
        assert_eq!(round(&mut clients[..1]).await, [14], "{backend}");
        let mut json = Http1::connect(address).await;
        let kind = [("content-type", "application/json")];
        let everybody = async {
            loop {
                let before = service.count();
                round(&mut clients).await;
                let answer = json.ask(&format!("POST {EMPTY_CALL}"), &kind, b"{}").await;
                if service.count() == before {
                    break answer;
                }
            }
        };
        let answer = within(Duration::from_secs(10), "all workers hear of it", everybody).await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")), "{answer:?}");
        assert!(metric(&gateway, "ringway_upstream_breaker_refused_total") >= 14, "{backend}");

        // Half-open: of all that try, over all workers, three get through; and as they succeed, it closes.
        mood.set(SLOW);
        let mut succeeded = 0;
        let probed = async {
            while metric(&gateway, "ringway_breaker_closes_total") == 0 {
                succeeded += round(&mut clients).await.into_iter().filter(|code| *code == 0).count();
            }
        };
        within(Duration::from_secs(10), "the breaker closes", probed).await;
        assert_eq!(succeeded, 3, "{backend}");
        mood.set(WELL);
        let all = async { while round(&mut clients).await.iter().any(|code| *code != 0) {} };
        within(Duration::from_secs(5), "the ramp ends", all).await;
        let counts = ["opens", "reopens", "closes"]
            .map(|what| metric(&gateway, &format!("ringway_breaker_{what}_total")));
        assert_eq!((counts, metric(&gateway, STATE)), ([1, 0, 1], 0), "{backend}");

        let mut admin = Http1::connect(gateway.admin()).await;
        let page = admin.ask("GET /breakers?format=json", &[], b"").await.json();
        assert_eq!(
            (&page["breakers"][0]["state"], &page["breakers"][0]["opens"]),
            (&"closed".into(), &1.into())
        );
    }
}

#[tokio::test]
async fn a_method_has_a_breaker_of_its_own_and_business_errors_trip_none() {
    const OTHER: &str = "/grpc.testing.TestService/UnaryCall";
    let extra = format!(
        "{BREAKER}[[clusters.methods]]\npath = \"{OTHER}\"\n[clusters.methods.breaker]\nmin_requests = 4\n\
         failure_status_codes = [\"INTERNAL\"]\n"
    );
    for backend in BACKENDS {
        let service =
            Service::start(|_, headers| match headers.get("x-code").and_then(|code| code.to_str().ok()) {
                Some(code) => Act::Status(code.parse().expect("a code"), None),
                None => Act::Answer,
            })
            .await;
        let (gateway, address) = gateway::before(&[service.address()], backend, &extra);
        let mut client = RawClient::connect(address).await;
        // INTERNAL and UNKNOWN are among them: a client causes them by what it sends.
        for code in ["2", "3", "5", "7", "13", "16"] {
            for _ in 0..10 {
                let reply = client.call(EMPTY_CALL, &[("x-code", code)], b"").await;
                assert_eq!(reply.grpc_status(), Some(code), "{backend}");
            }
        }
        assert_eq!((service.count(), metric(&gateway, STATE)), (60, 0), "{backend}");
        // Where the operator names it, it counts.
        for _ in 0..4 {
            client.call(OTHER, &[("x-code", "13")], b"").await;
        }
        assert_eq!(client.call(OTHER, &[], b"").await.grpc_status(), Some("14"), "{backend}");
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
        assert_eq!((service.count(), metric(&gateway, "ringway_breaker_opens_total")), (65, 1), "{backend}");
    }
}

/// A call in JSON is let through, or told when to come again.
async fn json_is_answered_or_told_when(json: &mut Http1) {
    let answer =
        json.ask(&format!("POST {EMPTY_CALL}"), &[("content-type", "application/json")], b"{}").await;
    let after = answer.field("retry-after");
    assert!(answer.status == 200 || (answer.status, after) == (503, Some("1")), "{answer:?}");
}

/// Of those who try, the share that gets through in each of four half seconds.
async fn shares(clients: &mut [RawClient], json: &mut Http1) -> [f64; 4] {
    let (began, mut quarters) = (Instant::now(), [(0_u32, 0_u32); 4]);
    while let Some((tried, passed)) = quarters.get_mut((began.elapsed().as_millis() / 500) as usize) {
        let codes = round(clients).await;
        *tried += codes.len() as u32;
        *passed += codes.iter().filter(|code| **code == 0).count() as u32;
        json_is_answered_or_told_when(json).await;
    }
    quarters.map(|(tried, passed)| f64::from(passed) / f64::from(tried.max(1)))
}

/// Method: a service that takes much longer than the breaker was open, asked by many for as long as its probes last.
#[tokio::test]
async fn a_slow_service_gets_its_probes_and_no_more_and_then_more_and_more() {
    const SLOW: Duration = Duration::from_millis(1_200);
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/grpc/testing/test.proto");
    let extra = format!("{BREAKER}[transcoding]\nproto_paths = [{proto:?}]\nprotos = [{file:?}]\n");
    let extra = extra.replace("700ms", "400ms").replace("ramp = \"200ms\"", "ramp = \"2s\"");
    for backend in BACKENDS {
        // Ill up to this request, slow for three, and well.
        let probes = Arc::new(AtomicUsize::new(usize::MAX));
        let begin = Arc::clone(&probes);
        let service =
            Service::start(move |number, _| match number.checked_sub(begin.load(Ordering::SeqCst)) {
                None => Act::Status(14, None),
                Some(..3) => Act::AnswerAfter(SLOW),
                Some(_) => Act::Answer,
            })
            .await;
        let (gateway, address) = gateway::before(&[service.address()], backend, &extra);
        let mut clients = clients(address).await;
        for _ in 0..10 {
            assert_eq!(round(&mut clients[..1]).await, [14], "{backend}");
        }
        assert_eq!(metric(&gateway, STATE), OPEN, "{backend}");
        let all = async {
            loop {
                let before = service.count();
                round(&mut clients).await;
                probes.store(before, Ordering::SeqCst);
                if service.count() == before {
                    break before;
                }
                probes.store(usize::MAX, Ordering::SeqCst);
            }
        };
        let begin = within(Duration::from_secs(5), "all workers have heard of it", all).await;

        let mut json = Http1::connect(address).await;
        let (askers, others) = clients.split_at_mut(6);
        let closes = "ringway_breaker_closes_total";
        let probing = async {
            while metric(&gateway, closes) == 0 {
                round(askers).await;
            }
        };
        let meanwhile = async {
            while metric(&gateway, closes) == 0 {
                if service.count() == begin + 3 && metric(&gateway, closes) == 0 {
                    json_is_answered_or_told_when(&mut json).await;
                }
                round(others).await;
            }
        };
        within(Duration::from_secs(10), "it closes", async { tokio::join!(probing, meanwhile) }).await;
        let asked = service.asked();
        let (first, last) = (asked[begin].at, asked[begin + 2].at);
        assert!(last.duration_since(first) < SLOW, "{backend}: none was replaced");
        let early = asked[begin..].iter().filter(|asked| asked.at < first + SLOW).count();
        assert_eq!(early, 3, "{backend}");

        let share = shares(&mut clients, &mut json).await;
        println!("{backend}: {share:.2?}");
        assert!(share[0] < 0.45 && 0.65 < share[3], "{backend}: {share:?}");
        assert!(share[0] < share[2] && share[1] < share[3], "{backend}: {share:?}");
        assert_eq!(metric(&gateway, "ringway_breaker_opens_total"), 1, "{backend}");
    }
}

#[tokio::test]
async fn calls_that_clients_give_up_say_nothing_and_connects_that_fail_do() {
    for backend in BACKENDS {
        let silent = Service::start(|_, _| Act::Silence).await;
        let (gateway, address) = gateway::before(&[silent.address()], backend, BREAKER);
        let mut client = RawClient::connect(address).await;
        for at in 1..=20 {
            let mut call = client.open(EMPTY_CALL, &[]).await;
            call.send(raw::message(0, b""), true);
            silent.wait_until("the call", |asked| asked.len() >= at).await;
            drop(call);
        }
        silent.wait_until("all are given up", |asked| asked.iter().all(|it| it.cancelled_at.is_some())).await;
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        assert_eq!(metric(&gateway, "ringway_breaker_opens_total"), 0, "{backend}");

        // An address where nobody is.
        let nobody =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
        let (gateway, address) = gateway::before(&[nobody], backend, BREAKER);
        let mut client = RawClient::connect(address).await;
        for _ in 0..10 {
            assert_eq!(metric(&gateway, "ringway_breaker_opens_total"), 0, "{backend}");
            assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("14"), "{backend}");
        }
        assert_eq!(metric(&gateway, STATE), OPEN, "{backend}");
    }
}
