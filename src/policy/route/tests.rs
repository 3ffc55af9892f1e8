use http::HeaderMap;
use http::header::HeaderName;

use super::*;
use crate::config::{MILLION, Match, PathMatch, Regex, Route, ValueMatch, ValueMatcher, WeightedCluster};
use PathMatch::{Path, Prefix, SeparatedPrefix, Service};

fn route(path: PathMatch, host: Option<&str>, headers: &[(&str, &str)]) -> Route {
    of(Match {
        path,
        host: host.map(str::to_owned),
        headers: headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..Match::default()
    })
}

fn of(matching: Match) -> Route {
    Route {
        name: String::new(),
        matching,
        clusters: vec![WeightedCluster { cluster: 0, weight: 1 }],
        timeout: None,
        max_stream_duration: None,
        idle_timeout: None,
        rate_limit: None,
        policies: Default::default(),
        actions: Default::default(),
    }
}

fn regex(pattern: &str) -> PathMatch {
    PathMatch::Regex(Regex::new(pattern).unwrap())
}

fn matcher(name: &str, value: ValueMatch, invert: bool) -> ValueMatcher {
    ValueMatcher { name: name.to_owned(), value, invert }
}

/// A call to this path, with its query.
fn asked<'a>(path: &'a str, host: &'a str, headers: &'a HeaderMap, draw: u32) -> Question<'a, HeaderMap> {
    let came = Pseudo { method: b"POST", path: path.as_bytes(), authority: host.as_bytes() };
    let path = path.split('?').next().unwrap_or(path);
    Question { path: path.as_bytes(), came, host: host.as_bytes(), headers, draw }
}

fn header_map(headers: &[(&'static str, &str)]) -> HeaderMap {
    headers.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// The expected result of `Routes::find`, as plainly as it can be put, and whether chance had a say.
fn find_plainly(routes: &[Route], asked: &Question<'_, HeaderMap>) -> (Option<usize>, bool) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (path, host) = (text(asked.path), text(asked.host).to_ascii_lowercase());
    let Pseudo { method, path: whole, authority } = asked.came;
    let query = text(whole).split_once('?').map_or(String::new(), |(_, query)| query.to_owned());
    let joined = |name: &str| {
        let pseudo = [(":method", method), (":path", whole), (":authority", authority)];
        if let Some((_, value)) = pseudo.iter().find(|(known, _)| *known == name) {
            return (!value.is_empty()).then(|| value.to_vec());
        }
        let values: Vec<_> = asked.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        (!values.is_empty()).then(|| values.join(&b","[..]))
    };
    let parameter = |name: &str| {
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes())
    };
    let mut drew = false;
    let found = routes.iter().position(|route| {
        let matching = &route.matching;
        let path_matches = match &matching.path {
            Path(wanted) => path == *wanted,
            Prefix(wanted) => path.starts_with(wanted.as_str()),
            SeparatedPrefix(wanted) => path == *wanted || path.starts_with(&format!("{wanted}/")),
            Service(wanted) => path.starts_with(&format!("/{wanted}/")),
            PathMatch::Regex(regex) => regex.is_match(path.as_bytes()),
        };
        let host_matches = match matching.host.as_deref() {
            None => true,
            Some(_) if host.len() > 255 => false,
            Some(wanted) => match wanted.strip_prefix('*') {
                Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
                None => host == wanted,
            },
        };
        let matches = path_matches
            && host_matches
            && matching
                .headers
                .iter()
                .all(|(name, wanted)| joined(name).is_some_and(|it| it == wanted.as_bytes()))
            && matching.header_matchers.iter().all(|it| it.meets(joined(&it.name).as_deref()))
            && matching.query_parameters.iter().all(|it| it.meets(parameter(&it.name)));
        drew |= matches && matching.runtime_fraction.is_some();
        matches && matching.runtime_fraction.is_none_or(|fraction| asked.draw < fraction)
    });
    (found, drew)
}

/// Path, host, headers, and the route they take.
type Call<'a> = (&'a str, &'a str, &'a [(&'static str, &'a str)], Option<usize>);

fn check(routes: &[Route], calls: &[Call<'_>]) {
    let indexed = Routes::new(routes);
    for &(path, host, headers, wanted) in calls {
        let map = header_map(headers);
        let asked = asked(path, host, &map, 0);
        check_one(routes, &indexed, &asked, wanted);
    }
}

fn check_one(routes: &[Route], indexed: &Routes, asked: &Question<'_, HeaderMap>, wanted: Option<usize>) {
    let found = indexed.find(asked);
    assert_eq!(found.map(|found| found.route), wanted, "{asked:?} {routes:#?}");
    let (plainly, drew) = find_plainly(routes, asked);
    assert_eq!(plainly, wanted, "{asked:?} {routes:#?}");
    assert!(found.is_none_or(|found| found.is_fixed != drew), "{asked:?} {routes:#?}");
    let explained = routes.iter().position(|route| why_not(route, asked).is_none());
    assert_eq!(explained, wanted, "{asked:?} {routes:#?}");
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

#[test]
fn patterns_match_whole_paths_and_separated_prefixes_whole_segments() {
    let routes = [
        route(regex("/v[0-9]+/[^/]*"), None, &[]),
        route(SeparatedPrefix("/shop".into()), None, &[]),
        route(regex("/sh.*"), None, &[("x-a", "1")]),
        route(Prefix("/s".into()), None, &[]),
        route(regex("/sh.*"), None, &[]),
    ];
    check(
        &routes,
        &[
            ("/v1/a", "", &[], Some(0)),
            ("/v1/a?x=/", "", &[], Some(0)),
            ("/v1/a/b", "", &[], None),
            ("x/v1/a", "", &[], None),
            ("/v/a", "", &[], None),
            ("/shop", "", &[], Some(1)),
            ("/shop/", "", &[], Some(1)),
            ("/shop/a", "", &[("x-a", "1")], Some(1)),
            ("/shopping", "", &[("x-a", "1")], Some(2)),
            ("/shopping", "", &[("x-a", "2")], Some(3)),
        ],
    );
}

#[test]
fn fields_and_parameters_are_matched_in_many_ways() {
    let with = |header_matchers: &[ValueMatcher], query_parameters: &[ValueMatcher]| {
        of(Match {
            header_matchers: header_matchers.to_vec(),
            query_parameters: query_parameters.to_vec(),
            ..Match::default()
        })
    };
    let version = |value, invert| matcher("x-version", value, invert);
    let routes = [
        with(&[version(ValueMatch::Range(10, 20), false)], &[]),
        with(
            &[version(ValueMatch::Prefix("2.".into()), false)],
            &[matcher("beta", ValueMatch::Present(true), false)],
        ),
        with(&[version(ValueMatch::Prefix("2.".into()), false)], &[]),
        with(&[version(ValueMatch::Regex(Regex::new("[0-9]+,.*").unwrap()), false)], &[]),
        with(&[version(ValueMatch::Exact("1".into()), true)], &[]),
        with(&[], &[matcher("v", ValueMatch::Exact("2".into()), false)]),
        with(&[version(ValueMatch::Present(false), false)], &[]),
    ];
    check(
        &routes,
        &[
            ("/a/b", "", &[("x-version", "10")], Some(0)),
            ("/a/b", "", &[("x-version", "20")], Some(4)),
            ("/a/b", "", &[("x-version", "2.1")], Some(2)),
            ("/a/b?beta", "", &[("x-version", "2.1")], Some(1)),
            ("/a/b?a=1&beta=", "", &[("x-version", "2.1")], Some(1)),
            ("/a/b?beta2=1&abeta=1", "", &[("x-version", "2.1")], Some(2)),
            // Several are joined: the first does not count alone.
            ("/a/b", "", &[("x-version", "2.1"), ("x-version", "3")], Some(2)),
            ("/a/b", "", &[("x-version", "12"), ("x-version", "3")], Some(3)),
            ("/a/b", "", &[("x-version", "1")], None),
            ("/a/b?v=2", "", &[("x-version", "1")], Some(5)),
            ("/a/b?v=1&v=2", "", &[("x-version", "1")], None),
            ("/a/b?v=%32", "", &[("x-version", "1")], None),
            ("/a/b", "", &[], Some(6)),
        ],
    );
}

#[test]
fn pseudo_fields_are_those_of_the_request_as_it_came() {
    let with = |name: &str, value, invert| {
        of(Match { header_matchers: vec![matcher(name, value, invert)], ..Match::default() })
    };
    let routes = [
        with(":method", ValueMatch::Exact("GET".into()), false),
        with(":path", ValueMatch::Suffix("?beta=1".into()), false),
        with(":path", ValueMatch::Regex(Regex::new("/v[0-9]+/.*").unwrap()), false),
        with(":authority", ValueMatch::Suffix(":8443".into()), false),
        with(":authority", ValueMatch::Present(false), false),
        with(":method", ValueMatch::Exact("POST".into()), true),
    ];
    assert!(Routes::new(&routes).asks_request());
    let headers = header_map(&[]);
    let indexed = Routes::new(&routes);
    for (method, path, authority, wanted) in [
        ("GET", "/a", "h", Some(0)),
        ("get", "/a", "h", Some(5)),
        ("POST", "/a?beta=1", "h", Some(1)),
        ("POST", "/a?beta=12", "h", None),
        ("POST", "/v1/a", "h", Some(2)),
        ("POST", "/a", "h:8443", Some(3)),
        ("POST", "/a", "", Some(4)),
        ("POST", "/a", "h", None),
        ("PUT", "/a", "h:844", Some(5)),
    ] {
        // The path by which routes are found is the one of the method that a request of JSON means.
        let came =
            Pseudo { method: method.as_bytes(), path: path.as_bytes(), authority: authority.as_bytes() };
        let question = Question { path: b"/a.B/C", came, host: b"h", headers: &headers, draw: 0 };
        check_one(&routes, &indexed, &question, wanted);
    }
}

#[test]
fn one_draw_decides_about_all_routes() {
    let part = |path: &str, percent: u32| {
        of(Match {
            path: Service(path.to_owned()),
            runtime_fraction: Some(percent * MILLION / 100),
            ..Match::default()
        })
    };
    let routes = [part("a", 10), part("a", 30), route(Service("a".into()), None, &[]), part("b", 0)];
    let indexed = Routes::new(&routes);
    assert!(indexed.draws() && !indexed.asks_request());
    let headers = HeaderMap::new();
    let mut counts = [0; 3];
    let mut random = Random::seeded(3);
    for _ in 0..100_000 {
        let found = indexed.find(&asked("/a/b", "", &headers, random.below(MILLION))).unwrap();
        assert!(!found.is_fixed, "another draw, another route");
        counts[found.route] += 1;
    }
    for (count, wanted) in counts.into_iter().zip([10_000_i32, 20_000, 70_000]) {
        // Five standard deviations are 725 at most.
        assert!((count - wanted).abs() < 725, "{counts:?}");
    }
    for (draw, wanted) in [(0, 0), (99_999, 0), (100_000, 1), (299_999, 1), (300_000, 2), (999_999, 2)] {
        check_one(&routes, &indexed, &asked("/a/b", "", &headers, draw), Some(wanted));
    }
    check_one(&routes, &indexed, &asked("/b/b", "", &headers, 0), None);
    // A route before them settles it.
    let routes = [route(Path("/a/b".into()), None, &[]), part("a", 10)];
    let found = Routes::new(&routes).find(&asked("/a/b", "", &headers, 0));
    assert_eq!(found, Some(Found { route: 0, is_fixed: true }));
}

const WORDS: [&str; 7] = ["a", "a.A", "a.B", "b", "b/c", "", "aa"];
const NAMES: [&str; 3] = ["x-1", "x-2", "x-3"];
const VALUES: [&str; 5] = ["1", "2", "1,2", "", "1,"];

fn one<'a, const N: usize>(from: &[&'a str; N], random: &mut Random) -> &'a str {
    from[random.below(u32::try_from(N).unwrap()) as usize]
}

/// A condition on a value, of few words. `digit` is compiled once.
fn some_matcher(digit: &Regex, random: &mut Random) -> ValueMatcher {
    let text = one(&VALUES, random).to_owned();
    let value = match random.below(7) {
        0 => ValueMatch::Exact(text),
        1 => ValueMatch::Prefix(text),
        2 => ValueMatch::Suffix(text),
        3 => ValueMatch::Contains("1".to_owned()),
        4 => ValueMatch::Range(1, 2),
        5 => ValueMatch::Regex(digit.clone()),
        _ => ValueMatch::Present(random.below(2) == 0),
    };
    matcher(one(&NAMES, random), value, random.below(3) == 0)
}

/// A route of few words.
fn some_route(patterns: &[PathMatch], digit: &Regex, random: &mut Random) -> Route {
    const PREFIXES: [&str; 8] = ["/", "/a", "/a.", "/a.A", "/a.A/", "/a/", "/b/c", "/aa/b"];
    const HOSTS: [&str; 6] = ["x.com", "y.x.com", "*.x.com", "*.com", "*.y.x.com", "com"];
    let path = match random.below(5) {
        0 => Path(format!("/{}/{}", one(&WORDS, random), one(&WORDS, random))),
        1 => Service(one(&WORDS, random).into()),
        2 => SeparatedPrefix(one(&["/a", "/b/c", "/aa"], random).into()),
        3 => patterns[random.below(5) as usize].clone(),
        _ => Prefix(one(&PREFIXES, random).into()),
    };
    let host = (random.below(2) == 0).then(|| one(&HOSTS, random));
    let count = random.below(4).min(2);
    let headers: Vec<_> = (0..count).map(|_| (one(&NAMES, random), one(&VALUES, random))).collect();
    let mut route = route(path, host, &headers);
    if random.below(3) == 0 {
        route.matching.header_matchers.push(some_matcher(digit, random));
    }
    if random.below(4) == 0 {
        route.matching.query_parameters.push(some_matcher(digit, random));
    }
    route.matching.runtime_fraction = (random.below(6) == 0).then(|| random.below(MILLION));
    route
}

/// 20,000 random calls on 1,000 random configurations from few words, so that much matches and much almost does.
#[test]
fn the_indices_agree_with_asking_one_by_one() {
    const CALL_HOSTS: [&str; 8] = ["x.com", "Y.X.com", "z.x.com", "z.y.x.COM", "com", "q", "", ".x.com"];
    let patterns = ["/a.*", "/[ab]/.*", ".*/a", "/a/b", ".*"].map(regex);
    let digit = Regex::new("[0-9],.*").unwrap();
    let mut random = Random::seeded(77);
    let (mut found, mut drawn) = (0, 0);
    for _ in 0..1_000 {
        let most = if random.below(4) == 0 { 60 } else { 8 };
        let count = 1 + random.below(most);
        let routes: Vec<Route> = (0..count).map(|_| some_route(&patterns, &digit, &mut random)).collect();
        let indexed = Routes::new(&routes);
        for _ in 0..20 {
            let mut path = format!("/{}/{}", one(&WORDS, &mut random), one(&WORDS, &mut random));
            for _ in 0..random.below(3) {
                let mark = if path.contains('?') { '&' } else { '?' };
                path += &format!("{mark}{}={}", one(&NAMES, &mut random), one(&VALUES, &mut random));
            }
            let host = one(&CALL_HOSTS, &mut random);
            let sent: Vec<_> =
                (0..random.below(5)).map(|_| (one(&NAMES, &mut random), one(&VALUES, &mut random))).collect();
            let headers = header_map(&sent);
            let asked = asked(&path, host, &headers, random.below(MILLION));
            let (wanted, drew) = find_plainly(&routes, &asked);
            check_one(&routes, &indexed, &asked, wanted);
            found += u32::from(wanted.is_some());
            drawn += u32::from(drew);
        }
    }
    assert!((3_000..17_000).contains(&found), "{found} of 20000 found a route");
    assert!(drawn > 500, "chance had a say for {drawn}");
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
