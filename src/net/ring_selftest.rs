//! Checks that a ring does all that the transport ([`ring_transport`](super::ring_transport)) relies on.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use socket2::SockRef;

use super::buffer_ring::{BufferRing, GROUP};
use super::buffers::Buffers;

const RECEIVE: u64 = 0;
const SEND: u64 = 1;
const NOTHING: u64 = 2;

/// Tries the transport's operations on a ring of this thread: receives that stay posted, and sends that complete with a
/// CQE only when they fall short.
///
/// # Errors
/// The kernel's error, or a description of its unexpected behaviour.
pub(super) fn carrying(ring: IoUring) -> io::Result<()> {
    let buffer_ring = BufferRing::register(ring.as_raw_fd(), Rc::new(Buffers::new()))?;
    let mut ring = ring; // from here on it is dropped before the buffers
    let (near, far) = UnixStream::pair()?;
    SockRef::from(&far).set_send_buffer_size(64 * 1024)?;
    let send = |from: &UnixStream, bytes: &[u8]| {
        opcode::Send::new(types::Fd(from.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
    };
    let few = [7; 16];
    let many = vec![0; 1 << 20];
    let receive = opcode::RecvMulti::new(types::Fd(far.as_raw_fd()), GROUP).build().user_data(RECEIVE);
    for (entries, expected, completions) in [
        ([receive, send(&near, &few).user_data(SEND)], RECEIVE, 1),
        // Nobody receives at that end, so this is more than it takes. Something is told in any case.
        ([send(&far, &many).user_data(SEND), opcode::Nop::new().build().user_data(NOTHING)], SEND, 2),
    ] {
        // WHY UNSAFE: any entry might point to something.
        // SAFETY: what these point to lives to the end of this function, and the kernel is done with it when it has
        // taken the submission.
        unsafe { ring.submission().push_multiple(&entries) }.map_err(io::Error::other)?;
        ring.submit_and_wait(completions)?;
        let told: Vec<_> =
            ring.completion().map(|told| (told.user_data(), told.result(), told.flags())).collect();
        let as_expected = match told[..] {
            [(RECEIVE, result, flags)] if expected == RECEIVE => {
                cqueue::more(flags) && buffer_ring.take(result, flags).is_some_and(|slice| *slice == few)
            }
            [(SEND, result, _), (NOTHING, ..)] if expected == SEND => {
                (1..many.len() as i32).contains(&result)
            }
            _ => false,
        };
        if !as_expected {
            return Err(io::Error::other(format!("the ring carries bytes in another way: {told:?}")));
        }
    }
    Ok(())
}
