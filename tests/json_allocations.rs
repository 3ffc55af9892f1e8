//! What one unary call in JSON costs in heap allocations on a worker, over either version of HTTP, libraries included.

mod support;

use std::time::Duration;

use ringway::supervisor::Gateway;
use support::gateway::{gateway_config, metric, start};
use support::library::{Library, Scratch, descriptor_set};
use support::web::{Caller, JSON, VERSIONS};
use support::within;

#[global_allocator]
static ALLOCATOR: ringway::alloc::Counting = ringway::alloc::Counting;

const WARM_UP: usize = 500;
const CALLS: usize = 2_000;
/// Calls in flight at once, each on a connection of its own.
const CONCURRENCY: usize = 4;
const PER_CALL_MAX: f64 = 16.0;

#[test]
fn a_unary_call_in_json_allocates_little() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the clients");
    let library = Library::start();
    let scratch = Scratch::new();
    let path = scratch.0.join("library.protoset");
    std::fs::write(&path, descriptor_set()).expect("a folder for temporary files");
    let config = gateway_config(
        &[library.address()],
        "epoll",
        &format!("[transcoding]\ndescriptor_sets = [{path:?}]\n"),
    );
    let config = config.replace("backend = \"epoll\"\non_unavailable = \"fail\"", "backend = \"auto\"");
    let gateway = start(&config.replace("workers = 2", "workers = 1"));

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
            println!("{per_call:.3} allocations for {version:?} {line}");
            assert!(before > 0 && per_call > 0.0, "the allocator does not count");
            assert!(
                per_call <= PER_CALL_MAX,
                "{per_call:.3} for {version:?} {line}; the limit is {PER_CALL_MAX}"
            );
        }
    }
}

/// The counter, once it has not changed from one publication to the next.
async fn at_rest(gateway: &Gateway) -> u64 {
    // A worker publishes every 100 ms, so two looks this far apart see two publications.
    let mut looks = tokio::time::interval(Duration::from_millis(250));
    looks.tick().await;
    let rest = async {
        let mut seen = metric(gateway, "ringway_allocations_total");
        loop {
            looks.tick().await;
            let now = metric(gateway, "ringway_allocations_total");
            if now == seen {
                return now;
            }
            seen = now;
        }
    };
    within(Duration::from_secs(10), "the worker is at rest", rest).await
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
