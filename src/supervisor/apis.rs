//! The API that callers of plain HTTP have: read from descriptors at start, and again when these change.
//!
//! The gateway looks at files now and then ([`files`](super::files)). Beside that, it asks upstreams by server reflection
//! ([`reflection_poller`]). Descriptors that are wrong or cannot be read change nothing: the API in use stays. Each upstream's
//! last answer stays, too, also when the configuration changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use parking_lot::Mutex;

use super::channel::Target;
use super::files::{Absent, Files, WatchedFiles};
use super::guard;
use super::reflection_poller::{self, Answered, ReflectionPoller, Upstream};
use crate::config::Config;
use crate::metrics::render::TranscodingInfo;
use crate::transcode::api::{Api, Reflected};
use crate::transcode::openapi;
use crate::transcode::problem::{self, Problem};

/// The API in use, and counts of attempts to replace it. Outlives changes of the configuration.
#[derive(Default)]
pub(super) struct Status {
    api: Mutex<Option<Arc<Api>>>,
    openapi: Mutex<Arc<str>>,
    /// The last answer of each cluster that reflection asks.
    known: Mutex<BTreeMap<String, Reflected>>,
    methods: AtomicU64,
    rules: AtomicU64,
    loads: AtomicU64,
    failures: AtomicU64,
    answers: AtomicU64,
    unanswered: AtomicU64,
    refused: AtomicU64,
    is_good: AtomicBool,
}

impl Status {
    /// The description of the API in use; empty while there is none.
    pub(super) fn openapi(&self) -> Arc<str> {
        Arc::clone(&self.openapi.lock())
    }

    /// The values of the status for the metrics page.
    pub(super) fn info(&self) -> TranscodingInfo {
        TranscodingInfo {
            methods: self.methods.load(Ordering::Relaxed),
            rules: self.rules.load(Ordering::Relaxed),
            loads: self.loads.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            answers: self.answers.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
            is_good: self.is_good.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// The API in use, if there is one.
    pub(super) fn api(&self) -> Option<Arc<Api>> {
        self.api.lock().clone()
    }

    fn loaded(&self, api: &Arc<Api>, config: &Config) {
        *self.api.lock() = Some(Arc::clone(api));
        let title = "Services behind Ringway";
        let print_options = config.transcoding.print_options;
        let wraps_stream_messages = config.transcoding.compatibility.wrap_stream_messages;
        let about = openapi::About { title, version: "1", print_options, wraps_stream_messages };
        let text = openapi::document(api, &about).to_string().into();
        *self.openapi.lock() = text;
        self.methods.store(api.methods().len() as u64, Ordering::Relaxed);
        self.rules.store(api.rules().len() as u64, Ordering::Relaxed);
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.is_good.store(true, Ordering::Relaxed);
        self.refused.store(api.refused().len() as u64, Ordering::Relaxed);
        tell(api.refused(), |problem| tracing::warn!("transcoding: left out: {problem}"));
    }

    fn failed(&self, problems: &[Problem]) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.is_good.store(false, Ordering::Relaxed);
        tell(problems, |problem| tracing::error!("transcoding: {problem}"));
        tracing::error!("descriptor reload failed, keeping the current API");
    }

    /// Keeps an upstream's answer; true if it differs from the one before.
    fn answered(&self, (cluster, answer): Answered) -> bool {
        let Some(answer) = answer else {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        self.answers.fetch_add(1, Ordering::Relaxed);
        let mut known = self.known.lock();
        known.insert(cluster, answer.clone()) != Some(answer)
    }

    /// The last answer of a cluster.
    fn known(&self, cluster: &str) -> Option<Reflected> {
        self.known.lock().get(cluster).cloned()
    }
}

/// Problems of one load that are logged one by one.
const TOLD_MAX: usize = 100;

/// Logs problems, and counts those that are defects of ours.
fn tell(problems: &[Problem], log: impl Fn(&Problem)) {
    problems.iter().filter(|problem| problem.is_defect).for_each(|_| guard::count());
    problems.iter().take(TOLD_MAX).for_each(log);
    if let Some(more) = problems.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        tracing::warn!(more, "transcoding: there are more problems; `ringway check` has those of files");
    }
}

/// Gives the endpoints of a cluster.
pub(super) type Targets<'a> = dyn Fn(usize) -> Vec<Target> + 'a;

/// The sources of descriptors.
pub(super) struct Sources {
    config: Arc<Config>,
    upstreams: Vec<Upstream>,
    /// The files that are watched.
    paths: BTreeSet<PathBuf>,
    watched: Arc<WatchedFiles>,
}

impl Sources {
    fn new(config: &Arc<Config>, targets: &Targets<'_>) -> Sources {
        let settings = &config.transcoding;
        let named = settings.descriptor_sets.iter().chain(&settings.protos).chain(&settings.service_configs);
        let paths: BTreeSet<PathBuf> = named.map(|path| config.directory.join(path)).collect();
        let upstream = |cluster: &usize| Upstream {
            cluster: config.clusters[*cluster].name.clone(),
            targets: Arc::new(Mutex::new(targets(*cluster))),
            failure: Arc::default(),
        };
        Sources {
            config: Arc::clone(config),
            upstreams: settings.reflection.iter().map(upstream).collect(),
            watched: WatchedFiles::new(paths.iter().cloned().collect(), Absent::IsAChange),
            paths,
        }
    }

    /// Reads everything, before anything has been read. A fault then refuses all of it. Waits only for upstreams
    /// without an earlier answer.
    fn first(&mut self, status: &Status) -> Result<Arc<Api>, Vec<Problem>> {
        let unknown = self.upstreams.iter().filter(|upstream| status.known(&upstream.cluster).is_none());
        match reflection_poller::ask_once(&unknown.cloned().collect::<Vec<_>>()) {
            Ok(answers) => {
                for answer in answers {
                    status.answered(answer);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot ask upstreams for their descriptors"),
        }
        self.load(status).or_else(|problems| {
            // A service's answer keeps no gateway from starting: callers of gRPC do not need it.
            let api = self.load_with(status, &[])?;
            status.failed(&problems);
            Ok(api)
        })
    }

    fn load(&mut self, status: &Status) -> Result<Arc<Api>, Vec<Problem>> {
        self.watched.are_read();
        let reflected = self.upstreams.iter().filter_map(|upstream| status.known(&upstream.cluster));
        self.load_with(status, &reflected.collect::<Vec<Reflected>>())
    }

    fn load_with(&mut self, status: &Status, reflected: &[Reflected]) -> Result<Arc<Api>, Vec<Problem>> {
        let (settings, directory) = (&self.config.transcoding, &self.config.directory);
        let loaded = problem::guarded("transcoding", || Api::load(settings, directory, reflected));
        let api = loaded.map_err(|defect| vec![defect])??;
        self.watch_imports(&api);
        self.watched.set(self.paths.iter().cloned().collect());
        let api = Arc::new(api);
        status.loaded(&api, &self.config);
        Ok(api)
    }

    /// Watches imported files from now on, too.
    fn watch_imports(&mut self, api: &Api) {
        for path in &self.config.transcoding.proto_paths {
            let directory = self.config.directory.join(path);
            for file in api.schemas().iter().flat_map(|schema| schema.pool().files().collect::<Vec<_>>()) {
                let path = directory.join(file.name());
                if path.exists() {
                    self.paths.insert(path);
                }
            }
        }
    }
}

/// The API that a gateway starts with, and its sources.
pub(super) struct OpenedSources {
    pub(super) api: Arc<Api>,
    pub(super) status: Arc<Status>,
    pub(super) sources: Sources,
}

/// Reads all configured descriptors; `None` if there are none. `before` is the status so far.
pub(super) fn open(
    config: &Arc<Config>,
    targets: &Targets<'_>,
    before: Option<Arc<Status>>,
) -> Result<Option<OpenedSources>, Vec<Problem>> {
    if !config.transcoding.is_configured() {
        return Ok(None);
    }
    let status = before.unwrap_or_default();
    let mut sources = Sources::new(config, targets);
    let api = sources.first(&status)?;
    Ok(Some(OpenedSources { api, status, sources }))
}

/// Watches descriptors on threads of its own, until it is dropped.
pub(super) struct Watcher {
    upstreams: Vec<Upstream>,
    words: Sender<Word>,
    thread: Option<JoinHandle<()>>,
    _poller: Option<ReflectionPoller>,
}

/// A message to the watching thread.
enum Word {
    /// An upstream's answer differs, or a file has changed.
    News,
    Stop,
}

impl Watcher {
    /// `tell` is called with each new API.
    pub(super) fn start(
        sources: Sources,
        status: Arc<Status>,
        files: &Files,
        tell: impl Fn(&Arc<Api>) + Send + 'static,
    ) -> io::Result<Watcher> {
        let (words, told) = channel();
        let upstreams = sources.upstreams.clone();
        let _poller = ask(&sources, &status, words.clone())?;
        let news = words.clone();
        files.watch(&sources.watched, move || drop(news.send(Word::News)));
        let mut sources = sources;
        let body = move || guard::keep("descriptors", || watch(&mut sources, &status, &told, &tell));
        let thread = thread::Builder::new().name("descriptors".to_owned()).spawn(body)?;
        Ok(Watcher { upstreams, words, thread: Some(thread), _poller })
    }

    /// Sets the endpoints at which upstreams are asked: `of` gives those of a cluster.
    pub(super) fn relocate(&self, of: impl Fn(&str) -> Vec<Target>) {
        for upstream in &self.upstreams {
            *upstream.targets.lock() = of(&upstream.cluster);
        }
    }
}

/// Asks the upstreams from now on.
fn ask(sources: &Sources, status: &Arc<Status>, words: Sender<Word>) -> io::Result<Option<ReflectionPoller>> {
    if sources.upstreams.is_empty() {
        return Ok(None);
    }
    let (status, interval) = (Arc::clone(status), sources.config.transcoding.reflection_interval);
    let tell = move |answer| {
        if status.answered(answer) {
            let _ = words.send(Word::News);
        }
    };
    ReflectionPoller::start(sources.upstreams.clone(), interval, tell).map(Some)
}

fn watch(sources: &mut Sources, status: &Status, told: &Receiver<Word>, tell: &impl Fn(&Arc<Api>)) {
    while let Ok(Word::News) = told.recv() {
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
        let _ = self.words.send(Word::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
