//! The operator's door: a dashboard and a page for each thing to know, over HTTP/1.1, on threads of its own.
//!
//! Never on the way of a call: it only reads what the workers have counted. Every wait here ends by
//! itself: a head must arrive within 5 s, a connection lives at most a minute, and at most 64 are
//! open: the next one takes the place of the one that has asked nothing for longest. The thread that accepts connections
//! responds to `/ready` and `/live`. Pages that add up counters are made beside it, a few at a time, so a large one
//! delays no probe.
//!
//! Read [`pages`] next: the table of all paths.
#![allow(clippy::disallowed_methods, reason = "the control plane has its own threads and clock")]

mod body;
mod breakers;
mod calls;
mod clusters;
mod history;
mod hosts;
mod openapi;
mod pages;
mod places;
mod process;
mod query;
mod request;
mod response;
mod routes;
mod settings;
mod tap;
mod value;
mod view;
mod workers;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use self::body::AdminBody;
use self::history::History;
use self::places::{Places, Sign};
use self::request::AdminRequest;
pub use self::view::{GatewayView, Hooks, LogLevel, Place, Reload, SetLevel, Source, Unresolved};
use crate::background::BackgroundThread;

/// The admin thread. Dropping it closes all its connections and waits until the thread has ended.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    attention: Attention,
    _thread: BackgroundThread<oneshot::Sender<()>>,
}

/// Tells the admin thread that there is something to see.
#[derive(Clone, Debug)]
pub struct Attention(Arc<History>);

impl Attention {
    /// Calls run, so the history takes samples. To be said every few seconds while they do.
    pub fn calls_run(&self) {
        self.0.calls_run();
    }
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

    /// How to tell it that there is something to see.
    pub fn attention(&self) -> Attention {
        self.attention.clone()
    }

    fn start_with(
        listener: std::net::TcpListener,
        source: Arc<dyn Source>,
        limits: Limits,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(PAGES_AT_ONCE).build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let history = Arc::new(History::default());
        let attention = Attention(Arc::clone(&history));
        let body = move || run(&runtime, listener, source, history, limits, stopped);
        Ok(Self { address, attention, _thread: BackgroundThread::start("admin", stop, body)? })
    }
}

/// Bounds of every wait and every queue here. A value, so that tests need not wait as long.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections open at once.
    connections_max: usize,
    /// How long a request's head may take, and how long a connection may be idle before one.
    head_wait: Duration,
    /// After this long a connection takes no further request.
    lifetime: Duration,
    /// How long the last response may take after that.
    grace: Duration,
    /// How often the history gets a sample.
    sample: Duration,
}

impl Limits {
    const DEFAULT: Self = Self {
        connections_max: 64,
        head_wait: Duration::from_secs(5),
        lifetime: Duration::from_secs(55),
        grace: Duration::from_secs(5),
        sample: Duration::from_secs(1),
    };
}

/// Pages that are made at once.
const PAGES_AT_ONCE: usize = 4;

/// The largest head of a request; what probes and scrapers send is far below 1 KiB.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long to wait after a failed accept: the usual reason, no descriptor left, does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often such failures are logged.
const TELL_EVERY: Duration = Duration::from_secs(1);

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    source: Arc<dyn Source>,
    history: Arc<History>,
    limits: Limits,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        tokio::spawn(sample(Arc::clone(&source), Arc::clone(&history), limits.sample));
        tokio::select! {
            _ = stopped => {}
            () = accept(listener, source, history, limits) => {}
        }
    });
    // The runtime ends with its thread, and the connections with it.
}

/// Adds a sample to the history at each interval, or less often where a look takes long; none while nobody looks and no
/// call runs.
async fn sample(source: Arc<dyn Source>, history: Arc<History>, interval: Duration) {
    loop {
        let begun = Instant::now();
        let taken = Arc::clone(&history);
        let asked = Arc::clone(&source);
        let goes_on = spawn_blocking(move || taken.sample(&*asked)).await;
        let took = begun.elapsed();
        match goes_on {
            Ok(false) => history.awakes().await,
            Ok(true) => {}
            Err(_) => source.panicked(),
        }
        sleep(interval.max(took * 20).saturating_sub(took)).await;
    }
}

async fn accept(listener: TcpListener, source: Arc<dyn Source>, history: Arc<History>, limits: Limits) {
    let mut places = Places::new(limits.connections_max);
    // It fails for a while, many times a second.
    let (mut told_at, mut more) = (None::<Instant>, 0_u64);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (asked, history) = (Arc::clone(&source), Arc::clone(&history));
                let sign = places.sign();
                // A task of its own, so that a panic in `source` ends this connection alone.
                let task = tokio::spawn(serve(stream, asked, history, limits, sign.clone()));
                places.take(sign, task.abort_handle());
                let source = Arc::clone(&source);
                tokio::spawn(async move {
                    if task.await.is_err_and(|error| error.is_panic()) {
                        source.panicked();
                    }
                });
            }
            Err(error) => {
                if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                    tracing::warn!(%error, more, "admin: accept failed");
                    (told_at, more) = (Some(Instant::now()), 0);
                } else {
                    more += 1;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    source: Arc<dyn Source>,
    history: Arc<History>,
    limits: Limits,
    sign: Sign,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        sign.give();
        let asked = AdminRequest::new(&request, &source, &history);
        async move { Ok::<_, Infallible>(answer(asked).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_wait)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    // A connection's failure is its peer's affair (gone, too slow, not HTTP): the connection is closed.
    if timeout(limits.lifetime, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(limits.grace, connection).await;
    }
}

async fn answer(asked: AdminRequest) -> Response<AdminBody> {
    if pages::is_live(&asked) {
        return tap::open(&asked);
    }
    let reply = match asked.is_quick() {
        true => pages::answer(&asked),
        false => match spawn_blocking(move || pages::answer(&asked)).await {
            Ok(reply) => reply,
            // It goes on in the connection's task, which it ends.
            Err(error) => resume_unwind(error.into_panic()),
        },
    };
    reply.into_response()
}

#[cfg(test)]
mod tests;
