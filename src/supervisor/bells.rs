//! Bells of all workers: they carry orders from any thread.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::worker_thread::Handle;
use crate::transcode::api::Api;
use crate::worker::Control;

/// The bells of all workers, with their orders.
pub(super) struct Bells(Vec<(Arc<Control>, UnixStream)>);

impl Bells {
    /// The bells of all workers. A bell never makes its ringer wait: one that is full rings already.
    pub(super) fn of(workers: &[Handle]) -> io::Result<Arc<Bells>> {
        let bell = |worker: &Handle| Ok((Arc::clone(&worker.control), worker.bell.try_clone()?));
        workers.iter().map(bell).collect::<io::Result<_>>().map(|all| Arc::new(Bells(all)))
    }

    /// The supervisor's orders to a worker, for callers that ring themselves.
    pub(super) fn control(&self, worker: usize) -> &Control {
        &self.0[worker].0
    }

    /// Gives one order to all workers, and rings.
    pub(super) fn tell(&self, what: impl Fn(&Control)) {
        self.0.iter().for_each(|(control, _)| what(control));
        self.ring();
    }

    /// Rings all bells, so that each worker looks at its orders now.
    pub(super) fn ring(&self) {
        for (_, bell) in &self.0 {
            // A worker that has ended hears nothing, and need not.
            let _ = (&*bell).write_all(&[1]);
        }
    }

    /// Gives all workers another API for JSON.
    pub(super) fn transcode(&self, api: Option<&Arc<Api>>) {
        self.tell(|control| control.transcode(api.map(Arc::clone)));
    }
}
