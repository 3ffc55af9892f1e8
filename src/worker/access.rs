//! What the access log will say of a call: noted while it lasts, put into this core's ring when it is over.
//!
//! Without an access log nothing is noted. With one a call costs three more looks at the clock, and those that get a
//! line 256 bytes moved; nothing here allocates or waits.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::request::Parts;

use super::Worker;
use super::clock;
use crate::config;
use crate::metrics::access::{Record, Ring};
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::time::Moment;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One core's part of the access log.
pub(super) struct Access {
    ring: Arc<Ring>,
    sample: f64,
    errors: bool,
    /// What the worker's clock stood at when 1970 began, if it had; as microseconds before its own zero.
    epoch_us: Cell<u64>,
}

impl Access {
    pub(super) fn new(settings: &config::AccessLog, ring: Arc<Ring>, now: Moment) -> Access {
        let (sample, errors) = (settings.sample, settings.errors);
        let access = Access { ring, sample, errors, epoch_us: Cell::new(0) };
        access.settle(now);
        access
    }

    /// Compares the worker's clock to the calendar, which others may set.
    pub(super) fn settle(&self, now: Moment) {
        self.epoch_us.set(clock::unix_us().saturating_sub(now.as_nanos() / 1000));
    }
}

/// What is known of a call so far.
pub(super) struct Note {
    /// None if there is no access log.
    worker: Option<Rc<Worker>>,
    began: Moment,
    record: Record,
}

impl Note {
    /// The head of a call has arrived.
    pub(super) fn begin(worker: &Rc<Worker>, client: SocketAddr, began: Moment, head: &Parts) -> Note {
        let mut record = Record::default();
        let worker = worker.access.is_some().then(|| Rc::clone(worker));
        if worker.is_some() {
            record.client = Some(client);
            record.set_path(head.uri.path());
            record.trace_id = head.headers.get(&TRACEPARENT).map_or(0, |value| trace_id(value.as_bytes()));
        }
        Note { worker, began, record }
    }

    /// Its route was found.
    pub(super) fn routed(&mut self) {
        self.record.routed_us = self.now_us().or(self.record.routed_us);
    }

    /// An attempt has a connection to this endpoint.
    pub(super) fn connected(&mut self, upstream: SocketAddr) {
        self.record.connected_us = self.now_us().or(self.record.connected_us);
        self.record.upstream = Some(upstream);
        self.record.attempts = self.record.attempts.saturating_add(1);
    }

    /// The head of the answer has come.
    pub(super) fn answered(&mut self) {
        self.record.answered_us = self.now_us().or(self.record.answered_us);
    }

    /// Payload has moved towards the client.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.record.bytes_sent += bytes;
    }

    /// The call is over.
    pub(super) fn ended(
        mut self,
        series: u32,
        outcome: Result<Code, Failure>,
        took: Duration,
        received: u64,
    ) {
        let Some(worker) = self.worker.take() else { return };
        let Some(access) = &worker.access else { return };
        let code = outcome.unwrap_or_else(Failure::code);
        let always = access.errors && code != Code::Ok;
        if !always && worker.random.borrow_mut().between(0.0, 1.0) >= access.sample {
            return;
        }
        let record = &mut self.record;
        record.began_unix_us = access.epoch_us.get() + self.began.as_nanos() / 1000;
        record.took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        record.series = series;
        record.code = code.number();
        record.bytes_received = received;
        if let Err(failure) = outcome {
            for (letter, flag) in record.flags.iter_mut().zip(failure.flags().bytes()) {
                *letter = flag;
            }
        }
        if !access.ring.put(record) {
            worker.local.counts().access_log_dropped.add(1);
        }
    }

    /// Microseconds since the call began; none if nobody wants to know.
    fn now_us(&self) -> Option<u32> {
        let now = self.worker.as_ref()?.clock.now();
        // The largest number means that there is none.
        Some(u32::try_from(now.since(self.began).as_micros()).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }
}

/// The trace of a `traceparent`: `00-{32 hex digits}-{16}-{2}`, or a later version that begins so. Zero if it is none.
fn trace_id(value: &[u8]) -> u128 {
    let [_, _, b'-', rest @ ..] = value else { return 0 };
    let Some((digits, [b'-', ..])) = rest.split_at_checked(32) else { return 0 };
    digits
        .iter()
        .try_fold(0_u128, |id, &digit| Some(id << 4 | u128::from(char::from(digit).to_digit(16)?)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_from_its_header() {
        let id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
        for (text, expected) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", id),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", id),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", id),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", 0),
            ("00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01", 0),
            ("00-", 0),
            ("", 0),
        ] {
            assert_eq!(trace_id(text.as_bytes()), expected, "{text}");
        }
    }
}
