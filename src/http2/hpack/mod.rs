//! HPACK (RFC 7541): header blocks to heads and back, with the checks of RFC 9113 section 8 in the same pass.

mod decode;
mod encode;
mod error;

pub use decode::{Decoder, Kind, Limits};
pub use encode::Encoder;
pub use error::{HpackError, Malformed, Verdict};
