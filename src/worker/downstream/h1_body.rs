//! The body of a request over HTTP/1.1, which may outlast its call.
//!
//! A service may answer before it has all of a request. hyper closes a connection whose body nobody reads, and does not say
//! so: the client learns of it when its next request fails. So the connection itself reads what a call has left, and
//! drops it. It does so up to a bound, for a longer body is worth less than a connection. Where it is known before the
//! answer that the bound will not do, the response says that the connection ends, and the client may send on meanwhile.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::Body;
use hyper::body::Incoming;

use crate::buffer::Slice;
use crate::policy::failure::Failure;

/// The body of the request that a connection is at.
#[derive(Default)]
pub(in crate::worker) struct H1Body {
    /// None once nothing more is read of it.
    incoming: RefCell<Option<Incoming>>,
    /// The client sends it only when it is asked for (`expect: 100-continue`), and it has not been.
    awaits: Cell<bool>,
    /// The call wants no more of it.
    is_left: Cell<bool>,
    /// Bytes that may still be dropped.
    left_over: Cell<u64>,
    /// `max_unread_body_size`
    bound: u64,
}

impl H1Body {
    /// Of the rest of each body that a call leaves, up to `bound` bytes are read and dropped.
    pub(super) fn new(bound: u32) -> H1Body {
        H1Body { bound: bound.into(), ..H1Body::default() }
    }

    /// There is no body until the next one begins.
    pub(super) fn reset(&self) {
        self.incoming.take();
    }

    /// A body begins; `awaits` says whether its sender waits to be asked for it.
    pub(super) fn begin(&self, incoming: Incoming, awaits: bool) {
        *self.incoming.borrow_mut() = Some(incoming);
        self.awaits.set(awaits);
        self.is_left.set(false);
        self.left_over.set(self.bound);
    }

    // The call's side.

    /// The next chunk; `None` at the end.
    pub(in crate::worker) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Slice, Failure>>> {
        // hyper asks the client for it now, if the client waits for that.
        self.awaits.set(false);
        match self.incoming.borrow_mut().as_mut() {
            Some(incoming) => poll_chunk(incoming, cx),
            None => Poll::Ready(None),
        }
    }

    /// Whether it is known that no more comes.
    pub(in crate::worker) fn is_end(&self) -> bool {
        self.incoming.borrow().as_ref().is_none_or(Incoming::is_end_stream)
    }

    /// The call wants no more of it. What was never asked for does not come: the next bytes may be the next request.
    pub(super) fn leave(&self) {
        self.is_left.set(true);
        if self.awaits.get() || self.is_end() {
            self.incoming.take();
        }
    }

    // The connection's side.

    /// The response is whole, and about to be sent. True if the connection ends with it: more is to come of the body than
    /// the bound, or its sender still waits to be asked for it.
    pub(super) fn answered(&self) -> bool {
        let incoming = self.incoming.borrow();
        let Some(incoming) = incoming.as_ref().filter(|incoming| !incoming.is_end_stream()) else {
            return false;
        };
        let is_last = self.awaits.get() || incoming.size_hint().lower() > self.bound;
        if is_last {
            // To hang up on a client that sends might take the response from it.
            self.left_over.set(u64::MAX);
        }
        is_last
    }

    /// Whether the rest of it is being read and dropped.
    pub(super) fn is_being_dropped(&self) -> bool {
        self.is_left.get() && self.incoming.borrow().is_some()
    }

    /// Reads and drops what the call has left, if there is such. Ready when that is over, with what is wrong with it.
    pub(super) fn poll_drop(&self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if !self.is_being_dropped() {
            return Poll::Pending;
        }
        let outcome = loop {
            let mut incoming = self.incoming.borrow_mut();
            let Some(incoming) = incoming.as_mut() else { return Poll::Pending };
            match ready!(poll_chunk(incoming, cx)) {
                Some(Ok(chunk)) => match self.left_over.get().checked_sub(chunk.len() as u64) {
                    Some(left) => self.left_over.set(left),
                    None => break Ok(()),
                },
                Some(Err(failure)) => break Err(failure),
                None => break Ok(()),
            }
        };
        // If it has not ended, hyper ends the connection.
        self.incoming.take();
        Poll::Ready(outcome)
    }
}

fn poll_chunk(incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Slice, Failure>>> {
    loop {
        match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(broken(&error)))),
            // Trailers of a request mean nothing to gRPC.
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    return Poll::Ready(Some(Ok(chunk.into())));
                }
            }
        }
    }
}

/// Why a body cannot be read on: its framing makes no sense, or no more of it comes.
fn broken(error: &hyper::Error) -> Failure {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Failure::BrokenBody,
        _ => Failure::DownstreamReset,
    }
}
