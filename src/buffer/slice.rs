//! A part of a buffer that is shared, not copied.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use bytes::{Buf, Bytes};

use super::pool::Owner;

/// Bytes in a buffer of the worker, or on the heap. A clone refers to the same bytes.
#[derive(Clone, Default)]
pub struct Slice {
    memory: Memory,
    start: u32,
    length: u32,
}

#[derive(Clone, Default)]
enum Memory {
    #[default]
    None,
    Pool(Owner),
    Block(Rc<Vec<u8>>),
    Heap(Bytes),
}

impl Slice {
    /// The first `length` bytes of a buffer.
    pub fn of_buffer(owner: Owner, length: usize) -> Slice {
        assert!(length <= owner.bytes().len());
        Slice { memory: Memory::Pool(owner), start: 0, length: length as u32 }
    }

    /// All bytes of a block.
    pub(super) fn of_block(block: Rc<Vec<u8>>) -> Slice {
        let length = u32::try_from(block.len()).expect("a message is far smaller than 4 GiB");
        Slice { memory: Memory::Block(block), start: 0, length }
    }

    /// A copy of these bytes on the heap.
    pub fn copy_of(bytes: &[u8]) -> Slice {
        if bytes.is_empty() { Slice::default() } else { Bytes::copy_from_slice(bytes).into() }
    }

    /// Its bytes' number.
    #[inline]
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether it has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The part of it from `from` to `to`.
    ///
    /// # Panics
    /// When there is no such part.
    #[inline]
    #[must_use]
    pub fn part(&self, from: usize, to: usize) -> Slice {
        assert!(from <= to && to <= self.len());
        Slice { memory: self.memory.clone(), start: self.start + from as u32, length: (to - from) as u32 }
    }

    /// Takes the first `at` bytes off, and returns them.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline]
    #[must_use]
    pub fn split_to(&mut self, at: usize) -> Slice {
        if at == self.len() {
            return std::mem::take(self);
        }
        let first = self.part(0, at);
        self.advance(at);
        first
    }

    /// Leaves the first `n` bytes out from now on.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len());
        self.start += n as u32;
        self.length -= n as u32;
    }

    /// Its bytes, to be changed, if they lie in a buffer of the worker that nothing else refers to.
    #[inline]
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let range = self.start as usize..(self.start + self.length) as usize;
        match &mut self.memory {
            Memory::Pool(owner) => owner.bytes_mut().map(|all| &mut all[range]),
            _ => None,
        }
    }

    /// Whether it holds a buffer of the worker, of which others have too few.
    #[inline]
    pub fn is_scarce(&self) -> bool {
        matches!(&self.memory, Memory::Pool(owner) if owner.is_scarce())
    }

    /// Whether it holds a buffer of the worker, however few bytes it refers to.
    #[inline]
    pub fn is_pooled(&self) -> bool {
        matches!(self.memory, Memory::Pool(_))
    }

    /// Its bytes in no buffer of the worker if these are scarce: it may be held for long.
    #[must_use]
    pub fn spare(self) -> Slice {
        if self.is_scarce() { Slice::copy_of(&self) } else { self }
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let all = match &self.memory {
            Memory::None => &[][..],
            Memory::Pool(owner) => owner.bytes(),
            Memory::Block(block) => block,
            Memory::Heap(bytes) => bytes,
        };
        &all[self.start as usize..(self.start + self.length) as usize]
    }
}

/// For libraries that send it.
impl Buf for Slice {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    fn advance(&mut self, n: usize) {
        Slice::advance(self, n);
    }
}

impl From<Bytes> for Slice {
    fn from(bytes: Bytes) -> Slice {
        let length = u32::try_from(bytes.len()).expect("a piece of a body is far smaller than 4 GiB");
        Slice { memory: Memory::Heap(bytes), start: 0, length }
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        Bytes::from(bytes).into()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice").field("length", &self.length).field("pooled", &self.is_pooled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    #[test]
    fn a_slice_is_small() {
        assert!(size_of::<Slice>() <= 48, "{}", size_of::<Slice>());
    }

    #[test]
    fn parts_refer_to_the_bytes_of_the_whole() {
        let mut slice = Slice::from(b"0123456789".to_vec());
        assert_eq!(&*slice.part(2, 5), b"234");
        assert_eq!(&*slice.part(2, 5).part(1, 3), b"34");
        assert_eq!(&*slice.split_to(4), b"0123");
        assert_eq!(&*slice, b"456789");
        slice.advance(2);
        assert_eq!(&*slice.split_to(4), b"6789");
        assert!(slice.is_empty() && slice.split_to(0).is_empty());
    }

    #[test]
    fn a_buffer_is_held_by_its_parts() {
        let pool = Pool::new(1);
        let owner = pool.filled(pool.take().expect("it is free"), 100);
        let mut slice = Slice::of_buffer(owner, 100);
        let part = slice.split_to(10);
        assert!(part.is_pooled() && slice.is_scarce());
        drop(slice);
        assert_eq!((pool.free(), part.len()), (0, 10));
        let copy = part.spare();
        assert_eq!((&*copy, pool.free()), (&[0; 10][..], 1));
    }
}
