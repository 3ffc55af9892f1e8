//! The way back to a client, as HTTP/2 or HTTP/1.1 has it: a head, a body, an end.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::outlet::Outlet;

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
    Http2(SendResponse<Bytes>),
    /// HTTP/2, the head has been sent.
    Http2Begun(SendStream<Bytes>, Outlet),
    /// HTTP/1.1, nothing has been sent.
    Http1(Rc<Exchange>),
    /// HTTP/1.1, the head has been sent.
    Http1Begun(Rc<Exchange>),
    /// HTTP/2, to be reset once the last bytes are on their way.
    Http2Cut(SendStream<Bytes>, oneshot::Receiver<()>),
    /// All has been sent, or nobody is there.
    Over,
}

/// The client cannot be answered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Channel {
    /// To a client on HTTP/2.
    pub(super) fn http2(respond: SendResponse<Bytes>) -> Channel {
        Channel { state: State::Http2(respond), status: 0, sent_bytes: 0 }
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
            exchange.cut(Bytes::new());
        }
    }

    /// Whether all has been sent, or nobody is there.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Sends an answer that is known as a whole. Of an answer to HEAD the body is left out.
    pub(super) fn send_whole(
        &mut self,
        mut head: Response<()>,
        body: Bytes,
        is_head: bool,
    ) -> Result<(), Gone> {
        self.status = head.status().as_u16();
        self.sent_bytes += if is_head { 0 } else { body.len() as u64 };
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(mut respond) => {
                if !body.is_empty() {
                    let length = HeaderValue::from_str(itoa::Buffer::new().format(body.len()));
                    head.headers_mut().insert(CONTENT_LENGTH, length.expect("digits"));
                }
                let is_all = body.is_empty() || is_head;
                let mut stream = respond.send_response(head, is_all).map_err(|_| Gone)?;
                if is_all { Ok(()) } else { stream.send_data(body, true).map_err(|_| Gone) }
            }
            State::Http1(exchange) => {
                // In this order hyper sees that the body is whole and says how long it is.
                exchange.end(body);
                exchange.begin(head);
                Ok(())
            }
            State::Http2Begun(..) | State::Http1Begun(_) | State::Http2Cut(..) | State::Over => Err(Gone),
        }
    }

    /// Sends the head of an answer as all that the client wants of it, whatever its body would be.
    pub(super) fn send_head(&mut self, head: Response<()>) -> Result<(), Gone> {
        self.status = head.status().as_u16();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(mut respond) => respond.send_response(head, true).map(drop).map_err(|_| Gone),
            State::Http1(exchange) => {
                exchange.begin(head);
                exchange.end(Bytes::new());
                Ok(())
            }
            _ => Err(Gone),
        }
    }

    /// Sends the head of an answer.
    pub(super) fn begin(&mut self, head: Response<()>) -> Result<(), Gone> {
        self.status = head.status().as_u16();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2(mut respond) => {
                let stream = respond.send_response(head, false).map_err(|_| Gone)?;
                self.state = State::Http2Begun(stream, Outlet::new());
                Ok(())
            }
            State::Http1(exchange) => {
                exchange.begin(head);
                self.state = State::Http1Begun(exchange);
                Ok(())
            }
            State::Http2Begun(..) | State::Http1Begun(_) | State::Http2Cut(..) | State::Over => Err(Gone),
        }
    }

    /// Whether the head has been sent and the end has not.
    pub(super) fn is_begun(&self) -> bool {
        matches!(self.state, State::Http2Begun(..) | State::Http1Begun(_))
    }

    /// Sends a chunk of the body, as much at a time as the client takes. Ready when all of it is on its way.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<Result<(), Gone>> {
        let before = chunk.len();
        let polled = match &mut self.state {
            State::Http2Begun(stream, outlet) => outlet.poll_send(cx, stream, chunk, false).map_err(|_| Gone),
            State::Http1Begun(exchange) => exchange.poll_send(cx, chunk).map(Ok),
            State::Http2(_) | State::Http1(_) | State::Http2Cut(..) | State::Over => Poll::Ready(Err(Gone)),
        };
        self.sent_bytes += (before - chunk.len()) as u64;
        polled
    }

    /// Ends the body with `last`.
    pub(super) fn end(&mut self, last: Bytes) -> Result<(), Gone> {
        self.sent_bytes += last.len() as u64;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(mut stream, _) => stream.send_data(last, true).map_err(|_| Gone),
            State::Http1Begun(exchange) => {
                exchange.end(last);
                Ok(())
            }
            State::Http2(_) | State::Http1(_) | State::Http2Cut(..) | State::Over => Err(Gone),
        }
    }

    /// Ends the answer with trailers, which only HTTP/2 has.
    pub(super) fn end_with(&mut self, trailers: HeaderMap) -> Result<(), Gone> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(mut stream, _) => stream.send_trailers(trailers).map_err(|_| Gone),
            other => {
                self.state = other;
                self.end(Bytes::new())
            }
        }
    }

    /// Sends `last` and ends the answer in a way that shows that it is not whole.
    pub(super) fn cut(&mut self, last: Bytes) {
        self.sent_bytes += last.len() as u64;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Http2Begun(mut stream, _) => {
                let (tell, taken) = oneshot::channel();
                let last = Bytes::from_owner(Last { bytes: last, _taken: tell });
                if stream.send_data(last, false).is_ok() {
                    self.state = State::Http2Cut(stream, taken);
                }
            }
            State::Http1Begun(exchange) => exchange.cut(last),
            State::Http2(_) | State::Http1(_) | State::Http2Cut(..) | State::Over => {}
        }
    }

    /// Whether the end has still to be shown, which takes as long as the client takes the bytes before it.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.state, State::Http2Cut(..))
    }

    /// Ready when the client has all that it is to get.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A reset takes along what is queued, so it has to wait for that.
        if let State::Http2Cut(stream, taken) = &mut self.state
            && stream.poll_reset(cx).is_pending()
            && Pin::new(taken).poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        self.state = State::Over;
        Poll::Ready(())
    }

    /// Ready when the client has cancelled or its connection has ended.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Http2(respond) => respond.poll_reset(cx).map(drop),
            State::Http2Begun(stream, _) | State::Http2Cut(stream, _) => stream.poll_reset(cx).map(drop),
            State::Http1(exchange) | State::Http1Begun(exchange) => exchange.poll_gone(cx),
            State::Over => Poll::Pending,
        }
    }
}

/// The last bytes of an answer that is cut. The library drops them when they are on their way.
struct Last {
    bytes: Bytes,
    _taken: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
