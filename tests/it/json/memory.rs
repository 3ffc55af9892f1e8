//! The memory of JSON: large bodies, and readers of streams that do not read. The gateway is a process of its own, with
//! the program's allocator, and the system reports its use.

use std::time::Duration;

use crate::support::gateway::{BACKENDS, GatewayBuilder};
use crate::support::http1::Http1;
use crate::support::library::{Ended, Library, SERVICE, Scratch, descriptor_set, from_json};
use crate::support::process::Process;
use crate::support::raw::RawClient;
use crate::support::web::{Caller, JSON, VERSIONS, Version, open};
use crate::support::within;
use serde_json::json;

const MIB: usize = 1 << 20;
/// Bytes that a body may take besides its own size, the message's, and those of passing it on in gRPC. 64 KiB are the
/// body's; half a MiB is free memory that the system still counts, which differs between runs. `tests/allocations/json_calls.rs`
/// has the exact figure for requests.
///
/// The last MiB is for the worker's receive buffers of 64 KiB, which such a body is the first to touch.
const BESIDES: usize = (64 << 10) + (512 << 10) + (1 << 20);
/// Of so many tries the one with the least growth counts: what is free and not given back yet differs between them.
const TRIES: usize = 2;

async fn start(library: &Library, scratch: &Scratch, backend: &str) -> Process {
    let path = scratch.0.join("library.protoset");
    std::fs::write(&path, descriptor_set()).expect("a folder for temporary files");
    let tables = format!("[transcoding]\ndescriptor_sets = [{path:?}]\n");
    let config = GatewayBuilder::new(&[library.address()], backend).set("workers", 1).extra(&tables);
    Process::start(&config.text()).await
}

/// How much memory the process takes beyond what it had, at most, while `work` is done.
async fn grown<T>(process: &Process, work: impl Future<Output = T>) -> (usize, T) {
    process.forget_peak();
    let before = process.memory("VmRSS");
    let done = work.await;
    (process.memory("VmHWM").saturating_sub(before), done)
}

/// A title that makes a message of 4 MiB, nearly: no more is read of an answer.
fn title() -> String {
    "x".repeat(4 * MIB - 200)
}

/// The memory of passing on a message of 4 MiB, up or down: the windows of both sides, and the sockets' buffers.
async fn passed_on(backend: &str, is_down: bool) -> usize {
    let pool = crate::support::library::pool();
    let methods: Vec<_> = pool.get_service_by_name(SERVICE).expect("it is there").methods().collect();
    let create = methods.iter().find(|method| method.name() == "Create").expect("it is there");
    let (small, large) = if is_down {
        (json!({ "size": 1 }), json!({ "size": title().len() }))
    } else {
        (json!({}), json!({ "item": { "title": title() } }))
    };
    let mut least = usize::MAX;
    for _ in 0..TRIES {
        let (library, scratch) = (Library::start(), Scratch::new());
        let process = start(&library, &scratch, backend).await;
        let mut caller = RawClient::connect(process.listener).await;
        for _ in 0..50 {
            caller.call("/test.web.v1.Library/Create", &[], &from_json(&create.input(), &small)).await;
        }
        let message = from_json(&create.input(), &large);
        let (grown, reply) = grown(&process, caller.call("/test.web.v1.Library/Create", &[], &message)).await;
        assert_eq!(reply.grpc_status(), Some("0"));
        least = least.min(grown);
    }
    least
}

#[tokio::test]
async fn a_large_body_costs_its_own_size_besides_the_message() {
    for backend in BACKENDS {
        for what in ["a request", "an answer"] {
            let passed_on = passed_on(backend, what == "an answer").await;
            for version in VERSIONS {
                let mut least = usize::MAX;
                for _ in 0..TRIES {
                    let (library, scratch) = (Library::start(), Scratch::new());
                    let process = start(&library, &scratch, backend).await;
                    let line = "POST /v1/shelves/a/books";
                    let mut caller = Caller::connect(version, process.listener).await;
                    for _ in 0..50 {
                        assert_eq!(caller.ask(line, &[JSON], b"{}").await.status, 200);
                    }
                    let body = format!("{{\"title\":\"{}\"}}", title());
                    let length = body.len().to_string();
                    let work = async {
                        match what {
                            "a request" => {
                                // The other version's client says it by itself.
                                let headers = [JSON, ("content-length", &*length)];
                                let headers =
                                    if version == Version::Http1 { &headers[..1] } else { &headers[..] };
                                caller.ask(line, headers, body.as_bytes()).await
                            }
                            _ => {
                                let line = format!("GET /v1/shelves/a/books/b?size={}", title().len());
                                let answer = caller.ask(&line, &[], b"").await;
                                assert!(answer.body.len() >= title().len());
                                answer
                            }
                        }
                    };
                    let (grown, answer) = grown(&process, work).await;
                    assert_eq!(answer.status, 200);
                    least = least.min(grown);
                }
                println!(
                    "{backend} {version:?} {what}: {} KiB for 4096 + 4096; passed on {} KiB",
                    least >> 10,
                    passed_on >> 10
                );
                assert!(least <= 2 * 4 * MIB + BESIDES + passed_on, "{backend} {version:?} {what}: {least}");
            }
        }
    }
}

/// Each message is 100 KiB; all of them would be 50 MiB.
const MESSAGES: usize = 200;

#[tokio::test]
async fn a_reader_that_does_not_read_costs_bounded_memory() {
    for backend in BACKENDS {
        for (version, accept) in [
            (Version::Http1, "application/x-ndjson"),
            (Version::Http1, "text/event-stream"),
            (Version::Http2, "application/x-ndjson"),
            (Version::Http2, "application/json"),
        ] {
            let (library, scratch) = (Library::start(), Scratch::new());
            let process = start(&library, &scratch, backend).await;
            let before = process.memory("VmRSS");
            let line = format!("GET /v1/events?count={MESSAGES}&size=102400");
            let context = format!("{backend} {version:?} {accept}");
            let mut reader = Reader::open(version, &process, &line, accept).await;
            library.stalled().await;
            let grown = process.memory("VmHWM").saturating_sub(before);
            println!("{context}: {} KiB", grown >> 10);
            assert!(grown < 8 * MIB, "{context}: {grown}");
            assert_eq!(library.seen()[0].ended, Ended::Running);
            // Nothing of it is lost, once it reads.
            let mut bytes = 0;
            let all = async {
                while let Some(count) = reader.more().await {
                    bytes += count;
                }
            };
            within(Duration::from_secs(60), "all of the stream", all).await;
            assert!(bytes > MESSAGES * 102_400, "{context}: {bytes}");
        }
    }
}

/// A client that reads an answer only when told to.
enum Reader {
    Http1(Http1),
    /// The connection lives as long as its client.
    Http2 {
        _client: RawClient,
        body: h2::RecvStream,
    },
}

impl Reader {
    async fn open(version: Version, process: &Process, line: &str, accept: &str) -> Self {
        match version {
            Version::Http1 => {
                let mut client = Http1::connect(process.listener).await;
                client.say(format!("{line} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n")).await;
                assert_eq!(client.answer_without_body().await.status, 200);
                Self::Http1(client)
            }
            Version::Http2 => {
                let mut client = RawClient::connect(process.listener).await;
                let mut call = open(&mut client, line, &[("accept", accept)], true).await;
                let head = call.head().await.expect("a head");
                assert_eq!(head.status(), 200);
                Self::Http2 { _client: client, body: head.into_body() }
            }
        }
    }

    /// The length of the next piece; none at the end.
    async fn more(&mut self) -> Option<usize> {
        match self {
            Self::Http1(client) => client.chunk().await.map(|chunk| chunk.len()),
            Self::Http2 { body, .. } => {
                let piece = body.data().await?.expect("the body is not cut");
                body.flow_control().release_capacity(piece.len()).expect("it was received");
                Some(piece.len())
            }
        }
    }
}
