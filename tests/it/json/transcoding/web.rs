//! gRPC-Web: each message of a stream arrives while the service holds the next one back.
#![allow(clippy::disallowed_methods, reason = "a test measures when a message comes")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::RecvStream;
use serde_json::json;

use crate::support::gateway::BACKENDS;
use crate::support::http1::Http1;
use crate::support::library::{Ended, Library, SERVICE, Source, from_json, front, pool};
use crate::support::raw::{RawClient, message};
use crate::support::web::{VERSIONS, Version, open};
use crate::support::within;

const FORMS: [&str; 2] = ["application/grpc-web+proto", "application/grpc-web-text"];
const SOON: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_millis(20);

/// An answer of which the head has come.
enum Arriving {
    Http1(Http1),
    /// The connection lives as long as its client.
    Http2 {
        _client: RawClient,
        body: RecvStream,
    },
}

impl Arriving {
    async fn ask(version: Version, address: SocketAddr, form: &str, body: Vec<u8>) -> Self {
        let line = format!("POST /{SERVICE}/Watch");
        match version {
            Version::Http1 => {
                let mut client = Http1::connect(address).await;
                let length = body.len();
                let head = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-type: {form}\r\n");
                client.say(format!("{head}content-length: {length}\r\n\r\n")).await;
                client.say(&body).await;
                assert_eq!(client.answer_without_body().await.status, 200);
                Self::Http1(client)
            }
            Version::Http2 => {
                let mut client = RawClient::connect(address).await;
                let mut call = open(&mut client, &line, &[("content-type", form)], false).await;
                call.send(Bytes::from(body), true);
                let body = call.head().await.expect("a head").into_body();
                Self::Http2 { _client: client, body }
            }
        }
    }

    /// The next piece; none at the end.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Http1(client) => client.chunk().await,
            Self::Http2 { body, .. } => {
                let piece = within(SOON, "a piece", body.data()).await?.expect("the body is not cut");
                body.flow_control().release_capacity(piece.len()).expect("it was received");
                Some(piece.to_vec())
            }
        }
    }

    /// Reads until this many bytes have come, decoded if they are text.
    async fn read(&mut self, is_text: bool, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let piece = self.piece().await.expect("there is more");
            let groups = piece.chunks(4).map(|group| STANDARD.decode(group).expect("base64"));
            bytes.extend(if is_text { groups.flatten().collect() } else { piece });
        }
        bytes
    }
}

#[tokio::test]
async fn messages_of_a_stream_arrive_one_by_one() {
    let methods: Vec<_> = pool().get_service_by_name(SERVICE).expect("it is there").methods().collect();
    let watch = methods.iter().find(|method| method.name() == "Watch").expect("it is there");
    let request = message(0, &from_json(&watch.input(), &json!({ "count": 3, "size": 5 })));
    let answer = |number: u64| {
        let value = json!({ "number": number.to_string(), "text": "xxxxx" });
        message(0, &from_json(&watch.output(), &value))
    };
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        let mut firsts = Vec::new();
        for (form, version) in FORMS.into_iter().flat_map(|form| VERSIONS.map(|version| (form, version))) {
            let is_text = form == FORMS[1];
            let context = format!("{backend} {form} {version:?}");
            library.let_go(0);
            let body = if is_text { STANDARD.encode(&request).into_bytes() } else { request.to_vec() };
            let let_go = async {
                library.wait_until("the call", |seen| seen.len() == 1).await;
                library.let_go(1);
                Instant::now()
            };
            let (mut arriving, began) =
                tokio::join!(Arriving::ask(version, front.address, form, body), let_go);
            for number in 1..=3 {
                library.let_go(number);
                let wanted = answer(number);
                assert_eq!(arriving.read(is_text, wanted.len()).await, wanted, "{context} {number}");
                if number == 1 {
                    firsts.push(began.elapsed());
                }
            }
            library.let_go(u64::MAX);
            let last = arriving.read(is_text, 20).await;
            assert!(
                last[0] == 0x80 && String::from_utf8_lossy(&last).contains("grpc-status: 0\r\n"),
                "{context}"
            );
            library.wait_until("its end", |seen| seen[0].ended == Ended::Finished).await;
            library.take();
        }
        println!("{backend}: the first messages took {firsts:?}");
        assert!(firsts.iter().min().is_some_and(|first| *first <= FIRST), "{backend}: {firsts:?}");
    }
}
