//! Operators' views and orders: the admin address of a gateway that works, and its access log.
#![allow(clippy::disallowed_methods, reason = "a test measures how long an answer takes")]

use crate::support::gateway::{self, BACKENDS, GatewayBuilder, gateway_config, metric, metric_becomes};
use crate::support::interop_server::InteropServer;
use crate::support::library::{Library, Source, front};
use crate::support::process::Process;
use crate::support::raw::RawClient;
use crate::support::raw_server::{INTERNAL_ERROR, REFUSED_STREAM, RawServer, Stage, Step};
use crate::support::service::{Act, Service};
use crate::support::web::{Caller, JSON, VERSIONS, Version};
use ringway::supervisor::Gateway;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const EMPTY_CALL: &str = "/grpc.testing.TestService/EmptyCall";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A file that is there until the value is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("ringway-{}-{name}.log", std::process::id())))
    }

    fn lines(&self) -> Vec<Value> {
        lines(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the gateway made it");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// A gateway with one worker that writes an access log with these settings.
fn logging(server: SocketAddr, backend: &str, log: &Scratch, settings: &str) -> Gateway {
    let table = format!("[access_log]\npath = {:?}\n{settings}\n", log.0);
    GatewayBuilder::new(&[server], backend).set("workers", 1).extra(&table).start()
}

/// The body of an answer of the admin address.
fn admin(gateway: &Gateway, method: &str, path: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(gateway.admin()).expect("it listens"));
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes its options");
    write!(stream.get_mut(), "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .expect("it reads");
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).expect("it answers");
    }
    let mut body = String::new();
    stream.read_to_string(&mut body).expect("it is text");
    body
}

fn admin_json(gateway: &Gateway, path: &str) -> Value {
    let body = admin(gateway, "GET", path);
    serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"))
}

#[tokio::test]
async fn each_call_gets_a_line_that_says_how_it_went() {
    for backend in BACKENDS {
        let log = Scratch::new(&format!("each-{backend}"));
        let steps =
            [Step::Answer, Step::Reset(Stage::Nothing, REFUSED_STREAM), Step::Answer, Step::Status(5, "no")];
        let server =
            RawServer::start(&[&steps[..], &[Step::Reset(Stage::Message, INTERNAL_ERROR)]].concat()).await;
        let gateway = logging(server.address(), backend, &log, "sample = 1.0");
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        client.call(EMPTY_CALL, &[("traceparent", TRACE)], b"four").await;
        for _ in 0..3 {
            client.call(EMPTY_CALL, &[], b"").await;
        }
        client.call("/a/b/c", &[], b"").await;
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        drop(gateway);

        let lines = log.lines();
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                let text = |key: &str| line[key].as_str().unwrap_or("none").to_owned();
                (text("grpc_status"), text("flags"), line["attempts"].as_u64().unwrap(), text("cluster"))
            })
            .collect();
        let told: Vec<_> = told
            .iter()
            .map(|(status, flags, attempts, cluster)| (&**status, &**flags, *attempts, &**cluster))
            .collect();
        let wanted = [
            ("OK", "-", 1, "interop"),
            ("OK", "-", 2, "interop"),
            ("NOT_FOUND", "-", 1, "interop"),
            ("INTERNAL", "UR", 1, "interop"),
            ("UNIMPLEMENTED", "DPE", 0, "none"),
        ];
        assert_eq!(told, wanted, "{backend}");

        let first = &lines[0];
        assert_eq!(first["path"], EMPTY_CALL);
        assert_eq!(first["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(first["upstream"], server.address().to_string());
        assert_eq!(
            (first["bytes_received"].as_u64(), first["bytes_sent"].as_u64()),
            (Some(9), Some(5)),
            "{first}"
        );
        assert!(first["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{first}");
        let stages =
            ["routed_us", "connected_us", "answered_us", "took_us"].map(|key| first[key].as_u64().unwrap());
        assert!(stages.is_sorted() && stages[3] < 10_000_000, "{first}");
        let time = first["time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{first}");
        assert_eq!(lines[4]["routed_us"], Value::Null);
    }
}

#[tokio::test]
async fn a_share_of_good_calls_gets_a_line_and_every_error() {
    const CALLS: usize = 1000;
    let server = InteropServer::start();
    for (settings, good, bad) in [
        ("sample = 0.0", 0..=0, 20),
        ("sample = 0.0\nerrors = false", 0..=0, 0),
        // Five standard deviations.
        ("sample = 0.5", CALLS / 2 - 80..=CALLS / 2 + 80, 20),
    ] {
        let log = Scratch::new("share");
        let gateway = logging(server.address(), "epoll", &log, settings);
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        for number in 0..CALLS + 20 {
            let path = if number < CALLS { EMPTY_CALL } else { "/no.Such/Call" };
            client.call(path, &[], b"").await;
        }
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        assert_eq!(metric(&gateway, "ringway_access_log_dropped_total"), 0);
        drop(gateway);
        // A log that no call gets a line in has no file.
        let lines = if log.0.exists() { log.lines() } else { Vec::new() };
        let (ok, failed): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line["grpc_status"] == "OK");
        assert!(good.contains(&ok.len()) && failed.len() == bad, "{settings}: {} {}", ok.len(), failed.len());
    }
}

#[tokio::test]
async fn a_log_that_was_moved_away_begins_anew() {
    let (log, old) = (Scratch::new("moved"), Scratch::new("moved-away"));
    let server = InteropServer::start();
    let gateway = logging(server.address(), "epoll", &log, "sample = 1");
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    client.call(EMPTY_CALL, &[], b"").await;
    metric_becomes(&gateway, "ringway_access_log_lines_total", 1).await;
    std::fs::rename(&log.0, &old.0).expect("both are in one folder");
    gateway.reopen_access_log();
    client.call(EMPTY_CALL, &[], b"").await;
    metric_becomes(&gateway, "ringway_access_log_lines_total", 2).await;
    assert_eq!((old.lines().len(), log.lines().len()), (1, 1));
}

/// Method: the log is a pipe that someone has opened and does not read. Calls go on as fast as ever; lines that find
/// no room are counted, and what was counted, written and waits adds up to the calls.
#[tokio::test]
async fn a_log_that_nobody_reads_delays_no_call() {
    const CALLS: u64 = 6_000;
    let log = Scratch::new("pipe");
    assert!(Command::new("mkfifo").arg(&log.0).status().expect("mkfifo is there").success());
    // Opened for both, so that neither side waits for the other.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&log.0).expect("it was made");
    let server = InteropServer::start();
    let gateway = logging(server.address(), "epoll", &log, "sample = 1.0");
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..CALLS {
        let begun = Instant::now();
        client.call(EMPTY_CALL, &[], b"").await;
        slowest = slowest.max(begun.elapsed());
    }
    let dropped = metric(&gateway, "ringway_access_log_dropped_total");
    let written = metric(&gateway, "ringway_access_log_lines_total");
    println!("{dropped} dropped, {written} written, the slowest call took {slowest:?}");
    assert!(dropped > 0 && written < CALLS - 4096, "{dropped} dropped, {written} written");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(metric(&gateway, "ringway_access_log_failed_total"), 0);

    // Now somebody reads: what had waited comes, and nothing else is missing.
    let rest = CALLS - dropped;
    let read =
        tokio::task::spawn_blocking(move || BufReader::new(reader).lines().take(rest as usize).count());
    let read =
        crate::support::within(Duration::from_secs(10), "all lines come", read).await.expect("no panic");
    assert_eq!(read as u64, rest);
    metric_becomes(&gateway, "ringway_access_log_lines_total", rest).await;
    assert_eq!(metric(&gateway, "ringway_access_log_dropped_total"), dropped);
}

/// The fields of a line about the request and its answer: as the client saw them.
fn told(line: &Value) -> (String, [u64; 3]) {
    let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("{key}: {line}")).to_owned();
    let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key}: {line}"));
    let words = ["protocol", "method", "version", "grpc_status"].map(text).join(" ");
    (words, ["http_status", "bytes_received", "bytes_sent"].map(number))
}

type Fields<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn a_line_says_what_the_client_saw_in_every_language() {
    const WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");
    for (backend, version) in BACKENDS.into_iter().zip(VERSIONS) {
        let log = Scratch::new(&format!("languages-{backend}"));
        let library = Library::start();
        let tables = format!("[access_log]\npath = {:?}\nsample = 1.0\n", log.0);
        let front = front(&library, backend, Source::DescriptorSet, &tables);
        let mut caller = Caller::connect(version, front.address).await;
        let body = br#"{"id": "7", "tags": ["x"], "pages": "12"}"#;
        let asked: [(&str, Fields<'_>, &[u8]); 4] = [
            ("POST /v1/shelves/a/books", &[JSON], body),
            ("POST /v1/shelves/a/books", &[JSON], b"{nonsense"),
            ("GET /v1/nothing/here", &[], b""),
            ("POST /test.web.v1.Library/Plain", &[WEB], b"\0\0\0\0\0"),
        ];
        let mut sent = Vec::new();
        for (line, fields, body) in asked {
            sent.push(caller.ask(line, fields, body).await.body.len() as u64);
        }
        metric_becomes(&front.gateway, "ringway_access_log_lines_total", 4).await;
        let http = if version == Version::Http1 { "1.1" } else { "2" };
        let wanted = [
            (format!("json POST {http} OK"), [200, body.len() as u64, sent[0]]),
            (format!("json POST {http} INVALID_ARGUMENT"), [400, 9, sent[1]]),
            (format!("json GET {http} NOT_FOUND"), [404, 0, sent[2]]),
            (format!("grpc-web POST {http} OK"), [200, 5, sent[3]]),
        ];
        let lines = log.lines();
        assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), wanted, "{backend}");
        assert!(lines[0]["transcode_us"].as_u64() > Some(0), "{}", lines[0]);
        // The method that a request in JSON means, and the rule that says so.
        assert_eq!(lines[0]["http_route"], "/v1/{name=shelves/*}/books", "{}", lines[0]);
        for (line, method) in [(0, "/test.web.v1.Library/Create"), (3, "/test.web.v1.Library/Plain")] {
            assert_eq!(lines[line]["grpc_method"], method, "{}", lines[line]);
        }
        assert_eq!(lines[2]["grpc_method"], Value::Null, "{}", lines[2]);
        assert!(lines.iter().all(|line| line["authority"].is_string()), "{lines:?}");
        for line in &lines {
            let stages = ["queue", "connect", "receive", "upstream", "transcode", "write"];
            let sum: u64 = stages.iter().map(|stage| line[format!("{stage}_us")].as_u64().unwrap()).sum();
            // Each stage is rounded down to a microsecond.
            assert!(line["took_us"].as_u64().unwrap().abs_diff(sum) <= 6, "{line}");
        }
    }
}

/// A body that is sent again was received once.
#[tokio::test]
async fn a_line_counts_a_body_once_however_often_it_is_sent() {
    let log = Scratch::new("once");
    // The service reads the whole body before it says that it cannot serve.
    let service = Service::start(|at, _| if at < 2 { Act::Status(14, None) } else { Act::Answer }).await;
    let gateway = logging(service.address(), "io_uring", &log, "sample = 1.0");
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    client.call(EMPTY_CALL, &[], b"four").await;
    metric_becomes(&gateway, "ringway_access_log_lines_total", 1).await;
    let line = log.lines().remove(0);
    assert_eq!((line["attempts"].as_u64(), line["bytes_received"].as_u64()), (Some(3), Some(9)), "{line}");
    // The waits before attempts are time in the queue, in which the service had nothing to do.
    let [queue, upstream] = ["queue_us", "upstream_us"].map(|key| line[key].as_u64().unwrap());
    assert!(queue > 100_000 && upstream < queue, "{line}");
}

#[tokio::test]
async fn the_admin_address_tells_what_runs() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = gateway::before(&[server.address()], backend, "");
        let mut client = RawClient::connect(address).await;
        for _ in 0..10 {
            client.call(EMPTY_CALL, &[], b"").await;
        }
        metric_becomes(&gateway, "ringway_endpoint_calls_total", 10).await;
        let clusters = admin_json(&gateway, "/clusters?format=json");
        let endpoint = &clusters["clusters"][0]["endpoints"][0];
        assert_eq!(endpoint["address"], server.address().to_string(), "{clusters}");
        assert_eq!((&endpoint["state"], &endpoint["calls"]), (&"connected".into(), &10.into()), "{clusters}");
        let workers = admin_json(&gateway, "/workers?format=json");
        let workers = workers["workers"].as_array().unwrap();
        assert_eq!(workers.len(), 2);
        assert_eq!(workers.iter().map(|worker| worker["calls"].as_u64().unwrap()).sum::<u64>(), 10);
        assert!(workers.iter().all(|worker| worker["backend"] == backend), "{workers:?}");
        let taken = admin_json(&gateway, "/routes?format=json&explain=/a.B/C");
        assert_eq!(taken["taken_by"]["name"], "prefix:/");

        assert!(!gateway.drain_wanted());
        assert_eq!(admin(&gateway, "POST", "/drain"), "draining: true\n");
        assert!(gateway.drain_wanted());
        assert_eq!(admin(&gateway, "GET", "/ready"), "draining\n");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_in_backoff() {
    let gone =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let (gateway, address) = gateway::before(
        &[gone],
        "epoll",
        "[clusters.reconnect]\ninitial_backoff = \"30s\"\nmax_backoff = \"30s\"",
    );
    RawClient::connect(address).await.call(EMPTY_CALL, &[], b"").await;
    metric_becomes(&gateway, "ringway_endpoint_connect_failures_total", 1).await;
    let clusters = admin_json(&gateway, "/clusters?format=json");
    let endpoint = &clusters["clusters"][0]["endpoints"][0];
    assert_eq!(
        (&endpoint["state"], &endpoint["workers_in_backoff"]),
        (&"backoff".into(), &1.into()),
        "{clusters}"
    );
    assert!(endpoint["retry_in_ms"].as_u64().unwrap() > 10_000, "{clusters}");
}

/// Nothing connects by itself, so the pause is over long before anybody tries again.
#[tokio::test]
async fn an_endpoint_that_refused_the_last_connect_has_failed() {
    let gone =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let (gateway, address) =
        gateway::before(&[gone], "epoll", "[clusters.reconnect]\ninitial_backoff = \"1ms\"");
    let clusters = || admin_json(&gateway, "/clusters?format=json")["clusters"][0]["endpoints"][0].take();
    assert_eq!(clusters()["state"], "idle");
    RawClient::connect(address).await.call(EMPTY_CALL, &[], b"").await;
    let failed = async { while clusters()["state"] != "failed" {} };
    crate::support::within(Duration::from_secs(20), "the endpoint has failed", failed).await;
    assert_eq!(clusters()["last_error"], "refused: nothing listens there");
}

#[tokio::test]
async fn an_outage_is_in_the_log_and_its_end_too() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let endpoint = server.address();
        let mut process = Process::start(&gateway_config(&[endpoint], backend, "")).await;
        let mut client = RawClient::connect(process.listener).await;
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
        drop(server);
        // The first may still meet the end of the connection of before.
        for _ in 0..2 {
            client.call(EMPTY_CALL, &[], b"").await;
        }
        let line = process.says("the endpoint cannot be connected to").await;
        assert!(line.contains(&endpoint.to_string()) && line.contains("cluster=\"interop\""), "{line}");

        let _server = InteropServer::start_at(endpoint);
        let back = async { while client.call(EMPTY_CALL, &[], b"").await.grpc_status() != Some("0") {} };
        crate::support::within(Duration::from_secs(30), "a call that is answered", back).await;
        process.says("the endpoint is connected again").await;
    }
}

/// Method: both workers are kept busy by clients that call without pause while pages are asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_come_while_the_workers_are_busy() {
    let server = InteropServer::start();
    let (gateway, address) = gateway::before(&[server.address()], "epoll", "");
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        clients.spawn(async move {
            let mut client = RawClient::connect(address).await;
            loop {
                client.call(EMPTY_CALL, &[], b"").await;
            }
        });
    }
    metric_becomes(&gateway, "ringway_connections_active", 8).await;
    let asked = tokio::task::spawn_blocking(move || {
        let mut took = Vec::new();
        for _ in 0..20 {
            for path in ["/ready", "/workers", "/clusters", "/routes", "/metrics", "/history"] {
                let begun = Instant::now();
                admin(&gateway, "GET", path);
                took.push(begun.elapsed());
            }
        }
        took.sort();
        (took, gateway)
    });
    let (took, gateway) = asked.await.expect("it does not panic");
    println!("median {:?}, slowest {:?}", took[took.len() / 2], took[took.len() - 1]);
    // Ten milliseconds where there is a core for it; here tests share the cores with each other.
    assert!(took[took.len() / 2] < Duration::from_millis(100), "{took:?}");
    clients.shutdown().await;
    drop(gateway);
}

#[tokio::test]
async fn fields_for_traces_and_timings_reach_the_service() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (_gateway, address) = gateway::before(&[server.address()], backend, "");
        let fields = [("traceparent", TRACE), ("tracestate", "a=1,b=2"), ("server-timing", "db;dur=53")];
        let reply = RawClient::connect(address).await.call(EMPTY_CALL, &fields, b"").await;
        assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
        let calls = server.calls();
        for (name, value) in fields {
            assert_eq!(calls[0].headers[name], value, "{backend}, {name}");
        }
    }
}

#[tokio::test]
async fn no_path_of_a_client_makes_a_series() {
    let server = InteropServer::start();
    let (gateway, address) = gateway::before(&[server.address()], "epoll", "");
    let mut client = RawClient::connect(address).await;
    client.call(EMPTY_CALL, &[], b"").await;
    client.call("/no.Such/Call", &[], b"").await;
    metric_becomes(&gateway, "ringway_endpoint_calls_total", 2).await;
    let series = || gateway.metrics().lines().filter(|line| !line.starts_with('#')).count();
    let before = series();
    for number in 0..300 {
        let host = format!("host-{number}.example");
        client.call(&format!("/service{number}.A/Method{number}"), &[("x-host", &host)], b"").await;
    }
    metric_becomes(&gateway, "ringway_endpoint_calls_total", 302).await;
    assert_eq!(series(), before);
    assert!(!gateway.metrics().contains("Method299"));
}
