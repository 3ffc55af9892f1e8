//! Finds request heads of HTTP/1.1 that state the length of their body in two ways.
//!
//! RFC 9112 section 6.3: where both `content-length` and `transfer-encoding` stand, the coding wins and the connection
//! has to end. hyper lets the coding win too, but drops the length from the head silently. So only the bytes show it,
//! and hyper alone knows which of them are heads. The scanner therefore counts lines that begin with `content-length:`,
//! and the lengths that hyper has shown. With more lines than lengths, a length may have been hidden. A body that has
//! such a line costs its client no more than a connection.

use std::cell::Cell;
use std::io::{self, BufRead as _};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const NAME: &[u8] = b"content-length:";

/// Counts of `content-length` lines so far: those in the bytes, and those that hyper has shown.
#[derive(Debug, Default)]
pub(in crate::worker) struct ContentLengthScanner {
    /// How many bytes of the line under way are the name's; none once one is not.
    matched: Cell<Option<usize>>,
    has_begun: Cell<bool>,
    seen: Cell<usize>,
    shown: Cell<usize>,
}

impl ContentLengthScanner {
    /// Counts the lengths that a head shows.
    pub(in crate::worker) fn show(&self, count: usize) {
        self.shown.set(self.shown.get() + count);
    }

    /// Whether more lines have come than lengths were shown.
    pub(in crate::worker) fn are_hidden(&self) -> bool {
        self.seen.get() > self.shown.get()
    }

    fn look(&self, mut bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut matched = if self.has_begun.replace(true) { self.matched.get() } else { Some(0) };
        loop {
            if let Some(already) = matched {
                let wanted = &NAME[already..];
                let same =
                    bytes.iter().zip(wanted).take_while(|(one, other)| one.eq_ignore_ascii_case(other));
                let same = same.count();
                bytes = &bytes[same..];
                if same == wanted.len() {
                    self.seen.set(self.seen.get() + 1);
                }
                if bytes.is_empty() && same < wanted.len() {
                    return self.matched.set(Some(already + same));
                }
            }
            let rest = bytes;
            let skipped = bytes.skip_until(b'\n').expect("memory can be read");
            matched = rest[..skipped].ends_with(b"\n").then_some(0);
            if bytes.is_empty() {
                return self.matched.set(matched);
            }
        }
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
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.lengths.look(&buf.filled()[before..]);
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

    #[test]
    fn lines_with_the_name_are_counted_however_they_come() {
        for (text, wanted) in [
            ("content-length: 3\r\n", 1),
            ("GET / HTTP/1.1\r\nhost: x\r\nContent-Length:3\r\n\r\n", 1),
            ("GET / HTTP/1.1\nCONTENT-LENGTH:", 1),
            ("a: b\r\ncontent-length: 3\r\nContent-length: 4\r\n\r\ncontent-length:5", 3),
            ("content-lengths: 3\r\n", 0),
            (" content-length: 3\r\nx-content-length: 3\r\n\r\n", 0),
            ("contentcontent-length: 3\r\n", 0),
            ("\r\n\r\n\n\ncontent-length:", 1),
            ("", 0),
        ] {
            for size in 1..=text.len().max(1) {
                let lengths = ContentLengthScanner::default();
                text.as_bytes().chunks(size).for_each(|piece| lengths.look(piece));
                assert_eq!(lengths.seen.get(), wanted, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn what_is_shown_is_not_hidden() {
        let lengths = ContentLengthScanner::default();
        for _ in 0..2 {
            lengths.look(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n1");
            assert!(lengths.are_hidden());
            lengths.show(1);
            assert!(!lengths.are_hidden());
        }
        lengths.look(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
        assert!(!lengths.are_hidden());
        lengths.look(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n");
        assert!(lengths.are_hidden());
    }
}
