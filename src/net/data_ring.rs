//! The worker's ring: submissions go in during a turn, one `io_uring_enter` at its end submits them and waits.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use io_uring::{IoUring, opcode, squeue, types};

use super::ring::IoBackend;

/// `IORING_ENTER_GETEVENTS` (linux/io_uring.h).
const GETEVENTS: u32 = 1;

/// A CQE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: Tag,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// The user data of an operation, which its completion brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) kind: Kind,
    pub(super) key: usize,
}

/// Kinds of operations. The key belongs to a connection for the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Receive,
    Send,
    /// The end of a receive.
    Cancel,
    /// An operation that a future waits for.
    Awaited,
    /// An operation whose CQE is ignored.
    Ignored,
}

const KIND_BITS: u32 = 3;

impl Tag {
    /// The tag of operations whose CQE is ignored.
    pub(super) const IGNORED: Tag = Tag { kind: Kind::Ignored, key: 0 };

    const fn pack(self) -> u64 {
        (self.key as u64) << KIND_BITS | self.kind as u64
    }

    fn unpack(user_data: u64) -> Tag {
        let kind = match user_data & ((1 << KIND_BITS) - 1) {
            0 => Kind::Receive,
            1 => Kind::Send,
            2 => Kind::Cancel,
            3 => Kind::Awaited,
            _ => Kind::Ignored,
        };
        Tag { kind, key: (user_data >> KIND_BITS) as usize }
    }
}

/// A worker's io_uring. It never leaves its thread.
pub(super) struct DataRing {
    /// None once it was closed.
    ring: RefCell<Option<IoUring>>,
    backend: IoBackend,
    /// Its completions are read into this.
    completions: RefCell<Vec<Completion>>,
    /// The kernel did not take all submissions: the next enter must not wait.
    refused: Cell<bool>,
}

impl DataRing {
    /// Takes over a ring that this thread has built on `backend`.
    pub(super) fn new(ring: IoUring, backend: IoBackend) -> DataRing {
        DataRing {
            ring: RefCell::new(Some(ring)),
            backend,
            completions: RefCell::default(),
            refused: Cell::new(false),
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.ring.borrow().as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Closes the ring. The kernel cancels the operations that wait in it.
    pub(super) fn close(&self) {
        self.ring.borrow_mut().take();
    }

    /// Whether the kernel carries an operation out while it takes its submission. Then all its CQEs are known once no
    /// submission waits.
    pub(super) fn submits_inline(&self) -> bool {
        self.backend != IoBackend::SubmissionThread
    }

    /// Puts an operation into the ring; it leaves with the next enter.
    ///
    /// # Errors
    /// When the ring is full and the kernel takes nothing before its completions have been read.
    ///
    /// # Safety
    /// Data that the entry points to must stay valid until the operation is done, headers until the kernel has taken it.
    pub(super) unsafe fn push(&self, entry: squeue::Entry, tag: Tag) -> io::Result<()> {
        let entry = entry.user_data(tag.pack());
        let mut ring = self.ring.borrow_mut();
        let ring = ring.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if ring.submission().is_full() {
            ring.submit().map_err(|_| {
                self.refused.set(true);
                io::ErrorKind::WouldBlock
            })?;
        }
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: the caller sees to that.
        unsafe { ring.submission().push(&entry) }.map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    /// Ends the next wait at once.
    pub(super) fn wake_with_nop(&self) {
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: this one does not. If it cannot be put into the ring, then the ring is full and will not wait.
        let _ = unsafe { self.push(opcode::Nop::new().build(), Tag::IGNORED) };
    }

    /// Asks the kernel to end the operation `target`, which completes all the same. The cancel completes, as `tag`,
    /// only if it fails.
    pub(super) fn cancel(&self, target: Tag, tag: Tag) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(target.pack()).build().flags(squeue::Flags::SKIP_SUCCESS);
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: this one does not.
        unsafe { self.push(entry, tag) }
    }

    /// Closes a descriptor after all operations that were put into the ring before. Closed at once, its number could
    /// become that of another file before the kernel takes those that name it.
    pub(super) fn close_descriptor(&self, descriptor: OwnedFd) {
        let entry = opcode::Close::new(types::Fd(descriptor.as_raw_fd())).build();
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: this one does not, and closes a descriptor that is ours and that nobody closes besides.
        match unsafe { self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), Tag::IGNORED) } {
            Ok(()) => _ = descriptor.into_raw_fd(),
            Err(_) => self.submit(),
        }
    }

    /// Submits all entries of the ring, and waits for a CQE if `waits`. Each CQE is passed to `tell`. True when no
    /// submission waits, and no CQE is unread: an operation without a CQE by now has not failed.
    /// failed.
    pub(super) fn turn(&self, waits: bool, mut tell: impl FnMut(Completion)) -> bool {
        self.enter(waits && !self.refused.get());
        let mut completions = self.completions.take();
        let mut borrowed = self.ring.borrow_mut();
        let Some(ring) = borrowed.as_mut() else { return true };
        completions.extend(ring.completion().map(|entry| Completion {
            tag: Tag::unpack(entry.user_data()),
            result: entry.result(),
            flags: entry.flags(),
        }));
        let submission = ring.submission();
        let settled = submission.is_empty() && !submission.cq_overflow();
        drop(submission);
        drop(borrowed);
        completions.drain(..).for_each(&mut tell);
        *self.completions.borrow_mut() = completions;
        settled
    }

    /// Submits the entries of the ring, without a wait and without a look at CQEs.
    pub(super) fn submit(&self) {
        self.enter(false);
    }

    fn enter(&self, waits: bool) {
        let mut ring = self.ring.borrow_mut();
        let Some(ring) = ring.as_mut() else { return };
        let result = if self.submits_inline() {
            let submit = ring.submission().len() as u32;
            // WHY UNSAFE: the crate asks for deferred completions only where it waits.
            // SAFETY: no argument is passed, and what was pushed is valid as its pushers promised.
            unsafe { ring.submitter().enter::<libc::sigset_t>(submit, waits.into(), GETEVENTS, None) }
        } else {
            ring.submit_and_wait(waits.into())
        };
        // A signal ends a wait; a full ring of completions keeps the kernel from taking submissions until they are read.
        // Other errors concern one submission, and the others are taken with the next enter.
        self.refused.set(result.is_err());
    }
}

impl fmt::Debug for DataRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataRing").field("descriptor", &self.descriptor()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_kernel() {
        for kind in [Kind::Receive, Kind::Send, Kind::Cancel, Kind::Awaited, Kind::Ignored] {
            for key in [0, 1, 70_000, usize::MAX >> KIND_BITS] {
                let tag = Tag { kind, key };
                assert_eq!(Tag::unpack(tag.pack()), tag);
            }
        }
    }
}
