//! What JSON costs in memory: large bodies, and readers of streams that do not read. The gateway is a process of its own,
//! with the allocator that the program has, and the system says what it uses.

mod support;

use std::time::Duration;

use support::gateway::{BACKENDS, gateway_config};
use support::http1::Http1;
use support::library::{Ended, Library, Scratch, descriptor_set};
use support::process::Process;
use support::raw::RawClient;
use support::web::{Caller, JSON, VERSIONS, Version};
use support::within;

const MIB: usize = 1 << 20;
/// What a body may take besides its own size, the message's, and what passing that on takes; the last differs by as much
/// from one run to the next as sockets do.
const BESIDES: usize = (64 << 10) + MIB;

async fn start(library: &Library, scratch: &Scratch, backend: &str) -> Process {
    let path = scratch.0.join("library.protoset");
    std::fs::write(&path, descriptor_set()).expect("a folder for temporary files");
    let tables = format!("[transcoding]\ndescriptor_sets = [{path:?}]\n");
    let config = gateway_config(&[library.address()], backend, &tables);
    Process::start(&config.replace("workers = 2", "workers = 1")).await
}

/// What a message of 4 MiB takes that is only passed on: the windows of both sides, and what sockets hold.
async fn passed_on(backend: &str) -> usize {
    let (library, scratch) = (Library::start(), Scratch::new());
    let process = start(&library, &scratch, backend).await;
    let mut caller = RawClient::connect(process.listener).await;
    for _ in 0..50 {
        caller.call("/test.web.v1.Library/Create", &[], b"").await;
    }
    let mut message = vec![0x0a, 0x80, 0x80, 0x80, 0x02];
    message.resize(4 * MIB + 5, b'x');
    process.forget_peak();
    let before = process.memory("VmRSS");
    let reply = caller.call("/test.web.v1.Library/Create", &[], &message).await;
    assert_eq!(reply.grpc_status(), Some("0"));
    process.memory("VmHWM").saturating_sub(before)
}

#[tokio::test]
async fn a_large_body_costs_its_own_size_besides_the_message() {
    for backend in BACKENDS {
        let passed_on = passed_on(backend).await;
        println!("{backend}: {} KiB in gRPC", passed_on >> 10);
        for announced in [true, false] {
            for version in VERSIONS {
                let (library, scratch) = (Library::start(), Scratch::new());
                let process = start(&library, &scratch, backend).await;
                let line = "POST /v1/shelves/a/books";
                let mut caller = Caller::connect(version, process.listener).await;
                for _ in 0..50 {
                    assert_eq!(caller.ask(line, &[JSON], b"{}").await.status, 200);
                }
                // The message is as large as the body.
                let body = format!("{{\"title\":\"{}\"}}", "x".repeat(4 * MIB - 20));
                process.forget_peak();
                let before = process.memory("VmRSS");
                let length = body.len().to_string();
                let answer = if announced {
                    // The other version's client says it by itself.
                    let headers = [JSON, ("content-length", &*length)];
                    let headers = if version == Version::Http1 { &headers[..1] } else { &headers[..] };
                    caller.ask(line, headers, body.as_bytes()).await
                } else {
                    let pieces: Vec<&[u8]> = body.as_bytes().chunks(10_000).collect();
                    caller.ask_in_pieces(line, &[JSON], &pieces).await
                };
                assert_eq!(answer.status, 200, "{answer:?}");
                let grown = process.memory("VmHWM").saturating_sub(before);
                println!("{backend} {version:?} announced {announced}: {} KiB for 4096 + 4096", grown >> 10);
                assert!(
                    grown <= 2 * 4 * MIB + BESIDES + passed_on,
                    "{backend} {version:?} announced {announced}: {grown}"
                );
            }
        }
    }
}

/// Each message is 100 KiB; all of them would be 200 MiB.
const MESSAGES: usize = 2_000;

#[tokio::test]
async fn a_reader_that_does_not_read_costs_bounded_memory() {
    for backend in BACKENDS {
        for accept in ["application/x-ndjson", "text/event-stream"] {
            let (library, scratch) = (Library::start(), Scratch::new());
            let process = start(&library, &scratch, backend).await;
            let before = process.memory("VmRSS");
            let mut client = Http1::connect(process.listener).await;
            let line = format!("GET /v1/events?count={MESSAGES}&size=102400");
            client.say(format!("{line} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n")).await;
            assert_eq!(client.answer_without_body().await.status, 200);
            library.stalled().await;
            let grown = process.memory("VmHWM").saturating_sub(before);
            println!("{backend} {accept}: {} KiB", grown >> 10);
            assert!(grown < 8 * MIB, "{backend} {accept}: {grown}");
            assert_eq!(library.seen()[0].ended, Ended::Running);
            // Nothing of it is lost, once it reads.
            let mut bytes = 0;
            let all = async {
                while let Some(chunk) = client.chunk().await {
                    bytes += chunk.len();
                }
            };
            within(Duration::from_secs(60), "all of the stream", all).await;
            assert!(bytes > MESSAGES * 102_400, "{bytes}");
        }
    }
}
