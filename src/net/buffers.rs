//! Buffers that a worker lends to its connections.
//!
//! A connection holds a buffer only while bytes are in it. Last in, first out, so that the next connection writes where
//! the caches are warm.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::buffer::{Draft, Output, Pool, Slice};

/// Bytes of an output's own memory in each class, and how many free outputs are kept for the next connection; more are
/// freed.
const SIZES: [(usize, usize); 4] = [(1024, 1024), (8 * 1024, 512), (64 * 1024, 256), (LARGEST, 64)];

/// The most bytes that wait in a stage while a send is in flight.
pub const LARGEST: usize = 256 * 1024;

/// Buffers to receive into. A power of two, as a ring of provided buffers has to have.
pub(super) const POOL_BUFFERS: u16 = 256;

/// With fewer idle buffers, bytes that arrive are copied out of theirs. So slow readers never hold so many that nothing
/// can be received for others.
const RESERVE: usize = 32;

/// The buffers of one worker.
pub struct Buffers {
    pool: Rc<Pool>,
    outputs: [RefCell<Vec<Output>>; SIZES.len()],
}

impl Buffers {
    /// A pool whose memory costs nothing until it is used, and no outputs: they are made as they are needed.
    pub fn new() -> Self {
        Buffers { pool: Pool::new(POOL_BUFFERS), outputs: Default::default() }
    }

    /// Whether nothing holds a buffer of the pool.
    #[cfg(test)]
    pub(crate) fn are_idle(&self) -> bool {
        self.pool.idle() == self.pool.buffers()
    }

    /// The buffers that sockets receive into.
    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// The first `length` bytes of a buffer of the pool, which have been received into it. None if there are none, and
    /// the buffer is free then.
    pub(super) fn received(&self, buffer: u16, length: usize) -> Option<Slice> {
        if length == 0 {
            self.pool.give(buffer);
            return None;
        }
        let slice = Slice::of_buffer(self.pool.filled(buffer, length), length);
        Some(if self.pool.idle() < RESERVE { Slice::copy_of(&slice) } else { slice })
    }

    /// A buffer of the pool to be written to, unless they are few.
    pub(super) fn draft(&self) -> Option<Draft> {
        if self.pool.idle() > RESERVE { self.pool.draft() } else { None }
    }

    /// An empty output of the smallest class that has memory for `bytes`; of the largest if none has.
    pub(super) fn lend(&self, bytes: usize) -> Output {
        let class = SIZES.iter().position(|(size, _)| bytes <= *size).unwrap_or(SIZES.len() - 1);
        self.outputs[class].borrow_mut().pop().unwrap_or_else(|| Output::with_capacity(SIZES[class].0))
    }

    /// Takes an output back, whatever its memory has grown to.
    pub(super) fn give(&self, mut output: Output) {
        output.clear();
        let capacity = output.bytes().capacity();
        let Some(class) = SIZES.iter().rposition(|(size, _)| *size <= capacity) else { return };
        let mut free = self.outputs[class].borrow_mut();
        if free.len() < SIZES[class].1 && capacity <= 2 * LARGEST {
            free.push(output);
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outputs: Vec<_> = self.outputs.iter().map(|free| free.borrow().len()).collect();
        f.debug_struct("Buffers").field("pool", &self.pool).field("outputs", &outputs).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_has_the_smallest_size_that_fits() {
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
            assert_eq!(buffers.lend(bytes).bytes().capacity(), size, "{bytes}");
        }
    }

    #[test]
    fn an_output_that_came_back_is_lent_again_and_empty() {
        let buffers = Buffers::new();
        for (size, _) in SIZES {
            let mut output = buffers.lend(size);
            output.bytes().push(1);
            output.push(Slice::copy_of(&[2; 2000]));
            let address = output.bytes().as_ptr();
            buffers.give(output);
            let mut again = buffers.lend(size);
            assert_eq!((again.bytes().as_ptr(), again.len()), (address, 0));
        }
    }

    #[test]
    fn an_output_that_has_grown_is_kept_with_its_like() {
        let buffers = Buffers::new();
        let mut output = buffers.lend(0);
        output.bytes().extend_from_slice(&[0; 10_000]);
        let address = output.bytes().as_ptr();
        buffers.give(output);
        assert_eq!(buffers.lend(8192).bytes().as_ptr(), address);
    }

    #[test]
    fn only_a_bounded_number_is_kept() {
        let buffers = Buffers::new();
        for (class, (size, kept)) in SIZES.into_iter().enumerate() {
            for _ in 0..kept + 10 {
                buffers.give(Output::with_capacity(size));
            }
            assert_eq!(buffers.outputs[class].borrow().len(), kept);
        }
    }

    #[test]
    fn some_buffers_are_always_left_to_receive_into() {
        let buffers = Buffers::new();
        let fill = || buffers.received(buffers.pool().take().expect("one is free"), 5).expect("five bytes");
        let held: Vec<_> = (0..2 * usize::from(POOL_BUFFERS)).map(|_| fill()).collect();
        assert!(held.iter().all(|slice| slice.len() == 5));
        let pooled = held.iter().filter(|slice| slice.is_pooled()).count();
        assert_eq!(pooled, usize::from(POOL_BUFFERS) - RESERVE);
        drop(held);
        assert!(buffers.received(buffers.pool().take().expect("one is free"), 0).is_none());
        assert_eq!(buffers.pool().free(), usize::from(POOL_BUFFERS));
    }
}
