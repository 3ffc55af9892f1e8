//! Bytes of one stream that have come and that nobody has taken yet.

use std::collections::VecDeque;

use crate::buffer::Slice;

/// Pieces smaller than this are merged while they wait, so that a byte that came alone does not keep a buffer, nor
/// cost the room of a slice.
const MERGED_BELOW: usize = 4 * 1024;

/// Bytes of one merged piece.
const MERGED: usize = 16 * 1024;

/// Room for slices that an empty queue keeps.
const KEPT: usize = 8;

/// The pieces of a body in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The first piece, which most bodies have alone.
    first: Slice,
    more: VecDeque<Slice>,
    /// Small or scarce pieces behind all of these, merged into one.
    merged: Vec<u8>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Adds a piece that is not empty.
    pub(super) fn push(&mut self, slice: Slice) {
        if self.first.is_empty() {
            self.first = slice.spare();
            return;
        }
        if slice.len() < MERGED_BELOW || slice.is_scarce() {
            if self.merged.len() + slice.len() > MERGED {
                self.close_merged();
            }
            self.merged.extend_from_slice(&slice);
            return;
        }
        self.close_merged();
        self.more.push_back(slice);
    }

    /// Takes the next piece.
    pub(super) fn pop(&mut self) -> Option<Slice> {
        if self.first.is_empty() {
            return None;
        }
        if self.more.is_empty() {
            self.close_merged();
        }
        let next = self.more.pop_front().unwrap_or_default();
        Some(std::mem::replace(&mut self.first, next))
    }

    /// Drops all pieces, and memory beyond what is usual.
    #[inline]
    pub(super) fn clear(&mut self) {
        // Nothing follows where nothing is first, and most queues never held more.
        if !self.first.is_empty() || self.more.capacity() > 0 {
            self.clear_all();
        }
    }

    fn clear_all(&mut self) {
        self.first = Slice::default();
        self.merged = Vec::new();
        if self.more.capacity() > KEPT {
            self.more = VecDeque::new();
        } else {
            self.more.clear();
        }
    }

    fn close_merged(&mut self) {
        if !self.merged.is_empty() {
            self.more.push_back(std::mem::take(&mut self.merged).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;

    fn popped(queue: &mut Queue) -> (usize, Vec<u8>) {
        let pieces: Vec<Slice> = std::iter::from_fn(|| queue.pop()).collect();
        (pieces.len(), pieces.iter().flat_map(|piece| piece.to_vec()).collect())
    }

    #[test]
    fn bytes_come_out_in_order_whatever_their_pieces() {
        let sizes = [1, 5000, 1, 1, 20_000, 3, 4095, 4096, 16_000, 4000, 1];
        let mut queue = Queue::default();
        let mut whole = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            let piece = vec![number as u8; size];
            whole.extend_from_slice(&piece);
            queue.push(Slice::from(piece));
        }
        assert_eq!(popped(&mut queue).1, whole);
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn tiny_pieces_are_merged() {
        let mut queue = Queue::default();
        for _ in 0..100_000 {
            queue.push(Slice::from(vec![7]));
        }
        let (pieces, bytes) = popped(&mut queue);
        assert_eq!((pieces, bytes.len()), (1 + 99_999_usize.div_ceil(MERGED), 100_000));
        queue.clear();
        assert!(queue.more.capacity() <= KEPT && queue.merged.capacity() == 0);
    }

    #[test]
    fn few_buffers_are_not_held() {
        let pool = Pool::new(1);
        let owner = pool.filled(pool.take().expect("it is free"), Pool::SIZE);
        let mut queue = Queue::default();
        queue.push(Slice::of_buffer(owner, 9000));
        assert_eq!(pool.free(), 1);
        assert_eq!(popped(&mut queue), (1, vec![0; 9000]));
    }
}
