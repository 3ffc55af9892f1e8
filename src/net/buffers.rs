//! Buffers that a worker lends to its connections.
//!
//! A connection holds a buffer only while bytes are in it or the kernel may write to it. Last in, first out, so that
//! the next connection writes where the caches are warm.

use std::cell::RefCell;
use std::fmt;

/// Bytes of a small buffer: what an idle connection keeps posted to receive into.
pub const SMALL: usize = 4 * 1024;

/// Bytes of a large buffer: what one send carries at most, and one receive of a busy connection.
pub const LARGE: usize = 64 * 1024;

/// Buffers of either size that are kept for the next connection; more are freed.
const KEPT_SMALL: usize = 1024;
const KEPT_LARGE: usize = 256;

/// The free buffers of one worker.
#[derive(Default)]
pub struct Buffers {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// None yet; they are made as they are needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for [`SMALL`] bytes.
    pub fn small(&self) -> Vec<u8> {
        self.small.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SMALL))
    }

    /// An empty buffer with room for [`LARGE`] bytes.
    pub fn large(&self) -> Vec<u8> {
        self.large.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(LARGE))
    }

    /// Takes a buffer back, of whatever size.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let (list, kept) = match buffer.capacity() {
            LARGE => (&self.large, KEPT_LARGE),
            SMALL => (&self.small, KEPT_SMALL),
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < kept {
            list.push(buffer);
        }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (small, large) = (self.small.borrow().len(), self.large.borrow().len());
        f.debug_struct("Buffers").field("small", &small).field("large", &large).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_came_back_is_lent_again_and_empty() {
        let buffers = Buffers::new();
        for (take, size) in [(Buffers::small as fn(&Buffers) -> Vec<u8>, SMALL), (Buffers::large, LARGE)] {
            let mut buffer = take(&buffers);
            assert_eq!(buffer.capacity(), size);
            buffer.push(1);
            let address = buffer.as_ptr();
            buffers.give(buffer);
            let again = take(&buffers);
            assert_eq!((again.as_ptr(), again.len(), again.capacity()), (address, 0, size));
        }
    }

    #[test]
    fn only_a_bounded_number_is_kept() {
        let buffers = Buffers::new();
        for _ in 0..KEPT_SMALL + 10 {
            buffers.give(Vec::with_capacity(SMALL));
        }
        assert_eq!(buffers.small.borrow().len(), KEPT_SMALL);
    }
}
