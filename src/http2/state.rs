//! A stream of a connection, as the engine sees it.

use std::task::{Context, Waker};

use super::flow::{ReceiveWindow, SendWindow};
use super::frame::ErrorCode;
use super::head::Head;
use super::queue::Queue;
use crate::buffer::Slice;
use crate::time::Moment;

/// Why a stream ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The peer has reset it.
    Reset(ErrorCode),
    /// The peer has sent what HTTP does not allow here; it was told so. The reason is for logs.
    Malformed(&'static str),
    /// A head or trailers of the peer are larger than our bounds.
    HeadTooLarge,
    /// The peer's GOAWAY does not cover it: nobody has seen it.
    Unprocessed,
    /// The connection has ended.
    ConnectionEnded,
}

/// How the sending side of a stream ends.
#[derive(Debug)]
pub enum Ending {
    /// With its last byte.
    EndStream,
    /// With trailers.
    Trailers(Head),
    /// It is cut, so that the peer sees that it is not whole.
    Reset(ErrorCode),
}

/// The last bytes of a stream, which leave when the peer takes them; no task need wait for that.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) rest: Slice,
    pub(super) ending: Ending,
}

/// Head or trailers that came.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) head: Option<Head>,
    pub(super) trailers: Option<Head>,
    /// Bytes of the body.
    pub(super) data: Queue,
    /// The first head of a response, or of a request, has come.
    pub(super) has_head: bool,
    /// END_STREAM has come.
    pub(super) end: bool,
    /// Bytes of the body that are still to come, if their number was announced.
    pub(super) content_left: Option<u64>,
    /// Responses with a status of 1xx.
    pub(super) interim: u16,
}

/// Whether all of a body is kept until it is whole, so that its window has to be as large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keeping {
    #[default]
    No,
    /// It waits for a window of so many bytes.
    Waits(u32),
    /// It has that window.
    Granted,
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) id: u32,
    pub(super) received: Received,
    pub(super) receive_window: ReceiveWindow,
    pub(super) send_window: SendWindow,
    pub(super) keeping: Keeping,
    /// All of its body came and was taken: its window counts no more.
    pub(super) is_taken: bool,
    /// END_STREAM has been sent.
    pub(super) sent_end: bool,
    /// It has ended before its time.
    pub(super) error: Option<StreamError>,
    /// Neither side may send on it any more.
    pub(super) is_reset: bool,
    /// We have reset it: its peer may send more before it knows.
    pub(super) we_reset: bool,
    /// The peer has reset it: nothing of it may follow.
    pub(super) peer_reset: bool,
    /// Its head is above our bounds.
    pub(super) is_too_large: bool,
    /// It waits to be accepted; the list of those holds it.
    pub(super) is_new: bool,
    /// How many hold it: its opener or acceptor, and further ones.
    pub(super) holders: u8,
    pub(super) tail: Option<Box<Tail>>,
    /// It stands in the list of those that wait for the connection's window or for room.
    pub(super) is_waiting: bool,
    /// Since when it has something to send that the peer does not take. A peer that takes a little moves it a little.
    pub(super) stalled_since: Option<Moment>,
    pub(super) opened: Moment,
    task: Option<Waker>,
}

impl StreamState {
    pub(super) fn new(id: u32, receive: ReceiveWindow, send: u32, now: Moment) -> StreamState {
        StreamState {
            id,
            received: Received::default(),
            receive_window: receive,
            send_window: SendWindow::new(send),
            keeping: Keeping::No,
            is_taken: false,
            sent_end: false,
            error: None,
            is_reset: false,
            we_reset: false,
            peer_reset: false,
            is_too_large: false,
            is_new: false,
            holders: 1,
            tail: None,
            is_waiting: false,
            stalled_since: None,
            opened: now,
            task: None,
        }
    }

    /// Makes a slot that is free another stream.
    pub(super) fn reopen(&mut self, id: u32, receive: ReceiveWindow, send: u32, now: Moment) {
        debug_assert!(self.id == 0 && self.received.head.is_none() && self.tail.is_none());
        self.id = id;
        self.received.has_head = false;
        self.received.end = false;
        self.received.content_left = None;
        self.received.interim = 0;
        self.receive_window = receive;
        self.send_window = SendWindow::new(send);
        self.keeping = Keeping::No;
        self.is_taken = false;
        self.sent_end = false;
        self.error = None;
        self.is_reset = false;
        self.we_reset = false;
        self.peer_reset = false;
        self.is_too_large = false;
        self.is_new = false;
        self.holders = 1;
        self.is_waiting = false;
        self.stalled_since = None;
        self.opened = now;
    }

    /// Lets go of all that it has: its slot is free.
    pub(super) fn end(&mut self) {
        self.id = 0;
        self.received.head = None;
        self.received.trailers = None;
        self.received.data.clear();
        self.tail = None;
        self.task = None;
    }

    /// Whether the peer may send nothing more on it, and we neither.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.is_reset || (self.received.end && self.sent_end)
    }

    /// Whether both sides have sent all of it.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        !self.is_reset && self.received.end && self.sent_end
    }

    /// Whether somebody has not let go of it.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        self.holders > 0
    }

    /// Keeps the waker of the task that waits for the stream.
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
    }

    /// Something has happened here.
    #[inline]
    pub(super) fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Ends it before its time. The first reason holds.
    pub(super) fn fail(&mut self, error: StreamError) {
        self.is_reset = true;
        self.error.get_or_insert(error);
        self.tail = None;
        // A response that was whole has been received, whatever came after it.
        if !self.received.end {
            self.received.trailers = None;
        }
        self.wake();
    }
}
