//! Buffers of one worker that sockets receive into, in one piece of memory.
//!
//! A buffer is free, or taken by a receive, or filled. One that is filled is free again once its last reference is
//! gone.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

/// The buffers of one worker. Never leaves its thread.
pub struct Pool {
    memory: NonNull<u8>,
    layout: Layout,
    /// References to each buffer that is filled.
    references: Box<[Cell<u32>]>,
    free: RefCell<Vec<u16>>,
    /// Buffers that were taken, and neither filled nor given back.
    taken: Cell<usize>,
}

/// From one buffer to the next. Were it a power of two, the beginnings of all would share a few places of each cache.
const STRIDE: usize = Pool::SIZE + 5 * 64;

const PAGE: usize = 4096;

impl Pool {
    /// Bytes of one buffer, which is the most that one receive brings.
    pub const SIZE: usize = 64 * 1024;

    /// A pool of so many buffers. Their memory costs nothing until it is written.
    pub fn new(buffers: u16) -> Rc<Pool> {
        let count = usize::from(buffers);
        let layout =
            Layout::from_size_align((count * STRIDE).max(1), PAGE).expect("at most 2^16 buffers of 64 KiB");
        // WHY UNSAFE: the kernel writes here while no Rust reference to it exists, so it is no Vec.
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let references = vec![Cell::new(0); count].into_boxed_slice();
        // Taken from the end: the first buffers are used over and over, and stay in the caches.
        let free = RefCell::new((0..buffers).rev().collect());
        Rc::new(Pool { memory, layout, references, free, taken: Cell::new(0) })
    }

    /// Takes a free buffer to receive into; none if all are in use.
    pub fn take(&self) -> Option<u16> {
        let buffer = self.free.borrow_mut().pop()?;
        self.taken.set(self.taken.get() + 1);
        Some(buffer)
    }

    /// Gives back a buffer that was taken and not filled.
    pub fn give(&self, buffer: u16) {
        debug_assert_eq!(self.references[usize::from(buffer)].get(), 0);
        self.taken.set(self.taken.get() - 1);
        self.free.borrow_mut().push(buffer);
    }

    /// Buffers that are free.
    #[inline]
    pub fn free(&self) -> usize {
        self.free.borrow().len()
    }

    /// All buffers, free or not.
    #[inline]
    pub fn buffers(&self) -> usize {
        self.references.len()
    }

    /// Buffers that hold nothing: those that are free, and those that wait to be received into.
    #[inline]
    pub fn idle(&self) -> usize {
        self.free() + self.taken.get()
    }

    /// Whether so many buffers are filled that none should be held for long.
    #[inline]
    pub fn is_scarce(&self) -> bool {
        self.idle() * 4 < self.buffers()
    }

    /// Where a buffer of [`Pool::SIZE`] bytes begins.
    #[inline]
    pub fn address(&self, buffer: u16) -> NonNull<u8> {
        assert!(usize::from(buffer) < self.references.len());
        // WHY UNSAFE: plain pointers, as the kernel may write to what they point to.
        // SAFETY: there are that many buffers of STRIDE bytes.
        unsafe { self.memory.add(usize::from(buffer) * STRIDE) }
    }

    /// A free buffer to be written to; none if all are in use.
    pub fn draft(self: &Rc<Self>) -> Option<Draft> {
        let buffer = self.take()?;
        Some(Draft { pool: Rc::clone(self), buffer: Some(buffer), length: 0 })
    }

    /// The first `length` bytes of a buffer that was taken, which have been received.
    ///
    /// # Panics
    /// When there are references to it already, or it is no buffer.
    pub fn filled(self: &Rc<Self>, buffer: u16, length: usize) -> Owner {
        assert!(length <= Pool::SIZE);
        let references = &self.references[usize::from(buffer)];
        assert_eq!(references.replace(1), 0, "a buffer is filled once");
        self.taken.set(self.taken.get() - 1);
        Owner { pool: Rc::clone(self), buffer }
    }

    /// A buffer that has received these bytes, if one is free.
    #[cfg(test)]
    pub(crate) fn received(self: &Rc<Self>, bytes: &[u8]) -> Option<Owner> {
        assert!(bytes.len() <= Pool::SIZE);
        let buffer = self.take()?;
        // WHY UNSAFE: see `new`.
        // SAFETY: the buffer was taken, so nothing refers to it, and it is large enough.
        unsafe { self.address(buffer).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Some(self.filled(buffer, bytes.len()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // WHY UNSAFE: see `new`.
        // SAFETY: it was allocated with this layout, and no owner refers to it, for each holds the pool. Receives that
        // wait in a ring are over: their poster keeps the pool for longer than the ring.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("buffers", &self.buffers()).field("free", &self.free()).finish()
    }
}

/// A buffer that is being written. It is free again when this is dropped unfinished.
pub struct Draft {
    pool: Rc<Pool>,
    /// None once it is finished.
    buffer: Option<u16>,
    length: usize,
}

impl Draft {
    /// Adds bytes. False, with nothing added, if there is no room for all of them.
    pub fn add(&mut self, bytes: &[u8]) -> bool {
        let Some(buffer) = self.buffer.filter(|_| bytes.len() <= Pool::SIZE - self.length) else {
            return false;
        };
        // WHY UNSAFE: see `Pool::new`.
        // SAFETY: the buffer is taken, and by this draft alone: nothing refers to it. The bytes end within it.
        unsafe {
            let end = self.pool.address(buffer).add(self.length);
            end.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.length += bytes.len();
        true
    }

    /// The buffer with what was written, and how many bytes that is. None if it is nothing.
    pub fn finish(mut self) -> Option<(Owner, usize)> {
        let buffer = self.buffer.take_if(|_| self.length > 0)?;
        Some((self.pool.filled(buffer, self.length), self.length))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer {
            self.pool.give(buffer);
        }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("buffer", &self.buffer).field("length", &self.length).finish()
    }
}

/// A reference to a filled buffer. The buffer is free again when the last one is dropped.
pub struct Owner {
    pool: Rc<Pool>,
    buffer: u16,
}

impl Owner {
    /// Bytes of the buffer from its beginning. Zeros, or older bytes, follow those that were received last.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // WHY UNSAFE: the kernel wrote it.
        // SAFETY: the memory was zeroed at first, so all of it is initialised; while there is a reference the buffer is
        // not free, so nothing is received into it.
        unsafe { std::slice::from_raw_parts(self.pool.address(self.buffer).as_ptr(), Pool::SIZE) }
    }

    /// The bytes of the buffer, to be changed, if this is the only reference to it.
    #[inline]
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if self.references().get() != 1 {
            return None;
        }
        let memory = self.pool.address(self.buffer).as_ptr();
        // WHY UNSAFE: the kernel wrote it.
        // SAFETY: as in `bytes`. No other reference to the buffer exists, and this one is borrowed for as long.
        Some(unsafe { std::slice::from_raw_parts_mut(memory, Pool::SIZE) })
    }

    /// Whether buffers are so few that this one should not be held for long.
    #[inline]
    pub fn is_scarce(&self) -> bool {
        self.pool.is_scarce()
    }

    #[inline]
    fn references(&self) -> &Cell<u32> {
        &self.pool.references[usize::from(self.buffer)]
    }
}

impl Clone for Owner {
    #[inline]
    fn clone(&self) -> Owner {
        self.references().set(self.references().get() + 1);
        Owner { pool: Rc::clone(&self.pool), buffer: self.buffer }
    }
}

impl Drop for Owner {
    #[inline]
    fn drop(&mut self) {
        let left = self.references().get() - 1;
        self.references().set(left);
        if left == 0 {
            self.pool.free.borrow_mut().push(self.buffer);
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(&self.buffer).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_free_again_when_its_last_reference_is_gone() {
        let pool = Pool::new(2);
        let (first, second) = (pool.take().expect("two are free"), pool.take().expect("one is free"));
        assert_eq!((first, second, pool.take()), (0, 1, None));
        let owner = pool.filled(first, 10);
        let other = owner.clone();
        drop(owner);
        assert_eq!(pool.free(), 0);
        drop(other);
        assert_eq!(pool.free(), 1);
        pool.give(second);
        assert_eq!((pool.take(), pool.take()), (Some(1), Some(0)));
    }

    #[test]
    fn a_draft_becomes_a_buffer_or_is_given_back() {
        let pool = Pool::new(1);
        drop(pool.draft().expect("one is free"));
        assert!(pool.draft().expect("it came back").finish().is_none());
        let mut draft = pool.draft().expect("it came back");
        assert!(pool.draft().is_none() && draft.add(b"abc") && draft.add(&[7; Pool::SIZE - 3]));
        assert!(!draft.add(b"d") && draft.add(b""));
        let (mut owner, length) = draft.finish().expect("it was written");
        assert_eq!((length, &owner.bytes()[..4], pool.idle()), (Pool::SIZE, &b"abc\x07"[..], 0));
        owner.bytes_mut().expect("there is one reference")[0] = b'x';
        let other = owner.clone();
        assert!(owner.bytes_mut().is_none(), "there are two");
        assert_eq!(&other.bytes()[..2], b"xb");
        drop((owner, other));
        assert_eq!((pool.free(), pool.idle()), (1, 1));
    }

    #[test]
    fn buffers_do_not_overlap() {
        let pool = Pool::new(3);
        for buffer in 0..3 {
            pool.take();
            // SAFETY: the buffer was taken, and nothing refers to it.
            unsafe { pool.address(buffer).as_ptr().write_bytes(buffer as u8 + 1, Pool::SIZE) };
        }
        let owners: Vec<_> = (0..3).map(|buffer| pool.filled(buffer, Pool::SIZE)).collect();
        for (number, owner) in owners.iter().enumerate() {
            assert!(owner.bytes().iter().all(|byte| usize::from(*byte) == number + 1));
        }
    }

    #[test]
    fn few_idle_buffers_are_scarce() {
        let pool = Pool::new(8);
        let mut owners = Vec::new();
        for filled in 0..8 {
            assert_eq!((pool.idle(), pool.is_scarce()), (8 - filled, filled > 6));
            let buffer = pool.take().expect("one is free");
            // A buffer that waits to be received into is idle.
            assert_eq!(pool.idle(), 8 - filled);
            owners.push(pool.filled(buffer, 1));
        }
        drop(owners);
        assert_eq!(pool.idle(), 8);
    }
}
