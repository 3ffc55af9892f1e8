//! A call's place on a connection.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use super::attempt_error::AttemptError;
use super::endpoint::Endpoint;
use super::permits::AttemptResult;
use super::places::Connection;
use crate::config::EndpointAddress;
use crate::http2::{Head, Stream};
use crate::metrics::ClusterBlock;
use crate::net::buffered_conn::Outgoing;
use crate::policy::failure::Failure;
use crate::policy::outcome::{FAILURE_CODES, Outcome};
use crate::policy::outlier::OutlierEvent;
use crate::policy::retry::AttemptOutcome;
use crate::time::Moment;

/// The owner of the connections that leases are places on. A lease reports to it, and knows no more of it.
pub(super) trait Lessor {
    /// Where calls are counted.
    fn counts(&self) -> &ClusterBlock;
    /// Judges an endpoint by an attempt on it.
    fn record(&self, endpoint: &Endpoint, seen: OutlierEvent, now: Moment);
    /// Notes that a call on this connection has ended.
    fn released(&self, connection: &Connection);
}

/// The right to one call on a connection; dropping it gives the place to the next.
pub struct StreamLease {
    lessor: Rc<dyn Lessor>,
    endpoint: Rc<Endpoint>,
    /// The endpoint's position when it was chosen.
    index: usize,
    connection: Rc<Connection>,
    /// The connection's progress when the head of the call was given to it.
    sent_after: Cell<Outgoing>,
}

impl StreamLease {
    /// Takes a place on a connection of the endpoint at position `index`.
    pub(super) fn new(
        lessor: Rc<dyn Lessor>,
        endpoint: &Rc<Endpoint>,
        index: usize,
        connection: Rc<Connection>,
    ) -> StreamLease {
        connection.begin();
        endpoint.calls.set(endpoint.calls.get() + 1);
        lessor.counts().calls_active.raise();
        StreamLease { lessor, endpoint: Rc::clone(endpoint), index, connection, sent_after: Cell::default() }
    }

    /// Sends the head of the call. `end`: it has no body.
    ///
    /// # Errors
    /// When the service takes no head of this size, or the connection has just ended.
    pub fn open(&self, head: &Head, end: bool) -> Result<Stream, AttemptError> {
        self.lessor.counts().calls.add(1);
        self.endpoint.sent();
        self.sent_after.set(self.connection.outgoing());
        self.connection.open(head, end).map_err(AttemptError::from_open)
    }

    /// Judges the failure of a call that was sent. If its connection ended before a byte of it was written, no service
    /// has seen it.
    pub fn classify(&self, failed: AttemptError) -> AttemptError {
        let gone = failed.outcome == AttemptOutcome::Lost && failed.failure == Failure::UpstreamDisconnected;
        if gone && self.connection.ended_at(self.sent_after.get()) {
            return AttemptError { outcome: AttemptOutcome::NotWritten, ..failed };
        }
        failed
    }

    /// Reports the attempt's result to the endpoint.
    pub fn record(&self, attempted: AttemptResult, now: Moment) {
        let seen = match (attempted.outcome(FAILURE_CODES), attempted) {
            (Outcome::Ignored, _) => return,
            // An endpoint that resets what others answer is worse than they are, whatever it resets with.
            (_, AttemptResult::Failed(Failure::UpstreamReset(_))) => OutlierEvent::LocalOriginFailure,
            (Outcome::Success, _) => OutlierEvent::Success,
            (_, AttemptResult::Answered(_) | AttemptResult::Failed(Failure::UpstreamNotGrpc(_))) => {
                OutlierEvent::GatewayFailure
            }
            (_, AttemptResult::Failed(_) | AttemptResult::Late) => OutlierEvent::LocalOriginFailure,
        };
        self.lessor.record(&self.endpoint, seen, now);
    }

    /// The position of its endpoint in the cluster.
    pub fn endpoint(&self) -> usize {
        self.index
    }

    /// The address of its endpoint.
    pub fn address(&self) -> EndpointAddress {
        self.endpoint.address
    }
}

impl fmt::Debug for StreamLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamLease").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        self.endpoint.calls.set(self.endpoint.calls.get() - 1);
        self.lessor.counts().calls_active.lower();
        self.connection.end();
        self.lessor.released(&self.connection);
    }
}
