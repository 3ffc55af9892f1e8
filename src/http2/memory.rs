//! The memory that the connections of one worker share.

use std::fmt;
use std::rc::Rc;

use super::head::Heads;
use super::stream_table::SpareTables;

/// Memory for heads, and for streams. A connection has some of it while it has heads and streams.
pub struct Memory {
    pub(super) heads: Rc<Heads>,
    pub(super) tables: SpareTables,
}

impl Memory {
    /// Memory whose heads are `heads`. It holds nothing yet.
    pub fn new(heads: &Rc<Heads>) -> Rc<Memory> {
        Rc::new(Memory { heads: Rc::clone(heads), tables: SpareTables::default() })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}
