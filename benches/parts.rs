//! The parts of the hot path, one by one: `cargo bench --bench parts`.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

#[path = "../tests/support/issuer.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use the rest of it")]
mod issuer;
mod support;

use http::HeaderMap;
use prost_reflect::DescriptorPool;
use ringway::config::{self, LbPolicy, PrintOptions, RateLimit, RetryBudget};
use ringway::metrics::render::{NameCounts, ReloadCounts};
use ringway::metrics::{
    CallLabels, Ending, GatewayInfo, Histogram, Layout, Shard, Snapshot, call_totals, render,
};
use ringway::policy::balance::{Balance, Candidate};
use ringway::policy::breaker::{LocalBreaker, SharedBreaker};
use ringway::policy::budget::{Budget, SharedBudget};
use ringway::policy::jwt::{self, Cache, KeySet};
use ringway::policy::limit::{Limit, SharedLimit};
use ringway::policy::outcome::Outcome;
use ringway::policy::rate::{Rate, SharedRate};
use ringway::policy::rbac::{self, Rbac};
use ringway::policy::route::{Pseudo, Question, Routes};
use ringway::random::Random;
use ringway::time::Moment;
use ringway::time::timers::Timers;
use ringway::transcode::plan::Schema;
use ringway::transcode::read::{ReadOptions, read};
use ringway::transcode::write::write;
use ringway::wire::{frame, timeout};
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use support::{Bound, Rows, four_clusters};

#[global_allocator]
static ALLOCATOR: ringway::alloc::CountingOver<mimalloc::MiMalloc> =
    ringway::alloc::CountingOver(mimalloc::MiMalloc);

const NOW: Moment = Moment::from_nanos(1_000_000_000);

const INFO: GatewayInfo<'_> = GatewayInfo {
    version: "1",
    backend: "io_uring",
    backend_reason: None,
    ready: true,
    workers: 8,
    access_log: None,
    traces: None,
    reloads: ReloadCounts { taken: 0, refused: 0, refused_last: false, keys_waiting: 0, files_missing: 0 },
    names: NameCounts { lookups: 0, failures: 0, changes: 0 },
    shares: &[],
    transcoding: None,
    certificates: None,
    control_panics: 0,
};

fn main() {
    let mut criterion = support::criterion();
    let mut rows = Rows::new(&mut criterion, "parts");
    route(&mut rows);
    guard(&mut rows);
    access(&mut rows);
    resilience(&mut rows);
    pool(&mut rows);
    wire(&mut rows);
    time(&mut rows);
    metrics(&mut rows);
    page(&mut rows);
    transcoding(&mut rows);
    rows.show();
    let most = |row, millis: f64| Bound { row, nanos: Some(millis * 1e6), ..Bound::default() };
    rows.hold(&[most(PAGE, 250.0), most(CACHED_TOKEN, 0.0004), most(SIXTY_RULES, 0.0003)]);
    criterion.final_summary();
}

fn asked<'a>(path: &'a str, headers: &'a HeaderMap) -> Question<'a, HeaderMap> {
    Question { path: path.as_bytes(), came: Pseudo::default(), host: b"gateway", headers, draw: 0 }
}

fn route(rows: &mut Rows<'_>) {
    let headers = HeaderMap::new();
    let four = Routes::new(&four_clusters().routes);
    let path = "/ringway.demo.structure.v1.StructureService/GetUniversity";
    rows.extra("route: the last of 4 services", || four.find(&asked(black_box(path), &headers)));
    let mut text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[clusters]]\nname = \"c\"\nendpoints = [\"127.0.0.1:1\"]\n".to_owned();
    for number in 0..1000 {
        text +=
            &format!("[[routes]]\nmatch = {{ service = \"bench.v1.Service{number}\" }}\ncluster = \"c\"\n");
    }
    let config = config::parse(&text, Path::new("bench.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let many = Routes::new(&config.routes);
    let last = "/bench.v1.Service999/Call";
    rows.extra("route: the last of 1,000 services", || many.find(&asked(black_box(last), &headers)));
}

fn guard(rows: &mut Rows<'_>) {
    let limit = Limit::new(SharedLimit::new(1024, 2));
    rows.extra("limit: take and give", || {
        let taken = limit.take();
        limit.give();
        taken
    });
    let rate = RateLimit {
        max_tokens: 1_000_000,
        tokens_per_fill: 1_000_000,
        fill_interval: Duration::from_millis(1),
    };
    let rate = Rate::new(SharedRate::new(rate, 2, NOW));
    let mut now = NOW;
    rows.extra("rate limit: take", || {
        now = now.plus(Duration::from_micros(10));
        rate.take(now)
    });
}

const CACHED_TOKEN: &str = "jwt: a token that was verified before";
const SIXTY_RULES: &str = "rbac: the last of 60 rules";

fn access(rows: &mut Rows<'_>) {
    let issuer = issuer::Issuer::new("k1");
    let policy = |number: usize| {
        format!(
            "[[routes.rbac.policies]]\nname = \"{number}\"\npermissions = [\"path:/bench.v1.Service{number}/*\"]\n\
             principals = [\"jwt:idp:group=staff\"]\n"
        )
    };
    let policies: String = (1..=60).map(policy).collect();
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[clusters]]\nname = \"c\"\nendpoints = [\"127.0.0.1:1\"]\n\
         [[jwt_providers]]\nname = \"idp\"\nissuer = \"https://idp.test/\"\naudiences = [\"orders\"]\n\
         remote_jwks.uri = \"http://idp/keys\"\n[[routes]]\ncluster = \"c\"\n[routes.rbac]\n{policies}"
    );
    let config = config::parse(&text, Path::new("bench.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let (provider, keys) = (&config.jwt_providers[0], KeySet::parse(&issuer.jwks()).expect("our own keys"));
    let token = issuer.token(&format!(",\"group\":[\"dev\",\"staff\"],\"text\":\"{}\"", "x".repeat(600)));
    let (token, name, now) = (token.into_bytes(), "idp".into(), issuer::now());
    rows.extra("jwt: a token verified, ES256", || {
        jwt::verify(provider, &name, &keys, black_box(&token), now).is_ok()
    });
    let verified = Rc::new(jwt::verify(provider, &name, &keys, &token, now).expect("a good token"));
    let mut cache = Cache::new(10_000);
    assert!(cache.find(&token, 1, now).is_none());
    cache.insert(&token, Rc::clone(&verified));
    rows.extra(CACHED_TOKEN, || cache.find(black_box(&token), 1, now).is_some());
    let headers = HeaderMap::new();
    let rules = Rbac::new(config.routes[0].policies.rbac.as_ref().expect("rules"));
    let question = rbac::Question {
        path: b"/bench.v1.Service60/Call",
        headers: &headers,
        caller: Some([203, 0, 113, 7].into()),
        peer: Some([10, 0, 0, 1].into()),
        port: 8443,
        tls: None,
        token: Some(&verified),
        client: None,
    };
    assert!(rules.authorize(&question).allowed);
    rows.extra(SIXTY_RULES, || black_box(&rules).authorize(black_box(&question)).allowed);
}

fn resilience(rows: &mut Rows<'_>) {
    let breaker = LocalBreaker::new(SharedBreaker::new(config::Breaker::default(), 2), 0);
    let mut random = Random::seeded(1);
    rows.extra("breaker: ask and tell, closed", || {
        let permit = breaker.admit(black_box(NOW), &mut random).expect("it is closed");
        permit.record(black_box(Outcome::Success), NOW);
    });
    let budget = Budget::new(&SharedBudget::new(RetryBudget::default()), None);
    rows.extra("retry budget: earn", || budget.earn(black_box(NOW)));
}

fn pool(rows: &mut Rows<'_>) {
    for (name, policy, count) in [
        ("balance: least request of 2", LbPolicy::LeastRequest, 2),
        ("balance: least request of 16", LbPolicy::LeastRequest, 16),
        ("balance: round robin of 16", LbPolicy::RoundRobin, 16),
    ] {
        let (mut balance, mut random) = (Balance::new(policy, 50), Random::seeded(1));
        let loads: Vec<u32> = (0..count).collect();
        rows.extra(name, || {
            balance.pick(loads.len(), |at| Candidate::good(loads.get(at).copied()), &mut random)
        });
    }
}

fn wire(rows: &mut Rows<'_>) {
    let mut one = vec![0, 0, 0, 4, 0];
    one.resize(5 + 1024, 7);
    let small: Vec<u8> = (0..64).flat_map(|_| [0, 0, 0, 0, 3, 1, 2, 3]).collect();
    let mut walker = frame::Walker::new();
    rows.extra("frames: one message of 1 KiB", || walker.feed(black_box(&one)));
    rows.extra("frames: 64 messages of 3 bytes", || walker.feed(black_box(&small)));
    rows.extra("grpc-timeout: parse", || timeout::parse(black_box(b"250m")));
    rows.extra("grpc-timeout: format", || timeout::format(black_box(Duration::from_millis(249))));
}

fn time(rows: &mut Rows<'_>) {
    let timers = Timers::new(NOW);
    let far: Vec<_> = (0..10_000).map(|_| timers.timer()).collect();
    for (number, timer) in far.iter().enumerate() {
        timer.arm(NOW.plus(Duration::from_secs(3600 + number as u64)), std::task::Waker::noop());
    }
    let mut now = NOW;
    rows.extra("timers: a tick among 10,000", || {
        now = now.plus(Duration::from_micros(5000));
        timers.advance(now);
    });
}

fn metrics(rows: &mut Rows<'_>) {
    let labels = |number: usize| CallLabels {
        route: format!("r{number}"),
        cluster: "c".to_owned(),
        method: String::new(),
    };
    let layout = Layout::new(vec!["c".to_owned()], (0..10).map(labels).collect());
    let shards: Vec<Arc<Shard>> = (0..8).map(|_| Shard::new(&layout)).collect();
    let took = Duration::from_micros(150);
    rows.extra("metrics: a call counted", || {
        shards[0].calls[0].ended(Ending {
            protocol: 0,
            code: black_box(0),
            is_stream: false,
            took: black_box(took),
        })
    });
    let histogram = Histogram::default();
    rows.extra("metrics: a duration recorded", || histogram.record(black_box(took)));
    rows.extra("metrics: one series merged over 8 workers", || call_totals(&shards, &[0]).unary.sum_micros());
    let snapshot = histogram.snapshot();
    rows.extra("metrics: a quantile", || snapshot.quantile(black_box(0.99)));
    let mut sum = Snapshot::default();
    rows.extra("metrics: a histogram merged", || sum.merge(&snapshot));
    rows.extra("metrics: the page of 10 routes and 8 workers", || {
        render::text(&INFO, &layout, &shards, &[]).len()
    });
}

const PAGE: &str = "metrics: a page of 50,000 series, 4 workers";

fn page(rows: &mut Rows<'_>) {
    let labels = |number: usize| CallLabels {
        route: format!("route-{number}"),
        cluster: format!("cluster-{}", number % 40),
        method: String::new(),
    };
    let clusters = (0..40).map(|number| format!("cluster-{number}")).collect();
    let layout = Layout::new(clusters, (0..2200).map(labels).collect());
    let shards: Vec<Arc<Shard>> = (0..4).map(|_| Shard::new(&layout)).collect();
    for block in shards.iter().flat_map(|shard| &shard.calls) {
        block.ended(Ending { protocol: 0, code: 14, is_stream: false, took: Duration::from_micros(700) });
    }
    let text = render::text(&INFO, &layout, &shards, &[]);
    assert!(text.lines().filter(|line| !line.starts_with('#')).count() >= 50_000);
    rows.extra(PAGE, || render::text(&INFO, &layout, &shards, &[]).len());
}

/// A record of some 250 bytes of JSON, with what services answer.
fn record(number: usize) -> String {
    format!(
        r#"{{"before":"order {number}","scalars":{{"aDouble":{number}.25,"anInt32":{number},"anInt64":"{number}000000000",
"aBool":true,"aString":"a text of ordinary length, number {number}","aBytes":"AQIDBAUGBwgJCgsMDQ4PEA==","aColour":"GREEN"}},
"after":"with \"quotes\" and a \n line"}}"#
    )
}

fn transcoding(rows: &mut Rows<'_>) {
    let files = protox::compile(["kinds.proto"], ["tests/protos"]).expect("the test's files compile");
    let pool = DescriptorPool::from_file_descriptor_set(files).expect("a pool of what was compiled");
    let schema = Schema::new(&pool);
    let id = schema.message_id("test.kinds.Everything").expect("it is there");
    let records = |count| {
        let records: Vec<String> = (1..=count).map(record).collect();
        format!(r#"{{"choices":[{}]}}"#, records.join(","))
    };
    let small = r#"{"names":{"fooBarBaz":"small"}}"#.to_owned();
    for (size, json) in
        [("small, 31 B", small), ("typical, 1 KiB", records(4)), ("large, 64 KiB", records(264))]
    {
        let (mut wire, mut text) = (Vec::with_capacity(json.len()), Vec::with_capacity(2 * json.len()));
        read(&schema, id, json.as_bytes(), ReadOptions::default(), &mut wire).expect("it is JSON");
        let message = wire.clone();
        rows.extra(&format!("transcode: JSON to a message, {size}"), || {
            wire.clear();
            read(&schema, id, black_box(json.as_bytes()), ReadOptions::default(), &mut wire).is_ok()
        });
        rows.extra(&format!("transcode: a message to JSON, {size}"), || {
            text.clear();
            write(&schema, id, black_box(&message), &PrintOptions::default(), &mut text).is_ok()
        });
    }
}
