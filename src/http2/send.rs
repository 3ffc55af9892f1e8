//! Sending on streams: heads, bodies as far as the windows and the room allow, and ends.

use std::time::Duration;

use super::connection::Connection;
use super::frame::{self, ErrorCode, FrameHead, HEAD, flag, kind};
use super::head::Head;
use super::state::{Ending, StreamError, Tail};
use crate::buffer::{Output, Slice};
use crate::time::Moment;

/// Bytes that a stream sends before others that wait have a turn.
const QUANTUM: usize = 64 * 1024;

/// The part of a body that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    All,
    /// A part of it: the task that waits for the stream is woken when more can be sent.
    Blocked,
    /// The stream is over.
    Gone,
}

impl Connection {
    /// Sends a head, or trailers if a head was sent before.
    ///
    /// # Errors
    /// When the stream is over.
    pub fn send_head(
        &mut self,
        key: u32,
        head: &Head,
        end: bool,
        out: &mut Output,
    ) -> Result<(), StreamError> {
        let stream = self.streams.get_mut(key);
        if let Some(error) = stream.error {
            return Err(error);
        }
        if stream.sent_end || stream.tail.is_some() {
            return Err(StreamError::ConnectionEnded);
        }
        stream.sent_end = end;
        let id = stream.id;
        self.write_head(id, head, end, out);
        if end {
            self.forget_if_over(key);
        }
        Ok(())
    }

    pub(super) fn write_head(&mut self, id: u32, head: &Head, end: bool, out: &mut Output) {
        let bytes = out.bytes();
        let at = bytes.len();
        bytes.extend_from_slice(&[0; HEAD]);
        self.encoder.encode(head, bytes);
        frame::finish_headers(bytes, at, id, end, self.peer.max_frame_size);
    }

    /// Sends as much of `data` as windows and stage allow, and takes that off it. `end`: its last byte ends the stream.
    pub fn send_data(
        &mut self,
        key: u32,
        data: &mut Slice,
        end: bool,
        now: Moment,
        out: &mut Output,
    ) -> Sent {
        let stream = self.streams.get(key);
        if stream.error.is_some() || stream.sent_end || stream.tail.is_some() {
            return Sent::Gone;
        }
        let before = data.len();
        let is_all = self.write_data(key, data, end, out);
        let stream = self.streams.get_mut(key);
        if is_all {
            stream.stalled_since = None;
            stream.sent_end |= end;
            if end {
                self.forget_if_over(key);
            }
            return Sent::All;
        }
        let sent = (before - data.len()) as u64;
        let earned = Duration::from_secs(sent) / self.bounds.min_send_rate.max(1);
        stream.stalled_since = Some(stream.stalled_since.map_or(now, |since| since.plus(earned).min(now)));
        // A stream whose own window is shut is woken when that opens.
        if stream.send_window.available() > 0 && !stream.is_waiting {
            stream.is_waiting = true;
            self.streams.waiting().push_back(key);
        }
        Sent::Blocked
    }

    /// Writes frames; true if all of it is written, and the end.
    fn write_data(&mut self, key: u32, data: &mut Slice, end: bool, out: &mut Output) -> bool {
        let max_frame = self.peer.max_frame_size as usize;
        let mut quantum = if self.streams.waiting_len() == 0 { usize::MAX } else { QUANTUM };
        let stream = self.streams.get_mut(key);
        if data.is_empty() {
            if end {
                let flags = flag::END_STREAM;
                FrameHead { length: 0, kind: kind::DATA, flags, stream: stream.id }.write(out.bytes());
            }
            return true;
        }
        while !data.is_empty() {
            let room = self.bounds.max_payload().saturating_sub(out.len());
            let window = stream.send_window.available().min(self.send_window.available());
            let n = data.len().min(max_frame).min(window).min(room).min(quantum);
            if n == 0 {
                return false;
            }
            quantum -= n;
            let part = data.split_to(n);
            let flags = if end && data.is_empty() { flag::END_STREAM } else { 0 };
            FrameHead { length: n as u32, kind: kind::DATA, flags, stream: stream.id }.write(out.bytes());
            out.push(part);
            stream.send_window.take(n);
            self.send_window.take(n);
            self.guard.sent_data();
        }
        true
    }

    /// Sends the last bytes of a stream and ends it, now or when the peer takes them. No task need wait for that.
    pub fn finish(&mut self, key: u32, mut rest: Slice, ending: Ending, now: Moment, out: &mut Output) {
        let stream = self.streams.get_mut(key);
        if stream.error.is_some() || stream.sent_end || stream.tail.is_some() {
            return;
        }
        stream.holders += 1;
        match self.send_rest(key, &mut rest, &ending, now, out) {
            Sent::All => self.send_ending(key, ending, now, out),
            Sent::Blocked => self.streams.get_mut(key).tail = Some(Box::new(Tail { rest, ending })),
            Sent::Gone => {}
        }
        self.streams.get_mut(key).holders -= 1;
    }

    /// Sends as much of a stream's last bytes as windows and stage allow.
    pub(super) fn send_tail(&mut self, key: u32, now: Moment, out: &mut Output) {
        let stream = self.streams.get_mut(key);
        let Some(mut tail) = stream.tail.take() else { return };
        // While its tail is out, the stream must not be forgotten.
        stream.holders += 1;
        match self.send_rest(key, &mut tail.rest, &tail.ending, now, out) {
            Sent::All => self.send_ending(key, tail.ending, now, out),
            Sent::Blocked => self.streams.get_mut(key).tail = Some(tail),
            Sent::Gone => {}
        }
        let stream = self.streams.get_mut(key);
        stream.holders -= 1;
        if stream.tail.is_none() && !stream.is_held() {
            self.end_unheld(key, now, out);
        }
    }

    fn send_rest(
        &mut self,
        key: u32,
        rest: &mut Slice,
        ending: &Ending,
        now: Moment,
        out: &mut Output,
    ) -> Sent {
        let end = matches!(ending, Ending::EndStream);
        if rest.is_empty() && !end { Sent::All } else { self.send_data(key, rest, end, now, out) }
    }

    /// Ends a stream whose last bytes have been sent.
    fn send_ending(&mut self, key: u32, ending: Ending, now: Moment, out: &mut Output) {
        match ending {
            // Sent with the last byte.
            Ending::EndStream => {}
            Ending::Trailers(head) => {
                // Its last bytes were sent just now, so it is not over.
                let _ = self.send_head(key, &head, true, out);
            }
            Ending::Reset(code) => self.cancel(key, code, now, out),
        }
    }

    /// Lets waiting streams go on: the connection's window has opened, or there is room again.
    pub fn wake_waiting(&mut self, now: Moment, out: &mut Output) {
        for _ in 0..self.streams.waiting_len() {
            if self.send_window.available() == 0 || out.len() >= self.bounds.max_payload() {
                return;
            }
            let Some(key) = self.streams.next_waiting() else { return };
            let stream = self.streams.get_mut(key);
            stream.is_waiting = false;
            if stream.tail.is_some() {
                self.send_tail(key, now, out);
            } else {
                stream.wake();
            }
        }
    }

    /// Resets a stream at once, if it is not over.
    pub fn reset(&mut self, key: u32, code: ErrorCode, out: &mut Output) {
        if !self.streams.get(key).is_closed() {
            self.fail_stream(key, StreamError::Reset(code), code, out);
        }
    }

    /// Resets a stream, if it is not over; one that is too young is reset later.
    pub fn cancel(&mut self, key: u32, code: ErrorCode, now: Moment, out: &mut Output) {
        let stream = self.streams.get(key);
        if stream.is_closed() {
            return;
        }
        let is_answered = !self.is_client || stream.received.has_head;
        if is_answered || !self.hold_reset(key, code, now) {
            self.fail_stream(key, StreamError::Reset(code), code, out);
        }
    }

    /// Adds a holder to a stream.
    pub fn hold(&mut self, key: u32) {
        self.streams.get_mut(key).holders += 1;
    }

    /// Gives up a stream for one of several holders. False for the last one, which has to call [`Connection::let_go`].
    #[inline]
    pub fn let_go_one(&mut self, key: u32) -> bool {
        let stream = self.streams.get_mut(key);
        let are_several = stream.holders > 1;
        stream.holders -= u8::from(are_several);
        are_several
    }

    /// Gives up one holder's claim on a stream: its opener's, its acceptor's, or a further one. A stream without
    /// holders ends now, even before it is over; bytes of its tail still leave first.
    pub fn let_go(&mut self, key: u32, now: Moment, out: &mut Output) {
        let stream = self.streams.get_mut(key);
        stream.holders -= 1;
        if stream.is_held() {
            return;
        }
        // Later bytes are not counted any more.
        stream.received.content_left = None;
        stream.received.data.clear();
        let held = stream.receive_window.held();
        stream.receive_window.release(held);
        if held > 0 {
            self.release_connection(held, out);
        }
        self.streams.body_is_over(key);
        if self.streams.get(key).tail.is_none() {
            self.end_unheld(key, now, out);
        }
        self.grant(out);
    }

    /// Ends a stream that nobody holds and that has nothing to send.
    fn end_unheld(&mut self, key: u32, now: Moment, out: &mut Output) {
        let stream = self.streams.get(key);
        if stream.is_closed() {
            return self.forget_if_over(key);
        }
        // A response that is whole needs no more of its request (RFC 9113 section 8.1).
        let is_answered = !self.is_client && stream.sent_end;
        let code = if is_answered { ErrorCode::NO_ERROR } else { ErrorCode::CANCEL };
        self.cancel(key, code, now, out);
    }

    /// Puts off the reset of a stream that its service may not have looked at yet.
    fn hold_reset(&mut self, key: u32, code: ErrorCode, now: Moment) -> bool {
        let stream = self.streams.get_mut(key);
        if self.resets.get_mut().admit(stream.id, code, stream.opened, now) {
            return false;
        }
        stream.fail(StreamError::Reset(code));
        stream.we_reset = true;
        self.notes.get_mut().held_resets += 1;
        // The connection's task sends what is due.
        self.wake();
        self.forget_if_over(key);
        true
    }

    /// The moment at which a reset that was put off is due next.
    pub fn next_due(&self) -> Option<Moment> {
        self.resets.get()?.next_due()
    }

    /// Sends what is due.
    pub fn send_due(&mut self, now: Moment, out: &mut Output) {
        if self.resets.get().is_none() {
            return;
        }
        while let Some(held) = self.resets.get_mut().next(now) {
            frame::rst_stream(out.bytes(), held.stream, held.code);
        }
    }

    /// Ends streams whose peer has taken nothing of their last bytes since `limit`.
    pub fn end_stalled(&mut self, limit: Moment, now: Moment, out: &mut Output) {
        let stalled: Vec<u32> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.tail.is_some())
            .filter(|(_, stream)| stream.stalled_since.is_some_and(|since| since <= limit))
            .map(|(key, _)| key)
            .collect();
        for key in stalled {
            self.notes.get_mut().stalled += 1;
            self.streams.get_mut(key).tail = None;
            self.end_unheld_if(key, now, out);
        }
    }

    fn end_unheld_if(&mut self, key: u32, now: Moment, out: &mut Output) {
        if self.streams.get(key).is_held() {
            self.reset(key, ErrorCode::CANCEL, out);
        } else {
            self.end_unheld(key, now, out);
        }
    }
}
