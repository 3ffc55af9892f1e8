//! The sink of a response, as HTTP/2 or HTTP/1.1 has it: a head, a body, an end.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::buffer::Slice;
use crate::http2::{Ending, ErrorCode, Head, Name, Sent, Stream};
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::upstream::AttemptError;
use crate::worker::downstream::h1_bridge::H1Bridge;

/// The sink of one response, and counts of what it was sent.
pub(in crate::worker) struct ResponseSink {
    state: State,
    /// The HTTP status that was sent; zero if none was.
    status: u16,
    sent_bytes: u64,
}

/// The progress of the response to one request.
enum State {
    /// HTTP/2, nothing has been sent.
    Http2(Stream),
    /// HTTP/2, the head has been sent.
    Http2Begun(Stream),
    /// HTTP/1.1, nothing has been sent.
    Http1(Rc<H1Bridge>),
    /// HTTP/1.1, the head has been sent.
    Http1Begun(Rc<H1Bridge>),
    /// All has been sent, or is sent when the client takes it, or the client has gone.
    Over,
}

/// The client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Gone;

impl From<Gone> for AttemptError {
    fn from(_: Gone) -> AttemptError {
        AttemptError::terminal(Failure::DownstreamReset)
    }
}

impl ResponseSink {
    /// To a client on HTTP/2.
    pub(in crate::worker) fn http2(stream: Stream) -> ResponseSink {
        ResponseSink { state: State::Http2(stream), status: 0, sent_bytes: 0 }
    }

    /// To a client on HTTP/1.1.
    pub(in crate::worker) fn http1(bridge: Rc<H1Bridge>) -> ResponseSink {
        ResponseSink { state: State::Http1(bridge), status: 0, sent_bytes: 0 }
    }

    /// The HTTP status that was sent; zero if none was.
    pub(in crate::worker) fn status(&self) -> u16 {
        self.status
    }

    /// Bytes of the body that were sent.
    pub(in crate::worker) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Gives up the response: its client has gone. HTTP/1.1 waits for a response to every request, so its connection ends.
    pub(in crate::worker) fn close(&mut self) {
        if let State::Http1(bridge) | State::Http1Begun(bridge) =
            std::mem::replace(&mut self.state, State::Over)
        {
            bridge.cut(Slice::default());
        }
    }

    /// Whether all has been sent, or the client has gone.
    pub(in crate::worker) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Sends a response that is known as a whole. For HEAD the body is left out.
    pub(in crate::worker) fn send_whole(
        &mut self,
        mut head: Head,
        body: Slice,
        is_head: bool,
    ) -> Result<(), Gone> {
        self.status = head.status().unwrap_or(0);
        self.sent_bytes += if is_head { 0 } else { body.len() as u64 };
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(stream) => {
                if !body.is_empty() {
                    head.insert(Name::CONTENT_LENGTH, itoa::Buffer::new().format(body.len()).as_bytes());
                }
                let is_all = body.is_empty() || is_head;
                stream.send_head(&head, is_all).map_err(|_| Gone)?;
                if !is_all {
                    stream.finish(body, Ending::EndStream);
                }
                Ok(())
            }
            State::Http1(bridge) => {
                // In this order hyper sees that the body is whole, and sends its length.
                bridge.end(body);
                bridge.begin(&head);
                Ok(())
            }
            State::Http2Begun(_) | State::Http1Begun(_) | State::Over => Err(Gone),
        }
    }

    /// Sends the head of a response to HEAD, whatever its body would be.
    pub(in crate::worker) fn send_head(&mut self, head: &Head) -> Result<(), Gone> {
        self.status = head.status().unwrap_or(0);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(stream) => stream.send_head(head, true).map_err(|_| Gone),
            State::Http1(bridge) => {
                bridge.begin(head);
                bridge.end(Slice::default());
                Ok(())
            }
            _ => Err(Gone),
        }
    }

    /// Sends the head of a response.
    pub(in crate::worker) fn begin(&mut self, head: &Head) -> Result<(), Gone> {
        self.status = head.status().unwrap_or(0);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(stream) => {
                stream.send_head(head, false).map_err(|_| Gone)?;
                self.state = State::Http2Begun(stream);
                Ok(())
            }
            State::Http1(bridge) => {
                bridge.begin(head);
                self.state = State::Http1Begun(bridge);
                Ok(())
            }
            State::Http2Begun(_) | State::Http1Begun(_) | State::Over => Err(Gone),
        }
    }

    /// Whether the head has been sent and the end has not.
    pub(in crate::worker) fn is_begun(&self) -> bool {
        matches!(self.state, State::Http2Begun(_) | State::Http1Begun(_))
    }

    /// Sends a chunk of the body, as much at a time as the client takes. Ready when all of it has been sent.
    pub(in crate::worker) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Slice,
    ) -> Poll<Result<(), Gone>> {
        let before = chunk.len();
        let polled = match &self.state {
            State::Http2Begun(stream) => match stream.send_data(cx, chunk, false) {
                Sent::All => Poll::Ready(Ok(())),
                Sent::Blocked => Poll::Pending,
                Sent::Gone => Poll::Ready(Err(Gone)),
            },
            State::Http1Begun(bridge) => bridge.poll_send(cx, chunk).map(Ok),
            State::Http2(_) | State::Http1(_) | State::Over => Poll::Ready(Err(Gone)),
        };
        self.sent_bytes += (before - chunk.len()) as u64;
        polled
    }

    /// Since when the client has not taken what waits for it, where the protocol tells.
    pub(in crate::worker) fn stalled_since(&self) -> Option<Moment> {
        match &self.state {
            State::Http2Begun(stream) => stream.stalled_since(),
            _ => None,
        }
    }

    /// Ends the body with `last`.
    pub(in crate::worker) fn end(&mut self, last: Slice) -> Result<(), Gone> {
        self.sent_bytes += last.len() as u64;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(stream) => {
                stream.finish(last, Ending::EndStream);
                Ok(())
            }
            State::Http1Begun(bridge) => {
                bridge.end(last);
                Ok(())
            }
            State::Http2(_) | State::Http1(_) | State::Over => Err(Gone),
        }
    }

    /// Ends the response with trailers, which only HTTP/2 has.
    pub(in crate::worker) fn end_with(&mut self, trailers: &Head) -> Result<(), Gone> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(stream) => stream.send_head(trailers, true).map_err(|_| Gone),
            other => {
                self.state = other;
                self.end(Slice::default())
            }
        }
    }

    /// Sends `last` and ends the response in a way that shows that it is not whole.
    pub(in crate::worker) fn cut(&mut self, last: Slice) {
        self.sent_bytes += last.len() as u64;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(stream) => stream.finish(last, Ending::Reset(ErrorCode::INTERNAL_ERROR)),
            State::Http1Begun(bridge) => bridge.cut(last),
            State::Http2(_) | State::Http1(_) | State::Over => {}
        }
    }

    /// Ready when the client has cancelled or its connection has ended.
    pub(in crate::worker) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::Http2(stream) | State::Http2Begun(stream) => stream.poll_error(cx).map(drop),
            State::Http1(bridge) | State::Http1Begun(bridge) => bridge.poll_gone(cx),
            State::Over => Poll::Pending,
        }
    }
}
