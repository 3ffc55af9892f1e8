//! Rude peers leave nothing behind in memory. The gateway is a process of its own, with the allocator that the program
//! has; its page says what is live on its heap, and the system how much memory it has.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::gateway::{BACKENDS, GatewayBuilder};
use crate::support::library::{Library, Scratch, descriptor_set};
use crate::support::process::Process;
use crate::support::raw::{PREFACE, RawClient};
use crate::support::raw_server::{RawServer, Step};
use crate::support::web::{JSON, open};
use crate::support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const MIB: u64 = 1 << 20;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a gRPC call, without tables.
fn call(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let fields =
        [(":path", path), (":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers")];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short one"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Sends what a peer takes of it, for a second at most, and reads nothing.
async fn pour(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(bytes)).await;
}

/// A service that answers each call with heads of 1xx without end.
async fn interim_server() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let task = tokio::spawn(async move {
        // `:status: 103`, by the table's name.
        let interim = frame(HEADERS, END_HEADERS, 1, b"\x08\x03103").repeat(50_000);
        while let Ok((mut stream, _)) = listener.accept().await {
            let interim = interim.clone();
            tokio::spawn(async move {
                let mut heard = vec![0; 1 << 16];
                let greeting = [frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat();
                let _ = stream.write_all(&greeting).await;
                // The greeting is one, and a call another.
                let mut bytes = 0;
                while bytes < 150 {
                    match stream.read(&mut heard).await {
                        Ok(count) if count > 0 => bytes += count,
                        _ => return,
                    }
                }
                pour(&mut stream, &interim).await;
            });
        }
    });
    (address, task)
}

/// All that is rude, each for itself and to its end.
async fn rudeness(process: &Process) {
    // Row 54: many that ask for answers and read none.
    let mut crowd = JoinSet::new();
    for _ in 0..200 {
        let address = process.listener;
        crowd.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let pings = frame(6, 0, 0, &[7; 8]).repeat(5_000);
            pour(&mut stream, &[PREFACE, &pings].concat()).await;
            stream
        });
    }
    drop(crowd.join_all().await);
    // Row 46: bodies in frames of a byte each, to a service that reads nothing.
    let mut stream = TcpStream::connect(process.listener).await.expect("it listens");
    pour(&mut stream, PREFACE).await;
    for number in 0..60 {
        let id = 2 * number + 1;
        let head = frame(HEADERS, END_HEADERS, id, &call("/frozen.S/Call"));
        let begun = frame(DATA, 0, id, &[0, 0, 1, 0, 0]);
        pour(&mut stream, &[head, begun, frame(DATA, 0, id, b"x").repeat(1_000)].concat()).await;
    }
    drop(stream);
    // Row 53: a service that never comes to the point.
    let mut client = RawClient::connect(process.listener).await;
    for _ in 0..3 {
        let reply = client.call("/interim.S/Call", &[], b"").await;
        assert_ne!(reply.grpc_status(), Some("0"), "{reply:?}");
    }
    drop(client);
    // Row 45: bodies of JSON that are begun and not finished.
    let mut clients = Vec::new();
    for held in [4 * MIB, 8 * MIB] {
        let mut client = RawClient::connect(process.listener).await;
        for _ in 0..100 {
            let mut call = open(&mut client, "POST /v1/shelves/a/books", &[JSON], false).await;
            let begun = format!("{{\"title\": \"{}", "x".repeat(200 << 10));
            call.send(begun.into(), false);
            clients.push(tokio::spawn(async move { drop(call.head().await) }));
        }
        // The window of the connection holds the rest back, before `max_buffered_bytes` refuses it.
        let begun = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            while process.metric("ringway_buffered_bytes").await < held {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(20), "bodies are held", begun).await;
        assert!(process.metric("ringway_buffered_bytes").await <= 2 * 16 * MIB);
    }
    clients.iter().for_each(JoinHandle::abort);
    drop(clients);
}

/// Waits until nothing is left of clients, and tells what is held then: live on the heap, and in memory.
async fn held(process: &Process) -> (u64, u64) {
    let quiet = async {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        for family in ["ringway_connections_active", "ringway_calls_active", "ringway_upstream_calls_active"]
        {
            while process.metric(family).await > 0 {
                looks.tick().await;
            }
        }
    };
    within(Duration::from_secs(30), "all clients have gone", quiet).await;
    (process.metric("ringway_heap_live_bytes").await, process.memory("VmRSS") as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rudeness_leaves_nothing_behind() {
    for backend in BACKENDS {
        let (library, scratch) = (Library::start(), Scratch::new());
        let descriptors = scratch.0.join("library.protoset");
        std::fs::write(&descriptors, descriptor_set()).expect("a folder for temporary files");
        let frozen = RawServer::start(&[Step::Freeze]).await;
        let (interim, _task) = interim_server().await;
        let others = format!(
            "[[clusters]]\nname = \"frozen\"\nendpoints = [\"{}\"]\n[[clusters]]\nname = \"interim\"\n\
             endpoints = [\"{interim}\"]\n[transcoding]\ndescriptor_sets = [{descriptors:?}]\n",
            frozen.address()
        );
        let routes = "[[routes]]\nmatch = { service = \"frozen.S\" }\ncluster = \"frozen\"\n\
                      [[routes]]\nmatch = { service = \"interim.S\" }\ncluster = \"interim\"\n";
        let config = GatewayBuilder::new(&[library.address()], backend)
            .set("workers", 1)
            .routes_before(routes)
            .extra(&others);
        let process = Process::start(&config.text()).await;
        // Buffers that a worker keeps are touched by the first ones.
        for _ in 0..8 {
            rudeness(&process).await;
        }
        let before = held(&process).await;
        let peak = process.memory("VmHWM") as u64;
        for _ in 0..4 {
            rudeness(&process).await;
        }
        let after = held(&process).await;
        println!("{backend}: {before:?} {after:?}");
        assert!(after.0 <= before.0 + MIB, "{backend}: {} live bytes, then {}", before.0, after.0);
        // The allocator keeps pages that are free, now more of them and now fewer. Live bytes are exact; these are not.
        let most = peak + peak / 10;
        assert!(after.1 <= most, "{backend}: {} bytes, and {peak} at the peak of the first", after.1);
        assert_eq!(process.metric("ringway_panics_total").await, 0, "{backend}");
    }
}
