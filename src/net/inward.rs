//! Bytes that have arrived and that the protocol has not taken.

use std::collections::VecDeque;

use tokio::io::ReadBuf;

use super::buffers::{Buffers, LARGEST};
use super::pipe::End;
use super::provided::Piece;

/// Room for pieces that a connection keeps while it has none; more is freed.
const PIECES_KEPT: usize = 32;

/// From the peer. No bytes are held while none wait.
#[derive(Default)]
pub(super) struct Inward {
    /// The first bytes: received by a call, or kept for later.
    own: Vec<u8>,
    /// What comes after, where the kernel put it.
    pieces: VecDeque<Piece>,
    /// Bytes that the protocol has taken of the very first of these.
    taken: usize,
    /// Who looked at the bytes without taking them needs more of them.
    too_few: bool,
    /// Why no more come.
    pub(super) end: Option<End>,
}

impl Inward {
    /// Bytes that wait for the protocol.
    pub(super) fn waiting(&self) -> usize {
        self.own.len() + self.pieces.iter().map(|piece| piece.len()).sum::<usize>() - self.taken
    }

    /// Whether no bytes wait.
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.pieces.is_empty()
    }

    /// Whether more should be received: the protocol has taken all that came, or cannot go on with what there is.
    pub(super) fn wants_more(&self) -> bool {
        self.end.is_none() && (self.is_empty() || self.too_few)
    }

    /// A buffer to receive into by a call, with all that waits in it.
    pub(super) fn lend(&self, buffers: &Buffers) -> Vec<u8> {
        // A buffer is lent only for bytes that are there, so that it can be the largest, and is nearly always the same.
        let mut buffer = buffers.lend(LARGEST);
        buffer.extend_from_slice(&self.own[self.taken..]);
        buffer
    }

    /// What was lent, with what was received into it.
    pub(super) fn received(&mut self, buffer: Vec<u8>, buffers: &Buffers) {
        self.too_few = false;
        self.replace(buffer, buffers);
    }

    /// Bytes that the kernel put into one of its buffers.
    pub(super) fn arrived(&mut self, piece: Piece) {
        self.too_few = false;
        self.pieces.push_back(piece);
    }

    /// Nothing of what waits is wanted any more.
    pub(super) fn discard(&mut self, buffers: &Buffers) {
        self.pieces.clear();
        self.replace(Vec::new(), buffers);
    }

    /// Moves what the protocol leaves for later to a buffer of its size: neither the kernel nor other connections have
    /// to do without large ones for it.
    pub(super) fn keep(&mut self, buffers: &Buffers) {
        let left = self.waiting();
        let fits = self.own.capacity() < LARGEST || left > LARGEST / 4;
        if self.pieces.is_empty() && (left == 0 || fits) {
            if self.pieces.capacity() > PIECES_KEPT {
                self.pieces = VecDeque::new();
            }
            return;
        }
        let mut fitting = buffers.lend(left);
        while !self.is_empty() {
            fitting.extend_from_slice(self.first());
            self.take(self.first().len(), buffers);
        }
        self.replace(fitting, buffers);
    }

    /// Gives the protocol as much as it has room for.
    pub(super) fn read(&mut self, room: &mut ReadBuf<'_>, buffers: &Buffers) {
        while !self.is_empty() && room.remaining() > 0 {
            let first = self.first();
            let n = first.len().min(room.remaining());
            room.put_slice(&first[..n]);
            self.take(n, buffers);
        }
    }

    /// See `Pipe::starts_with`.
    pub(super) fn starts_with(&mut self, expected: &[u8], buffers: &Buffers) -> Option<bool> {
        if self.first().len() < expected.len() {
            self.keep(buffers);
        }
        let arrived = self.first();
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

    /// The first bytes that wait, as far as they lie together.
    fn first(&self) -> &[u8] {
        match self.pieces.front() {
            Some(piece) if self.own.is_empty() => &piece[self.taken..],
            _ => &self.own[self.taken..],
        }
    }

    /// So many of the first are done with, at most all of `first`.
    fn take(&mut self, n: usize, buffers: &Buffers) {
        let all = n == self.first().len();
        self.taken += n;
        if !all {
            return;
        }
        if self.own.is_empty() {
            self.pieces.pop_front();
            self.taken = 0;
        } else {
            self.replace(Vec::new(), buffers);
        }
    }

    fn replace(&mut self, buffer: Vec<u8>, buffers: &Buffers) {
        buffers.give(std::mem::replace(&mut self.own, buffer));
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::provided::tests::pieces;
    use super::*;

    const CHUNKS: [&[u8]; 4] = [b"PRI * HT", b"TP/2", b".0\r\n\r\n", b"SM\r\n\r\nand more"];

    /// As many of the chunks as a peer has sent so far, `own` of them received by a call.
    fn arrived(own: usize, sent: usize, buffers: &Buffers) -> Option<Inward> {
        let mut inward = Inward::default();
        if own > 0 {
            let mut buffer = inward.lend(buffers);
            buffer.extend_from_slice(&CHUNKS[..own].concat());
            inward.received(buffer, buffers);
        }
        pieces(&CHUNKS[own..sent])?.into_iter().for_each(|piece| inward.arrived(piece));
        Some(inward)
    }

    #[test]
    fn bytes_are_read_in_order_whatever_they_lie_in() {
        let buffers = Buffers::new();
        for (own, kept, step) in (0..4).flat_map(|own| [(own, false, 3), (own, true, 3), (own, false, 1000)])
        {
            let Some(mut inward) = arrived(own, CHUNKS.len(), &buffers) else { return };
            let (mut read, whole) = (Vec::new(), CHUNKS.concat());
            while !inward.is_empty() {
                assert_eq!(inward.waiting(), whole.len() - read.len());
                let mut room = vec![0; step];
                let mut room = ReadBuf::new(&mut room);
                inward.read(&mut room, &buffers);
                assert_eq!(room.filled().len(), step.min(whole.len() - read.len()));
                read.extend_from_slice(room.filled());
                if kept {
                    inward.keep(&buffers);
                    assert!(inward.pieces.is_empty(), "the kernel has its buffers back");
                }
            }
            assert_eq!(read, whole, "{own} {kept} {step}");
        }
    }

    #[test]
    fn the_beginning_is_known_however_it_is_cut() {
        let buffers = Buffers::new();
        for (own, sent, expected) in [
            (0, 1, None),
            (0, 3, None),
            (0, 4, Some(true)),
            (1, 3, None),
            (1, 4, Some(true)),
            (4, 4, Some(true)),
        ] {
            let Some(mut inward) = arrived(own, sent, &buffers) else { return };
            assert_eq!(
                inward.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &buffers),
                expected,
                "{own} {sent}"
            );
            assert_eq!(inward.wants_more(), expected.is_none(), "{own} {sent}");
            assert_eq!(inward.waiting(), CHUNKS[..sent].concat().len());
            assert_eq!(inward.starts_with(b"PRI+", &buffers), Some(false));
        }
    }

    #[test]
    fn what_is_left_for_later_is_kept_in_a_buffer_of_its_size() {
        let buffers = Buffers::new();
        let mut inward = Inward::default();
        let mut buffer = inward.lend(&buffers);
        buffer.extend_from_slice(&[7; 100]);
        inward.received(buffer, &buffers);
        inward.keep(&buffers);
        assert_eq!((inward.own.capacity(), inward.waiting()), (1024, 100));
    }
}
