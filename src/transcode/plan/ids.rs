//! Positions of messages and enums in a schema.

use rustc_hash::FxHashMap;

/// A message of the schema that made this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(pub(super) u32);

/// An enum of the schema that made this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnumId(pub(super) u32);

/// The ids of all names, given before any message is compiled.
pub(super) struct Ids {
    pub(super) messages: FxHashMap<Box<str>, MessageId>,
    pub(super) enums: FxHashMap<Box<str>, EnumId>,
}
