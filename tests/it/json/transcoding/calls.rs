//! Calls that answer once: what binds which field, and what comes back.

use std::slice::from_ref;

use serde_json::{Value, json};

use crate::support::gateway::{BACKENDS, metric};
use crate::support::http1::Http1;
use crate::support::library::{Ended, Front, Library, Source, front};
use crate::support::raw::PREFACE;
use crate::support::web::{Caller, JSON, VERSIONS, Version};

/// The library's answer, as JSON.
fn reply() -> Value {
    json!({ "items": [{ "id": "1", "title": "Ünï" }, { "id": "2" }], "total": "7" })
}

/// Request line, body, the method that is called, its message, and the answer.
fn table() -> Vec<(&'static str, &'static str, &'static str, Value, Value)> {
    let items = reply()["items"].clone();
    vec![
        ("GET /v1/shelves/a/books/b%20c", "", "Get", json!({ "name": "shelves/a/books/b c" }), reply()),
        (
            "GET /v1/shelves/a/books/b?deep=true&numbers=1&numbers=-2&item.title=x%26y&since=2024-01-02T03:04:05Z&kind=KIND_PAPER",
            "",
            "Get",
            json!({
                "name": "shelves/a/books/b", "deep": true, "numbers": [1, -2], "item": { "title": "x&y" },
                "since": "2024-01-02T03:04:05Z", "kind": "KIND_PAPER",
            }),
            reply(),
        ),
        // An additional binding, whose answer is one field.
        ("GET /v1/found/9?name=n", "", "Get", json!({ "name": "n", "item": { "id": "9" } }), items),
        (
            "POST /v1/shelves/a/books?deep=true",
            r#"{"id": "7", "tags": ["x"], "pages": "12"}"#,
            "Create",
            json!({ "name": "shelves/a", "deep": true, "item": { "id": "7", "tags": ["x"], "pages": "12" } }),
            reply(),
        ),
        // The path's fields stay, whatever the body says.
        (
            "PUT /v1/shelves/a/books/b",
            r#"{"name": "other", "deep": true, "numbers": [5]}"#,
            "Replace",
            json!({ "name": "shelves/a/books/b", "deep": true, "numbers": [5] }),
            reply(),
        ),
        (
            "PATCH /v1/shelves/a/books/b",
            r#"{"title": "t"}"#,
            "Change",
            json!({ "item": { "id": "shelves/a/books/b", "title": "t" } }),
            reply(),
        ),
        ("DELETE /v1/shelves/a/books/b", "", "Remove", json!({ "name": "shelves/a/books/b" }), json!({})),
        (
            "POST /v1/shelves/a/books/b:move",
            r#"{"item": {"id": "1"}}"#,
            "Move",
            json!({ "name": "shelves/a/books/b", "item": { "id": "1" } }),
            reply(),
        ),
        ("REPORT /v1/reports?name=r", "", "Report", json!({ "name": "r" }), reply()),
        // Without a rule, and beside one.
        ("POST /test.web.v1.Library/Plain", r#"{"name": "p"}"#, "Plain", json!({ "name": "p" }), reply()),
        ("POST /test.web.v1.Library/Get", r#"{"name": "g"}"#, "Get", json!({ "name": "g" }), reply()),
        ("POST /test.web.v1.Library/Plain", "", "Plain", json!({}), reply()),
        ("POST /test.web.v1.Library/Plain", " \n", "Plain", json!({}), reply()),
    ]
}

#[tokio::test]
async fn every_rule_reaches_its_method_with_its_fields() {
    for (backend, source) in BACKENDS.into_iter().zip([Source::DescriptorSet, Source::Protos]) {
        every_rule(backend, source).await;
    }
    every_rule("io_uring", Source::Reflection).await;
}

async fn every_rule(backend: &str, source: Source) {
    let library = Library::start();
    let front = front(&library, backend, source, "");
    for version in VERSIONS {
        let mut caller = Caller::connect(version, front.address).await;
        for (line, body, method, message, wanted) in table() {
            let headers: &[_] = if body.is_empty() { &[("x-mine", "1")] } else { &[JSON, ("x-mine", "1")] };
            let answer = caller.ask(line, headers, body.as_bytes()).await;
            let context = format!("{backend} {source:?} {version:?} {line}: {answer:?}");
            assert_eq!(answer.status, 200, "{context}");
            assert_eq!(answer.json(), wanted, "{context}");
            assert_eq!(answer.field("content-type"), Some("application/json"), "{context}");
            assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()), "{context}");
            assert_eq!(answer.field("x-served-by"), Some("library"), "{context}");
            assert_eq!(answer.field("x-last"), Some("yes"), "{context}");
            assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("grpc-")), "{context}");
            library.wait_until("its end", |seen| seen[0].ended == Ended::Finished).await;
            let seen = library.take();
            assert_eq!((&*seen.method, &seen.messages), (method, &vec![message]), "{context}");
            assert_eq!(seen.headers["content-type"], "application/grpc", "{context}");
            assert_eq!(
                (&seen.headers["te"], &seen.headers["x-mine"]),
                (&"trailers".parse().expect("a value"), &"1".parse().expect("a value"))
            );
        }
    }
    assert_eq!(metric(&front.gateway, "ringway_protocol_errors_total"), 0);
    assert_eq!(metric(&front.gateway, "ringway_connections_accepted_total"), 2, "connections are kept");
}

#[tokio::test]
async fn options_of_printing_and_reading_are_obeyed() {
    let library = Library::start();
    let settings = "ignore_unknown_fields = true\nignore_unknown_query_parameters = true\nauto_mapping = false\n\
         [transcoding.print_options]\npreserve_proto_field_names = true\nalways_print_primitive_fields = true\nadd_whitespace = true\n";
    let front = front(&library, "io_uring", Source::DescriptorSet, settings);
    let mut caller = Caller::connect(Version::Http1, front.address).await;
    let body = br#"{"id": "1", "no_such": {"a": [1]}}"#;
    let answer = caller.ask("POST /v1/shelves/a/books?nor.this=1", &[JSON], body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("\n"), "{answer:?}");
    assert_eq!(answer.json()["text"], "");
    assert_eq!(library.take().messages, [json!({ "name": "shelves/a", "item": { "id": "1" } })]);
    let answer = caller.ask("POST /test.web.v1.Library/Plain", &[JSON], b"{}").await;
    assert_eq!(answer.status, 404, "{answer:?}");
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let got = caller.ask("GET /v1/shelves/a/books/b", &[], b"").await;
            let head = caller.ask("HEAD /v1/shelves/a/books/b", &[], b"").await;
            assert_eq!((head.status, head.body.len(), head.is_whole), (200, 0, true), "{version:?} {head:?}");
            assert_eq!(head.field("content-length"), got.field("content-length"), "{version:?}");
            library.wait_until("both", |seen| seen.len() == 2).await;

            // The connection goes on, after errors and streams too.
            for (line, status) in [
                ("HEAD /v1/nowhere", 404),
                ("HEAD /v1/sum", 405),
                ("HEAD /v1/events?count=3", 200),
                ("HEAD /v1/films/a?count=2", 200),
                ("HEAD /v1/shelves/a/books/b?fail.code=5", 404),
            ] {
                let head = caller.ask(line, &[], b"").await;
                assert_eq!(
                    (head.status, head.body.len(), head.is_whole),
                    (status, 0, true),
                    "{line} {head:?}"
                );
            }
            assert_eq!(caller.ask("GET /v1/shelves/a/books/b", &[], b"").await.status, 200);
            // A stream that does not end is not waited for.
            library.let_go(1);
            let head = caller.ask("HEAD /v1/events?count=9", &[], b"").await;
            assert_eq!((head.status, head.field("content-length")), (200, None), "{version:?} {head:?}");
            assert_eq!(head.field("content-type"), Some("application/x-ndjson"));
            library
                .wait_until("its end", |seen| seen.last().is_some_and(|seen| seen.ended == Ended::Cancelled))
                .await;
            library.let_go(u64::MAX);
            library.take();
        }
        assert_eq!(metric(&front.gateway, "ringway_client_resets_total"), 0);
    }
}

/// However a request is cut, it is the same request.
#[tokio::test]
async fn requests_may_come_byte_by_byte() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        let body = r#"{"id": "7ü", "tags": ["x\u00e9"], "pages": 12}"#;
        let wanted = json!({ "name": "shelves/a", "item": { "id": "7ü", "tags": ["xé"], "pages": "12" } });
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let line = "POST /v1/shelves/a/books";
            for cut in 1..body.len() {
                let (one, two) = body.as_bytes().split_at(cut);
                let answer = caller.ask_in_pieces(line, &[JSON], &[one, two]).await;
                assert_eq!(answer.status, 200, "{version:?} {cut}: {answer:?}");
                assert_eq!(library.take().messages, from_ref(&wanted), "{version:?} {cut}");
            }
            let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
            let answer = caller.ask_in_pieces(line, &[JSON], &bytes).await;
            assert_eq!(answer.status, 200, "{version:?}: {answer:?}");
            assert_eq!(library.take().messages, from_ref(&wanted), "{version:?}");
        }
        // The head and the framing, too.
        let whole = format!(
            "POST /v1/shelves/a/books HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut client = Http1::connect(front.address).await;
        for cut in 1..whole.len() {
            if cut < 30 {
                // The first bytes of a connection say which version of HTTP it is.
                client = Http1::connect(front.address).await;
            }
            let (one, two) = whole.as_bytes().split_at(cut);
            say_in_two(&front, &mut client, one, two).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, 200, "{cut}: {answer:?}");
            assert_eq!(library.take().messages, from_ref(&wanted), "{cut}");
        }
    }
}

/// Says the second part once the first has been received.
async fn say_in_two(front: &Front, client: &mut Http1, one: &[u8], two: &[u8]) {
    let received = || metric(&front.gateway, "ringway_received_bytes_total");
    let before = received();
    client.say(one).await;
    while received() == before {
        tokio::task::yield_now().await;
    }
    client.say(two).await;
}

/// The gateway tells a client's version however its first bytes are cut.
#[tokio::test]
async fn a_greeting_may_come_in_two_pieces() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for cut in 1..PREFACE.len() {
            let mut client = Http1::connect(front.address).await;
            let (one, two) = PREFACE.split_at(cut);
            say_in_two(&front, &mut client, one, two).await;
            let frame = client.bytes(9).await;
            assert_eq!(frame[3], 4, "SETTINGS come first: {frame:?}");
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let library = Library::start();
    let front = front(&library, "io_uring", Source::DescriptorSet, "");
    let Caller::Http1(mut client) = Caller::connect(Version::Http1, front.address).await else { return };
    let one = "POST /v1/shelves/a/books HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
               2\r\n{}\r\n0\r\n\r\n";
    let two = "GET /v1/shelves/a/books/b?fail.code=6 HTTP/1.1\r\nhost: x\r\n\r\n";
    client
        .say([one, two, one, "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"].concat())
        .await;
    for status in [200, 409, 200, 404] {
        assert_eq!(client.answer().await.status, status);
    }
    assert!(client.is_closed().await);
}

/// Row 11: the service gets `te: trailers`, whatever the caller says of itself.
#[tokio::test]
async fn services_are_told_that_trailers_are_understood() {
    const WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for (version, te) in [
            (Version::Http1, "trailers"),
            (Version::Http1, "gzip"),
            (Version::Http1, "deflate,gzip;q=0.3"),
            (Version::Http1, ""),
            (Version::Http2, "trailers"),
        ] {
            let mut caller = Caller::connect(version, front.address).await;
            for (line, kind, body) in [
                ("POST /v1/shelves/a/books", JSON, &b"{}"[..]),
                ("POST /test.web.v1.Library/Create", WEB, &[0; 5]),
            ] {
                let answer = caller.ask(line, &[kind, ("te", te)], body).await;
                assert_eq!(answer.status, 200, "{backend} {version:?} {te:?} {line}: {answer:?}");
                let seen = library.take();
                let told: Vec<_> = seen.headers.get_all("te").iter().collect();
                assert_eq!(told, ["trailers"], "{backend} {version:?} {te:?} {line}");
            }
        }
    }
}
