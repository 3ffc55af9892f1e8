//! Spans of calls and attempts as a collector gets them, the `traceparent` that services get, and where an answer says
//! its time went.
#![allow(clippy::disallowed_methods, reason = "a test measures how long a call takes")]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::collector::{self, Collector, ReceivedSpan};
use crate::support::gateway::{self, BACKENDS, GatewayBuilder, gateway_config, metric, metric_becomes};
use crate::support::interop_server::InteropServer;
use crate::support::library::{Library, Source, front};
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient, RawReply};
use crate::support::service::{Act, Asked, Service};
use crate::support::web::{Caller, VERSIONS, Version};
use crate::support::within;
use ringway::supervisor::Gateway;
use tokio::net::TcpListener;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const RETRY: &str = "[clusters.retry]\ninitial_backoff = \"10ms\"\n";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn within_of(inner: &ReceivedSpan, outer: &ReceivedSpan) -> bool {
    let [inner, outer] = [inner, outer].map(|seen| &seen.span);
    // The worker's clock may have been set to the calendar in between.
    const STEP: u64 = 5_000_000;
    outer.start_time_unix_nano <= inner.start_time_unix_nano + STEP
        && inner.start_time_unix_nano <= inner.end_time_unix_nano
        && inner.end_time_unix_nano <= outer.end_time_unix_nano + STEP
}

#[tokio::test]
async fn each_attempt_has_a_span_below_that_of_its_call() {
    for backend in BACKENDS {
        let collector = Collector::start().await;
        let service = Service::start(|at, _| if at == 0 { Act::Status(14, None) } else { Act::Answer }).await;
        let tables = format!("{RETRY}{}", collector.table("sample = 0.0\nservice_name = \"edge\""));
        let (gateway, address) = gateway::before(&[service.address()], backend, &tables);
        let parent = traceparent("01");
        let fields = [("traceparent", &*parent), ("tracestate", "a=1,b=2")];
        let reply = RawClient::connect(address).await.call(EMPTY_CALL, &fields, b"four").await;
        assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");

        let spans = collector.wait_for(3).await;
        let [call, first, second] = &spans[..] else { panic!("{spans:?}") };
        assert!(call.is_call() && !first.is_call() && !second.is_call(), "{spans:?}");
        assert!(spans.iter().all(|seen| seen.trace_id() == TRACE && seen.service == "edge"), "{spans:?}");
        assert_eq!(call.parent(), CALLER);
        assert_eq!([first.parent(), second.parent()], [call.id(), call.id()]);
        assert_eq!(spans.iter().map(ReceivedSpan::id).collect::<HashSet<_>>().len(), 3);
        assert!(within_of(first, call) && within_of(second, call), "{spans:?}");
        assert!(first.span.end_time_unix_nano <= second.span.start_time_unix_nano, "{spans:?}");
        // A service's span hangs below that of the attempt that it answered.
        let asked = service.asked();
        let sent: Vec<_> = asked.iter().map(|asked| asked.header("traceparent").unwrap()).collect();
        assert_eq!(sent, [first.traceparent(), second.traceparent()]);
        assert!(asked.iter().all(|asked| asked.header("tracestate") == Some("a=1,b=2")));
        check_attributes(call, [first, second], service.address());
        assert_eq!(metric(&gateway, "ringway_spans_failed_total"), 0);
        metric_becomes(&gateway, "ringway_spans_exported_total", 3).await;
    }
}

fn check_attributes(call: &ReceivedSpan, attempts: [&ReceivedSpan; 2], service: SocketAddr) {
    let [name, method] = ["grpc.testing.TestService/EmptyCall", "EmptyCall"];
    for (seen, key, wanted) in [
        (call, "rpc.grpc.status_code", "0"),
        (call, "http.response.status_code", "200"),
        (call, "network.protocol.version", "2"),
        (call, "http.request.body.size", "9"),
        (call, "ringway.attempts", "2"),
        (call, "ringway.route", "prefix:/"),
        (call, "network.peer.address", "127.0.0.1"),
        (attempts[0], "rpc.grpc.status_code", "14"),
        (attempts[0], "error.type", "UNAVAILABLE"),
        (attempts[1], "rpc.grpc.status_code", "0"),
        (attempts[1], "http.request.resend_count", "1"),
        (attempts[1], "ringway.cluster", "interop"),
    ] {
        assert_eq!(seen.attribute(key).as_deref(), Some(wanted), "{key}: {seen:?}");
    }
    for seen in [call, attempts[0], attempts[1]] {
        assert_eq!(seen.span.name, name);
        assert_eq!(seen.attribute("rpc.system").as_deref(), Some("grpc"));
        assert_eq!(seen.attribute("rpc.service").as_deref(), Some("grpc.testing.TestService"));
        assert_eq!(seen.attribute("rpc.method").as_deref(), Some(method));
    }
    for seen in attempts {
        assert_eq!(seen.attribute("server.port"), Some(service.port().to_string()), "{seen:?}");
        assert_eq!(seen.attribute("network.peer.address").as_deref(), Some("127.0.0.1"));
    }
    // The error is the attempt's: the call went well in the end.
    let errors = [call, attempts[0], attempts[1]].map(|seen| seen.span.status.is_some());
    assert_eq!(errors, [false, true, false]);
}

/// Method: calls with each kind of `traceparent`, to a gateway that begins no trace of its own.
#[tokio::test]
async fn a_callers_decision_is_followed_and_what_is_malformed_begins_anew() {
    let collector = Collector::start().await;
    let server = InteropServer::start();
    let (gateway, address) = gateway::before(&[server.address()], "epoll", &collector.table("sample = 0.0"));
    let mut client = RawClient::connect(address).await;
    let state = ("tracestate", "a=1");
    let (sampled, not_sampled) = (traceparent("01"), traceparent("00"));
    let unknown_version = format!("cc-{TRACE}-{CALLER}-01-what-comes");
    let bad = [
        format!("ff-{TRACE}-{CALLER}-01"),
        format!("00-{}-{CALLER}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("00-{TRACE}-{CALLER}-01-more"),
        format!("00-{}-{CALLER}-01", TRACE.to_uppercase()),
        "00-1-2-01".to_owned(),
        String::new(),
    ];
    for (value, follows) in [&sampled, &unknown_version, &not_sampled]
        .into_iter()
        .map(|value| (value, true))
        .chain(bad.iter().map(|value| (value, false)))
    {
        server.forget();
        client.call(EMPTY_CALL, &[("traceparent", value), state], b"").await;
        let headers = server.calls().remove(0).headers;
        let got = headers["traceparent"].to_str().unwrap().to_owned();
        assert_eq!(headers.get_all("traceparent").iter().count(), 1, "{value}");
        assert_eq!(got.starts_with(&format!("00-{TRACE}-")), follows, "{value}: {got}");
        assert_eq!(headers.contains_key("tracestate"), follows, "{value}");
        match value {
            _ if *value == not_sampled => assert_eq!(got, not_sampled),
            _ if follows => assert!(got.ends_with("-01") && !got.contains(CALLER), "{got}"),
            _ => assert!(got.ends_with("-00") && got.len() == 55 && !got.contains(CALLER), "{got}"),
        }
    }
    // Without a trace, and with two of them.
    server.forget();
    client.call(EMPTY_CALL, &[state], b"").await;
    client.call(EMPTY_CALL, &[("traceparent", &*sampled), ("traceparent", &*not_sampled), state], b"").await;
    for call in server.calls() {
        let all: Vec<_> = call.headers.get_all("traceparent").iter().collect();
        assert!(all.len() == 1 && !all[0].to_str().unwrap().contains(TRACE), "{all:?}");
        assert!(!call.headers.contains_key("tracestate"));
    }
    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    drop(gateway);
    // Two calls were recorded, and their attempts: those whose callers were.
    let spans = collector.wait_for(4).await;
    assert!(spans.iter().all(|seen| seen.trace_id() == TRACE), "{spans:?}");
}

/// Method: calls without a trace. As many as the ratio says have spans, within five standard deviations, and these are
/// those whose service was told so.
#[tokio::test]
async fn the_ratio_decides_where_a_caller_does_not() {
    const CALLS: usize = 400;
    let collector = Collector::start().await;
    let server = InteropServer::start();
    let (gateway, address) =
        gateway::before(&[server.address()], "io_uring", &collector.table("sample = 0.5"));
    let mut client = RawClient::connect(address).await;
    for _ in 0..CALLS {
        client.call(EMPTY_CALL, &[], b"").await;
    }
    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    assert_eq!(metric(&gateway, "ringway_spans_dropped_total"), 0);
    drop(gateway);
    let calls = server.calls();
    let sent = calls.iter().map(|call| call.headers["traceparent"].to_str().unwrap());
    let (sampled, others): (HashSet<&str>, HashSet<&str>) = sent.partition(|value| value.ends_with("-01"));
    assert_eq!(sampled.len() + others.len(), CALLS, "each is its own");
    assert!((CALLS / 2 - 50..=CALLS / 2 + 50).contains(&sampled.len()), "{}", sampled.len());
    let spans = collector.wait_for(2 * sampled.len()).await;
    let (roots, attempts): (Vec<&ReceivedSpan>, Vec<&ReceivedSpan>) =
        spans.iter().partition(|seen| seen.is_call());
    assert!(roots.iter().all(|seen| seen.parent().is_empty()));
    let told: HashSet<String> = attempts.iter().map(|seen| seen.traceparent()).collect();
    assert_eq!(told, sampled.into_iter().map(str::to_owned).collect());
}

/// The only `traceparent` of each.
fn told(asked: &[Asked]) -> Vec<String> {
    let only = |asked: &Asked| {
        let all: Vec<_> = asked.headers.get_all("traceparent").iter().collect();
        let [only] = all[..] else { panic!("{all:?}") };
        only.to_str().expect("it is text").to_owned()
    };
    asked.iter().map(only).collect()
}

/// Method: calls without a trace, of which none or each is recorded, are sent twice: again after an error, or at once. Each
/// attempt is told of the trace exactly once; where it is recorded, of a span of its own.
#[tokio::test]
async fn each_attempt_is_told_once_of_a_trace_that_begins_here() {
    let hedged = format!(
        "[[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nidempotent = true\n\
         [clusters.methods.hedging]\nmax_attempts = 2\nhedging_delay = \"10ms\"\n"
    );
    let late = Act::AnswerAfter(Duration::from_secs(5));
    for (twice, first) in [(RETRY, Act::Status(14, None)), (&hedged, late)] {
        for (sample, flags) in [("sample = 0.0", "-00"), ("sample = 1.0", "-01")] {
            let collector = Collector::start().await;
            let service = Service::start(move |at, _| if at == 0 { first } else { Act::Answer }).await;
            let tables = format!("{twice}{}", collector.table(sample));
            let (_gateway, address) = gateway::before(&[service.address()], "io_uring", &tables);
            let reply = RawClient::connect(address).await.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
            let told = told(&service.asked());
            let [one, other] = &told[..] else { panic!("{told:?}") };
            assert!(one[..36] == other[..36] && told.iter().all(|told| told.ends_with(flags)), "{told:?}");
            let is_recorded = flags == "-01";
            assert_eq!(one != other, is_recorded, "{told:?}");
            if is_recorded {
                let spans = collector.wait_for(3).await;
                let attempts = spans.iter().filter(|seen| !seen.is_call()).map(ReceivedSpan::traceparent);
                assert_eq!(attempts.collect::<HashSet<_>>(), told.into_iter().collect());
            }
        }
    }
}

#[tokio::test]
async fn a_service_asked_in_json_is_told_that_its_caller_is_not_recorded() {
    let collector = Collector::start().await;
    let library = Library::start();
    let front = front(&library, "io_uring", Source::DescriptorSet, &collector.table("sample = 0.0"));
    for version in VERSIONS {
        let mut caller = Caller::connect(version, front.address).await;
        let answer = caller.ask("GET /v1/shelves/a/books/b", &[], b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let headers = library.take().headers;
        assert_eq!(headers.get_all("traceparent").iter().count(), 1, "{headers:?}");
        assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"), "{headers:?}");
    }
}

#[tokio::test]
async fn a_caller_of_json_has_a_span_of_http_above_that_of_grpc() {
    for (backend, version) in BACKENDS.into_iter().zip(VERSIONS) {
        let collector = Collector::start().await;
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, &collector.table("sample = 1"));
        let mut caller = Caller::connect(version, front.address).await;
        let parent = traceparent("01");
        let fields = [("traceparent", &*parent)];
        let answer = caller.ask("GET /v1/shelves/a/books/b", &fields, b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let missing = caller.ask("GET /v1/nothing/here", &fields, b"").await;
        assert_eq!(missing.status, 404, "{missing:?}");

        let spans = collector.wait_for(3).await;
        let [call, attempt, missing] = &spans[..] else { panic!("{spans:?}") };
        let name = "GET /v1/{name=shelves/*/books/*}";
        assert_eq!((&*call.span.name, call.parent()), (name, CALLER.to_owned()));
        assert_eq!((&*attempt.span.name, attempt.parent()), ("test.web.v1.Library/Get", call.id()));
        assert_eq!(library.take().headers["traceparent"], attempt.traceparent());
        assert_eq!(&*missing.span.name, "GET");
        let http = if version == Version::Http1 { "1.1" } else { "2" };
        let size = answer.body.len().to_string();
        for (seen, key, wanted) in [
            (call, "http.request.method", Some("GET")),
            (call, "url.path", Some("/v1/shelves/a/books/b")),
            (call, "http.response.status_code", Some("200")),
            (call, "http.response.body.size", Some(&*size)),
            (call, "network.protocol.version", Some(http)),
            (call, "rpc.system", None),
            (call, "http.route", Some("/v1/{name=shelves/*/books/*}")),
            (call, "rpc.service", Some("test.web.v1.Library")),
            (call, "rpc.method", Some("Get")),
            (attempt, "rpc.method", Some("Get")),
            (attempt, "rpc.grpc.status_code", Some("0")),
            (missing, "http.response.status_code", Some("404")),
            (missing, "ringway.flags", Some("NR")),
        ] {
            assert_eq!(seen.attribute(key).as_deref(), wanted, "{backend} {key}: {seen:?}");
        }
        assert_ne!(call.attribute("ringway.transcode_us").as_deref(), Some("0"));
    }
}

/// An attempt that nobody waits for any more has a span, too.
#[tokio::test]
async fn a_call_that_is_given_up_is_told_of() {
    let collector = Collector::start().await;
    let service = Service::start(|_, _| Act::Silence).await;
    let (_gateway, address) = gateway::before(&[service.address()], "epoll", &collector.table("sample = 1"));
    let mut client = RawClient::connect(address).await;
    let call = client.open(EMPTY_CALL, &[]).await;
    service.wait_until("it arrives", |asked| asked.len() == 1).await;
    drop(call);
    let spans = collector.wait_for(2).await;
    let codes: Vec<_> = spans.iter().map(|seen| seen.attribute("rpc.grpc.status_code").unwrap()).collect();
    assert_eq!(codes, ["1", "1"], "{spans:?}");
    assert!(spans.iter().all(|seen| seen.attribute("ringway.flags").as_deref() == Some("DC")), "{spans:?}");
}

/// Calls one after the other; how long the slowest took.
async fn slowest_of(calls: usize, address: SocketAddr) -> Duration {
    let mut client = RawClient::connect(address).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..calls {
        let begun = Instant::now();
        let reply = client.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
        slowest = slowest.max(begun.elapsed());
    }
    slowest
}

fn lost(gateway: &Gateway) -> (u64, u64) {
    (metric(gateway, "ringway_spans_dropped_total"), metric(gateway, "ringway_spans_failed_total"))
}

/// Method: nobody listens where the collector should be, or somebody does and never answers. Calls go on as fast as ever,
/// and each span is counted.
#[tokio::test]
async fn a_collector_that_is_dead_delays_no_call_and_what_is_lost_is_counted() {
    const CALLS: usize = 300;
    let server = InteropServer::start();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let (silent_at, gone_at) = (silent.local_addr().unwrap(), gone.local_addr().unwrap());
    drop(gone);
    for (address, timeout) in [(gone_at, "5s"), (silent_at, "100ms")] {
        let settings = format!("sample = 1\nqueue_spans = 64\nbatch_spans = 32\ntimeout = \"{timeout}\"");
        let tables = collector::table(address, &settings);
        let gateway =
            GatewayBuilder::new(&[server.address()], "epoll").set("workers", 1).extra(&tables).start();
        let slowest = slowest_of(CALLS, gateway.listeners()[0]).await;
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        let all = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            while lost(&gateway).0 + lost(&gateway).1 < 2 * CALLS as u64 {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(15), "each span is counted", all).await;
        let (dropped, failed) = lost(&gateway);
        println!("{address}: {dropped} dropped, {failed} failed, the slowest call took {slowest:?}");
        assert_eq!(dropped + failed, 2 * CALLS as u64);
        assert!(failed > 0, "{dropped} dropped");
        assert_eq!(metric(&gateway, "ringway_spans_exported_total"), 0);
    }
}

/// Method: more spans than a batch takes are left when the gateway ends, and nobody listens where the collector should be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_in_order_though_the_collector_is_dead() {
    const CALLS: usize = 40;
    let server = InteropServer::start();
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let settings = "sample = 1\nbatch_spans = 32\ninterval = \"1m\"";
    let tables = collector::table(gone.local_addr().unwrap(), settings).replace("interval = \"10ms\"\n", "");
    drop(gone);
    let mut process = Process::start(&gateway_config(&[server.address()], "epoll", &tables)).await;
    slowest_of(CALLS, process.listener).await;
    process.signal("TERM");
    let log = process.log().await;
    assert!(log.iter().any(|line| line.contains("the collector takes no spans")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("panicked")), "{log:#?}");
    assert_eq!(process.ended().await.code(), Some(0));
}

/// The parts of a `server-timing`, in their order, with their milliseconds.
fn parts(value: &str) -> Vec<(&str, f64)> {
    let part = |part: &str| -> (usize, f64) {
        let (name, time) = part.split_once(";dur=").unwrap_or_else(|| panic!("{value}"));
        (name.len(), time.parse().unwrap_or_else(|_| panic!("{value}")))
    };
    value.split(", ").map(|text| (&text[..part(text).0], part(text).1)).collect()
}

const STAGES: [&str; 7] = ["queue", "connect", "receive", "upstream", "transcode", "write", "total"];

fn check_parts(value: &str) {
    let parts = parts(value);
    assert_eq!(parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), STAGES, "{value}");
    let (total, stages) = parts.split_last().expect("it says something");
    let sum: f64 = stages.iter().map(|(_, time)| time).sum();
    // Each part is rounded to a microsecond.
    assert!((total.1 - sum).abs() < 0.01, "{value}");
}

#[tokio::test]
async fn an_answer_says_where_its_time_went_if_that_is_wanted() {
    const ASKS: (&str, &str) = ("x-ringway-timing", "1");
    let library = Library::start();
    for backend in BACKENDS {
        let service = Service::start(|at, _| match at {
            0 => Act::AnswerAfter(Duration::from_millis(30)),
            1 | 2 => Act::Status(5, None),
            _ => Act::Answer,
        });
        let service = service.await;
        let (_gateway, address) = gateway::before(&[service.address()], backend, "");
        let mut client = RawClient::connect(address).await;
        let timing = |reply: &RawReply| reply.field("server-timing").map(str::to_owned);
        let first = timing(&client.call(EMPTY_CALL, &[ASKS], b"").await).expect("it was asked for");
        check_parts(&first);
        let spent = |name: &str| parts(&first).iter().find(|(known, _)| *known == name).unwrap().1;
        assert!(spent("upstream") >= 30.0 && spent("connect") > 0.0, "{backend}: {first}");
        // An answer without a body, and one that nobody asked for.
        check_parts(&timing(&client.call(EMPTY_CALL, &[ASKS], b"").await).unwrap());
        assert_eq!(timing(&client.call(EMPTY_CALL, &[], b"").await), None);
        check_parts(&timing(&client.call("/a/b/c", &[ASKS], b"").await).unwrap());

        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let answer = caller.ask("GET /v1/shelves/a/books/b", &[ASKS], b"").await;
            let value = answer.field("server-timing").unwrap_or_else(|| panic!("{answer:?}"));
            check_parts(value);
            let transcode = parts(value).iter().find(|(name, _)| *name == "transcode").unwrap().1;
            assert!(transcode > 0.0, "{value}");
            let missing = caller.ask("GET /v1/nothing/here", &[ASKS], b"").await;
            assert!(missing.field("server-timing").is_some(), "{missing:?}");
            let plain = caller.ask("GET /v1/shelves/a/books/b", &[], b"").await;
            assert_eq!(plain.field("server-timing"), None, "{plain:?}");
        }
    }
}

#[tokio::test]
async fn the_operator_says_who_may_know_where_time_goes() {
    let server = InteropServer::start();
    for (setting, asked, wanted) in [("off", true, false), ("always", false, true)] {
        let config = GatewayBuilder::new(&[server.address()], "epoll");
        let gateway = config.set("listeners.server_timing", setting).start();
        let fields: &[_] = if asked { &[("x-ringway-timing", "1")] } else { &[] };
        let reply = RawClient::connect(gateway.listeners()[0]).await.call(EMPTY_CALL, fields, b"").await;
        assert_eq!(reply.field("server-timing").is_some(), wanted, "{setting}: {reply:?}");
    }
}
