//! A request over HTTP/1.1 and its response, between hyper and the call.
//!
//! hyper asks for the head of the response and then for its body; the call gives them when it has them. Both run on this
//! worker, in tasks of their own: each wakes the other. One exchange serves all requests of a connection, one after the
//! other, so a request allocates nothing here: the response's fields are put where those of the request were, which hyper
//! then reads the next request into.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::h1_body::H1Body;
use crate::buffer::Slice;
use crate::http2::{Field, Head, Name};

/// The state that hyper and the call share.
#[derive(Default)]
pub(in crate::worker) struct H1Bridge {
    head: RefCell<Option<Response<()>>>,
    chunks: RefCell<VecDeque<Slice>>,
    /// Memory for the fields of the response, and for their values.
    fields: Cell<HeaderMap>,
    values: RefCell<BytesMut>,
    /// Names without a number that answers had, for the next ones; http keeps each in memory of its own.
    names: RefCell<Vec<HeaderName>>,
    end: Cell<BodyEnd>,
    /// hyper has had a turn to write the last chunk before it gets the error of a cut body.
    flushed: Cell<bool>,
    /// The connection ends after the next answer.
    last: Cell<bool>,
    /// hyper waits for the response no more.
    gone: Cell<bool>,
    /// The body of the request.
    pub(in crate::worker) body: H1Body,
    hyper: RefCell<Option<Waker>>,
    call: RefCell<Option<Waker>>,
}

/// Names that are kept; more are made anew each time.
const NAMES_KEPT: usize = 16;

/// How the body ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BodyEnd {
    /// The body goes on.
    #[default]
    NotYet,
    Whole,
    /// The connection is closed where the body stands, so that the client sees that it was cut.
    Truncated,
}

/// The error of a body that was cut.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut")]
pub(in crate::worker) struct Truncated;

impl H1Bridge {
    /// A bridge that reads and drops up to so many bytes of what a call leaves of its body.
    pub(in crate::worker) fn new(max_unread_body_size: u32) -> H1Bridge {
        H1Bridge { body: H1Body::new(max_unread_body_size), ..H1Bridge::default() }
    }

    /// Clears the bridge for the next request.
    pub(in crate::worker) fn reset(&self) {
        self.body.reset();
        self.head.take();
        self.chunks.borrow_mut().clear();
        self.end.set(BodyEnd::NotYet);
        self.flushed.set(false);
        self.gone.set(false);
        self.call.take();
    }

    /// Takes the memory of a request's fields.
    pub(in crate::worker) fn reuse(&self, mut fields: HeaderMap) {
        fields.clear();
        self.fields.set(fields);
    }

    /// The next answer tells the client that it is the last one on its connection.
    pub(in crate::worker) fn close_after(&self) {
        self.last.set(true);
    }

    // The call's side.

    pub(in crate::worker) fn begin(&self, head: &Head) {
        let mut response = self.response(head);
        let is_whole = self.end.get() == BodyEnd::Whole;
        if (is_whole && self.body.answered()) || self.last.get() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        *self.head.borrow_mut() = Some(response);
        self.wake_hyper();
    }

    /// Takes a chunk of the body once hyper has taken the one before.
    pub(in crate::worker) fn poll_send(&self, cx: &Context<'_>, chunk: &mut Slice) -> Poll<()> {
        if chunk.is_empty() {
            return Poll::Ready(());
        }
        if !self.chunks.borrow().is_empty() {
            wait(&self.call, cx);
            return Poll::Pending;
        }
        self.chunks.borrow_mut().push_back(std::mem::take(chunk).spare());
        self.wake_hyper();
        Poll::Ready(())
    }

    /// Ends the body with `last`.
    pub(in crate::worker) fn end(&self, last: Slice) {
        if !last.is_empty() {
            self.chunks.borrow_mut().push_back(last.spare());
        }
        self.end.set(BodyEnd::Whole);
        self.wake_hyper();
    }

    /// Ends the body after `last`, in a way that shows that it is not whole.
    pub(in crate::worker) fn cut(&self, last: Slice) {
        if !last.is_empty() {
            self.chunks.borrow_mut().push_back(last.spare());
        }
        self.end.set(BodyEnd::Truncated);
        self.wake_hyper();
    }

    /// The call wants no more of the body of the request.
    pub(in crate::worker) fn leave_body(&self) {
        self.body.leave();
        // The connection's task reads the rest.
        self.wake_hyper();
    }

    /// Ready when hyper waits for the response no more.
    pub(in crate::worker) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        if self.gone.get() {
            return Poll::Ready(());
        }
        wait(&self.call, cx);
        Poll::Pending
    }

    /// A head as hyper takes it. Fields that HTTP/1.1 cannot have are left out; a service cannot send such, for they are
    /// refused when they come. All values lie in one piece of memory, which is free when hyper has written them.
    fn response(&self, head: &Head) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() =
            head.status().and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default();
        let mut fields = self.fields.take();
        fields.reserve(head.len());
        let mut values = self.values.borrow_mut();
        values.reserve(head.iter().map(|field| field.value.len()).sum());
        for field in head.iter() {
            values.extend_from_slice(field.value);
            let value = values.split().freeze();
            if let (Some(name), Ok(value)) = (self.name(field), HeaderValue::from_maybe_shared(value)) {
                fields.append(name, value);
            }
        }
        *response.headers_mut() = fields;
        response
    }

    fn name(&self, field: Field<'_>) -> Option<HeaderName> {
        if field.name != Name::OTHER {
            return HeaderName::from_bytes(field.name_bytes).ok();
        }
        let mut names = self.names.borrow_mut();
        let known = names.iter().find(|name| name.as_str().as_bytes() == field.name_bytes);
        if let Some(known) = known {
            return Some(known.clone());
        }
        let name = HeaderName::from_bytes(field.name_bytes).ok()?;
        if names.len() < NAMES_KEPT {
            names.push(name.clone());
        }
        Some(name)
    }

    fn wake_hyper(&self) {
        if let Some(waker) = self.hyper.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    // hyper's side.

    fn leave(&self) {
        if self.end.get() == BodyEnd::NotYet && !self.gone.replace(true) {
            self.wake_call();
        }
    }

    fn wake_call(&self) {
        if let Some(waker) = self.call.take() {
            waker.wake();
        }
    }
}

fn wait(waker: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut waker = waker.borrow_mut();
    match waker.as_mut() {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

impl fmt::Debug for H1Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1Bridge").field("end", &self.end).field("gone", &self.gone).finish_non_exhaustive()
    }
}

/// The response that hyper waits for; dropped unfinished if the client goes.
pub(in crate::worker) struct ResponseFuture(Option<Rc<H1Bridge>>);

impl ResponseFuture {
    pub(in crate::worker) fn of(exchange: &Rc<H1Bridge>) -> ResponseFuture {
        ResponseFuture(Some(Rc::clone(exchange)))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Truncated>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(exchange) = &self.0 else { return Poll::Pending };
        if let Some(head) = exchange.head.take() {
            let body = self.0.take().map(ResponseBody);
            return Poll::Ready(body.map(|body| head.map(|()| body)).ok_or(Truncated));
        }
        if exchange.end.get() == BodyEnd::Truncated {
            return Poll::Ready(Err(Truncated));
        }
        wait(&exchange.hyper, cx);
        Poll::Pending
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.leave();
        }
    }
}

/// The body of a response, in hyper's form.
pub(in crate::worker) struct ResponseBody(Rc<H1Bridge>);

impl Body for ResponseBody {
    type Data = Slice;
    type Error = Truncated;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Slice>, Self::Error>>> {
        let exchange = &self.0;
        if let Some(chunk) = exchange.chunks.borrow_mut().pop_front() {
            exchange.wake_call();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match exchange.end.get() {
            BodyEnd::Whole => Poll::Ready(None),
            BodyEnd::Truncated if exchange.flushed.replace(true) => Poll::Ready(Some(Err(Truncated))),
            BodyEnd::Truncated => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            BodyEnd::NotYet => {
                wait(&exchange.hyper, cx);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.end.get() == BodyEnd::Whole && self.0.chunks.borrow().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.0.end.get() != BodyEnd::Whole {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.0.chunks.borrow().iter().map(|chunk| chunk.len() as u64).sum())
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::Heads;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn taken(body: &mut ResponseBody) -> Poll<Option<Result<Vec<u8>, ()>>> {
        let polled = Pin::new(body).poll_frame(&mut cx());
        let data = |frame: Frame<Slice>| frame.into_data().expect("only data").to_vec();
        polled.map(|frame| frame.map(|frame| frame.map_err(drop).map(data)))
    }

    fn body(exchange: &Rc<H1Bridge>) -> ResponseBody {
        let mut answer = ResponseFuture::of(exchange);
        assert!(Pin::new(&mut answer).poll(&mut cx()).is_pending());
        exchange.begin(&Heads::new().head());
        match Pin::new(&mut answer).poll(&mut cx()) {
            Poll::Ready(Ok(response)) => response.into_body(),
            _ => panic!("the head is there"),
        }
    }

    #[test]
    fn one_chunk_waits_for_the_one_before() {
        let exchange = Rc::new(H1Bridge::default());
        let mut body = body(&exchange);
        let mut chunk = Slice::copy_of(b"a");
        assert!(exchange.poll_send(&cx(), &mut chunk).is_ready());
        let mut next = Slice::copy_of(b"b");
        assert!(exchange.poll_send(&cx(), &mut next).is_pending());
        assert_eq!(taken(&mut body), Poll::Ready(Some(Ok(b"a".to_vec()))));
        assert!(exchange.poll_send(&cx(), &mut next).is_ready());
        exchange.end(Slice::copy_of(b"c"));
        assert_eq!(body.size_hint().exact(), Some(2));
        assert_eq!(taken(&mut body), Poll::Ready(Some(Ok(b"b".to_vec()))));
        assert_eq!(taken(&mut body), Poll::Ready(Some(Ok(b"c".to_vec()))));
        assert_eq!(taken(&mut body), Poll::Ready(None));
        assert!(exchange.poll_gone(&cx()).is_pending());
    }

    #[test]
    fn who_leaves_early_is_gone_and_who_had_all_is_not() {
        let exchange = Rc::new(H1Bridge::default());
        drop(ResponseFuture::of(&exchange));
        assert!(exchange.poll_gone(&cx()).is_ready());
        exchange.reset();
        drop(body(&exchange));
        assert!(exchange.poll_gone(&cx()).is_ready());
        exchange.reset();
        let whole = body(&exchange);
        exchange.end(Slice::default());
        drop(whole);
        assert!(exchange.poll_gone(&cx()).is_pending());
    }

    #[test]
    fn a_cut_body_ends_with_an_error() {
        let exchange = Rc::new(H1Bridge::default());
        let mut body = body(&exchange);
        exchange.cut(Slice::copy_of(b"x"));
        assert_eq!(taken(&mut body), Poll::Ready(Some(Ok(b"x".to_vec()))));
        assert_eq!(taken(&mut body), Poll::Pending);
        assert_eq!(taken(&mut body), Poll::Ready(Some(Err(()))));
    }
}
