//! gRPC-Web over HTTP/1.1 and HTTP/2, as browsers speak it, with CORS; and how HTTP/1.1 connections are kept.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::interop::{
    EchoStatus, ResponseParameters, SimpleRequest, SimpleResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use crate::support::interop_server::InteropServer;
use crate::support::raw::{RawClient, message};
use crate::support::web::{Caller, VERSIONS, Version};
use crate::support::within;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use ringway::supervisor::Gateway;

const UNARY: &str = "POST /grpc.testing.TestService/UnaryCall";
const STREAM: &str = "POST /grpc.testing.TestService/StreamingOutputCall";
const BINARY: (&str, &str) = ("content-type", "application/grpc-web+proto");
const TEXT: (&str, &str) = ("content-type", "application/grpc-web-text");

fn start(server: &InteropServer, backend: &str, listener: &str) -> (Gateway, SocketAddr) {
    let gateway = GatewayBuilder::new(&[server.address()], backend).listener(listener).start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// The messages of a body, and the fields of its trailers.
fn parsed(mut body: &[u8]) -> (Vec<Vec<u8>>, String) {
    let mut messages = Vec::new();
    loop {
        let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes")) as usize;
        let (frame, rest) = body[5..].split_at(length);
        if body[0] & 0x80 != 0 {
            assert!(rest.is_empty(), "the trailers are the last");
            return (messages, String::from_utf8(frame.to_vec()).expect("fields"));
        }
        messages.push(frame.to_vec());
        body = rest;
    }
}

/// Decodes text of which each piece may be padded.
fn from_text(text: &str) -> Vec<u8> {
    let groups = text.as_bytes().chunks(4);
    groups.flat_map(|group| STANDARD.decode(group).expect("base64")).collect()
}

fn request(size: i32) -> Vec<u8> {
    SimpleRequest { response_size: size, ..Default::default() }.encode_to_vec()
}

#[tokio::test]
async fn unary_calls_in_both_forms_over_both_versions() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = start(&server, backend, "");
        let mut http1 = Http1::connect(address).await;
        for _ in 0..3 {
            let answer = http1.ask(UNARY, &[BINARY], &message(0, &request(1000))).await;
            assert_eq!((answer.status, answer.field("content-type")), (200, Some(BINARY.1)), "{answer:?}");
            let (messages, trailers) = parsed(&answer.body);
            assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
            let response = SimpleResponse::decode(&messages[0][..]).expect("the message");
            assert_eq!(response.payload.expect("a payload").body.len(), 1000);

            let body = STANDARD.encode(message(0, &request(10)));
            let answer = http1.ask(UNARY, &[TEXT], body.as_bytes()).await;
            assert_eq!(answer.field("content-type"), Some("application/grpc-web-text+proto"));
            let (messages, trailers) = parsed(&from_text(answer.text()));
            assert_eq!(messages.len(), 1);
            assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
        }
        let mut http2 = RawClient::connect(address).await;
        let head = http::Request::post("http://ringway.test/grpc.testing.TestService/UnaryCall")
            .header(BINARY.0, BINARY.1)
            .body(())
            .expect("valid");
        let mut call = http2.send(head, false).await;
        call.send(message(0, &request(7)), true);
        let reply = call.reply().await;
        assert!(reply.trailers.is_none(), "{reply:?}");
        let (messages, trailers) = parsed(&reply.body);
        assert!(messages.len() == 1 && trailers.contains("grpc-status: 0\r\n"), "{trailers}");
        assert_eq!(metric(&gateway, "ringway_protocol_errors_total"), 0);
    }
}

#[tokio::test]
async fn streams_are_whole_in_both_forms_over_both_versions() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (_gateway, address) = start(&server, backend, "");
        let sizes = [1, 20_000, 3, 70_000];
        let parameters =
            sizes.map(|size| ResponseParameters { size, interval_us: 1_000, ..Default::default() });
        let call =
            StreamingOutputCallRequest { response_parameters: parameters.to_vec(), ..Default::default() };
        for (form, version) in
            [BINARY, TEXT].into_iter().flat_map(|form| VERSIONS.map(|version| (form, version)))
        {
            let body = message(0, &call.encode_to_vec());
            let body = if form == TEXT { STANDARD.encode(&body).into_bytes() } else { body.to_vec() };
            let answer = Caller::connect(version, address).await.ask(STREAM, &[form], &body).await;
            let coding = (version == Version::Http1).then_some("chunked");
            assert_eq!(answer.field("transfer-encoding"), coding, "{version:?}");
            let body = if form == TEXT { from_text(answer.text()) } else { answer.body };
            let (messages, trailers) = parsed(&body);
            let decoded = messages.iter().map(|message| {
                let message = StreamingOutputCallResponse::decode(&message[..]).expect("the message");
                i32::try_from(message.payload.expect("a payload").body.len()).expect("short")
            });
            assert_eq!(decoded.collect::<Vec<_>>(), sizes);
            assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
        }
    }
}

#[tokio::test]
async fn failures_are_trailers_in_the_body() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (_gateway, address) = start(&server, backend, "");
        let mut client = Http1::connect(address).await;
        let status = EchoStatus { code: 5, message: "no such \u{e9}".to_owned() };
        let call = SimpleRequest { response_status: Some(status), ..Default::default() };
        let answer = client.ask(UNARY, &[BINARY], &message(0, &call.encode_to_vec())).await;
        let (messages, trailers) = parsed(&answer.body);
        assert!(messages.is_empty() && trailers.contains("grpc-status: 5\r\n"), "{trailers}");
        assert!(trailers.contains("%C3%A9\r\n"), "{trailers}");

        let table = [
            ("POST /not.There/AtAll", &[BINARY][..], &b"\0\0\0\0\0"[..], "12"),
            ("POST /bad", &[BINARY], b"\0\0\0\0\0", "12"),
            (UNARY, &[BINARY, ("grpc-timeout", "x")], b"\0\0\0\0\0", "3"),
            (UNARY, &[TEXT], b"!!!!", "3"),
        ];
        for (line, headers, body, code) in table {
            let answer = Http1::connect(address).await.ask(line, headers, body).await;
            assert_eq!(answer.status, 200, "{line}: {answer:?}");
            let body = if headers[0] == TEXT { from_text(answer.text()) } else { answer.body };
            let (_, trailers) = parsed(&body);
            assert!(trailers.contains(&format!("grpc-status: {code}\r\n")), "{line}: {trailers}");
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_granted_what_is_configured() {
    let server = InteropServer::start();
    let cors = "[listeners.cors]\nallow_origins = [\"https://a.example\"]\nallow_headers = [\"x-mine\"]\n";
    let (_gateway, address) = start(&server, "io_uring", cors);
    let line = "OPTIONS /grpc.testing.TestService/UnaryCall";
    for version in VERSIONS {
        let mut client = Caller::connect(version, address).await;
        for (origin, granted) in [("https://a.example", true), ("https://b.example", false)] {
            let asked = [("origin", origin), ("access-control-request-method", "POST")];
            let answer = client.ask(line, &asked, b"").await;
            assert_eq!(answer.status, 204, "{version:?}");
            assert_eq!(answer.field("access-control-allow-origin").is_some(), granted, "{answer:?}");
            assert_eq!(answer.field("access-control-allow-methods").is_some(), granted, "{answer:?}");
            let headers = answer.field("access-control-allow-headers").unwrap_or_default();
            for name in ["x-grpc-web", "grpc-timeout", "content-type", "x-mine"] {
                assert_eq!(headers.contains(name), granted, "{name}: {answer:?}");
            }

            for (line, form) in [(UNARY, BINARY), (UNARY, TEXT), (STREAM, BINARY), ("POST /a.B/None", BINARY)]
            {
                let body = if form == TEXT {
                    STANDARD.encode(message(0, b"")).into_bytes()
                } else {
                    message(0, b"").to_vec()
                };
                let answer = client.ask(line, &[form, ("origin", origin)], &body).await;
                assert_eq!(answer.status, 200, "{version:?} {line}: {answer:?}");
                let allowed = answer.field("access-control-allow-origin");
                assert_eq!(allowed, granted.then_some(origin), "{version:?} {line}: {answer:?}");
                let exposed = answer.field("access-control-expose-headers").unwrap_or_default();
                for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
                    assert_eq!(exposed.contains(name), granted, "{version:?} {line} {name}: {answer:?}");
                }
            }
        }
    }
    let of_its_own = server.calls().iter().filter(|call| !call.path.ends_with("None")).count();
    assert_eq!(of_its_own, 12, "preflights are answered here");
}

#[tokio::test]
async fn what_is_not_for_grpc_is_refused_in_json() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (_gateway, address) = start(&server, backend, "");
        let grpc = ("content-type", "application/grpc");
        let table = [
            ("GET /", &[][..], 404),
            ("POST /v1/x", &[("content-type", "application/json")], 404),
            (UNARY, &[grpc], 505),
        ];
        let mut client = Http1::connect(address).await;
        for (line, headers, status) in table {
            let answer = client.ask(line, headers, b"").await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(answer.field("content-type"), Some("application/json"));
            assert!(answer.json()["message"].is_string() && answer.json()["code"].is_u64());
        }
        let answer = client.ask("HEAD /", &[], b"").await;
        assert_eq!(answer.status, 404);
        assert_eq!(server.calls().len(), 0);
    }
}

/// An early answer never leaves bytes of a body to be read as the next request.
#[tokio::test]
async fn a_body_that_nobody_reads_is_never_a_request() {
    let smuggled = "POST /grpc.testing.TestService/EmptyCall HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web\r\n\
                    content-length: 5\r\n\r\n\0\0\0\0\0";
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (_gateway, address) = start(&server, backend, "");
        for length in [smuggled.len(), 200_000] {
            let mut body = smuggled.to_owned();
            body.extend(std::iter::repeat_n(' ', length - smuggled.len()));
            let mut client = Http1::connect(address).await;
            let answer = client.ask("POST /nowhere", &[], body.as_bytes()).await;
            assert_eq!(answer.status, 404);
            // Either the connection goes on with a real request, or it is closed.
            client.say("GET /other HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
            assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{rest}");
            assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 404"), "{rest}");
        }
        assert_eq!(server.calls().len(), 0, "nothing of it reaches the server");
    }
}

/// Every vector is answered with 400 (or 501) and a close, or closed without an answer; what follows is not served.
#[tokio::test]
async fn ambiguous_requests_are_refused_and_the_connection_ends() {
    let vectors: &[(&str, &str)] = &[
        ("length twice", "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc"),
        ("length with sign", "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: +3\r\n\r\nabc"),
        ("length in hex", "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 0x3\r\n\r\nabc"),
        ("length negative", "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"),
        (
            "chunked not last",
            "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
        (
            "coding before chunked",
            "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        ("chunked and comma", "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: , chunked\r\n\r\n0\r\n\r\n"),
        (
            "chunked twice",
            "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "codings in two lines",
            "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("coding unknown", "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (
            "HTTP/1.0 with chunked",
            "POST /x HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("folded field", "GET /x HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n"),
        ("space before colon", "GET /x HTTP/1.1\r\nhost : x\r\n\r\n"),
        ("NUL in a value", "GET /x HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n"),
        ("bare CR in a value", "GET /x HTTP/1.1\r\nhost: x\r\na: b\rc\r\n\r\n"),
        ("no method", " /x HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("version unknown", "GET /x HTTP/3.7\r\nhost: x\r\n\r\n"),
    ];
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (_gateway, address) = start(&server, backend, "");
        for (name, vector) in vectors {
            let mut client = Http1::connect(address).await;
            client.say(vector).await;
            client.say("GET /second HTTP/1.1\r\nhost: x\r\n\r\n").await;
            client.hang_up().await;
            let all = String::from_utf8_lossy(&client.rest().await).into_owned();
            let served = all.matches("HTTP/1.1 ").count();
            assert!(served <= 1, "{backend}: {name}: {all}");
            assert!(all.is_empty() || all.starts_with("HTTP/1.1 400"), "{backend}: {name}: {all}");
        }
        assert_eq!(server.calls().len(), 0);
    }
}

/// The coding wins, and the connection ends (RFC 9112 section 6.3).
#[tokio::test]
async fn a_length_beside_a_coding_ends_the_connection() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (_gateway, address) = start(&server, backend, "");
        for fields in [
            "content-length: 4\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\nContent-Length: 4",
            "transfer-encoding: chunked\r\na: b\r\ncontent-length: 4",
        ] {
            let mut client = Http1::connect(address).await;
            client.say(format!("POST /x HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n0\r\n\r\n")).await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.field("connection")),
                (404, Some("close")),
                "{backend} {fields}"
            );
            client.say("GET /second HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(client.is_closed().await, "{backend} {fields}");
        }
        // A coding alone leaves the connection as it is, and so does a length in another request.
        let mut client = Http1::connect(address).await;
        for _ in 0..2 {
            client.say("POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n").await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.field("connection")), (404, None), "{backend}");
            assert_eq!(client.ask("POST /x", &[], b"abc").await.field("connection"), None, "{backend}");
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_cancels_its_call() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = start(&server, backend, "");
        let slow = ResponseParameters { size: 1, interval_us: 60_000_000, ..Default::default() };
        let call = StreamingOutputCallRequest { response_parameters: vec![slow; 2], ..Default::default() };
        let body = message(0, &call.encode_to_vec());
        let mut client = Http1::connect(address).await;
        let head = format!(
            "{STREAM} HTTP/1.1\r\nhost: x\r\n{}: {}\r\ncontent-length: {}\r\n\r\n",
            BINARY.0,
            BINARY.1,
            body.len()
        );
        client.say(head).await;
        client.say(&body).await;
        server.wait_until("the call has come", |calls| calls.len() == 1).await;
        drop(client);
        metric_becomes(&gateway, "ringway_client_resets_total", 1).await;
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        metric_becomes(&gateway, "ringway_connections_active", 0).await;
    }
}

#[tokio::test]
async fn slow_and_idle_connections_are_closed() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) =
            start(&server, backend, "handshake_timeout = \"300ms\"\nidle_timeout = \"500ms\"\n");
        let mut slow = Http1::connect(address).await;
        slow.say("GET / HTTP/1.1\r\nho").await;
        assert!(slow.is_closed().await);
        metric_becomes(&gateway, "ringway_handshake_timeouts_total", 1).await;
        let mut idle = Http1::connect(address).await;
        assert_eq!(idle.ask("GET /", &[], b"").await.status, 404);
        assert!(idle.is_closed().await);
        metric_becomes(&gateway, "ringway_idle_timeouts_total", 1).await;
    }
}

#[tokio::test]
async fn a_drain_tells_keep_alive_connections_with_their_next_answer() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = start(&server, backend, "");
        let mut busy = Http1::connect(address).await;
        let mut idle = Http1::connect(address).await;
        for client in [&mut busy, &mut idle] {
            let answer = client.ask(UNARY, &[BINARY], &message(0, &request(5))).await;
            assert_eq!((answer.status, answer.field("connection")), (200, None));
        }
        gateway.drain();
        let answer = busy.ask(UNARY, &[BINARY], &message(0, &request(5))).await;
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        assert!(busy.is_closed().await && idle.is_closed().await);
        let ended = within(Duration::from_secs(10), "the drain", async { gateway.join() }).await;
        assert_eq!((ended.calls_cut, ended.workers_lost), (0, 0));
    }
}

#[tokio::test]
async fn large_heads_are_refused_and_expect_is_answered() {
    let server = InteropServer::start();
    let (_gateway, address) = start(&server, "io_uring", "");
    let long = "y".repeat(40_000);
    let answer = Http1::connect(address).await.ask("GET /", &[("x-long", &long)], b"").await;
    assert_eq!(answer.status, 431);

    let mut client = Http1::connect(address).await;
    let body = message(0, &request(3));
    let head = format!(
        "{UNARY} HTTP/1.1\r\nhost: x\r\n{}: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        BINARY.0,
        BINARY.1,
        body.len()
    );
    client.say(head).await;
    assert_eq!(client.answer().await.status, 100);
    client.say(&body).await;
    assert_eq!(client.answer().await.status, 200);
}
