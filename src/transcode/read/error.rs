//! Why a text is not the JSON of a message.

use std::fmt;

/// Why a text is not the JSON of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The position in the text, in bytes.
    pub offset: usize,
    /// The fault at this position.
    pub reason: String,
}

impl ReadError {
    #[cold]
    pub(super) fn new(offset: usize, reason: impl Into<String>) -> Self {
        Self { offset, reason: reason.into() }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for ReadError {}
