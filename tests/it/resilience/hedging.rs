//! Calls that are sent several times at once, over real sockets: exactly one answer, and whoever is too slow is cancelled.
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]

use crate::support::gateway::{self, BACKENDS, metric, metric_becomes};
use crate::support::raw::{self, EMPTY_CALL, RawClient, RawReply};
use crate::support::raw_server::{RawServer, Step};
use crate::support::service::{Act, Asked, Service};
use crate::support::within;
use http::HeaderMap;
use std::time::{Duration, Instant};

const HEDGES: &str = "ringway_upstream_hedges_total";
const SLOW: Act = Act::AnswerAfter(Duration::from_secs(3));
const UNAVAILABLE: Act = Act::Status(14, None);
const LATE: &[Act] = &[Act::AnswerAfter(ms(1_500)), Act::Answer];

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Settings of a cluster whose calls are sent up to so many times, so far apart; `pool` are keys of its pool.
fn hedged(attempts: u32, delay: &str, pool: &str) -> String {
    format!(
        "[clusters.pool]\n{pool}\n[clusters.retry]\nbudget_min_retries = 1000\n[clusters.breaker]\nenabled = false\n\
         [clusters.outlier_detection]\nenabled = false\n\
         [[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nidempotent = true\n\
         [clusters.methods.hedging]\nmax_attempts = {attempts}\nhedging_delay = \"{delay}\"\n"
    )
}

/// How many attempts were made before this one.
fn previous(headers: &HeaderMap) -> usize {
    headers.get("grpc-previous-rpc-attempts").map_or(0, |value| {
        value.to_str().ok().and_then(|text| text.parse().ok()).expect("it is a number of attempts")
    })
}

/// Services that do this at a call's first attempt, that at its second, and so on; the last for all that follow.
async fn services(count: usize, acts: &'static [Act]) -> Vec<Service> {
    let mut services = Vec::new();
    for _ in 0..count {
        services.push(Service::start(|_, headers| acts[previous(headers).min(acts.len() - 1)]).await);
    }
    services
}

fn all(services: &[Service]) -> Vec<Asked> {
    let mut all: Vec<_> = services.iter().flat_map(Service::asked).collect();
    all.sort_by_key(|asked| asked.at);
    all
}

async fn call(client: &mut RawClient, headers: &[(&str, &str)], body: &[u8]) -> (RawReply, Duration) {
    let began = Instant::now();
    (client.call(EMPTY_CALL, headers, body).await, began.elapsed())
}

/// Until all endpoints are connected there is nothing to choose.
async fn connected(gateway: &ringway::supervisor::Gateway, client: &mut RawClient, count: u64) {
    let connect = async {
        while metric(gateway, "ringway_upstream_connections_active") < count {
            client.call("/grpc.testing.TestService/UnaryCall", &[], b"").await;
        }
    };
    within(Duration::from_secs(10), "all endpoints are connected", connect).await;
}

#[tokio::test]
async fn the_second_answers_while_the_first_is_slow_and_is_cancelled() {
    const CALLS: usize = 20;
    for backend in BACKENDS {
        // Other methods are not hedged, so the calls that connect are answered at once.
        let answers = |_: usize, headers: &HeaderMap| match (headers.get("x-id"), previous(headers)) {
            (Some(_), 0) => SLOW,
            _ => Act::Answer,
        };
        let services = [Service::start(answers).await, Service::start(answers).await];
        let addresses = [services[0].address(), services[1].address()];
        let (gateway, address) = gateway::before(&addresses, backend, &hedged(2, "100ms", ""));
        let mut client = RawClient::connect(address).await;
        connected(&gateway, &mut client, 2).await;
        let before = metric(&gateway, "ringway_calls_total");
        for id in 0..CALLS {
            let (reply, took) = call(&mut client, &[("x-id", &id.to_string())], b"some words").await;
            assert_eq!(
                (reply.grpc_status(), &reply.body[..]),
                (Some("0"), &[0; 5][..]),
                "{backend}: {reply:?}"
            );
            assert!((ms(100)..ms(2_500)).contains(&took), "{backend}: {took:?}");
        }
        for service in &services {
            let slow = |asked: &Asked| asked.header("x-id").is_some() && previous(&asked.headers) == 0;
            let over = |all: &[Asked]| all.iter().all(|asked| !slow(asked) || asked.cancelled_at.is_some());
            service.wait_until("the slow ones are cancelled", over).await;
        }
        for id in 0..CALLS {
            let mine = |asked: &&Asked| asked.header("x-id") == Some(&id.to_string());
            let of = |at: usize| services[at].asked().iter().filter(mine).cloned().collect::<Vec<_>>();
            // Each endpoint was asked once, and both had all of the request.
            let (one, other) = (of(0), of(1));
            assert_eq!((one.len(), other.len()), (1, 1), "{backend}, {id}");
            let (first, second) =
                if previous(&one[0].headers) == 0 { (&one[0], &other[0]) } else { (&other[0], &one[0]) };
            assert_eq!(
                (first.bytes, second.bytes, previous(&second.headers)),
                (15, 15, 1),
                "{backend}, {id}"
            );
            // How soon after it is held where time is virtual: `src/worker/simulation/timing.rs`.
            assert!(
                first.cancelled_at > Some(second.at),
                "{backend}, {id}: it is given up for the other one"
            );
        }
        assert_eq!(metric(&gateway, HEDGES), CALLS as u64, "{backend}");
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        assert_eq!(
            metric(&gateway, "ringway_calls_total") - before,
            CALLS as u64,
            "{backend}: one answer each"
        );
        assert_eq!(metric(&gateway, "ringway_upstream_calls_active"), 0, "{backend}");
    }
}

#[tokio::test]
async fn codes_and_pushback_say_when_the_next_begins() {
    const SOON: Act = Act::Status(14, Some("150"));
    const NEVER: Act = Act::Status(14, Some("-1"));
    // acts, status, attempts, milliseconds
    type Row = (&'static str, &'static [Act], &'static str, usize, std::ops::Range<u64>);
    let table: [Row; 6] = [
        ("one that is not fatal: at once", &[UNAVAILABLE, UNAVAILABLE, Act::Answer], "0", 3, 0..2_500),
        ("all fail", &[UNAVAILABLE], "14", 3, 0..2_500),
        ("one that is fatal", &[Act::Status(5, None), Act::Answer], "5", 1, 0..2_500),
        ("not yet, the service says", &[SOON, Act::Answer], "0", 2, 145..2_500),
        ("never, the service says", &[NEVER, Act::Answer], "14", 1, 0..2_500),
        ("nobody has seen it", &[Act::Reset(h2::Reason::REFUSED_STREAM), Act::Answer], "0", 2, 0..2_500),
    ];
    for (backend, (what, acts, status, attempts, time)) in
        BACKENDS.into_iter().flat_map(|backend| table.clone().map(|row| (backend, row)))
    {
        let services = services(2, acts).await;
        let addresses = [services[0].address(), services[1].address()];
        let (gateway, address) = gateway::before(&addresses, backend, &hedged(3, "4s", ""));
        let mut client = RawClient::connect(address).await;
        let (reply, took) = call(&mut client, &[], b"x").await;
        assert_eq!(reply.grpc_status(), Some(status), "{backend}, {what}: {reply:?}");
        let asked = all(&services);
        let numbers: Vec<_> = asked.iter().map(|asked| previous(&asked.headers)).collect();
        assert_eq!(numbers, (0..attempts).collect::<Vec<_>>(), "{backend}, {what}");
        assert!((ms(time.start)..ms(time.end)).contains(&took), "{backend}, {what}: {took:?}");
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
    }
}

#[tokio::test]
async fn the_deadline_is_for_all_attempts() {
    for backend in BACKENDS {
        let services = services(2, &[Act::Silence]).await;
        let addresses = [services[0].address(), services[1].address()];
        let (_gateway, address) = gateway::before(&addresses, backend, &hedged(2, "100ms", ""));
        let mut client = RawClient::connect(address).await;
        let (reply, took) = call(&mut client, &[("grpc-timeout", "350m")], b"x").await;
        assert_eq!(reply.grpc_status(), Some("4"), "{backend}: {reply:?}");
        assert!((ms(345)..ms(1_500)).contains(&took), "{backend}: {took:?}");
        let mut told = Vec::new();
        for service in &services {
            service
                .wait_until("all are cancelled", |all| all.iter().all(|asked| asked.cancelled_at.is_some()))
                .await;
        }
        for asked in all(&services) {
            let text = asked.header("grpc-timeout").expect("each is told what is left").to_owned();
            assert!(text.ends_with('n') || text.ends_with('u'), "{text}");
            let number: u64 = text[..text.len() - 1].parse().expect("digits");
            told.push(if text.ends_with('u') { number * 1_000 } else { number });
        }
        assert_eq!(told.len(), 2, "{backend}: {told:?}");
        assert!(told[0] < 350_000_000 && told[1] < 260_000_000, "{backend}: {told:?}");
    }
}

/// Method: no call is ever answered, so every call wants a second attempt; the budget has a fifth of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_a_fifth_more() {
    const CALLS: usize = 600;
    const AT_ONCE: usize = 100;
    for backend in BACKENDS {
        let services = services(2, &[Act::Silence]).await;
        let addresses = [services[0].address(), services[1].address()];
        let extra = hedged(3, "20ms", "").replace("min_retries = 1000", "min_retries = 10");
        let (gateway, address) = gateway::before(&addresses, backend, &extra);
        let mut client = RawClient::connect(address).await;
        for _ in 0..CALLS / AT_ONCE {
            let mut calls = Vec::new();
            for _ in 0..AT_ONCE {
                let mut call = client.open(EMPTY_CALL, &[("grpc-timeout", "200m")]).await;
                call.send(raw::message(0, b""), true);
                calls.push(call);
            }
            for call in calls {
                assert_eq!(call.reply().await.grpc_status(), Some("4"), "{backend}");
            }
        }
        let attempts = metric(&gateway, "ringway_upstream_calls_total") as usize;
        let hedges = metric(&gateway, HEDGES);
        println!("{backend}: {attempts} attempts for {CALLS} calls");
        assert!(attempts <= CALLS * 12 / 10 + 10, "{backend}: {attempts}");
        assert!(attempts >= CALLS * 11 / 10, "{backend}: the budget is used: {attempts}");
        assert_eq!(attempts as u64, CALLS as u64 + hedges, "{backend}");
        assert!(all(&services).len() <= attempts, "{backend}");
        assert!(metric(&gateway, "ringway_upstream_retry_budget_exhausted_total") > 0, "{backend}");
    }
}

#[tokio::test]
async fn only_a_request_that_is_kept_whole_is_sent_twice() {
    for backend in BACKENDS {
        let services = services(2, LATE).await;
        let addresses = [services[0].address(), services[1].address()];
        let pool = "replay_buffer_size = \"1KiB\"";
        let (gateway, address) = gateway::before(&addresses, backend, &hedged(2, "50ms", pool));
        let mut client = RawClient::connect(address).await;

        // More than is kept: the first attempt is the only one.
        let (reply, took) = call(&mut client, &[], &[7; 4_000]).await;
        assert_eq!((reply.grpc_status(), all(&services).len()), (Some("0"), 1), "{backend}: {reply:?}");
        assert!(ms(1_490) <= took, "{backend}: {took:?}");

        // A stream whose end has not come is with one endpoint; once it has, the other one is asked too.
        let mut stream = client.open(EMPTY_CALL, &[]).await;
        stream.send(raw::message(0, b"first"), false);
        let early = tokio::time::timeout(ms(250), stream.head()).await;
        assert!(early.is_err() && all(&services).len() == 2, "{backend}: {early:?}");
        let began = Instant::now();
        stream.send(raw::message(0, b"last"), true);
        let reply = stream.reply().await;
        assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
        assert!(began.elapsed() < ms(1_400), "{backend}: the delay had passed before: {:?}", began.elapsed());
        let asked = all(&services);
        let bytes: Vec<_> = asked[1..].iter().map(|asked| asked.bytes).collect();
        assert_eq!((bytes, metric(&gateway, HEDGES)), (vec![19, 19], 1), "{backend}");
    }
}

/// The first endpoint takes nothing but what fits into its windows.
#[tokio::test]
async fn an_endpoint_that_is_frozen_costs_the_delay() {
    const BODY: usize = 60_000;
    for backend in BACKENDS {
        // Whichever is chosen first: one of two calls meets the frozen one first.
        let frozen = RawServer::start(&[Step::Freeze]).await;
        let well = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) =
            gateway::before(&[frozen.address(), well.address()], backend, &hedged(2, "100ms", ""));
        let mut client = RawClient::connect(address).await;
        let meet = async {
            while metric(&gateway, HEDGES) == 0 {
                let (reply, took) = call(&mut client, &[], &[7; BODY]).await;
                assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
                assert!(took < ms(2_500), "{backend}: {took:?}");
            }
        };
        within(Duration::from_secs(10), "the frozen one is chosen first", meet).await;
        assert!(well.asked().iter().all(|asked| asked.whole && asked.bytes == BODY + 5), "{backend}");
    }
}

#[tokio::test]
async fn a_service_config_hedges_what_is_idempotent() {
    let config = r#"{ "methodConfig": [ { "name": [{ "service": "grpc.testing.TestService" }],
        "hedgingPolicy": { "maxAttempts": 2, "hedgingDelay": "0.05s", "nonFatalStatusCodes": ["UNAVAILABLE"] } } ] }"#;
    let path = std::env::temp_dir().join(format!("ringway-hedging-{}.json", std::process::id()));
    std::fs::write(&path, config).expect("the directory for scratch files takes one");
    let extra = format!(
        "service_config = {path:?}\n[clusters.breaker]\nenabled = false\n[[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nidempotent = true\n"
    );
    for backend in BACKENDS {
        let services = services(2, &[SLOW, Act::Answer]).await;
        let addresses = [services[0].address(), services[1].address()];
        let (gateway, address) = gateway::before(&addresses, backend, &extra);
        let mut client = RawClient::connect(address).await;
        let (reply, took) = call(&mut client, &[], b"").await;
        assert_eq!((reply.grpc_status(), metric(&gateway, HEDGES)), (Some("0"), 1), "{backend}: {reply:?}");
        assert!(took < ms(2_500), "{backend}: {took:?}");
        // A call that is not idempotent is sent once.
        let other =
            client.call("/grpc.testing.TestService/UnaryCall", &[("grpc-timeout", "200m")], b"").await;
        assert_eq!((other.grpc_status(), metric(&gateway, HEDGES)), (Some("4"), 1), "{backend}: {other:?}");
    }
    std::fs::remove_file(&path).expect("it is still there");
}
