//! An enum: its names, its numbers.

use super::super::options;
use prost_reflect::EnumDescriptor;
use rustc_hash::FxHashMap;

/// An enum: its names and numbers.
#[derive(Debug)]
pub struct Enum {
    is_null: bool,
    is_closed: bool,
    default: i32,
    /// Ascending numbers, each with its first name in quotes.
    values: Box<[(i32, Box<[u8]>)]>,
    by_name: FxHashMap<Box<str>, i32>,
}

impl Enum {
    pub(super) fn new(descriptor: &EnumDescriptor) -> Self {
        let proto = descriptor.enum_descriptor_proto();
        let by_name = proto.value.iter().map(|value| (value.name().into(), value.number())).collect();
        let mut values: Vec<(i32, Box<[u8]>)> = proto
            .value
            .iter()
            .map(|value| (value.number(), format!("\"{}\"", value.name()).into_bytes().into()))
            .collect();
        // Stable, so of several names of a number the first one in the file stays.
        values.sort_by_key(|(number, _)| *number);
        values.dedup_by_key(|(number, _)| *number);
        Self {
            is_null: descriptor.full_name() == "google.protobuf.NullValue",
            // An enum of which this is not known is in no message that is served.
            is_closed: options::is_closed(descriptor).unwrap_or(true),
            default: descriptor.default_value().number(),
            values: values.into(),
            by_name,
        }
    }

    /// Is it `google.protobuf.NullValue`, which is `null` in JSON?
    pub fn is_null(&self) -> bool {
        self.is_null
    }

    /// Does it know no numbers but its own? Those of proto2 are closed, and those of editions that say so.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The number of an absent field without presence.
    pub fn default(&self) -> i32 {
        self.default
    }

    /// The name of a number, in quotes.
    #[inline]
    pub fn quoted(&self, number: i32) -> Option<&[u8]> {
        // Most enums count from 0, where a number is its own index.
        let at = match usize::try_from(number)
            .ok()
            .filter(|&at| self.values.get(at).is_some_and(|v| v.0 == number))
        {
            Some(at) => at,
            None => self.values.binary_search_by_key(&number, |value| value.0).ok()?,
        };
        Some(&self.values[at].1)
    }

    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }
}
