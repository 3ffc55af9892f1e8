//! Bytes on their way to the peer.

use std::io;

use super::buffers::{Buffers, LARGEST};
use crate::buffer::Output;
use crate::time::Moment;

/// How many bytes have gone out of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Bytes that the protocol has staged.
    staged: u64,
    /// Of these, bytes that the kernel has taken or is about to take.
    sent: u64,
}

/// Why no more bytes come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed its side in order.
    Closed,
    /// The socket failed.
    Failed(io::ErrorKind),
}

impl End {
    pub(super) fn as_error(self) -> io::Error {
        match self {
            End::Closed => io::ErrorKind::BrokenPipe.into(),
            End::Failed(kind) => kind.into(),
        }
    }
}

impl Outgoing {
    /// Whether nothing was staged after `before`.
    pub(super) fn staged_nothing_since(self, before: Outgoing) -> bool {
        self.staged == before.staged
    }

    /// Whether the kernel took nothing after `before`.
    pub(super) fn sent_nothing_since(self, before: Outgoing) -> bool {
        self.sent <= before.sent
    }
}

/// Bytes to the peer.
#[derive(Default)]
pub(super) struct WriteBuffer {
    /// Bytes that wait for the send in flight to end. Without memory while there are none.
    stage: Output,
    /// Bytes of its own that a stage of this connection usually has.
    usual: u32,
    /// Whether a send is in flight, and since when the peer took nothing.
    sending_since: Option<Moment>,
    /// The protocol has found the stage full.
    blocked: bool,
    /// Bytes of the stages that were taken to be sent.
    taken: u64,
    sent: u64,
    /// The send in flight, if its bytes are not the protocol's own.
    sealed: Option<Sealed>,
    pub(super) end: Option<End>,
}

/// A send of records. Of their content nothing is known to have been sent while the kernel has no byte of them, and all
/// may have been once it has one.
#[derive(Clone, Copy)]
struct Sealed {
    /// Bytes of the protocol in them.
    plain: u64,
    /// Bytes of them that the kernel has taken, or is about to take.
    taken: u64,
}

impl WriteBuffer {
    /// Bytes in the stage.
    pub(super) fn waiting(&self) -> usize {
        self.stage.len()
    }

    /// The stage, which the protocol writes to.
    #[inline]
    pub(super) fn write_buf(&mut self, buffers: &Buffers) -> &mut Output {
        if !self.stage.has_memory() {
            self.stage = buffers.lend(self.usual as usize);
        }
        &mut self.stage
    }

    /// Bytes that may still be staged. A protocol that finds no room gets news when there is some again.
    pub(super) fn room(&mut self) -> usize {
        let room = LARGEST.saturating_sub(self.stage.len());
        self.blocked |= room == 0;
        room
    }

    /// Asks for news when the stage has been taken for a send.
    pub(super) fn notify_room(&mut self) {
        self.blocked = true;
    }

    /// Whether a protocol waits for room.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn sending_since(&self) -> Option<Moment> {
        self.sending_since
    }

    /// Takes the stage for a send, and tells whether a protocol has waited for room. `None` while it is empty or a send
    /// is in flight.
    pub(super) fn take(&mut self, now: Moment) -> Option<(Output, bool)> {
        if self.stage.is_empty() || self.sending_since.is_some() {
            return None;
        }
        let mut stage = std::mem::take(&mut self.stage);
        self.sending_since = Some(now);
        self.taken += stage.len() as u64;
        // The usual size follows a connection that stages less from now on.
        let bytes = stage.bytes().len().min(LARGEST) as u32;
        self.usual = (self.usual - self.usual / 8).max(bytes);
        Some((stage, std::mem::take(&mut self.blocked)))
    }

    /// Gives the stage's memory back, if it is empty or will not be sent.
    pub(super) fn release(&mut self, buffers: &Buffers, discards: bool) {
        if self.stage.has_memory() && (discards || self.stage.is_empty()) {
            self.taken += self.stage.len() as u64;
            buffers.give(std::mem::take(&mut self.stage));
        }
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        Outgoing { staged: self.taken + self.stage.len() as u64, sent: self.sent }
    }

    /// Counts bytes that the kernel has taken or is about to take.
    pub(super) fn took(&mut self, n: usize) {
        match &mut self.sealed {
            None => self.sent += n as u64,
            Some(sealed) => {
                if sealed.taken == 0 && n > 0 {
                    self.sent += sealed.plain;
                }
                sealed.taken += n as u64;
            }
        }
    }

    /// Notes that a stage of so many bytes is sent as records.
    pub(super) fn begin_sealed(&mut self, now: Moment, plain: usize) {
        self.sending_since = Some(now);
        self.sealed = Some(Sealed { plain: plain as u64, taken: 0 });
    }

    /// Takes back bytes that the kernel has left after all.
    pub(super) fn left(&mut self, n: usize) {
        match &mut self.sealed {
            None => self.sent -= n as u64,
            Some(sealed) => {
                sealed.taken -= n as u64;
                if sealed.taken == 0 && n > 0 {
                    self.sent -= sealed.plain;
                }
            }
        }
    }

    /// Notes that some bytes left while others wait on: the peer is alive.
    pub(super) fn sent_some(&mut self, now: Moment) {
        self.sending_since = Some(now);
    }

    /// Ends a send.
    pub(super) fn sent(&mut self, result: io::Result<()>) {
        self.sending_since = None;
        self.sealed = None;
        if let Err(error) = result {
            self.end = Some(End::Failed(error.kind()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_finds_no_room_is_told_once_the_stage_is_taken() {
        let buffers = Buffers::new();
        let mut write_buffer = WriteBuffer::default();
        assert_eq!((write_buffer.room(), write_buffer.is_blocked()), (LARGEST, false));
        write_buffer.write_buf(&buffers).bytes().extend_from_slice(&[0; LARGEST - 1]);
        assert_eq!((write_buffer.room(), write_buffer.is_blocked()), (1, false));
        // The bound is soft.
        write_buffer.write_buf(&buffers).bytes().extend_from_slice(&[0; 9]);
        assert_eq!((write_buffer.room(), write_buffer.is_blocked()), (0, true));
        let (stage, blocked) = write_buffer.take(Moment::ZERO).expect("it is staged");
        assert_eq!((stage.len(), blocked, write_buffer.room()), (LARGEST + 8, true, LARGEST));
        write_buffer.write_buf(&buffers).bytes().push(1);
        assert!(write_buffer.take(Moment::ZERO).is_none(), "one send at a time");
        write_buffer.sent(Ok(()));
        assert!(matches!(write_buffer.take(Moment::ZERO), Some((_, false))));
    }

    #[test]
    fn of_records_all_or_nothing_counts_as_sent() {
        let buffers = Buffers::new();
        let mut write_buffer = WriteBuffer::default();
        write_buffer.write_buf(&buffers).bytes().extend_from_slice(&[0; 100]);
        let before = write_buffer.outgoing();
        let mut sent = |steps: &[i64]| {
            write_buffer.begin_sealed(Moment::ZERO, 100);
            for step in steps {
                let n = step.unsigned_abs() as usize;
                if *step > 0 { write_buffer.took(n) } else { write_buffer.left(n) }
            }
            let sent = write_buffer.outgoing();
            write_buffer.sent(Ok(()));
            write_buffer.sent = 0;
            sent.sent
        };
        assert_eq!(before.sent, 0);
        for (steps, counted) in [
            (&[][..], 0),
            (&[130], 100),
            (&[1], 100),
            (&[130, -130], 0),
            (&[130, -129], 100),
            (&[130, -50, 50], 100),
        ] {
            assert_eq!(sent(steps), counted, "{steps:?}");
        }
        assert_eq!(sent(&[130, -130, 1]), 100);
    }

    #[test]
    fn a_stage_has_the_memory_that_it_usually_needs_and_none_while_it_is_empty() {
        let buffers = Buffers::new();
        let mut write_buffer = WriteBuffer::default();
        let mut capacities = Vec::new();
        for bytes in [3000, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10] {
            assert!(!write_buffer.stage.has_memory());
            capacities.push(write_buffer.write_buf(&buffers).bytes().capacity());
            write_buffer.write_buf(&buffers).bytes().extend_from_slice(&vec![0; bytes]);
            let (stage, _) = write_buffer.take(Moment::ZERO).expect("it is staged");
            write_buffer.sent(Ok(()));
            buffers.give(stage);
        }
        assert!(capacities[0] < 8192 && capacities[1] == 8192, "{capacities:?}");
        assert!(capacities[capacities.len() - 1] < 8192, "{capacities:?}");
        write_buffer.write_buf(&buffers);
        write_buffer.release(&buffers, false);
        assert!(!write_buffer.stage.has_memory());
    }
}
