//! The beginning of a request's body, kept so that it can be sent again if the upstream refuses it unseen.
//!
//! Kept chunks refer to the buffers that they were received in. Later calls reuse the lists.

use std::cell::RefCell;

use crate::buffer::Slice;

/// Lists that wait for the next call; more are freed.
const SPARE_MAX: usize = 1024;

/// Slices that a spare list has room for; longer ones are freed.
const ROOM_MAX: usize = 64;

/// The beginning of a body.
#[derive(Debug, Default)]
pub(in crate::worker) struct ReplayBuffer {
    chunks: Vec<Slice>,
    bytes: usize,
    bytes_max: usize,
    /// Chunks are kept from now on.
    has_begun: bool,
    /// More was sent than is kept.
    exceeded: bool,
}

impl ReplayBuffer {
    /// Keeps chunks from now on, up to so many bytes.
    pub(in crate::worker) fn begin(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.has_begun = true;
    }

    /// Keeps a chunk, while there is room for all of them.
    pub(in crate::worker) fn add(&mut self, chunk: &Slice) {
        self.bytes += chunk.len();
        if self.bytes <= self.bytes_max && !self.exceeded {
            self.chunks.push(chunk.clone());
        } else {
            self.exceeded = true;
            self.chunks.clear();
        }
    }

    /// Keeps a chunk that has not been sent yet: it is here until it is, even if there is no room for it.
    pub(in crate::worker) fn hold(&mut self, chunk: Slice) {
        self.bytes += chunk.len();
        self.exceeded |= self.bytes > self.bytes_max;
        self.chunks.push(chunk);
    }

    /// Drops the chunks, all of which have been sent, if the body does not fit.
    pub(in crate::worker) fn forget_if_exceeded(&mut self) {
        if self.exceeded {
            self.chunks.clear();
        }
    }

    /// Gives up repetition. `unsent`: some chunks have not been sent yet.
    pub(in crate::worker) fn forget(&mut self, unsent: bool) {
        self.exceeded = true;
        if !unsent {
            self.chunks.clear();
        }
    }

    /// Whether all that was sent is here.
    pub(in crate::worker) fn is_whole(&self) -> bool {
        !self.exceeded && self.has_begun
    }

    pub(in crate::worker) fn chunks(&self) -> &[Slice] {
        &self.chunks
    }
}

/// Lists for kept chunks, which one call uses after the other.
#[derive(Debug, Default)]
pub(in crate::worker) struct ReplayBufferPool(RefCell<Vec<Vec<Slice>>>);

impl ReplayBufferPool {
    /// An empty list for one call.
    #[inline]
    pub(in crate::worker) fn take(&self) -> ReplayBuffer {
        ReplayBuffer { chunks: self.0.borrow_mut().pop().unwrap_or_default(), ..ReplayBuffer::default() }
    }

    /// Takes the list back.
    pub(in crate::worker) fn give(&self, kept: ReplayBuffer) {
        let mut chunks = kept.chunks;
        chunks.clear();
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE_MAX && chunks.capacity() <= ROOM_MAX {
            spare.push(chunks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_over_the_limit_is_not_kept() {
        let mut kept = ReplayBuffer::default();
        assert!(!kept.is_whole());
        kept.begin(10);
        kept.add(&Slice::copy_of(b"0123456789"));
        assert!(kept.is_whole());
        kept.add(&Slice::copy_of(b"x"));
        assert!(!kept.is_whole() && kept.chunks().is_empty());
    }

    #[test]
    fn a_list_is_empty_when_it_is_used_again() {
        let replays = ReplayBufferPool::default();
        let mut kept = replays.take();
        kept.begin(0);
        kept.add(&Slice::copy_of(b"x"));
        replays.give(kept);
        let kept = replays.take();
        assert!(!kept.is_whole() && kept.chunks().is_empty());
    }

    #[test]
    fn long_lists_are_not_kept() {
        let replays = ReplayBufferPool::default();
        let mut kept = replays.take();
        kept.begin(usize::MAX);
        for _ in 0..1000 {
            kept.hold(Slice::copy_of(b"x"));
        }
        replays.give(kept);
        assert_eq!(replays.take().chunks.capacity(), 0);
    }
}
