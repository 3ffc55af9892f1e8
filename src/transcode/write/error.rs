//! Why a message cannot be JSON.

use thiserror::Error;

use super::super::plan::{MessageId, Schema};
use super::super::wire::BadWire;

/// Messages that may be in each other below the outermost. A list or an entry of a map is none.
pub const DEPTH_MAX: u32 = 100;

/// Why a message cannot be JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place} {fault}")]
pub struct WriteError {
    /// The fault.
    pub fault: Fault,
    /// The innermost field that is known to have it, or the message: `package.Message.field`.
    pub place: String,
}

/// The fault of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The bytes are cut short or no protobuf.
    #[error("is not valid protobuf")]
    Malformed,
    /// A field's bytes are of another wire type than the descriptor's: the service has another version of the file.
    #[error("has another type than in its descriptor")]
    OtherType,
    /// A string is not UTF-8.
    #[error("is not UTF-8")]
    NotText,
    /// More than [`DEPTH_MAX`] messages in each other.
    #[error("nests deeper than {DEPTH_MAX} messages")]
    TooDeep,
    /// A `Timestamp` or `Duration` outside what the type allows.
    #[error("is out of range")]
    OutOfRange,
    /// A `Value` that is NaN or infinite.
    #[error("is not a finite number")]
    NotFinite,
    /// A `FieldMask` path that JSON cannot give back as it was.
    #[error("has a path that JSON cannot express")]
    BadPath,
    /// An `Any` of a type that no descriptor describes.
    #[error("has a type that no descriptor describes")]
    UnknownType,
}

/// Why printing stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// It is not as encoders write it; it needs a tree.
    Rare,
    /// It is wrong, in this message and at the field of this number in it.
    Fault { fault: Fault, place: Option<(MessageId, u32)> },
}

impl Stop {
    /// With its place, unless one further inside is known.
    #[cold]
    pub(super) fn at(self, id: MessageId, number: u32) -> Self {
        match self {
            Self::Fault { fault, place: None } => Self::Fault { fault, place: Some((id, number)) },
            other => other,
        }
    }

    #[cold]
    pub(super) fn told(self, schema: &Schema) -> WriteError {
        let (fault, place) = match self {
            // An encoder's own output needs no second tree.
            Self::Rare => (Fault::Malformed, None),
            Self::Fault { fault, place } => (fault, place),
        };
        let place = place.map(|(id, number)| {
            let message = schema.message(id);
            match message.descriptor().get_field(number) {
                Some(field) => field.full_name().to_owned(),
                None => format!("{}.{number}", message.name()),
            }
        });
        WriteError { fault, place: place.unwrap_or_else(|| "the message".to_owned()) }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault { fault, place: None }
    }
}

impl From<BadWire> for Stop {
    fn from(bad: BadWire) -> Self {
        match bad {
            BadWire::Malformed => Fault::Malformed.into(),
            BadWire::TooDeep => Fault::TooDeep.into(),
        }
    }
}
