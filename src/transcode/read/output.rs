//! Wire bytes as they are written, front to back.
//!
//! A message's length stands before its bytes and is known only after them. So room is kept for it: as much as the last
//! length at the same depth needed. If that was wrong the message's bytes are moved, once. For a list of messages of
//! similar sizes that is the first one only; at worst each byte moves once for each message around it.

use super::super::plan::Tag;
use super::super::wire::put_varint;

/// Depths from here on share their guess.
const LEVELS: usize = 32;

/// Where bytes go.
pub(in crate::transcode) struct Output<'o> {
    bytes: &'o mut Vec<u8>,
    level: usize,
    /// By depth, how many bytes more than one the last length took.
    guesses: [u8; LEVELS],
}

/// A length that is not known yet.
#[must_use = "without its end the bytes have no length"]
pub(in crate::transcode) struct Open {
    /// Where its bytes begin.
    start: usize,
    /// How much room is kept before them.
    width: usize,
}

/// A place to go back to.
#[derive(Clone, Copy)]
pub(in crate::transcode) struct Mark {
    length: usize,
    level: usize,
}

impl<'o> Output<'o> {
    pub(in crate::transcode) fn new(bytes: &'o mut Vec<u8>) -> Self {
        Self { bytes, level: 0, guesses: [0; LEVELS] }
    }

    #[inline]
    pub(in crate::transcode) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[inline]
    pub(in crate::transcode) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    #[inline]
    pub(in crate::transcode) fn tag(&mut self, tag: &Tag) {
        match tag.as_bytes() {
            // Most fields have a number below 16.
            &[byte] => self.bytes.push(byte),
            bytes => self.bytes.extend_from_slice(bytes),
        }
    }

    #[inline]
    pub(in crate::transcode) fn varint(&mut self, value: u64) {
        put_varint(value, self.bytes);
    }

    /// Bytes with their length.
    #[inline]
    pub(in crate::transcode) fn text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    /// A place to go back to.
    #[inline]
    pub(in crate::transcode) fn mark(&self) -> Mark {
        Mark { length: self.bytes.len(), level: self.level }
    }

    /// Forgets what was written since.
    pub(in crate::transcode) fn forget(&mut self, mark: Mark) {
        self.bytes.truncate(mark.length);
        self.level = mark.level;
    }

    /// Begins bytes whose length goes before them.
    #[inline]
    pub(in crate::transcode) fn begin(&mut self) -> Open {
        let width = 1 + usize::from(self.guesses[self.level.min(LEVELS - 1)]);
        self.begin_wide(width)
    }

    /// Begins bytes whose length is about this.
    #[inline]
    pub(in crate::transcode) fn begin_about(&mut self, length: usize) -> Open {
        self.begin_wide(varint_length(length))
    }

    #[inline]
    fn begin_wide(&mut self, width: usize) -> Open {
        self.level += 1;
        self.bytes.extend_from_slice(&[0; 10][..width]);
        Open { start: self.bytes.len(), width }
    }

    /// Writes the length before the bytes, now that it is known.
    #[inline]
    pub(in crate::transcode) fn end(&mut self, open: Open) {
        let length = self.bytes.len() - open.start;
        let needed = varint_length(length);
        let start = open.start - open.width;
        self.level -= 1;
        if needed != open.width {
            self.shift(&open, needed);
        }
        self.guesses[self.level.min(LEVELS - 1)] = needed.to_le_bytes()[0] - 1;
        let mut rest = length;
        for byte in &mut self.bytes[start..start + needed] {
            *byte = rest.to_le_bytes()[0] | 0x80;
            rest >>= 7;
        }
        self.bytes[start + needed - 1] &= 0x7F;
    }

    /// Moves the bytes so that they have `needed` bytes before them.
    #[inline(never)]
    fn shift(&mut self, open: &Open, needed: usize) {
        let end = self.bytes.len();
        let to = open.start - open.width + needed;
        if needed > open.width {
            self.bytes.resize(end + needed - open.width, 0);
        }
        self.bytes.copy_within(open.start..end, to);
        self.bytes.truncate(to + end - open.start);
    }

    /// The bytes since `open` began, to be changed where they are.
    pub(in crate::transcode) fn since(&mut self, open: &Open) -> (&mut Vec<u8>, usize) {
        (self.bytes, open.start)
    }
}

#[inline]
fn varint_length(value: usize) -> usize {
    // Seven bits a byte; 0 takes one too.
    (70 - (value as u64 | 1).leading_zeros() as usize) / 7
}
