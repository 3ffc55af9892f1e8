//! How long calls may take: timeouts of routes, clusters and methods, and what services are told of them.
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::support::gateway::{self, BACKENDS, GatewayBuilder, gateway_config, metric};
use crate::support::http1::Http1;
use crate::support::raw::{self, EMPTY_CALL, RawClient, RawReply};
use crate::support::raw_server::{RawServer, Step};
use crate::support::service::{Act, Service};
use crate::support::within;
use ringway::supervisor::Gateway;

const QUIET: &str = "[clusters.retry]\nmax_attempts = 1\n[clusters.breaker]\nenabled = false\n\
                     [clusters.outlier_detection]\nenabled = false\n";

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A gateway whose route has this timeout; `keys` belong to its cluster.
fn before(backends: &[SocketAddr], backend: &str, route: &str, keys: &str) -> (Gateway, SocketAddr) {
    let config = GatewayBuilder::new(backends, backend).extra(&format!("{keys}{QUIET}"));
    let gateway = config.set("routes.timeout", route).start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// The time of a `grpc-timeout`.
fn told(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().expect("digits");
    match unit {
        "n" => Duration::from_nanos(number),
        "u" => Duration::from_micros(number),
        "m" => ms(number),
        "S" => Duration::from_secs(number),
        _ => panic!("{text} is a long time for a test"),
    }
}

/// A call with this deadline, and how long it took.
async fn call(client: &mut RawClient, deadline: Option<&str>) -> (RawReply, Duration) {
    let headers: Vec<_> = deadline.map(|deadline| ("grpc-timeout", deadline)).into_iter().collect();
    let began = Instant::now();
    (client.call(EMPTY_CALL, &headers, b"x").await, began.elapsed())
}

#[tokio::test]
async fn every_timeout_holds_caps_the_callers_and_is_told_reduced() {
    let unary = |more: &str| format!("[[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nunary = true\n{more}");
    let table = [
        ("a route's", "600ms", String::new(), unary("")),
        ("a cluster's", "30s", "timeout = \"600ms\"\n".to_owned(), unary("")),
        ("a method's", "30s", "timeout = \"10s\"\n".to_owned(), unary("timeout = \"600ms\"\n")),
    ];
    for (backend, (whose, route, keys, methods)) in
        BACKENDS.into_iter().flat_map(|backend| table.clone().map(|row| (backend, row)))
    {
        let service = Service::start(|_, _| Act::Silence).await;
        let config = GatewayBuilder::new(&[service.address()], backend);
        let config = config.set("routes.timeout", route).extra(&format!("{keys}{QUIET}{methods}"));
        let gateway = config.start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        // How late it may be at most is held where time is virtual: `src/worker/simulation/timing.rs`.
        for (deadline, at_least, at_most) in
            [(None, ms(590), ms(600)), (Some("20S"), ms(590), ms(600)), (Some("150m"), ms(150), ms(150))]
        {
            let (reply, took) = call(&mut client, deadline).await;
            assert_eq!(reply.grpc_status(), Some("4"), "{backend}, {whose}: {reply:?}");
            assert!(took >= at_least, "{backend}, {whose}, {deadline:?}: {took:?}");
            let asked = service.asked().pop().expect("it was asked");
            let told = told(asked.header("grpc-timeout").expect("the time that is left is told"));
            // The time on the way is gone.
            assert!(told < at_most, "{backend}, {whose}, {deadline:?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn of_what_may_be_a_stream_only_the_callers_deadline_is_told() {
    const STREAM: &str = "/grpc.testing.TestService/StreamingOutputCall";
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/grpc/testing/test.proto");
    let descriptors = format!("[transcoding]\nproto_paths = [{proto:?}]\nprotos = [{file:?}]\n");
    for backend in BACKENDS {
        // Descriptors say what is one; without them nothing is known.
        for (extra, path, own) in [
            ("", EMPTY_CALL, false),
            (descriptors.as_str(), EMPTY_CALL, true),
            (descriptors.as_str(), STREAM, false),
        ] {
            let service = Service::start(|_, _| Act::Answer).await;
            let (_gateway, address) = gateway::before(&[service.address()], backend, extra);
            let mut client = RawClient::connect(address).await;
            for deadline in [&[][..], &[("grpc-timeout", "40S")]] {
                let reply = client.call(path, deadline, b"").await;
                assert_eq!(reply.grpc_status(), Some("0"), "{backend}, {path}: {reply:?}");
                let told_is = service.asked().pop().and_then(|asked| asked.header("grpc-timeout").map(told));
                let wanted = match (own, deadline) {
                    (true, _) => Some(29),
                    (false, []) => None,
                    (false, _) => Some(39),
                };
                let seconds = told_is.map(|told| told.as_secs());
                assert_eq!(seconds, wanted, "{backend}, {path}, {deadline:?}: {told_is:?}");
            }
            if own {
                let mut json = Http1::connect(address).await;
                let kind = [("content-type", "application/json")];
                let answer = json.ask(&format!("POST {EMPTY_CALL}"), &kind, b"{}").await;
                assert_eq!(answer.status, 200, "{backend}");
                let asked = service.asked().pop().expect("it was asked");
                let told = asked.header("grpc-timeout").map(told).expect("it is one message each way");
                assert_eq!(told.as_secs(), 29, "{backend}: {told:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_its_time_is_no_timeout() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (_gateway, address) = before(&[service.address()], backend, "200ms", "");
        let mut client = RawClient::connect(address).await;
        let mut slow = client.open(EMPTY_CALL, &[]).await;
        let message = raw::message(0, b"in two pieces");
        slow.send(message.slice(..7), false);
        let early = tokio::time::timeout(ms(500), slow.head()).await;
        assert!(early.is_err(), "{backend}: it is not ended: {early:?}");
        slow.send(message.slice(7..), true);
        let reply = slow.reply().await;
        assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
    }
}

#[tokio::test]
async fn a_wait_for_a_connection_counts() {
    let one = "[clusters.pool]\nmax_connections_per_endpoint = 1\nmax_streams_per_connection = 1\n";
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::AnswerAfter(Duration::from_secs(5))).await;
        let keys = format!("{one}[[clusters.methods]]\npath = \"{EMPTY_CALL}\"\ntimeout = \"300ms\"\n");
        let config = gateway_config(&[service.address()], backend, &format!("{QUIET}{keys}"));
        let gateway = gateway::start(&config);
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        // Another method has the only place for as long as it likes.
        let mut first = client.open("/grpc.testing.TestService/UnaryCall", &[]).await;
        first.send(raw::message(0, b""), true);
        service.wait_until("the place is taken", |all| all.len() == 1).await;
        let (reply, took) = call(&mut client, None).await;
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
        assert!((ms(290)..ms(2_000)).contains(&took), "{backend}: {took:?}");
        assert_eq!(service.count(), 1, "{backend}: it was never sent");
        assert_eq!(metric(&gateway, "ringway_upstream_pending_active"), 0, "{backend}");
    }
}

#[tokio::test]
async fn an_upstream_that_takes_no_more_of_the_body_counts() {
    for backend in BACKENDS {
        let server = RawServer::start(&[Step::Freeze]).await;
        let (_gateway, address) = before(&[server.address()], backend, "300ms", "");
        let mut client = RawClient::connect(address).await;
        let began = Instant::now();
        let mut call = client.open(EMPTY_CALL, &[]).await;
        // More than any window has room for, and not the end.
        call.send(raw::message(0, &vec![7; 300_000]), false);
        let reply = call.reply().await;
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
        let took = began.elapsed();
        assert!((ms(290)..ms(2_000)).contains(&took), "{backend}: {took:?}");
    }
}

#[tokio::test]
async fn a_wait_between_attempts_counts() {
    let waits = "[clusters.retry]\ninitial_backoff = \"400ms\"\nmax_attempts = 10\n\
                 [clusters.breaker]\nenabled = false\n[clusters.outlier_detection]\nenabled = false\n";
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Status(14, None)).await;
        let config = GatewayBuilder::new(&[service.address()], backend).extra(waits);
        let gateway = config.set("routes.timeout", "700ms").start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let (reply, took) = call(&mut client, None).await;
        // A second wait would end after it, so there is none.
        assert_eq!((reply.grpc_status(), service.count()), (Some("14"), 2), "{backend}: {reply:?}");
        assert!(took >= ms(320), "{backend}: {took:?}");
    }
}

/// A service as a test sets it: quick, or failing so that one more attempt would do.
#[derive(Clone, Default)]
struct Mood(Arc<AtomicU8>);

const QUICK: u8 = 0;
const UNAVAILABLE_ONCE: u8 = 1;
const SILENT_ONCE: u8 = 2;
const SILENT: u8 = 3;

impl Mood {
    fn set(&self, mood: u8) {
        self.0.store(mood, Ordering::SeqCst);
    }

    async fn service(&self) -> Service {
        let mood = self.clone();
        Service::start(move |_, headers| {
            let first = !headers.contains_key("grpc-previous-rpc-attempts");
            match mood.0.load(Ordering::SeqCst) {
                UNAVAILABLE_ONCE if first => Act::Status(14, None),
                SILENT_ONCE if first => Act::Silence,
                SILENT => Act::Silence,
                _ => Act::Answer,
            }
        })
        .await
    }
}

/// The timeout that the page shows for the method.
fn shown(gateway: &Gateway) -> Option<f64> {
    let line = format!("ringway_adaptive_timeout_seconds{{cluster=\"interop\",method=\"{EMPTY_CALL}\"}} ");
    gateway.metrics().lines().find_map(|found| found.strip_prefix(&line)?.parse().ok())
}

/// The method's timeout goes down to 200 ms, less than the wait between two attempts.
#[tokio::test]
async fn a_timeout_that_follows_the_latency_is_for_one_attempt() {
    let extra = format!(
        "[clusters.adaptive_timeout]\npercentile = 90.0\nfloor = \"200ms\"\n\
         [clusters.retry]\ninitial_backoff = \"300ms\"\nmax_backoff = \"300ms\"\nmax_attempts = 10\nbudget_min_retries = 100\n\
         [clusters.breaker]\nenabled = false\n[clusters.outlier_detection]\nenabled = false\n\
         [[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nidempotent = true\n"
    );
    for backend in BACKENDS {
        let mood = Mood::default();
        let service = mood.service().await;
        let config = GatewayBuilder::new(&[service.address()], backend).extra(&extra);
        let gateway = config.set("routes.timeout", "2s").start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let learn = async {
            while shown(&gateway).is_none_or(|seconds| seconds > 0.3) {
                let (reply, _) = call(&mut client, None).await;
                assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
            }
        };
        within(Duration::from_secs(5), "the timeout follows", learn).await;
        assert!(shown(&gateway) >= Some(0.2), "{backend}: the floor");

        for (what, attempts, time) in [(UNAVAILABLE_ONCE, 2, 240..1_500), (SILENT_ONCE, 2, 430..1_900)] {
            mood.set(what);
            let before = service.count();
            let (reply, took) = call(&mut client, None).await;
            assert_eq!(reply.grpc_status(), Some("0"), "{backend}, {what}: {reply:?}");
            assert_eq!(service.count() - before, attempts, "{backend}, {what}");
            assert!((ms(time.start)..ms(time.end)).contains(&took), "{backend}, {what}: {took:?}");
        }
        // Each attempt is given up after its own time, and all of them end with the fixed timeout at the latest.
        mood.set(SILENT);
        let before = service.count();
        let (reply, took) = call(&mut client, None).await;
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
        assert!(service.count() - before >= 3, "{backend}: {}", service.count() - before);
        assert!((ms(1_200)..ms(3_000)).contains(&took), "{backend}: {took:?}");
        mood.set(QUICK);
    }
}

/// Row 47: the bytes of a message that drip are no progress. A stream whose messages come whole may be as slow as it is.
#[tokio::test]
async fn a_message_that_drips_ends_its_call() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Silence).await;
        let config = GatewayBuilder::new(&[service.address()], backend).extra(QUIET);
        let config = config.set("listeners.read_timeout", "300ms").set("listeners.min_rate", 1000);
        let gateway = config.start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let mut patient = client.open(EMPTY_CALL, &[]).await;
        patient.send(raw::message(0, b"x"), false);
        let mut drips = client.open(EMPTY_CALL, &[]).await;
        drips.send(bytes::Bytes::from_static(&[0, 0, 0, 0, 250, 1, 2]), false);
        let mut ticks = tokio::time::interval(ms(10));
        let ended = async {
            loop {
                tokio::select! {
                    head = drips.head() => break head.expect("a head"),
                    _ = ticks.tick() => drips.send(bytes::Bytes::from_static(b"x"), false),
                }
            }
        };
        // All of it would have come after 2.5 s.
        let head = within(ms(2_000), "the call ends", ended).await;
        assert_eq!(head.headers()["grpc-status"], "4", "{backend}: {head:?}");
        assert_eq!(metric(&gateway, "ringway_failures_total{failure=\"client_too_slow\"}"), 1, "{backend}");
        assert_eq!(metric(&gateway, "ringway_calls_active"), 1, "{backend}");
    }
}
