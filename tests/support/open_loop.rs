//! Calls on a schedule: each begins at its time, whatever became of those before it.
#![allow(clippy::disallowed_methods, reason = "a test measures how long answers take")]

use super::child::ID;
use super::raw::{self, EMPTY_CALL};
use super::within;
use bytes::Bytes;
use h2::client::SendRequest;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

const CONNECTIONS: usize = 12;

/// Calls that have ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The number of the call, from 0, which is also its id.
    pub id: usize,
    /// When it began, since the first one did, and how long it took.
    pub at: Duration,
    pub took: Duration,
    /// Its gRPC status, or what came in its place.
    pub status: Result<u8, String>,
}

impl Outcome {
    pub fn is_ok(&self) -> bool {
        self.status == Ok(0)
    }
}

/// Calls that are being made.
pub struct OpenLoop {
    shared: Arc<Shared>,
    task: JoinHandle<Vec<Outcome>>,
    began: Instant,
    rate: u32,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    begun: AtomicUsize,
    /// The value of `authorization` of calls from now on.
    authorization: Mutex<Option<String>>,
}

impl Shared {
    fn authorization(&self) -> MutexGuard<'_, Option<String>> {
        self.authorization.lock().expect("no test panics while it holds this")
    }
}

impl OpenLoop {
    /// Makes `rate` calls a second, each with this deadline, from now on.
    pub async fn start(address: SocketAddr, rate: u32, deadline: Duration) -> Self {
        OpenLoop::start_with(address, rate, deadline, None).await
    }

    /// Makes calls that carry a token, until [`OpenLoop::carry`] gives them another one.
    pub async fn start_with(address: SocketAddr, rate: u32, deadline: Duration, token: Option<&str>) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(connect(address).await);
        }
        let shared = Arc::new(Shared::default());
        *shared.authorization() = token.map(bearer);
        let began = Instant::now();
        let task = tokio::spawn(run(clients, Arc::clone(&shared), began, rate, deadline));
        Self { shared, task, began, rate }
    }

    /// The time since the first call.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Calls from now on carry this token.
    pub fn carry(&self, token: &str) {
        *self.shared.authorization() = Some(bearer(token));
    }

    /// How many calls have begun.
    pub fn begun(&self) -> usize {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// Waits until the calls of `span` more have begun.
    pub async fn go_on(&self, span: Duration) {
        let wanted = self.begun() + (f64::from(self.rate) * span.as_secs_f64()) as usize;
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        let look = async {
            while self.begun() < wanted {
                looks.tick().await;
            }
        };
        within(span * 2 + Duration::from_secs(10), "calls go on", look).await;
    }

    /// Begins no more calls, and waits for those that have begun.
    pub async fn stop(self) -> Vec<Outcome> {
        self.shared.stop.store(true, Ordering::Relaxed);
        within(Duration::from_secs(30), "all calls end", self.task).await.expect("no panic")
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the gateway listens");
    stream.set_nodelay(true).expect("a socket takes its options");
    let mut builder = h2::client::Builder::new();
    builder.data_frame_budget(1 << 26); // a thousand small answers at once are no attack here
    let (client, connection) = builder.handshake(stream).await.expect("the gateway speaks HTTP/2");
    tokio::spawn(async move { drop(connection.await) }); // its calls tell how it ended
    client
}

async fn run(
    clients: Vec<SendRequest<Bytes>>,
    shared: Arc<Shared>,
    began: Instant,
    rate: u32,
    deadline: Duration,
) -> Vec<Outcome> {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (mut calls, mut outcomes) = (JoinSet::new(), Vec::new());
    while !shared.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as usize;
        for id in shared.begun.load(Ordering::Relaxed)..due {
            let authorization = shared.authorization().clone();
            calls.spawn(call(clients[id % CONNECTIONS].clone(), id, authorization, began, deadline));
        }
        shared.begun.fetch_max(due, Ordering::Relaxed);
        while let Some(ended) = calls.try_join_next() {
            outcomes.push(ended.expect("a call does not panic"));
        }
    }
    outcomes.extend(calls.join_all().await);
    outcomes.sort_unstable_by_key(|outcome: &Outcome| outcome.id);
    outcomes
}

async fn call(
    client: SendRequest<Bytes>,
    id: usize,
    authorization: Option<String>,
    began: Instant,
    deadline: Duration,
) -> Outcome {
    let (at, start) = (began.elapsed(), Instant::now());
    // Nobody waits for ever, whatever the gateway does.
    let answered = answer(client, id, authorization, deadline);
    let answered = tokio::time::timeout(deadline + Duration::from_secs(10), answered).await;
    let status = answered.unwrap_or_else(|_| Err("no answer at all".to_owned()));
    Outcome { id, at, took: start.elapsed(), status }
}

async fn answer(
    client: SendRequest<Bytes>,
    id: usize,
    authorization: Option<String>,
    deadline: Duration,
) -> Result<u8, String> {
    let lost = |error: h2::Error| error.to_string();
    let mut head = http::Request::post(format!("http://ringway.test{EMPTY_CALL}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", format!("{}m", deadline.as_millis()))
        .header(ID, id)
        .body(())
        .expect("a valid head");
    if let Some(value) = authorization {
        head.headers_mut().insert("authorization", value.parse().expect("a valid field"));
    }
    let mut client = client.ready().await.map_err(lost)?;
    let (response, mut send) = client.send_request(head, false).map_err(lost)?;
    // A call that is refused for its head may be over by now. Its answer says so.
    let _ = send.send_data(raw::message(0, b""), true);
    let (head, mut body) = response.await.map_err(lost)?.into_parts();
    while let Some(piece) = body.data().await {
        body.flow_control().release_capacity(piece.map_err(lost)?.len()).map_err(lost)?;
    }
    let trailers = body.trailers().await.map_err(lost)?.unwrap_or(head.headers);
    let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
    status.ok_or_else(|| format!("no status: {trailers:?}"))
}

/// The share of calls that succeeded.
pub fn success(outcomes: &[Outcome]) -> f64 {
    let ok = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    ok as f64 / outcomes.len().max(1) as f64
}

/// How long calls took, the quickest first.
pub fn latencies<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Vec<Duration> {
    let mut took: Vec<Duration> = outcomes.into_iter().map(|outcome| outcome.took).collect();
    took.sort_unstable();
    took
}
