//! Whether a table stays as it is, so that a block that comes again means what it meant.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a table as it is.
#[derive(Default)]
pub(super) struct Steady {
    /// [`UNKNOWN`], [`CHANGED`] or a number of [`NUMBERS`].
    number: u64,
    /// Blocks in a row of which no head was kept.
    misses: u32,
}

/// The table has no number yet. It gets one with the first block that does not change it.
const UNKNOWN: u64 = 0;
/// This block has changed the table.
const CHANGED: u64 = 1;
/// No two are equal, so one stands for a table of a connection and the entries that it has.
static NUMBERS: AtomicU64 = AtomicU64::new(CHANGED + 1);

/// Blocks in a row that are looked for. After those, it is some at the start of each period: a head is kept when its
/// block comes for the second time.
const MISSES_MAX: u32 = 8;
const MISSES_PERIOD: u32 = 64;
const MISSES_TRIED: u32 = 4;

impl Steady {
    /// The number of the table, unless it has none, or it is hardly worth the time to look for a kept head.
    #[inline]
    pub(super) fn table(&self) -> Option<u64> {
        let may_repeat = self.misses < MISSES_MAX || self.misses % MISSES_PERIOD < MISSES_TRIED;
        (self.number > CHANGED && may_repeat).then_some(self.number)
    }

    /// A kept head was found.
    #[inline]
    pub(super) fn hit(&mut self) {
        self.misses = 0;
    }

    /// This block changes the table, or the next one with this head will be another.
    #[inline]
    pub(super) fn changed(&mut self) {
        self.number = CHANGED;
    }

    /// Whether nothing has changed since [`Steady::table`] had a number.
    #[inline]
    pub(super) fn is_steady(&self) -> bool {
        self.number > CHANGED
    }

    /// A block ends that was read or written field by field.
    #[inline]
    pub(super) fn end(&mut self) {
        match self.number {
            UNKNOWN => *self = Steady { number: NUMBERS.fetch_add(1, Ordering::Relaxed), misses: 0 },
            CHANGED => self.number = UNKNOWN,
            _ => self.misses = self.misses.wrapping_add(1),
        }
    }
}
