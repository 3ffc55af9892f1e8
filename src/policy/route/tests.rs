use super::*;
use crate::config::{Match, Route, WeightedCluster};
use PathMatch::{Path, Prefix, Service};

fn route(path: PathMatch, host: Option<&str>, headers: &[(&str, &str)]) -> Route {
    Route {
        name: String::new(),
        matching: Match {
            path,
            host: host.map(str::to_owned),
            headers: headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        },
        clusters: vec![WeightedCluster { cluster: 0, weight: 1 }],
        timeout: None,
        max_stream_duration: None,
        idle_timeout: None,
        rate_limit: None,
        policies: Default::default(),
    }
}

fn header_map(headers: &[(&'static str, &str)]) -> HeaderMap {
    headers.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// The expected result of `Routes::find`, as plainly as it can be put.
fn find_plainly(routes: &[Route], path: &str, host: &str, headers: &HeaderMap) -> Option<usize> {
    let host = host.to_ascii_lowercase();
    routes.iter().position(|route| {
        let path_matches = match &route.matching.path {
            Path(wanted) => path == wanted,
            Prefix(wanted) => path.starts_with(wanted.as_str()),
            Service(wanted) => path.starts_with(&format!("/{wanted}/")),
        };
        let host_matches = match route.matching.host.as_deref() {
            None => true,
            Some(_) if host.len() > 255 => false,
            Some(wanted) => match wanted.strip_prefix('*') {
                Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
                None => host == wanted,
            },
        };
        path_matches
            && host_matches
            && route.matching.headers.iter().all(|(name, wanted)| {
                let values: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
                !values.is_empty() && values.join(&b","[..]) == wanted.as_bytes()
            })
    })
}

/// Path, host, headers, and the route they take.
type Call<'a> = (&'a str, &'a str, &'a [(&'static str, &'a str)], Option<usize>);

fn check(routes: &[Route], calls: &[Call<'_>]) {
    let indexed = Routes::new(routes);
    for &(path, host, headers, wanted) in calls {
        let map = header_map(headers);
        assert_eq!(indexed.find(path, host, &map), wanted, "{path} {host} {headers:?}");
        assert_eq!(find_plainly(routes, path, host, &map), wanted, "{path} {host} {headers:?}");
        let explained = routes.iter().position(|route| why_not(route, path, host, &map).is_none());
        assert_eq!(explained, wanted, "{path} {host} {headers:?}");
    }
}

#[test]
fn paths_match_whole_by_service_and_by_prefix() {
    let routes = [
        route(Path("/a.A/Get".into()), None, &[]),
        route(Service("a.A".into()), None, &[]),
        route(Prefix("/a.".into()), None, &[]),
        route(Service("b".into()), None, &[]),
        route(Service("x/y".into()), None, &[]),
    ];
    check(
        &routes,
        &[
            ("/a.A/Get", "", &[], Some(0)),
            ("/a.A/get", "", &[], Some(1)),
            ("/a.A/Get/", "", &[], Some(1)),
            ("/a.A/", "", &[], Some(1)),
            ("/a.A", "", &[], Some(2)),
            ("/a.Ab/Get", "", &[], Some(2)),
            ("/a", "", &[], None),
            ("/b/x/y", "", &[], Some(3)),
            ("/b", "", &[], None),
            ("/bb/x", "", &[], None),
            ("/x/y/Get", "", &[], Some(4)),
            ("b/x", "", &[], None),
            ("/", "", &[], None),
            ("", "", &[], None),
            ("*", "", &[], None),
        ],
    );
    check(&[], &[("/a/b", "", &[], None)]);
}

#[test]
fn the_first_route_wins_whatever_its_kind() {
    let kinds = [Path("/a/b".into()), Service("a".into()), Prefix("/".into()), Prefix("/a/".into())];
    let hosts = [None, Some("h.example"), Some("*.example")];
    for first in &kinds {
        for second in &kinds {
            for first_host in hosts {
                for second_host in hosts {
                    let routes = [
                        route(first.clone(), first_host, &[("x-a", "2")]),
                        route(first.clone(), first_host, &[]),
                        route(second.clone(), second_host, &[]),
                        route(second.clone(), second_host, &[("x-a", "1")]),
                    ];
                    check(&routes, &[("/a/b", "h.example", &[("x-a", "1")], Some(1))]);
                    check(&routes[2..], &[("/a/b", "h.example", &[("x-a", "1")], Some(0))]);
                }
            }
        }
    }
}

#[test]
fn hosts_match_in_any_case_and_by_suffix() {
    let routes = [
        route(Prefix("/".into()), Some("api.example.com"), &[]),
        route(Prefix("/".into()), Some("*.example.com"), &[]),
        route(Prefix("/".into()), Some("*.com"), &[]),
        route(Prefix("/".into()), Some("[::1]"), &[]),
    ];
    let long = format!("{}.example.com", "a".repeat(244));
    check(
        &routes,
        &[
            ("/a/b", "api.example.com", &[], Some(0)),
            ("/a/b", "API.Example.COM", &[], Some(0)),
            ("/a/b", "b.Example.com", &[], Some(1)),
            ("/a/b", "c.b.example.com", &[], Some(1)),
            ("/a/b", "example.com", &[], Some(2)),
            ("/a/b", "xexample.com", &[], Some(2)),
            ("/a/b", ".example.com", &[], Some(2)),
            ("/a/b", "com", &[], None),
            ("/a/b", ".com", &[], None),
            ("/a/b", "[::1]", &[], Some(3)),
            ("/a/b", "", &[], None),
            ("/a/b", &long[1..], &[], Some(1)),
            ("/a/b", &long, &[], None),
        ],
    );
}

#[test]
fn all_header_conditions_must_hold() {
    let routes = [
        route(Service("a".into()), None, &[("x-a", "1"), ("x-b", "2")]),
        route(Service("a".into()), None, &[("x-a", "1")]),
        route(Service("a".into()), None, &[("x-c", "")]),
        route(Service("a".into()), None, &[("not a name", "1")]),
        route(Service("a".into()), None, &[("x-d", "1"), ("x-d", "2")]),
    ];
    check(
        &routes,
        &[
            ("/a/b", "", &[("x-a", "1"), ("x-b", "2")], Some(0)),
            ("/a/b", "", &[("x-a", "1"), ("x-b", "3")], Some(1)),
            ("/a/b", "", &[("x-a", "1")], Some(1)),
            ("/a/b", "", &[("x-b", "2")], None),
            ("/a/b", "", &[("x-c", "")], Some(2)),
            ("/a/b", "", &[("x-c", "1")], None),
            ("/a/b", "", &[("x-d", "1"), ("x-d", "2")], None),
            ("/a/b", "", &[], None),
        ],
    );
}

#[test]
fn a_repeated_header_counts_as_its_values_joined() {
    let routes = [
        route(Prefix("/".into()), None, &[("x-a", "1")]),
        route(Prefix("/".into()), None, &[("x-a", "1,2")]),
        route(Prefix("/".into()), None, &[("x-a", "1,")]),
    ];
    check(
        &routes,
        &[
            ("/a/b", "", &[("x-a", "1")], Some(0)),
            ("/a/b", "", &[("x-a", "1"), ("x-a", "2")], Some(1)),
            ("/a/b", "", &[("x-a", "1,2")], Some(1)),
            ("/a/b", "", &[("x-a", "1"), ("x-a", "")], Some(2)),
            ("/a/b", "", &[("x-a", "2"), ("x-a", "1")], None),
            ("/a/b", "", &[("x-a", "1"), ("x-a", "1")], None),
            ("/a/b", "", &[("x-a", "1"), ("x-a", "2"), ("x-a", "3")], None),
        ],
    );
}

/// 20,000 random calls on 1,000 random configurations from few words, so that much matches and much almost does.
#[test]
fn the_indices_agree_with_asking_one_by_one() {
    const WORDS: [&str; 7] = ["a", "a.A", "a.B", "b", "b/c", "", "aa"];
    const PREFIXES: [&str; 8] = ["/", "/a", "/a.", "/a.A", "/a.A/", "/a/", "/b/c", "/aa/b"];
    const HOSTS: [&str; 6] = ["x.com", "y.x.com", "*.x.com", "*.com", "*.y.x.com", "com"];
    const CALL_HOSTS: [&str; 8] = ["x.com", "Y.X.com", "z.x.com", "z.y.x.COM", "com", "q", "", ".x.com"];
    const NAMES: [&str; 3] = ["x-1", "x-2", "x-3"];
    const VALUES: [&str; 5] = ["1", "2", "1,2", "", "1,"];
    fn one<'a, const N: usize>(from: &[&'a str; N], random: &mut Random) -> &'a str {
        from[random.below(u32::try_from(N).unwrap()) as usize]
    }

    let mut random = Random::seeded(77);
    let mut found = 0;
    for _ in 0..1_000 {
        let most = if random.below(4) == 0 { 60 } else { 8 };
        let count = 1 + random.below(most);
        let routes: Vec<Route> = (0..count)
            .map(|_| {
                let path = match random.below(3) {
                    0 => Path(format!("/{}/{}", one(&WORDS, &mut random), one(&WORDS, &mut random))),
                    1 => Service(one(&WORDS, &mut random).into()),
                    _ => Prefix(one(&PREFIXES, &mut random).into()),
                };
                let host = (random.below(2) == 0).then(|| one(&HOSTS, &mut random));
                let headers: Vec<_> = (0..random.below(4).min(2))
                    .map(|_| (one(&NAMES, &mut random), one(&VALUES, &mut random)))
                    .collect();
                route(path, host, &headers)
            })
            .collect();
        let indexed = Routes::new(&routes);
        for _ in 0..20 {
            let path = format!("/{}/{}", one(&WORDS, &mut random), one(&WORDS, &mut random));
            let host = one(&CALL_HOSTS, &mut random);
            let sent: Vec<_> =
                (0..random.below(5)).map(|_| (one(&NAMES, &mut random), one(&VALUES, &mut random))).collect();
            let headers = header_map(&sent);
            let wanted = find_plainly(&routes, &path, host, &headers);
            assert_eq!(indexed.find(&path, host, &headers), wanted, "{path} {host} {sent:?} {routes:#?}");
            let explained = routes.iter().position(|route| why_not(route, &path, host, &headers).is_none());
            assert_eq!(explained, wanted, "{path} {host} {sent:?} {routes:#?}");
            found += u32::from(wanted.is_some());
        }
    }
    assert!((3_000..15_000).contains(&found), "{found} of 20000 found a route");
}

#[test]
fn clusters_get_their_shares() {
    let weights = [[1, 0, 0], [0, 1, 3], [95, 5, 0], [u32::MAX, u32::MAX, u32::MAX]];
    for weights in weights {
        let mut weighted = route(Prefix("/".into()), None, &[]);
        weighted.clusters = weights.map(|weight| WeightedCluster { cluster: 0, weight }).into();
        let routes = Routes::new(&[route(Prefix("/".into()), None, &[]), weighted]);
        let mut random = Random::seeded(8);
        let mut counts = [0_u32; 3];
        for _ in 0..100_000 {
            counts[routes.choose(1, &mut random)] += 1;
            assert_eq!(routes.choose(0, &mut random), 0);
        }
        let sum: f64 = weights.iter().copied().map(f64::from).sum();
        for (count, weight) in counts.into_iter().zip(weights) {
            let wanted = 100_000.0 * f64::from(weight) / sum;
            assert!((f64::from(count) - wanted).abs() <= 1_000.0, "{counts:?} for {weights:?}");
            assert!(weight > 0 || count == 0);
        }
    }
}
