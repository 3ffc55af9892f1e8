//! Each word of a route, over sockets: its conditions, rewrites, answers, policies of its own, and copies of streams.

use std::net::SocketAddr;

use bytes::Bytes;
use ringway::supervisor::Gateway;
use tokio::net::TcpListener;

use super::routed;
use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::library::{Library, Source, front_with};
use crate::support::raw::{EMPTY_CALL, RawClient, message};
use crate::support::service::{Act, Service};
use crate::support::web::{Caller, JSON, VERSIONS, Version, answer};

/// A gateway with these routes before the one that takes all calls, and these tables in its cluster.
fn before(service: &Service, backend: &str, routes: &str, tables: &str) -> (Gateway, SocketAddr) {
    let config = GatewayBuilder::new(&[service.address()], backend).set("workers", 1).extra(tables);
    let gateway = config.routes_before(routes).start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// A route that tells the service its name.
fn marked(name: &str, matching: &str, more: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nmatch = {{ {matching} }}\ncluster = \"interop\"\n\
         request_headers_to_add = [{{ key = \"x-route\", value = \"{name}\" }}]\n{more}\n"
    )
}

async fn service() -> Service {
    Service::start(|_, _| Act::Answer).await
}

#[tokio::test]
async fn each_condition_leads_to_its_route() {
    let routes = [
        marked("regex", "safe_regex = '/v[0-9]+\\.Shop/Get.*'", ""),
        marked("below", "path_separated_prefix = \"/v1.Shop/Sell\"", ""),
        marked("version", "header_matchers = [{ name = \"x-version\", prefix = \"2.\" }]", ""),
        marked("shard", "header_matchers = [{ name = \"x-shard\", range = \"0..4\" }]", ""),
        marked("others", "header_matchers = [{ name = \"x-shard\", exact = \"9\", invert = true }]", ""),
        marked("beta", "query_parameters = [{ name = \"beta\" }]", ""),
        marked(
            "agent",
            "header_matchers = [{ name = \"x-agent\", contains = \"go\" }, { name = \"x-agent\", suffix = \"1\" }]",
            "",
        ),
        marked(
            "bare",
            "header_matchers = [{ name = \"x-plain\", present = false }, { name = \"x-tag\", safe_regex = '[a-z]{3}' }]",
            "",
        ),
        marked("whole", "header_matchers = [{ name = \":path\", suffix = \"/Whole?v=2\" }]", ""),
        marked("never", "header_matchers = [{ name = \":method\", exact = \"GET\" }]", ""),
    ];
    for backend in BACKENDS {
        let service = service().await;
        let (_gateway, address) = before(&service, backend, &routes.concat(), "");
        let mut client = RawClient::connect(address).await;
        // Twice, for the second time the head is known.
        for (path, headers, wanted) in [
            ("/v12.Shop/GetIt", &[][..], Some("regex")),
            ("/v1.Shop/Sell", &[], Some("below")),
            ("/v1.Shop/Sells", &[], None),
            ("/a.B/C", &[("x-version", "2.7")], Some("version")),
            ("/a.B/C", &[("x-version", "12.7")], None),
            ("/a.B/C", &[("x-shard", "3")], Some("shard")),
            ("/a.B/C", &[("x-shard", "4")], Some("others")),
            ("/a.B/C", &[("x-shard", "9")], None),
            ("/a.B/C?beta=", &[], Some("beta")),
            ("/a.B/C?x=beta", &[], None),
            ("/a.B/C", &[("x-agent", "grpc-go/1")], Some("agent")),
            ("/a.B/C", &[("x-agent", "grpc-go/2")], None),
            ("/a.B/C", &[("x-tag", "abc")], Some("bare")),
            ("/a.B/C", &[("x-tag", "abc"), ("x-plain", "")], None),
            ("/a.B/C", &[("x-tag", "abcd")], None),
            ("/a.B/Whole?v=2", &[], Some("whole")),
            ("/a.B/Whole", &[], None),
        ]
        .repeat(2)
        {
            let reply = client.call(path, headers, b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{path}: {reply:?}");
            let asked = service.asked().pop().expect("it was asked");
            assert_eq!(asked.header("x-route"), wanted, "{path} {headers:?} on {backend}");
        }
    }
}

/// A head that comes again is known, and all the same each call has a draw of its own.
#[tokio::test]
async fn a_route_takes_its_fraction_of_calls() {
    const CALLS: usize = 1000;
    let service = service().await;
    let routes = marked("some", "service = \"grpc.testing.TestService\", runtime_fraction = 25.0", "");
    let (_gateway, address) = before(&service, "io_uring", &routes, "");
    let mut client = RawClient::connect(address).await;
    for _ in 0..CALLS {
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
    }
    let some = service.asked().iter().filter(|asked| asked.header("x-route") == Some("some")).count();
    // 250 are expected; five standard deviations are 68.
    assert!((182..=318).contains(&some), "{some} of {CALLS}");
}

#[tokio::test]
async fn a_route_answers_by_itself_in_every_language() {
    let routes = "[[routes]]\nmatch = { service = \"old.v1.Shop\" }\n\
                  response_headers_to_add = [{ key = \"x-by\", value = \"ringway\" }]\n\
                  direct_response = { status = 410, grpc_status = \"NOT_FOUND\", body = \"it is gone: déjà vu\" }\n\
                  [[routes]]\nmatch = { path = \"/healthz\" }\n\
                  direct_response = { body = \"ok\", content_type = \"text/plain\" }\n";
    for backend in BACKENDS {
        let service = service().await;
        let (gateway, address) = before(&service, backend, routes, "");
        let mut client = RawClient::connect(address).await;
        for _ in 0..2 {
            let reply = client.call("/old.v1.Shop/Get", &[], b"x").await;
            assert_eq!((reply.status, reply.grpc_status()), (200, Some("5")), "{reply:?}");
            assert_eq!(reply.headers["grpc-message"], "it is gone: d%C3%A9j%C3%A0 vu");
            assert_eq!(reply.headers["x-by"], "ringway");
        }
        for version in VERSIONS {
            let mut caller = Caller::connect(version, address).await;
            let line = "POST /old.v1.Shop/Get";
            let web =
                caller.ask(line, &[("content-type", "application/grpc-web+proto")], &message(0, b"")).await;
            let text = String::from_utf8_lossy(&web.body);
            assert!(
                text.contains("grpc-status: 5\r\n") && text.contains("grpc-message: it is gone"),
                "{text}"
            );
            assert_eq!(web.field("content-type"), Some("application/grpc-web+proto"));
            let connect = caller.ask(line, &[("content-type", "application/proto")], b"").await;
            assert_eq!(
                (connect.status, connect.json()["code"].as_str()),
                (404, Some("not_found")),
                "{connect:?}"
            );
            assert_eq!(connect.json()["message"], "it is gone: déjà vu");
            let json = caller.ask(line, &[JSON], b"{}").await;
            assert_eq!((json.status, json.json()["code"].as_u64()), (410, Some(5)), "{json:?}");
            assert_eq!(
                (json.json()["message"].as_str(), json.field("x-by")),
                (Some("it is gone: déjà vu"), Some("ringway"))
            );
            let page = caller.ask("GET /healthz?x=1", &[], b"").await;
            assert_eq!(
                (page.status, page.text(), page.field("content-type")),
                (200, "ok", Some("text/plain"))
            );
            let other = caller.ask("GET /healthz/x", &[], b"").await;
            assert_eq!(other.status, 404, "{other:?}");
        }
        assert_eq!(service.count(), 0, "no service was asked");
        let page = gateway.metrics();
        let of_route = |line: &&str| {
            line.starts_with("ringway_calls_total") && line.contains("route=\"service:old.v1.Shop\"")
        };
        assert!(page.lines().any(|line| of_route(&line) && line.contains("NOT_FOUND")), "{page}");
    }
}

#[tokio::test]
async fn callers_of_plain_http_are_sent_elsewhere() {
    let routes = "[[routes]]\nmatch = { path_separated_prefix = \"/docs\" }\n\
                  redirect = { response_code = \"FOUND\", scheme_redirect = \"https\", host_redirect = \"docs.example.com:8443\", prefix_rewrite = \"/\" }\n\
                  [[routes]]\nmatch = { path = \"/help\" }\nredirect = { path_redirect = \"/docs/help\", strip_query = true }\n\
                  [[routes]]\nmatch = { prefix = \"/v1/\" }\n\
                  redirect = { response_code = \"PERMANENT_REDIRECT\", regex_rewrite = { pattern = \"^/v1/([a-z]+)\", substitution = '/v2/\\1s' } }\n";
    for backend in BACKENDS {
        let service = service().await;
        let (_gateway, address) = before(&service, backend, routes, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, address).await;
            let host = if version == Version::Http1 { "http://ringway" } else { "http://ringway.test" };
            for (line, status, wanted) in [
                ("GET /docs/a/b?x=1", 302, "https://docs.example.com:8443/a/b?x=1"),
                ("GET /docs", 302, "https://docs.example.com:8443/"),
                ("GET /help?x=1", 301, &*format!("{host}/docs/help")),
                ("POST /v1/book/7", 308, &*format!("{host}/v2/books/7")),
            ] {
                let answer = caller.ask(line, &[], b"").await;
                assert_eq!(
                    (answer.status, answer.field("location")),
                    (status, Some(wanted)),
                    "{line}: {answer:?}"
                );
            }
        }
        let reply = RawClient::connect(address).await.call("/v1/book", &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("12"), "{reply:?}");
        assert_eq!(service.count(), 0);
    }
}

#[tokio::test]
async fn services_get_other_paths() {
    let routes = [
        marked(
            "service",
            "service = \"old.v1.Shop\"",
            "prefix_rewrite = \"/new.v2.Shop/\"\nhost_rewrite_literal = \"shop.internal\"",
        ),
        marked(
            "regex",
            "prefix = \"/v1.\"",
            "regex_rewrite = { pattern = '^/v1\\.(\\w+)/', substitution = '/v2.\\1/' }",
        ),
        marked("bad", "prefix = \"/bad.\"", "regex_rewrite = { pattern = '^/', substitution = '' }"),
    ];
    for backend in BACKENDS {
        let service = service().await;
        let (_gateway, address) = before(&service, backend, &routes.concat(), "");
        let mut client = RawClient::connect(address).await;
        for (path, wanted, authority) in [
            ("/old.v1.Shop/Get", "/new.v2.Shop/Get", "shop.internal"),
            ("/old.v1.Shop/Get?a=/old", "/new.v2.Shop/Get?a=/old", "shop.internal"),
            ("/v1.Shop/Get", "/v2.Shop/Get", "ringway.test"),
            ("/v3.Shop/Get", "/v3.Shop/Get", "ringway.test"),
        ]
        .repeat(2)
        {
            let reply = client.call(path, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{path}: {reply:?}");
            let asked = service.asked().pop().expect("it was asked");
            assert_eq!((&*asked.path, &*asked.authority), (wanted, authority), "{path}");
        }
        let count = service.count();
        assert_eq!(
            client.call("/bad.Shop/Get", &[], b"").await.grpc_status(),
            Some("12"),
            "it is no path any more"
        );
        assert_eq!(service.count(), count);
    }
}

#[tokio::test]
async fn a_path_of_json_is_rewritten_before_it_means_a_method() {
    let library = Library::start();
    let routes = "[[routes]]\nname = \"api\"\nmatch = { path_separated_prefix = \"/api\" }\nprefix_rewrite = \"/\"\ncluster = \"interop\"\n";
    let change = |config: GatewayBuilder| config.routes_before(routes);
    let front = front_with(library.address(), "epoll", Source::DescriptorSet, "", change);
    for version in VERSIONS {
        let mut caller = Caller::connect(version, front.address).await;
        for line in ["POST /api/v1/shelves/a/books", "POST /v1/shelves/a/books"] {
            let answer = caller.ask(line, &[JSON], br#"{"title": "x"}"#).await;
            assert_eq!(answer.status, 200, "{line}: {answer:?}");
        }
        let answer = caller.ask("POST /ap/v1/shelves/a/books", &[JSON], b"{}").await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    let mut admin = Http1::connect(front.gateway.admin()).await;
    for (explain, means, route) in [
        ("/v1/shelves/a/books&method=POST", Some("/test.web.v1.Library/Create"), Some("prefix:/")),
        ("/api/v1/shelves/a/books&method=POST", None, Some("api")),
        ("/v1/nothing&method=GET", Some("no method is mapped to this path"), None),
        ("/test.web.v1.Library/Create", None, Some("prefix:/")),
    ] {
        let page = admin.ask(&format!("GET /routes?format=json&explain={explain}"), &[], b"").await.json();
        assert_eq!(
            (page["means"].as_str(), page["taken_by"]["name"].as_str()),
            (means, route),
            "{explain}: {page}"
        );
    }
    let page = front.gateway.metrics();
    let of_api = |line: &&str| line.starts_with("ringway_calls_total") && line.contains("route=\"api\"");
    assert!(page.lines().any(|line| of_api(&line) && line.ends_with(" 2")), "{page}");
}

/// Of JSON, too, pseudo-fields are those of the request, and not of the call that it becomes.
#[tokio::test]
async fn a_route_asks_for_the_request_of_json_as_it_came() {
    let library = Library::start();
    let routes = [
        ("get", "name = \":method\", exact = \"GET\""),
        ("path", "name = \":path\", prefix = \"/v1/shelves/b/\""),
        ("port", "name = \":authority\", suffix = \".test:8443\""),
    ];
    let routes = routes.map(|(name, matcher)| {
        format!("[[routes]]\nname = \"{name}\"\nmatch.header_matchers = [{{ {matcher} }}]\ncluster = \"interop\"\n")
    });
    let change = |config: GatewayBuilder| config.routes_before(&routes.concat());
    let front = front_with(library.address(), "epoll", Source::DescriptorSet, "", change);
    let mut admin = Http1::connect(front.gateway.admin()).await;
    for version in VERSIONS {
        let mut caller = Caller::connect(version, front.address).await;
        for (line, host, wanted) in [
            ("POST /v1/shelves/a/books", "ringway.test", "prefix:/"),
            ("POST /v1/shelves/b/books", "ringway.test", "path"),
            ("GET /v1/shelves/b/books/c", "ringway.test", "get"),
            ("POST /v1/shelves/a/books", "ringway.test:8443", "port"),
        ] {
            let before = calls_of(&front.gateway, wanted);
            ask_at(&mut caller, host, line).await;
            assert_eq!(calls_of(&front.gateway, wanted), before + 1, "{line} at {host} by {version:?}");
            let (method, path) = line.split_once(' ').expect("a method and a path");
            let explain = format!("GET /routes?format=json&explain={path}&method={method}&host={host}");
            let page = admin.ask(&explain, &[], b"").await.json();
            assert_eq!(page["taken_by"]["name"], wanted, "{page}");
        }
    }
}

/// Asks with this authority, and waits for the answer.
async fn ask_at(caller: &mut Caller, host: &str, line: &str) {
    let body = if line.starts_with("GET") { "" } else { "{\"title\": \"x\"}" };
    match caller {
        Caller::Http1(client) => {
            let length = body.len();
            let fields = format!("host: {host}\r\n{}: {}\r\ncontent-length: {length}", JSON.0, JSON.1);
            client.say(format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n{body}")).await;
            client.answer().await;
        }
        Caller::Http2(client) => {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            let request = http::Request::builder().method(method).uri(format!("http://{host}{path}"));
            let request = request.header(JSON.0, JSON.1).body(()).expect("it is a request");
            let mut call = client.send(request, body.is_empty()).await;
            if !body.is_empty() {
                call.send(Bytes::from_static(body.as_bytes()), true);
            }
            answer(call).await;
        }
    }
}

/// How many calls a route has counted.
fn calls_of(gateway: &Gateway, route: &str) -> u64 {
    let label = format!("route=\"{route}\"");
    let page = gateway.metrics();
    let lines = page.lines().filter(|line| line.starts_with("ringway_calls_total{") && line.contains(&label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_route_has_its_own_retry_policy() {
    let quick = "[clusters.retry]\ninitial_backoff = \"1ms\"\n[clusters.breaker]\nenabled = false\n\
                 [clusters.outlier_detection]\nenabled = false\n";
    let routes = [
        marked("never", "service = \"never.v1.Shop\"", "retry.enabled = false"),
        marked(
            "other",
            "service = \"other.v1.Shop\"",
            "retry = { max_attempts = 5, initial_backoff = \"1ms\", retryable_status_codes = [\"ABORTED\"] }",
        ),
    ];
    for backend in BACKENDS {
        let service = Service::start(|_, headers| match headers["x-status"].to_str() {
            Ok(status) => Act::Status(status.parse().expect("a code"), None),
            Err(_) => Act::Answer,
        })
        .await;
        let (_gateway, address) = before(&service, backend, &routes.concat(), quick);
        let mut client = RawClient::connect(address).await;
        for (path, status, wanted) in [
            ("/a.v1.Shop/Get", "14", 3),
            ("/a.v1.Shop/Get", "10", 1),
            ("/never.v1.Shop/Get", "14", 1),
            ("/other.v1.Shop/Get", "14", 1),
            ("/other.v1.Shop/Get", "10", 5),
        ] {
            let before = service.count();
            let reply = client.call(path, &[("x-status", status)], b"").await;
            assert_eq!(reply.grpc_status(), Some(status));
            assert_eq!(service.count() - before, wanted, "{path} {status} on {backend}");
        }
    }
}

#[tokio::test]
async fn a_route_has_its_own_hedging() {
    let method = format!(
        "[[clusters.methods]]\npath = \"{EMPTY_CALL}\"\nidempotent = true\nhedging = {{ hedging_delay = \"1ms\" }}\n"
    );
    for (route, hedges) in [
        ("", 1),
        ("hedging.enabled = false", 0),
        ("hedging = { max_attempts = 3, hedging_delay = \"1ms\" }", 2),
    ] {
        let act = |at, _: &http::HeaderMap| {
            if at < 2 { Act::AnswerAfter(std::time::Duration::from_millis(300)) } else { Act::Answer }
        };
        let service = Service::start(act).await;
        let (gateway, address) = routed(&service, "epoll", route, &method);
        let reply = RawClient::connect(address).await.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("0"));
        assert_eq!(metric(&gateway, "ringway_upstream_hedges_total"), hedges, "{route}");
    }
}

#[tokio::test]
async fn a_route_has_its_own_breaker() {
    let policies = "[clusters.retry]\nmax_attempts = 1\n[clusters.breaker]\nmin_requests = 5\ntimeout = \"1h\"\n\
                    [clusters.outlier_detection]\nenabled = false\n";
    let routes = [
        marked("off", "service = \"off.v1.Shop\"", "breaker.enabled = false"),
        marked("own", "service = \"own.v1.Shop\"", "breaker = { min_requests = 8, timeout = \"1h\" }"),
    ];
    let service = Service::start(|_, _| Act::Status(14, None)).await;
    let (gateway, address) = before(&service, "epoll", &routes.concat(), policies);
    let mut client = RawClient::connect(address).await;
    for (path, reached) in
        [("/off.v1.Shop/Get", 20), ("/own.v1.Shop/Get", 8), ("/a.v1.Shop/Get", 5), ("/off.v1.Shop/Get", 20)]
    {
        let before = service.count();
        for _ in 0..20 {
            assert_eq!(client.call(path, &[], b"").await.grpc_status(), Some("14"));
        }
        assert_eq!(service.count() - before, reached, "{path}");
    }
    let page = gateway.metrics();
    let opened = |labels: &str| page.contains(&format!("ringway_breaker_opens_total{{{labels}}} 1\n"));
    assert!(
        opened("cluster=\"interop\",method=\"\"") && opened("cluster=\"interop\",method=\"\",route=\"own\""),
        "{page}"
    );
}

/// A route whose calls are copied, and the mirror's cluster.
fn mirrored(mirror: SocketAddr) -> (&'static str, String) {
    (
        "[[routes.request_mirror_policies]]\ncluster = \"mirror\"\nmax_buffered_bytes = \"64KiB\"\n",
        format!("[[clusters]]\nname = \"mirror\"\nendpoints = [\"{mirror}\"]\n"),
    )
}

#[tokio::test]
async fn streams_are_copied_as_they_come() {
    for backend in BACKENDS {
        let (service, mirror) = (service().await, service().await);
        let (route, tables) = mirrored(mirror.address());
        let (gateway, address) = routed(&service, backend, route, &tables);
        let mut client = RawClient::connect(address).await;
        let mut call = client.open(EMPTY_CALL, &[("x-mine", "1")]).await;
        let mut sent = 0;
        for length in [0, 1000, 5000, 20_000] {
            let frame = message(0, &vec![7; length]);
            sent += frame.len();
            call.send(frame, false);
            for side in [&service, &mirror] {
                side.wait_until("what was sent", |all| all.first().is_some_and(|it| it.bytes == sent)).await;
            }
        }
        call.send(Bytes::new(), true);
        assert_eq!(call.reply().await.grpc_status(), Some("0"));
        let copied = mirror.wait_until("the end", |all| all[0].whole).await;
        assert_eq!(
            (copied[0].bytes, copied[0].header("x-mine"), &*copied[0].authority),
            (sent, Some("1"), "ringway.test-shadow")
        );
        // A call that its client gives up is given up at the mirror, too.
        let mut call = client.open(EMPTY_CALL, &[]).await;
        call.send(message(0, b"x"), false);
        mirror.wait_until("the second copy", |all| all.len() == 2 && all[1].bytes > 0).await;
        call.reset(h2::Reason::CANCEL);
        mirror.wait_until("its end", |all| all[1].cancelled_at.is_some()).await;
        metric_becomes(&gateway, "ringway_upstream_calls_active", 0).await;
        let counts = ["mirrored", "mirrors_failed", "mirrors_dropped"];
        let counts = counts.map(|name| metric(&gateway, &format!("ringway_{name}_total")));
        assert_eq!(counts, [2, 0, 0], "{backend}");
    }
}

/// A mirror that reads nothing is given up, and the call goes on as if there were none.
#[tokio::test]
async fn a_mirror_that_is_too_slow_gets_no_more() {
    const PIECE: usize = 16_000;
    const PIECES: usize = 40;
    let deaf = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    for backend in BACKENDS {
        let service = service().await;
        let (route, tables) = mirrored(deaf.local_addr().expect("it is bound"));
        let (gateway, address) = routed(&service, backend, route, &tables);
        let mut client = RawClient::connect(address).await;
        let mut call = client.open(EMPTY_CALL, &[]).await;
        for _ in 0..PIECES {
            call.send(message(0, &[7; PIECE]), false);
        }
        call.send(Bytes::new(), true);
        assert_eq!(call.reply().await.grpc_status(), Some("0"));
        assert_eq!(service.asked()[0].bytes, PIECES * (PIECE + 5), "{backend}");
        metric_becomes(&gateway, "ringway_mirrors_dropped_total", 1).await;
        assert_eq!(metric(&gateway, "ringway_mirrors_failed_total"), 0);
    }
}
