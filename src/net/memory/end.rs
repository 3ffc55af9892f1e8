//! An end of a connection in memory.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use super::Memory;
use super::wire::{Link, Wire};
use crate::time::Moment;

/// An end of a connection. Dropping it closes it as the kernel does: with a reset where bytes are unread.
pub(crate) struct End {
    memory: Rc<Memory>,
    inward: Rc<RefCell<Wire>>,
    outward: Rc<RefCell<Wire>>,
}

impl End {
    /// The end of the one who connects, and the other one.
    pub(super) fn pair(memory: &Rc<Memory>, link: Link) -> (End, End) {
        let (up, down) = (RefCell::new(Wire::new(link.up)), RefCell::new(Wire::new(link.down)));
        let (up, down) = (Rc::new(up), Rc::new(down));
        let end = |inward: &Rc<RefCell<Wire>>, outward: &Rc<RefCell<Wire>>| End {
            memory: Rc::clone(memory),
            inward: Rc::clone(inward),
            outward: Rc::clone(outward),
        };
        (end(&down, &up), end(&up, &down))
    }

    /// At most `max` bytes of what has arrived; none at the peer's end.
    pub(crate) fn receive(&self, max: usize) -> io::Result<Vec<u8>> {
        let mut wire = self.inward.borrow_mut();
        let max = self.piece(&wire, max);
        let had_room = wire.room() > 0;
        let bytes = wire.receive(max, self.memory.now())?;
        if !had_room
            && wire.room() > 0
            && let Some(writer) = wire.writer.take()
        {
            self.memory.wake_at(self.memory.now().plus(wire.conditions.delay), writer);
        }
        Ok(bytes)
    }

    fn piece(&self, wire: &Wire, max: usize) -> usize {
        if wire.conditions.piece == usize::MAX {
            return max;
        }
        max.min(1 + self.memory.below(wire.conditions.piece as u32) as usize)
    }

    /// Sends as much of the bytes as there is room for.
    pub(crate) fn send<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        let now = self.memory.now();
        if self.inward.borrow().reset <= now {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut wire = self.outward.borrow_mut();
        if wire.is_deaf {
            drop(wire);
            self.refused(now);
            return Ok(parts.map(<[u8]>::len).sum());
        }
        let mut room = self.piece(&wire, wire.room());
        if let Some(cut) = wire.conditions.cut_after {
            let left = usize::try_from(cut.saturating_sub(wire.sent)).unwrap_or(usize::MAX);
            if left == 0 {
                drop(wire);
                self.reset();
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            room = room.min(left);
        }
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = wire.sent;
        let at = wire.send(parts, room, now);
        let sent = (wire.sent - before) as usize;
        let reader = wire.reader.take();
        drop(wire);
        if let Some(reader) = reader {
            self.memory.wake_at(at, reader);
        }
        Ok(sent)
    }

    /// The peer has closed its end: it answers bytes with a reset.
    fn refused(&self, now: Moment) {
        let there = self.outward.borrow().conditions.delay;
        let mut wire = self.inward.borrow_mut();
        wire.reset = wire.reset.min(now.plus(there + wire.conditions.delay));
        if let Some(reader) = wire.reader.take() {
            self.memory.wake_at(wire.reset, reader);
        }
    }

    /// Waits until there is something to receive.
    pub(crate) async fn readable(&self) {
        poll_fn(|cx| {
            let mut wire = self.inward.borrow_mut();
            if wire.is_readable(self.memory.now()) {
                return Poll::Ready(());
            }
            wire.reader = Some(cx.waker().clone());
            if let Some(at) = wire.next_arrival()
                && wire.armed != at
            {
                wire.armed = at;
                self.memory.wake_at(at, cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits until there is room to send.
    pub(crate) async fn writable(&self) {
        poll_fn(|cx| {
            let is_reset = self.inward.borrow().reset <= self.memory.now();
            let mut wire = self.outward.borrow_mut();
            if is_reset || wire.room() > 0 || wire.is_deaf {
                return Poll::Ready(());
            }
            wire.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Sends no more.
    pub(crate) fn shut(&self) {
        let mut wire = self.outward.borrow_mut();
        let at = wire.close(self.memory.now());
        if let Some(reader) = wire.reader.take() {
            self.memory.wake_at(at, reader);
        }
    }

    /// Cuts the connection: the peer loses what has not arrived.
    pub(crate) fn reset(&self) {
        let now = self.memory.now();
        {
            let mut wire = self.outward.borrow_mut();
            wire.reset = wire.reset.min(now.plus(wire.conditions.delay));
            let at = wire.reset;
            let peer = wire.reader.take();
            peer.into_iter().for_each(|waker| self.memory.wake_at(at, waker));
            // A writer that waits at this end learns of the reset, too.
            let mut wire = self.inward.borrow_mut();
            wire.writer.take().into_iter().for_each(|waker| self.memory.wake_at(at, waker));
            wire.is_deaf = true;
        }
        self.inward.borrow_mut().reset = now;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.inward.borrow().has_arrived(self.memory.now()) {
            return self.reset();
        }
        self.shut();
        let mut wire = self.inward.borrow_mut();
        wire.is_deaf = true;
        // Bytes on their way here will be refused.
        if let Some(at) = wire.last_arrival() {
            let mut wire = self.outward.borrow_mut();
            wire.reset = wire.reset.min(at.plus(wire.conditions.delay));
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").finish_non_exhaustive()
    }
}
