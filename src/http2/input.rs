//! The part of a frame, or of a head, that has come from a peer before the rest of it.

use super::frame::PREFACE;
use crate::buffer::Slice;

/// Bytes that came together, and how far they have been read.
pub(super) struct Cursor<'a> {
    whole: &'a Slice,
    /// All of them. To find them anew for each frame would take longer than to read it.
    bytes: &'a [u8],
    read: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(whole: &'a Slice) -> Cursor<'a> {
        Cursor { whole, bytes: whole, read: 0 }
    }

    /// How many have been read.
    #[inline]
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// Those that have not been read.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.read..]
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.read
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves out the next `n`.
    #[inline]
    pub(super) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.read += n;
    }

    /// The next `n`, where they lie.
    #[inline]
    pub(super) fn take(&mut self, n: usize) -> Slice {
        let part = self.whole.part(self.read, self.read + n);
        self.read += n;
        part
    }
}

/// Bytes of a peer that are no whole frame yet.
#[derive(Debug)]
pub(super) struct Input {
    /// Bytes of the preface that have still to come.
    pub(super) preface_left: u8,
    /// The beginning of a frame.
    pub(super) carry: Vec<u8>,
    /// The DATA frame whose payload comes.
    pub(super) data: Option<DataFrame>,
    /// The head that goes on in CONTINUATION frames.
    pub(super) block: Option<Box<Block>>,
}

impl Input {
    pub(super) fn new(expects_preface: bool) -> Input {
        let preface_left = if expects_preface { PREFACE.len() as u8 } else { 0 };
        Input { preface_left, carry: Vec::new(), data: None, block: None }
    }

    /// Forgets all that is not whole.
    pub(super) fn clear(&mut self) {
        self.data = None;
        self.block = None;
        self.carry = Vec::new();
    }

    pub(super) fn clear_memory(&mut self) {
        if self.carry.is_empty() {
            self.carry = Vec::new();
        }
    }
}

/// A DATA frame whose payload comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    /// The stream, and its key if its bytes are wanted.
    pub(super) id: u32,
    pub(super) key: Option<u32>,
    /// Bytes of the body that have still to come, and bytes of padding after them.
    pub(super) body_left: u32,
    pub(super) padding_left: u32,
    pub(super) ends_stream: bool,
}

/// A head whose frames have not all come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ends_stream: bool,
    pub(super) depends_on_itself: bool,
    pub(super) fragments: Vec<u8>,
    pub(super) continuations: u32,
}
