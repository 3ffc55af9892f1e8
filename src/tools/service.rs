//! A gRPC service to measure gateways with: it echoes, counts what reaches it, and is slow or failing when told to. To
//! `grpc.health.v1` it says that it serves.
#![allow(clippy::disallowed_methods, reason = "it runs beside the gateway, on a thread of its own")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::load;
use crate::background::BackgroundThread;

/// The method it has; any other gets the same response.
pub const METHOD: &str = "/ringway.measure.v1.Measure/Echo";

/// A running service. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    state: Arc<State>,
    _thread: BackgroundThread<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct State {
    began: Instant,
    /// Calls whose head arrived.
    calls: AtomicU64,
    /// Calls that were given up before they had a response.
    cancelled: AtomicU64,
    connections_opened: AtomicU64,
    connections_ended: AtomicU64,
    failing: AtomicBool,
    wait_micros: AtomicU64,
    /// Calls that come before this moment, in microseconds since `began`, wait until then.
    paused_until: AtomicU64,
}

impl Service {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port or no thread can be had.
    pub fn start() -> io::Result<Service> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            began: Instant::now(),
            calls: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            connections_opened: AtomicU64::new(0),
            connections_ended: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            wait_micros: AtomicU64::new(0),
            paused_until: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let body = move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, served) => {}
                }
            });
        };
        Ok(Service { address, state, _thread: BackgroundThread::start("service", stop, body)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A call of so many bytes to `address`: this service's own, or that of a gateway before it.
    pub fn target(address: SocketAddr, message_bytes: usize) -> load::Target {
        let message = Bytes::from(vec![b'm'; message_bytes]);
        let request = load::Request::Grpc { path: METHOD.to_owned(), message, headers: Vec::new() };
        load::Target { address, request }
    }

    /// Calls that have reached it.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::Relaxed)
    }

    /// Calls that were given up before they had a response.
    pub fn cancelled(&self) -> u64 {
        self.state.cancelled.load(Ordering::Relaxed)
    }

    /// Connections that were opened to it.
    pub fn connections_opened(&self) -> u64 {
        self.state.connections_opened.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn connections(&self) -> u64 {
        self.connections_opened().saturating_sub(self.state.connections_ended.load(Ordering::Relaxed))
    }

    /// Whether it responds with UNAVAILABLE, without a message.
    pub fn set_failing(&self, failing: bool) {
        self.state.failing.store(failing, Ordering::Relaxed);
    }

    /// How long each call waits for its response.
    pub fn set_wait(&self, wait: Duration) {
        self.state.wait_micros.store(micros(wait), Ordering::Relaxed);
    }

    /// Responds to nothing that comes in the next `span` before it is over.
    pub fn pause(&self, span: Duration) {
        self.state.paused_until.store(micros(self.state.began.elapsed() + span), Ordering::Relaxed);
    }
}

impl State {
    /// How long a call that comes now waits for its response.
    fn wait(&self) -> Duration {
        let paused = self.paused_until.load(Ordering::Relaxed).saturating_sub(micros(self.began.elapsed()));
        Duration::from_micros(paused.max(self.wait_micros.load(Ordering::Relaxed)))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection(stream, Arc::clone(&state)));
            }
            // No descriptor is left, for example; there may be one later.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut settings = h2::server::Builder::new();
    settings.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
    settings.max_concurrent_streams(1000);
    // Measurements cancel calls on purpose.
    settings.max_concurrent_reset_streams(10_000).max_pending_accept_reset_streams(10_000);
    state.connections_opened.fetch_add(1, Ordering::Relaxed);
    if let Ok(mut connection) = settings.handshake(stream).await {
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::task::spawn_local(call(request, respond, Arc::clone(&state)));
        }
    }
    state.connections_ended.fetch_add(1, Ordering::Relaxed);
}

async fn call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, state: Arc<State>) {
    state.calls.fetch_add(1, Ordering::Relaxed);
    let wait = state.wait();
    if !wait.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => {
                state.cancelled.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
    // The sends below fail only when the caller has gone.
    if state.failing.load(Ordering::Relaxed) {
        let _ = respond.send_response(head(Some("14")), true);
        return;
    }
    let asks_for_health = request.uri().path().starts_with("/grpc.health.v1.Health/");
    let mut body = request.into_body();
    let Ok(mut answer) = respond.send_response(head(None), false) else { return };
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        let _ = answer.send_data(if asks_for_health { Bytes::from_static(SERVING) } else { piece }, false);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = answer.send_trailers(trailers);
}

/// A message in its frame: field 1, `status`, is 1.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

fn head(status: Option<&'static str>) -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if let Some(status) = status {
        head.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
    }
    head
}
