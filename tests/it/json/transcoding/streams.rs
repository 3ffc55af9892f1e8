//! Streams of answers: how they are written, when they arrive, how they fail, and that a caller who goes ends them.
#![allow(clippy::disallowed_methods, reason = "a test measures when a message comes")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::{BACKENDS, metric_becomes};
use crate::support::http1::Http1;
use crate::support::library::{Ended, Library, Source, front};
use crate::support::raw::RawClient;
use crate::support::web::{Caller, VERSIONS, Version, open};
use crate::support::within;

const LINES: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
const ARRAY: &str = "application/json";

/// How soon the first message of a stream reaches the client.
const FIRST: Duration = Duration::from_millis(20);
/// Of so many tries the quickest counts, for the machine does other things as well.
const TRIES: usize = 5;

/// Much more than it takes, for machines that do other things as well.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn accept_chooses_the_form() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(
            &library,
            backend,
            Source::DescriptorSet,
            "[transcoding.print_options]\nadd_whitespace = true",
        );
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let (one, two) = (r#"{"number": "1","text": "x"}"#, r#"{"number": "2","text": "x"}"#);
            let (one, two) = (one.replace(": ", ":"), two.replace(": ", ":"));
            for (accept, content_type, wanted, empty) in [
                (LINES, LINES, format!("{one}\n{two}\n"), ""),
                ("", LINES, format!("{one}\n{two}\n"), ""),
                ("text/html, */*;q=0.1", LINES, format!("{one}\n{two}\n"), ""),
                (EVENTS, EVENTS, format!("data: {one}\n\ndata: {two}\n\n"), ""),
                (ARRAY, ARRAY, format!("[{one},{two}]"), "[]"),
            ] {
                let headers = [("accept", accept)];
                let headers = if accept.is_empty() { &[][..] } else { &headers[..] };
                let answer = caller.ask("GET /v1/events?count=2&size=1", headers, b"").await;
                assert_eq!((answer.status, answer.is_whole), (200, true), "{version:?} {accept}: {answer:?}");
                assert_eq!(answer.field("content-type"), Some(content_type), "{version:?} {accept}");
                assert_eq!(answer.text(), wanted, "{version:?} {accept}");
                assert_eq!(answer.field("x-served-by"), Some("library"), "{version:?} {accept}");
                let answer = caller.ask("GET /v1/events", headers, b"").await;
                assert_eq!((answer.status, answer.text()), (200, empty), "{version:?} {accept}");
                assert_eq!(answer.field("content-type"), Some(content_type), "{version:?} {accept}");
            }
            // Large messages, and many small ones.
            let answer = caller.ask("GET /v1/events?count=3&size=100000", &[("accept", ARRAY)], b"").await;
            assert_eq!(answer.json().as_array().map(Vec::len), Some(3), "{version:?}");
            let answer = caller.ask("GET /v1/events?count=5000", &[("accept", ARRAY)], b"").await;
            let all = answer.json();
            assert_eq!((all.as_array().map(Vec::len), &all[4999]["number"]), (Some(5000), &json!("5000")));
        }
    }
}

/// Each message arrives while the service holds the next one back.
#[tokio::test]
async fn messages_arrive_one_by_one() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for (accept, before, after) in [(LINES, "", "\n"), (EVENTS, "data: ", "\n\n"), (ARRAY, "", "")] {
            let mut firsts = Vec::new();
            for _ in 0..TRIES {
                library.let_go(0);
                let mut client = Http1::connect(front.address).await;
                client
                    .say(format!("GET /v1/events?count=3 HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n"))
                    .await;
                library.wait_until("the call", |seen| seen.len() == 1).await;
                for number in 1..=3 {
                    let began = Instant::now();
                    library.let_go(number);
                    if number == 1 {
                        assert_eq!(client.answer_without_body().await.status, 200);
                    }
                    let chunk = String::from_utf8(client.chunk().await.expect("a chunk")).expect("text");
                    if number == 1 {
                        firsts.push(began.elapsed());
                    }
                    let comma = match (accept, number) {
                        (ARRAY, 1) => "[",
                        (ARRAY, _) => ",",
                        _ => "",
                    };
                    assert_eq!(
                        chunk,
                        format!("{comma}{before}{{\"number\":\"{number}\"}}{after}"),
                        "{accept}"
                    );
                }
                library.let_go(u64::MAX);
                if accept == ARRAY {
                    assert_eq!(client.chunk().await.as_deref(), Some(&b"]"[..]));
                }
                assert_eq!(client.chunk().await, None, "{accept}");
                library.wait_until("its end", |seen| seen[0].ended == Ended::Finished).await;
                library.take();
            }
            println!("{backend} {accept}: the first message took {firsts:?}");
            assert!(
                firsts.iter().min().is_some_and(|first| *first <= FIRST),
                "{backend} {accept}: {firsts:?}"
            );
        }
        // Over HTTP/2.
        library.let_go(0);
        let mut client = RawClient::connect(front.address).await;
        let mut call = open(&mut client, "GET /v1/events?count=2", &[("accept", LINES)], true).await;
        library.let_go(1);
        let mut body = call.head().await.expect("a head").into_body();
        for number in 1..=2 {
            let piece = within(SOON, "a message", body.data()).await.expect("a message").expect("a message");
            assert_eq!(piece, format!("{{\"number\":\"{number}\"}}\n"));
            library.let_go(number + 1);
        }
        let end = within(SOON, "the end", body.data()).await;
        assert!(end.is_none_or(|last| last.expect("no error").is_empty()));
    }
}

/// The last value of a stream that fails says so, and the body does not end as one that went well.
#[tokio::test]
async fn a_stream_that_fails_says_so_and_is_cut() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let error = r#"{"error":{"code":8,"details":[],"message":"all gone"}}"#;
            let one = r#"{"number":"1"}"#;
            for (accept, wanted) in [
                (LINES, format!("{one}\n{error}\n")),
                (EVENTS, format!("data: {one}\n\nevent: error\ndata: {error}\n\n")),
                (ARRAY, format!("[{one},{error}")),
            ] {
                let mut caller = Caller::connect(version, front.address).await;
                let line = "GET /v1/events?count=1&fail.code=8&fail.message=all%20gone";
                let answer = caller.ask(line, &[("accept", accept)], b"").await;
                assert_eq!(
                    (answer.status, answer.is_whole),
                    (200, false),
                    "{version:?} {accept}: {answer:?}"
                );
                let (body, wanted) = (sorted(answer.text(), error), sorted(&wanted, error));
                assert_eq!(body, wanted, "{version:?} {accept}");
            }
        }
    }
}

/// The text with the object that says the error replaced, for its members may come in any order.
fn sorted(text: &str, error: &str) -> (String, Value) {
    let at = text.find("{\"error\"").unwrap_or_else(|| panic!("no error in {text}"));
    let end = text.rfind('}').expect("an object ends") + 1;
    let value: Value = serde_json::from_str(&text[at..end]).expect("JSON");
    assert_eq!(value, serde_json::from_str::<Value>(error).expect("JSON"));
    ([&text[..at], &text[end..]].concat(), value)
}

/// A message that cannot be written does not take those before it along.
#[tokio::test]
async fn what_came_before_a_bad_message_is_kept() {
    let library = Library::start();
    let front = front(&library, "io_uring", Source::DescriptorSet, "max_response_message_size = \"1KiB\"");
    for version in VERSIONS {
        let mut caller = Caller::connect(version, front.address).await;
        // The second message is the first one that is too large: both come in one chunk.
        let body =
            "{\"number\": 1}\n".to_owned() + &json!({ "number": "2", "text": "x".repeat(1020) }).to_string();
        let answer = caller.ask("POST /v1/chat", &[("content-type", LINES)], body.as_bytes()).await;
        let lines: Vec<&str> = answer.text().lines().collect();
        assert_eq!(
            (lines[0], lines.len(), answer.is_whole),
            (r#"{"number":"1"}"#, 2, false),
            "{version:?}: {answer:?}"
        );
        assert!(lines[1].starts_with(r#"{"error":"#), "{version:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_ends_the_call() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        // Before the answer, and within it.
        for let_go in [0, 1] {
            for version in VERSIONS {
                library.let_go(let_go);
                let line = "GET /v1/events?count=9";
                match version {
                    Version::Http1 => {
                        let mut client = Http1::connect(front.address).await;
                        client.say(format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
                        library
                            .wait_until("the call", |seen| seen.iter().any(|seen| seen.messages.len() == 1))
                            .await;
                        if let_go > 0 {
                            assert_eq!(client.answer_without_body().await.status, 200);
                        }
                    }
                    Version::Http2 => {
                        let mut client = RawClient::connect(front.address).await;
                        let mut call = open(&mut client, line, &[], true).await;
                        library
                            .wait_until("the call", |seen| seen.iter().any(|seen| seen.messages.len() == 1))
                            .await;
                        if let_go > 0 {
                            assert_eq!(call.head().await.expect("a head").status(), 200);
                        }
                        call.reset(h2::Reason::CANCEL);
                        library.wait_until("the cancel", |seen| seen[0].ended == Ended::Cancelled).await;
                    }
                }
                library.wait_until("the cancel", |seen| seen[0].ended == Ended::Cancelled).await;
                library.take();
            }
        }
        metric_becomes(&front.gateway, "ringway_client_resets_total", 4).await;
        metric_becomes(&front.gateway, "ringway_calls_active", 0).await;
        metric_becomes(&front.gateway, "ringway_connections_active", 0).await;
    }
}
