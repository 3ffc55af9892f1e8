//! The way back to a client, as HTTP/2 or HTTP/1.1 has it: a head, a body, an end.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::exchange::Exchange;
use crate::buffer::Slice;
use crate::http2::{Ending, ErrorCode, Head, Name, Sent, Stream};

/// The way back to one client, and what has gone there.
pub(super) struct Channel {
    state: State,
    /// The HTTP status that was sent; zero if none was.
    status: u16,
    sent_bytes: u64,
}

/// How far the answer to one request is.
enum State {
    /// HTTP/2, nothing has been sent.
    Http2(Stream),
    /// HTTP/2, the head has been sent.
    Http2Begun(Stream),
    /// HTTP/1.1, nothing has been sent.
    Http1(Rc<Exchange>),
    /// HTTP/1.1, the head has been sent.
    Http1Begun(Rc<Exchange>),
    /// All has been sent, or is sent when the client takes it, or nobody is there.
    Over,
}

/// The client cannot be answered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Channel {
    /// To a client on HTTP/2.
    pub(super) fn http2(stream: Stream) -> Channel {
        Channel { state: State::Http2(stream), status: 0, sent_bytes: 0 }
    }

    /// To a client on HTTP/1.1.
    pub(super) fn http1(exchange: Rc<Exchange>) -> Channel {
        Channel { state: State::Http1(exchange), status: 0, sent_bytes: 0 }
    }

    /// The HTTP status that was sent; zero if none was.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Bytes of the body that were sent.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Says nothing more: nobody is there who could be answered. HTTP/1.1 waits for an answer to every request, so its
    /// connection ends.
    pub(super) fn close(&mut self) {
        if let State::Http1(exchange) | State::Http1Begun(exchange) =
            std::mem::replace(&mut self.state, State::Over)
        {
            exchange.cut(Slice::default());
        }
    }

    /// Whether all has been sent, or nobody is there.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Sends an answer that is known as a whole. Of an answer to HEAD the body is left out.
    pub(super) fn send_whole(&mut self, mut head: Head, body: Slice, is_head: bool) -> Result<(), Gone> {
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
            State::Http1(exchange) => {
                // In this order hyper sees that the body is whole and says how long it is.
                exchange.end(body);
                exchange.begin(&head);
                Ok(())
            }
            State::Http2Begun(_) | State::Http1Begun(_) | State::Over => Err(Gone),
        }
    }

    /// Sends the head of an answer as all that the client wants of it, whatever its body would be.
    pub(super) fn send_head(&mut self, head: &Head) -> Result<(), Gone> {
        self.status = head.status().unwrap_or(0);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(stream) => stream.send_head(head, true).map_err(|_| Gone),
            State::Http1(exchange) => {
                exchange.begin(head);
                exchange.end(Slice::default());
                Ok(())
            }
            _ => Err(Gone),
        }
    }

    /// Sends the head of an answer.
    pub(super) fn begin(&mut self, head: &Head) -> Result<(), Gone> {
        self.status = head.status().unwrap_or(0);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(stream) => {
                stream.send_head(head, false).map_err(|_| Gone)?;
                self.state = State::Http2Begun(stream);
                Ok(())
            }
            State::Http1(exchange) => {
                exchange.begin(head);
                self.state = State::Http1Begun(exchange);
                Ok(())
            }
            State::Http2Begun(_) | State::Http1Begun(_) | State::Over => Err(Gone),
        }
    }

    /// Whether the head has been sent and the end has not.
    pub(super) fn is_begun(&self) -> bool {
        matches!(self.state, State::Http2Begun(_) | State::Http1Begun(_))
    }

    /// Sends a chunk of the body, as much at a time as the client takes. Ready when all of it is on its way.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Slice) -> Poll<Result<(), Gone>> {
        let before = chunk.len();
        let polled = match &self.state {
            State::Http2Begun(stream) => match stream.send_data(cx, chunk, false) {
                Sent::All => Poll::Ready(Ok(())),
                Sent::Blocked => Poll::Pending,
                Sent::Gone => Poll::Ready(Err(Gone)),
            },
            State::Http1Begun(exchange) => exchange.poll_send(cx, chunk).map(Ok),
            State::Http2(_) | State::Http1(_) | State::Over => Poll::Ready(Err(Gone)),
        };
        self.sent_bytes += (before - chunk.len()) as u64;
        polled
    }

    /// Ends the body with `last`.
    pub(super) fn end(&mut self, last: Slice) -> Result<(), Gone> {
        self.sent_bytes += last.len() as u64;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(stream) => {
                stream.finish(last, Ending::EndStream);
                Ok(())
            }
            State::Http1Begun(exchange) => {
                exchange.end(last);
                Ok(())
            }
            State::Http2(_) | State::Http1(_) | State::Over => Err(Gone),
        }
    }

    /// Ends the answer with trailers, which only HTTP/2 has.
    pub(super) fn end_with(&mut self, trailers: &Head) -> Result<(), Gone> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(stream) => stream.send_head(trailers, true).map_err(|_| Gone),
            other => {
                self.state = other;
                self.end(Slice::default())
            }
        }
    }

    /// Sends `last` and ends the answer in a way that shows that it is not whole.
    pub(super) fn cut(&mut self, last: Slice) {
        self.sent_bytes += last.len() as u64;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(stream) => stream.finish(last, Ending::Reset(ErrorCode::INTERNAL_ERROR)),
            State::Http1Begun(exchange) => exchange.cut(last),
            State::Http2(_) | State::Http1(_) | State::Over => {}
        }
    }

    /// Ready when the client has cancelled or its connection has ended.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::Http2(stream) | State::Http2Begun(stream) => stream.poll_error(cx).map(drop),
            State::Http1(exchange) | State::Http1Begun(exchange) => exchange.poll_gone(cx),
            State::Over => Poll::Pending,
        }
    }
}
