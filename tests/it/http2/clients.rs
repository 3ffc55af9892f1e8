//! Clients that misbehave, and those beside them that notice nothing.

use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::interop_server::{Call, Ended, InteropServer};
use crate::support::raw::{self, PREFACE, RawCall, RawClient, RawReply};
use crate::support::within;
use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// HTTP method, path, header fields; the HTTP status and the gRPC status of the answer.
type Refused<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);

const EMPTY_CALL: &str = "/grpc.testing.TestService/EmptyCall";
const DUPLEX_CALL: &str = "/grpc.testing.TestService/FullDuplexCall";
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A gateway with one worker whose listener has these settings.
fn with_listener(
    server: &InteropServer,
    backend: &str,
    listener: &str,
    extra: &str,
) -> (Gateway, SocketAddr) {
    let config = GatewayBuilder::new(&[server.address()], backend).listener(listener).extra(extra);
    let gateway = config.set("workers", 1).start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

async fn check_serves(address: SocketAddr) {
    let reply = RawClient::connect(address).await.call(EMPTY_CALL, &[], b"").await;
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
}

#[tokio::test]
async fn bytes_that_are_not_http2_end_the_connection() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = with_listener(&server, backend, "", "");
        let oversize = [PREFACE, b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"].concat();
        let data_on_idle = [PREFACE, b"\x00\x00\x01\x00\x00\x00\x00\x00\x01x"].concat();
        let even_stream = [PREFACE, b"\x00\x00\x01\x01\x05\x00\x00\x00\x02\x82"].concat();
        let bad_block = [PREFACE, b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x80"].concat();
        let all: [&[u8]; 5] = [
            b"\x17\x03\x01 not a preface, and long enough to tell",
            &oversize,
            &data_on_idle,
            &even_stream,
            &bad_block,
        ];
        for bytes in all {
            raw::exchange(address, bytes).await;
        }
        metric_becomes(&gateway, "ringway_connections_active", 0).await;
        assert_eq!(metric(&gateway, "ringway_protocol_errors_total"), all.len() as u64, "{backend}");
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0, "{backend}");
        check_serves(address).await;
        assert_eq!(server.calls().len(), 1, "{backend}");
    }
}

/// A frame, as bytes.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Row 54, and what each metric says by label. The bounds are those of the configuration: five a second, ten at once.
#[tokio::test]
async fn floods_say_what_they_were() {
    let bounds = "[listeners.http2]\nmax_pings_per_second = 5\nmax_settings_per_second = 5\n\
                  max_window_updates_per_second = 5\nmax_priority_frames_per_second = 5\n\
                  max_resets_per_second = 5\nmax_continuations = 10\n";
    let flood = |count: u32, frames: &dyn Fn(u32) -> Vec<u8>| {
        (0..count).fold(PREFACE.to_vec(), |bytes, number| [bytes, frames(number)].concat())
    };
    // POST to a path that is no method's, which is answered at once.
    let head = |stream: u32| frame(1, 0x4, stream, b"\x83\x86\x44\x02/x");
    /// The n-th bytes of a flood.
    type Bytes<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let floods: [(&str, Bytes<'_>); 7] = [
        ("too_many_pings", &|count| flood(count, &|_| frame(6, 0, 0, &[7; 8]))),
        ("too_many_settings", &|count| flood(count - 1, &|_| frame(4, 0, 0, &[]))),
        ("too_many_window_updates", &|count| flood(count, &|_| frame(8, 0, 0, &[0, 0, 0, 1]))),
        ("too_many_priority_frames", &|count| flood(count, &|_| frame(2, 0, 5, &[0, 0, 0, 0, 1]))),
        ("too_many_priority_frames", &|count| flood(count, &|_| frame(0xfa, 0, 0, b"?"))),
        ("too_many_resets", &|count| {
            flood(count, &|number| {
                [head(number * 2 + 1), frame(3, 0, number * 2 + 1, &[0, 0, 0, 8])].concat()
            })
        }),
        ("too_many_continuations", &|count| {
            [PREFACE.to_vec(), frame(1, 0, 1, b"\x83"), frame(9, 0, 1, b"").repeat(count as usize)].concat()
        }),
    ];
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = with_listener(&server, backend, bounds, "");
        let of =
            |name: &str| metric(&gateway, &format!("ringway_floods_total{{worker=\"0\",flood=\"{name}\"}}"));
        for (name, bytes) in &floods {
            let (before, all) = (of(name), metric(&gateway, "ringway_floods_total"));
            // The bounds allow so much.
            let calm = raw::half_said(address, &bytes(10)).await;
            let more = raw::exchange(address, &bytes(60)).await;
            assert!(String::from_utf8_lossy(&more).contains(name), "{backend}: GOAWAY says {name}");
            metric_becomes(&gateway, "ringway_connections_active", 1).await;
            assert_eq!(of(name), before + 1, "{backend}, {name}");
            assert_eq!(metric(&gateway, "ringway_floods_total"), all + 1, "{backend}, {name}");
            drop(calm);
            metric_becomes(&gateway, "ringway_connections_active", 0).await;
        }
        assert_eq!(metric(&gateway, "ringway_protocol_errors_total"), 0, "{backend}");
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0, "{backend}");
        check_serves(address).await;
    }
}

#[tokio::test]
async fn broken_rules_say_which_they_were() {
    let errors: [(&str, Vec<u8>); 8] = [
        ("http2_protocol_error", [PREFACE, &frame(0, 0, 1, b"x")].concat()),
        ("http2_flow_control_error", [PREFACE, &frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])].concat()),
        ("http2_frame_size_error", [PREFACE, &frame(6, 0, 0, b"short")].concat()),
        ("http2_compression_error", [PREFACE, &frame(1, 0x5, 1, b"\x80")].concat()),
        ("http1_head", b"\x17\x03\x01 not a preface, and long enough to tell".to_vec()),
        ("http1_head_too_large", [&b"GET / HTTP/1.1\r\nhost: x\r\nx: "[..], &[b'y'; 300_000]].concat()),
        ("http1_host", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (
            "http1_transfer_encoding",
            b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n".to_vec(),
        ),
    ];
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = with_listener(&server, backend, "", "");
        for (name, bytes) in &errors {
            raw::exchange(address, bytes).await;
            metric_becomes(&gateway, "ringway_connections_active", 0).await;
            let labels = format!("worker=\"0\",error=\"{name}\"");
            let counted = metric(&gateway, &format!("ringway_protocol_errors_total{{{labels}}}"));
            assert_eq!(counted, 1, "{backend}, {name}");
        }
        assert_eq!(metric(&gateway, "ringway_protocol_errors_total"), errors.len() as u64, "{backend}");
        assert_eq!(metric(&gateway, "ringway_floods_total"), 0, "{backend}");
        check_serves(address).await;
    }
}

#[tokio::test]
async fn a_greeting_may_come_in_pieces() {
    const PIECES: u64 = 3;
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = with_listener(&server, backend, "", "");
        let (first, rest) = PREFACE.split_at(1);
        let mut client = raw::half_said(address, first).await;
        client.set_nodelay(true).expect("a connected socket");
        for (received, piece) in (1..PIECES).zip(rest.chunks(12)) {
            metric_becomes(&gateway, "ringway_receives_total", received).await;
            client.write_all(piece).await.expect("the gateway listens");
        }
        metric_becomes(&gateway, "ringway_receives_total", PIECES).await;
        client.write_all(&rest[12 * (PIECES as usize - 1)..]).await.expect("the gateway listens");
        let mut head = [0; 9];
        within(WAIT_MAX, "it greets back", client.read_exact(&mut head)).await.expect("a frame");
        assert_eq!(head[3], 4, "SETTINGS come first: {head:?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_greet_is_let_go() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = with_listener(&server, backend, "handshake_timeout = \"100ms\"", "");
        for said in [&b""[..], &PREFACE[..10]] {
            let mut silent = raw::half_said(address, said).await;
            let mut back = Vec::new();
            let _ = within(WAIT_MAX, "the gateway closes", silent.read_to_end(&mut back)).await; // or resets
        }
        metric_becomes(&gateway, "ringway_connections_active", 0).await;
        assert_eq!(metric(&gateway, "ringway_handshake_timeouts_total"), 2, "{backend}");
        check_serves(address).await;
    }
}

#[tokio::test]
async fn a_client_that_greets_and_says_no_more_is_let_go() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let listener = "handshake_timeout = \"100ms\"\nidle_timeout = \"500ms\"";
        let (gateway, address) = with_listener(&server, backend, listener, "");
        let client = RawClient::connect(address).await;
        client.closed().await;
        metric_becomes(&gateway, "ringway_idle_timeouts_total", 1).await;
        let silent = [&PREFACE[..24], PREFACE];
        for said in silent {
            let mut silent = raw::half_said(address, said).await;
            let mut back = Vec::new();
            let _ = within(WAIT_MAX, "the gateway closes", silent.read_to_end(&mut back)).await; // or resets
        }
        metric_becomes(&gateway, "ringway_connections_active", 0).await;
    }
}

/// The head of a call, changed.
async fn sent(client: &mut RawClient, method: &str, path: &str, headers: &[(&str, &str)]) -> RawReply {
    let mut head = http::Request::builder().method(method).uri(format!("http://ringway.test{path}"));
    for (name, value) in headers {
        head = head.header(*name, *value);
    }
    client.send(head.body(()).expect("a valid head"), true).await.reply().await
}

#[tokio::test]
async fn a_head_that_no_upstream_should_see_is_refused() {
    let grpc = ("content-type", "application/grpc");
    let many: Vec<String> = (0..101).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> =
        [grpc].into_iter().chain(many.iter().map(|name| (&name[..], "1"))).collect();
    let table: &[Refused<'_>] = &[
        ("GET", EMPTY_CALL, &[grpc], 405, "12"),
        ("POST", EMPTY_CALL, &[], 415, "3"),
        ("POST", EMPTY_CALL, &[("content-type", "text/plain")], 415, "3"),
        ("POST", EMPTY_CALL, &[grpc, ("trace-bin", "!")], 200, "3"),
        ("POST", EMPTY_CALL, &[grpc, ("grpc-timeout", "5")], 200, "3"),
        ("POST", EMPTY_CALL, &[grpc, ("grpc-timeout", "123456789m")], 200, "3"),
        ("POST", EMPTY_CALL, &[grpc, ("grpc-timeout", "-1S")], 200, "3"),
        ("POST", "/unknown.Service/Method", &[grpc], 200, "12"),
        ("POST", "/grpc.testing.TestService", &[grpc], 200, "12"),
        ("POST", "/", &[grpc], 200, "12"),
        ("POST", EMPTY_CALL, &many, 200, "8"),
    ];
    for backend in BACKENDS {
        let server = InteropServer::start();
        let config = GatewayBuilder::new(&[server.address()], backend);
        let only = "{ service = \"grpc.testing.TestService\" }";
        let gateway = config.set_toml("routes.match", only).start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        for (method, path, headers, status, grpc_status) in table {
            let reply = sent(&mut client, method, path, headers).await;
            let what = format!("{backend}: {method} {path} {headers:?}: {reply:?}");
            assert_eq!((reply.status, reply.grpc_status()), (*status, Some(*grpc_status)), "{what}");
            assert!(reply.trailers.is_none() && reply.body.is_empty() && reply.error.is_none(), "{what}");
        }
        let long = "y".repeat(20_000);
        let reply = sent(&mut client, "POST", EMPTY_CALL, &[grpc, ("x-long", &long)]).await;
        assert_eq!((reply.status, reply.grpc_status()), (200, Some("8")), "{backend}: {reply:?}");
        // A caller of JSON is told why it is off, as over HTTP/1.1.
        let reply = sent(&mut client, "POST", EMPTY_CALL, &[("content-type", "application/json")]).await;
        let said = String::from_utf8_lossy(&reply.body);
        assert!(reply.status == 404 && said.contains("no [transcoding]"), "{backend}: {reply:?}");
        metric_becomes(&gateway, "ringway_calls_started_total", table.len() as u64 + 2).await;
        assert_eq!(server.calls().len(), 0, "{backend}: nothing of this reaches the server");
        for (failure, count) in [
            ("not_post", 1),
            ("not_grpc", 2),
            ("bad_binary_header", 1),
            ("bad_timeout", 3),
            ("no_route", 1),
            ("not_mapped", 1),
            ("bad_path", 2),
            ("too_many_headers", 1),
            ("head_too_large", 1),
        ] {
            let counted = metric(&gateway, &format!("ringway_failures_total{{failure=\"{failure}\"}}"));
            assert_eq!(counted, count, "{backend}: {failure}");
        }
        assert_eq!(metric(&gateway, "ringway_failures_total"), table.len() as u64 + 2, "{backend}");
        let reply = client.call(EMPTY_CALL, &[("trace-bin", "q6ur"), ("grpc-timeout", "5S")], b"").await;
        assert_eq!(reply.grpc_status(), Some("0"), "{backend}: the connection is as good as new: {reply:?}");
        assert_eq!(metric(&gateway, "ringway_connections_accepted_total"), 1, "{backend}");
    }
}

/// Calls that are open on both sides, and have reached the server.
async fn open_calls(client: &mut RawClient, server: &InteropServer, count: usize) -> Vec<RawCall> {
    let wanted = server.calls().len() + count;
    let mut calls = Vec::new();
    for _ in 0..count {
        let mut call = client.open(DUPLEX_CALL, &[]).await;
        call.send(raw::message(0, b""), false);
        calls.push(call);
    }
    server.wait_until("all calls reach the server", |calls| calls.len() == wanted).await;
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_leaves_the_others_alone() {
    const GONE: usize = 1_000;
    const OTHERS: usize = 100;
    for backend in BACKENDS {
        let server = InteropServer::start();
        let listener = "[listeners.http2]\nmax_concurrent_streams = 1000\n";
        let extra = "max_requests = 4096\n[clusters.pool]\nmax_connections_per_endpoint = 16\n";
        let (gateway, address) = with_listener(&server, backend, listener, extra);
        let (mut leaver, mut stayer) = (RawClient::connect(address).await, RawClient::connect(address).await);
        let begun = open_calls(&mut stayer, &server, OTHERS).await;
        let mut given_up = open_calls(&mut leaver, &server, GONE).await;
        for call in &mut given_up {
            call.head().await.expect("the server answers with a head at once");
        }
        metric_becomes(&gateway, "ringway_calls_active", (GONE + OTHERS) as u64).await;

        drop(leaver);
        for mut call in begun {
            let reply = stayer.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
            call.send(raw::message(0, b""), true);
            let reply = call.reply().await;
            assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
        }
        drop(given_up);
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        metric_becomes(&gateway, "ringway_upstream_calls_active", 0).await;
        let none_runs = |calls: &[Call]| calls.iter().all(|call| call.ended != Ended::Running);
        let calls = server.wait_until("the server is told", none_runs).await;
        assert_eq!(calls.iter().filter(|call| call.ended == Ended::Cancelled).count(), GONE, "{backend}");
        let opened = metric(&gateway, "ringway_upstream_connections_opened_total");
        let active = metric(&gateway, "ringway_upstream_connections_active");
        assert_eq!(opened, active, "{backend}: no upstream connection was lost");
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0, "{backend}");
        check_serves(address).await;
    }
}
