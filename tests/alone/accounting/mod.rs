//! Every call is counted, once, and as what it was: forty thousand calls of every outcome, and then the gateway's
//! counters, its clients' ledger and its services' ledgers say the same, to the last one. `RINGWAY_FULL=1` makes it a
//! hundred thousand: the others are calls that succeed.

#![allow(unreachable_pub, reason = "a test binary has no public side")]
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]

mod callers;
mod page;
mod service;
mod wire;

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::within;
use callers::{Calls, Kind, METHOD, NO_TIME, Speech};
use page::{Numbers, series};
use ringway::random::Random;
use ringway::supervisor::Gateway;
use service::{Service, read};

const CONNECTIONS: usize = 10;
const AT_ONCE: usize = 24;
const OVER_HTTP1: usize = 6;

const fn grpc(to: &'static str, act: &'static str, count: usize) -> Kind {
    Kind { speech: Speech::Grpc, path: METHOD, to, act, timeout: None, payload: b"", count }
}

const fn spoken(speech: Speech, act: &'static str, count: usize) -> Kind {
    let payload: &[u8] = if matches!(speech, Speech::Json1 | Speech::Json2) { b"{}" } else { b"" };
    Kind { speech, path: METHOD, to: "", act, timeout: None, payload, count }
}

/// Calls of one back-end that succeed, beside those of `KINDS`, where `RINGWAY_FULL` is set.
const MORE: usize = 30_000;

/// The calls of one back-end: 20,000.
const KINDS: [Kind; 34] = [
    grpc("", "", 6_050),
    grpc("", "status:5", 1_500),
    grpc("", "status:16", 500),
    grpc("", "late:7", 1_000),
    grpc("", "late:13", 200),
    grpc("", service::HTTP, 150),
    grpc("", service::NO_STATUS, 150),
    grpc("", service::RESET, 300),
    grpc("", service::REFUSE_ONCE, 300),
    Kind { timeout: Some("1S"), ..grpc("", service::SILENCE, 400) },
    Kind { timeout: Some("1S"), ..grpc("", service::HEAD, 200) },
    Kind { timeout: Some(NO_TIME), ..grpc("", "", 100) },
    Kind { speech: Speech::Cancelled, ..grpc("", service::SILENCE, 300) },
    Kind { speech: Speech::Cancelled, ..grpc("", service::HEAD, 300) },
    Kind { path: "/not.There/AtAll", ..grpc("", "", 700) },
    grpc("retrying", service::FAIL_ONCE, 1_000),
    grpc("limited", service::SLOW, 1_000),
    grpc("queued", service::SLOW, 500),
    grpc("rated", "", 500),
    grpc("broken", "status:14", 500),
    grpc("gone", service::CLOSE, 150),
    grpc("nobody", "", 200),
    spoken(Speech::Json2, "", 600),
    spoken(Speech::Json2, "status:9", 200),
    Kind { payload: b"{\"no_such\":1}", ..spoken(Speech::Json2, "", 200) },
    Kind { path: "/v1/not/there", ..spoken(Speech::Json2, "", 100) },
    spoken(Speech::Web2, "", 500),
    spoken(Speech::Web2, "late:10", 200),
    // The last ones go over HTTP/1.1.
    spoken(Speech::Json1, "", 1_000),
    spoken(Speech::Json1, "status:3", 200),
    Kind { payload: b"{\"no_such\":1}", ..spoken(Speech::Json1, "", 200) },
    Kind { path: "/v1/not/there", ..spoken(Speech::Json1, "", 100) },
    spoken(Speech::Web1, "", 500),
    spoken(Speech::Web1, "status:2", 200),
];

/// Calls in an order of chance, each once.
fn shuffled(kinds: &[Kind]) -> Vec<Kind> {
    let mut all: Vec<Kind> = kinds.iter().flat_map(|kind| std::iter::repeat_n(*kind, kind.count)).collect();
    let mut random = Random::seeded(7);
    for at in (1..all.len()).rev() {
        all.swap(at, random.below_u64(at as u64 + 1) as usize);
    }
    all
}

/// The upstreams of the gateway: a service for each cluster, and a port that nobody listens on.
struct World {
    rest: Service,
    others: Vec<(&'static str, Service)>,
    nobody: SocketAddr,
}

/// Clusters beside the one that takes the rest, with what is special about each.
const CLUSTERS: [(&str, &str); 6] = [
    (
        "retrying",
        "[clusters.retry]\nmax_attempts = 3\ninitial_backoff = \"1ms\"\nmax_backoff = \"2ms\"\nbudget_percent = 60\n",
    ),
    ("limited", "max_requests = 4\n"),
    (
        "queued",
        "max_pending_requests = 1\n[clusters.pool]\nmax_connections_per_endpoint = 1\nmax_streams_per_connection = 1\n",
    ),
    ("rated", ""),
    ("broken", ""),
    ("gone", "[clusters.pool]\nmax_connections_per_endpoint = 1024\nmax_streams_per_connection = 1\n"),
];

impl World {
    async fn new() -> World {
        let mut others = Vec::new();
        for (name, _) in CLUSTERS {
            others.push((name, Service::start().await));
        }
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        World { rest: Service::start().await, others, nobody: closed.expect("a free port") }
    }

    fn services(&self) -> impl Iterator<Item = (&'static str, &Service)> {
        self.others.iter().map(|(name, service)| (*name, service)).chain([("rest", &self.rest)])
    }

    fn of(&self, name: &str) -> &Service {
        self.services().find(|(known, _)| *known == name).expect("it is one of them").1
    }

    fn config(&self, backend: &str) -> String {
        // A machine that does much else makes workers late, and what they refuse then is no route's.
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        let mut text = format!(
            "workers = 2\ndrain_timeout = \"5s\"\n[overload]\nmax_loop_delay = \"0s\"\n[io]\nbackend = \"{backend}\"\non_unavailable = \"fail\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [listeners.http2]\nmax_resets_per_second = 1000000\n\
             [transcoding]\nproto_paths = [{proto:?}]\nprotos = [\"{proto}/grpc/testing/test.proto\"]\n"
        );
        let clusters = CLUSTERS.map(|(name, own)| (name, self.of(name).address, own));
        for (name, address, own) in clusters.into_iter().chain([("nobody", self.nobody, "")]) {
            let _ = write!(
                text,
                "[[routes]]\nname = \"{name}\"\nmatch = {{ headers = {{ x-to = \"{name}\" }} }}\ncluster = \"{name}\"\n"
            );
            if name == "rated" {
                text +=
                    "[routes.rate_limit]\nmax_tokens = 100\ntokens_per_fill = 1\nfill_interval = \"1h\"\n";
            }
            text += &cluster(name, address, own);
        }
        let rest = "[[routes]]\nname = \"rest\"\nmatch = { service = \"grpc.testing.TestService\" }\ncluster = \"rest\"\n";
        text + rest + &cluster("rest", self.rest.address, "")
    }
}

fn cluster(name: &str, address: SocketAddr, own: &str) -> String {
    // Each guard is on in one cluster, so that it is known who refuses.
    let breaker =
        if name == "broken" { "min_requests = 20\ntimeout = \"1h\"\n" } else { "enabled = false\n" };
    let retry = if own.contains("[clusters.retry]") { "" } else { "[clusters.retry]\nmax_attempts = 1\n" };
    format!(
        "[[clusters]]\nname = \"{name}\"\nendpoints = [\"{address}\"]\n{own}{retry}[clusters.breaker]\n{breaker}\
         [clusters.outlier_detection]\nenabled = false\n"
    )
}

/// Waits until nothing is in flight anywhere, and what is told only now and then has been told.
async fn quiet(gateway: &Gateway, world: &World) {
    let rest = async {
        let mut looks = tokio::time::interval(Duration::from_millis(120));
        let mut before = Numbers::default();
        loop {
            looks.tick().await;
            let page = Numbers::read(gateway);
            let open: u64 = world.services().map(|(_, service)| read(&service.ledger.open)).sum();
            let active = page.sum("ringway_calls_active") + page.sum("ringway_upstream_calls_active");
            if open + active + page.sum("ringway_upstream_pending_active") == 0 && page.same_calls(&before) {
                return;
            }
            before = page;
        }
    };
    within(Duration::from_secs(10), "everything comes to rest", rest).await;
}

fn the_counts_agree(backend: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let world = World::new().await;
        let gateway = gateway::start(&world.config(backend));
        let address = gateway.listeners()[0];
        let mut kinds = KINDS;
        if std::env::var_os("RINGWAY_FULL").is_some() {
            kinds[0].count += MORE;
        }
        let (two, one) = kinds.split_at(28);
        let made = |kinds| Calls::new(shuffled(kinds), Arc::clone(&world.rest.ledger));
        let (two, one) = (made(two), made(one));
        let watch = page::Watch::begin(&gateway);
        let (_open, ()) = tokio::join!(
            callers::over_http2(address, CONNECTIONS, AT_ONCE, &two),
            callers::over_http1(address, OVER_HTTP1, &one),
        );
        quiet(&gateway, &world).await;
        watch.end();
        let mut ends = two.ends();
        for (end, count) in one.ends() {
            *ends.entry(end).or_default() += count;
        }
        let page = Numbers::read(&gateway);
        calls_are_what_the_clients_saw(&page, &ends);
        attempts_are_what_the_services_saw(&page, &world, &ends);
        refusals_have_their_reasons(&page, &world, &ends);
        page.histograms_fit();
        page::shards_add_up(&gateway);
    });
}

#[test]
fn counts_are_exact_on_io_uring() {
    let _alone = crate::alone();
    the_counts_agree(BACKENDS[0]);
}

#[test]
fn counts_are_exact_on_epoll() {
    let _alone = crate::alone();
    the_counts_agree(BACKENDS[1]);
}

#[test]
fn there_are_a_hundred_thousand_calls_of_which_forty_thousand_are_always_made() {
    let _alone = crate::alone();
    let always = KINDS.iter().map(|kind| kind.count).sum::<usize>();
    assert_eq!((BACKENDS.len() * always, BACKENDS.len() * (always + MORE)), (40_000, 100_000));
}

/// I1, I5: what is counted for each route and status is what the clients got, and nothing else is counted.
fn calls_are_what_the_clients_saw(page: &Numbers, ends: &callers::Ends) {
    assert_eq!(&page.calls_by_route_and_status(), ends, "by route and status");
    assert_eq!(page.sum("ringway_calls_started_total"), ends.values().sum::<u64>());
    assert_eq!(page.sum("ringway_calls_active"), 0);
    let connections = (CONNECTIONS + OVER_HTTP1) as u64;
    assert_eq!(page.sum("ringway_connections_accepted_total"), connections);
    for never in ["panics", "protocol_errors", "floods", "calls_cut", "accept_errors", "connections_refused"]
    {
        assert_eq!(page.sum(&format!("ringway_{never}_total")), 0, "{never}");
    }
}

/// I2, I5: attempts are first ones, retries and replays, and each has reached its service.
fn attempts_are_what_the_services_saw(page: &Numbers, world: &World, ends: &callers::Ends) {
    for (name, service) in world.services() {
        let ledger = &service.ledger;
        let of = |family: &str| page.of(&format!("ringway_upstream_{family}"), &series("cluster", name));
        let arrived = read(&ledger.arrived);
        assert_eq!(of("calls_total"), arrived, "{name}: attempts");
        assert_eq!(page.of("ringway_endpoint_calls_total", &series("cluster", name)), arrived, "{name}");
        assert_eq!(of("retries_total"), read(&ledger.retried), "{name}: retries");
        assert_eq!(of("replays_total"), read(&ledger.replayed), "{name}: replays");
        assert_eq!(of("resets_total"), read(&ledger.resets), "{name}: resets");
        assert_eq!(of("connections_opened_total"), read(&ledger.connections), "{name}: connections");
        let closed = if name == "gone" { arrived } else { 0 };
        let ended = ledger.all_answered() + read(&ledger.resets) + read(&ledger.cancelled) + closed;
        assert_eq!(ended, arrived, "{name}: each attempt has one end");
        let first = of("calls_total") - of("retries_total") - of("replays_total");
        let route = page.of("ringway_calls_total", &series("route", name));
        let refused = of("limit_refused_total") + of("pending_overflow_total") + of("breaker_refused_total");
        let early = match name {
            // Bodies that are no message.
            "rest" => ends[&(name.to_owned(), "3".to_owned())] - ledger.answered("3"),
            "rated" => page.sum("ringway_rate_limited_total"),
            _ => 0,
        };
        assert_eq!(first + refused + early, route, "{name}: calls are sent or refused");
    }
    let nobody = series("cluster", "nobody");
    assert_eq!(page.of("ringway_upstream_calls_total", &nobody), 0);
    assert!(page.of("ringway_upstream_connect_failures_total", &nobody) > 0);
}

/// I5, I7: a call that was refused was refused once, for one reason.
fn refusals_have_their_reasons(page: &Numbers, world: &World, ends: &callers::Ends) {
    let saw =
        |route: &str, status: &str| ends.get(&(route.to_owned(), status.to_owned())).copied().unwrap_or(0);
    let of =
        |family: &str, name: &str| page.of(&format!("ringway_upstream_{family}"), &series("cluster", name));
    assert_eq!(of("limit_refused_total", "limited"), saw("limited", "14"));
    assert_eq!(of("pending_overflow_total", "queued"), saw("queued", "14"));
    assert_eq!(of("retry_budget_exhausted_total", "retrying"), saw("retrying", "14"));
    assert_eq!(page.sum("ringway_rate_limited_total"), saw("rated", "8"));
    assert!(saw("rated", "0") <= 100, "the rate limit is exact");
    for (route, status) in [("limited", "14"), ("queued", "14"), ("retrying", "0"), ("rated", "8")] {
        assert!(saw(route, status) > 0, "{route} {status} did not happen");
    }
    let rest = &world.rest.ledger;
    assert_eq!(page.sum("ringway_client_resets_total"), saw("rest", "1"));
    assert_eq!(saw("rest", "1") + saw("rest", "4"), read(&rest.cancelled), "who gives up is heard upstream");
    let broken = series("cluster", "broken");
    let [opens, closes] =
        ["opens", "closes"].map(|what| page.of(&format!("ringway_breaker_{what}_total"), &broken));
    assert_eq!((opens, closes), (1, 0), "it opens once and has an hour");
    let refused = of("breaker_refused_total", "broken");
    assert_eq!(
        refused + read(&world.of("broken").ledger.arrived),
        500,
        "a breaker's calls are sent or refused"
    );
    assert_eq!(saw("broken", "14"), 500);
    assert!(refused > 300, "{refused} of 500");
    for (family, cluster) in [
        ("limit_refused_total", "limited"),
        ("pending_overflow_total", "queued"),
        ("breaker_refused_total", "broken"),
    ] {
        let all = page.sum(&format!("ringway_upstream_{family}"));
        assert_eq!(all, of(family, cluster), "{family} happens in {cluster} alone");
    }
}

/// I8: method: messages of all sizes up to some frames, on connections that end in order; the sockets of both sides
/// have carried what the gateway says it has, and its access log has the payload.
#[test]
fn bytes_are_exact() {
    let _alone = crate::alone();
    const PAYLOAD: &[u8] = &[7; 40_000];
    const SIZES: [usize; 6] = [0, 1, 100, 1_500, 16_384, 40_000];
    const COUNT: usize = 100;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        for backend in BACKENDS {
            let world = World::new().await;
            let log =
                std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("accounting-{backend}.log"));
            let _ = std::fs::remove_file(&log);
            let config = world.config(backend) + &format!("[access_log]\npath = {log:?}\nsample = 1.0\n");
            let gateway = gateway::start(&config);
            let kinds = SIZES.map(|size| Kind { payload: &PAYLOAD[..size], ..grpc("", "", COUNT) });
            let calls = Calls::new(shuffled(&kinds), Arc::clone(&world.rest.ledger));
            let _open = callers::over_http2(gateway.listeners()[0], 3, 4, &calls).await;
            quiet(&gateway, &world).await;
            let wires: Vec<_> =
                world.services().map(|(_, service)| &service.wire).chain([&calls.wire]).collect();
            let theirs = |of: fn(&wire::Bytes) -> u64| wires.iter().map(|wire| of(wire)).sum::<u64>();
            assert_eq!(
                metric(&gateway, "ringway_sent_bytes_total"),
                theirs(|wire| read(&wire.received)),
                "{backend}"
            );
            assert_eq!(
                metric(&gateway, "ringway_received_bytes_total"),
                theirs(|wire| read(&wire.sent)),
                "{backend}"
            );
            let payload: u64 = SIZES.iter().map(|size| (COUNT * (5 + size)) as u64).sum();
            let ledger = &world.rest.ledger;
            assert_eq!(
                (read(&ledger.payload_in), read(&ledger.payload_out)),
                (payload, payload),
                "{backend}"
            );
            drop(gateway);
            let lines = std::fs::read_to_string(&log).expect("the gateway made it");
            let lines: Vec<serde_json::Value> =
                lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
            let sum = |key: &str| lines.iter().filter_map(|line| line[key].as_u64()).sum::<u64>();
            assert_eq!(lines.len(), SIZES.len() * COUNT, "{backend}");
            assert_eq!((sum("bytes_received"), sum("bytes_sent")), (payload, payload), "{backend}");
        }
    });
}
