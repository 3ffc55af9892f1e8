//! Buffers that the kernel takes by itself when bytes arrive, so that a connection that waits for some holds none.
//!
//! They stand in a ring of their own (`io_uring_register(2)`, `IORING_REGISTER_PBUF_RING`): the kernel takes from its
//! head, we put free ones of the worker's pool at its tail before each wait. Few stand there at first, so that the same
//! few are used over and over and stay in the caches; when a receive finds none, more are put there from then on.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::cqueue;
use io_uring::types::BufRingEntry;

use super::buffers::{Buffers, POOL_BUFFERS};
use super::sys;
use crate::buffer::{Pool, Slice};

/// Entries of the ring: it never holds more buffers than there are.
const ENTRIES: u16 = POOL_BUFFERS;

/// As many stand there at first.
const AT_FIRST: u16 = 8;

const BYTES: usize = ENTRIES as usize * size_of::<BufRingEntry>();

/// The number by which the kernel knows the ring of buffers.
pub(super) const GROUP: u16 = 0;

/// The ring of buffers of one ring.
pub(super) struct BufferRing {
    buffers: Rc<Buffers>,
    entries: NonNull<BufRingEntry>,
    /// Buffers that should stand in the ring when the worker waits.
    wanted: Cell<u16>,
    /// Buffers that stand there.
    standing: Cell<u16>,
    /// Entries written so far, modulo 2^16.
    tail: Cell<u16>,
}

const _: () = assert!(Pool::SIZE <= u32::MAX as usize && ENTRIES.is_power_of_two() && AT_FIRST <= ENTRIES);

impl BufferRing {
    /// Registers the first buffers with `ring`, which must be this thread's.
    ///
    /// # Errors
    /// When the kernel knows no rings of buffers (Linux 5.19), or memory is short.
    pub(super) fn register(ring: RawFd, buffers: Rc<Buffers>) -> io::Result<BufferRing> {
        // WHY UNSAFE: the kernel reads here while no Rust reference to it exists, so it is no Vec.
        // SAFETY: a new mapping that overlaps nothing. Its pages are zeros.
        let memory = unsafe {
            libc::mmap(
                null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let entries = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let (wanted, standing, tail) = (Cell::new(AT_FIRST), Cell::new(0), Cell::new(0));
        let buffer_ring = BufferRing { buffers, entries, wanted, standing, tail };
        sys::provide_buffers(ring, entries.as_ptr() as u64, ENTRIES, GROUP)?;
        buffer_ring.refill();
        Ok(buffer_ring)
    }

    /// Lets as many more buffers stand in the ring, for so many receives found none.
    pub(super) fn grow(&self, more: u16) {
        self.wanted.set(self.wanted.get().saturating_add(more).min(ENTRIES));
    }

    /// Puts free buffers into the ring until as many stand there as should. To be called before each wait.
    pub(super) fn refill(&self) {
        let from = self.tail.get();
        while self.standing.get() < self.wanted.get()
            && let Some(buffer) = self.buffers.pool().take()
        {
            self.write(buffer);
        }
        if self.tail.get() == from {
            return;
        }
        // WHY UNSAFE: the entries are shared with the kernel.
        // SAFETY: the tail is within the first entry, where nothing else is kept, lives as long as the mapping, and is
        // never written otherwise. The kernel reads it with acquire.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail.get(), Ordering::Release);
    }

    /// How many buffers stand in the ring.
    pub(super) fn standing(&self) -> u16 {
        self.standing.get()
    }

    /// The bytes that a receive has brought, by the result and the flags of its completion as the kernel gave them. One
    /// that failed may have used a buffer, too, which is free again then.
    pub(super) fn take(&self, result: i32, flags: u32) -> Option<Slice> {
        let buffer = cqueue::buffer_select(flags).filter(|buffer| *buffer < ENTRIES)?;
        self.standing.set(self.standing.get() - 1);
        self.buffers.received(buffer, usize::try_from(result).unwrap_or(0))
    }

    fn write(&self, buffer: u16) {
        let tail = self.tail.get();
        // WHY UNSAFE: the entries are shared with the kernel.
        // SAFETY: the entry is within the ring, which is aligned to a page. The kernel reads no entry before the tail
        // has passed it, and has taken this one: no more buffers are in the ring than it has entries.
        let entry = unsafe { self.entries.add(usize::from(tail % ENTRIES)).as_mut() };
        entry.set_addr(self.buffers.pool().address(buffer).as_ptr() as u64);
        entry.set_len(Pool::SIZE as u32);
        entry.set_bid(buffer);
        self.tail.set(tail.wrapping_add(1));
        self.standing.set(self.standing.get() + 1);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // WHY UNSAFE: see `register`.
        // SAFETY: the mapping is ours, and nothing refers to it any more. Its owner drops it after the ring, or enters
        // the ring no more: the receives that wait are cancelled when it is closed, and write nothing.
        unsafe { libc::munmap(self.entries.as_ptr().cast(), BYTES) };
    }
}

impl fmt::Debug for BufferRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferRing").field("standing", &self.standing.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use io_uring::{IoUring, opcode, types};

    use super::super::required;
    use super::*;

    fn buffer_ring(ring: &IoUring) -> Option<(BufferRing, Rc<Buffers>)> {
        let buffers = Rc::new(Buffers::new());
        let buffer_ring = BufferRing::register(ring.as_raw_fd(), Rc::clone(&buffers));
        Some((buffer_ring.map_err(required::skip).ok()?, buffers))
    }

    #[test]
    fn bytes_stay_where_the_kernel_put_them_until_the_slice_is_dropped() {
        let Some(mut ring) = required::ring() else { return };
        let Some((buffer_ring, buffers)) = buffer_ring(&ring) else { return };
        let (mut from, to) = UnixStream::pair().expect("two descriptors");
        let receive = opcode::RecvMulti::new(types::Fd(to.as_raw_fd()), GROUP).build();
        // SAFETY: the entry points to nothing, and `to` is open until the ring is closed.
        unsafe { ring.submission().push(&receive).expect("an empty ring has room") };
        ring.submit().expect("the ring takes it");
        let texts: Vec<_> = (0..3 * AT_FIRST).map(|n| vec![n as u8; 100 + usize::from(n)]).collect();
        let mut slices = Vec::new();
        for text in &texts {
            from.write_all(text).expect("it fits");
            buffer_ring.refill();
            ring.submit_and_wait(1).expect("the ring waits");
            let completion = ring.completion().next().expect("one was waited for");
            if completion.result() == -libc::EINVAL {
                return required::skip("receives bring one buffer");
            }
            slices.push(buffer_ring.take(completion.result(), completion.flags()).expect("bytes have come"));
        }
        assert!(slices.iter().zip(&texts).all(|(slice, text)| **slice == *text && slice.is_pooled()));
        let held = slices.len();
        assert_eq!(buffers.pool().idle(), usize::from(POOL_BUFFERS) - held);
        drop(slices);
        assert_eq!(buffers.pool().idle(), usize::from(POOL_BUFFERS));
    }

    #[test]
    fn no_more_buffers_are_given_than_the_ring_has_entries() {
        let Some(ring) = required::ring() else { return };
        let Some((buffer_ring, buffers)) = buffer_ring(&ring) else { return };
        assert_eq!(buffer_ring.standing(), AT_FIRST);
        for (more, standing) in [(1, AT_FIRST + 1), (ENTRIES, ENTRIES), (u16::MAX, ENTRIES)] {
            buffer_ring.grow(more);
            buffer_ring.refill();
            assert_eq!((buffer_ring.standing(), buffer_ring.tail.get()), (standing, standing));
        }
        assert_eq!((buffers.pool().free(), buffers.pool().take()), (0, None));
    }

    #[test]
    fn a_completion_without_bytes_brings_nothing_and_leaves_no_buffer_out() {
        let Some(ring) = required::ring() else { return };
        let Some((buffer_ring, _)) = buffer_ring(&ring) else { return };
        // linux/io_uring.h: IORING_CQE_F_BUFFER is the first flag, the buffer's number is above 16 of them.
        let flagged = |buffer: u16| 1 | u32::from(buffer) << 16;
        for (result, flags) in [(1, 0), (0, 0), (-libc::ENOBUFS, 0), (1, flagged(ENTRIES))] {
            assert!(buffer_ring.take(result, flags).is_none(), "{result} {flags}");
        }
        assert_eq!(buffer_ring.standing(), AT_FIRST);
        for (buffer, result) in [(0, -libc::ECANCELED), (1, 0)] {
            assert!(buffer_ring.take(result, flagged(buffer)).is_none(), "{result}");
        }
        assert_eq!(buffer_ring.standing(), AT_FIRST - 2);
        buffer_ring.refill();
        assert_eq!(buffer_ring.standing(), AT_FIRST);
    }
}
