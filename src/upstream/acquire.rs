//! A call's wait for a connection.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::lease::StreamLease;
use super::pool::{Pool, Unavailable};
use super::waiters::Left;
use crate::policy::balance::Tried;
use crate::policy::failure::Failure;

/// The wait for a connection; see [`Cluster::acquire`](super::Cluster::acquire).
#[derive(Debug)]
pub struct AcquireStream {
    pool: Rc<Pool>,
    tried: Tried,
    /// It lets others pass.
    yields: bool,
    /// The place in the queue, while it waits.
    ticket: Option<u64>,
    has_waited: bool,
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
                self.pool.counts().pending_failed.add(self.ticket.is_some().into());
                self.leave();
                Poll::Ready(Err(failure))
            }
            Err(Unavailable::ForNow) => self.wait(cx),
        }
    }
}

impl AcquireStream {
    pub(super) fn new(pool: &Rc<Pool>, tried: Tried, yields: bool) -> AcquireStream {
        AcquireStream { pool: Rc::clone(pool), tried, yields, ticket: None, has_waited: false }
    }

    /// Whether it was not ready at once.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Lets nobody pass any more, once `has_begun` says that the body of the call has begun.
    pub fn stop_yielding(&mut self, has_begun: impl FnOnce() -> bool) {
        if self.yields && has_begun() {
            self.yields = false;
            let mut waiters = self.pool.waiters.borrow_mut();
            self.ticket = self.ticket.map(|ticket| waiters.stop_yielding(ticket));
        }
    }

    /// Whether no call stands before it.
    fn is_due(&self) -> bool {
        let waiters = self.pool.waiters.borrow();
        self.ticket.map_or_else(|| waiters.is_empty(), |ticket| waiters.is_woken(ticket))
    }

    fn wait(&mut self, cx: &Context<'_>) -> Poll<Result<StreamLease, Failure>> {
        self.has_waited = true;
        let mut waiters = self.pool.waiters.borrow_mut();
        match self.ticket {
            Some(ticket) => waiters.stay(ticket, cx.waker()),
            None if !self.pool.pending.take() => {
                self.pool.counts().pending_overflow.add(1);
                return Poll::Ready(Err(Failure::PendingOverflow));
            }
            None => {
                self.pool.counts().pending_active.raise();
                self.ticket = Some(waiters.enter(cx.waker(), self.yields));
            }
        }
        Poll::Pending
    }

    /// Leaves the queue, if the call stands there.
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
