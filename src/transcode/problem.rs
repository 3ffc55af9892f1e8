//! Problems of descriptors and rules, in words for the operator.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A problem of a descriptor or a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, and within it the method and rule it is about.
    pub place: String,
    /// The problem.
    pub wrong: String,
    /// The remedy, where there is one.
    pub hint: Option<String>,
    /// Whether it is a defect of this program: something panicked.
    pub is_defect: bool,
}

impl Problem {
    pub(super) fn new(place: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self { place: place.into(), wrong: wrong.into(), hint: None, is_defect: false }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Does what a library of others does with bytes of others. No input is known that makes it panic; if one does, that is
/// a problem like others, and names the place.
///
/// # Errors
/// It panicked.
pub fn guarded<T>(place: &str, work: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let wrong = format!("it cannot be read, by a defect of Ringway: {}", said(&*panic));
        Problem { is_defect: true, ..Problem::new(place, wrong) }
    })
}

/// The message of a panic.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason is told")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is wrong in the file itself may begin with its name, perhaps without its folder: once is enough.
        let itself = self.wrong.split_once(':');
        let itself = itself.filter(|(name, _)| !name.is_empty() && Path::new(&self.place).ends_with(name));
        match itself {
            Some((_, rest)) => write!(f, "{}:{rest}", self.place)?,
            None => write!(f, "{}: {}", self.place, self.wrong)?,
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_once() {
        for (place, wrong, shown) in [
            ("in/a.proto", "a.proto:1:2: bad", "in/a.proto:1:2: bad"),
            ("in/a.proto", "in/a.proto: unreadable", "in/a.proto: unreadable"),
            ("in/a.proto", "a.proto: unreadable", "in/a.proto: unreadable"),
            ("in/a.proto", "b.proto:1:2: bad", "in/a.proto: b.proto:1:2: bad"),
            ("ba.proto", "a.proto:1:2: bad", "ba.proto: a.proto:1:2: bad"),
            ("a.protoset", "no file is in it", "a.protoset: no file is in it"),
            ("a.protoset", ": odd", "a.protoset: : odd"),
        ] {
            assert_eq!(Problem::new(place, wrong).to_string(), shown);
        }
    }
}
