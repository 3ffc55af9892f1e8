//! The answer to a caller, in its language: passed through from the upstream, or made here when a call fails.
//!
//! What comes in is always gRPC: a head, messages in their frames, trailers. gRPC callers get just that; for others it
//! is said in their way.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::channel::{Channel, Gone};
use super::cors::Granted;
use super::head::{GRPC_MESSAGE, GRPC_STATUS};
use super::json;
use super::language::Language;
use super::ledger::{Ledger, SERVER_TIMING};
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::upstream::Failed;
use crate::wire::frame::Walker;
use crate::wire::web::{self, Form};

/// The answer to one call.
pub(super) struct Reply {
    channel: Channel,
    voice: Voice,
    /// The request is a HEAD: the answer has no body.
    is_head: bool,
    /// What it says besides what the service says.
    pub(super) extra: Extra,
    /// What is wrong, if there is more to say than what the failure says by itself.
    detail: Option<String>,
    /// What this path may be called with.
    allow: Option<HeaderValue>,
    /// When to come back.
    retry_after: Option<Duration>,
}

/// What an answer says besides what the service says.
pub(super) struct Extra {
    /// What the page that asks may read of it.
    pub(super) granted: Option<Granted>,
    /// Where the time of the call goes.
    pub(super) ledger: Ledger,
}

impl Extra {
    /// Adds it to a head that a body follows.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        if let Some(granted) = &self.granted {
            granted.add_to(headers);
        }
        self.add_time(headers);
    }

    /// Adds to a head, or to what follows the body, where the time went, if that is wanted.
    fn add_time(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.ledger.value() {
            headers.append(&SERVER_TIMING, value);
        }
    }
}

/// The language of the answer.
pub(super) enum Voice {
    Grpc,
    Web(Web),
    /// Plain HTTP, as long as it is not known which method is called.
    Http,
    Json(Box<json::Answer>),
}

/// An answer in gRPC-Web.
pub(super) struct Web {
    form: Form,
    walker: Walker,
    /// Encoded, and not yet taken by the client.
    pending: Bytes,
}

impl Web {
    fn new(form: Form) -> Web {
        Web { form, walker: Walker::new(), pending: Bytes::new() }
    }

    fn encoded(&self, bytes: Vec<u8>) -> Bytes {
        match self.form {
            Form::Binary => bytes.into(),
            Form::Text => web::to_text(&bytes).into(),
        }
    }

    fn trailers(&self, trailers: &HeaderMap) -> Bytes {
        let mut frame = Vec::with_capacity(128);
        web::write_trailers(trailers, &mut frame);
        self.encoded(frame)
    }

    fn head(&self, mut head: Response<()>) -> Response<()> {
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.form.content_type()));
        head.headers_mut().remove(CONTENT_LENGTH);
        head
    }

    /// Sends the next piece of the body, which is turned into text first if the caller wants that.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        channel: &mut Channel,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), Gone>> {
        if !chunk.is_empty() && self.pending.is_empty() {
            self.walker.feed(chunk);
            let chunk = std::mem::take(chunk);
            self.pending = match self.form {
                Form::Binary => chunk,
                Form::Text => web::to_text(&chunk).into(),
            };
        }
        channel.poll_send(cx, &mut self.pending)
    }
}

/// The caller cannot be answered any more.
const GONE: Failed = Failed::finally(Failure::ClientGone);

impl From<Gone> for Failed {
    fn from(_: Gone) -> Failed {
        GONE
    }
}

impl Reply {
    pub(super) fn new(channel: Channel, language: Language, is_head: bool, began: Moment) -> Reply {
        let voice = match language {
            Language::Grpc => Voice::Grpc,
            Language::Web(_, form) => Voice::Web(Web::new(form)),
            Language::Http => Voice::Http,
        };
        let extra = Extra { granted: None, ledger: Ledger::new(began) };
        Reply { channel, voice, is_head, extra, detail: None, allow: None, retry_after: None }
    }

    /// From now on the answer is that of a known method.
    pub(super) fn speak(&mut self, voice: Voice) {
        self.voice = voice;
    }

    /// The HTTP status that the client got; zero if none.
    pub(super) fn status(&self) -> u16 {
        self.channel.status()
    }

    /// Bytes of the body that the client got.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.channel.sent_bytes()
    }

    /// Whether what comes from the service is turned into JSON.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.voice, Voice::Json(_))
    }

    /// Says more of the failure that follows.
    pub(super) fn explain(&mut self, detail: String) {
        self.detail = Some(detail);
    }

    /// Says what the path may be called with.
    pub(super) fn allow(&mut self, methods: HeaderValue) {
        self.allow = Some(methods);
    }

    /// Says when it may be worth to come back.
    pub(super) fn retry_after(&mut self, wait: Duration) {
        self.retry_after = Some(wait);
    }

    /// Sends an answer that is no call's: that to a preflight.
    pub(super) fn send_plain(&mut self, head: Response<()>) -> Result<(), Failure> {
        let head = self.with_extra(head);
        self.channel.send_whole(head, Bytes::new(), self.is_head).map_err(|Gone| Failure::ClientGone)
    }

    /// Sends a head of the upstream that is all of its answer.
    pub(super) fn send_whole(&mut self, mut head: Response<()>) -> Result<(), Failed> {
        match &mut self.voice {
            Voice::Grpc => {
                self.extra.add_time(head.headers_mut());
                Ok(self.channel.send_whole(head, Bytes::new(), false)?)
            }
            Voice::Web(web) => {
                let (headers, trailers) = split_trailers(std::mem::take(head.headers_mut()));
                *head.headers_mut() = headers;
                let (head, body) = (web.head(head), web.trailers(&trailers));
                let head = self.with_extra(head);
                Ok(self.channel.send_whole(head, body, self.is_head)?)
            }
            Voice::Json(json) => {
                let trailers = json.begin(head);
                self.end(trailers)
            }
            Voice::Http => Err(Failed::finally(Failure::UpstreamBadMessage)),
        }
    }

    /// Takes the head of an answer.
    pub(super) fn begin(&mut self, head: Response<()>) -> Result<(), Failed> {
        match &mut self.voice {
            Voice::Grpc => Ok(self.channel.begin(head)?),
            Voice::Web(web) => {
                let head = web.head(head);
                let head = self.with_extra(head);
                Ok(self.channel.begin(head)?)
            }
            Voice::Json(json) => {
                json.begin(head);
                Ok(())
            }
            Voice::Http => Err(Failed::finally(Failure::UpstreamBadMessage)),
        }
    }

    /// Takes a chunk of the body, as much at a time as the client takes. Ready when all of it is on its way.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<Result<(), Failed>> {
        match &mut self.voice {
            Voice::Grpc => self.channel.poll_send(cx, chunk).map_err(Failed::from),
            Voice::Web(web) => web.poll_send(cx, &mut self.channel, chunk).map_err(Failed::from),
            Voice::Json(json) => json.poll_send(cx, &mut self.channel, &self.extra, self.is_head, chunk),
            Voice::Http => Poll::Ready(Err(GONE)),
        }
    }

    /// Ends the answer with the upstream's trailers.
    pub(super) fn end(&mut self, mut trailers: HeaderMap) -> Result<(), Failed> {
        match &mut self.voice {
            Voice::Grpc => {
                self.extra.add_time(&mut trailers);
                Ok(self.channel.end_with(trailers)?)
            }
            Voice::Web(web) => {
                self.extra.add_time(&mut trailers);
                let last = web.trailers(&trailers);
                Ok(self.channel.end(last)?)
            }
            Voice::Json(json) => json.end(&mut self.channel, &self.extra, self.is_head, trailers),
            Voice::Http => Err(GONE),
        }
    }

    /// Ends the answer with a failure: as all of it, or as its end if it had begun. Nothing for a client that has gone.
    pub(super) fn fail(&mut self, failure: Failure) {
        if failure == Failure::ClientGone {
            return self.channel.close();
        }
        let trailers = || {
            let mut trailers = trailers(failure);
            self.extra.add_time(&mut trailers);
            trailers
        };
        // An error here means that the client has gone meanwhile, which its connection notices itself.
        let _ = match &mut self.voice {
            Voice::Grpc if self.channel.is_begun() => self.channel.end_with(trailers()),
            Voice::Grpc => self.channel.send_whole(trailers_only(failure, trailers()), Bytes::new(), false),
            Voice::Web(web) if self.channel.is_begun() => {
                if web.walker.is_between() && web.pending.is_empty() {
                    let last = web.trailers(&trailers());
                    self.channel.end(last)
                } else {
                    // Within a message there is no place for trailers.
                    self.channel.cut(Bytes::new());
                    Ok(())
                }
            }
            Voice::Web(web) => {
                let (mut head, body) = (web.head(Response::new(())), web.trailers(&trailers()));
                *head.status_mut() = status(failure.http_of_grpc());
                let head = self.with_extra(head);
                self.channel.send_whole(head, body, self.is_head)
            }
            Voice::Json(json) if self.channel.is_begun() => {
                let last = json.failed(failure, self.detail.as_deref());
                self.channel.cut(last);
                Ok(())
            }
            Voice::Http | Voice::Json(_) => self.refuse(failure),
        };
    }

    /// A failure as the whole answer to a caller of plain HTTP.
    fn refuse(&mut self, failure: Failure) -> Result<(), Gone> {
        let message = self.detail.take();
        let body = json::status_body(failure, message.as_deref());
        let mut head = Response::new(());
        *head.status_mut() = status(failure.http());
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(allow) = self.allow.take() {
            head.headers_mut().insert(ALLOW, allow);
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, and not too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            head.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        let head = self.with_extra(head);
        self.channel.send_whole(head, body, self.is_head)
    }

    fn with_extra(&self, mut head: Response<()>) -> Response<()> {
        self.extra.add_to(head.headers_mut());
        head
    }

    /// Whether nothing of what the upstream still says is for the client, who asked for a head.
    pub(super) fn is_said(&self) -> bool {
        self.is_head && self.channel.is_over()
    }

    /// Whether the end has still to be shown, which takes as long as the client takes the bytes before it.
    pub(super) fn is_ending(&self) -> bool {
        self.channel.is_ending()
    }

    /// Ready when the client has all that it is to get.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.channel.poll_ended(cx)
    }

    /// Ready when the client has cancelled or its connection has ended.
    pub(super) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.channel.poll_gone(cx)
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).expect("a status of our own table")
}

impl Drop for Reply {
    /// A call that has panicked has said nothing; HTTP/1.1 would wait for that.
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// A failure as a gRPC answer without messages ("Trailers-Only" in gRPC over HTTP/2).
fn trailers_only(failure: Failure, mut headers: HeaderMap) -> Response<()> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if failure == Failure::NotPost {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    let mut response = Response::new(());
    *response.status_mut() = status(failure.http_of_grpc());
    *response.headers_mut() = headers;
    response
}

/// Parts the head of an answer that has no messages: what stays a head, and what is the trailers.
fn split_trailers(headers: HeaderMap) -> (HeaderMap, HeaderMap) {
    let (mut stay, mut trailers) = (HeaderMap::new(), HeaderMap::new());
    let mut last = None;
    for (name, value) in headers {
        last = name.or(last);
        let Some(name) = &last else { continue };
        let into = if name.as_str().starts_with("grpc-") { &mut trailers } else { &mut stay };
        into.append(name.clone(), value);
    }
    (stay, trailers)
}

fn trailers(failure: Failure) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.insert(&GRPC_STATUS, HeaderValue::from_static(failure.code().text()));
    trailers.insert(&GRPC_MESSAGE, HeaderValue::from_static(failure.message()));
    trailers
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;
    use crate::worker::exchange::{Answer, Exchange};

    #[test]
    fn an_answer_that_never_comes_ends_the_exchange() {
        for begins in [false, true] {
            for fails in [false, true] {
                let exchange = Rc::new(Exchange::default());
                let mut answer = Answer::of(&exchange);
                let mut cx = Context::from_waker(Waker::noop());
                let mut reply = Reply::new(Channel::http1(exchange), Language::Http, false, Moment::ZERO);
                if begins {
                    reply.channel.begin(Response::new(())).expect("nothing was said yet");
                }
                if fails {
                    reply.fail(Failure::ClientGone);
                }
                assert!(begins || fails || Pin::new(&mut answer).poll(&mut cx).is_pending());
                drop(reply);
                let Poll::Ready(ended) = Pin::new(&mut answer).poll(&mut cx) else {
                    panic!("it waits for ever")
                };
                assert_eq!(ended.is_ok(), begins, "a head that was sent is sent");
                if let Ok(response) = ended {
                    use http_body::Body as _;
                    let mut body = response.into_body();
                    assert!(
                        Pin::new(&mut body).poll_frame(&mut cx).is_pending(),
                        "what was written leaves first"
                    );
                    let cut = Pin::new(&mut body).poll_frame(&mut cx);
                    assert!(matches!(cut, Poll::Ready(Some(Err(_)))), "and then it is cut");
                }
            }
        }
    }
}
