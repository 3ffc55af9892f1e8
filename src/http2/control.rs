//! Frames of a peer that say something of the connection, or of a stream as a whole (RFC 9113 section 6).

use super::connection::{Connection, ConnectionError, GoAway};
use super::frame::{self, ErrorCode, FrameHead, flag, number};
use super::guard::Flood;
use super::state::StreamError;
use super::streams::Found;
use crate::buffer::Output;
use crate::time::Moment;

impl Connection {
    pub(super) fn on_settings(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("SETTINGS on a stream"));
        }
        if head.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "SETTINGS in an answer"));
            }
            self.knows_settings = true;
            return Ok(());
        }
        self.guard.take(Flood::Settings, &self.bounds.budgets, now)?;
        let before = self.peer.initial_window_size;
        let applied = self.peer.apply(payload, !self.has_settings);
        let smallest = applied.map_err(|code| ConnectionError::new(code, "a setting that is not allowed"))?;
        self.has_settings = true;
        if let Some(smallest) = smallest {
            self.encoder.set_max_table_size(smallest as usize);
            self.encoder.set_max_table_size(self.peer.header_table_size as usize);
        }
        frame::write(out.bytes(), frame::kind::SETTINGS, flag::ACK, 0, &[]);
        if before != self.peer.initial_window_size {
            self.shift_windows(before, now, out)?;
        }
        self.wake();
        Ok(())
    }

    fn shift_windows(&mut self, before: u32, now: Moment, out: &mut Output) -> Result<(), ConnectionError> {
        let size = self.peer.initial_window_size;
        let mut with_tails = Vec::new();
        for (key, stream) in self.streams.iter_mut() {
            if stream.send_window.shift(before, size).is_err() {
                return Err(ConnectionError::new(ErrorCode::FLOW_CONTROL_ERROR, "window above 2^31 - 1"));
            }
            if stream.tail.is_some() {
                with_tails.push(key);
            } else {
                stream.wake();
            }
        }
        for key in with_tails {
            self.send_tail(key, now, out);
        }
        Ok(())
    }

    pub(super) fn on_ping(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("PING on a stream"));
        }
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "PING of another size"));
        };
        let is_answer = head.has(flag::ACK);
        if is_answer && (self.pong(payload, out) || self.is_client) {
            return Ok(());
        }
        // An answer of a client that nobody waits for is as good as a ping.
        self.guard.take(Flood::Pings, &self.bounds.budgets, now)?;
        if !is_answer {
            frame::ping(out.bytes(), true, payload);
        }
        Ok(())
    }

    pub(super) fn on_goaway(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
    ) -> Result<(), ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("GOAWAY on a stream"));
        }
        if payload.len() < 8 {
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "GOAWAY without its fields"));
        }
        let mut last_stream = number(payload) & 0x7fff_ffff;
        let code = ErrorCode(number(&payload[4..]));
        if let Some(before) = self.goaway {
            // A GOAWAY that takes an earlier one back comes too late for the streams; RFC 9113 section 6.8 forbids it.
            last_stream = last_stream.min(before.last_stream);
        }
        self.notes.get_mut().goaways += 1;
        let too_many_pings = payload[8..].starts_with(b"too_many_pings");
        let is_lower = self.goaway.is_none_or(|before| last_stream < before.last_stream);
        if !is_lower {
            self.guard.take(Flood::Priorities, &self.bounds.budgets, now)?;
        }
        self.goaway = Some(GoAway { last_stream, code, too_many_pings });
        if self.is_client && is_lower {
            for (_, stream) in self.streams.iter_mut() {
                if stream.id > last_stream && !stream.is_closed() {
                    stream.fail(StreamError::Unprocessed);
                }
            }
            self.forget_orphans();
        }
        self.wake();
        Ok(())
    }

    pub(super) fn on_rst_stream(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if payload.len() != 4 {
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "RST_STREAM of another size"));
        }
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(ConnectionError::protocol("RST_STREAM on an idle stream"));
        }
        // Strangers share a connection to a service: what it resets ends their streams alone.
        if !self.is_client {
            self.guard.take(Flood::Resets, &self.bounds.budgets, now)?;
        }
        self.notes.get_mut().resets += 1;
        if number(payload) != ErrorCode::REFUSED_STREAM.0 {
            self.resets.get_mut().answered(head.stream);
        }
        match self.streams.find(head.stream) {
            Found::Open(key) => {
                let stream = self.streams.get_mut(key);
                stream.peer_reset = true;
                if !stream.is_closed() {
                    stream.fail(StreamError::Reset(ErrorCode(number(payload))));
                }
                self.after_end(key, out);
            }
            // The resets of both sides crossed.
            Found::Reset if !self.is_client => self.streams.forget_reset(head.stream, &self.memory.tables),
            Found::Reset | Found::Ended | Found::Unknown => {}
        }
        Ok(())
    }

    pub(super) fn on_window_update(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if payload.len() != 4 {
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "WINDOW_UPDATE of another size"));
        }
        if !self.is_client {
            self.guard.take(Flood::WindowUpdates, &self.bounds.budgets, now)?;
        }
        let increment = number(payload) & 0x7fff_ffff;
        if head.stream == 0 {
            if increment == 0 {
                return Err(ConnectionError::protocol("WINDOW_UPDATE of nothing"));
            }
            if self.send_window.add(increment).is_err() {
                return Err(ConnectionError::new(ErrorCode::FLOW_CONTROL_ERROR, "window above 2^31 - 1"));
            }
            self.wake_waiting(now, out);
            return Ok(());
        }
        if self.is_idle(head.stream) {
            return Err(ConnectionError::protocol("WINDOW_UPDATE on an idle stream"));
        }
        // A service reads a body once it has accepted the stream.
        self.resets.get_mut().answered(head.stream);
        let Found::Open(key) = self.streams.find(head.stream) else { return Ok(()) };
        let stream = self.streams.get_mut(key);
        if stream.is_reset {
            return Ok(());
        }
        if increment == 0 {
            let reason = "WINDOW_UPDATE of nothing";
            return self.stream_error(head.stream, ErrorCode::PROTOCOL_ERROR, reason, now, out);
        }
        if stream.send_window.add(increment).is_err() {
            let reason = "window above 2^31 - 1";
            return self.stream_error(head.stream, ErrorCode::FLOW_CONTROL_ERROR, reason, now, out);
        }
        if stream.tail.is_some() {
            self.send_tail(key, now, out);
        } else if stream.stalled_since.is_some() {
            stream.wake();
        }
        Ok(())
    }

    /// Priorities are deprecated (RFC 9113 section 5.3.2): PRIORITY is checked, counted and ignored.
    pub(super) fn on_priority(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("PRIORITY on the connection"));
        }
        self.guard.take(Flood::Priorities, &self.bounds.budgets, now)?;
        self.notes.get_mut().priorities += 1;
        let (code, reason) = if payload.len() != 5 {
            (ErrorCode::FRAME_SIZE_ERROR, "PRIORITY of another size")
        } else if number(payload) & 0x7fff_ffff == head.stream {
            (ErrorCode::PROTOCOL_ERROR, "a stream depends on itself")
        } else {
            return Ok(());
        };
        // A stream that is idle or over cannot be reset (RFC 9113 section 6.4). Strangers use a service's connection.
        if !self.is_client && !matches!(self.streams.find(head.stream), Found::Open(_)) {
            return Err(ConnectionError::new(code, reason));
        }
        self.stream_error(head.stream, code, reason, now, out)
    }

    /// Frames of unknown kinds are ignored (RFC 9113 section 5.5).
    pub(super) fn on_unknown(&mut self, now: Moment) -> Result<(), ConnectionError> {
        self.guard.take(Flood::Priorities, &self.bounds.budgets, now).map_err(ConnectionError::from)
    }

    /// Whether neither side has opened this stream yet.
    fn is_idle(&self, stream: u32) -> bool {
        let is_ours = (stream % 2 == 1) == self.is_client;
        if is_ours { stream >= self.next_stream } else { stream > self.last_peer_stream }
    }

    /// Judges a DATA or HEADERS frame for a stream that is over, or has never been. A service only shows how late it
    /// is, and strangers share its connection.
    pub(super) fn on_closed_stream(
        &mut self,
        found: Found,
        stream: u32,
        frame: &'static str,
    ) -> Result<(), ConnectionError> {
        if self.is_disregarded(stream) {
            self.notes.get_mut().late_frames += 1;
            return Ok(());
        }
        if self.is_idle(stream) {
            return Err(ConnectionError::protocol(match frame {
                "DATA" => "DATA on an idle stream",
                _ => "HEADERS on a stream that the peer cannot open",
            }));
        }
        if self.is_client {
            self.notes.get_mut().late_frames += 1;
            return Ok(());
        }
        match found {
            Found::Unknown if frame == "HEADERS" => {
                Err(ConnectionError::protocol("a stream below one that was opened"))
            }
            _ => Err(ConnectionError::new(ErrorCode::STREAM_CLOSED, "a frame on a stream that is over")),
        }
    }

    /// Judges a DATA or HEADERS frame for a stream that was reset and that somebody still holds. We have reset it while the
    /// frame was on its way, or the peer has before it sent the frame (RFC 9113 section 5.1).
    pub(super) fn on_reset_stream(
        &mut self,
        peer_reset: bool,
        stream: u32,
        frame: &'static str,
    ) -> Result<(), ConnectionError> {
        if peer_reset { self.on_closed_stream(Found::Ended, stream, frame) } else { Ok(()) }
    }

    /// Ends a stream over a violation of the peer.
    ///
    /// # Errors
    /// When a client has done so too often: each costs us more than it costs the client (CVE-2025-8671).
    pub(super) fn stream_error(
        &mut self,
        id: u32,
        code: ErrorCode,
        reason: &'static str,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        self.notes.get_mut().malformed += 1;
        match self.streams.find(id) {
            Found::Open(key) => {
                if !self.is_client {
                    self.guard.take(Flood::Resets, &self.bounds.budgets, now)?;
                }
                self.fail_stream(key, StreamError::Malformed(reason), code, out);
                Ok(())
            }
            Found::Reset | Found::Ended | Found::Unknown => Ok(()),
        }
    }

    /// Resets a stream with an error.
    pub(super) fn fail_stream(&mut self, key: u32, error: StreamError, code: ErrorCode, out: &mut Output) {
        let stream = self.streams.get_mut(key);
        if stream.is_reset {
            return;
        }
        // Nothing may be sent on a stream that both sides have ended (RFC 9113 section 5.1).
        if !stream.is_complete() {
            frame::rst_stream(out.bytes(), stream.id, code);
            stream.we_reset = true;
        }
        stream.fail(error);
        self.after_end(key, out);
    }

    /// Clears up after a stream that ended before its time. A stream that was not accepted yet is not offered any more.
    pub(super) fn after_end(&mut self, key: u32, out: &mut Output) {
        let stream = self.streams.get_mut(key);
        if stream.is_new && stream.is_reset {
            stream.is_new = false;
            stream.holders -= 1;
            let held = stream.receive_window.held();
            stream.receive_window.release(held);
            self.release_connection(held, out);
            let accepted = self.streams.accepted();
            if let Some(at) = accepted.iter().rposition(|accepted| *accepted == key) {
                accepted.remove(at);
            }
        }
        self.forget_if_over(key);
    }

    /// Resets a stream that was never opened here.
    pub(super) fn reset_unknown(
        &mut self,
        id: u32,
        code: ErrorCode,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if !self.is_client {
            self.guard.take(Flood::Resets, &self.bounds.budgets, now)?;
        }
        frame::rst_stream(out.bytes(), id, code);
        self.streams.remember_reset(id);
        Ok(())
    }
}
