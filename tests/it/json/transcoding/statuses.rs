//! Calls that fail: the status, the `google.rpc.Status` in the body, deadlines, and upstreams that are not there.
#![allow(clippy::disallowed_methods, reason = "a test measures how long an end takes")]

use std::time::{Duration, Instant};

use prost_types::Any;
use ringway::policy::status::Code;
use serde_json::json;

use crate::support::gateway::{BACKENDS, gateway_config, metric_becomes, start};
use crate::support::library::{Ended, Library, Source, base64, from_json, front, front_of, pool};
use crate::support::raw_server::{ENHANCE_YOUR_CALM, INTERNAL_ERROR, RawServer, Stage, Step};
use crate::support::web::{Caller, JSON, VERSIONS, Version};
use prost::Message as _;

/// As grpc-gateway and Envoy have it.
const TABLE: [(u64, u16); 16] = [
    (1, 499),
    (2, 500),
    (3, 400),
    (4, 504),
    (5, 404),
    (6, 409),
    (7, 403),
    (8, 429),
    (9, 400),
    (10, 409),
    (11, 400),
    (12, 501),
    (13, 500),
    (14, 503),
    (15, 500),
    (16, 401),
];

#[tokio::test]
async fn every_code_has_its_status() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for (code, status) in TABLE {
                // Of a call that answers once, and of a stream that fails before its first message.
                for line in ["GET /v1/shelves/a/books/b", "GET /v1/events"] {
                    let line = format!("{line}?fail.code={code}&fail.message=w%C3%A4s%0A%22");
                    let answer = caller.ask(&line, &[("accept", "application/x-ndjson")], b"").await;
                    let context = format!("{version:?} {code}: {answer:?}");
                    assert_eq!(answer.status, status, "{context}");
                    assert_eq!(answer.field("content-type"), Some("application/json"), "{context}");
                    assert_eq!(answer.json(), json!({ "code": code, "message": "wäs\n\"", "details": [] }));
                }
            }
            assert!(Code::from_header(b"17") == Code::Unknown, "what lies beyond the table is UNKNOWN");
            let answer = caller.ask("GET /v1/events?fail.code=99", &[], b"").await;
            assert_eq!((answer.status, &answer.json()["code"]), (500, &json!(2)));
        }
    }
}

/// A `google.rpc.Status` with these details.
fn status(details: &[(&str, Vec<u8>)]) -> String {
    let mut bytes = vec![0x08, 5];
    for (name, value) in details {
        let any =
            Any { type_url: format!("type.googleapis.com/{name}"), value: value.clone() }.encode_to_vec();
        bytes.push(0x1a);
        prost::encoding::encode_varint(any.len() as u64, &mut bytes);
        bytes.extend(any);
    }
    base64(&bytes)
}

#[tokio::test]
async fn details_are_said_in_json() {
    let library = Library::start();
    let front = front(&library, "io_uring", Source::DescriptorSet, "");
    let item = pool().get_message_by_name("test.web.v1.Item").expect("it is in the file");
    let item = from_json(&item, &json!({ "id": "1", "pages": "5" }));
    let details = status(&[("test.web.v1.Item", item), ("no.such.Type", vec![1, 2, 3])]);
    let wanted = json!([
        { "@type": "type.googleapis.com/test.web.v1.Item", "id": "1", "pages": "5" },
        { "@type": "type.googleapis.com/no.such.Type", "value": "AQID" },
    ]);
    for version in VERSIONS {
        let mut caller = Caller::connect(version, front.address).await;
        let body = json!({ "fail": { "code": 5, "message": "gone", "details": details } }).to_string();
        let answer = caller.ask("POST /test.web.v1.Library/Plain", &[JSON], body.as_bytes()).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.json(), json!({ "code": 5, "message": "gone", "details": wanted }));

        // In a stream that has begun as well.
        let body =
            json!({ "count": 1, "fail": { "code": 5, "message": "gone", "details": details } }).to_string();
        let line = "POST /test.web.v1.Library/Watch";
        let answer = caller.ask(line, &[JSON], body.as_bytes()).await;
        let last = answer.text().lines().last().expect("two lines");
        let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(last, json!({ "error": { "code": 5, "message": "gone", "details": wanted } }));
        assert!(!answer.is_whole);
    }
}

#[tokio::test]
async fn deadlines_are_504_and_cancel_the_call() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        library.let_go(0);
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let began = Instant::now();
            let answer = caller.ask("GET /v1/shelves/a/books/b", &[("grpc-timeout", "200m")], b"").await;
            assert_eq!((answer.status, &answer.json()["code"]), (504, &json!(4)), "{answer:?}");
            assert!(Duration::from_millis(190) < began.elapsed(), "{:?}", began.elapsed());
            library.wait_until("it is cancelled", |seen| seen[0].ended == Ended::Cancelled).await;
            let asked = library.take().headers["grpc-timeout"].to_str().expect("text").to_owned();
            assert!(asked.ends_with('u') || asked.ends_with('n') || asked.ends_with('m'), "{asked}");

            // A stream that has begun ends with the same, as its last value.
            library.let_go(2);
            let answer = caller.ask("GET /v1/events?count=5", &[("grpc-timeout", "200m")], b"").await;
            assert_eq!((answer.status, answer.is_whole), (200, false), "{answer:?}");
            let lines: Vec<&str> = answer.text().lines().collect();
            assert_eq!(&lines[..2], [r#"{"number":"1"}"#, r#"{"number":"2"}"#]);
            assert!(lines[2].starts_with(r#"{"error":{"code":4,"#) && lines.len() == 3, "{lines:?}");
            library.let_go(0);
            library.wait_until("it is cancelled", |seen| seen[0].ended == Ended::Cancelled).await;
            library.take();

            let mut caller = Caller::connect(version, front.address).await;
            for name in ["grpc-timeout", "x-request-timeout"] {
                let answer = caller.ask("GET /v1/events", &[(name, "soon")], b"").await;
                assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{answer:?}");
            }
            // The earliest holds.
            let both = [("x-request-timeout", "0.2s"), ("grpc-timeout", "1H")];
            let answer = caller.ask("GET /v1/shelves/a/books/b", &both, b"").await;
            assert_eq!((answer.status, &answer.json()["code"]), (504, &json!(4)), "{answer:?}");
            let seen = library.take();
            assert!(!seen.headers.contains_key("x-request-timeout"), "{seen:?}");
        }
        metric_becomes(&front.gateway, "ringway_calls_active", 0).await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_503() {
    for backend in BACKENDS {
        let library = Library::start();
        let gone = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("it is bound")
        };
        let front = front_of(gone, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for line in ["GET /v1/shelves/a/books/b", "GET /v1/events"] {
                let answer = caller.ask(line, &[], b"").await;
                assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(14)), "{answer:?}");
            }
        }
        assert!(library.seen().is_empty());
    }
}

#[tokio::test]
async fn upstreams_that_do_not_speak_grpc_are_mapped() {
    let steps = [
        (Step::Http(503), 503, 14),
        (Step::Http(401), 401, 16),
        (Step::Http(404), 501, 12),
        (Step::Http(400), 500, 13),
        (Step::Http(418), 500, 2),
        (Step::Http(200), 500, 2),
        (Step::NoStatus, 500, 2),
        (Step::Reset(Stage::Nothing, ENHANCE_YOUR_CALM), 429, 8),
        (Step::Reset(Stage::Head, INTERNAL_ERROR), 500, 13),
        (Step::Reset(Stage::HalfMessage, INTERNAL_ERROR), 500, 13),
        (Step::Reset(Stage::Message, INTERNAL_ERROR), 500, 13),
        (Step::Close(Stage::Message), 503, 14),
        (Step::Status(7, "no"), 403, 7),
    ];
    for (backend, version) in BACKENDS.into_iter().zip(VERSIONS) {
        let script: Vec<Step> = steps.iter().map(|(step, ..)| step.clone()).collect();
        let server = RawServer::start(&script).await;
        let front = front_of(server.address(), backend, Source::DescriptorSet, "");
        let mut caller = Caller::connect(version, front.address).await;
        for (step, status, code) in &steps {
            let answer = caller.ask("DELETE /v1/shelves/a/books/b", &[], b"").await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (*status, &json!(code)),
                "{step:?}: {answer:?}"
            );
            assert!(answer.is_whole && !answer.text().contains("html"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn answers_that_cannot_be_written_are_500() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "max_response_message_size = \"10KiB\"");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let fits = caller.ask("GET /v1/shelves/a/books/b?size=10000", &[], b"").await;
            assert_eq!((fits.status, fits.body.len() > 10_000), (200, true), "{version:?}");
            for line in [
                "GET /v1/shelves/deep/books/1",
                "GET /v1/shelves/a/books/b?size=10300",
                "GET /v1/events?count=1&size=10300",
            ] {
                let answer = caller.ask(line, &[], b"").await;
                assert_eq!((answer.status, &answer.json()["code"]), (500, &json!(13)), "{line}: {answer:?}");
                assert!(answer.is_whole);
            }
        }
    }
}

/// Where no descriptors are configured, plain HTTP is told so.
#[tokio::test]
async fn without_descriptors_nothing_is_mapped() {
    let library = Library::start();
    let gateway = start(&gateway_config(&[library.address()], "io_uring", ""));
    let mut caller = Caller::connect(Version::Http1, gateway.listeners()[0]).await;
    let answer = caller.ask("POST /test.web.v1.Library/Plain", &[JSON], b"{}").await;
    assert_eq!((answer.status, answer.field("content-type")), (404, Some("application/json")));
    assert!(library.seen().is_empty());
}
