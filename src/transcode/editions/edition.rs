//! The editions of protobuf's language.

use crate::transcode::wire::BadWire;

/// An edition of protobuf's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transcode) enum Edition {
    Proto2,
    Proto3,
    Of2023,
    Of2024,
}

impl Edition {
    pub(super) fn of_number(number: i32) -> Result<Edition, String> {
        match number {
            998 => Ok(Edition::Proto2),
            999 => Ok(Edition::Proto3),
            1000 => Ok(Edition::Of2023),
            1001 => Ok(Edition::Of2024),
            other => Err(format!("edition number {other} is not known: those of 2023 and 2024 are")),
        }
    }

    /// Of `edition = "2023";` in a `.proto` file.
    pub(super) fn of_name(name: &str) -> Result<Edition, String> {
        match name {
            "2023" => Ok(Edition::Of2023),
            "2024" => Ok(Edition::Of2024),
            other => Err(format!("edition {other:?} is not known: \"2023\" and \"2024\" are")),
        }
    }
}

/// Says that bytes are no descriptor.
pub(super) fn malformed(_: BadWire) -> String {
    "its bytes are no descriptor".to_owned()
}
