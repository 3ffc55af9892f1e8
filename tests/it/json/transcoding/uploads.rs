//! Streams of requests: lines or an array in, one answer or a stream of them out.

use bytes::Bytes;
use serde_json::json;

use crate::support::gateway::BACKENDS;
use crate::support::http1::Http1;
use crate::support::library::{Ended, Library, Source, front};
use crate::support::raw::RawClient;
use crate::support::web::{Caller, JSON, VERSIONS, open};
use crate::support::within;
use std::time::Duration;

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn lines_and_arrays_are_streams_of_messages() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            for (headers, body, messages, total) in [
                (LINES, "{\"number\": 1}\n{\"number\": \"2\"}\n", 2, "3"),
                (LINES, "{\"number\": 1}\r\n\r\n  {\"number\": 2, \"text\": \"[}\\\"\"}", 2, "3"),
                (JSON, "[{\"number\": 4}, {\"number\": 5}]", 2, "9"),
                (JSON, " [ ] ", 0, ""),
                (LINES, "", 0, ""),
                (JSON, "{\"number\": 8}", 1, "8"),
                (JSON, "{\"number\": 1}{\"number\": 2}{\"number\": 3}", 3, "6"),
            ] {
                let wanted = if total.is_empty() { json!({}) } else { json!({ "total": total }) };
                let answer = caller.ask("POST /v1/sum", &[headers], body.as_bytes()).await;
                assert_eq!(
                    (answer.status, answer.json()),
                    (200, wanted.clone()),
                    "{version:?} {body}: {answer:?}"
                );
                assert_eq!(library.take().messages.len(), messages, "{version:?} {body}");
                // In two pieces at every place, and byte by byte.
                for cut in 1..body.len() {
                    let (one, two) = body.as_bytes().split_at(cut);
                    let answer = caller.ask_in_pieces("POST /v1/sum", &[headers], &[one, two]).await;
                    assert_eq!(
                        (answer.status, answer.json()),
                        (200, wanted.clone()),
                        "{version:?} {body} {cut}"
                    );
                }
                let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
                let answer = caller.ask_in_pieces("POST /v1/chat", &[headers], &bytes).await;
                assert_eq!((answer.status, answer.is_whole), (200, true), "{version:?} {body}");
                assert_eq!(answer.text().lines().count(), messages, "{version:?} {body}");
                assert_eq!(library.take().messages.len(), messages, "{version:?} {body}");
            }
        }
    }
}

/// A fault in a later value ends the call: the service sees it cancelled, not ended.
#[tokio::test]
async fn a_later_value_that_is_wrong_cancels_the_call() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            for (headers, one, two, text) in [
                (LINES, "{\"number\": 1}\n", "{\"number\": \"x\"}\n", "value at offset 14: offset 12"),
                (LINES, "{\"number\": 1}\n", "{\"number\"", "offset 23"),
                (JSON, "[{\"number\": 1},", "{\"nummer\": 1}]", "nummer"),
                (JSON, "[{\"number\": 1}", "{\"number\": 1}]", "offset 14"),
                (JSON, "[{\"number\": 1}", "", "offset 14"),
            ] {
                let mut caller = Caller::connect(version, front.address).await;
                let pieces = [one.as_bytes(), two.as_bytes()];
                let pieces = if two.is_empty() { &pieces[..1] } else { &pieces[..] };
                let answer = caller.ask_in_pieces("POST /v1/sum", &[headers], pieces).await;
                let context = format!("{version:?} {one}{two}: {answer:?}");
                assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{context}");
                assert!(answer.json()["message"].as_str().expect("text").contains(text), "{context}");
                // It may come before the call has reached the service.
                library
                    .wait_until("it is cancelled", |seen| {
                        seen.iter().all(|seen| seen.ended == Ended::Cancelled)
                    })
                    .await;
            }
        }
    }
}

/// Answers come while the request is still being sent, and an error then is the last value.
#[tokio::test]
async fn both_directions_flow_at_once() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        let mut client = Http1::connect(front.address).await;
        client
            .say("POST /v1/chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        for number in 1..=3 {
            client.say(format!("d\r\n{{\"number\":{number}}}\n\r\n")).await;
            if number == 1 {
                assert_eq!(client.answer_without_body().await.status, 200);
            }
            let chunk = client.chunk().await.expect("an answer to each");
            assert_eq!(chunk, format!("{{\"number\":\"{number}\"}}\n").into_bytes());
        }
        client.say("2\r\n{]\r\n").await;
        let last = String::from_utf8(client.chunk().await.expect("the error")).expect("text");
        assert!(last.starts_with("{\"error\":") && last.contains("value at offset 39: offset 1"), "{last}");
        assert!(client.rest().await.is_empty(), "the body is cut");
        library.wait_until("it is cancelled", |seen| seen[0].ended == Ended::Cancelled).await;
        library.take();

        let mut client = RawClient::connect(front.address).await;
        let mut call = open(&mut client, "POST /v1/chat", &[JSON], false).await;
        call.send(Bytes::from_static(b"[{\"number\":1}"), false);
        let mut body = call.head().await.expect("a head").into_body();
        for number in 1..=3 {
            let piece = within(SOON, "an answer", body.data()).await.expect("an answer").expect("an answer");
            assert_eq!(piece, format!("{{\"number\":\"{number}\"}}\n"));
            let next = if number == 3 { "]".to_owned() } else { format!(",{{\"number\":{}}}", number + 1) };
            call.send(next.into(), number == 3);
        }
        let end = within(SOON, "the end", body.data()).await;
        assert!(end.is_none_or(|last| last.expect("no error").is_empty()));
        library.wait_until("its end", |seen| seen[0].ended == Ended::Finished).await;
    }
}
