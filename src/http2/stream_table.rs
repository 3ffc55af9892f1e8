//! The memory of streams. A connection has some while it has streams; then it goes to the next connection that opens one.
//!
//! Thousands of connections wait at once and few have streams, so memory is kept by the worker and not by each of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::ids::Ids;
use super::state::StreamState;

/// Slots that a spare table may have; larger ones are freed.
const SLOTS_MAX: usize = 256;
/// Slots that all spare tables of a worker may have.
const SPARE_MAX: usize = 8 * 1024;

/// Streams by their keys, and keys by the streams' numbers.
#[derive(Debug, Default)]
pub(super) struct StreamTable {
    /// A slot of the number 0 is free. Streams are opened and end in place, for their state is large.
    pub(super) slots: Vec<StreamState>,
    pub(super) free: Vec<u32>,
    /// Keys; and other values for streams that are over, which [`Streams`](super::streams::Streams) knows.
    pub(super) ids: Ids,
    /// Streams of a client that nobody has accepted yet.
    pub(super) accepted: VecDeque<u32>,
    /// Streams that wait for the connection's window, or for room.
    pub(super) waiting: VecDeque<u32>,
}

impl StreamTable {
    /// Streams that are not over, or that somebody holds.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// Tables that no connection has.
#[derive(Default)]
pub(super) struct SpareTables {
    #[expect(clippy::vec_box, reason = "a table goes from one connection to the next in its box")]
    tables: RefCell<Vec<Box<StreamTable>>>,
    slots: Cell<usize>,
}

impl SpareTables {
    /// A table without streams.
    #[inline]
    pub(super) fn take(&self) -> Box<StreamTable> {
        let table = self.tables.borrow_mut().pop().unwrap_or_default();
        self.slots.set(self.slots.get() - table.slots.capacity());
        table
    }

    /// Takes back a table whose streams are all over.
    #[inline]
    pub(super) fn give(&self, table: Box<StreamTable>) {
        debug_assert!(table.len() == 0 && table.ids.is_empty());
        debug_assert!(table.accepted.is_empty() && table.waiting.is_empty());
        let slots = table.slots.capacity();
        let all = self.slots.get() + slots;
        if slots <= SLOTS_MAX && all <= SPARE_MAX {
            self.slots.set(all);
            self.tables.borrow_mut().push(table);
        }
    }

    /// How many there are, and the slots of all of them.
    #[cfg(test)]
    pub(super) fn memory(&self) -> (usize, usize) {
        (self.tables.borrow().len(), self.slots.get())
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow::ReceiveWindow;
    use super::*;
    use crate::time::Moment;

    fn table(slots: usize) -> Box<StreamTable> {
        let mut table = Box::<StreamTable>::default();
        table.slots.reserve_exact(slots);
        table
    }

    #[test]
    fn spare_tables_hold_a_bounded_number_of_slots() {
        let spares = SpareTables::default();
        spares.give(table(SLOTS_MAX + 1));
        assert_eq!(spares.memory(), (0, 0), "it is too large");
        for _ in 0..SPARE_MAX / SLOTS_MAX + 3 {
            spares.give(table(SLOTS_MAX));
        }
        assert_eq!(spares.memory(), (SPARE_MAX / SLOTS_MAX, SPARE_MAX));
        drop(spares.take());
        assert_eq!(spares.memory(), (SPARE_MAX / SLOTS_MAX - 1, SPARE_MAX - SLOTS_MAX));
    }

    #[test]
    fn a_table_comes_back_with_its_memory() {
        let spares = SpareTables::default();
        assert_eq!(spares.take().slots.capacity(), 0);
        let mut first = table(4);
        first.slots.push(StreamState::new(1, ReceiveWindow::new(1, 1), 1, Moment::ZERO));
        first.slots[0].end();
        first.free.push(0);
        spares.give(first);
        let again = spares.take();
        assert_eq!((again.slots.len(), again.len(), again.slots.capacity()), (1, 0, 4));
        assert_eq!(spares.memory(), (0, 0));
    }
}
