//! Opening and accepting streams, and receiving on them.

use std::task::{Context, Poll};

use super::connection::{Connection, Shutdown};
use super::flow::ReceiveWindow;
use super::head::Head;
use super::settings::MAX_WINDOW;
use super::state::StreamError;
use crate::buffer::{Output, Slice};
use crate::time::Moment;

/// A request that a client has sent the head of.
#[derive(Debug)]
pub struct Incoming {
    /// Its stream; [`Connection::let_go`] has to be called for it in the end.
    pub key: u32,
    /// Its head. A head that is too large holds only its beginning.
    pub head: Head,
    /// The head is above the bounds: the request cannot be served.
    pub is_too_large: bool,
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The connection takes no more streams.
    Closed,
    /// The service takes no more streams at once.
    Full,
    /// The service takes no head of this size.
    HeadTooLarge,
}

impl Connection {
    /// The next request of a client.
    pub fn accept(&mut self) -> Option<Incoming> {
        loop {
            let key = self.streams.next_accepted()?;
            let stream = self.streams.get_mut(key);
            stream.is_new = false;
            if let Some(head) = stream.received.head.take() {
                return Some(Incoming { key, head, is_too_large: stream.is_too_large });
            }
        }
    }

    /// Whether a stream can be opened now.
    pub fn can_open(&self) -> bool {
        self.takes_streams() && !self.has_open(self.peer.max_concurrent_streams)
    }

    /// Whether streams can be opened here, now or when others have ended.
    pub fn takes_streams(&self) -> bool {
        !self.is_over
            && self.goaway.is_none()
            && self.shutdown == Shutdown::No
            && self.next_stream <= MAX_WINDOW
    }

    /// Whether the peer takes a head, or trailers, of this size. Some end the connection over one that they do not.
    pub fn takes_head(&self, head: &Head) -> bool {
        let max = self.peer.max_header_list_size;
        max == u32::MAX || head.list_size() <= max as usize
    }

    /// Opens a stream with the head of a request.
    ///
    /// # Errors
    /// When the connection, or its peer, takes no such stream. Nothing is sent then.
    pub fn open(&mut self, head: &Head, end: bool, now: Moment, out: &mut Output) -> Result<u32, OpenError> {
        if !self.takes_streams() {
            return Err(OpenError::Closed);
        }
        if self.has_open(self.peer.max_concurrent_streams) {
            return Err(OpenError::Full);
        }
        if !self.takes_head(head) {
            return Err(OpenError::HeadTooLarge);
        }
        let id = self.next_stream;
        self.next_stream += 2;
        let receive = ReceiveWindow::new(self.bounds.stream_window, self.bounds.stream_window);
        let key = self.streams.open(&self.memory.tables, id, receive, self.peer.initial_window_size, now);
        self.streams.get_mut(key).sent_end = end;
        self.write_head(id, head, end, out);
        Ok(key)
    }

    /// Polls for the head of a response.
    pub fn poll_head(&mut self, key: u32, cx: &Context<'_>) -> Poll<Result<Head, StreamError>> {
        let stream = self.streams.get_mut(key);
        if let Some(head) = stream.received.head.take() {
            return Poll::Ready(Ok(head));
        }
        match stream.error {
            Some(error) => Poll::Ready(Err(error)),
            None => {
                stream.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Polls for the next bytes of a body; `None` at its end. Their number has to be released once they are out of the
    /// way.
    pub fn poll_data(&mut self, key: u32, cx: &Context<'_>) -> Poll<Result<Option<Slice>, StreamError>> {
        let stream = self.streams.get_mut(key);
        if let Some(data) = stream.received.data.pop() {
            return Poll::Ready(Ok(Some(data)));
        }
        if stream.received.end {
            return Poll::Ready(Ok(None));
        }
        match stream.error {
            Some(error) => Poll::Ready(Err(error)),
            None => {
                stream.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Whether bytes of a body have come that nobody has taken.
    pub fn has_data(&self, key: u32) -> bool {
        !self.streams.get(key).received.data.is_empty()
    }

    /// Whether all of a body has been taken, and no more comes.
    pub fn is_end(&self, key: u32) -> bool {
        let received = &self.streams.get(key).received;
        received.end && received.data.is_empty()
    }

    /// Whether the stream ended with its head: neither a body nor trailers follow.
    pub fn ended_with_head(&self, key: u32) -> bool {
        self.is_end(key) && self.streams.get(key).received.trailers.is_none()
    }

    /// Trailers, if they have come.
    pub fn take_trailers(&mut self, key: u32) -> Option<Head> {
        self.streams.get_mut(key).received.trailers.take()
    }

    /// Polls for the end of a stream before its time.
    pub fn poll_error(&mut self, key: u32, cx: &Context<'_>) -> Poll<StreamError> {
        let stream = self.streams.get_mut(key);
        match stream.error {
            Some(error) => Poll::Ready(error),
            None => {
                stream.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Keeps the waker of the task that waits for a stream.
    pub fn wait(&mut self, key: u32, cx: &Context<'_>) {
        self.streams.get_mut(key).wait(cx);
    }

    /// Whether the peer has not taken all of the last bytes of a stream.
    pub fn has_tail(&self, key: u32) -> bool {
        self.streams.get(key).tail.is_some()
    }

    /// The moment since which a stream has bytes to send that its peer does not take.
    pub fn stalled_since(&self, key: u32) -> Option<Moment> {
        self.streams.get(key).stalled_since
    }
}
