//! Operations that are not monoio's own, in the ring of this thread's runtime.

use std::{
    io,
    os::unix::prelude::{AsRawFd, RawFd},
    rc::Rc,
};

use io_uring::{opcode, squeue};

use super::UringInner;
use crate::driver::{Inner, CURRENT};

/// Marks the user data of foreign operations. Below it are monoio's own, whose reserved values are above all others.
pub(super) const MARK: u64 = 1 << 63;

/// Whoever puts operations into the ring beside monoio. It is told while the ring's completions are read, so it must
/// not put anything there itself, and must not panic.
pub trait Foreign {
    /// A completion of a foreign operation, with the user data it was put there with.
    fn complete(&self, user_data: u64, result: i32, flags: u32);

    /// All completions that there were have been told, and all operations that were put into the ring before have been
    /// taken by the kernel.
    fn settled(&self);
}

/// The descriptor of the ring of this thread's runtime.
///
/// # Errors
/// When this thread runs no runtime with a ring.
pub fn descriptor() -> io::Result<RawFd> {
    with_ring(|inner| Ok(inner.uring.as_raw_fd()))
}

/// Lets `foreign` be told of its operations from now on. It is dropped after the ring.
///
/// # Errors
/// When this thread runs no runtime with a ring.
pub fn attach(foreign: Rc<dyn Foreign>) -> io::Result<()> {
    with_ring(|inner| {
        inner.foreign = Some(foreign);
        Ok(())
    })
}

/// Puts an operation into the ring of this thread's runtime; it leaves with all others. `user_data` must be below 2^62.
///
/// # Errors
/// When this thread runs no runtime with a ring; `WouldBlock` when the ring is full and the kernel takes nothing now.
///
/// # Safety
/// What the entry points to must stay valid until the kernel is done with it.
pub unsafe fn push(entry: squeue::Entry, user_data: u64) -> io::Result<()> {
    with_ring(|inner| inner.push(entry.user_data(user_data | MARK)))
}

/// Asks the kernel to end the foreign operation `target`, which completes all the same. Completes
/// itself, as `user_data`, only if that fails.
///
/// # Errors
/// When this thread runs no runtime with a ring; `WouldBlock` when the ring is full and the kernel takes nothing now.
pub fn cancel(target: u64, user_data: u64) -> io::Result<()> {
    let entry = opcode::AsyncCancel::new(target | MARK).build().flags(squeue::Flags::SKIP_SUCCESS);
    unsafe { push(entry, user_data) }
}

/// Lets the kernel take what is in the ring, without waiting and without a look at completions.
///
/// # Errors
/// When this thread runs no runtime with a ring, or what the kernel says.
pub fn submit() -> io::Result<()> {
    with_ring(|inner| inner.uring.submit().map(|_| ()))
}

fn with_ring<T>(use_it: impl FnOnce(&mut UringInner) -> io::Result<T>) -> io::Result<T> {
    if !CURRENT.is_set() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    CURRENT.with(|inner| match inner {
        Inner::Uring(this) => use_it(unsafe { &mut *this.get() }),
        #[cfg(feature = "legacy")]
        Inner::Legacy(_) => Err(io::ErrorKind::Unsupported.into()),
    })
}

impl UringInner {
    // Unlike `submit` it does not look at completions: whoever pushes must not be told of any meanwhile.
    unsafe fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        if self.uring.submission().is_full() {
            self.uring.submit().map_err(|_| io::ErrorKind::WouldBlock)?;
        }
        self.uring.submission().push(&entry).map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    pub(super) fn tell_settled(&mut self) {
        if let Some(foreign) = &self.foreign {
            let sq = self.uring.submission();
            // Completions that found no room are told when the kernel has put them into the ring.
            if sq.is_empty() && !sq.cq_overflow() {
                foreign.settled();
            }
        }
    }
}
