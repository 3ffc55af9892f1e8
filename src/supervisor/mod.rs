//! Starts the workers, watches them, and ends them in order.
//!
//! Each worker is a thread pinned to its core. All try the real ring first; the weakest answer decides for all. Nothing
//! here is on the way of a request.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the control plane has its own threads, which the workers never wait for"
)]

pub(crate) mod placement;
mod resolve;
mod rings;
mod state;

use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::rings::Rings;
use self::state::State;
use crate::admin::Admin;
use crate::config::{Backend, Config, OnUnavailable};
use crate::metrics::Shard;
use crate::net::ring::{self, Refusal, Rung};
use crate::net::{listener, sys};
use crate::policy::limit::SharedLimit;
use crate::worker::{self, Control, Plan};

/// How long a worker that was told to stop may take before it is left behind.
const STOP: Duration = Duration::from_secs(2);

/// A running gateway. Dropping it stops it at once; see [`Gateway::drain`] for the orderly way.
pub struct Gateway {
    state: Arc<State>,
    workers: Vec<Handle>,
    ended: Receiver<usize>,
    listeners: Vec<SocketAddr>,
    admin: Admin,
    drain_timeout: Duration,
    /// Workers that had ended when the drain began: nobody had told them to.
    lost: OnceLock<usize>,
    rung: Rung,
    _rings: Rings,
}

/// One worker's thread, and how to tell it something.
struct Handle {
    thread: Option<JoinHandle<()>>,
    control: Arc<Control>,
    bell: UnixStream,
    shard: Arc<Shard>,
}

/// Why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// io_uring was demanded and is not there.
    NoIoUring(Refusal),
    /// An address could not be bound.
    Bind(SocketAddr, io::Error),
    /// An endpoint's name has no address.
    Resolve(String, io::Error),
    /// `cpu_policy` leaves no CPU.
    Place(String),
    /// A worker could not set itself up.
    Worker(usize, String),
    /// A thread or a socket pair could not be made.
    System(io::Error),
}

impl StartError {
    /// The process's exit code: 78 (EX_CONFIG) where the host does not allow what was demanded, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::NoIoUring(_) => 78,
            StartError::Bind(..)
            | StartError::Resolve(..)
            | StartError::Place(_)
            | StartError::Worker(..)
            | StartError::System(_) => 1,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoIoUring(refusal) => {
                write!(f, "io_uring is not available, and io.on_unavailable is \"fail\": {refusal}")
            }
            StartError::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            StartError::Resolve(name, error) => write!(f, "cannot resolve the endpoint {name}: {error}"),
            StartError::Place(reason) => write!(f, "{reason}"),
            StartError::Worker(number, reason) => write!(f, "worker {number} cannot start: {reason}"),
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Calls that had to be cut at `drain_timeout`.
    pub calls_cut: u64,
    /// Workers that ended without being told to.
    pub workers_lost: usize,
}

/// What a worker's thread tells while it starts.
enum Report {
    Probed(Result<Rung, Refusal>),
    Started,
    Failed(String),
}

impl Gateway {
    /// Binds all addresses and starts all workers; returns when every one of them serves.
    ///
    /// # Errors
    /// What could not be bound, resolved or set up. Nothing is left running then.
    pub fn start(mut config: Config) -> Result<Gateway, StartError> {
        if let Err(error) = sys::raise_file_limit() {
            tracing::warn!(%error, "cannot raise the limit on open files");
        }
        let cores = placement::cores(config.workers, config.cpu_policy).map_err(StartError::Place)?;
        let addresses = resolve::endpoints(&config)?;
        let admin_listener = TcpListener::bind(config.admin.address)
            .map_err(|error| StartError::Bind(config.admin.address, error))?;
        let mut sockets = bind(&mut config, cores.len())?;
        let listeners = config.listeners.iter().map(|listener| listener.address).collect();
        let limits: Vec<_> = config
            .clusters
            .iter()
            .map(|cluster| SharedLimit::new(cluster.max_requests, cores.len()))
            .collect();
        let config = Arc::new(config);
        let layout = worker::layout(&config);
        let shards: Vec<_> = cores.iter().map(|_| Shard::new(&layout)).collect();

        let (ended_tell, ended) = mpsc::channel();
        let mut starting = Vec::new();
        for (number, core) in cores.iter().enumerate() {
            starting
                .push(Starting::new(number, *core, &config, ended_tell.clone()).map_err(StartError::System)?);
        }
        let (rung, refusal) = decide(&config, &starting)?;
        let state = Arc::new(State::new(layout, shards.clone(), rung, refusal));
        let rings = Rings::new(Arc::clone(&state)).map_err(StartError::System)?;
        let mut workers = Vec::new();
        for (starting, shard) in starting.into_iter().zip(&shards) {
            let number = workers.len();
            let before = ring::descriptors();
            let (bell, theirs) = UnixStream::pair().map_err(StartError::System)?;
            let control = Arc::new(Control::default());
            let plan = Plan {
                number,
                config: Arc::clone(&config),
                rung,
                sockets: sockets.remove(0),
                addresses: addresses.clone(),
                limits: limits.clone(),
                shard: Arc::clone(shard),
                control: Arc::clone(&control),
                bell: theirs,
            };
            let thread = starting.go(plan).map_err(|reason| StartError::Worker(number, reason))?;
            // Workers start one after the other, so the descriptor that is new is this one's ring.
            state.set_ring(number, ring::descriptors().difference(&before).next().copied());
            workers.push(Handle { thread: Some(thread), control, bell, shard: Arc::clone(shard) });
        }
        let admin = Admin::start(admin_listener, Arc::clone(&state) as _).map_err(StartError::System)?;
        state.set_ready(true);
        let drain_timeout = config.drain_timeout;
        let lost = OnceLock::new();
        Ok(Gateway { state, workers, ended, listeners, admin, drain_timeout, lost, rung, _rings: rings })
    }

    /// Where clients connect, in the order of the configuration; a port that was 0 is the real one here.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        self.listeners.clone()
    }

    /// Where operators connect.
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The back-end in use, the same on all workers.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// How many workers serve.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The page of metrics, as the admin address serves it but for the process's own figures.
    pub fn metrics(&self) -> String {
        crate::admin::Source::metrics(&*self.state)
    }

    /// Begins to drain: readiness fails, no connection is accepted, every client is told to open no more calls.
    pub fn drain(&self) {
        self.state.set_ready(false);
        self.count_lost();
        self.tell(Control::drain);
    }

    /// Waits until a worker ends that nobody told to. Returns at `timeout` at the latest; true if one has.
    pub fn wait_for_loss(&self, timeout: Duration) -> bool {
        self.ended.recv_timeout(timeout).is_ok()
    }

    /// Waits until every worker has ended; at `drain_timeout` from now cuts the calls that are left.
    pub fn join(mut self) -> Ended {
        let workers_lost = self.count_lost();
        let mut left = self.workers.iter().filter(|worker| worker.is_running()).count();
        let cut_at = Instant::now() + self.drain_timeout;
        while left > 0 {
            let rest = cut_at.saturating_duration_since(Instant::now());
            if self.ended.recv_timeout(rest).is_err() {
                break;
            }
            left = self.workers.iter().filter(|worker| worker.is_running()).count();
        }
        self.stop();
        Ended {
            calls_cut: self.workers.iter().map(|worker| worker.shard.worker.calls_cut.get()).sum(),
            workers_lost,
        }
    }

    /// Counted when the first word of an end is said: a worker that has nothing to finish ends at once.
    fn count_lost(&self) -> usize {
        *self.lost.get_or_init(|| self.workers.iter().filter(|worker| !worker.is_running()).count())
    }

    fn tell(&self, what: fn(&Control)) {
        for worker in &self.workers {
            what(&worker.control);
            // A worker that has ended hears nothing, and need not.
            let _ = (&worker.bell).write_all(&[1]);
        }
    }

    fn stop(&mut self) {
        self.state.set_ready(false);
        self.tell(Control::stop);
        for worker in &mut self.workers {
            let Some(thread) = worker.thread.take() else { continue };
            let given_up_at = Instant::now() + STOP;
            while !thread.is_finished() {
                let Some(rest) = given_up_at.checked_duration_since(Instant::now()) else { break };
                let _ = self.ended.recv_timeout(rest.min(Duration::from_millis(10)));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("listeners", &self.listeners)
            .field("rung", &self.rung)
            .finish_non_exhaustive()
    }
}

impl Handle {
    fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

/// A worker's thread that has pinned itself and tried its ring, and waits for the decision.
struct Starting {
    thread: JoinHandle<()>,
    plan: Sender<Plan>,
    reports: Receiver<Report>,
}

impl Starting {
    fn new(
        number: usize,
        core: Option<core_affinity::CoreId>,
        config: &Config,
        ended: Sender<usize>,
    ) -> io::Result<Starting> {
        let (plan, plans) = mpsc::channel();
        let (report, reports) = mpsc::channel();
        let wants_ring = config.io.backend != Backend::Epoll;
        let entries = config.io.entries;
        let body = move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(worker = number, core = core.id, "cannot pin the worker to its core");
            }
            let probed = if wants_ring { ring::probe(entries) } else { Ok(Rung::Epoll) };
            if report.send(Report::Probed(probed)).is_err() {
                return;
            }
            let Ok(plan) = plans.recv() else { return };
            let told = report.clone();
            if let Err(error) = worker::run(plan, move || drop(told.send(Report::Started))) {
                let _ = report.send(Report::Failed(error.to_string()));
            }
            let _ = ended.send(number);
        };
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(body)?;
        Ok(Starting { thread, plan, reports })
    }

    fn probed(&self) -> Result<Rung, Refusal> {
        match self.reports.recv() {
            Ok(Report::Probed(probed)) => probed,
            _ => Err(Refusal {
                errno: 0,
                reason: "the worker's thread ended while it tried its ring".to_owned(),
            }),
        }
    }

    /// Lets the worker serve; returns once it does.
    fn go(self, plan: Plan) -> Result<JoinHandle<()>, String> {
        let _ = self.plan.send(plan);
        match self.reports.recv() {
            Ok(Report::Started) => Ok(self.thread),
            Ok(Report::Failed(reason)) => Err(reason),
            Ok(Report::Probed(_)) | Err(_) => Err("its thread ended".to_owned()),
        }
    }
}

/// The back-end for all workers: the weakest that any of them can have.
fn decide(config: &Config, starting: &[Starting]) -> Result<(Rung, Option<Refusal>), StartError> {
    let mut decided = Rung::DeferTaskrun;
    let mut refused = None;
    for (number, starting) in starting.iter().enumerate() {
        match starting.probed() {
            Ok(rung) => decided = decided.max(rung),
            Err(refusal) => {
                decided = Rung::Epoll;
                refused.get_or_insert((number, refusal));
            }
        }
    }
    let Some((number, refusal)) = refused else { return Ok((decided, None)) };
    if config.io.on_unavailable == OnUnavailable::Fail {
        return Err(StartError::NoIoUring(refusal));
    }
    tracing::warn!(
        worker = number,
        errno = refusal.errno,
        "io_uring is not available, all workers use epoll: {refusal}"
    );
    Ok((decided, Some(refusal)))
}

/// One socket per listener for each worker. A port of 0 is settled by the first.
fn bind(config: &mut Config, workers: usize) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let mut all = Vec::new();
    for _ in 0..workers {
        let mut sockets = Vec::new();
        for listener in &mut config.listeners {
            let failed = |error| StartError::Bind(listener.address, error);
            let socket = listener::bind(listener.address, listener.backlog).map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            listener.address = address;
            sockets.push(socket);
        }
        all.push(sockets);
    }
    Ok(all)
}
