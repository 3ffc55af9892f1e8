//! Bytes become frames. Payloads of DATA are passed on piece by piece as they come; other frames are read when they are
//! whole, from where they were received if they lie together there.

use super::connection::{Connection, ConnectionError};
use super::frame::{ErrorCode, FrameHead, HEAD, PREFACE, flag, kind};
use super::input::Cursor;
use crate::buffer::{Output, Slice};
use crate::time::Moment;

/// Memory that is kept for the next frame that comes in pieces.
const KEPT: usize = 64;

/// Bytes that at most count as the answer to a frame. More is payload, which waited for the frame.
const ANSWER_MAX: usize = 64;

/// Bytes that have to be there before a frame can be read: all of it, but DATA without its payload.
fn needed(head: FrameHead) -> usize {
    match head.kind {
        kind::DATA => HEAD + usize::from(head.has(flag::PADDED) && head.length > 0),
        _ => HEAD + head.length as usize,
    }
}

impl Connection {
    /// Whether bytes of the peer are taken. They are not while the peer does not read much that is staged: their
    /// answers would come on top of it.
    ///
    /// Heads and payload alone stop nothing: a peer may read on only when we do. The streams bound the number of heads.
    pub fn takes_input(&self, out: &Output) -> bool {
        let max = self.bounds.max_send_buffer_size as usize;
        !self.is_over && (out.len() < max || out.answers() < max / 4)
    }

    /// Whether something waits until less is staged.
    pub fn wants_room(&self, out: &Output) -> bool {
        !self.is_over && (self.streams.waiting_len() > 0 || !self.takes_input(out))
    }

    /// Takes bytes that came from the peer at `now`. Some are left if too much is staged.
    pub fn receive(&mut self, input: &mut Slice, now: Moment, out: &mut Output) {
        let mut whole = std::mem::take(input);
        let mut cursor = Cursor::new(&whole);
        let mut before = out.len();
        while !cursor.is_empty() && self.takes_input(out) {
            let step = match self.input.data {
                Some(data) => self.receive_data(data, &mut cursor, now, out),
                None if self.input.preface_left > 0 => self.receive_preface(&mut cursor),
                None => self.receive_frame(&mut cursor, now, out),
            };
            if let Err(error) = step {
                self.fail(error, out);
            }
            let after = out.len();
            if after > before {
                out.note_answers((after - before).min(ANSWER_MAX));
                before = after;
            }
        }
        let read = cursor.read();
        if !self.is_over && read < whole.len() {
            whole.advance(read);
            *input = whole;
        }
    }

    fn receive_preface(&mut self, input: &mut Cursor<'_>) -> Result<(), ConnectionError> {
        let expected = &PREFACE[PREFACE.len() - usize::from(self.input.preface_left)..];
        let n = expected.len().min(input.len());
        if input.rest()[..n] != expected[..n] {
            return Err(ConnectionError::protocol("no HTTP/2 preface"));
        }
        self.input.preface_left -= n as u8;
        input.advance(n);
        Ok(())
    }

    /// Reads a frame, or keeps what there is of it.
    fn receive_frame(
        &mut self,
        input: &mut Cursor<'_>,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        let rest = input.rest();
        if self.input.carry.is_empty()
            && let Some(head) = rest.first_chunk::<HEAD>()
        {
            let head = FrameHead::read(head);
            self.check_head(head)?;
            let needed = needed(head);
            if needed <= rest.len() {
                input.advance(needed);
                return self.frame(head, &rest[HEAD..needed], now, out);
            }
        }
        self.carry(input, now, out)
    }

    /// Reads a frame that comes in pieces.
    fn carry(
        &mut self,
        input: &mut Cursor<'_>,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        let mut carry = std::mem::take(&mut self.input.carry);
        if carry.capacity() == 0 {
            carry.reserve(KEPT);
        }
        let needed_now = match carry.first_chunk::<HEAD>() {
            None => HEAD,
            Some(head) => needed(FrameHead::read(head)),
        };
        let n = input.len().min(needed_now - carry.len());
        carry.extend_from_slice(&input.rest()[..n]);
        input.advance(n);
        if let Some(head) = carry.first_chunk::<HEAD>() {
            let head = FrameHead::read(head);
            if carry.len() == HEAD {
                self.check_head(head)?;
            }
            if carry.len() == needed(head) {
                self.frame(head, &carry[HEAD..], now, out)?;
                carry.clear();
                if carry.capacity() > KEPT {
                    carry = Vec::new();
                }
            }
        }
        if !self.is_over {
            self.input.carry = carry;
        }
        Ok(())
    }

    /// Refuses a frame that must not come now, before anything of it is kept.
    fn check_head(&self, head: FrameHead) -> Result<(), ConnectionError> {
        if head.length > self.bounds.max_frame_size {
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "frame larger than announced"));
        }
        if !self.has_settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(ConnectionError::protocol("the first frame is not SETTINGS"));
        }
        let continues = self.input.block.as_ref().map(|block| block.stream);
        if continues.is_some_and(|stream| head.kind != kind::CONTINUATION || head.stream != stream) {
            return Err(ConnectionError::protocol("a head is not continued"));
        }
        Ok(())
    }

    fn frame(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        match head.kind {
            kind::DATA => {
                self.quiet_ping = None;
                self.on_data(head, payload.first().copied(), now, out)
            }
            kind::HEADERS => {
                self.quiet_ping = None;
                self.on_headers(head, payload, now, out)
            }
            kind::CONTINUATION => self.on_continuation(head, payload, now, out),
            kind::RST_STREAM => self.on_rst_stream(head, payload, now, out),
            kind::WINDOW_UPDATE => self.on_window_update(head, payload, now, out),
            kind::SETTINGS => self.on_settings(head, payload, now, out),
            kind::PING => self.on_ping(head, payload, now, out),
            kind::GOAWAY => self.on_goaway(head, payload, now),
            kind::PRIORITY => self.on_priority(head, payload, now, out),
            kind::PUSH_PROMISE => Err(ConnectionError::protocol("PUSH_PROMISE")),
            _ => self.on_unknown(now),
        }
    }
}
