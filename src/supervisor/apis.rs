//! What callers of plain HTTP may call: read from descriptors at start, and again when these change.
//!
//! Files are looked at several times a second, by what the system says of them: a file that is changed in place, renamed
//! over, or reached by another symbolic link is another file. Upstreams are asked by server reflection. What cannot be
//! read, or is wrong, changes nothing: the API that was good stays.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::reflection;
use crate::config::Config;
use crate::transcode::api::{Api, Reflected};
use crate::transcode::openapi;
use crate::transcode::problem::Problem;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How soon an upstream is asked again that did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The API in use, and what became of attempts to replace it.
#[derive(Default)]
pub(super) struct Status {
    openapi: Mutex<Arc<str>>,
    methods: AtomicU64,
    rules: AtomicU64,
    loads: AtomicU64,
    failures: AtomicU64,
    is_good: AtomicBool,
}

/// What the metrics say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) methods: u64,
    pub(super) rules: u64,
    pub(super) loads: u64,
    pub(super) failures: u64,
    pub(super) is_good: bool,
}

impl Status {
    /// The description of the API in use; empty while there is none.
    pub(super) fn openapi(&self) -> Arc<str> {
        Arc::clone(&self.openapi.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            methods: self.methods.load(Ordering::Relaxed),
            rules: self.rules.load(Ordering::Relaxed),
            loads: self.loads.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            is_good: self.is_good.load(Ordering::Relaxed),
        }
    }

    fn loaded(&self, api: &Api) {
        let text = openapi::describe(api).into();
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
    addresses: Vec<Vec<SocketAddr>>,
    /// What each upstream that is asked answered last.
    reflected: HashMap<usize, Reflected>,
    seen: Vec<Option<Stamp>>,
    /// Files that are looked at.
    files: Vec<PathBuf>,
    asked_at: Option<Instant>,
    /// All upstreams have answered.
    all_answered: bool,
}

/// What tells one state of a file from another.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

impl Sources {
    pub(super) fn new(config: &Arc<Config>, addresses: &[Vec<SocketAddr>]) -> Sources {
        let mut sources = Sources {
            config: Arc::clone(config),
            addresses: addresses.to_vec(),
            reflected: HashMap::new(),
            seen: Vec::new(),
            files: Vec::new(),
            asked_at: None,
            all_answered: true,
        };
        sources.watch(None);
        sources
    }

    /// Reads everything. Called before anything has been read; what is wrong then keeps the gateway from starting.
    pub(super) fn first(&mut self, status: &Status) -> Result<Arc<Api>, Vec<Problem>> {
        self.ask();
        self.load(status)
    }

    fn load(&mut self, status: &Status) -> Result<Arc<Api>, Vec<Problem>> {
        self.seen = self.files.iter().map(stamp).collect();
        let reflected: Vec<Reflected> = self.reflected.values().cloned().collect();
        let api = Api::load(&self.config.transcoding, &self.config.directory, &reflected)?;
        self.watch(Some(&api));
        status.loaded(&api);
        Ok(Arc::new(api))
    }

    /// The files that make the API: those that are named, and those that they import.
    fn watch(&mut self, api: Option<&Api>) {
        let settings = &self.config.transcoding;
        let inside = |path: &PathBuf| self.config.directory.join(path);
        let mut files: Vec<PathBuf> =
            settings.descriptor_sets.iter().chain(&settings.protos).map(inside).collect();
        if let Some(api) = api {
            for file in api.schema().pool().files() {
                let found = settings.proto_paths.iter().map(|path| inside(path).join(file.name()));
                files.extend(found.filter(|path| path.exists()));
            }
        }
        files.sort();
        files.dedup();
        self.seen = files.iter().map(stamp).collect();
        self.files = files;
    }

    /// Whether something is to be read again.
    fn have_changed(&mut self) -> bool {
        let seen: Vec<Option<Stamp>> = self.files.iter().map(stamp).collect();
        let changed = seen != self.seen;
        self.seen = seen;
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
            let answered = self.addresses[cluster].iter().find_map(|address| {
                reflection::ask_now(*address)
                    .inspect_err(|error| tracing::warn!(cluster = %name, %address, %error, "server reflection"))
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

/// Looks whether descriptors change, on a thread of its own, until it is dropped.
pub(super) struct Watcher {
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
        let body = move || watch(sources, &status, &stopped, tell);
        let thread = thread::Builder::new().name("descriptors".to_owned()).spawn(body)?;
        Ok(Watcher { stop: Some(stop), thread: Some(thread) })
    }
}

fn watch(mut sources: Sources, status: &Status, stopped: &Receiver<()>, tell: impl Fn(&Arc<Api>)) {
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if !sources.have_changed() {
            continue;
        }
        match sources.load(status) {
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
