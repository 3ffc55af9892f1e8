//! How long it takes to find a call's route: the only one, and the last one of 1,000.
//!
//! `cargo bench --bench routes`. The two should differ by little: routes are indexed, not asked one after the other. It
//! fails if the one costs two microseconds more than the other.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use ringway::config::{Match, PathMatch, Route, WeightedCluster};
use ringway::policy::route::{Pseudo, Question, Routes};
use std::hint::black_box;
use std::time::{Duration, Instant};

const COUNTS: [usize; 2] = [1, 1_000];

/// A route to a service for each number below `count`.
fn routes(count: usize, host: Option<&str>) -> Routes {
    let route = |number| Route {
        name: String::new(),
        matching: Match {
            path: PathMatch::Service(format!("shop.orders.v1.Service{number}")),
            host: host.map(str::to_owned),
            ..Match::default()
        },
        clusters: vec![WeightedCluster { cluster: 0, weight: 1 }],
        timeout: None,
        max_stream_duration: None,
        idle_timeout: None,
        rate_limit: None,
        policies: Default::default(),
        actions: Default::default(),
    };
    Routes::new(&(0..count).map(route).collect::<Vec<_>>())
}

fn asked<'a>(path: &'a str, headers: &'a HeaderMap) -> Question<'a, HeaderMap> {
    Question { path: path.as_bytes(), came: Pseudo::default(), host: b"api.example.com", headers, draw: 0 }
}

fn find(criterion: &mut Criterion) {
    let headers = HeaderMap::new();
    for (name, host) in [("find", None), ("find with a host", Some("api.example.com"))] {
        let mut group = criterion.benchmark_group(name);
        for count in COUNTS {
            let routes = routes(count, host);
            let path = format!("/shop.orders.v1.Service{}/Get", count - 1);
            let asked = asked(&path, &headers);
            assert_eq!(routes.find(&asked).map(|found| found.route), Some(count - 1));
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| routes.find(black_box(&asked)));
            });
        }
        group.finish();
    }
}

/// The extra cost of 1,000 routes over one, for each call, at most.
const MORE_MAX: Duration = Duration::from_micros(2);

/// Method: look-ups among one and among 1,000 routes in turn; the quickest of twenty rounds of each counts, for nothing
/// but the machine makes one slower.
fn many_cost_little_more_than_one(_: &mut Criterion) {
    const LOOKUPS: u32 = 10_000;
    let headers = HeaderMap::new();
    for host in [None, Some("api.example.com")] {
        let mut best = COUNTS.map(|_| Duration::MAX);
        let all =
            COUNTS.map(|count| (routes(count, host), format!("/shop.orders.v1.Service{}/Get", count - 1)));
        for _ in 0..20 {
            for (best, (routes, path)) in best.iter_mut().zip(&all) {
                let began = Instant::now();
                for _ in 0..LOOKUPS {
                    black_box(routes.find(black_box(&asked(path, &headers))));
                }
                *best = (began.elapsed() / LOOKUPS).min(*best);
            }
        }
        let more = best[1].saturating_sub(best[0]);
        println!("1,000 routes, host {host:?}: {:?}, one: {:?}; {more:?} more", best[1], best[0]);
        assert!(more <= MORE_MAX, "1,000 routes cost {more:?} more than one");
    }
}

criterion_group!(benches, find, many_cost_little_more_than_one);
criterion_main!(benches);
