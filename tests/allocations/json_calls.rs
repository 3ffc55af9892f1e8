//! Heap allocations of one unary call in JSON on a worker, over either version of HTTP, libraries included.

use crate::at_rest;
use crate::support::gateway::GatewayBuilder;
use crate::support::library::{Library, Scratch, descriptor_set};
use crate::support::web::{Caller, JSON, VERSIONS, Version};
use ringway::supervisor::Gateway;

const WARM_UP: usize = 500;
const CALLS: usize = 2_000;
/// Calls in flight at once, each on a connection of its own.
const CONCURRENCY: usize = 4;
/// Allocations of a call. Ours is the state that turns the answer into JSON. hyper takes three more for a request of HTTP/1.1
/// with a body: the channel that the body comes through, and twice its buffer.
const OURS: f64 = 1.0;
const HYPERS: f64 = 3.0;
/// Less than one call in ten: lists and pools may grow once more, and hyper writes the date anew each second.
const SELDOM: f64 = 0.1;

/// Calls whose allocations are shown where there are too many of them.
const SITES_CALLS: usize = 200;

const MIB: usize = 1 << 20;
/// Bytes that a body may take besides its own size and the message's.
const BESIDES: usize = 64 << 10;

/// Both run one after the other: each counts the allocations of all workers of this process.
#[test]
fn a_unary_call_in_json_allocates_little_and_a_large_one_holds_little() {
    let _alone = crate::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the clients");
    let library = Library::start();
    let scratch = Scratch::new();
    let path = scratch.0.join("library.protoset");
    std::fs::write(&path, descriptor_set()).expect("a folder for temporary files");
    let gateway = GatewayBuilder::new(&[library.address()], "auto")
        .unset("io.on_unavailable")
        .set("workers", 1)
        .extra(&format!("[transcoding]\ndescriptor_sets = [{path:?}]"))
        .start();

    let body = r#"{"id": "17", "title": "Ünïcödé and more", "tags": ["a", "b"], "pages": "300"}"#;
    for (line, body) in
        [("POST /v1/shelves/a/books", body), ("GET /v1/shelves/a/books/b?deep=true&item.title=x%20y", "")]
    {
        for version in VERSIONS {
            let mut callers: Vec<_> = (0..CONCURRENCY)
                .map(|_| runtime.block_on(Caller::connect(version, gateway.listeners()[0])))
                .collect();
            runtime.block_on(run(&mut callers, line, body, WARM_UP));
            let before = runtime.block_on(at_rest(&gateway));
            runtime.block_on(run(&mut callers, line, body, CALLS));
            let after = runtime.block_on(at_rest(&gateway));
            let per_call = (after - before) as f64 / CALLS as f64;
            let is_hypers = version == Version::Http1 && !body.is_empty();
            let most = OURS + if is_hypers { HYPERS } else { 0.0 } + SELDOM;
            println!("{per_call:.3} allocations for {version:?} {line}");
            assert!(before > 0 && per_call > 0.0, "the allocator does not count");
            if per_call > most {
                ringway::alloc::sample(1, 100 * SITES_CALLS);
                runtime.block_on(run(&mut callers, line, body, SITES_CALLS));
                crate::support::sites::print(&ringway::alloc::take_samples());
            }
            assert!(per_call <= most, "{per_call:.3} for {version:?} {line}; the limit is {most}");
        }
    }
    large_bodies(&runtime, &gateway);
}

/// The most bytes that the worker held at once for a body of 4 MiB, its own and the message's included. Blocks that are
/// kept for the next call were there before. Answers are in `tests/it/json/memory.rs`: of what is set aside for one not all is
/// touched, so the system has to say what it costs.
fn large_bodies(runtime: &tokio::runtime::Runtime, gateway: &Gateway) {
    let title = "x".repeat(4 * MIB - 100);
    let body = format!("{{\"title\":\"{title}\"}}");
    let pieces: Vec<&[u8]> = body.as_bytes().chunks(10_000).collect();
    for version in VERSIONS {
        let mut caller = runtime.block_on(Caller::connect(version, gateway.listeners()[0]));
        for what in ["a body of a known length", "a body in pieces"] {
            let mut least = usize::MAX;
            for _ in 0..4 {
                ringway::alloc::watch_workers();
                let answer = runtime.block_on(async {
                    let length = body.len().to_string();
                    // Over HTTP/1.1 the caller says it by itself.
                    let headers = [JSON, ("content-length", &*length)];
                    let headers = if version == Version::Http1 { &headers[..1] } else { &headers[..] };
                    match what {
                        "a body in pieces" => {
                            caller.ask_in_pieces("POST /v1/shelves/a/books", &[JSON], &pieces).await
                        }
                        _ => caller.ask("POST /v1/shelves/a/books", headers, body.as_bytes()).await,
                    }
                });
                assert_eq!(answer.status, 200, "{what}");
                least = least.min(ringway::alloc::most_of_workers());
            }
            println!(
                "{version:?}, {what}: {} KiB held for {} + {}",
                least >> 10,
                body.len() >> 10,
                title.len() >> 10
            );
            assert!(least > title.len(), "the allocator does not count");
            assert!(least <= 2 * body.len() + BESIDES, "{version:?} {what}: {least}");
        }
    }
}

async fn run(callers: &mut [Caller], line: &str, body: &str, calls: usize) {
    let lanes = callers.iter_mut().map(async |caller| {
        for _ in 0..calls / CONCURRENCY {
            let headers = if body.is_empty() { &[("user-agent", "test")] } else { &[JSON] };
            let answer = caller.ask(line, headers, body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    });
    futures(lanes).await;
}

/// Runs all of them at once.
async fn futures(lanes: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut lanes: Vec<_> = lanes.map(Box::pin).map(Some).collect();
    std::future::poll_fn(|cx| {
        for lane in &mut lanes {
            if let Some(running) = lane
                && running.as_mut().poll(cx).is_ready()
            {
                *lane = None;
            }
        }
        if lanes.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
