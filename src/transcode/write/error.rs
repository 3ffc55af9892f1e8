//! Why a message cannot be JSON.

use std::fmt;

use super::super::plan::{MessageId, Schema};
use super::super::wire::BadWire;

/// Messages that may be in each other below the outermost. A list or an entry of a map is none.
pub const DEPTH_MAX: u32 = 100;

/// Why a message cannot be JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteError {
    /// The fault.
    pub fault: Fault,
    /// The innermost field that is known to have it, or the message: `package.Message.field`.
    pub place: String,
}

/// The fault of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are cut short or no protobuf.
    Malformed,
    /// A field's bytes are of another wire type than the descriptor's: the service has another version of the file.
    OtherType,
    /// A string is not UTF-8.
    NotText,
    /// More than [`DEPTH_MAX`] messages in each other.
    TooDeep,
    /// A `Timestamp` or `Duration` outside what the type allows.
    OutOfRange,
    /// A `Value` that is NaN or infinite.
    NotFinite,
    /// A `FieldMask` path that JSON cannot give back as it was.
    BadPath,
    /// An `Any` of a type that no descriptor describes.
    UnknownType,
}

impl fmt::Display for WriteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Malformed => "is not valid protobuf",
            Fault::OtherType => "has another type than in its descriptor",
            Fault::NotText => "is not UTF-8",
            Fault::TooDeep => "nests deeper than 100 messages",
            Fault::OutOfRange => "is out of range",
            Fault::NotFinite => "is not a finite number",
            Fault::BadPath => "has a path that JSON cannot express",
            Fault::UnknownType => "has a type that no descriptor describes",
        };
        write!(formatter, "{} {what}", self.place)
    }
}

impl std::error::Error for WriteError {}

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
