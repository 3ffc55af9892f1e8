//! Starts the workers' service, one worker after the other.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::error::StartError;
use super::shared_state::SharedState;
use super::state::State;
use super::telemetry_sinks::TelemetrySinks;
use super::worker_thread::{Handle, Starting};
use crate::metrics::Shard;
use crate::net::ring::{self, IoBackend};
use crate::policy::connection_balance::ConnectionBalance;
use crate::transcode::api::Api;
use crate::worker::{Clock, Control, NewSocket, Plan, WorkerPeer};

/// Inputs that all workers begin with.
pub(super) struct Launch<'a> {
    pub(super) shared: &'a SharedState,
    pub(super) clock: &'a Clock,
    pub(super) shards: &'a [Arc<Shard>],
    pub(super) api: Option<&'a Arc<Api>>,
    pub(super) sinks: &'a TelemetrySinks,
    pub(super) backend: IoBackend,
}

impl Launch<'_> {
    /// Returns when all workers serve, or when one cannot; then those before it are told to stop.
    pub(super) fn run(
        &self,
        starting: Vec<Starting>,
        sockets: Vec<Vec<NewSocket>>,
        state: &State,
    ) -> Result<Vec<Handle>, StartError> {
        let balance = ConnectionBalance::new(starting.len());
        let notifiers: Vec<_> =
            starting.iter().map(|_| notifier()).collect::<Result<_, _>>().map_err(StartError::System)?;
        let controls: Vec<_> = notifiers.iter().map(|_| Arc::new(Control::default())).collect();
        // Workers transfer connections to one another, so each has to know all.
        let peer = |(control, (ours, _)): (&Arc<Control>, &(UnixStream, UnixStream))| {
            Ok(WorkerPeer::new(Arc::clone(control), ours.try_clone()?))
        };
        let peers = controls.iter().zip(&notifiers).map(peer).collect::<io::Result<_>>();
        let peers: Arc<[WorkerPeer]> = peers.map_err(StartError::System)?;

        let mut workers: Vec<Handle> = Vec::new();
        let ends = notifiers.into_iter().zip(controls);
        for (((starting, sockets), shard), ((notifier, theirs), control)) in
            starting.into_iter().zip(sockets).zip(self.shards).zip(ends)
        {
            let number = workers.len();
            let before = ring::descriptors();
            let plan = Plan {
                number,
                clock: self.clock.clone(),
                snapshot: self.shared.snapshot(number, shard, 0),
                backend: self.backend,
                sockets,
                telemetry: self.sinks.config(&self.shared.config, number),
                api: self.api.map(Arc::clone),
                control: Arc::clone(&control),
                notifier: theirs,
                balance: Arc::clone(&balance),
                peers: Arc::clone(&peers),
            };
            let thread = match starting.go(plan) {
                Ok(thread) => thread,
                Err(reason) => {
                    workers.iter().for_each(|worker| worker.tell(Control::stop));
                    return Err(StartError::Worker(number, reason));
                }
            };
            // The new descriptor is that of this worker's ring.
            state.set_ring(number, ring::descriptors().difference(&before).next().copied());
            workers.push(Handle { thread: Some(thread), control, notifier, shard: Arc::clone(shard) });
        }
        Ok(workers)
    }
}

/// A worker's notifier: our end, which never makes us wait, and its own.
fn notifier() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}
