//! Members of one oneof from different parts of a request, and other things that only the whole of it tells.

use serde_json::{Value, json};

use crate::support::gateway::BACKENDS;
use crate::support::library::{Library, Source, front};
use crate::support::web::{Caller, JSON, VERSIONS};

/// The message that the service gets, or the two fields that are refused.
type Wanted = Result<Value, [&'static str; 2]>;

/// Request line and body; the message that comes of it, or what two things are said to be of one oneof.
fn table() -> Vec<(&'static str, &'static str, Wanted)> {
    vec![
        ("GET /v1/choices/alice", "", Ok(json!({ "userId": "alice" }))),
        ("GET /v1/choices/alice?note=n", "", Ok(json!({ "userId": "alice", "note": "n" }))),
        ("GET /v1/choices/alice?email=", "", Err(["userId", "email"])),
        ("GET /v1/choices/alice?item.id=1", "", Err(["userId", "item"])),
        ("GET /v1/choices?user_id=a&user_id=b", "", Ok(json!({ "userId": "b" }))),
        ("GET /v1/choices?userId=a&email=b", "", Err(["userId", "email"])),
        ("GET /v1/choices?item.id=a&item.title=b", "", Ok(json!({ "item": { "id": "a", "title": "b" } }))),
        ("GET /v1/choices?email=e&item.title=b", "", Err(["email", "item"])),
        (
            "GET /v1/choices?nested.email=e&email=f",
            "",
            Ok(json!({ "email": "f", "nested": { "email": "e" } })),
        ),
        ("GET /v1/choices?nested.email=e&nested.userId=f", "", Err(["email", "userId"])),
        ("POST /v1/choices?userId=q", "{\"title\": \"z\"}", Err(["item", "userId"])),
        (
            "POST /v1/choices?note=q",
            "{\"title\": \"z\"}",
            Ok(json!({ "item": { "title": "z" }, "note": "q" })),
        ),
        ("POST /v1/choices?userId=q", "", Ok(json!({ "userId": "q" }))),
        ("PUT /v1/choices/alice", "{\"note\": \"n\"}", Ok(json!({ "userId": "alice", "note": "n" }))),
        ("PUT /v1/choices/alice", "{\"userId\": \"bob\"}", Ok(json!({ "userId": "alice" }))),
        ("PUT /v1/choices/alice", "{\"email\": \"e\"}", Err(["email", "userId"])),
        ("PUT /v1/choices/alice", "{\"item\": {}}", Err(["item", "userId"])),
        (
            "PATCH /v1/choices/alice",
            "{\"note\": \"n\"}",
            Ok(json!({ "nested": { "userId": "alice", "note": "n" } })),
        ),
        ("PATCH /v1/choices/alice", "{\"email\": \"e\"}", Err(["email", "userId"])),
    ]
}

#[tokio::test]
async fn two_members_of_a_oneof_are_refused_with_both_names() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for (line, body, wanted) in table() {
                let headers: &[_] = if body.is_empty() { &[] } else { &[JSON] };
                let answer = caller.ask(line, headers, body.as_bytes()).await;
                let context = format!("{version:?} {line} {body}: {answer:?}");
                match wanted {
                    Ok(message) => {
                        assert_eq!(answer.status, 200, "{context}");
                        assert_eq!(library.take().messages, [message], "{context}");
                    }
                    Err([first, second]) => {
                        assert_eq!(answer.status, 400, "{context}");
                        let wanted = format!("`{first}` and `{second}` are of one oneof");
                        assert_eq!(answer.json()["message"], wanted, "{context}");
                        assert!(library.seen().is_empty(), "{context}");
                    }
                }
            }
        }
    }
}

/// An upload of nothing calls with the path's fields. A path may have empty segments where any number may stand.
#[tokio::test]
async fn an_upload_of_nothing_has_what_the_path_says() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for (line, name) in [
                ("POST /v1/parts/a", "a"),
                ("POST /v1/parts/a//b", "a//b"),
                ("POST /v1/parts/a/", "a/"),
                ("POST /v1/parts/", ""),
            ] {
                for pieces in [&[][..], &[&b"one"[..], b"two"]] {
                    let answer = if pieces.is_empty() {
                        caller.ask(line, &[], b"").await
                    } else {
                        caller.ask_in_pieces(line, &[("content-type", "x/y")], pieces).await
                    };
                    let context = format!("{version:?} {line}: {answer:?}");
                    assert_eq!(answer.status, 200, "{context}");
                    let messages = library.take().messages;
                    assert!(!messages.is_empty() && messages.len() <= pieces.len().max(1), "{context}");
                    let names = messages.iter().map(|message| message["name"].as_str().unwrap_or_default());
                    assert!(names.clone().all(|told| told == name), "{context}: {messages:?}");
                }
            }
            assert_eq!(caller.ask("GET /v1/choices//", &[], b"").await.status, 404);
        }
    }
}

/// A failure after a head has its metadata, too, but for what says how a body is sent.
#[tokio::test]
async fn trailing_metadata_of_a_failure_reaches_the_caller() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for line in ["GET /v1/shelves/a/books/b", "GET /v1/events"] {
                let line = format!("{line}?fail.code=16&fail.message=head%20first");
                let answer = caller.ask(&line, &[], b"").await;
                assert_eq!((answer.status, &answer.json()["code"]), (401, &json!(16)), "{answer:?}");
                assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"x\""), "{answer:?}");
                assert_eq!(answer.field("x-last"), Some("yes"), "{answer:?}");
                assert_eq!(answer.field("content-type"), Some("application/json"), "{answer:?}");
            }
        }
    }
}
