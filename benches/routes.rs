//! How long it takes to find a call's route: the only one, and the last one of 1,000.
//!
//! `cargo bench --bench routes`. The two should differ by little: routes are indexed, not asked one after the other.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use ringway::config::{Match, PathMatch, Route, WeightedCluster};
use ringway::policy::route::Routes;
use std::hint::black_box;

const COUNTS: [usize; 2] = [1, 1_000];

/// A route to a service for each number below `count`.
fn routes(count: usize, host: Option<&str>) -> Routes {
    let route = |number| Route {
        name: String::new(),
        matching: Match {
            path: PathMatch::Service(format!("shop.orders.v1.Service{number}")),
            host: host.map(str::to_owned),
            headers: Vec::new(),
        },
        clusters: vec![WeightedCluster { cluster: 0, weight: 1 }],
        timeout: None,
        max_stream_duration: None,
        idle_timeout: None,
        rate_limit: None,
    };
    Routes::new(&(0..count).map(route).collect::<Vec<_>>())
}

fn find(criterion: &mut Criterion) {
    let headers = HeaderMap::new();
    for (name, host) in [("find", None), ("find with a host", Some("api.example.com"))] {
        let mut group = criterion.benchmark_group(name);
        for count in COUNTS {
            let routes = routes(count, host);
            let path = format!("/shop.orders.v1.Service{}/Get", count - 1);
            assert_eq!(routes.find(&path, "api.example.com", &headers), Some(count - 1));
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    routes.find(black_box(&path), black_box("api.example.com"), black_box(&headers))
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, find);
criterion_main!(benches);
