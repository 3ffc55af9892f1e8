//! The page of metrics over HTTP: its formats, its labels, and what a service level can be read from.

use crate::support::collector::Collector;
use crate::support::gateway::{GatewayBuilder, gateway_config, metric, metric_becomes, start};
use crate::support::http1::{Http1, Http1Answer};
use crate::support::interop_server::InteropServer;
use crate::support::library::{Library, Source, front};
use crate::support::raw::{EMPTY_CALL, RawClient, message};
use crate::support::service::{Act, Service};
use crate::support::tools::tool;
use crate::support::web::{Caller, Version};
use flate2::read::GzDecoder;
use ringway::supervisor::Gateway;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

const STREAM: &str = "/grpc.testing.TestService/FullDuplexCall";
const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

async fn scrape(gateway: &Gateway, headers: &[(&str, &str)]) -> Http1Answer {
    let answer = Http1::connect(gateway.admin()).await.ask("GET /metrics", headers, b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The value of a series; zero where there is none.
fn value(page: &str, series: &str) -> f64 {
    let begin = format!("{series} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&begin));
    line.map_or(0.0, |value| value.split(' ').next().unwrap_or_default().parse().expect("a number"))
}

#[tokio::test]
async fn the_page_comes_in_the_format_and_coding_that_is_asked_for() {
    let server = InteropServer::start();
    let gateway = start(&gateway_config(&[server.address()], "io_uring", ""));
    let plain = scrape(&gateway, &[]).await;
    assert_eq!(plain.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(plain.text().contains("# TYPE ringway_turns_total counter\n"));
    assert!(plain.text().ends_with('\n') && !plain.text().contains("# EOF"));

    let open = scrape(&gateway, &[("accept", OPENMETRICS)]).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.field("content-type"), Some(content_type));
    assert!(open.text().contains("# TYPE ringway_turns counter\n"));
    assert!(open.text().ends_with("# EOF\n"));
    assert!(open.text().contains("\nprocess_cpu_seconds_total "), "the process is in it, too");

    let zipped = scrape(&gateway, &[("accept-encoding", "gzip")]).await;
    assert_eq!((zipped.field("content-encoding"), plain.field("content-encoding")), (Some("gzip"), None));
    let mut text = String::new();
    GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).expect("it is gzip");
    let names = |page: &str| page.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(names(&text), names(plain.text()));
    assert!(zipped.body.len() * 3 < text.len(), "{} of {}", zipped.body.len(), text.len());
}

/// Prometheus' own judgement, where its tool is installed.
#[tokio::test]
async fn prometheus_finds_no_fault_with_names_and_help_texts() {
    let Some(mut promtool) = tool("promtool") else { return };
    let server = InteropServer::start();
    let gateway = start(&gateway_config(&[server.address()], "epoll", "[clusters.outlier_detection]\n"));
    RawClient::connect(gateway.listeners()[0]).await.call(EMPTY_CALL, &[], b"").await;
    let page = scrape(&gateway, &[]).await;
    let child = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.stderr(Stdio::piped()).spawn().expect("it is installed");
    child.stdin.take().expect("it is a pipe").write_all(&page.body).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn calls_are_told_apart_by_protocol_and_streams_from_unary_calls() {
    let server = InteropServer::start();
    let config = GatewayBuilder::new(&[server.address()], "io_uring");
    let gateway = config.set_toml("listeners.cors.allow_origins", "[\"*\"]").start();
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    for _ in 0..3 {
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
    }
    // Two requests for a message each; nobody declares the method.
    let mut stream = client.open(STREAM, &[]).await;
    for end in [false, true] {
        // `response_parameters { size: 3 }`
        stream.send(message(0, &[0x12, 2, 8, 3]), end);
    }
    assert_eq!(stream.reply().await.grpc_status(), Some("0"));
    let mut web = Caller::connect(Version::Http1, gateway.listeners()[0]).await;
    let form = ("content-type", "application/grpc-web+proto");
    web.ask(&format!("POST {EMPTY_CALL}"), &[form], b"\0\0\0\0\0").await;
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "POST")];
    assert_eq!(web.ask(&format!("OPTIONS {EMPTY_CALL}"), &preflight, b"").await.status, 204);

    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    let page = gateway.metrics();
    let route = "route=\"prefix:/\",cluster=\"interop\"";
    for (series, wanted) in [
        (format!("ringway_calls_total{{{route},protocol=\"grpc\",grpc_status=\"OK\"}}"), 4.0),
        (format!("ringway_calls_total{{{route},protocol=\"grpc-web\",grpc_status=\"OK\"}}"), 1.0),
        (format!("ringway_call_duration_seconds_count{{{route},grpc_type=\"unary\"}}"), 4.0),
        (format!("ringway_call_duration_seconds_count{{{route},grpc_type=\"stream\"}}"), 1.0),
        // A preflight is no call, and no call without a route.
        ("ringway_calls_total{route=\"\",cluster=\"\",protocol=\"grpc\",grpc_status=\"OK\"}".to_owned(), 0.0),
        ("ringway_calls_total{route=\"\",cluster=\"\",protocol=\"json\",grpc_status=\"OK\"}".to_owned(), 0.0),
    ] {
        assert_eq!(value(&page, &series), wanted, "{series}\n{page}");
    }
    assert_eq!(metric(&gateway, "ringway_options_answered_total"), 1);
}

#[tokio::test]
async fn descriptors_tell_streams_from_unary_calls() {
    let library = Library::start();
    let front = front(&library, "epoll", Source::DescriptorSet, "");
    let mut caller = Caller::connect(Version::Http1, front.address).await;
    assert_eq!(caller.ask("GET /v1/shelves/a/books/b", &[], b"").await.status, 200);
    metric_becomes(&front.gateway, "ringway_calls_active", 0).await;
    let page = front.gateway.metrics();
    assert!(page.contains("protocol=\"json\",grpc_status=\"OK\"} 1\n"), "{page}");
    assert!(!page.contains("grpc_type=\"stream\""), "{page}");
}

/// Method: bounds of the operator's own, and answers that are known to take longer than one of them.
#[tokio::test]
async fn a_service_level_is_read_from_the_operators_bounds() {
    let service = Service::start(|at, _| match at {
        0..3 => Act::AnswerAfter(Duration::from_millis(60)),
        _ => Act::Answer,
    });
    let service = service.await;
    let collector = Collector::start().await;
    let config = gateway_config(&[service.address()], "io_uring", &collector.table("sample = 1.0"));
    let gateway = start(&format!("{config}\n[metrics]\nlatency_buckets = [\"50ms\", \"10s\"]\n"));
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    for _ in 0..10 {
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
    }
    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    let answer = scrape(&gateway, &[("accept", OPENMETRICS)]).await;
    let page = answer.text();
    let series =
        "ringway_call_duration_seconds_bucket{route=\"prefix:/\",cluster=\"interop\",grpc_type=\"unary\"";
    let bounds: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(series)).collect();
    let [fast, slow, all] = bounds[..] else { panic!("{bounds:?}") };
    // Those that are slow by order are; a busy machine may make others slow.
    let count = |line: &str| line.split(' ').nth(1).expect("a value").parse::<u32>().expect("a number");
    assert!(fast.starts_with(",le=\"0.05\"} ") && count(fast) <= 7, "{bounds:?}");
    assert_eq!((count(slow), count(all)), (10, 10), "{bounds:?}");
    // The last slow call is a trace that the collector has.
    let (_, exemplar) = slow.split_once("# {trace_id=\"").unwrap_or_else(|| panic!("no exemplar: {slow}"));
    let spans = collector.wait_for(20).await;
    assert!(spans.iter().any(|seen| seen.trace_id() == exemplar[..32]), "{exemplar}");
    assert_eq!(all.split(' ').count(), 2, "nothing took longer: {all}");
}
