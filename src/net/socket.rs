//! A connected socket: receives and sends that never wait, and waits for the moment when they can go on.
//!
//! They are for epoll; where there is a ring, [`ring_transport`](super::ring_transport) carries the bytes, and needs no more of this than the
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
#[cfg(test)]
use super::memory::{self, End};
use super::sys;
use crate::buffer::{Output, Pool};

/// A connected socket.
pub struct Socket {
    /// With epoll, once it was waited for; in a box, for a ring needs none. Dropped before the descriptor is closed.
    source: OnceCell<Box<Source>>,
    means: Means,
}

/// The transport below a socket.
enum Means {
    Kernel(Descriptor),
    #[cfg(test)]
    Memory(End),
}

/// A connected socket that no loop has taken over, and that another worker may.
#[derive(Debug)]
#[cfg_attr(test, allow(private_interfaces, reason = "in tests there is another kind"))]
pub enum Unowned {
    /// A connected socket of the kernel.
    Kernel(OwnedFd),
    /// An end in memory.
    #[cfg(test)]
    Memory(memory::Released),
}

impl From<OwnedFd> for Unowned {
    fn from(descriptor: OwnedFd) -> Unowned {
        Unowned::Kernel(descriptor)
    }
}

impl Socket {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// When it cannot be set up for this loop.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Socket> {
        Ok(Socket { source: OnceCell::new(), means: Means::Kernel(Descriptor::new(descriptor)) })
    }

    /// Takes over one that another worker has accepted.
    ///
    /// # Errors
    /// When it cannot be set up for this loop.
    pub fn take_over(socket: Unowned) -> io::Result<Socket> {
        match socket {
            Unowned::Kernel(descriptor) => Socket::adopt(descriptor),
            #[cfg(test)]
            Unowned::Memory(released) => memory::of_this_thread().adopt(&released).map(Socket::in_memory),
        }
    }

    /// A socket of the network in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(end: End) -> Socket {
        Socket { source: OnceCell::new(), means: Means::Memory(end) }
    }

    /// Lets go of it, for another worker to take over. Nothing may have been done with it yet.
    pub fn release(self) -> Unowned {
        // Before another worker has it.
        drop(self.source);
        match self.means {
            Means::Kernel(descriptor) => Unowned::Kernel(descriptor.release()),
            #[cfg(test)]
            Means::Memory(end) => Unowned::Memory(memory::of_this_thread().release(end)),
        }
    }

    /// Receives what has arrived into a buffer of `pool` that was taken. 0 is the peer's end.
    pub(super) fn receive(&self, pool: &Pool, buffer: u16) -> io::Result<usize> {
        #[cfg(test)]
        if let Means::Memory(end) = &self.means {
            let bytes = end.receive(Pool::SIZE)?;
            sys::tests::write(pool.address(buffer), &bytes);
            return Ok(bytes.len());
        }
        let result = sys::receive(self.descriptor(), pool, buffer);
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
        #[cfg(test)]
        if let Means::Memory(end) = &self.means {
            return end.send(output.parts(from));
        }
        /// More parts are left to the next send.
        const PARTS: usize = 64;
        let mut parts = [IoSlice::new(&[]); PARTS];
        let mut count = 0;
        for (slot, part) in parts.iter_mut().zip(output.parts(from)) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        SockRef::from(&self.descriptor()).send_vectored_with_flags(&parts[..count], flags)
    }

    /// Waits until there is something to receive: bytes, the peer's end, or an error. May be wrong now and then.
    pub(super) async fn readable(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Means::Memory(end) = &self.means {
            end.readable().await;
            return Ok(());
        }
        let source = self.source()?;
        poll_fn(|cx| source.poll_readable(cx)).await;
        Ok(())
    }

    /// Waits until the kernel takes bytes again. May be wrong now and then.
    pub(super) async fn writable(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Means::Memory(end) = &self.means {
            end.writable().await;
            return Ok(());
        }
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
        let source = epoll.source(self.descriptor())?;
        Ok(self.source.get_or_init(|| Box::new(source)))
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn shut(&self) {
        #[cfg(test)]
        if let Means::Memory(end) = &self.means {
            return end.shut();
        }
        // It fails where the connection has ended, which is as good.
        let _ = SockRef::from(&self.descriptor()).shutdown(Shutdown::Write);
    }

    /// Whether the peer's packets arrive at the CPU that this runs on.
    pub fn arrives_here(&self) -> bool {
        #[cfg(test)]
        if matches!(self.means, Means::Memory(_)) {
            return true;
        }
        sys::arrives_here(self.descriptor())
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.means {
            Means::Kernel(descriptor) => descriptor.as_fd(),
            #[cfg(test)]
            Means::Memory(_) => unreachable!("those in memory have none"),
        }
    }

    /// The number of its descriptor.
    pub(super) fn number(&self) -> RawFd {
        self.descriptor().as_raw_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.means {
            Means::Kernel(descriptor) => f.debug_tuple("Socket").field(descriptor).finish(),
            #[cfg(test)]
            Means::Memory(end) => f.debug_tuple("Socket").field(end).finish(),
        }
    }
}
