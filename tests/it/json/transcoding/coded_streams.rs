//! Streams of answers that are compressed: each message can be read at once, and few enough have memory for it.

use std::io::Read;

use ringway::config::ContentCoding;
use ringway::transcode::coding;

use crate::support::gateway::BACKENDS;
use crate::support::http1::Http1;
use crate::support::library::{Ended, Library, ServedCall, Source, front};
use crate::support::raw::RawClient;
use crate::support::web::{Caller, VERSIONS, open};

const SETTINGS: &str = "[transcoding.compression]\nalgorithms = [\"zstd\", \"br\", \"gzip\"]\n";
const FORMS: [(&str, &str, &str, &str); 3] = [
    ("application/x-ndjson", "", "\n", ""),
    ("text/event-stream", "data: ", "\n\n", ""),
    ("application/json", "", "", "]"),
];

/// What can be read of a body that has not ended.
fn begun(coding: ContentCoding, body: &[u8]) -> String {
    let mut decoder: Box<dyn Read + '_> = match coding {
        ContentCoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        ContentCoding::Brotli => Box::new(brotli::Decompressor::new(body, 512)),
        ContentCoding::Zstd => Box::new(zstd::Decoder::new(body).expect("memory is enough")),
    };
    let (mut plain, mut piece) = (Vec::new(), [0; 512]);
    while let Ok(length @ 1..) = decoder.read(&mut piece) {
        plain.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(plain).expect("text")
}

/// Each message can be read while the service holds the next one back.
#[tokio::test]
async fn a_message_is_not_held_back_by_its_coding() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, SETTINGS);
        for (coding, form) in
            ContentCoding::ALL.into_iter().flat_map(|coding| FORMS.map(|form| (coding, form)))
        {
            let (accept, before, after, end) = form;
            library.let_go(0);
            let mut client = Http1::connect(front.address).await;
            let accepted = coding::name(coding);
            let fields = format!("host: x\r\naccept: {accept}\r\naccept-encoding: {accepted}");
            client.say(format!("GET /v1/events?count=3 HTTP/1.1\r\n{fields}\r\n\r\n")).await;
            library.wait_until("the call", |seen| seen.len() == 1).await;
            let (mut body, mut wanted) = (Vec::new(), String::new());
            for number in 1..=3 {
                library.let_go(number);
                if number == 1 {
                    let head = client.answer_without_body().await;
                    let told =
                        [head.field("content-encoding"), head.field("vary"), head.field("content-type")];
                    assert_eq!(told, [Some(accepted), Some("accept-encoding"), Some(accept)], "{head:?}");
                }
                let comma = match (end, number) {
                    ("]", 1) => "[",
                    ("]", _) => ",",
                    _ => "",
                };
                wanted += &format!("{comma}{before}{{\"number\":\"{number}\"}}{after}");
                while begun(coding, &body) != wanted {
                    body.extend(client.chunk().await.expect("there is more"));
                }
            }
            library.let_go(u64::MAX);
            while let Some(chunk) = client.chunk().await {
                body.extend(chunk);
            }
            let whole = coding::decode(coding, &body, 1000).expect("it ends in order");
            assert_eq!(String::from_utf8(whole).expect("text"), wanted + end, "{coding:?} {accept}");
            library.take();
        }
    }
}

#[tokio::test]
async fn streams_are_smaller_and_their_errors_are_readable() {
    for backend in BACKENDS {
        let library = Library::start();
        let on = front(&library, backend, Source::DescriptorSet, SETTINGS);
        let none =
            front(&library, backend, Source::DescriptorSet, &(SETTINGS.to_owned() + "max_streams = 0"));
        for version in VERSIONS {
            let mut caller = Caller::connect(version, on.address).await;
            for coding in ContentCoding::ALL {
                let accepted = [("accept-encoding", coding::name(coding))];
                let context = format!("{backend} {version:?} {coding:?}");
                let plain = caller.ask("GET /v1/events?count=500&size=30", &[], b"").await;
                let coded = caller.ask("GET /v1/events?count=500&size=30", &accepted, b"").await;
                let decoded = coding::decode(coding, &coded.body, 1 << 20).expect("it is whole");
                assert!(decoded == plain.body && coded.is_whole, "{context}");
                assert!(coded.body.len() * 3 < plain.body.len(), "{context}: {}", coded.body.len());
                let empty = caller.ask("GET /v1/events", &accepted, b"").await;
                assert_eq!((empty.status, coding::decode(coding, &empty.body, 9)), (200, Ok(Vec::new())));
                // A stream that fails is cut, and all that came before can be read, the error with it.
                let failing = "GET /v1/events?count=1&fail.code=8&fail.message=all%20gone";
                let failed = caller.ask(failing, &accepted, b"").await;
                assert!(!failed.is_whole, "{context}: {failed:?}");
                let text = begun(coding, &failed.body);
                let error = text.lines().nth(1).unwrap_or_default();
                assert!(
                    error.starts_with("{\"error\":{\"code\":8,\"details\":[]") && text.lines().count() == 2,
                    "{context}: {text}"
                );
                caller = Caller::connect(version, on.address).await;
            }
            let accepted = [("accept-encoding", "gzip")];
            // Nobody knows whether a film is compressed already.
            let film = caller.ask("GET /v1/films/f?count=3", &accepted, b"").await;
            assert_eq!((film.field("content-encoding"), film.text()), (None, "part 1;part 2;part 3;"));
            let head = caller.ask("HEAD /v1/events?count=3", &accepted, b"").await;
            assert_eq!((head.status, head.field("content-encoding")), (200, None), "{head:?}");
            let mut caller = Caller::connect(version, none.address).await;
            let stream = caller.ask("GET /v1/events?count=2", &accepted, b"").await;
            assert_eq!((stream.field("content-encoding"), stream.field("vary")), (None, None), "{stream:?}");
        }
    }
}

/// Of two streams at a time one has the place, and then others have it.
#[tokio::test]
async fn streams_beyond_the_bound_are_sent_as_they_are() {
    for backend in BACKENDS {
        let library = Library::start();
        let front =
            front(&library, backend, Source::DescriptorSet, &(SETTINGS.to_owned() + "max_streams = 1"));
        // One connection, for each worker has places of its own.
        let mut client = RawClient::connect(front.address).await;
        let accepted = [("accept-encoding", "gzip")];
        for _ in 0..3 {
            library.let_go(1);
            let mut first = open(&mut client, "GET /v1/events?count=2&size=9", &accepted, true).await;
            let head = first.head().await.expect("a head");
            assert_eq!(head.headers()["content-encoding"], "gzip", "{backend}");
            let mut second = open(&mut client, "GET /v1/events?count=2", &accepted, true).await;
            let head = second.head().await.expect("a head");
            assert_eq!(head.headers().get("content-encoding"), None, "{backend}");
            assert_eq!(head.headers()["vary"], "accept-encoding", "{backend}");
            // A caller who goes leaves its place.
            for call in [&mut first, &mut second] {
                call.reset(h2::Reason::CANCEL);
            }
            let both_ended = |seen: &[ServedCall]| seen.iter().all(|call| call.ended == Ended::Cancelled);
            library.wait_until("both ends", both_ended).await;
            library.take();
        }
    }
}
