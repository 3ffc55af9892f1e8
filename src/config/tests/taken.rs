//! Accepted configurations, and the values they become.

use std::path::Path;
use std::time::Duration;

use super::super::forms;
use super::super::units::{self, Bytes, Refused, Time};
use super::super::{
    AccessLog, AdaptiveTimeout, AllowOrigins, Backend, Breaker, Codes, CpuPolicy, Endpoint, HealthChecks,
    Hedging, LbPolicy, LogSink, Method, OnBadRule, OnUnavailable, PrintOptions, RateLimit, ServerTiming,
    Tracing, Transcoding, UnixPath, Workers, parse,
};
use super::defaults::default_transcoding;
use super::{cluster, errors, listener, parsed, route, top};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn transcoding_takes_files_clusters_and_services() {
    let text = top(
        "[transcoding]\ndescriptor_sets = [\"a.protoset\"]\nprotos = [\"api/b.proto\"]\nproto_paths = [\"/c\"]\n\
        reflection = [\"echo\"]\nreflection_interval = \"1s\"\nservices = [\"a.B\"]\nauto_mapping = false\non_bad_rule = \"fail\"\n\
        ignore_unknown_fields = true\n[transcoding.print_options]\nadd_whitespace = true",
    );
    let config = parse(&text, Path::new("etc/ringway.toml")).unwrap();
    assert_eq!(config.directory, Path::new("etc"));
    let wanted = Transcoding {
        descriptor_sets: vec!["a.protoset".into()],
        protos: vec!["api/b.proto".into()],
        proto_paths: vec!["/c".into()],
        reflection: vec![0],
        reflection_interval: SECOND,
        services: vec!["a.B".to_owned()],
        auto_mapping: false,
        on_bad_rule: OnBadRule::Fail,
        ignore_unknown_fields: true,
        print_options: PrintOptions { add_whitespace: true, ..PrintOptions::default() },
        ..default_transcoding()
    };
    assert_eq!(config.transcoding, wanted);
    assert!(config.transcoding.is_configured() && !default_transcoding().is_configured());
}

/// Each flag of the preset can be turned off beside it, and on without it; what is shown means the same.
#[test]
fn a_preset_sets_what_the_file_does_not() {
    use super::super::web::GRPC_GATEWAY_FLAGS;
    let text = |lines: &str| top(&format!("[transcoding]\nprotos = [\"a.proto\"]\n{lines}"));
    let all = parsed(&text("compatibility = \"grpc-gateway\"")).transcoding;
    let none = parsed(&text("")).transcoding;
    let debug = |transcoding: &Transcoding| format!("{transcoding:?}").matches("true").count();
    // With `auto_mapping`.
    assert_eq!((debug(&all), debug(&none)), (GRPC_GATEWAY_FLAGS.len() + 1, 1));
    for key in GRPC_GATEWAY_FLAGS {
        let name = key.trim_start_matches("transcoding.");
        for (preset, value, count) in [("none", true, 2), ("grpc-gateway", false, GRPC_GATEWAY_FLAGS.len())] {
            let text = text(&format!("compatibility = \"{preset}\"\n{name} = {value}"));
            let config = parsed(&text);
            assert_eq!(debug(&config.transcoding), count, "{preset} {key}");
            let shown = config.effective.toml();
            assert_eq!(parsed(&shown).transcoding, config.transcoding, "{shown}");
            assert_eq!(
                shown.matches(&format!("{} = true", name.rsplit('.').next().unwrap())).count(),
                usize::from(value)
            );
        }
    }
}

#[test]
fn origins_are_kept_as_browsers_send_them() {
    let taken = [
        ("https://App.Example.com", "https://app.example.com"),
        ("https://a:443", "https://a"),
        ("http://a:80", "http://a"),
        ("http://a:8443", "http://a:8443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[::1]", "http://[::1]"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("*", "*"),
    ];
    for (text, kept) in taken {
        assert_eq!(forms::origin(text).as_deref(), Ok(kept), "{text}");
    }
    let refused = [
        "",
        "a",
        "://a",
        "https://",
        "https://a/",
        "https://*.a",
        "https://a:0",
        "https://a:b",
        "1s://a",
        "https://a b",
    ];
    for text in refused {
        assert!(forms::origin(text).is_err(), "{text}");
    }
    let cors = |text: &str| parsed(&listener(&format!("[listeners.cors]\n{text}"))).listeners.remove(0).cors;
    assert_eq!(cors("allow_origins = [\"*\"]").allow_origins, AllowOrigins::Any);
    assert!(cors("allow_origins = [\"https://a\"]").is_on() && !cors("").is_on());
    assert_eq!(cors("expose_headers = [\"X-A\"]").expose_headers, ["x-a"]);
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
    let few = |text: &str| parsed(&format!("[io]\n{text}\n{}", listener("max_connections = 1024"))).io;
    assert_eq!(few("sqpoll_idle = \"2s\"").sqpoll_idle, Some(2 * SECOND));
    assert_eq!(io("sqpoll_idle = \"0s\"\nbackend = \"epoll\"").sqpoll_idle, None);
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
fn an_access_log_goes_where_it_is_told_to() {
    let log = |text: &str| parsed(&top(&format!("[access_log]\n{text}"))).access_log;
    assert_eq!(log(""), AccessLog::default());
    assert_eq!(log("path = \"stderr\"\nsample = 1").sample, 1.0);
    assert_eq!(log("path = \"-\"").sink, LogSink::Stdout);
    let wanted = AccessLog {
        sink: LogSink::File("a/b.log".into()),
        sample: 0.5,
        errors: false,
        stderr_lines_per_second: 7,
        fields: vec!["path".to_owned()],
        request_headers: vec!["x-tenant".to_owned()],
        response_headers: vec!["server".to_owned()],
    };
    let text = "path = \"a/b.log\"\nsample = 0.5\nerrors = false\nstderr_lines_per_second = 7\nfields = [\"path\"]\n\
                request_headers = [\"x-tenant\"]\nresponse_headers = [\"server\"]";
    assert_eq!(log(text), wanted);
    assert!(wanted.sample > 0.0 && wanted.is_on() && !log("errors = false").is_on());
    for refused in ["", "a/", "a\\u0000b"] {
        let text = top(&format!("[access_log]\npath = \"{refused}\""));
        assert_eq!(errors(&text).len(), 1, "{refused:?}");
    }
}

#[test]
fn tracing_has_an_endpoint() {
    let tracing = |text: &str| parsed(&top(&format!("[tracing]\n{text}"))).tracing;
    assert_eq!(tracing("sample = 1"), None);
    let plain = Tracing {
        endpoint: "http://[::1]:4317".to_owned(),
        tls: None,
        sample: 0.01,
        service_name: "ringway".to_owned(),
        queue_spans: 2048,
        batch_spans: 512,
        interval: SECOND,
        timeout: 5 * SECOND,
    };
    assert_eq!(tracing("endpoint = \"http://[::1]:4317/\""), Some(plain.clone()));
    let wanted = Tracing { sample: 0.5, service_name: "edge é".to_owned(), ..plain };
    let text = "endpoint = \"http://[::1]:4317\"\nsample = 0.5\nservice_name = \"edge é\"";
    assert_eq!(tracing(text), Some(wanted));
    let secure =
        tracing("endpoint = \"https://c:4317\"\n[tracing.tls]\ntrusted_ca = \"/ca.pem\"").expect("it is on");
    let tls = secure.tls.expect("it is https");
    assert_eq!((&*secure.endpoint, tls.validation.system_root_certs), ("https://c:4317", false));
    assert!(tracing("endpoint = \"https://c:4317\"").unwrap().tls.unwrap().validation.system_root_certs);
    let timing =
        |text: &str| parsed(&listener(&format!("server_timing = \"{text}\""))).listeners[0].server_timing;
    assert_eq!([timing("off"), timing("always")], [ServerTiming::Off, ServerTiming::Always]);
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
fn methods_may_have_their_own_settings() {
    let text = "[[clusters.methods]]\npath = \"/a.B/C\"\ntimeout = \"2s\"\nunary = true\n\
                [[clusters.methods]]\npath = \"/a.B/D\"\nidempotent = true\nhedging = { hedging_delay = \"5ms\" }\n\
                breaker = { max_requests = 3 }";
    let plain = Method {
        path: "/a.B/C".to_owned(),
        timeout: Some(2 * SECOND),
        unary: true,
        idempotent: false,
        hedging: None,
        breaker: None,
    };
    let special = Method {
        path: "/a.B/D".to_owned(),
        timeout: None,
        unary: false,
        idempotent: true,
        hedging: Some(Hedging {
            max_attempts: 2,
            hedging_delay: SECOND / 200,
            non_fatal_status_codes: Codes::NONE.with(14),
        }),
        breaker: Some(Breaker { max_requests: 3, ..Breaker::default() }),
    };
    assert_eq!(parsed(&cluster(text)).clusters[0].methods, [plain, special]);
}

#[test]
fn what_helps_against_failures_can_be_turned_off_and_on() {
    let read = |text: &str| parsed(&cluster(text)).clusters.remove(0);
    let off = read("breaker.enabled = false\noutlier_detection.enabled = false\nretry.max_attempts = 1");
    assert_eq!((off.breaker, off.outlier_detection), (None, None));
    let on = read("timeout = \"3s\"\nadaptive_timeout = {}\nhealth_checks = { service = \"a.B\" }");
    let adaptive =
        AdaptiveTimeout { percentile: 99.9, multiplier: 3.0, floor: SECOND / 20, window: 60 * SECOND };
    assert_eq!((on.timeout, on.adaptive_timeout), (Some(3 * SECOND), Some(adaptive)));
    let checks = HealthChecks {
        interval: 10 * SECOND,
        timeout: SECOND,
        unhealthy_threshold: 3,
        healthy_threshold: 2,
        service: "a.B".to_owned(),
    };
    assert_eq!(on.health_checks, Some(checks));
    let limited = parsed(&route("cluster = \"echo\"\nrate_limit = { max_tokens = 7 }"));
    let rate = RateLimit { max_tokens: 7, tokens_per_fill: 100, fill_interval: SECOND };
    assert_eq!(limited.routes[0].rate_limit, Some(rate));
    let codes = read("retry.retryable_status_codes = [\"ABORTED\", \"unavailable\"]").retry;
    assert_eq!(codes.retryable_status_codes, Codes::NONE.with(10).with(14));
    assert!(read("retry.retryable_status_codes = []").retry.retryable_status_codes.is_empty());
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
        assert_eq!(
            forms::endpoint(text),
            Ok(Endpoint::Tcp { host: (*host).to_owned(), port: *port }),
            "{text}"
        );
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
        "unix:/run/a.sock",
        "unix:a.sock",
        "unix://run/a.sock",
        "unix://",
        "unix:///",
        "unix:///run/",
        "unix:///run/a\0b",
        "unix-abstract:a",
    ];
    for text in refused {
        assert!(forms::endpoint(text).is_err(), "{text}");
    }
    let longest = format!("unix:///{}", "a".repeat(UnixPath::MAX - 1));
    for text in ["unix:///run/echo.sock", "unix:///a", &longest] {
        let path = UnixPath::new(text.strip_prefix("unix://").expect(text));
        assert_eq!(forms::endpoint(text), Ok(Endpoint::Unix(path)), "{text}");
    }
    assert!(forms::endpoint(&format!("{longest}a")).is_err());
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
    for (text, wanted) in [
        (":method", true),
        (":authority", true),
        ("X-A", true),
        (":scheme", false),
        (":Path", false),
        ("a b", false),
    ] {
        assert_eq!(forms::matched_name(text).is_ok(), wanted, "{text}");
    }
    for text in ["", "1", "a b", "a\tb", "\"x\""] {
        assert!(forms::header_value(text).is_ok(), "{text}");
    }
    for text in [" a", "a ", "a\nb", "é", "\0", "\t"] {
        assert!(forms::header_value(text).is_err(), "{text}");
    }
}
