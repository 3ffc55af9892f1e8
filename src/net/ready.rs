//! Connections that may have something to send at the end of the turn.

use std::cell::{OnceCell, RefCell};
use std::task::Waker;

/// Their keys, in the order in which they asked.
#[derive(Default)]
pub(super) struct ReadyList {
    keys: RefCell<Vec<usize>>,
    /// Wakes the root future, which sends at the end of the turn.
    root: OnceCell<Waker>,
}

impl ReadyList {
    /// Says how to wake the root future; the first call counts.
    pub(super) fn set_root(&self, root: &Waker) {
        self.root.get_or_init(|| root.clone());
    }

    /// Wakes the root future.
    pub(super) fn wake(&self) {
        if let Some(root) = self.root.get() {
            root.wake_by_ref();
        }
    }

    /// Adds a connection that is not in it.
    pub(super) fn push(&self, key: usize) {
        self.keys.borrow_mut().push(key);
        self.wake();
    }

    /// Adds a connection that can go on only in a later turn.
    pub(super) fn postpone(&self, key: usize) {
        self.keys.borrow_mut().push(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.borrow().is_empty()
    }

    /// Passes all that are in it now to `send`. The list keeps its memory.
    pub(super) fn drain(&self, mut send: impl FnMut(usize)) {
        let mut keys = self.keys.take();
        for key in keys.drain(..) {
            send(key);
        }
        keys.append(&mut self.keys.borrow_mut());
        *self.keys.borrow_mut() = keys;
    }
}
