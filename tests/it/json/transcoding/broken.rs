//! Bodies of HTTP/1.1 that break off or make no sense, and what HTTP/1.1 has that means nothing here.

use crate::support::gateway::{BACKENDS, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::library::{Ended, Library, Source, front};

const JSON: &str = "POST /v1/shelves/a/books HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
const LINES: &str = "POST /v1/sum HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n";
const WEB: &str =
    "POST /test.web.v1.Library/Create HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web+proto\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";

/// Bodies in chunks of which one is none.
fn malformed() -> [String; 10] {
    [
        "zz\r\n".to_owned(),
        "\r\n".to_owned(),
        "-1\r\n".to_owned(),
        "0x5\r\n{}   \r\n0\r\n\r\n".to_owned(),
        // 17 digits are more than any length has.
        "10000000000000005\r\n{}   \r\n0\r\n\r\n".to_owned(),
        "2\r\n{}   \r\n0\r\n\r\n".to_owned(),
        "2\n{}\r\n0\r\n\r\n".to_owned(),
        format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(20_000)),
        // A line of trailers that ends with LF alone may end the request for others (row 52g).
        "2\r\n{}\r\n0\r\nx: y\n\nGET /v1/shelves/a/books/c HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "2\r\n{}\r\n0\r\nx: y\r\n\n\r\n".to_owned(),
    ]
}

#[tokio::test]
async fn a_malformed_chunk_is_400_and_the_connection_ends() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        let mut count = 0;
        for head in [JSON, LINES, WEB] {
            for body in malformed() {
                let mut client = Http1::connect(front.address).await;
                client.say(format!("{head}{CHUNKED}{body}")).await;
                let answer = client.answer().await;
                let what = body.get(..12).unwrap_or(&body);
                assert_eq!(answer.status, 400, "{backend} {head}{what:?}: {answer:?}");
                if head == WEB {
                    assert!(
                        String::from_utf8_lossy(&answer.body).contains("grpc-status: 3\r\n"),
                        "{answer:?}"
                    );
                } else {
                    assert_eq!(answer.json()["message"], "a chunk of the body is malformed", "{what:?}");
                }
                client.say("GET /v1/shelves/a/books/b HTTP/1.1\r\nhost: x\r\n\r\n").await;
                assert!(client.is_closed().await, "{backend} {head}{what:?}");
                count += 1;
            }
        }
        metric_becomes(&front.gateway, "ringway_connections_active", 0).await;
        assert_eq!(metric(&front.gateway, "ringway_calls_active"), 0);
        assert_eq!(metric(&front.gateway, "ringway_protocol_errors_total"), count);
        let of_bodies = ["0", "1"].map(|worker| {
            let labels = format!("worker=\"{worker}\",error=\"http1_body\"");
            metric(&front.gateway, &format!("ringway_protocol_errors_total{{{labels}}}"))
        });
        assert_eq!(of_bodies.iter().sum::<u64>(), count, "{backend}");
        assert_eq!(metric(&front.gateway, "ringway_failures_total{failure=\"broken_body\"}"), count);
        // Bytes before the chunk may have gone on already: their call is then cancelled.
        library.wait_until("all ends", |seen| seen.iter().all(|seen| seen.ended == Ended::Cancelled)).await;
    }
}

/// A client that closes its side in the middle of its body has gone: nothing of it is left behind.
#[tokio::test]
async fn a_body_that_breaks_off_ends_the_connection() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        let mut count = 0;
        for head in [JSON, LINES, WEB] {
            for body in ["content-length: 100\r\n\r\n", "content-length: 100\r\n\r\n{", CHUNKED] {
                let mut client = Http1::connect(front.address).await;
                client.say(format!("{head}{body}")).await;
                client.hang_up().await;
                assert!(client.is_closed().await, "{backend} {head}{body}");
                count += 1;
            }
            for body in ["5", "5\r\n{", "2\r\n{}", "2\r\n{}\r\n", "2\r\n{}\r\n0\r\n"] {
                let mut client = Http1::connect(front.address).await;
                client.say(format!("{head}{CHUNKED}{body}")).await;
                client.hang_up().await;
                assert!(client.is_closed().await, "{backend} {head}{body}");
                count += 1;
            }
        }
        metric_becomes(&front.gateway, "ringway_connections_active", 0).await;
        metric_becomes(&front.gateway, "ringway_calls_active", 0).await;
        assert_eq!(metric(&front.gateway, "ringway_client_resets_total"), count);
        assert_eq!(metric(&front.gateway, "ringway_protocol_errors_total"), 0);
        assert_eq!(metric(&front.gateway, "ringway_idle_timeouts_total"), 0);
        library.wait_until("all ends", |seen| seen.iter().all(|seen| seen.ended == Ended::Cancelled)).await;
    }
}

#[tokio::test]
async fn short_extensions_trailers_and_upgrades_mean_nothing() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        let mut client = Http1::connect(front.address).await;
        for body in [
            "2\r\n{}\r\n0\r\n\r\n",
            "0000000002;a=b;c=\"d\"\r\n{}\r\n0;e\r\n\r\n",
            "1\r\n{\r\n1\r\n}\r\n0\r\nx-late: 1\r\nhost: y\r\n\r\n",
        ] {
            client.say(format!("{JSON}{CHUNKED}{body}")).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, 200, "{backend} {body}: {answer:?}");
        }
        let line = "GET /v1/shelves/a/books/b";
        for fields in [
            &[("connection", "upgrade"), ("upgrade", "websocket")][..],
            &[("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")],
        ] {
            let answer = client.ask(line, fields, b"").await;
            assert_eq!((answer.status, answer.field("upgrade")), (200, None), "{backend}: {answer:?}");
        }
        for seen in library.seen() {
            for name in ["upgrade", "http2-settings", "connection", "x-late", "transfer-encoding"] {
                assert!(!seen.headers.contains_key(name), "{name}: {seen:?}");
            }
        }
        assert_eq!(metric(&front.gateway, "ringway_connections_accepted_total"), 1);
    }
}

/// An answer before the chunks have come never leaves bytes of them to be read as the next request.
#[tokio::test]
async fn chunks_that_nobody_reads_are_never_a_request() {
    let smuggled = "DELETE /v1/shelves/a/books/b HTTP/1.1\r\nhost: x\r\n\r\n";
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for (times, ends) in [(1, true), (1, false), (5_000, true), (5_000, false)] {
            let data = smuggled.repeat(times);
            let end = if ends { "\r\n0\r\n\r\n" } else { "" };
            for head in ["POST /v1/nowhere HTTP/1.1\r\nhost: x\r\n", &JSON.replace("json", "pdf")] {
                let mut client = Http1::connect(front.address).await;
                // The head alone, so that it is answered before anything of the body has come.
                client.say(format!("{head}{CHUNKED}")).await;
                let status = client.answer().await.status;
                assert!(status == 404 || status == 415, "{backend} {head}: {status}");
                client.say(format!("{:x}\r\n{data}{end}", data.len())).await;
                client.say("GET /v1/nowhere/else HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
                client.hang_up().await;
                let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
                assert!(
                    rest.is_empty() || (ends && rest.starts_with("HTTP/1.1 404")),
                    "{backend} {head}: {rest}"
                );
                assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{backend} {head}: {rest}");
            }
        }
        assert!(library.seen().is_empty(), "{:?}", library.seen());
        metric_becomes(&front.gateway, "ringway_connections_active", 0).await;
    }
}
