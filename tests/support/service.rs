//! A service that decides anew for each request what becomes of it, and remembers all it was asked.
#![allow(clippy::disallowed_methods, reason = "a test notes when things happen")]

use super::within;
use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The service's act for one request, once all of it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A head, an empty message, and status 0.
    Answer,
    /// As `Answer`, so much later.
    AnswerAfter(Duration),
    /// Trailers only: this status, and this `grpc-retry-pushback-ms`.
    Status(u8, Option<&'static str>),
    /// As `Status` without a pushback, so much later.
    StatusAfter(Duration, u8),
    /// A head, and then this status.
    LateStatus(u8),
    /// Reset with this code.
    Reset(Reason),
    /// As `Reset`, so much later.
    ResetAfter(Duration, Reason),
    /// Nothing.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// With its query.
    pub path: String,
    pub authority: String,
    pub headers: HeaderMap,
    pub at: Instant,
    /// When its caller gave it up.
    pub cancelled_at: Option<Instant>,
    /// All of it has come: whoever acts on requests would have done so.
    pub whole: bool,
    /// How much of its body has come.
    pub bytes: usize,
}

impl Asked {
    /// A header, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

type Decide = Box<dyn Fn(usize, &HeaderMap) -> Act + Send + Sync>;

/// A running service. Dropping it closes everything.
pub struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    decide: Decide,
    asked: Mutex<Vec<Asked>>,
    changed: watch::Sender<()>,
    connections: AtomicUsize,
}

impl Service {
    /// `decide` is given the number of the request, from 0, and its headers.
    pub async fn start(decide: impl Fn(usize, &HeaderMap) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), decide).await
    }

    /// Starts a service at this address.
    pub async fn start_at(
        address: SocketAddr,
        decide: impl Fn(usize, &HeaderMap) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (asked, changed) = (Mutex::default(), watch::Sender::new(()));
        let shared =
            Arc::new(Shared { decide: Box::new(decide), asked, changed, connections: AtomicUsize::new(0) });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no test panics while it holds this").clone()
    }

    /// How many requests there were so far.
    pub fn count(&self) -> usize {
        self.shared.asked.lock().expect("no test panics while it holds this").len()
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until `done` says yes to the requests so far, at most five seconds.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !done(&self.shared.asked.lock().expect("no test panics while it holds this")) {
                changed.changed().await.expect("the record lives as long as the service");
            }
        };
        within(Duration::from_secs(5), what, wait).await;
        self.asked()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort(); // and with it the connections, which it owns
    }
}

impl Shared {
    fn note<T>(&self, change: impl FnOnce(&mut Vec<Asked>) -> T) -> T {
        let result = change(&mut self.asked.lock().expect("no test panics while it holds this"));
        self.changed.send_replace(());
        result
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(10_000)
        .max_concurrent_reset_streams(10_000)
        .max_pending_accept_reset_streams(10_000);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut calls = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        calls.spawn(answer(request, respond, Arc::clone(&shared)));
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    shared: Arc<Shared>,
) {
    let (head, mut body) = request.into_parts();
    let (headers, at) = (head.headers.clone(), Instant::now());
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let asked = Asked { path, authority, headers, at, cancelled_at: None, whole: false, bytes: 0 };
    let at = shared.note(|all| {
        all.push(asked);
        all.len() - 1
    });
    let act = (shared.decide)(at, &head.headers);
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else {
            return shared.note(|all| all[at].cancelled_at = Some(Instant::now()));
        };
        let _ = body.flow_control().release_capacity(piece.len());
        shared.note(|all| all[at].bytes += piece.len());
    }
    shared.note(|all| all[at].whole = true);
    let wait = match act {
        Act::AnswerAfter(wait) | Act::StatusAfter(wait, _) | Act::ResetAfter(wait, _) => wait,
        Act::Silence => Duration::from_secs(3600),
        _ => Duration::ZERO,
    };
    if !wait.is_zero() {
        let cancelled = std::future::poll_fn(|cx| respond.poll_reset(cx));
        if tokio::time::timeout(wait, cancelled).await.is_ok() {
            shared.note(|all| all[at].cancelled_at = Some(Instant::now()));
            return;
        }
    }
    match act {
        Act::Reset(reason) | Act::ResetAfter(_, reason) => respond.send_reset(reason),
        Act::StatusAfter(_, code) => drop(respond.send_response(head_of(Some(code)), true)),
        Act::Status(code, pushback) => {
            let mut head = head_of(Some(code));
            pushback.inspect(|wait| drop(head.headers_mut().insert("grpc-retry-pushback-ms", value(wait))));
            let _ = respond.send_response(head, true);
        }
        Act::LateStatus(code) => end(respond, Bytes::new(), code),
        Act::Answer | Act::AnswerAfter(_) | Act::Silence => end(respond, Bytes::from_static(&[0; 5]), 0),
    }
}

fn end(mut respond: h2::server::SendResponse<Bytes>, message: Bytes, code: u8) {
    let Ok(mut body) = respond.send_response(head_of(None), false) else { return };
    if !message.is_empty() {
        let _ = body.send_data(message, false);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", value(&code.to_string()));
    let _ = body.send_trailers(trailers);
}

fn head_of(code: Option<u8>) -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", value("application/grpc"));
    if let Some(code) = code {
        head.headers_mut().insert("grpc-status", value(&code.to_string()));
        head.headers_mut().insert("grpc-message", value("as the test says"));
    }
    head
}

fn value(text: &str) -> http::HeaderValue {
    http::HeaderValue::from_str(text).expect("the test's values are valid")
}
