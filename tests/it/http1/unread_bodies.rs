//! HTTP/1.1: an answer that is whole before its request is. The rest of the body is read and dropped, and the connection
//! kept; or the connection ends.

use std::net::SocketAddr;

use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::http1::{Http1, Http1Answer};
use crate::support::raw::message;
use crate::support::speaker::{Answer, Fields, Speaker};
use bytes::Bytes;
use ringway::supervisor::Gateway;

const WEB: &str =
    "POST /test.web.v1.Library/Sum HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web\r\n";
const JSON: &str = "POST /v1/sum HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";

const GRPC: Fields = &[("content-type", "application/grpc")];
const ENOUGH: Fields = &[("content-type", "application/grpc"), ("grpc-status", "9")];

/// A service that answers at the first message, well or not, and what stands before it.
async fn before(answers_well: bool, backend: &str, listener: &str) -> (Speaker, Gateway, SocketAddr) {
    let answer = if answers_well { Answer::whole(GRPC, message(0, b"")) } else { Answer::head_alone(ENOUGH) };
    let service = Speaker::start(move |_| answer.clone()).await;
    let described = "[transcoding]\nprotos = [\"tests/protos/library.proto\"]\n\
                     proto_paths = [\"tests/protos\", \"proto\"]\n";
    let config = GatewayBuilder::new(&[service.address()], backend).extra(described);
    let gateway = config.listener(listener).start();
    let address = gateway.listeners()[0];
    (service, gateway, address)
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Sends a head and a first message, and reads the whole answer.
async fn ask_for_more(client: &mut Http1, head: &str, first: &[u8]) -> Http1Answer {
    client.say(format!("{head}{CHUNKED}")).await;
    client.say(chunk(first)).await;
    let answer = client.answer().await;
    assert!(answer.is_whole, "{answer:?}");
    answer
}

/// Asks for something else on the same connection.
async fn goes_on(client: &mut Http1) {
    let answer = client.ask("GET /nowhere", &[], b"").await;
    assert_eq!((answer.status, answer.field("connection")), (404, None), "{answer:?}");
}

#[tokio::test]
async fn the_rest_is_read_and_the_connection_kept() {
    let first: [(&str, Bytes); 2] = [(WEB, message(0, b"")), (JSON, Bytes::from_static(b"{}\n"))];
    for (backend, answers_well) in
        BACKENDS.into_iter().flat_map(|backend| [(backend, true), (backend, false)])
    {
        let (_service, gateway, address) = before(answers_well, backend, "").await;
        for (head, first) in &first {
            let mut client = Http1::connect(address).await;
            for _ in 0..30 {
                let answer = ask_for_more(&mut client, head, first).await;
                assert_eq!(answer.field("connection"), None, "{answer:?}");
                client.say(chunk(first)).await;
                client.say(chunk(&[b' '; 100_000])).await;
                client.say("0\r\n\r\n").await;
                goes_on(&mut client).await;
            }
            // The last chunk comes with the next request.
            ask_for_more(&mut client, head, first).await;
            client.say("0\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert_eq!(client.answer().await.status, 404);
            // A body of known length.
            client.say(format!("{head}content-length: {}\r\n\r\n", first.len() + 9)).await;
            client.say(first).await;
            let answer = client.answer().await;
            assert_eq!((answer.is_whole, answer.field("connection")), (true, None), "{answer:?}");
            client.say(b"GET / HTT").await;
            goes_on(&mut client).await;
        }
        for family in ["protocol_errors", "client_resets", "handshake_timeouts", "idle_timeouts"] {
            assert_eq!(metric(&gateway, &format!("ringway_{family}_total")), 0, "{family}");
        }
    }
}

#[tokio::test]
async fn a_rest_above_the_bound_ends_the_connection() {
    for backend in BACKENDS {
        let (_service, _gateway, address) = before(true, backend, "max_unread_body_size = \"1KiB\"\n").await;
        for (rest, kept) in [(1024, true), (1025, false)] {
            let mut client = Http1::connect(address).await;
            ask_for_more(&mut client, WEB, &message(0, b"")).await;
            client.say(chunk(&vec![b' '; rest])).await;
            if kept {
                client.say("0\r\n\r\n").await;
                goes_on(&mut client).await;
            } else {
                assert!(client.is_closed().await, "{backend}");
            }

            // Where the length is known, it is known before the answer, which says so.
            let mut client = Http1::connect(address).await;
            client.say(format!("POST /no HTTP/1.1\r\nhost: x\r\ncontent-length: {rest}\r\n\r\n")).await;
            let answer = client.answer().await;
            let connection = (!kept).then_some("close");
            assert_eq!((answer.status, answer.field("connection")), (404, connection), "{backend} {rest}");
            client.say(vec![b' '; rest]).await;
            if kept {
                goes_on(&mut client).await;
            } else {
                assert!(client.is_closed().await, "{backend}");
            }
        }
        // All of it may be sent meanwhile: whoever reads last gets the answer, too.
        for _ in 0..10 {
            let mut client = Http1::connect(address).await;
            let answer = client.ask("POST /no", &[], &vec![b' '; 4 << 20]).await;
            assert_eq!((answer.status, answer.is_whole), (404, true), "{backend}");
            assert!(client.is_closed().await, "{backend}");
        }
        let (_service, _gateway, address) = before(true, backend, "max_unread_body_size = 0\n").await;
        let mut client = Http1::connect(address).await;
        let answer = client.ask("POST /no", &[], b"x").await;
        assert_eq!(answer.status, 404);
        let mut client = Http1::connect(address).await;
        ask_for_more(&mut client, WEB, &message(0, b"")).await;
        client.say(chunk(b"x")).await;
        assert!(client.is_closed().await, "{backend}");
    }
}

/// It is waited for as long as for a head. Once it has come, the connection is idle, as after any other call.
#[tokio::test]
async fn a_rest_that_does_not_come_is_not_waited_for() {
    for backend in BACKENDS {
        let times = "handshake_timeout = \"300ms\"\nidle_timeout = \"3s\"\n";
        let (_service, gateway, address) = before(true, backend, times).await;
        let mut late = Http1::connect(address).await;
        ask_for_more(&mut late, WEB, &message(0, b"")).await;
        assert!(late.is_closed().await, "{backend}");
        metric_becomes(&gateway, "ringway_handshake_timeouts_total", 1).await;
        assert_eq!(metric(&gateway, "ringway_idle_timeouts_total"), 0, "{backend}");

        let mut idle = Http1::connect(address).await;
        ask_for_more(&mut idle, WEB, &message(0, b"")).await;
        idle.say("0\r\n\r\n").await;
        assert!(idle.is_closed().await, "{backend}");
        metric_becomes(&gateway, "ringway_idle_timeouts_total", 1).await;
        assert_eq!(metric(&gateway, "ringway_handshake_timeouts_total"), 1, "{backend}");
    }
}

/// A client that waits to be asked for its body may send the next request in its place.
#[tokio::test]
async fn a_body_that_was_not_asked_for_is_not_waited_for() {
    for backend in BACKENDS {
        let (service, _gateway, address) = before(true, backend, "").await;
        let mut client = Http1::connect(address).await;
        client.say("POST /no HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("connection")), (404, Some("close")), "{backend}");
        assert!(client.is_closed().await, "{backend}");

        // Where it was asked for, it comes, and its rest is dropped like any other.
        let mut client = Http1::connect(address).await;
        client.say(format!("{WEB}expect: 100-continue\r\n{CHUNKED}")).await;
        assert_eq!(client.answer().await.status, 100, "{backend}");
        client.say(chunk(&message(0, b""))).await;
        assert_eq!(client.answer().await.field("connection"), None, "{backend}");
        client.say("0\r\n\r\n").await;
        goes_on(&mut client).await;
        assert_eq!(service.take_asked().len(), 1, "{backend}");
    }
}

#[tokio::test]
async fn a_rest_that_is_broken_ends_the_connection_and_is_counted() {
    for backend in BACKENDS {
        let (_service, gateway, address) = before(true, backend, "").await;
        let mut client = Http1::connect(address).await;
        ask_for_more(&mut client, WEB, &message(0, b"")).await;
        client.say("no size\r\n").await;
        assert!(client.is_closed().await, "{backend}");
        metric_becomes(&gateway, "ringway_protocol_errors_total", 1).await;
        assert_eq!(metric(&gateway, "ringway_client_resets_total"), 0, "its call was over");
    }
}
