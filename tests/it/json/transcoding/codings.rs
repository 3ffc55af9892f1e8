//! Content codings: bodies that come compressed, and answers that callers take compressed.

use ringway::config::ContentCoding;
use ringway::transcode::coding;
use serde_json::json;

use crate::support::gateway::BACKENDS;
use crate::support::library::{Library, Source, front};
use crate::support::web::{Caller, JSON, VERSIONS};

const BOOKS: &str = "POST /v1/shelves/a/books";

fn encoded(coding: ContentCoding, text: &str) -> Vec<u8> {
    coding::encode(coding, text.as_bytes()).expect("memory is enough")
}

#[tokio::test]
async fn a_compressed_body_is_read_within_its_bound() {
    let title = "x".repeat(1500);
    let body = json!({ "title": title }).to_string();
    let bomb = json!({ "title": "x".repeat(1 << 20) }).to_string();
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "max_request_body_size = \"2KiB\"");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for coding in ContentCoding::ALL {
                let headers = [JSON, ("content-encoding", coding::name(coding))];
                let context = format!("{backend} {version:?} {coding:?}");
                let answer = caller.ask(BOOKS, &headers, &encoded(coding, &body)).await;
                assert_eq!(answer.status, 200, "{context}: {answer:?}");
                let seen = library.take();
                assert_eq!(seen.messages[0]["item"]["title"], json!(title), "{context}");
                assert_eq!(seen.headers.get("content-encoding"), None, "{context}");
                let answer = caller.ask(BOOKS, &headers, &encoded(coding, &bomb)).await;
                assert_eq!(answer.status, 413, "{context}: {answer:?}");
                let answer = caller.ask(BOOKS, &headers, body.as_bytes()).await;
                assert_eq!(
                    (answer.status, &answer.json()["code"]),
                    (400, &json!(3)),
                    "{context}: {answer:?}"
                );
            }
            for (line, coding) in [(BOOKS, "deflate"), (BOOKS, "gzip, gzip"), ("POST /v1/sum", "gzip")] {
                let answer = caller.ask(line, &[JSON, ("content-encoding", coding)], b"{}").await;
                assert_eq!(answer.status, 415, "{backend} {version:?} {line} {coding}: {answer:?}");
            }
            assert!(library.seen().is_empty(), "no service sees what is refused");
        }
    }
}

#[tokio::test]
async fn answers_are_compressed_where_that_is_configured_and_pays() {
    let settings = "[transcoding.compression]\nalgorithms = [\"zstd\", \"br\", \"gzip\"]";
    for backend in BACKENDS {
        let library = Library::start();
        let on = front(&library, backend, Source::DescriptorSet, settings);
        let off = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, on.address).await;
            for (accepted, size, wanted) in [
                ("gzip", 5000, Some(ContentCoding::Gzip)),
                ("gzip, br", 5000, Some(ContentCoding::Brotli)),
                ("gzip, br, zstd", 5000, Some(ContentCoding::Zstd)),
                ("gzip;q=1, *;q=0.5", 5000, Some(ContentCoding::Gzip)),
                ("gzip", 500, None),
                ("identity", 5000, None),
            ] {
                let line = format!("GET /v1/shelves/a/books/b?size={size}");
                let answer = caller.ask(&line, &[("accept-encoding", accepted)], b"").await;
                let context = format!("{backend} {version:?} {accepted} {size}");
                assert_eq!(answer.status, 200, "{context}: {answer:?}");
                assert_eq!(answer.field("content-encoding"), wanted.map(coding::name), "{context}");
                assert_eq!(answer.field("vary"), Some("accept-encoding"), "{context}");
                let body = match wanted {
                    Some(coding) => coding::decode(coding, &answer.body, 10_000).expect("it is whole"),
                    None => answer.body.clone(),
                };
                let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(value["text"].as_str().map(str::len), Some(size), "{context}");
                assert!(wanted.is_none() || answer.body.len() < 300, "{context}: {}", answer.body.len());
            }
            // Streams flush each value, so they stay as they are.
            let stream =
                caller.ask("GET /v1/events?count=2&size=3000", &[("accept-encoding", "gzip")], b"").await;
            assert_eq!((stream.status, stream.field("content-encoding")), (200, None));
            let mut caller = Caller::connect(version, off.address).await;
            let line = "GET /v1/shelves/a/books/b?size=5000";
            let answer = caller.ask(line, &[("accept-encoding", "gzip")], b"").await;
            assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, None), "{answer:?}");
        }
    }
}
