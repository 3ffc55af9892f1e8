//! A connected socket: receives and sends that never wait, and waits for the moment when they can go on.
//!
//! They are for epoll; where there is a ring, `carrier.rs` carries the bytes, and needs no more of this than the
//! descriptor.

use std::cell::OnceCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::SockRef;

use super::current::{Waits, current};
use super::descriptor::Descriptor;
use super::epoll::Source;
use super::sys;
use crate::buffer::{Output, Pool};

/// A connected socket.
pub struct Socket {
    /// With epoll, once it was waited for. Dropped before the descriptor is closed.
    source: OnceCell<Source>,
    descriptor: Descriptor,
}

impl Socket {
    /// Takes over a connected socket, which another worker may have accepted.
    ///
    /// # Errors
    /// When it cannot be set up for this loop.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Socket> {
        Ok(Socket { source: OnceCell::new(), descriptor: Descriptor::new(descriptor) })
    }

    /// Lets go of it, for another worker to take over. Nothing may have been done with it yet.
    pub fn release(self) -> OwnedFd {
        // Before another worker has it.
        drop(self.source);
        self.descriptor.release()
    }

    /// Receives what has arrived into a buffer of `pool` that was taken. 0 is the peer's end.
    pub(super) fn receive(&self, pool: &Pool, buffer: u16) -> io::Result<usize> {
        let result = sys::receive(self.descriptor.as_fd(), pool, buffer);
        if let Some(source) = self.source.get() {
            match &result {
                Ok(n) if *n < Pool::SIZE => source.read_short(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.not_readable(),
                _ => {}
            }
        }
        result
    }

    /// Sends as much as the kernel takes now of `output` without its first `from` bytes.
    pub(super) fn send(&self, output: &Output, from: usize) -> io::Result<usize> {
        /// More parts are left to the next send.
        const PARTS: usize = 64;
        let mut parts = [IoSlice::new(&[]); PARTS];
        let mut count = 0;
        for (slot, part) in parts.iter_mut().zip(output.parts(from)) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        SockRef::from(&self.descriptor.as_fd()).send_vectored_with_flags(&parts[..count], flags)
    }

    /// Waits until there is something to receive: bytes, the peer's end, or an error. May be wrong now and then.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let source = self.source()?;
        poll_fn(|cx| source.poll_readable(cx)).await;
        Ok(())
    }

    /// Waits until the kernel takes bytes again. May be wrong now and then.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let source = self.source()?;
        source.not_writable();
        poll_fn(|cx| source.poll_writable(cx)).await;
        Ok(())
    }

    fn source(&self) -> io::Result<&Source> {
        if let Some(source) = self.source.get() {
            return Ok(source);
        }
        let Waits::Epoll(epoll) = current().waits.clone() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let source = epoll.source(self.descriptor.as_fd())?;
        Ok(self.source.get_or_init(|| source))
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn shut(&self) {
        // It fails where the connection has ended, which is as good.
        let _ = SockRef::from(&self.descriptor.as_fd()).shutdown(Shutdown::Write);
    }

    /// Whether the peer's packets arrive at the CPU that this runs on.
    pub fn arrives_here(&self) -> bool {
        sys::arrives_here(self.descriptor.as_fd())
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The number of its descriptor.
    pub(super) fn number(&self) -> RawFd {
        self.descriptor.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.descriptor).finish()
    }
}
