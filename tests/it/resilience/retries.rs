//! Calls that are sent again, and calls that are not: retries by policy, over real sockets.
#![allow(clippy::disallowed_methods, reason = "a test measures how long a wait takes")]

use crate::support::gateway::{self, BACKENDS, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::raw::{self, EMPTY_CALL, RawClient, RawReply};
use crate::support::raw_server::{RawServer, Stage, Step};
use crate::support::service::{Act, Service};
use crate::support::within;
use h2::Reason;
use http::HeaderMap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const RETRIES: &str = "ringway_upstream_retries_total";
const EXHAUSTED: &str = "ringway_upstream_retry_budget_exhausted_total";
const UNAVAILABLE: Act = Act::Status(14, None);

/// Quick waits, and no breaker that would end a test of retries early.
const QUICK: &str = "[clusters.retry]\ninitial_backoff = \"10ms\"\n[clusters.breaker]\nenabled = false\n\
                     [clusters.outlier_detection]\nenabled = false\n";

/// A call to a service that acts so; the attempts it saw.
async fn called(backend: &str, extra: &str, acts: &'static [Act]) -> (Service, RawReply, u64) {
    let service = Service::start(|at, _| acts[at.min(acts.len() - 1)]).await;
    let (gateway, address) = gateway::before(&[service.address()], backend, extra);
    let reply = RawClient::connect(address).await.call(EMPTY_CALL, &[], b"x").await;
    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    let retries = metric(&gateway, RETRIES);
    (service, reply, retries)
}

#[tokio::test]
async fn a_call_is_sent_again_until_it_is_answered() {
    for backend in BACKENDS {
        let (service, reply, retries) =
            called(backend, QUICK, &[UNAVAILABLE, UNAVAILABLE, Act::Answer]).await;
        assert_eq!((reply.status, reply.grpc_status()), (200, Some("0")), "{backend}: {reply:?}");
        assert!(
            !reply.headers.contains_key("grpc-status"),
            "of attempts that failed nothing is seen: {reply:?}"
        );
        let asked = service.asked();
        let previous: Vec<_> = asked.iter().map(|asked| asked.header("grpc-previous-rpc-attempts")).collect();
        assert_eq!((previous, retries), (vec![None, Some("1"), Some("2")], 2), "{backend}");
        let waits: Vec<_> = asked.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        assert!(waits[0] >= Duration::from_millis(8) && waits[1] >= Duration::from_millis(16), "{waits:?}");
    }
}

#[tokio::test]
async fn the_policy_and_the_service_say_when_to_stop() {
    const NEVER: Act = Act::Status(14, Some("-1"));
    const BUSY: Act = Act::Status(8, None);
    const BUSY_FOR_NOW: Act = Act::Status(8, Some("5"));
    let aborted = "[clusters.retry]\nmax_attempts = 2\ninitial_backoff = \"10ms\"\nretryable_status_codes = [\"ABORTED\"]\n";
    let table: [(&str, &str, &'static [Act], &str, usize); 8] = [
        ("attempts are used up", QUICK, &[UNAVAILABLE], "14", 3),
        ("not again, the service says", QUICK, &[NEVER], "14", 1),
        ("later, the service says", QUICK, &[Act::Status(14, Some("5")), Act::Answer], "0", 2),
        ("no reason to try again", QUICK, &[BUSY, Act::Answer], "8", 1),
        ("a reason to try again", QUICK, &[BUSY_FOR_NOW, Act::Answer], "0", 2),
        ("the answer has begun", QUICK, &[Act::LateStatus(14), Act::Answer], "14", 1),
        ("a code of the policy", aborted, &[Act::Status(10, None)], "10", 2),
        ("not a code of the policy", aborted, &[UNAVAILABLE], "14", 1),
    ];
    for backend in BACKENDS {
        for (what, extra, acts, status, attempts) in table {
            let (service, reply, retries) = called(backend, extra, acts).await;
            assert_eq!(reply.grpc_status(), Some(status), "{backend}, {what}: {reply:?}");
            assert_eq!((service.count(), retries), (attempts, attempts as u64 - 1), "{backend}, {what}");
        }
    }
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_again_only_if_it_is_idempotent() {
    let idempotent = format!("{QUICK}[[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nidempotent = true\n");
    for backend in BACKENDS {
        let reset: &[Act] = &[Act::Reset(Reason::INTERNAL_ERROR), Act::Answer];
        let (service, reply, _) = called(backend, QUICK, reset).await;
        assert_eq!((reply.grpc_status(), service.count()), (Some("13"), 1), "{backend}: {reply:?}");
        let (service, reply, retries) = called(backend, &idempotent, reset).await;
        assert_eq!(
            (reply.grpc_status(), service.count(), retries),
            (Some("0"), 2, 1),
            "{backend}: {reply:?}"
        );
        assert!(service.asked().iter().all(|asked| asked.whole), "the body was sent both times");

        for (step, extra, attempts) in [
            (Step::Close(Stage::Nothing), QUICK, 1),
            (Step::Close(Stage::Nothing), &idempotent, 2),
            (Step::Close(Stage::Head), &idempotent, 1),
        ] {
            let server = RawServer::start(&[step.clone(), Step::Answer]).await;
            let (_gateway, address) = gateway::before(&[server.address()], backend, extra);
            let reply = RawClient::connect(address).await.call(EMPTY_CALL, &[], b"x").await;
            let status = if attempts == 2 { "0" } else { "14" };
            assert_eq!(reply.grpc_status(), Some(status), "{backend}, {step:?}: {reply:?}");
            assert_eq!(server.record().requests, attempts, "{backend}, {step:?}");
        }
    }
}

#[tokio::test]
async fn the_next_attempt_goes_elsewhere() {
    const CALLS: usize = 50;
    let rich = QUICK.replace("[clusters.retry]", "[clusters.retry]\nbudget_percent = 100");
    for backend in BACKENDS {
        let ill = Service::start(|_, _| UNAVAILABLE).await;
        let well = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = gateway::before(&[ill.address(), well.address()], backend, &rich);
        let mut client = RawClient::connect(address).await;
        // Until both are connected there is nothing to choose.
        while metric(&gateway, "ringway_upstream_connections_active") < 2 {
            client.call(EMPTY_CALL, &[("x-id", "early")], b"").await;
        }
        for id in 0..CALLS {
            let reply = client.call(EMPTY_CALL, &[("x-id", &id.to_string())], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
        }
        let mut seen: HashMap<String, usize> = HashMap::new();
        for asked in ill.asked() {
            *seen.entry(asked.header("x-id").expect("each has one").to_owned()).or_default() += 1;
        }
        seen.remove("early");
        assert!(!seen.is_empty() && seen.values().all(|times| *times == 1), "{backend}: {seen:?}");
    }
}

/// Method: every call fails, so every call wants retries; what the budget allows is a fifth, and the ten at first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outage_costs_a_fifth_more() {
    const CALLS: usize = 2_000;
    const AT_ONCE: usize = 50;
    let quick = QUICK.replace("10ms", "1ms");
    for backend in BACKENDS {
        let service = Service::start(|_, _| UNAVAILABLE).await;
        let (gateway, address) = gateway::before(&[service.address()], backend, &quick);
        let mut client = RawClient::connect(address).await;
        for _ in 0..CALLS / AT_ONCE {
            let mut calls = Vec::new();
            for _ in 0..AT_ONCE {
                let mut call = client.open(EMPTY_CALL, &[]).await;
                call.send(raw::message(0, b""), true);
                calls.push(call);
            }
            for call in calls {
                assert_eq!(call.reply().await.grpc_status(), Some("14"), "{backend}");
            }
        }
        let (attempts, retries) = (service.count(), metric(&gateway, RETRIES));
        assert!(attempts <= CALLS * 12 / 10 + 10, "{backend}: {attempts} attempts for {CALLS} calls");
        assert!(attempts > CALLS * 11 / 10, "{backend}: the budget is used: {attempts}");
        assert_eq!((CALLS as u64 + retries, CALLS as u64), (attempts as u64, ended(&gateway)), "{backend}");
        assert!(metric(&gateway, EXHAUSTED) > 0, "{backend}");
    }
}

/// Calls that are over.
fn ended(gateway: &ringway::supervisor::Gateway) -> u64 {
    metric(gateway, "ringway_calls_total")
}

#[tokio::test]
async fn no_wait_outlives_the_deadline() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Status(14, Some("3000"))).await;
        let (_gateway, address) = gateway::before(&[service.address()], backend, QUICK);
        let began = Instant::now();
        let reply =
            RawClient::connect(address).await.call(EMPTY_CALL, &[("grpc-timeout", "500m")], b"").await;
        assert_eq!((reply.grpc_status(), service.count()), (Some("14"), 1), "{backend}: {reply:?}");
        assert!(began.elapsed() < Duration::from_millis(450), "told at once: {:?}", began.elapsed());

        // The time that is left is told to each attempt, and ends the call in the middle of a wait or an attempt.
        let service = Service::start(|at, _| if at == 0 { UNAVAILABLE } else { Act::Silence }).await;
        let (_gateway, address) = gateway::before(&[service.address()], backend, QUICK);
        let began = Instant::now();
        let reply =
            RawClient::connect(address).await.call(EMPTY_CALL, &[("grpc-timeout", "300m")], b"").await;
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
        assert!((Duration::from_millis(300)..Duration::from_millis(550)).contains(&began.elapsed()));
        let asked =
            service.wait_until("the cancel", |all| all.iter().any(|it| it.cancelled_at.is_some())).await;
        let left = |at: usize| asked[at].header("grpc-timeout").map(nanos).expect("a deadline is passed on");
        assert!(left(1) < left(0) && left(0) <= 300_000_000, "{asked:?}");
    }
}

/// The time of a `grpc-timeout` in the units that the gateway writes for short times.
fn nanos(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().expect("digits");
    number * if unit == "n" { 1 } else { 1_000 }
}

#[tokio::test]
async fn a_service_config_is_obeyed() {
    let config = r#"{ "methodConfig": [
        { "name": [{ "service": "grpc.testing.TestService" }], "timeout": "0.2s",
          "retryPolicy": { "maxAttempts": 2, "initialBackoff": "0.01s", "maxBackoff": "1s", "backoffMultiplier": 1,
                           "retryableStatusCodes": ["ABORTED"] } } ],
        "retryThrottling": { "maxTokens": 4, "tokenRatio": 0.1 } }"#;
    let path = std::env::temp_dir().join(format!("ringway-service-config-{}.json", std::process::id()));
    std::fs::write(&path, config).expect("the directory for scratch files takes one");
    let extra = format!("service_config = {path:?}\n{QUICK}");
    for backend in BACKENDS {
        let (service, reply, _) = called(backend, &extra, &[Act::Status(10, None), Act::Answer]).await;
        assert_eq!((reply.grpc_status(), service.count()), (Some("0"), 2), "{backend}: {reply:?}");
        let (service, reply, _) = called(backend, &extra, &[UNAVAILABLE]).await;
        assert_eq!((reply.grpc_status(), service.count()), (Some("14"), 1), "{backend}: {reply:?}");
        let (_, reply, _) = called(backend, &extra, &[Act::Silence]).await;
        assert_eq!(reply.grpc_status(), Some("4"), "its timeout ends the call: {reply:?}");

        // Two failures use up half of the four tokens.
        let service = Service::start(|_, _| Act::Status(10, None)).await;
        let (gateway, address) = gateway::before(&[service.address()], backend, &extra);
        let mut client = RawClient::connect(address).await;
        for _ in 0..10 {
            client.call(EMPTY_CALL, &[], b"").await;
        }
        assert_eq!((service.count(), metric(&gateway, RETRIES)), (11, 1), "{backend}");
    }
    std::fs::remove_file(&path).expect("it is still there");
}

#[tokio::test]
async fn callers_of_other_languages_are_served_by_the_same_attempts() {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/grpc/testing/test.proto");
    let extra = format!("{QUICK}[transcoding]\nproto_paths = [{proto:?}]\nprotos = [{file:?}]\n");
    for backend in BACKENDS {
        let twice = |at: usize, _: &HeaderMap| if at.is_multiple_of(2) { UNAVAILABLE } else { Act::Answer };
        let service = Service::start(twice).await;
        let (_gateway, address) = gateway::before(&[service.address()], backend, &extra);
        let mut client = Http1::connect(address).await;
        let json = [("content-type", "application/json")];
        let answer = client.ask(&format!("POST {EMPTY_CALL}"), &json, b"{}").await;
        assert_eq!((answer.status, answer.text()), (200, "{}"), "{backend}");
        let web = [("content-type", "application/grpc-web+proto")];
        let answer = client.ask(&format!("POST {EMPTY_CALL}"), &web, &raw::message(0, b"")).await;
        assert_eq!((answer.status, service.count()), (200, 4), "{backend}");
        assert!(
            answer.body.starts_with(&[0; 5]) && answer.body.ends_with(b"grpc-status: 0\r\n"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn more_than_is_kept_is_never_sent_again() {
    let small = format!("[clusters.pool]\nreplay_buffer_size = \"1KiB\"\n{QUICK}");
    for (backend, end) in BACKENDS
        .into_iter()
        .flat_map(|backend| [Act::Reset(Reason::REFUSED_STREAM), UNAVAILABLE].map(|end| (backend, end)))
    {
        let service = Service::start(move |at, _| if at.is_multiple_of(2) { end } else { Act::Answer }).await;
        let (_gateway, address) = gateway::before(&[service.address()], backend, &small);
        let mut client = RawClient::connect(address).await;
        // With the five bytes before it, just as much as is kept, and one byte more.
        for (length, status, attempts) in [(1019, "0", 2), (1020, "14", 1)] {
            let before = service.count();
            let reply = client.call(EMPTY_CALL, &[], &vec![7; length]).await;
            assert_eq!(reply.grpc_status(), Some(status), "{backend}, {end:?}, {length}: {reply:?}");
            assert_eq!(service.count() - before, attempts, "{backend}, {end:?}, {length}");
            assert!(service.asked().iter().all(|asked| asked.whole), "{backend}: all of the body was sent");
        }
    }
}

/// Method: a service that refuses all streams. A call that it has not looked at is sent again once for nothing, as gRPC
/// does. From then on a refusal counts as UNAVAILABLE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_refusals_is_replayed_once_a_call() {
    const CALLS: usize = 500;
    const AT_ONCE: usize = 50;
    let once = QUICK.replace("[clusters.retry]", "[clusters.retry]\nmax_attempts = 1");
    let quick = QUICK.replace("10ms", "1ms");
    for (backend, (extra, retries)) in BACKENDS
        .into_iter()
        .flat_map(|backend| [(&once, 0), (&quick, CALLS / 5 + 10)].map(|row| (backend, row)))
    {
        let service = Service::start(|_, _| Act::Reset(Reason::REFUSED_STREAM)).await;
        let (gateway, address) = gateway::before(&[service.address()], backend, extra);
        let mut client = RawClient::connect(address).await;
        for _ in 0..CALLS / AT_ONCE {
            let mut calls = Vec::new();
            for _ in 0..AT_ONCE {
                let mut call = client.open(EMPTY_CALL, &[]).await;
                call.send(raw::message(0, b""), true);
                calls.push(call);
            }
            for call in calls {
                assert_eq!(call.reply().await.grpc_status(), Some("14"), "{backend}");
            }
        }
        let replays = metric(&gateway, "ringway_upstream_replays_total");
        assert_eq!(replays, CALLS as u64, "{backend}: one for each call");
        let (attempts, counted) = (service.count(), metric(&gateway, RETRIES));
        assert_eq!(attempts as u64, 2 * CALLS as u64 + counted, "{backend}");
        assert!(counted <= retries as u64, "{backend}: {counted} retries");
    }
}

/// Lets the first connection through to nobody: it may send as much as it likes, and nothing of it is read until `close`
/// is told, which resets it. Later ones go to `to`.
async fn stuck_at_first(to: SocketAddr, close: oneshot::Receiver<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.expect("the gateway connects");
        // SETTINGS and WINDOW_UPDATE: the windows of streams and of the connection are as large as they can be.
        let windows = *b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff\0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0";
        first.write_all(&windows).await.expect("a fresh connection takes bytes");
        tokio::spawn(async move {
            let _ = close.await;
            drop(first);
        });
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut service = TcpStream::connect(to).await.expect("the service listens");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn what_was_never_written_is_sent_again_for_nothing() {
    const SENT: &str = "ringway_sent_bytes_total";
    let once = QUICK.replace("[clusters.retry]", "[clusters.retry]\nmax_attempts = 1");
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (close, closed) = oneshot::channel();
        let stuck = stuck_at_first(service.address(), closed).await;
        let (gateway, address) = gateway::before(&[stuck], backend, &once);
        let mut client = RawClient::connect(address).await;
        // More than all buffers between the two can hold.
        let mut large = client.open(EMPTY_CALL, &[]).await;
        large.send(raw::message(0, &vec![7; 64 << 20]), false);
        // Full: much has been sent, and for three looks in a row nothing more.
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        let full = async {
            let (mut before, mut same) = (0, 0);
            while before < 64 << 10 || same < 3 {
                looks.tick().await;
                let now = metric(&gateway, SENT);
                same = if now == before { same + 1 } else { 0 };
                before = now;
            }
        };
        within(Duration::from_secs(10), "nothing more goes through", full).await;

        let mut small = client.open(EMPTY_CALL, &[]).await;
        small.send(raw::message(0, b"never written"), true);
        metric_becomes(&gateway, "ringway_upstream_calls_active", 2).await;
        close.send(()).expect("it waits for this");
        let (small, large) = (small.reply().await, large.reply().await);
        assert_eq!((small.grpc_status(), service.count()), (Some("0"), 1), "{backend}: {small:?}");
        // Of the other one nobody knows what has been read.
        assert_eq!(large.grpc_status(), Some("14"), "{backend}: {large:?}");
        assert_eq!(metric(&gateway, "ringway_upstream_replays_total"), 1, "{backend}");
        assert_eq!(metric(&gateway, RETRIES), 0, "{backend}");
    }
}
