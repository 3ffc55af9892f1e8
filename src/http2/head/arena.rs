//! The content of heads: bytes of their fields, and their places. It is shared while it is not changed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::super::name::Name;

/// Bytes that one spare arena may hold; larger ones are freed.
pub(super) const ARENA_MAX: usize = 32 * 1024;
/// Bytes that all spare arenas of a pool may hold.
pub(super) const SPARE_MAX: usize = 2 * 1024 * 1024;

/// The content of a head.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) arena: Arena,
    pub(super) said: Said,
    /// The number by which the content is known that a block is kept with; 0 for any other. No two contents have one.
    pub(super) number: u64,
}

/// Of a head that has nothing.
pub(super) static NOTHING: Parts = Parts {
    arena: Arena { bytes: Vec::new(), entries: Vec::new() },
    said: Said { pseudo: [Span { start: 0, length: 0 }; 4], names: [0; 2], status: 0, is_secret: false },
    number: 0,
};

impl Parts {
    pub(super) fn clear(&mut self) {
        self.arena.bytes.clear();
        self.arena.entries.clear();
        self.said = Said::default();
        self.number = 0;
    }

    /// Becomes equal to `other`, in memory of its own.
    pub(super) fn copy_from(&mut self, other: &Parts) {
        self.arena.copy_from(&other.arena);
        self.said = other.said;
        self.number = 0;
    }
}

/// Parts that no head has, with the memory that they had.
#[derive(Default)]
pub(super) struct Spares {
    parts: RefCell<Vec<Rc<Parts>>>,
    bytes: Cell<usize>,
}

impl Spares {
    /// Empty parts that nobody shares.
    pub(super) fn take(&self) -> Rc<Parts> {
        let parts = self.parts.borrow_mut().pop().unwrap_or_default();
        self.bytes.set(self.bytes.get() - parts.arena.capacity());
        parts
    }

    /// Takes parts back, unless somebody else has them, too.
    pub(super) fn give(&self, mut parts: Rc<Parts>) {
        let Some(own) = Rc::get_mut(&mut parts) else { return };
        let capacity = own.arena.capacity();
        let all = self.bytes.get() + capacity;
        if capacity == 0 || capacity > ARENA_MAX || all > SPARE_MAX {
            return;
        }
        own.clear();
        self.bytes.set(all);
        self.parts.borrow_mut().push(parts);
    }

    /// How many there are, and bytes of all of them.
    #[cfg(test)]
    pub(super) fn memory(&self) -> (usize, usize) {
        let parts = self.parts.borrow();
        (parts.len(), parts.iter().map(|parts| parts.arena.capacity()).sum())
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }
}

/// Bytes of names and values, and what is where.
#[derive(Default)]
pub(super) struct Arena {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl Arena {
    pub(super) fn copy_from(&mut self, other: &Arena) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.entries.clear();
        self.entries.extend_from_slice(&other.entries);
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}

/// A field. The name, if it has no number, stands right before the value.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) start: u32,
    pub(super) name_length: u32,
    pub(super) value_length: u32,
    /// The number of its name, and whether it is sensitive in the second byte.
    pub(super) what: u32,
}

impl Entry {
    pub(super) fn name(&self) -> Name {
        Name::of_number(self.what as u8)
    }

    pub(super) fn is_sensitive(&self) -> bool {
        self.what >> 8 != 0
    }
}

/// The value of a pseudo-field; no bytes at all is `None`.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: u32,
}

/// The parts of a head that its arena does not hold.
#[derive(Clone, Copy, Default)]
pub(super) struct Said {
    /// The values of pseudo-fields but `:status`, by the numbers of their names.
    pub(super) pseudo: [Span; 4],
    /// A bit for each number that a name of a field has, or had once.
    pub(super) names: [u64; 2],
    /// 0 for none.
    pub(super) status: u16,
    /// Whether a field is or was sensitive.
    pub(super) is_secret: bool,
}
