//! Orders to a worker. Their senders write them here and notify the worker; no call ever looks at them.
#![allow(
    clippy::disallowed_types,
    reason = "locked by the supervisor, and by the worker only when it is notified"
)]

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;

use super::config::ConfigSnapshot;
use super::shared_listener::NewSocket;
use super::telemetry::buffers::TelemetryConfig;
use super::transfer_queue::TransferQueue;
use crate::tls::Contexts;
use crate::transcode::api::Api;

/// Orders of the supervisor to a worker, and connections that other workers transfer to it.
#[derive(Default)]
pub struct Control {
    wanted: AtomicU8,
    api: Mutex<Option<Option<Arc<Api>>>>,
    /// One, and before it those that add listeners.
    snapshots: Mutex<VecDeque<(ConfigSnapshot, Vec<NewSocket>)>>,
    tls: Mutex<Option<Arc<Contexts>>>,
    telemetry: Mutex<Option<TelemetryConfig>>,
    queue: TransferQueue,
    ended: AtomicBool,
}

/// Whether a worker is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Serve,
    /// Accept no more, and end with the last call.
    Drain,
    /// End now.
    Stop,
}

const SERVE: u8 = 0;
const DRAIN: u8 = 1;
const STOP: u8 = 2;

impl Control {
    /// Lets the worker drain: accept no more, and end with the last call.
    pub fn drain(&self) {
        let _ = self.wanted.compare_exchange(SERVE, DRAIN, Ordering::Release, Ordering::Relaxed);
    }

    /// Lets the worker end now, whatever is in flight.
    pub fn stop(&self) {
        self.wanted.store(STOP, Ordering::Release);
    }

    /// Sets the API for JSON; `None` turns JSON off.
    pub fn transcode(&self, api: Option<Arc<Api>>) {
        *self.api.lock() = Some(api);
    }

    /// The worker serves no more. Set before the supervisor's wait for that ends: the thread itself ends a little
    /// later.
    pub fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the worker serves no more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Connections that other workers have transferred to this one.
    pub(super) fn queue(&self) -> &TransferQueue {
        &self.queue
    }

    pub(super) fn wanted(&self) -> Wanted {
        match self.wanted.load(Ordering::Acquire) {
            SERVE => Wanted::Serve,
            DRAIN => Wanted::Drain,
            _ => Wanted::Stop,
        }
    }

    /// A new API, if there is one.
    pub(super) fn take_api(&self) -> Option<Option<Arc<Api>>> {
        self.api.lock().take()
    }

    /// Sets the configuration. `sockets` are those of listeners that it adds. The worker takes one that adds listeners even
    /// if the next one is there already: these listen, and clients may have connected to them.
    pub fn apply(&self, snapshot: ConfigSnapshot, sockets: Vec<NewSocket>) {
        let mut kept = self.snapshots.lock();
        // Its own certificates are at least as new, and the others may be of another configuration.
        drop(self.take_tls());
        if kept.back().is_some_and(|(_, sockets)| sockets.is_empty()) {
            kept.pop_back();
        }
        kept.push_back((snapshot, sockets));
    }

    /// Sets other certificates for the configuration in use.
    pub fn renew_tls(&self, tls: Arc<Contexts>) {
        *self.tls.lock() = Some(tls);
    }

    /// New certificates, if there are any.
    pub(super) fn take_tls(&self) -> Option<Arc<Contexts>> {
        self.tls.lock().take()
    }

    /// Sets other sinks for records, or other calls that get records.
    pub fn observe(&self, telemetry: TelemetryConfig) {
        *self.telemetry.lock() = Some(telemetry);
    }

    /// New sinks for records, if there are any.
    pub(super) fn take_telemetry(&self) -> Option<TelemetryConfig> {
        self.telemetry.lock().take()
    }

    /// The next new configuration, if there is one, with the sockets of listeners that it adds.
    pub(super) fn take_snapshot(&self) -> Option<(ConfigSnapshot, Vec<NewSocket>)> {
        self.snapshots.lock().pop_front()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("wanted", &self.wanted()).finish_non_exhaustive()
    }
}

/// A worker, as the others reach it.
pub struct WorkerPeer {
    pub(super) control: Arc<Control>,
    notifier: UnixStream,
}

impl WorkerPeer {
    /// `notifier` must not block its sender.
    pub fn new(control: Arc<Control>, notifier: UnixStream) -> WorkerPeer {
        WorkerPeer { control, notifier }
    }

    pub(super) fn notify(&self) {
        // A full socket wakes its reader anyway.
        let _ = (&self.notifier).write_all(&[1]);
    }
}

impl fmt::Debug for WorkerPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPeer").field("control", &self.control).finish_non_exhaustive()
    }
}
