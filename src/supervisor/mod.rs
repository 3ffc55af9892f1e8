//! Starts the workers, watches them, and ends them in order.
//!
//! Each worker is a thread pinned to its core. All try the real ring first; the weakest answer decides for all. Nothing
//! here is on the way of a request.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the control plane has its own threads, which the workers never wait for"
)]

mod access;
mod active_config;
mod apis;
mod background;
mod batch;
mod breakers;
mod certificates;
pub mod channel;
mod connectivity_log;
mod dns;
mod ejections;
mod error;
mod failing;
mod files;
mod guard;
mod health;
pub mod host;
mod housekeeping;
mod jwks;
mod launch;
mod listeners;
mod notice;
mod notifiers;
pub(crate) mod placement;
pub mod reflection;
mod reflection_poller;
mod reload;
mod renewal;
mod series;
mod shared_state;
mod spans;
mod state;
mod telemetry_sinks;
mod traces;
mod worker_thread;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::active_config::ActiveConfig;
use self::apis::Watcher;
use self::background::BackgroundRuntime;
use self::certificates::Certificates;
use self::dns::DnsResolver;
pub use self::error::StartError;
use self::files::Files;
pub use self::files::{Absent, WatchedFiles};
use self::health::Checks;
use self::housekeeping::Housekeeping;
use self::jwks::KeyFetches;
use self::launch::Launch;
use self::listeners::Running;
use self::notice::Notice;
pub use self::notice::Waker;
use self::notifiers::Notifiers;
pub use self::reload::{ReloadError, Reloaded};
pub use self::shared_state::ListenerChanges;
use self::shared_state::{Found, SharedState};
use self::state::{Shown, State};
use self::telemetry_sinks::TelemetrySinks;
use self::worker_thread::{Handle, Starting};
use crate::admin::{Admin, GatewayView, Hooks, Place};
use crate::config::{self, Config, EndpointAddress, OnUnavailable};
use crate::metrics::{Format, Layout, Shard};
use crate::net::ring::{IoBackend, RingUnavailable};
use crate::net::sys;
use crate::transcode::api::Api;
use crate::worker::{Clock, Control, ListenerIdentity};

/// The time for a worker to stop; after it the worker is left behind.
const STOP: Duration = Duration::from_secs(2);

/// A running gateway. Dropping it stops it at once; see [`Gateway::drain`] for the orderly way.
pub struct Gateway {
    state: Arc<State>,
    workers: Vec<Handle>,
    notices: Receiver<Notice>,
    listeners: Vec<Running>,
    admin: Admin,
    drain_timeout: Duration,
    /// Workers that had ended, without an order, when the drain began.
    lost: OnceLock<usize>,
    backend: IoBackend,
    /// Dropped after the workers have ended, so that their last records are written.
    sinks: TelemetrySinks,
    /// The configuration as it was given.
    asked: Config,
    notifiers: Arc<Notifiers>,
    active: Arc<Mutex<ActiveConfig>>,
    background: BackgroundRuntime,
    files: Files,
    _housekeeping: Housekeeping,
}

/// The end of a gateway, in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Calls that had to be cut at `drain_timeout`.
    pub calls_cut: u64,
    /// Workers that ended without an order.
    pub workers_lost: usize,
}

impl Gateway {
    /// Binds all addresses and starts all workers; returns when every one of them serves.
    ///
    /// # Errors
    /// The address, name or resource that failed. Nothing is left running then.
    pub fn start(config: Config) -> Result<Gateway, StartError> {
        Gateway::start_with(config, Hooks::default())
    }

    /// Starts a gateway as [`Gateway::start`] does; `hooks` are further operations at the admin address.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn start_with(mut config: Config, hooks: Hooks) -> Result<Gateway, StartError> {
        raise_limits();
        config::loops(&config).iter().for_each(|circle| tracing::warn!("{circle}"));
        let cores = placement::cores(config.workers, config.cpu_policy).map_err(StartError::Place)?;
        let background = BackgroundRuntime::start().map_err(StartError::System)?;
        let dns = DnsResolver::first(background.handle(), &config)?;
        let admin_listener = bind_admin(&config)?;
        let asked = config.clone();
        let opened = listeners::open(&mut config, &[], cores.len()).map_err(|(_, error)| error)?;
        let config = Arc::new(config);
        let (certificates, found) = found(&config, &dns, opened.identities())?;
        let targets = |cluster| found.targets(&config, cluster);
        let apis = apis::open(&config, &targets, None).map_err(StartError::Transcoding)?;
        let layout = active_config::layout(&config, &found.addresses);
        let shards: Vec<_> = cores.iter().map(|_| Shard::new(&layout)).collect();
        let clock = Clock::new();
        let shared = SharedState::new(&config, found, cores.len(), clock.now());

        let (notify, notices) = mpsc::channel();
        let begin = |(number, core): (_, &_)| Starting::new(number, *core, &config, notify.clone());
        let starting = all(cores.iter().enumerate().map(begin))?;
        let (backend, refusal) = decide(&config, &starting)?;
        let view = view(&shared, layout, &shards, &starting, backend);
        let sinks = TelemetrySinks::start(&config, cores.len(), &view.layout)?;
        let status = apis.as_ref().map(|apis| Arc::clone(&apis.status));
        let files = Files::default();
        let shown = shown((&sinks, &files), (refusal, hooks), (&clock, notify));
        let counts = (Arc::clone(dns.counts()), Arc::clone(&certificates.status));
        let state = Arc::new(State::new(view, shown, status, sinks.counts(), counts));
        let launch = Launch {
            shared: &shared,
            clock: &clock,
            shards: &shards,
            api: apis.as_ref().map(|apis| &apis.api),
            sinks: &sinks,
            backend,
        };
        let workers = launch.run(starting, opened.sockets, &state)?;
        let notifiers = Notifiers::of(&workers).map_err(StartError::System)?;
        let descriptors = watch(apis, &files, Arc::clone(&notifiers)).map_err(StartError::System)?;
        let admin = Admin::start(admin_listener, Arc::clone(&state) as _).map_err(StartError::System)?;
        state.set_ready(true);
        let active = ActiveConfig {
            state: Arc::clone(&state),
            notifiers: Arc::clone(&notifiers),
            checks: Checks::new(background.handle(), &clock),
            key_fetches: KeyFetches::new(background.handle()),
            clock,
            shared,
            waiting: Arc::default(),
            series_base: 0,
            dns,
            certificates,
            descriptors,
        };
        Ok(Gateway {
            _housekeeping: Housekeeping::start(&state, &files, &admin).map_err(StartError::System)?,
            state,
            workers,
            notices,
            listeners: opened.running,
            admin,
            drain_timeout: config.drain_timeout,
            lost: OnceLock::new(),
            backend,
            sinks,
            asked,
            notifiers,
            active: renewal::begin(&files, active),
            background,
            files,
        })
    }

    /// The addresses that clients connect to, in the order of the configuration. A port that was 0 is the real one
    /// here.
    pub fn addresses(&self) -> Vec<EndpointAddress> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// Those of TCP among [`Gateway::addresses`].
    pub fn listeners(&self) -> Vec<SocketAddr> {
        self.addresses().into_iter().filter_map(EndpointAddress::tcp).collect()
    }

    /// The address that operators connect to.
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The back-end in use, on all workers.
    pub fn backend(&self) -> IoBackend {
        self.backend
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The page of metrics, as the admin address serves it but for the process's own figures.
    pub fn metrics(&self) -> String {
        crate::admin::Source::metrics(&*self.state, Format::Text).finish()
    }

    /// The running configuration, with the shard of each worker.
    pub fn view(&self) -> Arc<GatewayView> {
        crate::admin::Source::view(&*self.state)
    }

    /// Counts a reload.
    pub fn reload_ended(&self, taken: bool) {
        self.state.reload_ended(taken);
    }

    /// Begins to drain: readiness fails, no connection is accepted, every client is told to open no more calls.
    pub fn drain(&self) {
        self.state.set_ready(false);
        self.count_lost();
        listeners::remove_files(&self.listeners);
        self.notifiers.tell(Control::drain);
    }

    /// Opens the file of the access log anew, if there is one: it was moved away.
    pub fn reopen_access_log(&self) {
        self.sinks.reopen_access_log();
    }

    /// Whether an operator asked at the admin address to drain. Readiness fails since then.
    pub fn drain_wanted(&self) -> bool {
        self.state.drain_wanted()
    }

    /// Waits until a worker ends without an order, which gives true; or until an operator asks to drain, or a [`Waker`]
    /// wakes it.
    pub fn wait(&self) -> bool {
        // The gateway has a waker itself, so there always is a sender.
        matches!(self.notices.recv(), Ok(Notice::WorkerEnded))
    }

    /// A waker, by which other threads end a wait.
    pub fn waker(&self) -> Waker {
        self.state.waker()
    }

    /// Calls `tell`, which must not wait, when one of these files has changed since it was read, until `watched` is
    /// dropped.
    pub fn watch_files(&self, watched: &Arc<WatchedFiles>, tell: impl Fn() + Send + 'static) {
        self.files.watch(watched, tell);
    }

    /// Waits until every worker has ended; at `drain_timeout` from now cuts the calls that are left.
    pub fn join(mut self) -> Ended {
        let workers_lost = self.count_lost();
        let mut left = self.workers.iter().filter(|worker| worker.is_running()).count();
        let cut_at = Instant::now() + self.drain_timeout;
        while left > 0 {
            let rest = cut_at.saturating_duration_since(Instant::now());
            if matches!(self.notices.recv_timeout(rest), Err(RecvTimeoutError::Timeout)) {
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

    /// Counts lost workers when the end begins: a worker without calls ends at once.
    fn count_lost(&self) -> usize {
        *self.lost.get_or_init(|| self.workers.iter().filter(|worker| !worker.is_running()).count())
    }

    fn stop(&mut self) {
        self.state.set_ready(false);
        self.notifiers.tell(Control::stop);
        for worker in &mut self.workers {
            let Some(thread) = worker.thread.take() else { continue };
            let given_up_at = Instant::now() + STOP;
            while !thread.is_finished() {
                let Some(rest) = given_up_at.checked_duration_since(Instant::now()) else { break };
                let _ = self.notices.recv_timeout(rest.min(Duration::from_millis(10)));
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
            .field("listeners", &self.addresses())
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// All of them, or the first error of the system.
fn all<T>(results: impl Iterator<Item = io::Result<T>>) -> Result<Vec<T>, StartError> {
    results.collect::<io::Result<_>>().map_err(StartError::System)
}

/// Decisions of names, files and sockets at the start.
fn found(
    config: &Config,
    dns: &DnsResolver,
    listeners: Vec<Arc<ListenerIdentity>>,
) -> Result<(Certificates, Found), StartError> {
    let (certificates, tls) = Certificates::open(config).map_err(StartError::Tls)?;
    let (addresses, hosts) = (dns.addresses(config, None), dns.hosts(config));
    Ok((certificates, Found { addresses, hosts, tls, listeners }))
}

fn bind_admin(config: &Config) -> Result<TcpListener, StartError> {
    let address = config.admin.address;
    TcpListener::bind(address).map_err(|error| StartError::BindAdmin(address, error))
}

fn raise_limits() {
    if let Err(error) = sys::raise_file_limit() {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// The view of the gateway that operators get.
fn view(
    shared: &SharedState,
    layout: Layout,
    shards: &[Arc<Shard>],
    starting: &[Starting],
    backend: IoBackend,
) -> GatewayView {
    let workers: Vec<Place> = starting.iter().map(|starting| starting.place).collect();
    let (config, shares, shards) = (Arc::clone(&shared.config), shared.shares.clone(), shards.to_vec());
    let (backend, flags, waiting) = (backend.name(), backend.flags(), Arc::default());
    GatewayView { config, waiting, shares, layout, shards, workers, backend, flags }
}

/// Gives all workers each new API, if descriptors are watched.
fn watch(
    apis: Option<apis::OpenedSources>,
    files: &Files,
    notifiers: Arc<Notifiers>,
) -> io::Result<Option<Watcher>> {
    let Some(apis) = apis else { return Ok(None) };
    let tell = move |api: &Arc<Api>| notifiers.transcode(Some(api));
    Watcher::start(apis.sources, apis.status, files, tell).map(Some)
}

/// Further things that operators get, beside the view.
fn shown(
    (sinks, files): (&TelemetrySinks, &Files),
    (refusal, hooks): (Option<RingUnavailable>, Hooks),
    (clock, notify): (&Clock, Sender<Notice>),
) -> Shown {
    Shown {
        refusal,
        hooks,
        taps: sinks.taps().to_vec(),
        series: sinks.series(),
        clock: clock.clone(),
        files: files.clone(),
        waker: Waker::new(notify),
    }
}

/// The back-end for all workers: the weakest that any of them can have.
fn decide(
    config: &Config,
    starting: &[Starting],
) -> Result<(IoBackend, Option<RingUnavailable>), StartError> {
    let mut decided = IoBackend::SubmissionThread;
    let mut refused = None;
    for (number, starting) in starting.iter().enumerate() {
        match starting.probed() {
            Ok(backend) => decided = decided.max(backend),
            Err(refusal) => {
                decided = IoBackend::Epoll;
                refused.get_or_insert((number, refusal));
            }
        }
    }
    let Some((number, refusal)) = refused else { return Ok((decided, None)) };
    if config.io.sqpoll_idle.is_some() || config.io.busy_poll.is_some() {
        return Err(StartError::Option(refusal));
    }
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
