//! Sets of gRPC codes, by number and by name. [`policy::status`](crate::policy::status) describes the codes.

/// Some of the seventeen codes of gRPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes(u32);

impl Codes {
    /// The empty set.
    pub const NONE: Codes = Codes(0);

    /// The names, each at the position of its number.
    pub const NAMES: [&'static str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];

    /// This set, with the code of this number, if there is one.
    #[must_use]
    pub const fn with(self, number: u8) -> Codes {
        if (number as usize) < Self::NAMES.len() { Codes(self.0 | 1 << number) } else { self }
    }

    /// Whether the set has the code of this number.
    pub const fn has(self, number: u8) -> bool {
        (number as usize) < Self::NAMES.len() && self.0 >> number & 1 == 1
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number of the code with this name, in any case: A6 asks for that.
    pub fn number(name: &str) -> Option<u8> {
        let position = Self::NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        u8::try_from(position).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let some = Codes::NONE.with(14).with(0).with(14).with(17).with(255);
        let has: Vec<u8> = (0..=u8::MAX).filter(|number| some.has(*number)).collect();
        assert_eq!(has, [0, 14]);
        assert!(Codes::NONE.is_empty() && !some.is_empty());
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(Codes::number("UNAVAILABLE"), Some(14));
        assert_eq!(Codes::number("Deadline_exceeded"), Some(4));
        assert_eq!(Codes::number(""), None);
        assert_eq!(Codes::number("UNAVAILABLE "), None);
    }
}
