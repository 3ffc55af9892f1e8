//! Bytes of requests that are held until they are whole, counted at their connection and at their worker.

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
            let others = client.buffered.get() - u64::from(self.bytes);
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
            let gauge = &client.local.counts().buffered_bytes;
            let changed = |all: u64| (all + u64::from(bytes)).saturating_sub(u64::from(self.bytes));
            gauge.set(changed(gauge.get()));
            client.buffered.set(changed(client.buffered.get()));
            self.bytes = bytes;
        }
        Ok(())
    }

    /// It holds nothing any more.
    pub(in crate::worker) fn release(&mut self, client: &Client) {
        let less = self.hold(client, 0);
        debug_assert!(less.is_ok(), "less is never refused");
    }
}
