//! A connection of ours, and frames of its peer written by hand.

use std::rc::Rc;

use super::super::connection::Connection;
use super::super::frame::{self, ErrorCode, FrameHead, HEAD, PREFACE, flag, kind};
use super::super::head::{Head, Heads};
use super::super::hpack::Encoder;
use super::super::memory::Memory;
use super::super::settings::Bounds;
use super::{ms, request, response};
use crate::buffer::{Output, Pool, Slice};
use crate::time::Moment;

pub(super) struct Raw {
    pub(super) connection: Connection,
    pub(super) out: Output,
    pub(super) heads: Rc<Heads>,
    pub(super) encoder: Encoder,
    pub(super) now: Moment,
}

/// A frame that our connection has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) head: FrameHead,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The code of a RST_STREAM or GOAWAY.
    pub(super) fn code(&self) -> ErrorCode {
        ErrorCode(frame::number(&self.payload[if self.head.kind == kind::GOAWAY { 4 } else { 0 }..]))
    }
}

impl Raw {
    /// A server of ours whose client has sent its preface and settings.
    pub(super) fn server(bounds: Bounds) -> Raw {
        Raw::new(bounds, PREFACE, Connection::server)
    }

    /// A client of ours whose service has sent its settings.
    pub(super) fn client(bounds: Bounds) -> Raw {
        Raw::new(bounds, b"", Connection::client)
    }

    fn new(
        bounds: Bounds,
        preface: &[u8],
        make: fn(Rc<Bounds>, Rc<Memory>, &mut Output) -> Connection,
    ) -> Raw {
        let heads = Heads::new();
        let mut out = Output::default();
        let connection = make(Rc::new(bounds), Memory::new(&heads), &mut out);
        let mut raw = Raw { connection, out, heads, encoder: Encoder::new(), now: ms(0) };
        raw.bytes(preface);
        raw.frame(kind::SETTINGS, 0, 0, &[]);
        raw.frame(kind::SETTINGS, flag::ACK, 0, &[]);
        raw.sent();
        raw
    }

    /// Bytes come.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(Pool::SIZE) {
            let mut piece = Slice::copy_of(piece);
            self.connection.receive(&mut piece, self.now, &mut self.out);
            assert!(piece.is_empty() || !self.connection.takes_input(&self.out));
            self.connection.check();
        }
    }

    /// A frame comes.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, kind, flags, stream, payload);
        self.bytes(&bytes);
    }

    /// A head comes.
    pub(super) fn head(&mut self, stream: u32, head: &Head, end: bool) {
        let mut bytes = vec![0; HEAD];
        self.encoder.encode(head, &mut bytes);
        frame::finish_headers(&mut bytes, 0, stream, end, 16_384);
        self.bytes(&bytes);
    }

    /// A request comes.
    pub(super) fn request(&mut self, stream: u32, end: bool) {
        let head = request(&self.heads, "/a.B/C");
        self.head(stream, &head, end);
    }

    /// A request comes and is accepted.
    pub(super) fn accepted(&mut self, stream: u32, end: bool) -> u32 {
        self.request(stream, end);
        self.connection.accept().expect("a request has come").key
    }

    /// We open a stream; its response has begun.
    pub(super) fn answered(&mut self, stream: u32) -> u32 {
        let key = self.opened();
        let head = response(&self.heads);
        self.head(stream, &head, false);
        key
    }

    /// We open a stream.
    pub(super) fn opened(&mut self) -> u32 {
        let head = request(&self.heads, "/a.B/C");
        self.connection.open(&head, false, self.now, &mut self.out).expect("it takes streams")
    }

    pub(super) fn let_go(&mut self, key: u32) {
        self.connection.let_go(key, self.now, &mut self.out);
        self.connection.check();
    }

    /// The frames that were sent since this was asked last.
    pub(super) fn sent(&mut self) -> Vec<Frame> {
        let sent = self.out.parts(0).collect::<Vec<_>>().concat();
        self.out.clear();
        let mut rest = sent.strip_prefix(PREFACE).unwrap_or(&sent);
        let mut frames = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
            let head = FrameHead::read(head);
            let (payload, after) = after.split_at(head.length as usize);
            frames.push(Frame { head, payload: payload.to_vec() });
            rest = after;
        }
        assert!(rest.is_empty());
        frames
    }

    /// The streams that were reset since frames were asked for last, and how.
    pub(super) fn resets(&mut self) -> Vec<(u32, ErrorCode)> {
        let sent = self.sent();
        assert!(sent.iter().all(|frame| frame.head.kind != kind::GOAWAY), "{sent:?}");
        let resets = sent.into_iter().filter(|frame| frame.head.kind == kind::RST_STREAM);
        resets.map(|frame| (frame.head.stream, frame.code())).collect()
    }

    /// The code of the GOAWAY that was sent.
    pub(super) fn failed(&mut self) -> Option<ErrorCode> {
        let sent = self.sent();
        let goaway = sent.iter().find(|frame| frame.head.kind == kind::GOAWAY).map(Frame::code);
        assert_eq!(goaway, self.connection.failed().map(|error| error.code));
        goaway
    }
}

/// A literal field, not indexed, not compressed.
pub(super) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        length(text.len(), &mut block);
        block.extend_from_slice(text);
    }
    block
}

/// The length of a string that is not compressed.
fn length(length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// A block of literal fields.
pub(super) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value)).collect()
}
