//! What is taken, and what it becomes.

use std::time::Duration;

use super::super::forms;
use super::super::units::{self, Bytes, Refused, Time};
use super::super::{
    Admin, Backend, Cluster, Config, CpuPolicy, Endpoint, Http2, Io, Keepalive, LbPolicy, Listener, Match,
    Method, OnUnavailable, PathMatch, Pool, Reconnect, Route, WeightedCluster, Workers,
};
use super::{cluster, listener, parsed, route, top};

const SECOND: Duration = Duration::from_secs(1);
const KIB: u32 = 1024;

#[test]
fn everything_has_a_default() {
    let wanted = Config {
        workers: Workers::Auto,
        cpu_policy: CpuPolicy::All,
        io: Io {
            backend: Backend::Auto,
            entries: 4096,
            on_unavailable: OnUnavailable::Fallback,
            sqpoll_idle: None,
            busy_poll: None,
        },
        admin: Admin { address: "127.0.0.1:9901".parse().unwrap() },
        drain_timeout: 30 * SECOND,
        listeners: vec![default_listener()],
        routes: vec![Route {
            name: "prefix:/".to_owned(),
            matching: Match { path: PathMatch::Prefix("/".to_owned()), host: None, headers: Vec::new() },
            clusters: vec![WeightedCluster { cluster: 0, weight: 1 }],
            timeout: Some(5 * SECOND),
            max_stream_duration: None,
            idle_timeout: Some(300 * SECOND),
        }],
        clusters: vec![default_cluster()],
    };
    assert_eq!(parsed(&top("")), wanted);
    assert_ne!(parsed(&top("workers = 2")), wanted);
}

fn default_listener() -> Listener {
    Listener {
        address: "127.0.0.1:8080".parse().unwrap(),
        backlog: 4096,
        max_connections: 65_536,
        handshake_timeout: 10 * SECOND,
        idle_timeout: 300 * SECOND,
        write_timeout: 30 * SECOND,
        http2: Http2 {
            max_concurrent_streams: 256,
            initial_stream_window_size: 1024 * KIB,
            initial_connection_window_size: 16 * 1024 * KIB,
            max_frame_size: 16 * KIB,
            max_header_list_size: 16 * KIB,
            max_headers_count: 100,
            max_send_buffer_size: 64 * KIB,
            max_resets_per_second: 1000,
        },
    }
}

fn default_cluster() -> Cluster {
    Cluster {
        name: "echo".to_owned(),
        endpoints: vec![Endpoint { host: "10.0.0.7".to_owned(), port: 50051 }],
        lb_policy: LbPolicy::LeastRequest,
        connect_timeout: SECOND,
        max_requests: 1024,
        max_pending_requests: 1024,
        pool: Pool {
            max_connections: 8,
            max_streams_per_connection: 100,
            max_requests_per_connection: 500_000_000,
            initial_stream_window_size: 1024 * KIB,
            initial_connection_window_size: 16 * 1024 * KIB,
            max_frame_size: 64 * KIB,
            max_header_list_size: 64 * KIB,
            max_send_buffer_size: 256 * KIB,
            replay_buffer_size: 64 * KIB,
        },
        keepalive: Keepalive { interval: 30 * SECOND, timeout: 5 * SECOND, without_calls: false },
        reconnect: Reconnect {
            initial_backoff: SECOND / 10,
            backoff_multiplier: 1.6,
            max_backoff: 10 * SECOND,
        },
        methods: Vec::new(),
    }
}

#[test]
fn every_word_has_its_meaning() {
    let io = |text: &str| parsed(&top(&format!("[io]\n{text}"))).io;
    assert_eq!(io("backend = \"auto\"").backend, Backend::Auto);
    assert_eq!(io("backend = \"io_uring\"").backend, Backend::IoUring);
    assert_eq!(io("backend = \"epoll\"\non_unavailable = \"fail\"").backend, Backend::Epoll);
    assert_eq!(io("on_unavailable = \"fail\"").on_unavailable, OnUnavailable::Fail);
    assert_eq!(io("on_unavailable = \"fallback\"").on_unavailable, OnUnavailable::Fallback);
    assert_eq!(io("entries = 32768").entries, 32_768);
    assert_eq!(io("sqpoll_idle = \"2s\"").sqpoll_idle, Some(2 * SECOND));
    assert_eq!(io("busy_poll = \"50us\"").busy_poll, Some(SECOND / 20_000));
    let cpus = |text: &str| parsed(&top(&format!("cpu_policy = \"{text}\""))).cpu_policy;
    assert_eq!(cpus("all"), CpuPolicy::All);
    assert_eq!(cpus("physical_cores"), CpuPolicy::PhysicalCores);
    assert_eq!(cpus("numa_node:3"), CpuPolicy::NumaNode(3));
    let policy = |text: &str| parsed(&cluster(text)).clusters[0].lb_policy;
    assert_eq!(policy("lb_policy = \"least_request\""), LbPolicy::LeastRequest);
    assert_eq!(policy("lb_policy = \"round_robin\""), LbPolicy::RoundRobin);
    assert_eq!(parsed(&top("workers = \"auto\"")).workers, Workers::Auto);
    assert_eq!(parsed(&top("workers = 0x10")).workers, Workers::Count(16));
}

#[test]
fn durations_have_five_units_and_fractions() {
    let taken: &[(&str, Duration)] = &[
        ("10us", Duration::from_micros(10)),
        ("250ms", Duration::from_millis(250)),
        ("5s", 5 * SECOND),
        ("1m", 60 * SECOND),
        ("1h", 3600 * SECOND),
        ("1.5s", Duration::from_millis(1500)),
        ("0.25h", 900 * SECOND),
        ("0.000001us", Duration::ZERO),
        ("0s", Duration::ZERO),
        ("007s", 7 * SECOND),
    ];
    for (text, wanted) in taken {
        assert_eq!(units::duration(text), Ok(*wanted), "{text}");
    }
    let refused: &[(&str, Refused)] = &[
        ("", Refused::NotANumber),
        ("s", Refused::NotANumber),
        ("-1s", Refused::NotANumber),
        (" 1s", Refused::NotANumber),
        ("1..5s", Refused::NotANumber),
        (".5s", Refused::NotANumber),
        ("5.s", Refused::NotANumber),
        ("30", Refused::NoUnit),
        ("1 s", Refused::UnknownUnit),
        ("1d", Refused::UnknownUnit),
        ("1m30s", Refused::UnknownUnit),
        ("1S", Refused::UnknownUnit),
        ("9999999999999999h", Refused::TooLarge),
        ("5124096h", Refused::TooLarge), // 2^64 ns are 5124095.6 hours
        ("1.0000000001s", Refused::TooLarge),
    ];
    for (text, wanted) in refused {
        assert_eq!(units::duration(text), Err(*wanted), "{text}");
    }
}

#[test]
fn sizes_are_whole_bytes() {
    let taken: &[(&str, u64)] = &[
        ("16384", 16_384),
        ("16384B", 16_384),
        ("64KiB", 65_536),
        ("1MiB", 1 << 20),
        ("2GiB", 2 << 30),
        ("17179869183GiB", u64::MAX - (1 << 30) + 1),
    ];
    for (text, wanted) in taken {
        assert_eq!(units::bytes(text), Ok(*wanted), "{text}");
    }
    let refused: &[(&str, Refused)] = &[
        ("", Refused::NotANumber),
        ("KiB", Refused::NotANumber),
        ("1.5MiB", Refused::NotANumber),
        ("-1", Refused::NotANumber),
        ("64KB", Refused::UnknownUnit),
        ("64 KiB", Refused::UnknownUnit),
        ("64kib", Refused::UnknownUnit),
        ("17179869184GiB", Refused::TooLarge),
    ];
    for (text, wanted) in refused {
        assert_eq!(units::bytes(text), Err(*wanted), "{text}");
    }
    let window = |text: &str| parsed(&listener(&format!("http2.initial_stream_window_size = {text}")));
    assert_eq!(window("\"128KiB\""), window("131072"));
}

#[test]
fn units_are_shown_as_they_are_read() {
    for text in ["10us", "250ms", "1500ms", "5s", "90s", "2m", "24h", "0s"] {
        assert_eq!(Time(units::duration(text).unwrap()).to_string(), text);
    }
    for (bytes, text) in
        [(0, "0"), (65_535, "65535"), (65_536, "64KiB"), (1 << 20, "1MiB"), (1 << 30, "1GiB")]
    {
        assert_eq!(Bytes(bytes).to_string(), text);
    }
}

#[test]
fn no_time_is_none_for_routes() {
    let times = |text: &str| {
        let route = parsed(&route(&format!("cluster = \"echo\"\n{text}"))).routes.remove(0);
        [route.timeout, route.max_stream_duration, route.idle_timeout]
    };
    let none = "timeout = \"0s\"\nmax_stream_duration = \"0ms\"\nidle_timeout = \"0.0h\"";
    assert_eq!(times(none), [None, None, None]);
    let some = "timeout = \"1s\"\nmax_stream_duration = \"2s\"\nidle_timeout = \"3s\"";
    assert_eq!(times(some), [Some(SECOND), Some(2 * SECOND), Some(3 * SECOND)]);
}

#[test]
fn a_route_is_named_after_what_it_matches() {
    let cases: &[(&str, &str)] = &[
        ("", "prefix:/"),
        ("match = {}", "prefix:/"),
        ("match = { prefix = \"/bench.\" }", "prefix:/bench."),
        ("match = { service = \"bench.v1.Echo\" }", "service:bench.v1.Echo"),
        ("match.path = \"/a.B/C\"", "path:/a.B/C"),
        (
            "match = { host = \"API.Example.com\", headers = { X-B = \"2\", x-a = \"\" } }",
            "prefix:/ host:api.example.com x-a: x-b:2",
        ),
        ("name = \"mine\"\nmatch.host = \"[::1]\"", "mine"),
    ];
    for (text, wanted) in cases {
        let config = parsed(&route(&format!("cluster = \"echo\"\n{text}")));
        assert_eq!(config.routes[0].name, *wanted, "{text}");
    }
}

#[test]
fn clusters_are_found_by_name() {
    let text = "weighted_clusters = [{ name = \"b\", weight = 5 }, { name = \"echo\", weight = 0 }, { name = \"a\" }]";
    let more = ["b", "a"].map(|name| format!("[[clusters]]\nname = \"{name}\"\nendpoints = [\"h:1\"]\n"));
    let config = parsed(&format!("{}{}", route(text), more.concat()));
    let shares: Vec<(&str, u32)> = config.routes[0]
        .clusters
        .iter()
        .map(|share| (config.clusters[share.cluster].name.as_str(), share.weight))
        .collect();
    assert_eq!(shares, [("b", 5), ("echo", 0), ("a", 1)]);
}

#[test]
fn methods_may_have_their_own_timeout() {
    let text =
        "[[clusters.methods]]\npath = \"/a.B/C\"\ntimeout = \"2s\"\n[[clusters.methods]]\npath = \"/a.B/D\"";
    let wanted = [
        Method { path: "/a.B/C".to_owned(), timeout: Some(2 * SECOND) },
        Method { path: "/a.B/D".to_owned(), timeout: None },
    ];
    assert_eq!(parsed(&cluster(text)).clusters[0].methods, wanted);
}

#[test]
fn endpoints_are_addresses_or_names() {
    let taken: &[(&str, &str, u16)] = &[
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:80", "::1", 80),
        ("echo.internal:65535", "echo.internal", 65_535),
        ("Echo_2:1", "echo_2", 1),
        ("localhost:50051", "localhost", 50_051),
    ];
    for (text, host, port) in taken {
        assert_eq!(forms::endpoint(text), Ok(Endpoint { host: (*host).to_owned(), port: *port }), "{text}");
    }
    let refused = [
        "",
        "a",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:+1",
        "a:1:2",
        "::1",
        "[::1]",
        "[::1]:0",
        "http://a:1",
        "a b:1",
        "-a:1",
        "a-:1",
        "a..b:1",
        "a.:1",
        "10.0.0.999:1",
        "1.2.3:1",
        "é:1",
        "[fe80::1%3]:1",
        "a/b:1",
        "a:1/",
        "*.a:1",
    ];
    for text in refused {
        assert!(forms::endpoint(text).is_err(), "{text}");
    }
}

#[test]
fn hosts_paths_and_headers_have_their_forms() {
    for text in ["a", "a.b", "*.example.com", "127.0.0.1", "[::1]", "LOCALHOST"] {
        assert_eq!(forms::match_host(text), Ok(text.to_ascii_lowercase()), "{text}");
    }
    for text in
        ["", "*", "*.", "*a.b", "a.*.b", "*.*.a", "a:80", "[::1]:80", "::1", "http://a", "a/b", "a b", "[x]"]
    {
        assert!(forms::match_host(text).is_err(), "{text}");
    }
    for text in ["/a.B/C", "/a/b", "/my-service/Get%20It"] {
        assert!(forms::method_path(text).is_ok(), "{text}");
    }
    for text in ["", "/", "/a", "/a/", "//b", "a/b", "/a/b/c", "/a/b?c", "/a/b c", "/a/é"] {
        assert!(forms::method_path(text).is_err(), "{text}");
    }
    for text in ["/", "/a", "/a.b.", "/a/", "/a/b", "/a/b/c"] {
        assert!(forms::prefix(text).is_ok(), "{text}");
    }
    for text in ["", "a", "/a?", "/a b", "/#"] {
        assert!(forms::prefix(text).is_err(), "{text}");
    }
    for text in ["x-a", "X_A", "a.b", "!"] {
        assert_eq!(forms::header_name(text), Ok(text.to_ascii_lowercase()), "{text}");
    }
    for text in ["", ":path", "a b", "a:", "é", "a\n", "(a)"] {
        assert!(forms::header_name(text).is_err(), "{text}");
    }
    for text in ["", "1", "a b", "a\tb", "\"x\""] {
        assert!(forms::header_value(text).is_ok(), "{text}");
    }
    for text in [" a", "a ", "a\nb", "é", "\0", "\t"] {
        assert!(forms::header_value(text).is_err(), "{text}");
    }
}

#[test]
fn every_bound_is_taken_and_one_more_is_not() {
    use super::super::knobs::{KNOBS, Kind};
    // The windows are bound to each other, too, and so are the waits before connecting.
    let coupled = |name: &str| name.ends_with("window_size") || name.ends_with("_backoff");
    for knob in KNOBS.iter().filter(|knob| !coupled(knob.name())) {
        let (low, high) = match knob.kind {
            Kind::Count { min, max, .. }
            | Kind::Size { min, max, .. }
            | Kind::PowerOfTwo { min, max, .. } => (i64::from(min), i64::from(max)),
            Kind::CountOrAuto { min, max } => (i64::from(min), i64::from(max)),
            _ => continue,
        };
        let file = |value: i64| match knob.key.split_once('.') {
            None => top(&format!("{} = {value}", knob.key)),
            Some(("listeners", key)) => listener(&format!("{key} = {value}")),
            Some(("clusters", key)) => cluster(&format!("{key} = {value}")),
            Some(("routes", _)) => route(&format!(
                "weighted_clusters = [{{ name = \"echo\", weight = {value} }}, {{ name = \"b\" }}]\n\
                 [[clusters]]\nname = \"b\"\nendpoints = [\"b:1\"]"
            )),
            Some(_) => top(&format!("{} = {value}", knob.key)),
        };
        parsed(&file(low));
        parsed(&file(high));
        for outside in [low - 1, high + 1] {
            let errors = super::errors(&file(outside));
            let wanted = format!("{} = {outside}: must be {}", knob.key, knob.wanted());
            assert!(errors.len() == 1 && errors[0].ends_with(&wanted), "{errors:?}");
        }
    }
}
