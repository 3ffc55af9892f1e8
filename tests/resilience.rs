//! Services that fail, as a whole or one of several, and what their callers see of it.
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]

mod support;

use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::gateway::{self, BACKENDS, gateway_config, metric, metric_becomes};
use support::health::health_service;
use support::http1::Http1;
use support::raw::{self, EMPTY_CALL, RawClient};
use support::raw_server::{RawServer, Step};
use support::service::{Act, Service};
use support::within;

/// A service's health, as a test sets it.
#[derive(Clone, Default)]
struct Mood(Arc<AtomicU8>);

const WELL: u8 = 0;
const ILL: u8 = 1;
const SLOW: u8 = 2;

impl Mood {
    fn set(&self, mood: u8) {
        self.0.store(mood, Ordering::SeqCst);
    }

    async fn service(&self) -> Service {
        let mood = self.clone();
        Service::start(move |_, _| match mood.0.load(Ordering::SeqCst) {
            WELL => Act::Answer,
            ILL => Act::Status(14, None),
            _ => Act::AnswerAfter(Duration::from_millis(300)),
        })
        .await
    }
}

/// Connections enough that each of two workers has some.
async fn clients(address: SocketAddr) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(RawClient::connect(address).await);
    }
    clients
}

/// A call of each client, all at once; their codes.
async fn round(clients: &mut [RawClient]) -> Vec<u8> {
    let mut calls = Vec::new();
    for client in clients {
        let mut call = client.open(EMPTY_CALL, &[]).await;
        call.send(raw::message(0, b""), true);
        calls.push(call);
    }
    let mut codes = Vec::new();
    for call in calls {
        let reply = call.reply().await;
        codes.push(
            reply.grpc_status().and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{reply:?}")),
        );
    }
    codes
}

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

        // The calls of a single worker are reason enough: it opens at the tenth, and the others hear of it.
        for _ in 0..10 {
            assert_eq!(round(&mut clients[..1]).await, [14], "{backend}");
        }
        assert_eq!((service.count(), metric(&gateway, STATE)), (10, OPEN), "{backend}");
        let began = Instant::now();
        assert_eq!(round(&mut clients[..1]).await, [14], "{backend}");
        assert!(began.elapsed() < Duration::from_millis(50), "{backend}: refused at once");
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
        let answer = within(Duration::from_millis(500), "all workers hear of it", everybody).await;
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

#[tokio::test]
async fn a_rate_limit_is_exact_over_workers() {
    let limit = "timeout = \"30s\"\n[routes.rate_limit]\nmax_tokens = 100\ntokens_per_fill = 1\nfill_interval = \"1h\"";
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let config = gateway_config(&[service.address()], backend, "").replace("timeout = \"30s\"", limit);
        let gateway = gateway::start(&config);
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
        // A worker of the two has 18 calls or more, and wants nine connections.
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

const EJECTED: &str = "ringway_outlier_ejected";
const EJECTS: &str = "[clusters.retry]\nmax_attempts = 1\n[clusters.breaker]\nenabled = false\n";

#[tokio::test]
async fn an_ill_endpoint_is_left_out_by_all_workers() {
    for backend in BACKENDS {
        let mood = Mood::default();
        mood.set(ILL);
        let ill = mood.service().await;
        let others = [Mood::default().service().await, Mood::default().service().await];
        let all = [ill.address(), others[0].address(), others[1].address()];
        let extra = format!("{EJECTS}[clusters.outlier_detection]\nbase_ejection_time = \"1500ms\"\n");
        let (gateway, address) = gateway::before(&all, backend, &extra);
        let mut clients = clients(address).await;
        let ejected = async {
            while metric(&gateway, EJECTED) == 0 {
                round(&mut clients).await;
            }
        };
        within(Duration::from_secs(5), "the ill one is ejected", ejected).await;
        let ejected_at = Instant::now();
        while ejected_at.elapsed() < Duration::from_millis(600) {
            round(&mut clients).await;
        }
        let late =
            ill.asked().iter().filter(|asked| ejected_at + Duration::from_millis(150) < asked.at).count();
        assert_eq!((late, metric(&gateway, "ringway_outlier_ejections_total")), (0, 1), "{backend}");

        // It comes back, and is used again.
        mood.set(WELL);
        let before = ill.count();
        let back = async {
            while ill.count() == before {
                round(&mut clients).await;
            }
        };
        within(Duration::from_secs(5), "it is used again", back).await;
        assert_eq!(metric(&gateway, EJECTED), 0, "{backend}");
    }
}

#[tokio::test]
async fn where_all_are_ill_all_are_used() {
    for (backend, panic) in BACKENDS.into_iter().flat_map(|backend| [50, 0].map(|panic| (backend, panic))) {
        let mood = Mood::default();
        mood.set(ILL);
        let services = [mood.service().await, mood.service().await];
        let extra = format!(
            "healthy_panic_threshold = {panic}\n{EJECTS}[clusters.outlier_detection]\nmax_ejection_percent = 100\n"
        );
        let (gateway, address) =
            gateway::before(&[0, 1].map(|at: usize| services[at].address()), backend, &extra);
        let mut clients = clients(address).await;
        let ejected = async {
            while metric(&gateway, EJECTED) < 2 {
                round(&mut clients).await;
            }
        };
        within(Duration::from_secs(5), "both are ejected", ejected).await;
        mood.set(WELL);
        let ok = async { while round(&mut clients).await.iter().any(|code| *code != 0) {} };
        within(Duration::from_secs(5), "an ejected endpoint is better than none", ok).await;
    }
}

#[tokio::test]
async fn one_that_comes_back_gets_few_calls_at_first() {
    const CALLS: usize = 400;
    for backend in BACKENDS {
        let mood = Mood::default();
        mood.set(ILL);
        let services = [mood.service().await, Mood::default().service().await];
        let extra = format!(
            "{EJECTS}[clusters.outlier_detection]\nbase_ejection_time = \"50ms\"\n[clusters.slow_start]\nwindow = \"1h\"\n"
        );
        let (gateway, address) =
            gateway::before(&[0, 1].map(|at: usize| services[at].address()), backend, &extra);
        let mut clients = clients(address).await;
        let ejected = async {
            while metric(&gateway, "ringway_outlier_ejections_total") == 0 {
                round(&mut clients).await;
            }
        };
        within(Duration::from_secs(5), "the ill one is ejected", ejected).await;
        mood.set(WELL);
        metric_becomes(&gateway, EJECTED, 0).await;
        // The other worker sees it at its tick.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(250) {
            round(&mut clients).await;
        }
        let before = services[0].count();
        for _ in 0..CALLS / clients.len() {
            round(&mut clients).await;
        }
        let share = (services[0].count() - before) * 100 / CALLS;
        assert!((1..25).contains(&share), "{backend}: {share} % in place of 50");
    }
}

fn all_ended(gateway: &Gateway) -> u64 {
    metric(gateway, "ringway_calls_total")
}

/// Method: three upstreams under load, of which one misbehaves in one way after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_upstream_of_three_costs_less_than_one_call_in_a_hundred() {
    const CALLERS: usize = 16;
    const CALLS: usize = 250;
    let idempotent = format!(
        "[clusters.retry]\ninitial_backoff = \"5ms\"\n[clusters.outlier_detection]\nbase_ejection_time = \"5s\"\n\
         [[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nidempotent = true\ntimeout = \"250ms\"\n"
    );
    let faults: [(&str, &[Step]); 5] = [
        ("silence", &[Step::Never]),
        ("freeze", &[Step::Freeze]),
        ("resets", &[Step::Reset(support::raw_server::Stage::Nothing, support::raw_server::INTERNAL_ERROR)]),
        ("closes", &[Step::Close(support::raw_server::Stage::Nothing)]),
        ("goaways", &[Step::GoawayUnseen]),
    ];
    for (backend, (fault, steps)) in
        BACKENDS.into_iter().flat_map(|backend| faults.map(|fault| (backend, fault)))
    {
        let bad = RawServer::start(steps).await;
        let good = [Mood::default().service().await, Mood::default().service().await];
        let all = [bad.address(), good[0].address(), good[1].address()];
        let (gateway, address) = gateway::before(&all, backend, &idempotent);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            tasks.spawn(async move {
                let mut client = RawClient::connect(address).await;
                let mut ok = 0;
                for _ in 0..CALLS {
                    let began = Instant::now();
                    let reply = client.call(EMPTY_CALL, &[("grpc-timeout", "2S")], b"x").await;
                    assert!(reply.error.is_none() && reply.grpc_status().is_some(), "one outcome: {reply:?}");
                    assert!(began.elapsed() < Duration::from_millis(2_250), "in time: {:?}", began.elapsed());
                    ok += usize::from(reply.grpc_status() == Some("0"));
                }
                ok
            });
        }
        let ok: usize = tasks.join_all().await.into_iter().sum();
        let share = ok as f64 / (CALLERS * CALLS) as f64;
        println!("{backend}, {fault}: {:.2} % succeeded", share * 100.0);
        assert!(share >= 0.99, "{backend}, {fault}: {share}");
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        assert_eq!(
            all_ended(&gateway),
            (CALLERS * CALLS) as u64,
            "{backend}, {fault}: each call is counted once"
        );
    }
}

#[tokio::test]
async fn a_timeout_follows_the_latency() {
    let extra = "[clusters.adaptive_timeout]\npercentile = 90.0\nfloor = \"120ms\"\n[clusters.breaker]\nenabled = false\n";
    for backend in BACKENDS {
        let mood = Mood::default();
        let service = mood.service().await;
        let (_gateway, address) = gateway::before(&[service.address()], backend, extra);
        let mut client = RawClient::connect(address).await;
        mood.set(SLOW);
        assert_eq!(
            client.call(EMPTY_CALL, &[], b"").await.grpc_status(),
            Some("0"),
            "the fixed timeout is long"
        );
        mood.set(WELL);
        for _ in 0..150 {
            assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
        }
        // It is judged once a second.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1_200) {
            assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");
        }
        mood.set(SLOW);
        let began = Instant::now();
        let reply = client.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
        assert!(
            (Duration::from_millis(120)..Duration::from_millis(280)).contains(&began.elapsed()),
            "{backend}"
        );
    }
}

#[tokio::test]
async fn endpoints_that_say_they_are_ill_get_no_calls() {
    const UNFIT: &str = "ringway_health_unfit";
    let extra =
        "[clusters.health_checks]\ninterval = \"100ms\"\nunhealthy_threshold = 2\nservice = \"a.A\"\n";
    for backend in BACKENDS {
        let (ill, reporter) = health_service().await;
        let (well, _kept) = health_service().await;
        let (gateway, address) = gateway::before(&[ill, well], backend, extra);
        let mut clients = clients(address).await;
        reporter.set_service_status("a.A", tonic_health::ServingStatus::NotServing).await;
        metric_becomes(&gateway, UNFIT, 1).await;
        let calls = |page: String| {
            let line = format!("ringway_endpoint_calls_total{{cluster=\"interop\",endpoint=\"{ill}\"}} ");
            page.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
        };
        // Endpoints are published every 100 ms.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            round(&mut clients).await;
        }
        let before = calls(gateway.metrics());
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            round(&mut clients).await;
        }
        assert_eq!(calls(gateway.metrics()), before, "{backend}: it gets no calls");
        reporter.set_service_status("a.A", tonic_health::ServingStatus::Serving).await;
        metric_becomes(&gateway, UNFIT, 0).await;
        let used = async {
            while calls(gateway.metrics()) == before {
                round(&mut clients).await;
            }
        };
        within(Duration::from_secs(5), "it is used again", used).await;
    }
}

/// A service that is asked how it is, and called; one that has no health service is well.
async fn patient(mood: &Mood) -> Service {
    let mood = mood.clone();
    Service::start(move |_, headers| match (is_question(headers), mood.0.load(Ordering::SeqCst)) {
        (true, WELL) => Act::Status(12, None),
        (true, _) => Act::Status(14, None),
        (false, _) => Act::Answer,
    })
    .await
}

/// Only who asks for health says whose client it is.
fn is_question(headers: &http::HeaderMap) -> bool {
    headers.get("user-agent").is_some_and(|agent| agent.as_bytes().starts_with(b"tonic"))
}

#[tokio::test]
async fn endpoints_are_asked_once_for_all_workers() {
    let extra = "[clusters.health_checks]\ninterval = \"100ms\"\n";
    for backend in BACKENDS {
        let service = patient(&Mood::default()).await;
        let began = Instant::now();
        let (gateway, _) = gateway::before(&[service.address()], backend, extra);
        assert_eq!(gateway.workers(), 2);
        let asked = service.wait_until("ten questions", |asked| asked.len() >= 10).await;
        // Two who ask would be done in half the time.
        assert!(began.elapsed() >= Duration::from_millis(850), "{backend}: {:?}", began.elapsed());
        assert!(asked.iter().all(|asked| is_question(&asked.headers)));
    }
}

#[tokio::test]
async fn one_that_says_it_is_well_again_gets_few_calls_at_first() {
    const CALLS: usize = 400;
    let extra = "[clusters.health_checks]\ninterval = \"100ms\"\nunhealthy_threshold = 1\nhealthy_threshold = 1\n\
                 [clusters.slow_start]\nwindow = \"1h\"\n";
    for backend in BACKENDS {
        let mood = Mood::default();
        let services = [patient(&mood).await, patient(&Mood::default()).await];
        let (gateway, address) =
            gateway::before(&[0, 1].map(|at: usize| services[at].address()), backend, extra);
        let mut clients = clients(address).await;
        let calls = || services[0].asked().iter().filter(|asked| !is_question(&asked.headers)).count();
        mood.set(ILL);
        metric_becomes(&gateway, "ringway_health_unfit", 1).await;
        let before = calls();
        for _ in 0..10 {
            assert!(round(&mut clients).await.iter().all(|code| *code == 0), "{backend}");
        }
        assert_eq!(calls(), before, "{backend}: it gets none");
        mood.set(WELL);
        metric_becomes(&gateway, "ringway_health_unfit", 0).await;
        // Workers see it at their tick.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(250) {
            round(&mut clients).await;
        }
        let before = calls();
        for _ in 0..CALLS / clients.len() {
            round(&mut clients).await;
        }
        let share = (calls() - before) * 100 / CALLS;
        assert!((1..25).contains(&share), "{backend}: {share} % in place of 50");
    }
}
