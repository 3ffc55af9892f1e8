//! Watches what an HTTP/1.1 client sends for what hyper takes and others may read in another way.
//!
//! - A head that says the length of its body in two ways. RFC 9112 section 6.3: where both `content-length` and
//!   `transfer-encoding` stand, the coding wins and the connection has to end. hyper lets the coding win too, but takes the
//!   length out of the head without a word. So lengths in heads are counted, and those that hyper has shown: if there
//!   are more, one is hidden.
//! - A trailer section in which a line ends with LF alone. hyper looks for its end by CRLF and then reads lines that end
//!   with either, so what stands between would be swallowed. Such a line is never given to hyper.
//!
//! The framing is followed here for this alone. Where it makes no sense, hyper ends the connection; until then every line
//! is taken for one of a head.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";

/// So much of a line is kept: more than a name, spaces and a length need.
const LINE_KEPT: usize = 64;

/// Follows requests as their bytes come.
#[derive(Debug, Default)]
pub(in crate::worker) struct ContentLengthScanner(RefCell<Scan>);

#[derive(Debug, Default)]
struct Scan {
    at: At,
    line: Line,
    /// Of the head under way.
    length: Option<u64>,
    is_chunked: bool,
    /// Lengths in all heads so far, and how many of them hyper has shown.
    seen: usize,
    shown: usize,
    /// A line of trailers ends with LF alone.
    is_broken: bool,
}

/// Where in the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// So many bytes are left of a body, or of a chunk with its line end.
    Body(u64),
    Chunk(u64),
    ChunkSize,
    Trailers,
    /// The framing makes no sense.
    Lost,
}

/// The beginning of a line.
#[derive(Debug)]
struct Line {
    bytes: [u8; LINE_KEPT],
    length: usize,
    last: u8,
}

impl Default for Line {
    fn default() -> Line {
        Line { bytes: [0; LINE_KEPT], length: 0, last: 0 }
    }
}

impl Line {
    fn add(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.length.min(LINE_KEPT)..];
        let kept = bytes.len().min(room.len());
        room[..kept].copy_from_slice(&bytes[..kept]);
        self.length += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn clear(&mut self) {
        (self.length, self.last) = (0, 0);
    }

    fn kept(&self) -> &[u8] {
        &self.bytes[..self.length.min(LINE_KEPT)]
    }

    fn ends_with_cr(&self) -> bool {
        self.last == b'\r'
    }

    /// Whether nothing but a CR stands before the LF.
    fn is_empty(&self) -> bool {
        self.length == 0 || (self.length == 1 && self.ends_with_cr())
    }

    /// The rest of the line after this name.
    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let (start, value) = self.kept().split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some(value)
    }
}

/// A number of these digits, with anything that is none after it; none without digits, or above 64 bits.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let digits = text.trim_ascii_start();
    let count = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let digits = str::from_utf8(&digits[..count]).ok()?;
    u64::from_str_radix(digits, radix).ok()
}

impl Scan {
    /// Follows `bytes`; says how many of them hyper may have.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_broken {
            if let At::Body(left) | At::Chunk(left) = self.at {
                let step = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                rest = &rest[step..];
                let left = left - step as u64;
                self.at = match self.at {
                    At::Chunk(_) if left == 0 => At::ChunkSize,
                    At::Chunk(_) => At::Chunk(left),
                    _ if left == 0 => At::Head,
                    _ => At::Body(left),
                };
                continue;
            }
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.line.add(line);
            if end.is_none() {
                return bytes.len();
            }
            if self.at == At::Trailers && !self.line.ends_with_cr() {
                self.is_broken = true;
                return bytes.len() - after.len();
            }
            rest = &after[1..];
            self.end_line();
            self.line.clear();
        }
        bytes.len()
    }

    fn end_line(&mut self) {
        match self.at {
            At::Head if self.line.is_empty() => self.end_head(),
            At::Head | At::Lost => {
                if let Some(value) = self.line.value(LENGTH) {
                    self.seen += 1;
                    self.length = number(value, 10);
                } else if self.line.value(CODING).is_some() {
                    self.is_chunked = true;
                }
            }
            At::ChunkSize => {
                self.at = match number(self.line.kept(), 16) {
                    Some(0) => At::Trailers,
                    Some(size) => At::Chunk(size.saturating_add(2)),
                    None => At::Lost,
                };
            }
            At::Trailers if self.line.is_empty() => self.at = At::Head,
            At::Trailers | At::Body(_) | At::Chunk(_) => {}
        }
    }

    fn end_head(&mut self) {
        let (length, is_chunked) = (self.length.take(), std::mem::take(&mut self.is_chunked));
        self.at = match length {
            _ if is_chunked => At::ChunkSize,
            Some(length) if length > 0 => At::Body(length),
            _ => At::Head,
        };
    }
}

/// Follows requests that come in these pieces: gives the lengths in their heads, and whether a line of trailers is broken.
pub fn followed_by_http1<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, bool) {
    let mut scan = Scan::default();
    for piece in pieces {
        let passed = scan.look(piece);
        assert!(passed <= piece.len(), "hyper has what has come");
        if scan.is_broken {
            break;
        }
    }
    (scan.seen, scan.is_broken)
}

impl ContentLengthScanner {
    /// Counts the lengths that a head shows.
    pub(in crate::worker) fn show(&self, count: usize) {
        self.0.borrow_mut().shown += count;
    }

    /// Whether more lines have come than lengths were shown.
    pub(in crate::worker) fn are_hidden(&self) -> bool {
        let scan = self.0.borrow();
        scan.seen > scan.shown
    }
}

/// A stream whose bytes are all scanned as they are read.
pub(in crate::worker) struct ScannedIo<S> {
    stream: S,
    lengths: Rc<ContentLengthScanner>,
}

impl<S> ScannedIo<S> {
    pub(in crate::worker) fn new(stream: S, lengths: &Rc<ContentLengthScanner>) -> ScannedIo<S> {
        ScannedIo { stream, lengths: Rc::clone(lengths) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ScannedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.lengths.0.borrow().is_broken {
            // hyper hands it to whoever reads the body, which is answered as one that is malformed.
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a bare LF in trailers")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let good = self.lengths.0.borrow_mut().look(&buf.filled()[before..]);
        if good == 0 && before < buf.filled().len() {
            buf.set_filled(before);
            return self.poll_read(cx, buf);
        }
        buf.set_filled(before + good);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ScannedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str, size: usize) -> Scan {
        let mut scan = Scan::default();
        for piece in text.as_bytes().chunks(size) {
            if scan.look(piece) < piece.len() {
                break;
            }
        }
        scan
    }

    #[test]
    fn lengths_in_heads_are_counted_however_they_come() {
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        for (text, wanted) in [
            ("content-length: 3\r\n", 1),
            ("GET / HTTP/1.1\r\nhost: x\r\nContent-Length:3\r\n\r\n", 1),
            ("GET / HTTP/1.1\nCONTENT-LENGTH:\n", 1),
            ("a: b\r\ncontent-length: 3\r\nContent-length: 4\r\n\r\n", 2),
            ("content-lengths: 3\r\n", 0),
            (" content-length: 3\r\nx-content-length: 3\r\n\r\n", 0),
            ("contentcontent-length: 3\r\n", 0),
            ("\r\n\r\n\n\ncontent-length:\n", 1),
            ("", 0),
            // A line of a body is none, and the head after it has some.
            ("p\r\ncontent-length: 19\r\n\r\n\r\ncontent-length: 9\r\ncontent-length: 9\r\n\r\n", 2),
            (&format!("{chunked}15\r\n\r\ncontent-length: 9\r\n\r\n0\r\n\r\n"), 0),
            (&format!("{chunked}0\r\ncontent-length: 9\r\n\r\na\r\ncontent-length: 0\r\n\r\n"), 1),
            (&format!("{chunked}A;x=y\r\n0123456789\r\n0\r\n\r\ncontent-length: 9\r\n"), 1),
            // Where the framing makes no sense every line counts.
            (&format!("{chunked}zz\r\ncontent-length: 9\r\n"), 1),
        ] {
            for size in 1..=text.len().max(1) {
                let scan = scanned(text, size);
                assert_eq!((scan.seen, scan.is_broken), (wanted, false), "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn what_is_shown_is_not_hidden() {
        let lengths = ContentLengthScanner::default();
        let look = |text: &[u8]| lengths.0.borrow_mut().look(text);
        for _ in 0..2 {
            look(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n1");
            assert!(lengths.are_hidden());
            lengths.show(1);
            assert!(!lengths.are_hidden());
        }
        look(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(!lengths.are_hidden());
        look(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n");
        assert!(lengths.are_hidden());
    }

    /// Row 52g: whatever follows the LF is not given on.
    #[test]
    fn a_line_of_trailers_ends_with_cr_and_lf() {
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\n\r\n0\r\n";
        for (trailers, good) in [
            ("\r\n", None),
            ("x: y\r\nz: \r\n\r\n", None),
            ("x: y\n\nGET / HTTP/1.1\r\nhost: x\r\n\r\n", Some(4)),
            ("x: y\r\n\nGET / HTTP/1.1\r\n\r\n", Some(6)),
            ("\n", Some(0)),
            ("x\r y\n\r\n", Some(4)),
        ] {
            let text = format!("{head}{trailers}");
            let wanted = good.map_or(text.len(), |good| head.len() + good);
            assert_eq!(Scan::default().look(text.as_bytes()), wanted, "{trailers:?}");
            for size in 1..text.len() {
                assert_eq!(scanned(&text, size).is_broken, good.is_some(), "{trailers:?} by {size}");
            }
        }
    }
}
