//! Content codings: bodies that come compressed, answers that callers take compressed, and gRPC messages alike.

use bytes::Bytes;
use ringway::config::ContentCoding;
use ringway::transcode::coding;
use serde_json::json;

use crate::support::gateway::BACKENDS;
use crate::support::library::{Library, Source, front, front_of};
use crate::support::raw::message;
use crate::support::speaker::{Answer, Fields, Speaker};
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
            let mut caller = Caller::connect(version, off.address).await;
            let line = "GET /v1/shelves/a/books/b?size=5000";
            let answer = caller.ask(line, &[("accept-encoding", "gzip")], b"").await;
            assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, None), "{answer:?}");
        }
    }
}

const UNNAMED: Fields = &[("content-type", "application/grpc")];
const GZIP: Fields = &[("content-type", "application/grpc"), ("grpc-encoding", "gzip")];
const ZSTD: Fields = &[("content-type", "application/grpc"), ("grpc-encoding", "zstd")];

/// A frame of a `Reply` whose text has so many letters.
fn reply(coding: Option<ContentCoding>, length: usize) -> Bytes {
    let text = "x".repeat(length);
    let mut wire = vec![0x0a];
    prost::encoding::encode_varint(length as u64, &mut wire);
    wire.extend(text.as_bytes());
    match coding {
        Some(coding) => message(1, &coding::encode(coding, &wire).expect("memory is enough")),
        None => message(0, &wire),
    }
}

/// A service that answers as the caller's field `x-answer` says.
async fn compressing() -> Speaker {
    Speaker::start(|head| {
        let (fields, body) = match head.headers["x-answer"].to_str().expect("a word") {
            "gzip" => (GZIP, reply(Some(ContentCoding::Gzip), 3000)),
            "zstd" => (ZSTD, reply(Some(ContentCoding::Zstd), 3000)),
            "plain" => (GZIP, reply(None, 3000)),
            "bomb" => (GZIP, reply(Some(ContentCoding::Gzip), 1 << 20)),
            "not gzip" => (GZIP, message(1, b"not gzip")),
            _ => (UNNAMED, reply(Some(ContentCoding::Gzip), 3000)),
        };
        Answer::whole(fields, body)
    })
    .await
}

#[tokio::test]
async fn messages_of_services_may_be_compressed_as_they_were_offered() {
    let settings = "max_response_message_size = \"8KiB\"\n[transcoding.grpc_compression]\n";
    for backend in BACKENDS {
        let service = compressing().await;
        for (accept, wanted) in [
            ("[\"gzip\", \"zstd\"]", [200, 200, 200, 500, 500, 500]),
            ("[\"zstd\"]", [500, 200, 200, 500, 500, 500]),
            ("[]", [500, 500, 200, 500, 500, 500]),
        ] {
            let settings = format!("{settings}accept = {accept}\n");
            let front = front_of(service.address(), backend, Source::DescriptorSet, &settings);
            let words = ["gzip", "zstd", "plain", "bomb", "not gzip", "unnamed"];
            for (version, (word, wanted)) in VERSIONS
                .into_iter()
                .flat_map(|version| words.into_iter().zip(wanted).map(move |row| (version, row)))
            {
                let mut caller = Caller::connect(version, front.address).await;
                let answer = caller.ask("GET /v1/shelves/a/books/b", &[("x-answer", word)], b"").await;
                let context = format!("{backend} {version:?} {accept} {word}: {answer:?}");
                assert_eq!(answer.status, wanted, "{context}");
                assert_eq!(answer.field("grpc-encoding"), None, "{context}");
                if wanted == 200 {
                    assert_eq!(answer.json()["text"].as_str().map(str::len), Some(3000), "{context}");
                }
                let asked = service.take_asked();
                let offered = accept.replace(['[', ']', '"', ' '], "");
                let offered = Some(offered).filter(|offered| !offered.is_empty());
                assert_eq!(asked[0].field("grpc-accept-encoding"), offered.as_deref(), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn messages_to_services_are_compressed_where_that_is_configured_and_pays() {
    for backend in BACKENDS {
        let service = compressing().await;
        for coding in [ContentCoding::Gzip, ContentCoding::Zstd] {
            let name = coding::name(coding);
            let settings = format!("[transcoding.grpc_compression]\nrequest = \"{name}\"\n");
            let front = front_of(service.address(), backend, Source::DescriptorSet, &settings);
            for (version, length) in
                VERSIONS.into_iter().flat_map(|version| [(version, 5000), (version, 500)])
            {
                let title = "x".repeat(length);
                let body = json!({ "title": title }).to_string();
                let mut caller = Caller::connect(version, front.address).await;
                let answer = caller.ask(BOOKS, &[JSON, ("x-answer", "plain")], body.as_bytes()).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let asked = service.take_asked();
                assert_eq!(asked[0].field("grpc-encoding"), Some(name));
                let frame = &asked[0].body;
                let is_compressed = length == 5000;
                assert_eq!(frame[0], u8::from(is_compressed), "{backend} {version:?} {name} {length}");
                let sent = u32::from_be_bytes(frame[1..5].try_into().expect("four bytes")) as usize;
                assert_eq!((frame.len(), sent < length), (sent + 5, is_compressed));
                let wire = match is_compressed {
                    true => coding::decode(coding, &frame[5..], 10_000).expect("it is whole"),
                    false => frame[5..].to_vec(),
                };
                assert!(String::from_utf8_lossy(&wire).contains(&title), "{backend} {version:?} {name}");
            }
        }
    }
}
