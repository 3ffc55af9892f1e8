//! The answer to a caller, in its language: passed through from the upstream, or made here when a call fails.
//!
//! What comes in is always gRPC: a head, messages in their frames, trailers. gRPC callers get just that; for others it
//! is said in their way.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::channel::{Channel, Gone};
use super::cors::Granted;
use super::head;
use super::json;
use super::language::Language;
use super::ledger::Ledger;
use crate::buffer::Slice;
use crate::http2::{Head, Heads, Name};
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::upstream::Failed;
use crate::wire::frame::Walker;
use crate::wire::web::{self, Form};

/// The answer to one call.
pub(super) struct Reply {
    /// Memory for the heads that are made here.
    heads: Rc<Heads>,
    channel: Channel,
    voice: Voice,
    /// The request is a HEAD: the answer has no body.
    is_head: bool,
    /// What it says besides what the service says.
    pub(super) extra: Extra,
    /// What is wrong, if there is more to say than what the failure says by itself.
    detail: Option<String>,
    /// What this path may be called with.
    allow: Option<String>,
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
    pub(super) fn add_to(&self, head: &mut Head) {
        if let Some(granted) = &self.granted {
            granted.add_to(head);
        }
        self.add_time(head);
    }

    /// Adds to a head, or to trailers, where the time went, if that is wanted.
    fn add_time(&self, head: &mut Head) {
        if let Some(value) = self.ledger.value() {
            head.push(Name::SERVER_TIMING, value.as_bytes());
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
    pending: Slice,
}

impl Web {
    fn new(form: Form) -> Web {
        Web { form, walker: Walker::new(), pending: Slice::default() }
    }

    fn trailers(&self, trailers: &Head) -> Slice {
        let mut frame = Vec::with_capacity(128);
        web::write_trailers(trailers.iter().map(|field| (field.name_bytes, field.value)), &mut frame);
        match self.form {
            Form::Binary => frame.into(),
            Form::Text => web::to_text(&frame).into_bytes().into(),
        }
    }

    fn change(&self, head: &mut Head) {
        head.insert(Name::CONTENT_TYPE, self.form.content_type().as_bytes());
        head.remove(Name::CONTENT_LENGTH);
    }

    /// Sends the next piece of the body, which is turned into text first if the caller wants that.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        channel: &mut Channel,
        chunk: &mut Slice,
    ) -> Poll<Result<(), Gone>> {
        if !chunk.is_empty() && self.pending.is_empty() {
            self.walker.feed(chunk);
            let chunk = std::mem::take(chunk);
            self.pending = match self.form {
                Form::Binary => chunk,
                Form::Text => web::to_text(&chunk).into_bytes().into(),
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
    pub(super) fn new(
        heads: &Rc<Heads>,
        channel: Channel,
        language: Language,
        is_head: bool,
        began: Moment,
    ) -> Reply {
        let voice = match language {
            Language::Grpc => Voice::Grpc,
            Language::Web(_, form) => Voice::Web(Web::new(form)),
            Language::Http => Voice::Http,
        };
        let extra = Extra { granted: None, ledger: Ledger::new(began) };
        let heads = Rc::clone(heads);
        Reply { heads, channel, voice, is_head, extra, detail: None, allow: None, retry_after: None }
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
    pub(super) fn allow(&mut self, methods: String) {
        self.allow = Some(methods);
    }

    /// Says when it may be worth to come back.
    pub(super) fn retry_after(&mut self, wait: Duration) {
        self.retry_after = Some(wait);
    }

    /// Sends an answer that is no call's: that to a preflight.
    pub(super) fn send_plain(&mut self, mut head: Head) -> Result<(), Failure> {
        self.extra.add_to(&mut head);
        self.channel.send_whole(head, Slice::default(), self.is_head).map_err(|Gone| Failure::ClientGone)
    }

    /// Sends a head of the upstream that is all of its answer.
    pub(super) fn send_whole(&mut self, mut head: Head) -> Result<(), Failed> {
        match &mut self.voice {
            Voice::Grpc => {
                self.extra.add_time(&mut head);
                Ok(self.channel.send_whole(head, Slice::default(), false)?)
            }
            Voice::Web(web) => {
                let mut trailers = self.heads.head();
                move_trailers(&mut head, &mut trailers);
                let body = web.trailers(&trailers);
                web.change(&mut head);
                self.extra.add_to(&mut head);
                Ok(self.channel.send_whole(head, body, self.is_head)?)
            }
            Voice::Json(json) => {
                let trailers = json.begin(&self.heads, head);
                self.end(trailers)
            }
            Voice::Http => Err(Failed::finally(Failure::UpstreamBadMessage)),
        }
    }

    /// Takes the head of an answer.
    pub(super) fn begin(&mut self, mut head: Head) -> Result<(), Failed> {
        match &mut self.voice {
            Voice::Grpc => Ok(self.channel.begin(&head)?),
            Voice::Web(web) => {
                web.change(&mut head);
                self.extra.add_to(&mut head);
                Ok(self.channel.begin(&head)?)
            }
            Voice::Json(json) => {
                json.begin(&self.heads, head);
                Ok(())
            }
            Voice::Http => Err(Failed::finally(Failure::UpstreamBadMessage)),
        }
    }

    /// Takes a chunk of the body, as much at a time as the client takes. Ready when all of it is on its way.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Slice) -> Poll<Result<(), Failed>> {
        match &mut self.voice {
            Voice::Grpc => self.channel.poll_send(cx, chunk).map_err(Failed::from),
            Voice::Web(web) => web.poll_send(cx, &mut self.channel, chunk).map_err(Failed::from),
            Voice::Json(json) => json.poll_send(cx, &mut self.channel, &self.extra, self.is_head, chunk),
            Voice::Http => Poll::Ready(Err(GONE)),
        }
    }

    /// Ends the answer with the upstream's trailers.
    pub(super) fn end(&mut self, mut trailers: Head) -> Result<(), Failed> {
        match &mut self.voice {
            Voice::Grpc => {
                self.extra.add_time(&mut trailers);
                Ok(self.channel.end_with(&trailers)?)
            }
            Voice::Web(web) => {
                self.extra.add_time(&mut trailers);
                let last = web.trailers(&trailers);
                Ok(self.channel.end(last)?)
            }
            Voice::Json(json) => json.end(&mut self.channel, &self.extra, self.is_head, &trailers),
            Voice::Http => Err(GONE),
        }
    }

    /// Ends the answer with a failure: as all of it, or as its end if it had begun. Nothing for a client that has gone.
    pub(super) fn fail(&mut self, failure: Failure) {
        if failure == Failure::ClientGone {
            return self.channel.close();
        }
        // An error here means that the client has gone meanwhile, which its connection notices itself.
        let _ = match &mut self.voice {
            Voice::Grpc if self.channel.is_begun() => {
                let mut trailers = self.heads.head();
                self.say(failure, &mut trailers);
                self.channel.end_with(&trailers)
            }
            Voice::Grpc => {
                let head = self.trailers_only(failure);
                self.channel.send_whole(head, Slice::default(), false)
            }
            Voice::Web(web) if self.channel.is_begun() => {
                if web.walker.is_between() && web.pending.is_empty() {
                    let mut trailers = self.heads.head();
                    add_status(failure, &mut trailers);
                    self.extra.add_time(&mut trailers);
                    self.channel.end(web.trailers(&trailers))
                } else {
                    // Within a message there is no place for trailers.
                    self.channel.cut(Slice::default());
                    Ok(())
                }
            }
            Voice::Web(web) => {
                let mut trailers = self.heads.head();
                add_status(failure, &mut trailers);
                self.extra.add_time(&mut trailers);
                let body = web.trailers(&trailers);
                let mut head = head::response(&self.heads, failure.http_of_grpc());
                web.change(&mut head);
                self.extra.add_to(&mut head);
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

    /// A failure as a gRPC answer without messages ("Trailers-Only" in gRPC over HTTP/2).
    fn trailers_only(&self, failure: Failure) -> Head {
        let mut head = head::response(&self.heads, failure.http_of_grpc());
        head.push(Name::CONTENT_TYPE, b"application/grpc");
        self.say(failure, &mut head);
        if failure == Failure::NotPost {
            head.push(Name::ALLOW, b"POST");
        }
        head
    }

    fn say(&self, failure: Failure, trailers: &mut Head) {
        add_status(failure, trailers);
        self.extra.add_time(trailers);
    }

    /// A failure as the whole answer to a caller of plain HTTP.
    fn refuse(&mut self, failure: Failure) -> Result<(), Gone> {
        let message = self.detail.take();
        let body = json::status_body(failure, message.as_deref());
        let mut head = head::response(&self.heads, failure.http());
        head.push(Name::CONTENT_TYPE, b"application/json");
        if let Some(allow) = self.allow.take() {
            head.push(Name::ALLOW, allow.as_bytes());
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, and not too early.
            let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
            head.push(Name::RETRY_AFTER, itoa::Buffer::new().format(seconds).as_bytes());
        }
        self.extra.add_to(&mut head);
        self.channel.send_whole(head, body, self.is_head)
    }

    /// Whether nothing of what the upstream still says is for the client, who asked for a head.
    pub(super) fn is_said(&self) -> bool {
        self.is_head && self.channel.is_over()
    }

    /// Ready when the client has cancelled or its connection has ended.
    pub(super) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.channel.poll_gone(cx)
    }
}

impl Drop for Reply {
    /// A call that has panicked has said nothing; HTTP/1.1 would wait for that.
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// Parts the head of an answer that has no messages: what is the trailers goes there.
fn move_trailers(head: &mut Head, trailers: &mut Head) {
    let is_trailer = |name: &[u8]| name.starts_with(b"grpc-");
    for field in head.iter().filter(|field| is_trailer(field.name_bytes)) {
        trailers.push_named(field.name_bytes, field.value);
    }
    head.retain(|field| !is_trailer(field.name_bytes));
}

fn add_status(failure: Failure, trailers: &mut Head) {
    trailers.push(Name::GRPC_STATUS, failure.code().text().as_bytes());
    trailers.push(Name::GRPC_MESSAGE, failure.message().as_bytes());
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
                let mut reply =
                    Reply::new(&Heads::new(), Channel::http1(exchange), Language::Http, false, Moment::ZERO);
                if begins {
                    reply.channel.begin(&Heads::new().head()).expect("nothing was said yet");
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
