//! [`Messages`]: the memory that a send of several parts points to until the kernel has taken it.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ptr::null_mut;

use io_uring::{opcode, types};

use crate::buffer::Output;

/// The most parts of one `sendmsg` (`UIO_MAXIOV`); more are left to the next.
const PARTS_MAX: usize = 1024;

/// The headers of all sends that were put into the ring and that the kernel has not taken yet. It copies them as it takes
/// a submission (`IORING_FEAT_SUBMIT_STABLE`, Linux 5.5), so that they are used again for the next ones.
#[derive(Default)]
pub(super) struct Messages {
    #[allow(clippy::vec_box, reason = "the kernel knows where each is")]
    all: RefCell<Vec<Box<Message>>>,
    used: Cell<usize>,
}

struct Message {
    header: libc::msghdr,
    parts: Vec<libc::iovec>,
}

/// A send that is to be put into the ring.
pub(super) struct Send {
    pub(super) entry: io_uring::squeue::Entry,
    /// Bytes that it carries.
    pub(super) bytes: usize,
}

impl Messages {
    /// The operation that sends `output` without its first `from` bytes.
    ///
    /// The memory behind the entry stays as it is until [`Messages::taken`] is called. `output` must live on as long.
    pub(super) fn send(&self, socket: types::Fd, output: &Output, from: usize, flags: i32) -> Send {
        let mut parts = output.parts(from);
        let first = parts.next().unwrap_or_default();
        let Some(second) = parts.next() else {
            let entry = opcode::Send::new(socket, first.as_ptr(), first.len() as u32).flags(flags).build();
            return Send { entry, bytes: first.len() };
        };
        let mut all = self.all.borrow_mut();
        if all.len() == self.used.get() {
            all.push(Box::new(Message::new()));
        }
        let message = &mut all[self.used.replace(self.used.get() + 1)];
        message.parts.clear();
        let mut bytes = 0;
        for part in [first, second].into_iter().chain(parts).take(PARTS_MAX) {
            bytes += part.len();
            let base = part.as_ptr().cast_mut().cast();
            message.parts.push(libc::iovec { iov_base: base, iov_len: part.len() });
        }
        message.header.msg_iov = message.parts.as_mut_ptr();
        message.header.msg_iovlen = message.parts.len() as _;
        let entry = opcode::SendMsg::new(socket, &raw const message.header).flags(flags as u32).build();
        Send { entry, bytes }
    }

    /// The kernel has taken all submissions.
    pub(super) fn taken(&self) {
        self.used.set(0);
    }
}

impl Message {
    fn new() -> Message {
        // WHY UNSAFE: the structure has padding that differs from one libc to the next, so it has no constructor.
        // SAFETY: zeros are a header without name, parts and control data.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = null_mut();
        Message { header, parts: Vec::new() }
    }
}
