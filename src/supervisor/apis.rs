//! What callers of plain HTTP may call: read from descriptors at start, and again when these change.
//!
//! Files are looked at several times a second, by what the system says of them: a file that is changed in place, renamed
//! over, or reached by another symbolic link is another file. Upstreams are asked by server reflection. What cannot be
//! read, or is wrong, changes nothing: the API that was good stays.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::reflection;
use crate::config::{Config, PrintOptions};
use crate::metrics::render::TranscodingInfo;
use crate::transcode::api::{Api, Reflected};
use crate::transcode::openapi;
use crate::transcode::problem::Problem;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How soon an upstream is asked again that did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The API in use, and what became of attempts to replace it.
pub(super) struct Status {
    openapi: Mutex<Arc<str>>,
    print_options: PrintOptions,
    methods: AtomicU64,
    rules: AtomicU64,
    loads: AtomicU64,
    failures: AtomicU64,
    is_good: AtomicBool,
}

impl Status {
    fn new(print_options: PrintOptions) -> Status {
        let (methods, rules, loads, failures, is_good) = Default::default();
        Status { openapi: Mutex::new("".into()), print_options, methods, rules, loads, failures, is_good }
    }

    /// The description of the API in use; empty while there is none.
    pub(super) fn openapi(&self) -> Arc<str> {
        Arc::clone(&self.openapi.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the metrics say of it.
    pub(super) fn info(&self) -> TranscodingInfo {
        TranscodingInfo {
            methods: self.methods.load(Ordering::Relaxed),
            rules: self.rules.load(Ordering::Relaxed),
            loads: self.loads.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            is_good: self.is_good.load(Ordering::Relaxed),
        }
    }

    fn loaded(&self, api: &Api) {
        let title = "Services behind Ringway";
        let about = openapi::About { title, version: "1", print_options: self.print_options };
        let text = openapi::document(api, &about).to_string().into();
        *self.openapi.lock().unwrap_or_else(PoisonError::into_inner) = text;
        self.methods.store(api.methods().len() as u64, Ordering::Relaxed);
        self.rules.store(api.rules().len() as u64, Ordering::Relaxed);
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.is_good.store(true, Ordering::Relaxed);
    }

    fn failed(&self, problems: &[Problem]) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.is_good.store(false, Ordering::Relaxed);
        for problem in problems {
            tracing::error!("transcoding: {problem}");
        }
        tracing::error!("the descriptors are not taken: the API in use stays");
    }
}

/// Where the descriptors come from.
pub(super) struct Sources {
    config: Arc<Config>,
    /// Of each cluster's endpoints; names may lead elsewhere while this is in use.
    addresses: Addresses,
    /// What each upstream that is asked answered last.
    reflected: BTreeMap<usize, Reflected>,
    /// The files that are looked at, as they were when they were read.
    read: Stamps,
    /// As they were at the last look.
    seen: Stamps,
    asked_at: Option<Instant>,
    /// All upstreams have answered.
    all_answered: bool,
}

type Addresses = Arc<Mutex<Vec<Vec<SocketAddr>>>>;

/// Files, and how each is known; none for one that is not there.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What tells one state of a file from another: device, inode, length, and when it was written.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

impl Sources {
    fn new(config: &Arc<Config>, addresses: &[Vec<SocketAddr>]) -> Sources {
        let settings = &config.transcoding;
        let named = settings.descriptor_sets.iter().chain(&settings.protos);
        let read: Stamps = named.map(|path| (config.directory.join(path), None)).collect();
        Sources {
            config: Arc::clone(config),
            addresses: Arc::new(Mutex::new(addresses.to_vec())),
            reflected: BTreeMap::new(),
            seen: read.clone(),
            read,
            asked_at: None,
            all_answered: true,
        }
    }

    /// Reads everything. Called before anything has been read; what is wrong then keeps the gateway from starting.
    fn first(&mut self, status: &Status) -> Result<Arc<Api>, Vec<Problem>> {
        self.ask();
        self.look();
        self.load(status)
    }

    fn load(&mut self, status: &Status) -> Result<Arc<Api>, Vec<Problem>> {
        self.read = self.seen.clone();
        let reflected: Vec<Reflected> = self.reflected.values().cloned().collect();
        let api = Api::load(&self.config.transcoding, &self.config.directory, &reflected)?;
        self.watch_imports(&api);
        status.loaded(&api);
        Ok(Arc::new(api))
    }

    /// Looks from now on at the files that were imported, too.
    fn watch_imports(&mut self, api: &Api) {
        for path in &self.config.transcoding.proto_paths {
            let directory = self.config.directory.join(path);
            for file in api.schema().pool().files() {
                let path = directory.join(file.name());
                if let Some(stamp) = stamp(&path) {
                    self.read.entry(path.clone()).or_insert(Some(stamp));
                    self.seen.entry(path).or_insert(Some(stamp));
                }
            }
        }
    }

    fn look(&mut self) {
        for (path, seen) in &mut self.seen {
            *seen = stamp(path);
        }
    }

    /// Whether something is to be read again. A file has to look the same twice: it may be under way.
    fn have_changed(&mut self) -> bool {
        let before = self.seen.clone();
        self.look();
        let changed = self.seen != self.read && self.seen == before;
        let settings = &self.config.transcoding;
        let wait = if self.all_answered { settings.reflection_interval } else { ASK_AGAIN };
        let is_due = !settings.reflection.is_empty() && self.asked_at.is_none_or(|at| at.elapsed() >= wait);
        (is_due && self.ask()) || changed
    }

    /// Asks all upstreams that are to be asked; true if any answers something new.
    fn ask(&mut self) -> bool {
        self.asked_at = Some(Instant::now());
        self.all_answered = true;
        let mut is_new = false;
        for &cluster in &self.config.transcoding.reflection {
            let name = &self.config.clusters[cluster].name;
            let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner)[cluster].clone();
            let answered = addresses.iter().find_map(|address| {
                reflection::ask_and_wait(*address)
                    .inspect_err(
                        |error| tracing::warn!(cluster = %name, %address, %error, "server reflection"),
                    )
                    .ok()
            });
            match answered {
                None => self.all_answered = false,
                Some(files) => {
                    let reflected = Reflected { origin: format!("reflection of cluster {name:?}"), files };
                    is_new |= self.reflected.get(&cluster) != Some(&reflected);
                    self.reflected.insert(cluster, reflected);
                }
            }
        }
        is_new
    }
}

/// What a gateway starts with.
pub(super) struct Opened {
    pub(super) api: Arc<Api>,
    pub(super) status: Arc<Status>,
    pub(super) sources: Sources,
}

/// Reads all descriptors that are configured; none if there are none.
pub(super) fn open(
    config: &Arc<Config>,
    addresses: &[Vec<SocketAddr>],
) -> Result<Option<Opened>, Vec<Problem>> {
    if !config.transcoding.is_configured() {
        return Ok(None);
    }
    let status = Arc::new(Status::new(config.transcoding.print_options));
    let mut sources = Sources::new(config, addresses);
    let api = sources.first(&status)?;
    Ok(Some(Opened { api, status, sources }))
}

/// Looks whether descriptors change, on a thread of its own, until it is dropped.
pub(super) struct Watcher {
    addresses: Addresses,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// `tell` is called with each new API.
    pub(super) fn start(
        sources: Sources,
        status: Arc<Status>,
        tell: impl Fn(&Arc<Api>) + Send + 'static,
    ) -> io::Result<Watcher> {
        let (stop, stopped) = channel();
        let addresses = Arc::clone(&sources.addresses);
        let body = move || watch(sources, &status, &stopped, tell);
        let thread = thread::Builder::new().name("descriptors".to_owned()).spawn(body)?;
        Ok(Watcher { addresses, stop: Some(stop), thread: Some(thread) })
    }

    /// From now on upstreams are asked at these addresses.
    pub(super) fn relocate(&self, addresses: &[Vec<SocketAddr>]) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }
}

fn watch(mut sources: Sources, status: &Status, stopped: &Receiver<()>, tell: impl Fn(&Arc<Api>)) {
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if !sources.have_changed() {
            continue;
        }
        match sources.load(status) {
            // Somebody else has told something newer meanwhile.
            _ if stopped.try_recv() == Err(TryRecvError::Disconnected) => return,
            Ok(api) => {
                let (methods, rules) = (api.methods().len(), api.rules().len());
                tracing::info!(methods, rules, "new descriptors are in use");
                tell(&api);
            }
            Err(problems) => status.failed(&problems),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.take();
        // It may be waiting for an upstream, which nobody else should wait for.
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
