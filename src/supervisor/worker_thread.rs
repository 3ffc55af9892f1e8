//! A worker's thread: started, told something, ended.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::notice::Notice;
use super::placement;
use crate::admin::Place;
use crate::config::{Backend, Config};
use crate::metrics::Shard;
use crate::net::ring::{self, IoBackend, RingUnavailable};
use crate::worker::{self, Control, Plan};

/// A worker's thread, and how to tell it something.
pub(super) struct Handle {
    pub(super) thread: Option<JoinHandle<()>>,
    pub(super) control: Arc<Control>,
    pub(super) notifier: UnixStream,
    pub(super) shard: Arc<Shard>,
}

/// A report of a worker's thread while it starts.
enum Report {
    /// Its number in Linux, and whether it is pinned to its core.
    Begun(Option<u32>, bool),
    Probed(Result<IoBackend, RingUnavailable>),
    Started,
    Failed(String),
}

impl Handle {
    pub(super) fn tell(&self, what: fn(&Control)) {
        what(&self.control);
        // A worker that has ended hears nothing, and need not.
        let _ = (&self.notifier).write_all(&[1]);
    }

    pub(super) fn is_running(&self) -> bool {
        self.thread.is_some() && !self.control.has_ended()
    }
}

/// Reports that a worker has ended, for whatever reason.
struct Ending {
    control: Arc<Control>,
    notices: Sender<Notice>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.control.set_ended();
        // A gateway that is gone has no waiting thread.
        let _ = self.notices.send(Notice::WorkerEnded);
    }
}

/// A worker's thread that has pinned itself and tried its ring, and waits for the decision.
pub(super) struct Starting {
    thread: JoinHandle<()>,
    pub(super) place: Place,
    plan: Sender<Plan>,
    reports: Receiver<Report>,
}

impl Starting {
    pub(super) fn new(
        number: usize,
        core: Option<core_affinity::CoreId>,
        config: &Config,
        ended: Sender<Notice>,
    ) -> io::Result<Starting> {
        let (plan, plans) = mpsc::channel::<Plan>();
        let (report, reports) = mpsc::channel();
        let wants_ring = config.io.backend != Backend::Epoll;
        let io = config.io;
        let body = move || {
            let pinned = core.is_some_and(core_affinity::set_for_current);
            if let Some(core) = core.filter(|_| !pinned) {
                tracing::warn!(worker = number, core = core.id, "cannot pin the worker to its core");
            }
            if report.send(Report::Begun(placement::own_thread(), pinned)).is_err() {
                return;
            }
            let probed = if wants_ring { ring::probe(&io) } else { Ok(IoBackend::Epoll) };
            if report.send(Report::Probed(probed)).is_err() {
                return;
            }
            let Ok(plan) = plans.recv() else { return };
            let _ending = Ending { control: Arc::clone(&plan.control), notices: ended };
            let told = report.clone();
            if let Err(error) = worker::run(plan, move || drop(told.send(Report::Started))) {
                let _ = report.send(Report::Failed(error.to_string()));
            }
        };
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(body)?;
        let place = match reports.recv() {
            Ok(Report::Begun(thread, pinned)) => {
                let core = core.filter(|_| pinned).map(|core| core.id);
                Place { core, numa_node: core.and_then(placement::numa_node), thread }
            }
            _ => Place::default(),
        };
        Ok(Starting { thread, place, plan, reports })
    }

    pub(super) fn probed(&self) -> Result<IoBackend, RingUnavailable> {
        match self.reports.recv() {
            Ok(Report::Probed(probed)) => probed,
            _ => Err(RingUnavailable {
                errno: 0,
                reason: "the worker's thread ended while it tried its ring".to_owned(),
            }),
        }
    }

    /// Lets the worker serve; returns once it does.
    pub(super) fn go(self, plan: Plan) -> Result<JoinHandle<()>, String> {
        let _ = self.plan.send(plan);
        match self.reports.recv() {
            Ok(Report::Started) => Ok(self.thread),
            Ok(Report::Failed(reason)) => Err(reason),
            Ok(Report::Begun(..) | Report::Probed(_)) | Err(_) => Err("its thread ended".to_owned()),
        }
    }
}
