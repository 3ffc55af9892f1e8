//! Asks upstreams for their descriptors again and again, all of them at once, on a thread of its own. So an upstream
//! that does not answer delays neither the others nor the thread that looks at files.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use parking_lot::Mutex;

use super::channel::Target;
use super::guard;
use super::reflection::{self, ServerDescriptors};
use crate::background::BackgroundThread;
use crate::transcode::api::Reflected;

/// The time after which an upstream is asked again that did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A cluster that is asked.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) cluster: String,
    /// An answer of one of them is enough. A name may lead elsewhere meanwhile.
    pub(super) targets: Arc<Mutex<Vec<Target>>>,
    /// The failure that was logged last; empty after an answer.
    pub(super) failure: Arc<Mutex<String>>,
}

/// A cluster and its answer; `None` if none of its addresses answered.
pub(super) type Answered = (String, Option<Reflected>);

impl Upstream {
    /// Asks one address after the other. A failure that differs from the last one is logged.
    async fn ask(&self) -> Option<Reflected> {
        let mut failures = String::new();
        let targets = self.targets.lock().clone();
        for target in targets {
            match reflection::ask(target.clone()).await {
                Ok(ServerDescriptors { files, untold }) => {
                    self.failure.lock().clear();
                    let origin = format!("reflection of cluster {:?}", self.cluster);
                    return Some(Reflected { origin, files, untold });
                }
                Err(error) => failures += &format!("{}: {error}; ", target.address),
            }
        }
        let mut last = self.failure.lock();
        if *last != failures {
            let reasons = failures.trim_end_matches("; ");
            tracing::warn!(cluster = %self.cluster, "server reflection: {reasons}: what it said before stays; if it never did, paths that are not known get 503");
            *last = failures;
        }
        None
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Asks all of them at once, and waits until each has answered or was given up.
pub(super) fn ask_once(upstreams: &[Upstream]) -> io::Result<Vec<Answered>> {
    if upstreams.is_empty() {
        return Ok(Vec::new());
    }
    let mut questions = JoinSet::new();
    let runtime = runtime()?;
    for upstream in upstreams.iter().cloned() {
        let question = async move {
            let answer = upstream.ask().await;
            (upstream.cluster, answer)
        };
        questions.spawn_on(question, runtime.handle());
    }
    Ok(runtime.block_on(questions.join_all()))
}

/// Asks until it is dropped.
pub(super) struct ReflectionPoller {
    _thread: BackgroundThread<oneshot::Sender<()>>,
}

impl ReflectionPoller {
    /// Asks each upstream now, and again after `interval`; sooner if it does not answer. `tell` gets every answer.
    pub(super) fn start(
        upstreams: Vec<Upstream>,
        interval: Duration,
        tell: impl Fn(Answered) + Send + Sync + 'static,
    ) -> io::Result<ReflectionPoller> {
        let (stop, stopped) = oneshot::channel();
        let (runtime, tell) = (runtime()?, Arc::new(tell));
        let body = move || {
            for upstream in upstreams {
                let tell = Arc::clone(&tell);
                runtime.spawn(async move {
                    guard::keep_on("reflection", || {
                        keep_asking(upstream.clone(), interval, Arc::clone(&tell))
                    })
                    .await;
                });
            }
            // The questions end with the runtime.
            let _ = runtime.block_on(stopped);
        };
        Ok(ReflectionPoller { _thread: BackgroundThread::start("reflection", stop, body)? })
    }
}

async fn keep_asking(upstream: Upstream, interval: Duration, tell: Arc<impl Fn(Answered)>) {
    loop {
        let answer = upstream.ask().await;
        let wait = if answer.is_some() { interval } else { ASK_AGAIN };
        tell((upstream.cluster.clone(), answer));
        tokio::time::sleep(wait).await;
    }
}

impl fmt::Debug for ReflectionPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReflectionPoller").finish_non_exhaustive()
    }
}
