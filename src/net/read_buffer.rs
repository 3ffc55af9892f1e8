//! Bytes that have arrived and that the protocol has not taken.

use std::collections::VecDeque;

use tokio::io::ReadBuf;

use super::write_buffer::End;
use crate::buffer::Slice;

/// Room for slices that a connection keeps while it has none; more is freed.
const SLICES_KEPT: usize = 32;

/// Bytes from the peer. No memory is held while none wait.
#[derive(Default)]
pub(super) struct ReadBuffer {
    /// Slices of received bytes, in buffers or on the heap. None is empty.
    pub(super) slices: VecDeque<Slice>,
    /// A reader has looked at the bytes without taking them, and needs more of them.
    pub(super) too_few: bool,
    /// The reason why no more come.
    pub(super) end: Option<End>,
}

impl ReadBuffer {
    /// Bytes that wait for the protocol.
    pub(super) fn waiting(&self) -> usize {
        self.slices.iter().map(|slice| slice.len()).sum()
    }

    /// Whether no bytes wait.
    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Whether more should be received: the protocol has taken all that came, or cannot go on with what there is.
    pub(super) fn wants_more(&self) -> bool {
        self.end.is_none() && (self.is_empty() || self.too_few)
    }

    /// Adds received bytes, at least one.
    pub(super) fn arrived(&mut self, slice: Slice) {
        self.too_few = false;
        self.slices.push_back(slice);
    }

    /// Takes the first slice.
    pub(super) fn next(&mut self) -> Option<Slice> {
        self.slices.pop_front()
    }

    /// Puts bytes back that could not be taken after all: they come first again.
    pub(super) fn put_back(&mut self, slice: Slice) {
        self.slices.push_front(slice);
    }

    /// Drops all bytes that wait.
    pub(super) fn discard(&mut self) {
        self.slices.clear();
    }

    /// Copies bytes that the protocol leaves for later out of the worker's buffers, which others need.
    pub(super) fn keep(&mut self) {
        if self.slices.iter().any(Slice::is_pooled) {
            self.join();
        } else if self.is_empty() && self.slices.capacity() > SLICES_KEPT {
            self.slices = VecDeque::new();
        }
    }

    /// Gives back the room for slices, while there are none.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.slices = VecDeque::new();
        }
    }

    /// Copies as many bytes to the protocol as it has room for.
    pub(super) fn read(&mut self, room: &mut ReadBuf<'_>) {
        while let Some(first) = self.slices.front_mut()
            && room.remaining() > 0
        {
            let n = first.len().min(room.remaining());
            room.put_slice(&first[..n]);
            first.advance(n);
            if first.is_empty() {
                self.slices.pop_front();
            }
        }
    }

    /// See `BufferedConn::starts_with`.
    pub(super) fn starts_with(&mut self, expected: &[u8]) -> Option<bool> {
        if self.slices.len() > 1 && self.slices[0].len() < expected.len() {
            self.join();
        }
        let arrived = self.slices.front().map_or(&[][..], |first| first);
        let known = arrived.len().min(expected.len());
        if arrived[..known] != expected[..known] || (self.end.is_some() && known < expected.len()) {
            Some(false)
        } else if known == expected.len() {
            Some(true)
        } else {
            self.too_few = true;
            None
        }
    }

    /// Makes one slice of all.
    pub(super) fn join(&mut self) {
        let mut all = Vec::with_capacity(self.waiting());
        self.slices.drain(..).for_each(|slice| all.extend_from_slice(&slice));
        self.slices.push_back(all.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffers::Buffers;
    use super::*;

    const CHUNKS: [&[u8]; 4] = [b"PRI * HT", b"TP/2", b".0\r\n\r\n", b"SM\r\n\r\nand more"];

    /// Bytes in a buffer of the pool.
    fn received(bytes: &[u8], buffers: &Buffers) -> Slice {
        let buffer = buffers.pool().take().expect("it is free");
        let address = buffers.pool().address(buffer);
        super::super::sys::tests::write(address, bytes);
        buffers.received(buffer, bytes.len()).expect("there are some")
    }

    /// As many of the chunks as a peer has sent so far, the first `own` of them on the heap.
    fn arrived(own: usize, sent: usize, buffers: &Buffers) -> ReadBuffer {
        let mut read_buffer = ReadBuffer::default();
        for (number, chunk) in CHUNKS[..sent].iter().enumerate() {
            let on_heap = number < own;
            read_buffer.arrived(if on_heap { Slice::copy_of(chunk) } else { received(chunk, buffers) });
        }
        read_buffer
    }

    #[test]
    fn bytes_are_read_in_order_whatever_they_lie_in() {
        let buffers = Buffers::new();
        for (own, kept, step) in (0..4).flat_map(|own| [(own, false, 3), (own, true, 3), (own, false, 1000)])
        {
            let mut read_buffer = arrived(own, CHUNKS.len(), &buffers);
            let (mut read, whole) = (Vec::new(), CHUNKS.concat());
            while !read_buffer.is_empty() {
                assert_eq!(read_buffer.waiting(), whole.len() - read.len());
                let mut room = vec![0; step];
                let mut room = ReadBuf::new(&mut room);
                read_buffer.read(&mut room);
                assert_eq!(room.filled().len(), step.min(whole.len() - read.len()));
                read.extend_from_slice(room.filled());
                if kept {
                    read_buffer.keep();
                    assert_eq!(buffers.pool().idle(), buffers.pool().buffers());
                }
            }
            assert_eq!(read, whole, "{own} {kept} {step}");
        }
    }

    #[test]
    fn bytes_are_handed_on_where_they_lie() {
        let buffers = Buffers::new();
        let mut read_buffer = arrived(1, CHUNKS.len(), &buffers);
        let slices: Vec<_> = std::iter::from_fn(|| read_buffer.next()).collect();
        assert!(slices.iter().map(|slice| &**slice).eq(CHUNKS));
        assert!(slices.iter().map(Slice::is_pooled).eq([false, true, true, true]));
        assert!(read_buffer.wants_more());
    }

    #[test]
    fn the_beginning_is_known_however_it_is_cut() {
        let buffers = Buffers::new();
        for (own, sent, expected) in [
            (0, 0, None),
            (0, 1, None),
            (0, 3, None),
            (0, 4, Some(true)),
            (1, 3, None),
            (1, 4, Some(true)),
            (4, 4, Some(true)),
        ] {
            let mut read_buffer = arrived(own, sent, &buffers);
            assert_eq!(
                read_buffer.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                expected,
                "{own} {sent}"
            );
            assert_eq!(read_buffer.wants_more(), expected.is_none(), "{own} {sent}");
            assert_eq!(read_buffer.waiting(), CHUNKS[..sent].concat().len());
            assert_eq!(read_buffer.starts_with(b"PRI+"), (sent > 0).then_some(false));
        }
    }
}
