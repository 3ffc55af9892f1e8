//! What one unary call costs in heap allocations on a worker, and that none of them is Ringway's own.

mod support;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use ringway::supervisor::Gateway;
use std::backtrace::Backtrace;
use std::net::SocketAddr;
use std::time::Duration;
use support::gateway::{gateway_config, metric, start};
use support::within;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: ringway::alloc::Counting = ringway::alloc::Counting;

const WARM_UP: usize = 5_000;
const CALLS: usize = 20_000;
/// Calls in flight at once.
const CONCURRENCY: usize = 20;
const PER_CALL_MAX: f64 = 9.0;

const SAMPLES: usize = 400;
/// A prime, so that it falls on every allocation of a call in turn.
const SAMPLE_EVERY: u64 = 61;
/// What a worker's frames are looked through for: the innermost one of these is who asked for the memory.
/// `http`, `bytes` and the like only do what another crate asks of them.
const OWNERS: [&str; 3] = ["ringway", "h2", "monoio"];

/// A gRPC frame around a message of 16 bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x10sixteen bytes!!!";

#[test]
fn a_unary_call_allocates_only_in_the_http2_library() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the client and the upstream");
    let upstream = runtime.block_on(echo());
    let gateway = gateway(upstream, "");
    let client = runtime.block_on(connect(gateway.listeners()[0]));
    let per_call = per_call(&runtime, &gateway, &client);

    ringway::alloc::sample(SAMPLE_EVERY, SAMPLES);
    run(&runtime, &client, CALLS);
    let samples = ringway::alloc::take_samples();
    let ours = ours(&samples);
    for (owner, number) in &ours.owners {
        println!("{number:5} of {} samples: {owner}", samples.len());
    }

    assert!(samples.len() == SAMPLES, "{} samples: the sampler does not see the worker", samples.len());
    assert!(ours.traces.is_empty(), "{} of ours, such as:\n{}", ours.traces.len(), ours.traces[0]);
    assert!(per_call > 0.0, "the allocator does not count");
    assert!(per_call <= PER_CALL_MAX, "{per_call:.3} allocations per call; the limit is {PER_CALL_MAX}");

    // Calls that access log and tracing look at and leave out allocate no more; services are told that they are.
    drop((client, gateway));
    let watched = self::gateway(upstream, UNRECORDED);
    let client = runtime.block_on(connect(watched.listeners()[0]));
    let more = self::per_call(&runtime, &watched, &client) - per_call;
    assert!(more < 0.05, "{more:.3} allocations more for a call that is not recorded");
}

/// An access log and tracing that leave every good call out. Nobody is at the collector's address.
const UNRECORDED: &str = "[access_log]\npath = \"/dev/null\"\nsample = 0.0\n\
                          [tracing]\nendpoint = \"http://127.0.0.1:9\"\nsample = 0.0\n";

/// A gateway with one worker.
fn gateway(upstream: SocketAddr, tables: &str) -> Gateway {
    let config = gateway_config(&[upstream], "epoll", tables);
    let config = config.replace("backend = \"epoll\"\non_unavailable = \"fail\"", "backend = \"auto\"");
    start(&config.replace("workers = 2", "workers = 1"))
}

/// Allocations of its worker for each call, once it is warm.
fn per_call(runtime: &Runtime, gateway: &Gateway, client: &SendRequest<Bytes>) -> f64 {
    run(runtime, client, WARM_UP);
    let before = runtime.block_on(at_rest(gateway));
    run(runtime, client, CALLS);
    let per_call = (runtime.block_on(at_rest(gateway)) - before) as f64 / CALLS as f64;
    println!("{per_call:.3} allocations per call on {:?}", gateway.rung());
    per_call
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

/// Makes `calls` calls, a few at once.
fn run(runtime: &Runtime, client: &SendRequest<Bytes>, calls: usize) {
    let all = async {
        let mut lanes = tokio::task::JoinSet::new();
        for _ in 0..CONCURRENCY {
            let client = client.clone();
            lanes.spawn(async move {
                for _ in 0..calls / CONCURRENCY {
                    call(&client).await;
                }
            });
        }
        lanes.join_all().await;
    };
    assert_eq!(calls % CONCURRENCY, 0, "every lane makes the same number of calls");
    runtime.block_on(within(Duration::from_secs(120), "the calls", all));
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the gateway listens");
    stream.set_nodelay(true).expect("a socket takes its options");
    let (client, connection) = h2::client::handshake(stream).await.expect("the gateway speaks HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// A unary call with the headers of a usual client.
async fn call(client: &SendRequest<Bytes>) {
    let request = Request::post("http://gateway.test/ringway.test.Echo/Unary")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", "grpc-rust/0.14")
        .body(())
        .expect("a request of constants");
    let mut client = client.clone().ready().await.expect("the connection lives");
    let (response, mut body) = client.send_request(request, false).expect("the connection lives");
    body.send_data(Bytes::from_static(MESSAGE), true).expect("the stream is open");
    let mut answer = response.await.expect("an answer").into_body();
    let mut bytes = 0;
    while let Some(piece) = answer.data().await {
        let piece = piece.expect("a whole answer");
        bytes += piece.len();
        answer.flow_control().release_capacity(piece.len()).expect("it was taken");
    }
    assert_eq!(bytes, MESSAGE.len());
    let trailers = answer.trailers().await.expect("a whole answer").expect("an answer has trailers");
    assert_eq!(trailers["grpc-status"], "0");
}

/// An upstream that answers every call with its own message.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket takes its options");
    let mut connection = h2::server::handshake(stream).await.expect("the gateway speaks HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                message.extend_from_slice(&piece);
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let head = Response::builder().header("content-type", "application/grpc").body(());
            let sent = respond.send_response(head.expect("a response of constants"), false);
            let Ok(mut answer) = sent else { return };
            let _ = answer.send_data(message.into(), false);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let _ = answer.send_trailers(trailers);
        });
    }
}

/// Who made the sampled allocations.
struct Ours {
    /// The innermost functions of the crates in [`OWNERS`], with how often each was met.
    owners: Vec<(String, usize)>,
    /// The stacks on which that was one of Ringway's.
    traces: Vec<String>,
}

fn ours(samples: &[Backtrace]) -> Ours {
    let mut owners = std::collections::BTreeMap::<String, usize>::new();
    let mut traces = Vec::new();
    for sample in samples {
        let trace = sample.to_string();
        let (owner, label) =
            owner(&trace).unwrap_or_else(|| panic!("no known crate on this stack:\n{trace}"));
        *owners.entry(label).or_default() += 1;
        if owner == "ringway" {
            traces.push(trace);
        }
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    Ours { owners, traces }
}

/// The innermost of [`OWNERS`] on a stack, with the function and its place. The allocator itself does not count.
///
/// A frame is two lines, ` 12: function` and `at file:line`. A function that was inlined or is a future has no path
/// in its name, so its file decides; the name does where no file is known.
fn owner(trace: &str) -> Option<(&'static str, String)> {
    let mut lines = trace.lines().map(str::trim_start).peekable();
    while let Some(line) = lines.next() {
        let function = line.split_once(": ").map_or(line, |(_, function)| function);
        let place = lines.next_if(|next| next.starts_with("at ")).map_or("", |place| &place[3..]);
        if function.contains("ringway::alloc::") && place.contains("src/alloc.rs") {
            continue;
        }
        let owns = |owner: &&&str| match *owner {
            _ if place.is_empty() => krate(function) == **owner,
            &"ringway" => place.starts_with("./src/"),
            &"h2" => place.starts_with("./vendor/h2/"),
            owner => place.contains(&format!("/{owner}-")),
        };
        if let Some(owner) = OWNERS.iter().find(owns) {
            return Some((owner, format!("{function} at {place}")));
        }
    }
    None
}

/// The crate of `h2::x::y` and of `<h2::x::Y as z::Z>::y`.
fn krate(function: &str) -> &str {
    let function = function.trim_start_matches(['<', '&']);
    let end = function.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(function.len());
    &function[..end]
}

#[test]
fn an_allocation_belongs_to_the_innermost_of_the_owners() {
    let stack = |frames: &[&str]| owner(&frames.join("\n")).map(|(owner, _)| owner);
    let inner = [
        "  0: ringway::alloc::note",
        "      at ./src/alloc.rs:7:9",
        "  1: alloc",
        "      at /rustc/1/alloc.rs:1:1",
    ];
    let h2 = ["  3: h2::proto::send", "      at ./vendor/h2/src/proto/mod.rs:5:6"];
    let inlined = ["  2: {async_fn#0}", "      at ./src/worker/request.rs:40:31"];
    assert_eq!(stack(&[inner, [h2[0], h2[1], inlined[0], inlined[1]]].concat()), Some("h2"));
    assert_eq!(stack(&[inner, [inlined[0], inlined[1], h2[0], h2[1]]].concat()), Some("ringway"));
    assert_eq!(stack(&["  4: <ringway::worker::X as a::B>::c", "  5: h2::x"]), Some("ringway"));
    assert_eq!(stack(&["  4: alloc::vec::Vec<ringway::X>::push", "  5: h2::x"]), Some("h2"));
    assert_eq!(stack(&inner), None);
}
