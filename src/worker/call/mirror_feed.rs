//! The copy of a body on its way to a mirror. The call writes it and never waits; its mirror reads it as fast as it can.
//! A mirror that is too far behind gets no more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::buffer::Slice;

/// The part that the call and its mirror share.
struct Shared {
    pieces: RefCell<VecDeque<Slice>>,
    /// Bytes of the pieces.
    bytes: Cell<usize>,
    bytes_max: usize,
    state: Cell<State>,
    /// Wakes the mirror.
    waker: RefCell<Option<Waker>>,
}

/// How far the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// All of it is in the pieces.
    Whole,
    /// The mirror is too far behind.
    Overflown,
    /// The call has ended before its body.
    Cut,
}

/// The call's end. Dropped before the body is whole, it cuts the copy.
pub(super) struct FeedWriter(Rc<Shared>);

/// The mirror's end.
pub(super) struct FeedReader(Rc<Shared>);

/// The next part of the copy.
#[derive(Debug)]
pub(super) enum Part {
    /// A piece, and whether it is the last.
    Piece(Slice, bool),
    /// The mirror is too far behind.
    Overflown,
    /// The call has ended before its body.
    Cut,
}

/// A copy of which so many bytes may wait.
pub(super) fn feed(bytes_max: u32) -> (FeedWriter, FeedReader) {
    let shared = Rc::new(Shared {
        pieces: RefCell::default(),
        bytes: Cell::new(0),
        bytes_max: bytes_max as usize,
        state: Cell::new(State::Open),
        waker: RefCell::default(),
    });
    (FeedWriter(Rc::clone(&shared)), FeedReader(shared))
}

impl FeedWriter {
    /// Copies a piece: the worker's receive buffers are needed by others.
    pub(super) fn push(&self, piece: &Slice) {
        if piece.is_empty() || self.0.state.get() != State::Open {
            return;
        }
        let bytes = self.0.bytes.get() + piece.len();
        if bytes > self.0.bytes_max {
            self.0.pieces.borrow_mut().clear();
            return self.0.turn(State::Overflown);
        }
        self.0.bytes.set(bytes);
        self.0.pieces.borrow_mut().push_back(Slice::copy_of(piece));
        self.0.wake();
    }

    /// All of the body has been copied.
    pub(super) fn end(self) {
        if self.0.state.get() == State::Open {
            self.0.turn(State::Whole);
        }
    }
}

impl Drop for FeedWriter {
    fn drop(&mut self) {
        if self.0.state.get() == State::Open {
            self.0.turn(State::Cut);
        }
    }
}

impl Shared {
    fn turn(&self, state: State) {
        self.state.set(state);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl FeedReader {
    /// Whether nothing more is to come than what waits.
    pub(super) fn is_whole(&self) -> bool {
        self.0.state.get() == State::Whole
    }

    /// Ready when the copy is given up, whatever waits.
    pub(super) fn poll_lost(&self, cx: &Context<'_>) -> Poll<Part> {
        match self.0.state.get() {
            State::Overflown => Poll::Ready(Part::Overflown),
            State::Cut => Poll::Ready(Part::Cut),
            State::Open | State::Whole => {
                *self.0.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next piece.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Part> {
        if let Poll::Ready(lost) = self.poll_lost(cx) {
            return Poll::Ready(lost);
        }
        let mut pieces = self.0.pieces.borrow_mut();
        let piece = pieces.pop_front();
        if let Some(piece) = &piece {
            self.0.bytes.set(self.0.bytes.get() - piece.len());
        }
        match (piece, self.is_whole()) {
            (Some(piece), is_whole) => Poll::Ready(Part::Piece(piece, is_whole && pieces.is_empty())),
            (None, true) => Poll::Ready(Part::Piece(Slice::default(), true)),
            (None, false) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Slice {
        Slice::copy_of(text.as_bytes())
    }

    /// The mirror's next part, in short.
    fn next(reader: &FeedReader) -> String {
        match reader.poll_next(&Context::from_waker(Waker::noop())) {
            Poll::Pending => "nothing".to_owned(),
            Poll::Ready(Part::Piece(piece, is_last)) => {
                format!("{}{}", String::from_utf8_lossy(&piece), if is_last { "." } else { "" })
            }
            Poll::Ready(lost) => format!("{lost:?}"),
        }
    }

    #[test]
    fn pieces_come_in_their_order_and_the_last_is_known() {
        let (writer, reader) = feed(10);
        assert_eq!(next(&reader), "nothing");
        writer.push(&piece("ab"));
        writer.push(&piece(""));
        writer.push(&piece("c"));
        assert_eq!(next(&reader), "ab");
        writer.end();
        assert_eq!(next(&reader), "c.");
        let (writer, reader) = feed(10);
        writer.end();
        assert_eq!(next(&reader), ".");
    }

    #[test]
    fn a_mirror_too_far_behind_gets_no_more_and_one_that_keeps_up_gets_all() {
        let (writer, reader) = feed(4);
        for _ in 0..10 {
            writer.push(&piece("abc"));
            assert_eq!(next(&reader), "abc");
        }
        writer.push(&piece("abc"));
        writer.push(&piece("de"));
        writer.push(&piece("f"));
        assert_eq!(next(&reader), "Overflown");
        writer.end();
        assert_eq!(next(&reader), "Overflown", "what was left out stays so");
    }

    #[test]
    fn a_call_that_ends_early_cuts_its_copy() {
        let (writer, reader) = feed(4);
        writer.push(&piece("abc"));
        drop(writer);
        assert_eq!(next(&reader), "Cut");
    }
}
