//! Buffers that a worker lends to its connections.
//!
//! A connection holds a buffer only while bytes are in it. Last in, first out, so that the next connection writes where
//! the caches are warm.

use std::cell::RefCell;
use std::fmt;

/// Bytes of a buffer of each size, and how many free ones are kept for the next connection; more are freed.
const SIZES: [(usize, usize); 4] = [(1024, 1024), (8 * 1024, 512), (64 * 1024, 256), (LARGEST, 64)];

/// What one send carries at most, and one receive.
pub const LARGEST: usize = 256 * 1024;

/// The free buffers of one worker, a list for each size.
#[derive(Default)]
pub struct Buffers {
    free: [RefCell<Vec<Vec<u8>>>; SIZES.len()],
}

impl Buffers {
    /// None yet; they are made as they are needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer of the smallest size that has room for `bytes`; the largest if none has.
    pub fn lend(&self, bytes: usize) -> Vec<u8> {
        let class = SIZES.iter().position(|(size, _)| bytes <= *size).unwrap_or(SIZES.len() - 1);
        self.free[class].borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SIZES[class].0))
    }

    /// Takes a buffer back, of whatever size.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let Some(class) = SIZES.iter().position(|(size, _)| buffer.capacity() == *size) else { return };
        let mut free = self.free[class].borrow_mut();
        if free.len() < SIZES[class].1 {
            free.push(buffer);
        }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.free.iter().map(|free| free.borrow().len())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_the_smallest_size_that_fits() {
        let buffers = Buffers::new();
        for (bytes, size) in [
            (0, 1024),
            (1024, 1024),
            (1025, 8192),
            (8193, 65536),
            (65536, 65536),
            (65537, 262_144),
            (1 << 20, 262_144),
        ] {
            assert_eq!(buffers.lend(bytes).capacity(), size, "{bytes}");
        }
    }

    #[test]
    fn a_buffer_that_came_back_is_lent_again_and_empty() {
        let buffers = Buffers::new();
        for (size, _) in SIZES {
            let mut buffer = buffers.lend(size);
            buffer.push(1);
            let address = buffer.as_ptr();
            buffers.give(buffer);
            let again = buffers.lend(size);
            assert_eq!((again.as_ptr(), again.len(), again.capacity()), (address, 0, size));
        }
    }

    #[test]
    fn only_a_bounded_number_is_kept() {
        let buffers = Buffers::new();
        for (class, (size, kept)) in SIZES.into_iter().enumerate() {
            for _ in 0..kept + 10 {
                buffers.give(Vec::with_capacity(size));
            }
            assert_eq!(buffers.free[class].borrow().len(), kept);
        }
    }
}
