//! HEADERS and CONTINUATION frames of a peer: requests, responses and trailers (RFC 9113 sections 6.2, 6.10 and 8).

use super::connection::{Connection, ConnectionError};
use super::flow::ReceiveWindow;
use super::frame::{ErrorCode, FrameHead, flag, number};
use super::guard::Flood;
use super::head::Head;
use super::hpack::{Kind, Limits, Verdict};
use super::input::Block;
use super::settings::DEFAULT_WINDOW;
use super::state::StreamError;
use super::streams::Found;
use crate::buffer::Output;
use crate::time::Moment;

/// Responses with a status of 1xx that one stream may have.
const INTERIM_MAX: u16 = 16;

/// Heads that may come on a stream that we have reset, which its peer may not know yet. Who sends more does not read, and
/// would never stop.
const LATE_HEADS_MAX: u16 = 10_000;

/// A head whose frames have all come.
#[derive(Clone, Copy)]
struct Whole<'a> {
    stream: u32,
    ends_stream: bool,
    depends_on_itself: bool,
    block: &'a [u8],
}

/// A decoded head, and the verdict on it.
enum Decoded {
    Good(Head),
    TooLarge(Head),
    Malformed(&'static str),
}

impl Connection {
    pub(super) fn on_headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("HEADERS on the connection"));
        }
        let (fragment, depends_on_itself) = fragment(head, payload)?;
        let ends_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            let whole = Whole { stream: head.stream, ends_stream, depends_on_itself, block: fragment };
            return self.on_head(whole, now, out);
        }
        self.input.block = Some(Box::new(Block {
            stream: head.stream,
            ends_stream,
            depends_on_itself,
            fragments: fragment.to_vec(),
            continuations: 0,
        }));
        Ok(())
    }

    pub(super) fn on_continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        let Some(mut block) = self.input.block.take() else {
            return Err(ConnectionError::protocol("CONTINUATION of nothing"));
        };
        block.continuations += 1;
        let is_too_long = block.fragments.len() + payload.len() > self.bounds.max_block(self.is_client);
        if is_too_long || block.continuations > self.bounds.max_continuations {
            return Err(Flood::Continuations.into());
        }
        block.fragments.extend_from_slice(payload);
        if !head.has(flag::END_HEADERS) {
            self.input.block = Some(block);
            return Ok(());
        }
        let Block { stream, ends_stream, depends_on_itself, ref fragments, .. } = *block;
        self.on_head(Whole { stream, ends_stream, depends_on_itself, block: fragments }, now, out)
    }

    fn on_head(&mut self, whole: Whole<'_>, now: Moment, out: &mut Output) -> Result<(), ConnectionError> {
        match self.streams.find(whole.stream) {
            Found::Open(key) => self.on_head_of(key, whole, now, out),
            Found::Reset => {
                self.notes.get_mut().late_frames += 1;
                if self.streams.late_head(whole.stream) > LATE_HEADS_MAX {
                    return Err(Flood::Interim.into());
                }
                self.skip(whole)
            }
            _ if self.is_disregarded(whole.stream) => {
                self.last_peer_stream = self.last_peer_stream.max(whole.stream);
                self.notes.get_mut().late_frames += 1;
                self.skip(whole)
            }
            Found::Unknown if self.is_new(whole.stream) => self.on_request(whole, now, out),
            found => {
                self.on_closed_stream(found, whole.stream, "HEADERS")?;
                self.skip(whole)
            }
        }
    }

    /// Whether a client opens a stream with this number.
    fn is_new(&self, stream: u32) -> bool {
        !self.is_client && stream % 2 == 1 && stream > self.last_peer_stream
    }

    /// Decodes a head that no stream wants, for it may change the table.
    fn skip(&mut self, whole: Whole<'_>) -> Result<(), ConnectionError> {
        self.decode(whole, Kind::Trailers).map(drop)
    }

    fn decode(&mut self, whole: Whole<'_>, kind: Kind) -> Result<Decoded, ConnectionError> {
        let limits = Limits {
            list_size: self.bounds.max_header_list_size as usize,
            fields: self.bounds.max_headers_count as usize,
        };
        let mut head = self.memory.heads.head();
        match self.decoder.decode(whole.block, kind, limits, &mut head) {
            Err(_) => {
                Err(ConnectionError::new(ErrorCode::COMPRESSION_ERROR, "a head cannot be decompressed"))
            }
            Ok(_) if whole.depends_on_itself => Ok(Decoded::Malformed("a stream depends on itself")),
            Ok(Verdict::Good) => Ok(Decoded::Good(head)),
            Ok(Verdict::TooLarge | Verdict::TooMany) => {
                self.notes.get_mut().heads_too_large += 1;
                Ok(Decoded::TooLarge(head))
            }
            Ok(Verdict::Malformed(malformed)) => Ok(Decoded::Malformed(malformed.as_str())),
        }
    }

    /// Opens a stream of a client.
    fn on_request(&mut self, whole: Whole<'_>, now: Moment, out: &mut Output) -> Result<(), ConnectionError> {
        self.last_peer_stream = whole.stream;
        let decoded = self.decode(whole, Kind::Request)?;
        if self.has_open(self.bounds.max_concurrent_streams) {
            self.notes.get_mut().refused_streams += 1;
            return self.reset_unknown(whole.stream, ErrorCode::REFUSED_STREAM, now, out);
        }
        let (head, is_too_large) = match decoded {
            Decoded::Good(head) => (head, false),
            Decoded::TooLarge(head) => (head, true),
            Decoded::Malformed(_) => {
                self.notes.get_mut().malformed += 1;
                return self.reset_unknown(whole.stream, ErrorCode::PROTOCOL_ERROR, now, out);
            }
        };
        let size = self.bounds.stream_window;
        // A client that has not heard of a smaller window may use the usual one.
        let known = if self.knows_settings { size } else { size.max(DEFAULT_WINDOW) };
        let window = ReceiveWindow::new(known, size);
        let key =
            self.streams.open(&self.memory.tables, whole.stream, window, self.peer.initial_window_size, now);
        let stream = self.streams.get_mut(key);
        stream.is_new = true;
        stream.received.has_head = true;
        stream.received.content_left = head.content_length();
        stream.received.head = Some(head);
        if is_too_large {
            // The caller answers it with an error, and nothing wants its body.
            stream.received.content_left = None;
            stream.is_too_large = true;
        }
        self.streams.accepted().push_back(key);
        if whole.ends_stream { self.on_end_stream(key, now, out) } else { Ok(()) }
    }

    /// Takes a head on a stream that is open.
    fn on_head_of(
        &mut self,
        key: u32,
        whole: Whole<'_>,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), ConnectionError> {
        let stream = self.streams.get(key);
        let (has_head, has_end, is_reset) = (stream.received.has_head, stream.received.end, stream.is_reset);
        let peer_reset = stream.peer_reset;
        let decoded = self.decode(whole, if has_head { Kind::Trailers } else { Kind::Response })?;
        if is_reset {
            self.on_reset_stream(peer_reset, whole.stream, "HEADERS")?;
            let heads = &mut self.streams.get_mut(key).received.interim;
            *heads = heads.saturating_add(1);
            return if *heads > LATE_HEADS_MAX { Err(Flood::Interim.into()) } else { Ok(()) };
        }
        let verdict = match decoded {
            _ if has_end => Err((ErrorCode::STREAM_CLOSED, "HEADERS after the end of the stream")),
            Decoded::Malformed(reason) => Err((ErrorCode::PROTOCOL_ERROR, reason)),
            Decoded::TooLarge(_) => {
                if !self.is_client {
                    self.guard.take(Flood::Resets, &self.bounds.budgets, now)?;
                }
                self.fail_stream(key, StreamError::HeadTooLarge, ErrorCode::CANCEL, out);
                return Ok(());
            }
            Decoded::Good(_) if has_head && !whole.ends_stream => {
                Err((ErrorCode::PROTOCOL_ERROR, "trailers that do not end the stream"))
            }
            Decoded::Good(head) => self.take_head(key, head, whole.ends_stream),
        };
        match verdict {
            Err((code, reason)) => self.stream_error(whole.stream, code, reason, now, out),
            Ok(()) if whole.ends_stream => self.on_end_stream(key, now, out),
            Ok(()) => Ok(()),
        }
    }

    fn take_head(&mut self, key: u32, head: Head, ends: bool) -> Result<(), (ErrorCode, &'static str)> {
        let received = &mut self.streams.get_mut(key).received;
        if received.has_head {
            received.trailers = Some(head);
            return Ok(());
        }
        if head.status().is_some_and(|status| (100..200).contains(&status)) {
            received.interim += 1;
            // RFC 9113 section 8.6: HTTP/2 has no 101.
            return match head.status() {
                Some(101) => Err((ErrorCode::PROTOCOL_ERROR, "status 101")),
                _ if ends => Err((ErrorCode::PROTOCOL_ERROR, "an interim response ends the stream")),
                _ if received.interim > INTERIM_MAX => {
                    Err((ErrorCode::ENHANCE_YOUR_CALM, Flood::Interim.name()))
                }
                _ => Ok(()),
            };
        }
        received.has_head = true;
        received.content_left = head.content_length().filter(|_| !ends);
        received.head = Some(head);
        let stream = self.streams.get(key);
        self.resets.get_mut().answered(stream.id);
        if !ends {
            stream.wake();
        }
        Ok(())
    }
}

/// The part of a HEADERS frame that is the head, and whether the frame's priority makes its stream depend on itself.
fn fragment(head: FrameHead, payload: &[u8]) -> Result<(&[u8], bool), ConnectionError> {
    let mut payload = payload;
    let mut padding = 0;
    if head.has(flag::PADDED) {
        let Some((first, rest)) = payload.split_first() else {
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "HEADERS without its padding"));
        };
        padding = usize::from(*first);
        payload = rest;
    }
    let mut depends_on_itself = false;
    if head.has(flag::PRIORITY) {
        let Some((priority, rest)) = payload.split_at_checked(5) else {
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, "HEADERS without its priority"));
        };
        depends_on_itself = number(priority) & 0x7fff_ffff == head.stream;
        payload = rest;
    }
    match payload.len().checked_sub(padding) {
        Some(length) => Ok((&payload[..length], depends_on_itself)),
        None => Err(ConnectionError::protocol("more padding than payload")),
    }
}
