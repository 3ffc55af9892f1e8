//! Requests that are wrong: what each is told, and that no upstream sees one.

use bytes::Bytes;
use serde_json::json;

use crate::support::gateway::{BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::library::{Library, Source, front, front_with};
use crate::support::raw::RawClient;
use crate::support::web::{Caller, JSON, VERSIONS, Version, answer, open};

const BOOKS: &str = "POST /v1/shelves/a/books";

type Headers = &'static [(&'static str, &'static str)];

/// Line, headers, body; status, code, and what the message says.
const TABLE: &[(&str, Headers, &str, u16, u64, &str)] = &[
    ("GET /", &[], "", 404, 5, "no method is mapped to this path"),
    ("GET /v1/nowhere/at/all", &[], "", 404, 5, "no method is mapped"),
    ("GET /v1/shelves/a/books/", &[], "", 404, 5, "no method is mapped"),
    (
        "POST /test.web.v1.Library/Plian",
        &[JSON],
        "{}",
        404,
        5,
        "did you mean POST /test.web.v1.Library/Plain?",
    ),
    ("GET /v1/shelfs/a/books/7", &[], "", 404, 5, "did you mean "),
    ("POST /test.web.v1.Library/None", &[JSON], "{}", 404, 5, "no method is mapped"),
    ("POST /v1/shelves/a/books/b", &[JSON], "{}", 405, 12, "not for this HTTP method"),
    ("GET /test.web.v1.Library/Plain", &[], "", 405, 12, "not for this HTTP method"),
    ("GET /v1/shelves/a/books/b?nmae=1", &[], "", 400, 3, "nmae"),
    ("GET /v1/shelves/a/books/b?item.none=1", &[], "", 400, 3, "item.none"),
    ("GET /v1/shelves/a/books/b?deep=perhaps", &[], "", 400, 3, "deep"),
    ("GET /v1/shelves/a/books/b?numbers=1&numbers=x", &[], "", 400, 3, "numbers"),
    ("GET /v1/shelves/a/books/b?item=1", &[], "", 400, 3, "item"),
    // Fields that the path or the body has are no parameters of the query.
    ("GET /v1/shelves/a/books/b?name=c", &[], "", 400, 3, "name"),
    ("PUT /v1/shelves/a/books/b?deep=true", &[JSON], "{}", 400, 3, "its body is the whole request"),
    (
        "GET /v1/shelves/%zz/books/b",
        &[],
        "",
        400,
        3,
        "a percent sign that two hexadecimal digits do not follow",
    ),
    (
        "GET /v1/shelves/a/books/b%2",
        &[],
        "",
        400,
        3,
        "a percent sign that two hexadecimal digits do not follow",
    ),
    ("GET /v1/shelves/%ff/books/b", &[], "", 400, 3, "not UTF-8"),
    ("GET /v1/shelves/%2e%2E/books/b", &[], "", 400, 3, "`.` or `..`"),
    (BOOKS, &[("content-type", "text/plain")], "{}", 415, 3, "does not take a body of this type"),
    (BOOKS, &[("content-type", "application/x-ndjson")], "{}", 415, 3, "does not take a body of this type"),
    (BOOKS, &[("content-type", "application/x-www-form-urlencoded")], "a=b", 415, 3, "does not take"),
    (BOOKS, &[JSON], "{\"id\": \"1\", }", 400, 3, "offset 12"),
    (BOOKS, &[JSON], "{\"id\": 5}", 400, 3, "offset 7"),
    (BOOKS, &[JSON], "{\"id\": \"1\"", 400, 3, "offset 10"),
    (BOOKS, &[JSON], "{\"id\": \"1\"} x", 400, 3, "offset 12"),
    (BOOKS, &[JSON], "{\"idd\": \"1\"}", 400, 3, "idd"),
    (BOOKS, &[JSON], "{\"tags\": [\"a\", 1]}", 400, 3, "offset 15"),
    (BOOKS, &[JSON], "[]", 400, 3, "offset 0"),
    (BOOKS, &[JSON], "\u{0}", 400, 3, "offset 0"),
    ("DELETE /v1/shelves/a/books/b", &[JSON], "{}", 400, 3, "takes no body"),
    ("POST /v1/sum", &[JSON], "{\"number\": \"x\"}", 400, 3, "value at offset 0: offset 12"),
    ("POST /v1/sum", &[JSON], "[1", 400, 3, "offset"),
    ("POST /v1/sum", &[JSON], "]", 400, 3, "offset 0"),
    ("POST /v1/sum", &[("content-type", "text/csv")], "{}", 415, 3, "does not take"),
];

#[tokio::test]
async fn what_is_wrong_is_said_and_seen_by_no_upstream() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for (line, headers, body, status, code, text) in TABLE {
                let answer = caller.ask(line, headers, body.as_bytes()).await;
                let context = format!("{version:?} {line} {body}: {answer:?}");
                assert_eq!(answer.status, *status, "{context}");
                assert_eq!(answer.field("content-type"), Some("application/json"), "{context}");
                let told = answer.json();
                assert_eq!((&told["code"], &told["details"]), (&json!(code), &json!([])), "{context}");
                assert!(told["message"].as_str().expect("a sentence").contains(text), "{context}");
                assert_eq!(answer.field("allow").is_some(), *status == 405, "{context}");
            }
        }
        assert!(library.seen().is_empty(), "{:?}", library.seen());
        assert_eq!(metric(&front.gateway, "ringway_protocol_errors_total"), 0);
        assert_eq!(metric(&front.gateway, "ringway_connections_accepted_total"), 2, "connections are kept");
    }
}

#[tokio::test]
async fn allow_lists_all_that_a_path_takes() {
    let library = Library::start();
    let front = front(&library, "epoll", Source::DescriptorSet, "");
    let mut caller = Caller::connect(Version::Http1, front.address).await;
    for (line, wanted) in [
        ("POST /v1/shelves/a/books/b", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("OPTIONS /v1/reports", "REPORT, OPTIONS"),
        ("GET /v1/sum", "POST, OPTIONS"),
        ("TRACE /test.web.v1.Library/Get", "POST, OPTIONS"),
    ] {
        let answer = caller.ask(line, &[], b"").await;
        let sorted = |text: &str| {
            let mut names: Vec<String> = text.split(", ").map(ToOwned::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(answer.field("allow").expect("it says what is allowed")), sorted(wanted), "{line}");
        assert_eq!(answer.status, if line.starts_with("OPTIONS") { 204 } else { 405 }, "{line}");
    }
    assert_eq!(caller.ask("OPTIONS /v1/nowhere", &[], b"").await.status, 404);
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_413() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "max_request_body_size = \"2KiB\"");
        let body = |length: usize| format!("{{\"title\": \"{}\"}}", "x".repeat(length - 13)).into_bytes();
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let answer = caller.ask(BOOKS, &[JSON], &body(2048)).await;
            assert_eq!(answer.status, 200, "{version:?}: {answer:?}");
            library.take();
            for (announced, length) in [(true, 2049), (false, 2049), (true, 300_000), (false, 300_000)] {
                let mut caller = Caller::connect(version, front.address).await;
                let body = body(length);
                let answer = match announced {
                    true => caller.ask(BOOKS, &[JSON], &body).await,
                    false => {
                        let pieces: Vec<&[u8]> = body.chunks(1000).collect();
                        caller.ask_in_pieces(BOOKS, &[JSON], &pieces).await
                    }
                };
                assert_eq!(
                    (answer.status, &answer.json()["code"]),
                    (413, &json!(3)),
                    "{version:?} {announced} {length}"
                );
            }
            // A single value of a stream; all of them together may be longer.
            let mut caller = Caller::connect(version, front.address).await;
            let answer =
                caller.ask("POST /v1/sum", &[JSON], "{\"number\": 1}\n".repeat(1000).as_bytes()).await;
            assert_eq!((answer.status, answer.json()), (200, json!({ "total": "1000" })), "{version:?}");
            library.take();
            let answer = caller
                .ask("POST /v1/sum", &[JSON], format!("{{\"text\": \"{}\"}}", "x".repeat(3000)).as_bytes())
                .await;
            assert_eq!((answer.status, &answer.json()["code"]), (413, &json!(3)), "{version:?}: {answer:?}");
        }
        assert!(library.seen().is_empty(), "{:?}", library.seen());
    }
}

/// `expect: 100-continue`: a body that would be refused is not asked for.
#[tokio::test]
async fn what_is_refused_by_its_head_is_not_asked_for() {
    let library = Library::start();
    let front = front(&library, "io_uring", Source::DescriptorSet, "max_request_body_size = \"2KiB\"");
    let expect = "expect: 100-continue\r\ncontent-type: application/json\r\n";
    for (line, length, status) in [("POST /v1/nowhere", 5, 404), (BOOKS, 5000, 413), (BOOKS, 2, 100)] {
        let Caller::Http1(mut client) = Caller::connect(Version::Http1, front.address).await else { return };
        client.say(format!("{line} HTTP/1.1\r\nhost: x\r\n{expect}content-length: {length}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, status, "{line} {length}");
        if status == 100 {
            client.say("{}").await;
            assert_eq!(client.answer().await.status, 200);
        }
    }
    assert_eq!(library.seen().len(), 1);
}

/// Adds keys to the listener, and leaves one worker.
fn listener(keys: &'static str) -> impl FnOnce(GatewayBuilder) -> GatewayBuilder {
    move |config| config.set("workers", 1).listener(keys)
}

/// Row 45: what clients have begun and do not finish is held within bounds, by connection and by worker.
#[tokio::test]
async fn unfinished_bodies_are_held_within_bounds() {
    const HELD: &str = "ringway_buffered_bytes";
    let begun = Bytes::from(format!("{{\"title\": \"{}", "x".repeat(40 << 10)));
    let length = begun.len() as u64;
    for backend in BACKENDS {
        let library = Library::start();
        let bounds = listener("max_buffered_bytes = \"100KiB\"");
        let worker = "[overload]\nmax_buffered_bytes = \"150KiB\"";
        let front = front_with(library.address(), backend, Source::DescriptorSet, worker, bounds);
        let mut client = RawClient::connect(front.address).await;
        let mut other = RawClient::connect(front.address).await;
        let mut calls = Vec::new();
        for number in 1..=3 {
            let client = if number < 3 { &mut client } else { &mut other };
            let mut call = open(client, BOOKS, &[JSON], false).await;
            call.send(begun.clone(), false);
            calls.push(call);
            metric_becomes(&front.gateway, HELD, number * length).await;
        }
        for (client, status, code) in [(&mut client, 429, 8), (&mut other, 503, 14)] {
            let mut call = open(client, BOOKS, &[JSON], false).await;
            call.send(begun.clone(), false);
            let answer = answer(call).await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (status, &json!(code)),
                "{backend}: {answer:?}"
            );
        }
        assert_eq!(metric(&front.gateway, "ringway_overload_buffered_bytes_refused_total"), 1, "{backend}");
        assert_eq!(metric(&front.gateway, HELD), 3 * length, "{backend}");
        // A body that was begun in time may be finished.
        let mut first = calls.remove(0);
        first.send(Bytes::from_static(b"\"}"), true);
        let done = answer(first).await;
        assert_eq!(done.status, 200, "{backend}: {done:?}");
        metric_becomes(&front.gateway, HELD, 2 * length).await;
        drop(calls);
        metric_becomes(&front.gateway, HELD, 0).await;
        assert_eq!(library.seen().len(), 1, "{backend}");
    }
}

/// Answers that wait for their trailers are held within a connection's bound, but for one; the rest waits at the service,
/// and none is lost.
#[tokio::test]
async fn unfinished_answers_are_held_within_bounds() {
    const HELD: &str = "ringway_buffered_bytes";
    const BOUND: u64 = 100 << 10;
    let size: u64 = 40 << 10;
    for backend in BACKENDS {
        let library = Library::start();
        let bounds = listener("max_buffered_bytes = \"100KiB\"");
        let front = front_with(library.address(), backend, Source::DescriptorSet, "", bounds);
        let mut client = RawClient::connect(front.address).await;
        library.let_go(1);
        let mut calls = Vec::new();
        for _ in 0..6 {
            let line = format!("GET /v1/shelves/a/books/b?size={size}");
            calls.push(open(&mut client, &line, &[], true).await);
        }
        library.wait_until("all are asked", |seen| seen.len() == 6).await;
        library.stalled().await;
        let held = metric(&front.gateway, HELD);
        assert!(held > size && held <= BOUND + size + 1024, "{backend}: {held}");
        library.let_go(u64::MAX);
        // All are read at once, for they share the window of their connection.
        let calls: Vec<_> = calls.into_iter().map(|call| tokio::spawn(answer(call))).collect();
        for call in calls {
            let answer = call.await.expect("it does not panic");
            assert_eq!(answer.status, 200, "{backend}: {answer:?}");
            assert_eq!(answer.json()["text"].as_str().map(str::len), Some(size as usize), "{backend}");
        }
        metric_becomes(&front.gateway, HELD, 0).await;
    }
}

/// Rows 45 and 47: a body of which less comes than `min_rate` is not waited for.
#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408() {
    for backend in BACKENDS {
        let library = Library::start();
        let patience = listener("read_timeout = \"200ms\"\nmin_rate = 1000");
        let front = front_with(library.address(), backend, Source::DescriptorSet, "", patience);
        for (line, body) in [(BOOKS, ""), (BOOKS, "{\"ti"), ("POST /v1/sum", "{\"number\": 1}{\"num")] {
            let mut client = Http1::connect(front.address).await;
            let head = "host: x\r\ncontent-type: application/json\r\ncontent-length: 100";
            client.say(format!("{line} HTTP/1.1\r\n{head}\r\n\r\n{body}")).await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (408, &json!(4)),
                "{backend} {line}: {answer:?}"
            );
        }
        assert_eq!(
            metric(&front.gateway, "ringway_failures_total{failure=\"client_too_slow\"}"),
            3,
            "{backend}"
        );
        metric_becomes(&front.gateway, "ringway_calls_active", 0).await;
    }
}
