//! What others want of a worker. They write it here and ring the worker's bell; no call ever looks at it.
#![allow(
    clippy::disallowed_types,
    reason = "locked by the supervisor, and by the worker only when its bell rings"
)]

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::handing::Inbox;
use super::setup::Scheme;
use crate::transcode::api::Api;

/// What the supervisor wants of a worker, and what other workers hand to it.
#[derive(Default)]
pub struct Control {
    wanted: AtomicU8,
    api: Mutex<Option<Option<Arc<Api>>>>,
    scheme: Mutex<Option<Scheme>>,
    inbox: Inbox,
}

/// Whether a worker is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Serve,
    /// Accept no more, and end when the last call has.
    Drain,
    /// End now.
    Stop,
}

const SERVE: u8 = 0;
const DRAIN: u8 = 1;
const STOP: u8 = 2;

impl Control {
    /// Accept no more, and end when the last call has.
    pub fn drain(&self) {
        let _ = self.wanted.compare_exchange(SERVE, DRAIN, Ordering::Release, Ordering::Relaxed);
    }

    /// End now, whatever is in flight.
    pub fn stop(&self) {
        self.wanted.store(STOP, Ordering::Release);
    }

    /// From now on JSON is understood as this says, or not at all.
    pub fn transcode(&self, api: Option<Arc<Api>>) {
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = Some(api);
    }

    /// Connections that other workers have handed to this one.
    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
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
        self.api.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// From now on another configuration holds.
    pub fn apply(&self, scheme: Scheme) {
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheme);
    }

    /// A new configuration, if there is one.
    pub(super) fn take_scheme(&self) -> Option<Scheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("wanted", &self.wanted()).finish_non_exhaustive()
    }
}
