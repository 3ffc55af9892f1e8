//! The operator's door: `/ready`, `/live` and `/metrics` over HTTP/1.1, on a thread of its own.
//!
//! Never on the way of a call: it only reads what the workers have counted. Every wait here ends by
//! itself: a head must arrive within 5 s, a connection lives at most a minute, and at most 64 are
//! open; more wait in the kernel's bounded queue.

mod process;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// What the admin thread asks the gateway. Its answers must not wait for a worker.
pub trait Source: Send + Sync {
    /// Whether new calls are welcome: started, and not draining.
    fn ready(&self) -> bool;
    /// The page of `metrics::render::text`, without the figures of the process (`process_…`): those
    /// are added here.
    fn metrics(&self) -> String;
}

/// The admin thread. Dropping it closes all its connections and waits until the thread has ended.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves on `listener` until dropped.
    ///
    /// # Errors
    /// When the listener, the runtime or the thread cannot be set up.
    pub fn start(listener: std::net::TcpListener, source: Arc<dyn Source>) -> io::Result<Self> {
        Self::start_with(listener, source, Limits::DEFAULT)
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn start_with(
        listener: std::net::TcpListener,
        source: Arc<dyn Source>,
        limits: Limits,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || run(&runtime, listener, source, limits, stopped))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has already been printed; here it changes nothing any more.
            let _ = thread.join();
        }
    }
}

/// What bounds every wait and every queue here. A value, so that tests need not wait as long.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections open at once.
    connections_max: usize,
    /// How long a request's head may take, and how long a connection may be idle before one.
    head_wait: Duration,
    /// After this long a connection takes no further request.
    lifetime: Duration,
    /// How long the last answer may take after that.
    grace: Duration,
}

impl Limits {
    const DEFAULT: Self = Self {
        connections_max: 64,
        head_wait: Duration::from_secs(5),
        lifetime: Duration::from_secs(55),
        grace: Duration::from_secs(5),
    };
}

/// The largest head of a request; what probes and scrapers send is far below 1 KiB.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long to wait after a failed accept: the usual reason, no descriptor left, does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    source: Arc<dyn Source>,
    limits: Limits,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        tokio::select! {
            _ = stopped => {}
            () = accept(listener, source, limits) => {}
        }
    });
    // The runtime ends with its thread, and the connections with it.
}

async fn accept(listener: TcpListener, source: Arc<dyn Source>, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return pending().await; // Nobody closes the semaphore.
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let source = Arc::clone(&source);
                // A task of its own, so that a panic in `source` ends this connection alone.
                tokio::spawn(async move {
                    serve(stream, source, limits).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin: accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, source: Arc<dyn Source>, limits: Limits) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &*source);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_wait)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    // What goes wrong on one connection is the peer's affair (gone, too slow, not HTTP): it is closed.
    if timeout(limits.lifetime, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(limits.grace, connection).await;
    }
}

/// The answer to one request; HEAD is answered as GET and hyper leaves out the body.
fn answer(method: &Method, path: &str, source: &dyn Source) -> Response<Full<Bytes>> {
    if !matches!(path, "/" | "/ready" | "/live" | "/metrics") {
        return error(StatusCode::NOT_FOUND, "no such path; there are /ready, /live and /metrics");
    }
    if method != Method::GET && method != Method::HEAD {
        let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match path {
        "/ready" if source.ready() => plain(StatusCode::OK, "ready\n"),
        "/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/live" => plain(StatusCode::OK, "live\n"),
        "/metrics" => {
            let mut page = source.metrics();
            process::write(&mut page);
            whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page)
        }
        _ => plain(StatusCode::OK, PATHS),
    }
}

const PATHS: &str = "\
ringway admin
/ready    200 while new calls are welcome, 503 while draining
/live     200 while the process runs
/metrics  counters for Prometheus
";

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    whole(status, "text/plain; charset=utf-8", text)
}

/// An error in the shape of `google.rpc.Status`. The message must need no escaping in JSON.
fn error(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    let code = if status == StatusCode::NOT_FOUND { NOT_FOUND } else { UNIMPLEMENTED };
    whole(status, "application/json", format!("{{\"code\":{code},\"message\":\"{message}\"}}\n"))
}

/// Codes of `google.rpc.Code`.
const NOT_FOUND: u8 = 5;
const UNIMPLEMENTED: u8 = 12;

fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
