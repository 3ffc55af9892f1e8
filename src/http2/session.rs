//! A connection that its calls share, and their streams on it.
//!
//! All of it lives on one worker. A call writes its frames at once to where its connection's bytes are gathered. They
//! leave with those that other calls sent in the same turn of the loop.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::connection::Connection;
use super::exchange::{Incoming, OpenError};
use super::frame::ErrorCode;
use super::head::Head;
use super::send::Sent;
use super::state::{Ending, StreamError};
use crate::buffer::{Output, Slice, Transport};
use crate::time::Moment;
use crate::time::timers::Timers;

/// A connection, the way of its bytes, and the worker's coarse clock.
pub struct Session {
    connection: RefCell<Connection>,
    transport: Rc<dyn Transport>,
    timers: Rc<Timers>,
}

impl Session {
    /// A connection whose bytes go through `transport`, made by `connect`.
    pub fn new(
        transport: Rc<dyn Transport>,
        timers: Rc<Timers>,
        connect: impl FnOnce(&mut Output) -> Connection,
    ) -> Rc<Session> {
        let connection = RefCell::new(connect(&mut transport.output()));
        transport.flush();
        Rc::new(Session { connection, transport, timers })
    }

    /// Changes the connection, which may stage frames, and asks that they be sent.
    #[inline]
    pub fn with<T>(&self, act: impl FnOnce(&mut Connection, &mut Output, Moment) -> T) -> T {
        let mut output = self.transport.output();
        let before = output.len();
        let mut connection = self.connection.borrow_mut();
        let result = act(&mut connection, &mut output, self.timers.now());
        let wrote = before != output.len();
        let is_full = connection.wants_room(&output);
        drop((output, connection));
        if wrote {
            self.transport.flush();
        }
        if is_full {
            self.transport.notify_room();
        }
        result
    }

    /// Takes bytes that have come, and lets streams go on that waited for room.
    pub fn pump(&self) {
        self.with(|connection, out, now| {
            connection.wake_waiting(now, out);
            while connection.takes_input(out) {
                let Some(mut input) = self.transport.next_input() else { return };
                connection.receive(&mut input, now, out);
                if !input.is_empty() {
                    return self.transport.put_back(input);
                }
            }
        });
    }

    /// Asks the connection, or changes it in a way that stages nothing.
    #[inline]
    pub fn ask<T>(&self, ask: impl FnOnce(&mut Connection) -> T) -> T {
        ask(&mut self.connection.borrow_mut())
    }

    /// The next request of a client: its stream, its head, and whether that is above the bounds.
    #[inline]
    pub fn accept(self: &Rc<Self>) -> Option<(Stream, Head, bool)> {
        let Incoming { key, head, is_too_large } = self.connection.borrow_mut().accept()?;
        Some((Stream { session: Rc::clone(self), key }, head, is_too_large))
    }

    /// Opens a stream with the head of a request.
    ///
    /// # Errors
    /// When the connection, or its peer, takes no such stream. Nothing is sent then.
    #[inline]
    pub fn open(self: &Rc<Self>, head: &Head, end: bool) -> Result<Stream, OpenError> {
        let key = self.with(|connection, out, now| connection.open(head, end, now, out))?;
        Ok(Stream { session: Rc::clone(self), key })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.connection).finish()
    }
}

/// A holder's handle of a stream. When the last one is dropped the stream ends, if it has not ended; its last bytes
/// still leave.
pub struct Stream {
    session: Rc<Session>,
    key: u32,
}

impl Stream {
    /// Polls for the head of a response.
    #[inline]
    pub fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Head, StreamError>> {
        self.session.connection.borrow_mut().poll_head(self.key, cx)
    }

    /// Polls for the next bytes of the body; `None` at its end. They have to be released once they are out of the way.
    #[inline]
    pub fn poll_data(&self, cx: &Context<'_>) -> Poll<Result<Option<Slice>, StreamError>> {
        self.session.connection.borrow_mut().poll_data(self.key, cx)
    }

    /// Lets the peer send so many bytes more.
    #[inline]
    pub fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.session.with(|connection, out, _| connection.release(self.key, bytes, out));
        }
    }

    /// Whether bytes of the body have come that nobody has taken.
    #[inline]
    pub fn has_data(&self) -> bool {
        self.session.connection.borrow().has_data(self.key)
    }

    /// Nothing of the body is released until it is whole; see [`Connection::keep_whole`].
    pub fn keep_whole(&self, size: usize) -> bool {
        self.session.with(|connection, out, _| connection.keep_whole(self.key, size, out))
    }

    /// Whether all of the body has been taken, and no more comes.
    #[inline]
    pub fn is_end(&self) -> bool {
        self.session.connection.borrow().is_end(self.key)
    }

    /// Whether the stream ended with its head: neither a body nor trailers follow.
    #[inline]
    pub fn ended_with_head(&self) -> bool {
        self.session.connection.borrow().ended_with_head(self.key)
    }

    /// Trailers, if they have come.
    #[inline]
    pub fn take_trailers(&self) -> Option<Head> {
        self.session.connection.borrow_mut().take_trailers(self.key)
    }

    /// Whether the peer takes a head, or trailers, of this size. Some end the connection over one that they do not.
    #[inline]
    pub fn takes_head(&self, head: &Head) -> bool {
        self.session.connection.borrow().takes_head(head)
    }

    /// Sends a head, or trailers if a head was sent before. `end`: nothing follows.
    ///
    /// # Errors
    /// When the stream is over.
    #[inline]
    pub fn send_head(&self, head: &Head, end: bool) -> Result<(), StreamError> {
        self.session.with(|connection, out, _| connection.send_head(self.key, head, end, out))
    }

    /// Sends as much of `data` as windows and stage allow, and takes that off it. `end`: its last byte ends the stream.
    /// Where it is [`Sent::Blocked`], the task of `cx` is woken when more can be sent.
    #[inline]
    pub fn send_data(&self, cx: &Context<'_>, data: &mut Slice, end: bool) -> Sent {
        self.session.with(|connection, out, now| {
            let sent = connection.send_data(self.key, data, end, now, out);
            if sent == Sent::Blocked {
                connection.wait(self.key, cx);
            }
            sent
        })
    }

    /// Sends the last bytes and ends the stream, now or when the peer takes them. No task need wait for that.
    #[inline]
    pub fn finish(&self, rest: Slice, ending: Ending) {
        self.session.with(|connection, out, now| connection.finish(self.key, rest, ending, now, out));
    }

    /// Resets the stream, if it is not over. A stream that a service may not have looked at yet is reset a little
    /// later.
    #[inline]
    pub fn reset(&self, code: ErrorCode) {
        self.session.with(|connection, out, now| connection.cancel(self.key, code, now, out));
    }

    /// Polls for the stream's end before its time.
    #[inline]
    pub fn poll_error(&self, cx: &Context<'_>) -> Poll<StreamError> {
        self.session.connection.borrow_mut().poll_error(self.key, cx)
    }

    /// Whether the peer has not taken all of the last bytes.
    #[inline]
    pub fn has_tail(&self) -> bool {
        self.session.connection.borrow().has_tail(self.key)
    }

    /// The moment since which it has bytes to send that its peer does not take.
    #[inline]
    pub fn stalled_since(&self) -> Option<Moment> {
        self.session.connection.borrow().stalled_since(self.key)
    }
}

#[cfg(test)]
impl Stream {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn key(&self) -> u32 {
        self.key
    }
}

impl Clone for Stream {
    fn clone(&self) -> Stream {
        self.session.connection.borrow_mut().hold(self.key);
        Stream { session: Rc::clone(&self.session), key: self.key }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Only the last one to let go may have to say something to the peer.
        if !self.session.connection.borrow_mut().let_go_one(self.key) {
            self.session.with(|connection, out, now| connection.let_go(self.key, now, out));
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.key).finish()
    }
}
