//! DATA frames of a peer (RFC 9113 section 6.1).

use super::connection::{Connection, ConnectionError};
use super::frame::{self, ErrorCode, FrameHead, flag};
use super::guard::Flood;
use super::input::{Cursor, DataFrame};
use super::settings::MAX_WINDOW;
use super::streams::Found;
use crate::buffer::Output;
use crate::time::Moment;

impl Connection {
    /// Begins a DATA frame; `padding` is its Pad Length field, if it has one.
    pub(super) fn on_data(
        &mut self,
        head: FrameHead,
        padding: Option<u8>,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("DATA on the connection"));
        }
        let is_padded = head.has(flag::PADDED);
        let padding = u32::from(padding.filter(|_| is_padded).unwrap_or(0));
        if is_padded && padding >= head.length {
            return Err(ConnectionError::protocol("more padding than payload"));
        }
        if !self.receive_window.allows(head.length) {
            return Err(ConnectionError::new(ErrorCode::FLOW_CONTROL_ERROR, "connection window exceeded"));
        }
        let ends_stream = head.has(flag::END_STREAM);
        let body_left = head.length - u32::from(is_padded) - padding;
        if body_left == 0 && !ends_stream {
            self.on_empty(head.stream, now, out)?;
        }
        let key = self.data_target(head, now, out)?;
        let frame = DataFrame { id: head.stream, key, body_left, padding_left: padding, ends_stream };
        self.discard(frame, u32::from(is_padded), out);
        self.go_on(frame, now, out)
    }

    /// Counts a frame without payload. Too many of them end a client's connection. Strangers share a service's
    /// connection, so there they end their stream.
    fn on_empty(&mut self, stream: u32, now: Moment, out: &mut Output) -> Result<(), ConnectionError> {
        match self.guard.take(Flood::EmptyFrames, &self.bounds.budgets, now) {
            Err(flood) if self.is_client => {
                self.stream_error(stream, ErrorCode::ENHANCE_YOUR_CALM, flood.name(), now, out)
            }
            taken => Ok(taken?),
        }
    }

    /// The stream that takes the bytes of a frame; `None` if they are to be ignored.
    fn data_target(
        &mut self,
        head: FrameHead,
        now: Moment,
        out: &mut Output,
    ) -> Result<Option<u32>, ConnectionError> {
        let key = match self.streams.find(head.stream) {
            Found::Open(key) => key,
            Found::Reset => {
                self.notes.get_mut().late_frames += 1;
                return Ok(None);
            }
            found => return self.on_closed_stream(found, head.stream, "DATA").map(|()| None),
        };
        let stream = self.streams.get_mut(key);
        let verdict = if stream.is_reset {
            let peer_reset = stream.peer_reset;
            return self.on_reset_stream(peer_reset, head.stream, "DATA").map(|()| None);
        } else if stream.received.end {
            Some((ErrorCode::STREAM_CLOSED, "DATA after the end of the stream"))
        } else if !stream.received.has_head {
            Some((ErrorCode::PROTOCOL_ERROR, "DATA before the head"))
        } else if !stream.receive_window.allows(head.length) {
            Some((ErrorCode::FLOW_CONTROL_ERROR, "stream window exceeded"))
        } else {
            None
        };
        match verdict {
            Some((code, reason)) => {
                self.stream_error(head.stream, code, reason, now, out)?;
                Ok(None)
            }
            None => Ok(Some(key)),
        }
    }

    /// Takes bytes of a frame's payload.
    pub(super) fn receive_data(
        &mut self,
        mut frame: DataFrame,
        input: &mut Cursor<'_>,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if frame.body_left > 0 {
            let part = input.take(input.len().min(frame.body_left as usize));
            let length = part.len() as u32;
            frame.body_left -= length;
            let key = frame.key;
            match key
                .and_then(|key| self.streams.get_if(key, frame.id))
                .filter(|stream| stream.is_held() && !stream.is_reset)
            {
                Some(stream) => {
                    let content_left = &mut stream.received.content_left;
                    match content_left.map(|left| left.checked_sub(length.into())) {
                        Some(None) => {
                            self.discard(frame, length, out);
                            let reason = "more bytes than content-length says";
                            self.stream_error(frame.id, ErrorCode::PROTOCOL_ERROR, reason, now, out)?;
                        }
                        left => {
                            *content_left = left.flatten();
                            stream.receive_window.receive(length);
                            stream.received.data.push(part);
                            if frame.body_left > 0 || !frame.ends_stream {
                                stream.wake();
                            }
                            self.receive_window.receive(length);
                        }
                    }
                }
                None => self.discard(frame, length, out),
            }
        } else {
            let n = input.len().min(frame.padding_left as usize);
            input.advance(n);
            frame.padding_left -= n as u32;
            self.discard(frame, n as u32, out);
        }
        self.go_on(frame, now, out)
    }

    /// Waits for the rest of a frame, or ends it.
    fn go_on(&mut self, frame: DataFrame, now: Moment, out: &mut Output) -> Result<(), ConnectionError> {
        if frame.body_left > 0 || frame.padding_left > 0 {
            self.input.data = Some(frame);
            return Ok(());
        }
        self.input.data = None;
        match frame.key {
            Some(key) if frame.ends_stream && self.streams.get_if(key, frame.id).is_some() => {
                self.on_end_stream(key, now, out)
            }
            _ => Ok(()),
        }
    }

    /// Gives bytes back to the peer's windows at once, for no stream takes them.
    fn discard(&mut self, frame: DataFrame, bytes: u32, out: &mut Output) {
        if bytes == 0 {
            return;
        }
        // The window of a stream that lives counts them, too. Padding's share of it is given back at once, for nobody
        // may ever take anything of the stream.
        if let Some(stream) = frame.key.and_then(|key| self.streams.get_if(key, frame.id))
            && !stream.is_reset
        {
            stream.receive_window.receive(bytes);
            stream.receive_window.release(bytes);
            if stream.is_held()
                && !frame.ends_stream
                && let Some(increment) = stream.receive_window.update()
            {
                frame::window_update(out.bytes(), stream.id, increment);
            }
        }
        self.receive_window.receive(bytes);
        self.release_connection(bytes, out);
    }

    /// Ends the peer's side of a stream.
    pub(super) fn on_end_stream(
        &mut self,
        key: u32,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        let stream = self.streams.get_mut(key);
        if stream.is_reset {
            return Ok(());
        }
        if stream.received.content_left.is_some_and(|left| left > 0) {
            let id = stream.id;
            let reason = "fewer bytes than content-length says";
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, reason, now, out);
        }
        stream.received.end = true;
        stream.wake();
        self.forget_if_over(key);
        Ok(())
    }

    /// Gives taken bytes back to the windows: the peer may send as many more.
    pub fn release(&mut self, key: u32, bytes: usize, out: &mut Output) {
        let stream = self.streams.get_mut(key);
        // A stream that ended gave the bytes it held back to the connection then.
        let bytes = (bytes as u32).min(stream.receive_window.held());
        stream.receive_window.release(bytes);
        self.streams.tune(key, self.bounds.max_stream_window, self.bounds.connection_window);
        let stream = self.streams.get_mut(key);
        if stream.received.end && stream.receive_window.held() == 0 {
            self.streams.body_is_over(key);
            self.grant(out);
        }
        let stream = self.streams.get_mut(key);
        if !stream.received.end
            && !stream.is_reset
            && let Some(increment) = stream.receive_window.update()
        {
            frame::window_update(out.bytes(), stream.id, increment);
        }
        self.release_connection(bytes, out);
    }

    /// The body of this stream is kept until it is whole, and nothing of it is released before that: the peer has to be let
    /// send all of it, `size` bytes at most. It waits while bodies of other streams need what the connection's window has, so
    /// a peer pins no more than that. False, and nothing is done, if it has not as much; then bytes are to be released as
    /// they are taken.
    pub fn keep_whole(&mut self, key: u32, size: usize, out: &mut Output) -> bool {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        if size > self.bounds.connection_window.min(MAX_WINDOW) {
            return false;
        }
        // The body may be whole before the window is used up.
        if self.streams.get(key).receive_window.is_half_used() {
            self.streams.keep_whole(key, size);
            self.grant(out);
        }
        true
    }

    /// Tells streams of the windows that they waited for.
    pub(super) fn grant(&mut self, out: &mut Output) {
        while let Some(key) = self.streams.grant(self.bounds.connection_window) {
            let stream = self.streams.get_mut(key);
            if !stream.received.end
                && let Some(increment) = stream.receive_window.update()
            {
                frame::window_update(out.bytes(), stream.id, increment);
            }
        }
    }

    pub(super) fn release_connection(&mut self, bytes: u32, out: &mut Output) {
        self.receive_window.release(bytes);
        if !self.is_over
            && let Some(increment) = self.receive_window.update()
        {
            frame::window_update(out.bytes(), 0, increment);
        }
    }
}
