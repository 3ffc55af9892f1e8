//! What is kept of a request so that it can be sent again if the upstream refuses it unseen.
//!
//! The library takes a request's head when it is sent, and does not give it back. Copying its fields into plain bytes
//! costs some tens of nanoseconds and no allocation: the memory is used again by later calls.

use std::cell::RefCell;

use bytes::Bytes;
use http::request::Parts;

/// Sets of memory that wait for the next call; more are freed.
const SPARE_MAX: usize = 1024;

/// A head and the beginning of a body.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Scheme, authority and path, then each field's name and value.
    bytes: Vec<u8>,
    /// Where each piece of `bytes` ends.
    ends: Vec<u32>,
    chunks: Vec<Bytes>,
    chunks_bytes: usize,
    chunks_bytes_max: usize,
    /// More was sent than is kept.
    exceeded: bool,
}

impl Kept {
    /// Copies the head; chunks follow.
    pub(super) fn begin(&mut self, head: &Parts, chunks_bytes_max: usize) {
        self.chunks_bytes_max = chunks_bytes_max;
        let scheme = head.uri.scheme_str().unwrap_or("http");
        let authority = head.uri.authority().map_or("", |authority| authority.as_str());
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        for piece in [scheme, "://", authority, path] {
            self.bytes.extend_from_slice(piece.as_bytes());
        }
        // Without an authority there is no absolute form: only the path is kept.
        if authority.is_empty() {
            self.bytes.clear();
            self.bytes.extend_from_slice(path.as_bytes());
        }
        self.mark();
        for (name, value) in &head.headers {
            self.bytes.extend_from_slice(name.as_str().as_bytes());
            self.mark();
            self.bytes.extend_from_slice(value.as_bytes());
            self.mark();
        }
    }

    fn mark(&mut self) {
        self.ends.push(u32::try_from(self.bytes.len()).expect("a head is far smaller than 4 GiB"));
    }

    /// Keeps one more chunk, while there is room for all of them.
    pub(super) fn add(&mut self, chunk: &Bytes) {
        self.chunks_bytes += chunk.len();
        if self.chunks_bytes <= self.chunks_bytes_max {
            self.chunks.push(chunk.clone());
        } else {
            self.exceeded = true;
            self.chunks.clear();
        }
    }

    /// The same for a chunk that has not been sent yet: it is here until it is, even if there is no room for it.
    pub(super) fn hold(&mut self, chunk: Bytes) {
        self.chunks_bytes += chunk.len();
        self.exceeded |= self.chunks_bytes > self.chunks_bytes_max;
        self.chunks.push(chunk);
    }

    /// All that was held has been sent. If there was no room for it, it is of no more use.
    pub(super) fn forget_if_exceeded(&mut self) {
        if self.exceeded {
            self.chunks.clear();
        }
    }

    /// Whether all that was sent is here.
    pub(super) fn is_whole(&self) -> bool {
        !self.exceeded && !self.ends.is_empty()
    }

    pub(super) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    pub(super) fn uri(&self) -> &[u8] {
        self.piece(0)
    }

    /// The names and values of all fields, in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (1..self.ends.len()).step_by(2).map(|index| (self.piece(index), self.piece(index + 1)))
    }

    fn piece(&self, index: usize) -> &[u8] {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[begin..self.ends[index] as usize]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.chunks.clear();
        self.chunks_bytes = 0;
        self.exceeded = false;
    }
}

/// Memory for what is kept, used by one call after the other.
#[derive(Debug, Default)]
pub(super) struct Replays(RefCell<Vec<Kept>>);

impl Replays {
    /// Empty memory for one call.
    pub(super) fn take(&self) -> Kept {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes the memory back.
    pub(super) fn give(&self, mut kept: Kept) {
        kept.clear();
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head() -> Parts {
        let request =
            Request::post("http://h:1/a.B/C").header("x", "1").header("x", "2").header("y", "").body(());
        request.expect("valid").into_parts().0
    }

    #[test]
    fn a_head_comes_back_as_it_was() {
        let mut kept = Kept::default();
        kept.begin(&head(), 10);
        assert_eq!(kept.uri(), b"http://h:1/a.B/C");
        let fields: Vec<(&[u8], &[u8])> = kept.fields().collect();
        assert_eq!(fields, [(&b"x"[..], &b"1"[..]), (b"x", b"2"), (b"y", b"")]);
    }

    #[test]
    fn a_body_over_the_limit_is_not_kept() {
        let mut kept = Kept::default();
        kept.begin(&head(), 10);
        kept.add(&Bytes::from_static(b"0123456789"));
        assert!(kept.is_whole());
        kept.add(&Bytes::from_static(b"x"));
        assert!(!kept.is_whole() && kept.chunks().is_empty());
    }

    #[test]
    fn memory_is_empty_when_it_is_used_again() {
        let replays = Replays::default();
        let mut kept = replays.take();
        kept.begin(&head(), 0);
        kept.add(&Bytes::from_static(b"x"));
        replays.give(kept);
        let kept = replays.take();
        assert!(!kept.is_whole() && kept.chunks().is_empty() && kept.fields().next().is_none());
    }
}
