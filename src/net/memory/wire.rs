//! A direction of a connection in memory: bytes on their way, and how they end.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::Duration;

use crate::buffer::Slice;
use crate::time::Moment;

/// A time that never comes.
pub(super) const NEVER: Moment = Moment::from_nanos(u64::MAX);

/// How bytes travel in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireConditions {
    /// From the sender to the receiver.
    pub(crate) delay: Duration,
    /// Bytes that are on their way or wait to be read; a sender has to wait for room above it.
    pub(crate) capacity: usize,
    /// A send and a receive move at most so many bytes; the seed chooses how many where it is not `usize::MAX`.
    pub(crate) piece: usize,
    /// The connection is reset when so many bytes have been sent this way.
    pub(crate) cut_after: Option<u64>,
    /// Bytes beyond this count arrive later by this time.
    pub(crate) stall: Option<(u64, Duration)>,
}

impl Default for WireConditions {
    fn default() -> WireConditions {
        WireConditions {
            delay: Duration::ZERO,
            capacity: 256 * 1024,
            piece: usize::MAX,
            cut_after: None,
            stall: None,
        }
    }
}

/// Both directions, as the one who connects sees them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) up: WireConditions,
    pub(crate) down: WireConditions,
}

/// Bytes on their way.
pub(super) struct Wire {
    pub(super) conditions: WireConditions,
    /// Pieces, each with the moment it arrives at; those moments never go back.
    pieces: VecDeque<(Moment, Slice)>,
    queued: usize,
    pub(super) sent: u64,
    last: Moment,
    /// When the sender's end arrives.
    closed: Moment,
    /// When a reset arrives.
    pub(super) reset: Moment,
    /// The receiver has closed: bytes that arrive reset the connection.
    pub(super) is_deaf: bool,
    pub(super) reader: Option<Waker>,
    /// The moment that the reader is woken at.
    pub(super) armed: Moment,
    pub(super) writer: Option<Waker>,
}

impl Wire {
    pub(super) fn new(conditions: WireConditions) -> Wire {
        Wire {
            conditions,
            pieces: VecDeque::new(),
            queued: 0,
            sent: 0,
            last: Moment::ZERO,
            closed: NEVER,
            reset: NEVER,
            is_deaf: false,
            reader: None,
            armed: NEVER,
            writer: None,
        }
    }

    fn arrival(&mut self, now: Moment) -> Moment {
        let mut at = now.plus(self.conditions.delay);
        if let Some((after, span)) = self.conditions.stall
            && after <= self.sent
        {
            self.conditions.stall = None;
            at = at.plus(span);
        }
        self.last = self.last.max(at);
        self.last
    }

    pub(super) fn room(&self) -> usize {
        self.conditions.capacity.saturating_sub(self.queued)
    }

    /// Puts bytes on their way; when they arrive.
    pub(super) fn send<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
        mut max: usize,
        now: Moment,
    ) -> Moment {
        let at = self.arrival(now);
        let mut piece = Vec::new();
        for part in parts {
            let n = part.len().min(max);
            piece.extend_from_slice(&part[..n]);
            max -= n;
        }
        self.queued += piece.len();
        self.sent += piece.len() as u64;
        self.pieces.push_back((at, piece.into()));
        at
    }

    /// The sender sends no more; when the receiver learns of it.
    pub(super) fn close(&mut self, now: Moment) -> Moment {
        if self.closed == NEVER {
            self.closed = self.arrival(now);
        }
        self.closed
    }

    /// Whether a read would find something.
    pub(super) fn is_readable(&self, now: Moment) -> bool {
        self.has_arrived(now) || self.closed <= now || self.reset <= now
    }

    /// When the next thing arrives that is on its way already.
    pub(super) fn next_arrival(&self) -> Option<Moment> {
        let bytes = self.pieces.front().map(|(at, _)| *at);
        let next = bytes.unwrap_or(NEVER).min(self.closed).min(self.reset);
        (next != NEVER).then_some(next)
    }

    /// Whether bytes wait to be read.
    pub(super) fn has_arrived(&self, now: Moment) -> bool {
        self.pieces.front().is_some_and(|(at, _)| *at <= now)
    }

    /// When the last bytes arrive that are on their way.
    pub(super) fn last_arrival(&self) -> Option<Moment> {
        self.pieces.back().map(|(at, _)| *at)
    }

    /// Reads at most `max` bytes. None at the end.
    pub(super) fn receive(&mut self, max: usize, now: Moment) -> io::Result<Vec<u8>> {
        if self.reset <= now {
            self.pieces.clear();
            self.queued = 0;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut bytes = Vec::new();
        while let Some((at, piece)) = self.pieces.front_mut()
            && *at <= now
            && bytes.len() < max
        {
            let n = piece.len().min(max - bytes.len());
            bytes.extend_from_slice(&piece[..n]);
            piece.advance(n);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.queued -= bytes.len();
        if bytes.is_empty() && self.closed > now {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(bytes)
    }
}
