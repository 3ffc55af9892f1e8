//! A call's wait for a connection, and its place there.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::attempt_error::AttemptError;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::permits::AttemptResult;
use super::pool::{Pool, Unavailable};
use super::waiters::Left;
use crate::http2::{Head, Stream};
use crate::net::pipe::Outgoing;
use crate::policy::balance::Tried;
use crate::policy::failure::Failure;
use crate::policy::outcome::{FAILURE_CODES, Outcome};
use crate::policy::outlier::Seen;
use crate::policy::retry::End;
use crate::time::Moment;

/// The wait for a connection; see [`Cluster::acquire`](super::Cluster::acquire).
#[derive(Debug)]
pub struct AcquireStream {
    pool: Rc<Pool>,
    tried: Tried,
    /// The place in the queue, once it had to wait.
    ticket: Option<u64>,
}

impl Future for AcquireStream {
    type Output = Result<StreamLease, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_due() {
            self.pool.connect_wanted();
            return self.wait(cx);
        }
        match self.pool.try_lease(self.tried) {
            Ok(lease) => {
                self.leave();
                Poll::Ready(Ok(lease))
            }
            Err(Unavailable::Fails(failure)) => {
                self.leave();
                Poll::Ready(Err(failure))
            }
            Err(Unavailable::ForNow) => self.wait(cx),
        }
    }
}

impl AcquireStream {
    pub(super) fn new(pool: &Rc<Pool>, tried: Tried) -> AcquireStream {
        AcquireStream { pool: Rc::clone(pool), tried, ticket: None }
    }

    /// Whether nobody stands before it.
    fn is_due(&self) -> bool {
        let waiters = self.pool.waiters.borrow();
        self.ticket.map_or_else(|| waiters.is_empty(), |ticket| waiters.is_woken(ticket))
    }

    fn wait(&mut self, cx: &Context<'_>) -> Poll<Result<StreamLease, Failure>> {
        let mut waiters = self.pool.waiters.borrow_mut();
        match self.ticket {
            Some(ticket) => waiters.stay(ticket, cx.waker()),
            None if !self.pool.pending.take() => {
                self.pool.counts().pending_overflow.add(1);
                return Poll::Ready(Err(Failure::PendingFull));
            }
            None => {
                self.pool.counts().pending_active.raise();
                self.ticket = Some(waiters.enter(cx.waker()));
            }
        }
        Poll::Pending
    }

    /// Leaves the queue, if it stands there.
    fn leave(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        self.pool.counts().pending_active.lower();
        self.pool.pending.give();
        let left = self.pool.waiters.borrow_mut().leave(ticket);
        if left == Left::Woken {
            self.pool.wake_waiters(1);
        }
    }
}

impl Drop for AcquireStream {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The right to one call on a connection; dropping it gives the place to the next.
pub struct StreamLease {
    pool: Rc<Pool>,
    endpoint: Rc<Endpoint>,
    /// The endpoint's position when it was chosen.
    index: usize,
    connection: Rc<Connection>,
    /// How far the connection was when the head of the call was given to it.
    sent_after: Cell<Outgoing>,
}

impl StreamLease {
    /// Counts a call in on a connection of the endpoint at position `index`.
    pub(super) fn new(
        pool: &Rc<Pool>,
        endpoint: &Rc<Endpoint>,
        index: usize,
        connection: Rc<Connection>,
    ) -> StreamLease {
        connection.begin();
        endpoint.calls.set(endpoint.calls.get() + 1);
        pool.counts().calls_active.raise();
        StreamLease {
            pool: Rc::clone(pool),
            endpoint: Rc::clone(endpoint),
            index,
            connection,
            sent_after: Cell::default(),
        }
    }

    /// Sends the head of the call. `end`: it has no body.
    ///
    /// # Errors
    /// When the service takes no head of this size, or the connection has just ended.
    pub fn open(&self, head: &Head, end: bool) -> Result<Stream, AttemptError> {
        self.pool.counts().calls.add(1);
        self.endpoint.sent();
        self.sent_after.set(self.connection.outgoing());
        self.connection.open(head, end).map_err(AttemptError::from_open)
    }

    /// Judges the failure of a call that was sent: if its connection ended before a byte of it was written, nobody has
    /// seen it.
    pub fn classify(&self, failed: AttemptError) -> AttemptError {
        let gone = failed.end == End::Lost && failed.failure == Failure::UpstreamGone;
        if gone && self.connection.ended_at(self.sent_after.get()) {
            return AttemptError { end: End::NotWritten, ..failed };
        }
        failed
    }

    /// The attempt is over; that says something of its endpoint.
    pub fn tell(&self, attempted: AttemptResult, now: Moment) {
        let seen = match (attempted.outcome(FAILURE_CODES), attempted) {
            (Outcome::Silent, _) => return,
            // One endpoint that resets what others answer is worse than they are, whatever it resets with.
            (_, AttemptResult::Failed(Failure::UpstreamReset(_))) => Seen::Local,
            (Outcome::Well, _) => Seen::Well,
            (_, AttemptResult::Answered(_) | AttemptResult::Failed(Failure::UpstreamNotGrpc(_))) => {
                Seen::Gateway
            }
            (_, AttemptResult::Failed(_) | AttemptResult::Late) => Seen::Local,
        };
        self.pool.tell(&self.endpoint, seen, now);
    }

    /// Which of the cluster's endpoints it goes to.
    pub fn endpoint(&self) -> usize {
        self.index
    }

    /// Where the call goes.
    pub fn address(&self) -> SocketAddr {
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
        self.pool.counts().calls_active.lower();
        self.connection.end();
        if self.connection.active() == 0 && self.pool.is_over() {
            self.connection.drain();
        }
        self.pool.wake_waiters(1);
    }
}
