//! Heads to header blocks.

use super::super::head::Head;

/// The writing side of a connection.
#[derive(Default)]
pub struct Encoder {}

impl Encoder {
    /// An encoder whose peer has not yet sent settings.
    pub fn new() -> Encoder {
        Encoder {}
    }

    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells the peer.
    pub fn set_max_table_size(&mut self, _size: usize) {}

    /// Appends the header block of this head to `out`.
    pub fn encode(&mut self, _head: &Head, _out: &mut Vec<u8>) {}
}
