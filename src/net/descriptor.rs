//! A socket's descriptor, and when it is closed.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use super::current::{Waits, current};
use super::data_ring::DataRing;

/// A descriptor that operations of the worker's ring may name. It is closed after them.
pub(super) struct Descriptor {
    /// There until it is dropped or released.
    descriptor: Option<OwnedFd>,
    ring: Option<Rc<DataRing>>,
}

impl Descriptor {
    /// Takes over a descriptor for the loop of this thread.
    pub(super) fn new(descriptor: OwnedFd) -> Descriptor {
        let ring = match &current().waits {
            Waits::Ring(operations) => Some(Rc::clone(operations.ring())),
            Waits::Epoll(_) => None,
            #[cfg(test)]
            Waits::Memory(_) => None,
        };
        Descriptor { descriptor: Some(descriptor), ring }
    }

    /// Lets go of it. No operation may name it.
    pub(super) fn release(mut self) -> OwnedFd {
        self.descriptor.take().expect("it is taken once")
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().expect("it has not been released").as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let (Some(descriptor), Some(ring)) = (self.descriptor.take(), &self.ring) {
            ring.close_descriptor(descriptor);
        }
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Descriptor").field(&self.descriptor.as_ref().map(AsRawFd::as_raw_fd)).finish()
    }
}
