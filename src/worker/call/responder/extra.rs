//! What a response says besides what the service says.

use crate::http2::{Head, Name};
use crate::worker::call::cors::Granted;
use crate::worker::telemetry::stage_timer::StageTimer;

/// What a response says besides what the service says.
pub(in crate::worker) struct ExtraHeaders {
    /// What the page that asks may read of it.
    pub(in crate::worker) granted: Option<Granted>,
    /// Where the time of the call goes.
    pub(in crate::worker) timer: StageTimer,
}

impl ExtraHeaders {
    /// Adds it to a head that a body follows.
    pub(in crate::worker) fn add_to(&self, head: &mut Head) {
        if let Some(granted) = &self.granted {
            granted.add_to(head);
        }
        self.add_time(head);
    }

    /// Adds to a head, or to trailers, where the time went, if that is wanted.
    pub(in crate::worker) fn add_time(&self, head: &mut Head) {
        if let Some(value) = self.timer.value() {
            head.push(Name::SERVER_TIMING, value.as_bytes());
        }
    }
}
