//! Incidents in the log of the program, and the lines of calls that fail, as an operator reads them.

use crate::support::gateway::gateway_config;
use crate::support::http1::Http1;
use crate::support::pki::Folder;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that answers whatever comes with these bytes, and ends the connection.
async fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut preface = [0; 24];
            let _ = stream.read_exact(&mut preface).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

fn refusing() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

#[tokio::test]
async fn the_log_says_why_an_endpoint_cannot_be_connected_to() {
    const ALERT: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";
    let http1: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    for backend in ["io_uring", "epoll"] {
        for (endpoint, reason) in [
            (refusing(), "refused: nothing listens there"),
            (answering(ALERT).await, "it answered in TLS"),
            (answering(http1).await, "it answered in HTTP/1"),
            (answering(b"").await, "closed before it answered"),
        ] {
            let mut process = Process::start(&gateway_config(&[endpoint], backend, "")).await;
            let reply = RawClient::connect(process.listener).await.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("14"), "{reply:?}");
            let line = process.says("the endpoint cannot be connected to").await;
            assert!(line.contains(reason) && line.contains(&endpoint.to_string()), "{line}");
            let page: Value = {
                let answer = process.page("/clusters?format=json").await;
                let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
                serde_json::from_str(body).expect("JSON")
            };
            let seen = &page["clusters"][0]["endpoints"][0];
            assert!(seen["last_error"].as_str().is_some_and(|error| error.contains(reason)), "{seen}");
            assert!(seen["last_error_ago_s"].as_u64().is_some_and(|ago| ago < 60), "{seen}");
        }
    }
}

/// With no word of configuration about it.
#[tokio::test]
async fn a_call_that_fails_has_a_line_on_standard_error_and_a_flood_of_them_has_few() {
    let mut process = Process::start(&gateway_config(&[refusing()], "io_uring", "")).await;
    let mut client = RawClient::connect(process.listener).await;
    client.call(EMPTY_CALL, &[("user-agent", "a-test/1"), ("x-request-id", "id-7")], b"").await;
    let line = process.says("\"grpc_status\":\"UNAVAILABLE\"").await;
    let line: Value = serde_json::from_str(&line).expect("it is JSON");
    for (key, wanted) in [
        ("path", EMPTY_CALL),
        ("grpc_method", EMPTY_CALL),
        ("protocol", "grpc"),
        ("user_agent", "a-test/1"),
        ("request_id", "id-7"),
        ("flags", "UF"),
        ("cluster", "interop"),
    ] {
        assert_eq!(line[key], wanted, "{key}: {line}");
    }
    assert!(line["authority"].is_string(), "{line}");
    // No attempt had a connection, and nobody took the times.
    assert_eq!((&line["upstream"], &line["attempts"]), (&Value::Null, &0.into()), "{line}");
    assert!(
        line["took_us"].is_u64() && line["queue_us"].is_null() && line["upstream_us"].is_null(),
        "{line}"
    );
    for _ in 0..200 {
        client.call(EMPTY_CALL, &[], b"").await;
    }
    // Half of ten a second for each of two workers.
    let suppressed = process.metric("ringway_access_log_suppressed_total").await;
    assert!(suppressed > 0, "{suppressed}");
}

#[tokio::test]
async fn the_line_of_a_failed_call_has_the_endpoint_and_the_number_of_attempts() {
    for backend in ["io_uring", "epoll"] {
        let service = Service::start(|_, _| Act::Status(14, None)).await;
        let retry = "[clusters.retry]\nmax_attempts = 2\ninitial_backoff = \"1ms\"\n";
        let mut process = Process::start(&gateway_config(&[service.address()], backend, retry)).await;
        let mut client = RawClient::connect(process.listener).await;
        client.call(EMPTY_CALL, &[], b"").await;
        let line = process.says("\"grpc_status\":\"UNAVAILABLE\"").await;
        let line: Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(line["upstream"], service.address().to_string(), "{backend}: {line}");
        assert_eq!(line["attempts"], 2, "{backend}: {line}");
    }
}

/// A request that is translated has another method and path by its end.
#[tokio::test]
async fn the_line_of_a_call_in_json_has_what_the_caller_sent() {
    const PROTO: &str = "syntax = \"proto3\"; package a; import \"google/api/annotations.proto\";\n\
        message Q { string name = 1; }\n\
        service A { rpc Get(Q) returns (Q) { option (google.api.http) = { get: \"/v1/{name}\" }; } }\n";
    let folder = Folder::new("incidents");
    let proto = folder.write("a.proto", PROTO);
    let extra = format!("[transcoding]\nprotos = [{proto:?}]\n");
    let mut process = Process::start(&gateway_config(&[refusing()], "io_uring", &extra)).await;
    let answer = Http1::connect(process.listener).await.ask("GET /v1/x", &[], b"").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let line = process.says("\"grpc_status\":\"UNAVAILABLE\"").await;
    let line: Value = serde_json::from_str(&line).expect("it is JSON");
    for (key, wanted) in [
        ("protocol", "json"),
        ("method", "GET"),
        ("path", "/v1/x"),
        ("grpc_method", "/a.A/Get"),
        ("http_route", "/v1/{name}"),
        ("flags", "UF"),
    ] {
        assert_eq!(line[key], wanted, "{key}: {line}");
    }
}

#[tokio::test]
async fn the_log_says_what_opened_a_breaker_and_that_calls_fail() {
    let service = Service::start(|_, _| Act::Status(14, None)).await;
    let retry = "[clusters.retry]\nmax_attempts = 1\n";
    let breaker = "[clusters.breaker]\ntimeout = \"30s\"\n";
    let config = gateway_config(&[service.address()], "epoll", &format!("{retry}{breaker}"));
    let mut process = Process::start(&config).await;
    let mut client = RawClient::connect(process.listener).await;
    for _ in 0..60 {
        client.call(EMPTY_CALL, &[], b"").await;
    }
    let line = process.says("the breaker has opened").await;
    for part in ["cluster=\"interop\"", "calls failed", "UNAVAILABLE", "probes_in=30s"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let share = "100 % of the calls to interop fail";
    if !process.has_said(share) {
        process.says(share).await;
    }
}
