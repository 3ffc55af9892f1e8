//! A service that does what a call asks of it, and keeps a ledger of all that reached it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::wire::{Bytes as Wire, Counted};

/// Behaviours that a call can ask for, in the header `x-act`; without one the service echoes its message.
pub const SILENCE: &str = "silence";
/// A head, and nothing more.
pub const HEAD: &str = "head";
/// Refused unseen the first time, and then answered.
pub const REFUSE_ONCE: &str = "refuse-once";
/// UNAVAILABLE the first time, and then answered.
pub const FAIL_ONCE: &str = "fail-once";
/// The whole connection ends.
pub const CLOSE: &str = "close";
/// Reset with INTERNAL_ERROR.
pub const RESET: &str = "reset";
/// The answer of a server that knows no gRPC.
pub const HTTP: &str = "http";
/// An answer without a status.
pub const NO_STATUS: &str = "no-status";
/// Answered a little later.
pub const SLOW: &str = "slow";

/// The calls that reached a service, and how they ended.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Calls whose head came.
    pub arrived: AtomicU64,
    /// Those that said they were sent again by a policy.
    pub retried: AtomicU64,
    /// Those that were sent again after they had been refused unseen.
    pub replayed: AtomicU64,
    /// Those that its caller gave up.
    pub cancelled: AtomicU64,
    /// Those that it reset.
    pub resets: AtomicU64,
    /// Those that are not over.
    pub open: AtomicU64,
    /// Connections that spoke HTTP/2.
    pub connections: AtomicU64,
    /// Bytes of messages with their frames that came, and that were answered.
    pub payload_in: AtomicU64,
    pub payload_out: AtomicU64,
    /// Answers, by gRPC status.
    answers: Mutex<BTreeMap<String, u64>>,
    /// Tests that wait for a call to arrive, by the call's name.
    waiting: Mutex<HashMap<String, oneshot::Sender<()>>>,
    refused: Mutex<HashSet<String>>,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Answers with this status.
    pub fn answered(&self, status: &str) -> u64 {
        locked(&self.answers).get(status).copied().unwrap_or(0)
    }

    /// All answers.
    pub fn all_answered(&self) -> u64 {
        locked(&self.answers).values().sum()
    }

    /// Resolves when the call with this `x-id` arrives.
    pub fn arrival(&self, id: &str) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        locked(&self.waiting).insert(id.to_owned(), tell);
        told
    }

    /// An answer was sent, or nobody was there to take it.
    fn ended(&self, status: &str, sent: Result<(), h2::Error>) {
        if sent.is_err() {
            return add(&self.cancelled, 1);
        }
        let mut answers = locked(&self.answers);
        match answers.get_mut(status) {
            Some(count) => *count += 1,
            None => drop(answers.insert(status.to_owned(), 1)),
        }
    }
}

/// A running service. Dropping it closes everything.
pub struct Service {
    pub address: SocketAddr,
    pub ledger: Arc<Ledger>,
    /// Bytes that its sockets carried.
    pub wire: Arc<Wire>,
    task: JoinHandle<()>,
}

impl Service {
    pub async fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (ledger, wire): (Arc<Ledger>, Arc<Wire>) = Default::default();
        let task = tokio::spawn(accept(listener, Arc::clone(&ledger), Arc::clone(&wire)));
        Service { address, ledger, wire, task }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, ledger: Arc<Ledger>, wire: Arc<Wire>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&ledger), Arc::clone(&wire)));
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Ledger>, wire: Arc<Wire>) {
    let _ = stream.set_nodelay(true);
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(10_000)
        .max_concurrent_reset_streams(10_000)
        .max_pending_accept_reset_streams(10_000);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(Counted::new(stream, wire)).await else { return };
    add(&ledger.connections, 1);
    while let Some(Ok((request, respond))) = connection.accept().await {
        add(&ledger.arrived, 1);
        if act(request.headers()) == Some(CLOSE) {
            return;
        }
        add(&ledger.open, 1);
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            answer(request, respond, &ledger).await;
            ledger.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn act(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-act")?.to_str().ok()
}

async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>, ledger: &Ledger) {
    let (head, mut body) = request.into_parts();
    let id = head.headers.get("x-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let is_retry = head.headers.contains_key("grpc-previous-rpc-attempts");
    add(&ledger.retried, u64::from(is_retry));
    let mut message = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        add(&ledger.payload_in, piece.len() as u64);
        message.extend_from_slice(&piece);
    }
    let (act, argument) = act(&head.headers)
        .unwrap_or("")
        .split_once(':')
        .unwrap_or_else(|| (act(&head.headers).unwrap_or(""), ""));
    match act {
        SILENCE => {
            if let Some(told) = locked(&ledger.waiting).remove(id) {
                let _ = told.send(());
            }
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            add(&ledger.cancelled, 1);
        }
        HEAD => {
            if let Ok(mut body) = respond.send_response(head_of(None), false) {
                let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
            }
            add(&ledger.cancelled, 1);
        }
        RESET => {
            add(&ledger.resets, 1);
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        REFUSE_ONCE if locked(&ledger.refused).insert(id.to_owned()) => {
            add(&ledger.resets, 1);
            respond.send_reset(Reason::REFUSED_STREAM);
        }
        FAIL_ONCE if !is_retry => trailers_only(&mut respond, ledger, "14"),
        "status" => trailers_only(&mut respond, ledger, argument),
        "late" => whole(&mut respond, ledger, message.into(), argument),
        HTTP => {
            let mut head = Response::new(());
            *head.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            ledger.ended("http", respond.send_response(head, true).map(drop));
        }
        NO_STATUS => {
            let sent = respond.send_response(head_of(None), false);
            ledger.ended("none", sent.and_then(|mut body| body.send_data(Bytes::new(), true)));
        }
        _ => {
            add(&ledger.replayed, u64::from(act == REFUSE_ONCE));
            if act == SLOW {
                let mut later = tokio::time::interval(Duration::from_millis(2));
                later.tick().await;
                later.tick().await;
            }
            whole(&mut respond, ledger, message.into(), "0");
        }
    }
}

fn trailers_only(respond: &mut SendResponse<Bytes>, ledger: &Ledger, status: &str) {
    ledger.ended(status, respond.send_response(head_of(Some(status)), true).map(drop));
}

fn whole(respond: &mut SendResponse<Bytes>, ledger: &Ledger, message: Bytes, status: &str) {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", value(status));
    let bytes = message.len() as u64;
    let sent = respond.send_response(head_of(None), false).and_then(|mut body| {
        body.send_data(message, false)?;
        body.send_trailers(trailers)
    });
    add(&ledger.payload_out, if sent.is_ok() { bytes } else { 0 });
    ledger.ended(status, sent);
}

fn head_of(status: Option<&str>) -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    status.into_iter().for_each(|status| drop(head.headers_mut().insert("grpc-status", value(status))));
    head
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("the test's values are valid")
}
