//! Bodies that are no JSON: `google.api.HttpBody` in both directions.

use std::slice::from_ref;

use serde_json::json;

use crate::support::gateway::BACKENDS;
use crate::support::library::{Library, Source, base64, front};
use crate::support::web::{Caller, VERSIONS};

const BYTES: &[u8] = b"\0\xff\r\n{not json";

#[tokio::test]
async fn answers_of_any_type() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for (line, content_type, body) in [
                ("GET /v1/files/a/b.txt", "text/x-test; v=1", "of \"files/a/b.txt\""),
                ("GET /v1/wrapped/n", "image/x-test", "inner"),
                ("GET /v1/films/f?count=3", "video/x-test", "part 1;part 2;part 3;"),
            ] {
                let answer = caller.ask(line, &[("accept", "text/event-stream")], b"").await;
                assert_eq!((answer.status, answer.is_whole), (200, true), "{version:?} {line}: {answer:?}");
                assert_eq!(answer.field("content-type"), Some(content_type), "{version:?} {line}");
                assert_eq!(answer.text(), body, "{version:?} {line}");
            }
            // A stream that fails has no place for an object of JSON in it: it is only cut.
            let answer = caller.ask("GET /v1/films/f?count=2&fail.code=13", &[], b"").await;
            assert_eq!((answer.status, answer.is_whole), (200, false), "{version:?}: {answer:?}");
            assert_eq!(answer.text(), "part 1;part 2;", "{version:?}");
            let mut caller = Caller::connect(version, front.address).await;
            let answer = caller.ask("GET /v1/films/f?fail.code=9&fail.message=no", &[], b"").await;
            assert_eq!((answer.status, answer.field("content-type")), (400, Some("application/json")));
            assert_eq!(answer.json(), json!({ "code": 9, "message": "no", "details": [] }), "{version:?}");
        }
    }
}

#[tokio::test]
async fn requests_of_any_type() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let typed = ("content-type", "image/png");
            let answer = caller.ask("POST /v1/files", &[typed], BYTES).await;
            assert_eq!(answer.status, 200, "{version:?}: {answer:?}");
            let body = json!({ "contentType": "image/png", "data": base64(BYTES) });
            assert_eq!(library.take().messages, from_ref(&body), "{version:?}");

            let answer = caller.ask("PUT /v1/files/a/b", &[typed], BYTES).await;
            assert_eq!(answer.status, 200, "{version:?}: {answer:?}");
            assert_eq!(
                library.take().messages,
                [json!({ "name": "files/a/b", "file": body })],
                "{version:?}"
            );

            let answer = caller.ask("POST /v1/files", &[], b"").await;
            assert_eq!(answer.status, 200, "{version:?}: {answer:?}");
            assert_eq!(library.take().messages, [json!({})], "{version:?}");

            // A stream of it: the first message has the type, and all of them together the bytes.
            let answer = caller.ask_in_pieces("POST /v1/films", &[typed], &[b"one", b"two", b"three"]).await;
            assert_eq!(answer.status, 200, "{version:?}: {answer:?}");
            let messages = library.take().messages;
            assert_eq!(messages[0]["contentType"], "image/png", "{messages:?}");
            assert!(messages[1..].iter().all(|message| message.get("contentType").is_none()), "{messages:?}");
            let data = messages.iter().map(|message| message["data"].as_str().expect("bytes"));
            let joined: Vec<String> = data.map(ToOwned::to_owned).collect();
            let decoded: Vec<u8> =
                joined.iter().flat_map(|text| crate::support::library::from_base64(text)).collect();
            assert_eq!(decoded, b"onetwothree", "{version:?}");
        }
    }
}
