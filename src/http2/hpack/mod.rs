//! HPACK (RFC 7541): header blocks to heads and back, with the checks of RFC 9113 section 8 in the same pass.

mod check;
mod decode;
mod encode;
mod error;
mod fixed;
mod huffman;
mod integer;
mod names;
mod pass;
mod steady;
mod table;
#[cfg(test)]
mod tests;

pub use decode::Decoder;
pub use encode::Encoder;
pub use error::{HpackError, Malformed, Verdict};
pub use pass::{Kind, Limits};
