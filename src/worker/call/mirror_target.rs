//! A cluster that gets copies of calls, and how many are under way.

use std::cell::Cell;
use std::rc::Rc;

use crate::config::Mirror;

/// A cluster that gets copies.
pub(super) struct MirrorTarget {
    pub(super) settings: Mirror,
    active: Rc<Cell<u32>>,
}

impl MirrorTarget {
    pub(super) fn new(settings: &Mirror) -> MirrorTarget {
        MirrorTarget { settings: settings.clone(), active: Rc::default() }
    }

    /// Whether it takes one more.
    pub(super) fn has_room(&self) -> bool {
        self.active.get() < self.settings.max_active
    }

    /// Counts a copy until the guard is dropped.
    pub(super) fn begin(&self) -> ActiveMirror {
        self.active.set(self.active.get() + 1);
        ActiveMirror(Rc::clone(&self.active))
    }
}

/// A copy under way.
pub(super) struct ActiveMirror(Rc<Cell<u32>>);

impl Drop for ActiveMirror {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
