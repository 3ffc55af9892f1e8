//! A connected socket: receives and sends that never wait, and waits for the moment when they can go on.
//!
//! They are for epoll and for rings that cannot carry bytes themselves; where the worker's can, `carrier.rs` does that,
//! and needs no more of this than the descriptor.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use monoio::net::TcpStream;
use socket2::SockRef;

use super::sys;
use crate::buffer::{Output, Pool};

/// A connected socket.
pub struct Socket(pub(super) TcpStream);

impl Socket {
    /// Takes over a socket that the loop of another worker on the same rung has accepted.
    ///
    /// # Errors
    /// When it cannot be set up for this loop.
    pub fn adopt(fd: OwnedFd) -> io::Result<Socket> {
        TcpStream::from_std(std::net::TcpStream::from(fd)).map(Socket)
    }

    /// Lets go of it, for another worker to take over. Nothing may have been done with it yet.
    pub fn release(self) -> OwnedFd {
        sys::into_fd(self.0)
    }

    /// Receives what has arrived into a buffer of `pool` that was taken. 0 is the peer's end.
    pub(super) fn receive(&self, pool: &Pool, buffer: u16) -> io::Result<usize> {
        self.with(|fd| sys::receive(fd, pool, buffer))
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
        self.with(|fd| SockRef::from(&fd).send_vectored_with_flags(&parts[..count], flags))
    }

    /// Waits until there is something to receive: bytes, the peer's end, or an error. May be wrong now and then.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable(false).await
    }

    /// Waits until the kernel takes bytes again. May be wrong now and then.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.0.writable(false).await
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn shut(&self) {
        // It fails where the connection has ended, which is as good.
        let _ = self.with(|fd| SockRef::from(&fd).shutdown(Shutdown::Write));
    }

    /// Whether the peer's packets arrive at the CPU that this runs on.
    pub fn arrives_here(&self) -> bool {
        self.with(sys::arrives_here)
    }

    /// The number of its descriptor.
    pub(super) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn with<T>(&self, use_it: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        sys::with_fd(self.0.as_raw_fd(), use_it)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.0.as_raw_fd()).finish()
    }
}
