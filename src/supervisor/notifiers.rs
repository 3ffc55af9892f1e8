//! Notifiers of all workers: they carry orders from any thread.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::worker_thread::Handle;
use crate::transcode::api::Api;
use crate::worker::Control;

/// The notifiers of all workers, with their orders.
pub(super) struct Notifiers(Vec<(Arc<Control>, UnixStream)>);

impl Notifiers {
    /// The notifiers of all workers. A notifier never makes its sender wait: a full socket wakes its worker anyway.
    pub(super) fn of(workers: &[Handle]) -> io::Result<Arc<Notifiers>> {
        let notifier = |worker: &Handle| Ok((Arc::clone(&worker.control), worker.notifier.try_clone()?));
        workers.iter().map(notifier).collect::<io::Result<_>>().map(|all| Arc::new(Notifiers(all)))
    }

    /// The supervisor's orders to a worker, for callers that notify it themselves.
    pub(super) fn control(&self, worker: usize) -> &Control {
        &self.0[worker].0
    }

    /// Gives one order to all workers, and wakes them.
    pub(super) fn tell(&self, what: impl Fn(&Control)) {
        self.0.iter().for_each(|(control, _)| what(control));
        self.notify();
    }

    /// Gives each worker an order of its own, by its number, and wakes all.
    pub(super) fn tell_each(&self, what: impl Fn(usize, &Control)) {
        self.0.iter().enumerate().for_each(|(number, (control, _))| what(number, control));
        self.notify();
    }

    /// Wakes all workers, so that each looks at its orders now.
    pub(super) fn notify(&self) {
        for (_, notifier) in &self.0 {
            // A worker that has ended hears nothing, and need not.
            let _ = (&*notifier).write_all(&[1]);
        }
    }

    /// Gives all workers another API for JSON.
    pub(super) fn transcode(&self, api: Option<&Arc<Api>>) {
        self.tell(|control| control.transcode(api.map(Arc::clone)));
    }
}
