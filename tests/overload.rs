//! A worker that is asked for more than it can do: it refuses early and cheaply, and does what it can.
#![allow(clippy::disallowed_methods, reason = "a test measures how long answers take")]

mod support;

use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::gateway::{self, BACKENDS, asked, gateway_config, metric, metric_becomes};
use support::http1::Http1;
use support::raw::{self, EMPTY_CALL, RawClient, RawReply};
use support::service::{Act, Service};
use support::within;
use tokio::task::JoinSet;

const TOO_MANY: &str = "ringway_overload_active_calls_refused_total";
const TOO_LATE: &str = "ringway_overload_loop_delay_refused_total";

/// A gateway of one worker.
fn start(service: &Service, backend: &str, overload: &str, extra: &str) -> (Gateway, SocketAddr) {
    let config = gateway_config(&[service.address()], backend, extra)
        .replace("workers = 2", "workers = 1")
        .replace("[admin]", &format!("[overload]\n{overload}\n[admin]"));
    let gateway = gateway::start(&config);
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// Sends a call of a client; its answer comes in its own task, with the time it took.
async fn begin(client: &mut RawClient, calls: &mut JoinSet<(RawReply, Duration)>) {
    let began = Instant::now();
    let mut call = client.open(EMPTY_CALL, &[]).await;
    call.send(raw::message(0, b""), true);
    calls.spawn(async move { (call.reply().await, began.elapsed()) });
}

/// Operators get their answers, whatever the workers do.
async fn operators_are_answered(gateway: &Gateway, what: &str) {
    for path in ["/ready", "/metrics"] {
        let began = Instant::now();
        assert_eq!(asked(gateway.admin(), path).await, "HTTP/1.1 200 OK", "{what}");
        assert!(began.elapsed() < Duration::from_secs(1), "{what}: {path} took {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_above_the_limit_are_refused_in_every_language_before_they_are_read() {
    const MAX: usize = 4;
    const JSON: [(&str, &str); 2] = [("content-type", "application/json"), ("content-length", "4000000")];
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/grpc/testing/test.proto");
    let transcoding = format!("[transcoding]\nproto_paths = [{proto:?}]\nprotos = [{file:?}]\n");
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Silence).await;
        let (gateway, address) = start(&service, backend, &format!("max_active_calls = {MAX}"), &transcoding);
        let mut client = RawClient::connect(address).await;
        let mut calls = JoinSet::new();
        for _ in 0..MAX {
            begin(&mut client, &mut calls).await;
        }
        service.wait_until("as many as it may", |asked| asked.len() == MAX).await;

        for _ in 0..20 {
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!((reply.status, reply.grpc_status()), (200, Some("14")), "{backend}: {reply:?}");
        }
        let web = [("content-type", "application/grpc-web+proto")];
        let mut http1 = Http1::connect(address).await;
        let answer = http1.ask(&format!("POST {EMPTY_CALL}"), &web, &[0; 5]).await;
        let trailers = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 200 && trailers.contains("grpc-status: 14"), "{backend}: {answer:?}");
        // Of a body that is announced nothing has come.
        let mut http1 = Http1::connect(address).await;
        let answer = http1.ask(&format!("POST {EMPTY_CALL}"), &JSON, b"").await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")), "{backend}: {answer:?}");
        assert_eq!(answer.json()["code"], 14, "{backend}");

        assert_eq!((metric(&gateway, TOO_MANY), metric(&gateway, TOO_LATE)), (22, 0), "{backend}");
        assert_eq!(service.count(), MAX, "{backend}");
        operators_are_answered(&gateway, backend).await;

        // As soon as one has ended, there is room for one.
        drop(calls);
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        let mut another = JoinSet::new();
        begin(&mut client, &mut another).await;
        service.wait_until("another one", |asked| asked.len() == MAX + 1).await;
    }
}

/// How calls ended that came at a fixed pace, whether or not those before had ended.
#[derive(Debug, Default)]
struct Tally {
    ok: usize,
    /// How long those took that were refused.
    refused: Vec<Duration>,
}

impl Tally {
    fn add(&mut self, (reply, took): (RawReply, Duration)) {
        match reply.grpc_status() {
            Some("0") => self.ok += 1,
            Some("14") => self.refused.push(took),
            _ => panic!("{reply:?}"),
        }
    }
}

/// Offers so many calls a second for a while.
async fn offer(clients: &mut [RawClient], per_second: f64, duration: Duration) -> Tally {
    let mut tally = Tally::default();
    let mut calls = JoinSet::new();
    let began = Instant::now();
    let mut beats = tokio::time::interval(Duration::from_millis(5));
    let mut sent = 0;
    while began.elapsed() < duration {
        beats.tick().await;
        while (sent as f64) < began.elapsed().as_secs_f64() * per_second {
            let at = sent % clients.len();
            begin(&mut clients[at], &mut calls).await;
            sent += 1;
        }
        while let Some(ended) = calls.try_join_next() {
            tally.add(ended.expect("no panic"));
        }
    }
    for ended in calls.join_all().await {
        tally.add(ended);
    }
    tally
}

/// The throughput of a gateway that is just busy, and that under three times as much.
async fn goodput(backend: &str) -> (f64, f64) {
    const MAX: usize = 16;
    const DURATION: Duration = Duration::from_secs(2);
    let service = Service::start(|_, _| Act::AnswerAfter(Duration::from_millis(50))).await;
    let (gateway, address) = start(&service, backend, &format!("max_active_calls = {MAX}"), "");
    let mut callers = JoinSet::new();
    for _ in 0..MAX {
        callers.spawn(async move {
            let mut client = RawClient::connect(address).await;
            let (mut ok, began) = (0, Instant::now());
            while began.elapsed() < DURATION {
                let reply = client.call(EMPTY_CALL, &[], b"").await;
                ok += usize::from(reply.grpc_status() == Some("0"));
            }
            ok
        });
    }
    let busy = callers.join_all().await.into_iter().sum::<usize>() as f64 / DURATION.as_secs_f64();
    metric_becomes(&gateway, "ringway_calls_active", 0).await;

    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(RawClient::connect(address).await);
    }
    let load = offer(&mut clients, 3.0 * busy, DURATION);
    let (mut tally, ()) = tokio::join!(load, operators_are_answered(&gateway, backend));
    let overloaded = tally.ok as f64 / DURATION.as_secs_f64();
    tally.refused.sort_unstable();
    let count = tally.refused.len();
    let [half, most] = [50, 99].map(|percent| tally.refused[count * percent / 100]);
    println!(
        "{backend}: {busy:.0} calls a second; of three times as many {overloaded:.0}; {count} refused, half of them in \
         {half:?}, 99 % in {most:?}"
    );
    assert!(count > tally.ok, "{backend}: it was far too much");
    assert!(half < Duration::from_millis(25), "{backend}: a refusal is quicker than an answer: {half:?}");
    // No service ever sees a call that is refused.
    assert_eq!(metric(&gateway, "ringway_upstream_calls_total"), service.count() as u64, "{backend}");
    (busy, overloaded)
}

/// Method: a gateway that takes 16 calls at once, each of which takes the service 50 ms: 320 a second at most. First 16
/// callers that ask again when they are answered; then three times as many calls as those got through, come what may.
/// Other work on the machine may fall on one half of a measurement, so there are three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gets_through_stays_the_same_however_much_is_asked_for() {
    for backend in BACKENDS {
        let mut shares = Vec::new();
        while shares.len() < 3 && shares.iter().all(|share| *share < 0.8) {
            let (busy, overloaded) = goodput(backend).await;
            shares.push(overloaded / busy);
        }
        assert!(shares.iter().any(|share| *share >= 0.8), "{backend}: {shares:?} of what it got through");
    }
}

/// Method: a worker that may be late by 10 ms at most, and callers that keep some hundred calls in flight, which takes
/// it longer in each turn, whatever the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stays_late_refuses_until_it_no_longer_is() {
    const STREAMS: usize = 200;
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let overload = "max_loop_delay = \"1ms\"\ninterval = \"100ms\"";
        let (gateway, address) =
            start(&service, backend, overload, "max_requests = 4096\nmax_pending_requests = 4096");
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..12 {
            let stop = Arc::clone(&stop);
            callers.spawn(async move {
                let mut client = RawClient::connect(address).await;
                let (mut calls, mut tally) = (JoinSet::new(), Tally::default());
                while !stop.load(Ordering::Relaxed) {
                    while calls.len() < STREAMS {
                        begin(&mut client, &mut calls).await;
                    }
                    tally.add(calls.join_next().await.expect("calls are left").expect("no panic"));
                }
                calls.join_all().await.into_iter().for_each(|ended| tally.add(ended));
                tally
            });
        }
        let refused = async {
            while metric(&gateway, TOO_LATE) < 100 {
                operators_are_answered(&gateway, backend).await;
            }
        };
        within(Duration::from_secs(20), "it refuses", refused).await;
        operators_are_answered(&gateway, backend).await;
        stop.store(true, Ordering::Relaxed);
        let all = callers.join_all().await;
        let ok: usize = all.iter().map(|tally| tally.ok).sum();
        let refused: usize = all.iter().map(|tally| tally.refused.len()).sum();
        println!("{backend}: {ok} answered, {refused} refused");
        assert!(ok > 0, "{backend}");
        assert_eq!(metric(&gateway, TOO_LATE), refused as u64, "{backend}: every call has one outcome");
        assert_eq!((metric(&gateway, TOO_MANY), service.count()), (0, ok), "{backend}");

        let mut client = RawClient::connect(address).await;
        for _ in 0..20 {
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{backend}: it is no longer late");
        }
    }
}
