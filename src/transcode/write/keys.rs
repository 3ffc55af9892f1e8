//! The keys of a map, to find one that comes twice.

use std::collections::HashSet;

use super::super::plan::Kind;
use super::super::wire::Raw;

/// So many keys are kept without a table.
const FEW: usize = 16;

/// The keys that were there. Few are compared one by one.
#[derive(Default)]
pub(super) struct Keys<'w> {
    few: [Key<'w>; FEW],
    count: usize,
    many: HashSet<Key<'w>>,
}

/// A key, the same however it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'w> {
    Number(u64),
    Text(&'w [u8]),
}

impl Default for Key<'_> {
    fn default() -> Self {
        Key::Number(0)
    }
}

impl<'w> Keys<'w> {
    /// Says whether the key is new.
    #[inline]
    pub(super) fn add(&mut self, key: Key<'w>) -> bool {
        if self.count < FEW {
            let is_new = !self.few[..self.count].contains(&key);
            self.few[self.count] = key;
            self.count += 1;
            return is_new;
        }
        if self.many.is_empty() {
            self.many.extend(self.few);
        }
        self.many.insert(key)
    }

    /// A key as it is compared.
    #[inline]
    pub(super) fn normal(kind: Kind, raw: Raw<'w>) -> Key<'w> {
        match raw {
            Raw::Length(text) | Raw::Group(text) => Key::Text(text),
            Raw::Varint(value) => Key::Number(match kind {
                Kind::Int64 | Kind::Uint64 | Kind::Sint64 => value,
                Kind::Bool => u64::from(value != 0),
                // Of the narrow ones only the low half counts.
                _ => value & u64::from(u32::MAX),
            }),
            Raw::Fixed64(value) => Key::Number(value),
            Raw::Fixed32(value) => Key::Number(u64::from(value)),
        }
    }
}
