//! Whether a table stays as it is, so that a block that comes again means what it meant.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::head::VERSION_BITS;

/// The number of a table as it is.
#[derive(Default)]
pub(super) struct Steady {
    /// The table's own number, of [`NUMBERS`], or 0 until it has one; and below it, in [`VERSION_BITS`], how often it has
    /// changed since.
    number: u64,
    /// Blocks in a row of which no head was kept.
    misses: u32,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The table as it is has no number yet. It gets one with the first block that does not change it.
    #[default]
    Unknown,
    /// This block has changed the table.
    Changed,
    /// It is as its number says.
    Known,
}

/// No two are equal, so one stands for a table of a connection.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Blocks in a row that are looked for. After those, it is some at the start of each period: a head is kept when its
/// block comes for the second time.
const MISSES_MAX: u32 = 8;
const MISSES_PERIOD: u32 = 64;
const MISSES_TRIED: u32 = 4;

impl Steady {
    /// The number of the table as it is, unless it has none, or it is hardly worth the time to look for a kept head.
    #[inline]
    pub(super) fn table(&self) -> Option<u64> {
        let may_repeat = self.misses < MISSES_MAX || self.misses % MISSES_PERIOD < MISSES_TRIED;
        (self.is_steady() && may_repeat).then_some(self.number)
    }

    /// The number of the table, whatever it holds, if heads may have been kept with it.
    pub(super) fn id(&self) -> Option<u64> {
        let id = self.number >> VERSION_BITS;
        (id > 0).then_some(id)
    }

    /// A kept head was found.
    #[inline]
    pub(super) fn hit(&mut self) {
        self.misses = 0;
    }

    /// This block changes the table, or the next one with this head will be another.
    #[inline]
    pub(super) fn changed(&mut self) {
        self.state = State::Changed;
    }

    /// Whether nothing has changed since [`Steady::table`] had a number.
    #[inline]
    pub(super) fn is_steady(&self) -> bool {
        self.state == State::Known
    }

    /// A block ends that was read or written field by field.
    #[inline]
    pub(super) fn end(&mut self) {
        match self.state {
            State::Unknown => self.number(),
            State::Changed => self.state = State::Unknown,
            State::Known => self.misses = self.misses.wrapping_add(1),
        }
    }

    fn number(&mut self) {
        let next = self.number + 1;
        let is_used_up = next.trailing_zeros() >= VERSION_BITS;
        self.number = if next >> VERSION_BITS == 0 || is_used_up {
            NUMBERS.fetch_add(1, Ordering::Relaxed) << VERSION_BITS
        } else {
            next
        };
        (self.state, self.misses) = (State::Known, 0);
    }
}
