//! Why a text is not the JSON of a message.

use thiserror::Error;

/// Why a text is not the JSON of a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("offset {offset}: {reason}")]
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
