//! Bytes of JSON requests and of their answers that are held until they are whole, counted at their connection and at
//! their worker.
//!
//! A request above the connection's bound is refused: its client sends more than it may. A response waits instead: its
//! service keeps it back, as it does for a client that does not read. One answer at a time may go over the bound, or
//! answers that hold parts of their messages would wait for each other.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::client::Client;
use crate::policy::failure::Failure;

/// How much one request holds. Before it is dropped it has to be released.
#[derive(Debug, Default)]
pub(in crate::worker) struct Buffered {
    bytes: u32,
    worker_max: u32,
}

impl Buffered {
    /// All requests of the worker may hold so much.
    pub(in crate::worker) fn limit(&mut self, worker_max: u32) {
        self.worker_max = worker_max;
    }

    /// From now on it is so much. A request that is alone may be as large as requests may be.
    pub(in crate::worker) fn hold(&mut self, client: &Client, bytes: usize) -> Result<(), Failure> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes > self.bytes {
            let others = client.held().all.get() - u64::from(self.bytes);
            if others > 0 && others + u64::from(bytes) > u64::from(client.settings().max_buffered_bytes) {
                return Err(Failure::TooMuchBuffered);
            }
            let counts = client.local.counts();
            let others = counts.buffered_bytes.get().saturating_sub(u64::from(self.bytes));
            if others > 0 && others + u64::from(bytes) > u64::from(self.worker_max) {
                counts.overload_buffered.add(1);
                return Err(Failure::Overloaded);
            }
        }
        if bytes != self.bytes {
            self.set(client, bytes);
        }
        Ok(())
    }

    /// Counts so much, whatever the bounds.
    fn set(&mut self, client: &Client, bytes: u32) {
        let gauge = &client.local.counts().buffered_bytes;
        let changed = |all: u64| (all + u64::from(bytes)).saturating_sub(u64::from(self.bytes));
        gauge.set(changed(gauge.get()));
        client.held().all.set(changed(client.held().all.get()));
        if bytes < self.bytes {
            client.held().wake_all();
        }
        self.bytes = bytes;
    }

    /// It holds nothing any more.
    pub(in crate::worker) fn release(&mut self, client: &Client) {
        let less = self.hold(client, 0);
        debug_assert!(less.is_ok(), "less is never refused");
    }
}

/// How much one answer holds, until it is dropped.
pub(in crate::worker) struct BufferedResponse {
    client: Rc<Client>,
    buffered: Buffered,
    /// It is the one that may go over the connection's bound.
    exceeds: bool,
}

impl BufferedResponse {
    /// A response of a worker that may hold `worker_max` bytes in all.
    pub(in crate::worker) fn new(client: Rc<Client>, worker_max: u32) -> BufferedResponse {
        BufferedResponse { client, buffered: Buffered { bytes: 0, worker_max }, exceeds: false }
    }

    /// Ready when it may hold so much. A response that is alone may be as large as answers may be.
    pub(in crate::worker) fn poll_hold(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<Result<(), Failure>> {
        let held = self.client.held();
        let bytes_max = u64::from(self.client.settings().max_buffered_bytes);
        let others = held.all.get() - u64::from(self.buffered.bytes);
        if others > 0 && others + bytes as u64 > bytes_max && !self.exceeds {
            if held.is_exceeded.replace(true) {
                let mut waiting = held.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            self.exceeds = true;
        }
        let counts = self.client.local.counts();
        let others = counts.buffered_bytes.get().saturating_sub(u64::from(self.buffered.bytes));
        if others > 0 && others + bytes as u64 > u64::from(self.buffered.worker_max) {
            counts.overload_buffered.add(1);
            return Poll::Ready(Err(Failure::Overloaded));
        }
        self.note(bytes);
        Poll::Ready(Ok(()))
    }

    /// Counts so much: bytes that were held already have taken another form, or have gone.
    pub(in crate::worker) fn note(&mut self, bytes: usize) {
        self.buffered.set(&self.client, u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

impl Drop for BufferedResponse {
    fn drop(&mut self) {
        if self.exceeds {
            self.client.held().is_exceeded.set(false);
        }
        self.buffered.set(&self.client, 0);
        self.client.held().wake_all();
    }
}
