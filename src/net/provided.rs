//! Buffers that the kernel takes by itself when bytes arrive, so that a connection that waits for some holds none.
//!
//! They stand in a ring of their own (`io_uring_register(2)`, `IORING_REGISTER_PBUF_RING`): the kernel takes from its
//! head, we put back at its tail. Few stand there at first, so that the same few are used over and over and stay in the
//! caches; when a receive finds none, more are put there, and stay.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::cqueue;
use io_uring::types::BufRingEntry;

use super::sys;

/// Bytes of one buffer, which is the most that one receive brings. Smaller ones take more receives for large messages.
pub(super) const SIZE: usize = 128 * 1024;

/// The most buffers that one worker gives to its ring. A power of two.
pub(super) const MOST: u16 = 128;

/// As many stand there at first.
const AT_FIRST: u16 = 8;

/// From one buffer to the next. Were it a power of two, the beginnings of all would share a few places of each cache.
const STRIDE: usize = SIZE + 5 * 64;

/// The ring's entries, before the buffers.
const ENTRIES: usize = MOST as usize * size_of::<BufRingEntry>();

/// What the kernel knows the ring of buffers by.
pub(super) const GROUP: u16 = 0;

/// The buffers of one ring.
pub(super) struct Provided {
    memory: NonNull<u8>,
    /// Buffers below this number have been put into the ring at least once.
    known: Cell<u16>,
    /// Entries written so far, modulo 2^16.
    tail: Cell<u16>,
}

/// Bytes that arrived in a provided buffer, which goes back to the ring when this is dropped.
pub(super) struct Piece {
    from: Rc<Provided>,
    buffer: u16,
    length: u32,
}

const _: () = assert!(SIZE <= u32::MAX as usize && MOST.is_power_of_two() && AT_FIRST <= MOST);

impl Provided {
    /// Registers the first buffers with `ring`, which must be this thread's.
    ///
    /// # Errors
    /// When the kernel knows no rings of buffers (Linux 5.19), or memory is short.
    pub(super) fn register(ring: RawFd) -> io::Result<Rc<Provided>> {
        // WHY UNSAFE: the kernel writes here while no Rust reference to it exists, so it is no Vec.
        // SAFETY: a new mapping that overlaps nothing. Its pages are zeros, and cost nothing until they are written.
        let memory = unsafe {
            libc::mmap(
                null_mut(),
                ENTRIES + usize::from(MOST) * STRIDE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let provided = Provided { memory, known: Cell::new(0), tail: Cell::new(0) };
        sys::provide_buffers(ring, memory.as_ptr() as u64, MOST, GROUP)?;
        provided.add(AT_FIRST);
        Ok(Rc::new(provided))
    }

    /// Puts up to so many more buffers into the ring.
    pub(super) fn add(&self, more: u16) {
        let known = self.known.get();
        let to = known.saturating_add(more).min(MOST);
        (known..to).for_each(|buffer| self.give(buffer));
        self.known.set(to);
    }

    /// How many buffers have been put into the ring.
    pub(super) fn known(&self) -> u16 {
        self.known.get()
    }

    /// The buffer that a receive has used, by the result and the flags of its completion as the kernel gave them. One
    /// that failed may have used one, too, with nothing in it.
    pub(super) fn take(self: &Rc<Self>, result: i32, flags: u32) -> Option<Piece> {
        let buffer = cqueue::buffer_select(flags).filter(|buffer| *buffer < self.known.get())?;
        let length = u32::try_from(result).unwrap_or(0).min(SIZE as u32);
        Some(Piece { from: Rc::clone(self), buffer, length })
    }

    fn at(&self, buffer: u16) -> NonNull<u8> {
        // WHY UNSAFE: plain pointers, as the kernel may write to what they point to.
        // SAFETY: there are MOST buffers of STRIDE bytes behind the entries, and `buffer` is below MOST.
        unsafe { self.memory.add(ENTRIES + usize::from(buffer) * STRIDE) }
    }

    fn give(&self, buffer: u16) {
        let tail = self.tail.get();
        let entries = self.memory.cast::<BufRingEntry>();
        // WHY UNSAFE: the entries are shared with the kernel.
        // SAFETY: the entry is within the ring, which is aligned to a page. The kernel reads no entry before the tail
        // has passed it, and has taken this one: no more buffers are in the ring than it has entries.
        let entry = unsafe { entries.add(usize::from(tail % MOST)).as_mut() };
        entry.set_addr(self.at(buffer).as_ptr() as u64);
        entry.set_len(SIZE as u32);
        entry.set_bid(buffer);
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail is within the first entry, where nothing else is kept, lives as long as the mapping, and is
        // never written otherwise. The kernel reads it with acquire.
        let shared = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries.as_ptr()).cast_mut()) };
        shared.store(self.tail.get(), Ordering::Release);
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // WHY UNSAFE: see `register`.
        // SAFETY: the mapping is ours, and no piece refers to it any more. Whoever owns this drops it after the ring, or
        // enters the ring no more: the receives that wait are cancelled when it is closed, and write nothing.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), ENTRIES + usize::from(MOST) * STRIDE) };
    }
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provided").field("known", &self.known.get()).finish_non_exhaustive()
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // WHY UNSAFE: the kernel wrote it.
        // SAFETY: the kernel has written so many bytes at the beginning of the buffer, and does not write there again
        // before it is given back.
        unsafe { std::slice::from_raw_parts(self.from.at(self.buffer).as_ptr(), self.length as usize) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.from.give(self.buffer);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use io_uring::{IoUring, opcode, types};

    use super::*;

    /// Each of `chunks` as the kernel puts it into a buffer of its own. None where it knows no such receives.
    pub(in crate::net) fn pieces(chunks: &[&[u8]]) -> Option<Vec<Piece>> {
        let mut ring = IoUring::new(8).ok()?;
        let provided = Provided::register(ring.as_raw_fd()).ok()?;
        let (mut from, to) = UnixStream::pair().expect("two descriptors");
        let receive = opcode::RecvMulti::new(types::Fd(to.as_raw_fd()), GROUP).build();
        // SAFETY: the entry points to nothing, and `to` is open until the ring is closed.
        unsafe { ring.submission().push(&receive).expect("an empty ring has room") };
        ring.submit().ok()?;
        let mut pieces = Vec::new();
        for chunk in chunks {
            from.write_all(chunk).expect("it fits");
            ring.submit_and_wait(1).expect("the ring waits");
            let completion = ring.completion().next().expect("one was waited for");
            if completion.result() == -libc::EINVAL {
                return None;
            }
            pieces.push(provided.take(completion.result(), completion.flags()).expect("a buffer was taken"));
        }
        Some(pieces)
    }

    #[test]
    fn what_arrives_stays_where_the_kernel_put_it_until_it_is_dropped() {
        let texts: Vec<_> =
            (0..u8::try_from(AT_FIRST).unwrap()).map(|n| vec![n; 100 + usize::from(n)]).collect();
        let chunks: Vec<_> = texts.iter().map(Vec::as_slice).collect();
        let Some(pieces) = pieces(&chunks) else { return };
        assert!(pieces.iter().map(|piece| &**piece).eq(chunks));
    }

    #[test]
    fn no_more_buffers_are_given_than_the_ring_has_entries() {
        let Ok(ring) = IoUring::new(8) else { return };
        let Ok(provided) = Provided::register(ring.as_raw_fd()) else { return };
        assert_eq!(provided.known(), AT_FIRST);
        for (more, known) in [(1, AT_FIRST + 1), (MOST, MOST), (u16::MAX, MOST)] {
            provided.add(more);
            assert_eq!((provided.known(), provided.tail.get()), (known, known));
        }
    }

    #[test]
    fn a_completion_without_a_buffer_brings_nothing() {
        let Ok(ring) = IoUring::new(8) else { return };
        let Ok(provided) = Provided::register(ring.as_raw_fd()) else { return };
        // linux/io_uring.h: IORING_CQE_F_BUFFER is the first flag, the buffer's number is above 16 of them.
        let flagged = |buffer: u16| 1 | u32::from(buffer) << 16;
        for (result, flags) in [(1, 0), (0, 0), (-libc::ENOBUFS, 0), (1, flagged(AT_FIRST))] {
            assert!(provided.take(result, flags).is_none(), "{result} {flags}");
        }
        // What a failed receive has used is given back.
        let before = provided.tail.get();
        for result in [-libc::ECANCELED, 0] {
            assert_eq!(provided.take(result, flagged(0)).map(|piece| piece.len()), Some(0), "{result}");
        }
        assert_eq!(provided.tail.get(), before + 2);
    }
}
