//! Headers that the gateway adds to a service's response.

use std::rc::Rc;

use crate::http2::{Head, Name};
use crate::worker::call::cors::Granted;
use crate::worker::telemetry::stage_timer::StageTimer;

/// Headers that the gateway adds to a service's response.
pub(in crate::worker) struct ExtraHeaders {
    /// The CORS grant of the page that asks.
    pub(in crate::worker) granted: Option<Granted>,
    /// The `strict-transport-security` of the listener, for callers that keep it.
    pub(in crate::worker) hsts: Option<Rc<Box<str>>>,
    /// Times the stages of the call.
    pub(in crate::worker) timer: StageTimer,
}

impl ExtraHeaders {
    /// Adds the headers to a head that a body follows.
    pub(in crate::worker) fn add_to(&self, head: &mut Head) {
        if let Some(granted) = &self.granted {
            granted.add_to(head);
        }
        if let Some(value) = &self.hsts {
            head.push(Name::STRICT_TRANSPORT_SECURITY, value.as_bytes());
        }
        self.add_time(head);
    }

    /// Adds the times of the stages to a head, or to trailers, if the caller wants them.
    pub(in crate::worker) fn add_time(&self, head: &mut Head) {
        if let Some(value) = self.timer.value() {
            head.push(Name::SERVER_TIMING, value.as_bytes());
        }
    }
}
