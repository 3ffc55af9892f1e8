//! Bytes of JSON that is not whole, held for one connection; see [`buffered`](super::buffered).

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// A connection's held bytes.
#[derive(Debug, Default)]
pub(super) struct HeldBytes {
    pub(super) all: Cell<u64>,
    /// A response goes over the bound.
    pub(super) is_exceeded: Cell<bool>,
    /// Calls whose answers wait for room.
    pub(super) waiting: RefCell<Vec<Waker>>,
}

impl HeldBytes {
    /// Wakes them: there may be room.
    pub(super) fn wake_all(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}
