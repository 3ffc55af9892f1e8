//! Connections that may have something to send at the end of the turn.

use std::cell::RefCell;

/// Their keys, in the order in which they asked.
#[derive(Default)]
pub(super) struct ReadyList(RefCell<Vec<u32>>);

impl ReadyList {
    /// Adds a connection that is not in it.
    pub(super) fn push(&self, key: u32) {
        self.0.borrow_mut().push(key);
    }

    /// Passes all that are in it now to `send`. The list keeps its memory.
    pub(super) fn drain(&self, mut send: impl FnMut(u32)) {
        let mut keys = self.0.take();
        for key in keys.drain(..) {
            send(key);
        }
        keys.append(&mut self.0.borrow_mut());
        *self.0.borrow_mut() = keys;
    }
}
