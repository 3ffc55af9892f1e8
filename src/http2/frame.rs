//! The frames of HTTP/2 as bytes (RFC 9113 sections 4 and 6): their heads read, and all that we send written.

use std::fmt;

/// Bytes of a frame's head.
pub const HEAD: usize = 9;

/// The largest frame that every peer takes, and the least that it may announce (RFC 9113 section 6.5.2).
pub const DEFAULT_MAX_FRAME_SIZE: u32 = 16_384;

/// Bytes that a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6), by their numbers on the wire.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The flags of frames. Some share a bit, in frames of different kinds.
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// An error code (RFC 9113 section 7). Peers may send any number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    pub const NO_ERROR: ErrorCode = ErrorCode(0);
    pub const PROTOCOL_ERROR: ErrorCode = ErrorCode(1);
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(2);
    pub const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(3);
    pub const SETTINGS_TIMEOUT: ErrorCode = ErrorCode(4);
    pub const STREAM_CLOSED: ErrorCode = ErrorCode(5);
    pub const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(6);
    pub const REFUSED_STREAM: ErrorCode = ErrorCode(7);
    pub const CANCEL: ErrorCode = ErrorCode(8);
    pub const COMPRESSION_ERROR: ErrorCode = ErrorCode(9);
    pub const CONNECT_ERROR: ErrorCode = ErrorCode(10);
    pub const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(11);
    pub const INADEQUATE_SECURITY: ErrorCode = ErrorCode(12);
    pub const HTTP_1_1_REQUIRED: ErrorCode = ErrorCode(13);

    /// The code's name in RFC 9113, if it has one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "NO_ERROR",
            1 => "PROTOCOL_ERROR",
            2 => "INTERNAL_ERROR",
            3 => "FLOW_CONTROL_ERROR",
            4 => "SETTINGS_TIMEOUT",
            5 => "STREAM_CLOSED",
            6 => "FRAME_SIZE_ERROR",
            7 => "REFUSED_STREAM",
            8 => "CANCEL",
            9 => "COMPRESSION_ERROR",
            10 => "CONNECT_ERROR",
            11 => "ENHANCE_YOUR_CALM",
            12 => "INADEQUATE_SECURITY",
            13 => "HTTP_1_1_REQUIRED",
            _ => return None,
        })
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0),
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: u32,
    pub kind: u8,
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
}

impl FrameHead {
    /// Reads a head.
    #[inline]
    pub fn read(bytes: &[u8; HEAD]) -> FrameHead {
        // Two loads, where one of each byte would be nine.
        let [b0, b1, b2, b3, b4, stream @ ..] = *bytes;
        let [_, _, _, _, _, c0, c1, c2, _] = *bytes;
        let first = u64::from_be_bytes([b0, b1, b2, b3, b4, c0, c1, c2]);
        FrameHead {
            length: (first >> 40) as u32,
            kind: (first >> 32) as u8,
            flags: (first >> 24) as u8,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// The head as it is sent.
    #[inline]
    fn to_bytes(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    /// Writes a head.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// Whether a flag is set.
    #[inline]
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The number at the beginning of a payload that is long enough.
#[inline]
pub fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Writes a frame whose payload is given.
#[inline]
pub fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("frames of ours are small");
    FrameHead { length, kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

/// Writes a RST_STREAM.
pub fn rst_stream(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    write(out, kind::RST_STREAM, 0, stream, &code.0.to_be_bytes());
}

/// Writes a WINDOW_UPDATE.
#[inline]
pub fn window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    write(out, kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

/// Writes a PING, or the answer to one.
pub fn ping(out: &mut Vec<u8>, is_ack: bool, payload: [u8; 8]) {
    write(out, kind::PING, if is_ack { flag::ACK } else { 0 }, 0, &payload);
}

/// Writes a GOAWAY.
pub fn goaway(out: &mut Vec<u8>, last_stream: u32, code: ErrorCode, debug: &str) {
    let debug = debug.as_bytes();
    let length = 8 + u32::try_from(debug.len()).expect("our reasons are short");
    FrameHead { length, kind: kind::GOAWAY, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug);
}

/// Splits what was written from `at` on, behind the room for a frame's head, into a HEADERS frame and as many
/// CONTINUATION frames as the peer's largest frame takes.
pub fn finish_headers(out: &mut Vec<u8>, at: usize, stream: u32, end_stream: bool, max: u32) {
    let length = out.len() - at - HEAD;
    let max = max as usize;
    let end_stream = if end_stream { flag::END_STREAM } else { 0 };
    if length <= max {
        let flags = flag::END_HEADERS | end_stream;
        return put_head(out, at, FrameHead { length: length as u32, kind: kind::HEADERS, flags, stream });
    }
    let block = out.split_off(at + HEAD);
    let mut pieces = block.chunks(max).enumerate().peekable();
    out.truncate(at);
    while let Some((number, piece)) = pieces.next() {
        let (kind, flags) = if number == 0 { (kind::HEADERS, end_stream) } else { (kind::CONTINUATION, 0) };
        let last = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        write(out, kind, flags | last, stream, piece);
    }
}

/// Writes a head where room was left for it.
#[inline]
fn put_head(out: &mut [u8], at: usize, head: FrameHead) {
    // As an array, for that is two stores and no call.
    *out[at..].first_chunk_mut::<HEAD>().expect("room was left for it") = head.to_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was() {
        let head = FrameHead { length: 0x01_02_03, kind: 9, flags: 0x2d, stream: 0x7fff_fffe };
        let mut bytes = Vec::new();
        head.write(&mut bytes);
        assert_eq!(bytes, [1, 2, 3, 9, 0x2d, 0x7f, 0xff, 0xff, 0xfe]);
        let mut bytes: [u8; HEAD] = bytes.try_into().expect("nine bytes");
        assert_eq!(FrameHead::read(&bytes), head);
        bytes[5] |= 0x80;
        assert_eq!(FrameHead::read(&bytes), head, "the reserved bit means nothing");
    }

    #[test]
    fn a_large_block_is_split_as_the_peer_takes_it() {
        for (length, frames) in [
            (0, vec![(kind::HEADERS, 0, flag::END_HEADERS | flag::END_STREAM)]),
            (10, vec![(kind::HEADERS, 10, flag::END_HEADERS | flag::END_STREAM)]),
            (11, vec![(kind::HEADERS, 10, flag::END_STREAM), (kind::CONTINUATION, 1, flag::END_HEADERS)]),
            (
                30,
                vec![
                    (kind::HEADERS, 10, flag::END_STREAM),
                    (kind::CONTINUATION, 10, 0),
                    (kind::CONTINUATION, 10, flag::END_HEADERS),
                ],
            ),
        ] {
            let block: Vec<u8> = (0..length).collect();
            let mut out = b"before".to_vec();
            out.extend_from_slice(&[0; HEAD]);
            out.extend_from_slice(&block);
            finish_headers(&mut out, 6, 3, true, 10);
            let (mut rest, mut whole, mut seen) = (&out[6..], Vec::new(), Vec::new());
            while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
                let head = FrameHead::read(head);
                assert_eq!(head.stream, 3);
                seen.push((head.kind, head.length, head.flags));
                let (payload, after) = after.split_at(head.length as usize);
                whole.extend_from_slice(payload);
                rest = after;
            }
            assert_eq!((seen, whole), (frames, block), "{length}");
        }
    }
}
