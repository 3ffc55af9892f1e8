//! The response to a caller, in its protocol: passed through from the upstream, or made here when a call fails.
//!
//! An upstream's response is always gRPC: a head, messages in their frames, trailers. gRPC callers get just that; for
//! others an encoder turns it into gRPC-Web or JSON.

mod codings;
mod connect;
mod extra;
pub(in crate::worker) mod format;
mod grpc;
mod grpc_web;
pub(in crate::worker) mod json;
pub(in crate::worker) mod sink;

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use self::connect::ConnectEncoder;
use self::extra::ExtraHeaders;
use self::grpc_web::Web;
use self::json::{JsonEncoder, status_body};
use self::sink::{Gone, ResponseSink};
use super::cors::Granted;
use super::headers;
use super::protocol::DownstreamProtocol;
use crate::buffer::Slice;
use crate::config::fields;
use crate::http2::{Head, Heads, Name};
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::upstream::AttemptError;
use crate::wire::authz::Change;
use crate::worker::downstream::buffered::BufferedResponse;
use crate::worker::telemetry::stage_timer::StageTimer;

/// The response to one call.
pub(in crate::worker) struct Responder {
    /// Memory for the heads that are made here.
    heads: Rc<Heads>,
    sink: ResponseSink,
    encoder: ResponseEncoder,
    /// The request is a HEAD: the response has no body.
    is_head: bool,
    /// Headers that the gateway adds.
    extra: ExtraHeaders,
    /// A detail of the failure, where its own message does not say enough.
    detail: Option<String>,
    /// The methods that this path allows.
    allow: Option<String>,
    /// The time after which the caller may come back.
    retry_after: Option<Duration>,
    /// The credentials that a caller without good ones may come back with.
    challenge: Option<&'static str>,
    /// The words of an authorization service that has denied the call.
    denial: Option<Box<Denial>>,
}

/// Fields and body of a refusal.
struct Denial {
    fields: Vec<Change>,
    body: String,
}

impl Denial {
    /// The type of the body, if there is one.
    fn content_type(&self) -> Option<&[u8]> {
        let of_type = |change: &&Change| change.name == "content-type" && fields::is_value(&change.value);
        let said = self.fields.iter().find(of_type).map(|change| &change.value[..]);
        (!self.body.is_empty()).then(|| said.unwrap_or(b"text/plain"))
    }

    /// Adds the fields that may be added.
    fn add_to(&self, head: &mut Head) {
        for Change { name, value, .. } in &self.fields {
            if fields::may_change(name) && fields::is_value(value) {
                head.push_named(name.as_bytes(), value);
            }
        }
    }
}

/// The protocol of the response.
enum ResponseEncoder {
    Grpc,
    Web(Web),
    Connect(Box<ConnectEncoder>),
    /// Plain HTTP, until the method is known.
    Http,
    Json(Box<JsonEncoder>),
}

impl Responder {
    pub(in crate::worker) fn new(
        heads: &Rc<Heads>,
        sink: ResponseSink,
        protocol: DownstreamProtocol,
        is_head: bool,
        began: Moment,
    ) -> Responder {
        let encoder = match protocol {
            DownstreamProtocol::Grpc => ResponseEncoder::Grpc,
            DownstreamProtocol::GrpcWeb(_, form) => ResponseEncoder::Web(Web::new(form)),
            DownstreamProtocol::Connect(kind) => {
                ResponseEncoder::Connect(Box::new(ConnectEncoder::new(kind)))
            }
            DownstreamProtocol::Json => ResponseEncoder::Http,
        };
        let extra = ExtraHeaders { granted: None, hsts: None, timer: StageTimer::new(began) };
        let heads = Rc::clone(heads);
        Responder {
            heads,
            sink,
            encoder,
            is_head,
            extra,
            detail: None,
            allow: None,
            retry_after: None,
            challenge: None,
            denial: None,
        }
    }

    /// Encodes the response as JSON from now on, by the types of a known method.
    pub(in crate::worker) fn encode_json(&mut self, encoder: JsonEncoder) {
        self.encoder = ResponseEncoder::Json(Box::new(encoder));
    }

    /// Counts what is held of a response in JSON.
    pub(in crate::worker) fn count(&mut self, held: BufferedResponse) {
        if let ResponseEncoder::Json(json) = &mut self.encoder {
            json.count(held);
        }
    }

    /// Counts what is held of a unary answer in Connect, whose message may have so many bytes.
    pub(in crate::worker) fn count_unary(&mut self, held: BufferedResponse, length_max: u32) {
        if let ResponseEncoder::Connect(connect) = &mut self.encoder {
            connect.count(held, length_max);
        }
    }

    /// Sets the CORS grant of the page that asks.
    pub(in crate::worker) fn grant(&mut self, granted: Option<Granted>) {
        self.extra.granted = granted;
    }

    /// Tells a caller that keeps it to come by `https` alone.
    pub(in crate::worker) fn keep_secure(&mut self, hsts: Option<Rc<Box<str>>>) {
        self.extra.hsts = hsts;
    }

    /// The timer of the call's stages.
    pub(in crate::worker) fn timer(&self) -> &StageTimer {
        &self.extra.timer
    }

    /// The timer of the call's stages, to be started.
    pub(in crate::worker) fn timer_mut(&mut self) -> &mut StageTimer {
        &mut self.extra.timer
    }

    /// The HTTP status that the client got; zero if none.
    pub(in crate::worker) fn status(&self) -> u16 {
        self.sink.status()
    }

    /// Since when the client has not taken what waits for it.
    pub(in crate::worker) fn stalled_since(&self) -> Option<Moment> {
        self.sink.stalled_since()
    }

    /// Bytes of the body that the client got.
    pub(in crate::worker) fn sent_bytes(&self) -> u64 {
        self.sink.sent_bytes()
    }

    /// Whether the service's messages are turned into JSON.
    pub(in crate::worker) fn is_json(&self) -> bool {
        matches!(self.encoder, ResponseEncoder::Json(_))
    }

    /// Sets a detail of the failure that follows.
    pub(in crate::worker) fn explain(&mut self, detail: String) {
        self.detail = Some(detail);
    }

    /// Sets the methods that the path allows.
    pub(in crate::worker) fn allow(&mut self, methods: String) {
        self.allow = Some(methods);
    }

    /// Sets the time after which the caller may come back.
    pub(in crate::worker) fn retry_after(&mut self, wait: Duration) {
        self.retry_after = Some(wait);
    }

    /// Sets the credentials that a caller without good ones may come back with.
    pub(in crate::worker) fn challenge(&mut self, challenge: Option<&'static str>) {
        self.challenge = challenge;
    }

    /// Sets the words of an authorization service that has denied the call.
    pub(in crate::worker) fn deny(&mut self, fields: Vec<Change>, body: String) {
        self.denial = Some(Box::new(Denial { fields, body }));
    }

    /// Whether the caller takes any answer of plain HTTP.
    pub(in crate::worker) fn speaks_http(&self) -> bool {
        match &self.encoder {
            ResponseEncoder::Http => true,
            ResponseEncoder::Json(json) => !json.speaks_connect(),
            ResponseEncoder::Grpc | ResponseEncoder::Web(_) | ResponseEncoder::Connect(_) => false,
        }
    }

    /// The memory for heads.
    pub(in crate::worker) fn heads(&self) -> &Rc<Heads> {
        &self.heads
    }

    /// Sends a response of plain HTTP that is no service's, such as that to a preflight.
    pub(in crate::worker) fn send_plain(&mut self, mut head: Head, body: Slice) -> Result<(), Failure> {
        self.extra.add_to(&mut head);
        self.sink.send_whole(head, body, self.is_head).map_err(|Gone| Failure::DownstreamReset)
    }

    /// Sends a head of the upstream that is all of its response to `asked`.
    pub(in crate::worker) fn send_whole(&mut self, mut head: Head, asked: &Head) -> Result<(), AttemptError> {
        match &mut self.encoder {
            ResponseEncoder::Grpc => {
                self.extra.add_time(&mut head);
                Ok(self.sink.send_whole(head, Slice::default(), false)?)
            }
            ResponseEncoder::Web(web) => {
                let body = web.take_trailers(&mut head);
                web.change(&mut head, asked);
                self.extra.add_to(&mut head);
                Ok(self.sink.send_whole(head, body, self.is_head)?)
            }
            ResponseEncoder::Connect(connect) => {
                connect.send_whole(&self.heads, (&mut self.sink, &self.extra), head, asked)
            }
            ResponseEncoder::Json(json) => {
                let trailers = json.begin(&self.heads, head);
                self.end(trailers)
            }
            ResponseEncoder::Http => Err(AttemptError::terminal(Failure::UpstreamBadMessage)),
        }
    }

    /// Takes the head of a response to `asked`.
    pub(in crate::worker) fn begin(&mut self, mut head: Head, asked: &Head) -> Result<(), AttemptError> {
        match &mut self.encoder {
            ResponseEncoder::Grpc => Ok(self.sink.begin(&head)?),
            ResponseEncoder::Web(web) => {
                web.change(&mut head, asked);
                self.extra.add_to(&mut head);
                Ok(self.sink.begin(&head)?)
            }
            ResponseEncoder::Connect(connect) => connect.begin(&mut self.sink, &self.extra, head, asked),
            ResponseEncoder::Json(json) => {
                json.begin(&self.heads, head);
                Ok(())
            }
            ResponseEncoder::Http => Err(AttemptError::terminal(Failure::UpstreamBadMessage)),
        }
    }

    /// Sends a chunk of the body, as much at a time as the client takes. Ready when all of it has been sent.
    pub(in crate::worker) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Slice,
    ) -> Poll<Result<(), AttemptError>> {
        match &mut self.encoder {
            ResponseEncoder::Grpc => self.sink.poll_send(cx, chunk).map_err(AttemptError::from),
            ResponseEncoder::Web(web) => web.poll_send(cx, &mut self.sink, chunk).map_err(AttemptError::from),
            ResponseEncoder::Connect(connect) => connect.poll_send(cx, &mut self.sink, chunk),
            ResponseEncoder::Json(json) => {
                json.poll_send(cx, &mut self.sink, &self.extra, self.is_head, chunk)
            }
            ResponseEncoder::Http => Poll::Ready(Err(AttemptError::terminal(Failure::DownstreamReset))),
        }
    }

    /// Ends the response with the upstream's trailers.
    pub(in crate::worker) fn end(&mut self, mut trailers: Head) -> Result<(), AttemptError> {
        match &mut self.encoder {
            ResponseEncoder::Grpc => {
                self.extra.add_time(&mut trailers);
                Ok(self.sink.end_with(&trailers)?)
            }
            ResponseEncoder::Web(web) => {
                self.extra.add_time(&mut trailers);
                let last = web.trailers(&trailers);
                Ok(self.sink.end(last)?)
            }
            ResponseEncoder::Connect(connect) => connect.end(&mut self.sink, &trailers),
            ResponseEncoder::Json(json) => json.end(&mut self.sink, &self.extra, self.is_head, &trailers),
            ResponseEncoder::Http => Err(AttemptError::terminal(Failure::DownstreamReset)),
        }
    }

    /// Ends the response to `asked` with a failure: as all of it, or as its end if it had begun. Nothing for a client that
    /// has gone.
    pub(in crate::worker) fn fail(&mut self, failure: Failure, asked: &Head) {
        if failure == Failure::DownstreamReset {
            return self.sink.close();
        }
        // An error here means that the client has gone meanwhile, which its connection notices itself.
        let _ = match &mut self.encoder {
            ResponseEncoder::Grpc if self.sink.is_begun() => {
                let mut trailers = grpc::trailers(&self.heads, failure);
                self.extra.add_time(&mut trailers);
                self.sink.end_with(&trailers)
            }
            ResponseEncoder::Grpc => {
                let mut head = grpc::trailers_only(&self.heads, failure, asked);
                if let Some(denial) = &self.denial {
                    denial.add_to(&mut head);
                }
                self.extra.add_time(&mut head);
                self.sink.send_whole(head, Slice::default(), false)
            }
            ResponseEncoder::Web(web) if self.sink.is_begun() => {
                if web.is_between_messages() {
                    let mut trailers = grpc::trailers(&self.heads, failure);
                    self.extra.add_time(&mut trailers);
                    self.sink.end(web.trailers(&trailers))
                } else {
                    // Within a message there is no place for trailers.
                    self.sink.cut(Slice::default());
                    Ok(())
                }
            }
            ResponseEncoder::Web(web) => {
                let mut trailers = grpc::trailers(&self.heads, failure);
                self.extra.add_time(&mut trailers);
                let body = web.trailers(&trailers);
                let mut head = grpc::head(&self.heads, failure);
                web.change(&mut head, asked);
                self.extra.add_to(&mut head);
                self.sink.send_whole(head, body, self.is_head)
            }
            ResponseEncoder::Connect(connect) => match connect.failed(failure, self.detail.as_deref()) {
                Some(last) if self.sink.is_begun() => self.sink.end(last),
                Some(body) => {
                    let mut head = headers::response(&self.heads, 200);
                    head.push(Name::CONTENT_TYPE, &connect.content_type(asked));
                    self.extra.add_to(&mut head);
                    self.sink.send_whole(head, body, self.is_head)
                }
                None if self.sink.is_begun() => {
                    self.sink.cut(Slice::default());
                    Ok(())
                }
                None => self.refuse(failure),
            },
            ResponseEncoder::Json(json) if self.sink.is_begun() => {
                let last = json.failed(failure, self.detail.as_deref());
                json.end_begun(&mut self.sink, last)
            }
            ResponseEncoder::Json(json) if json.is_framed() => {
                let mut head = headers::response(&self.heads, 200);
                head.push(Name::CONTENT_TYPE, b"application/connect+json");
                self.extra.add_to(&mut head);
                self.sink.send_whole(head, json.failed(failure, self.detail.as_deref()), self.is_head)
            }
            ResponseEncoder::Http | ResponseEncoder::Json(_) => self.refuse(failure),
        };
    }

    /// A failure as the whole answer to a caller of plain HTTP, or to a unary call in Connect.
    fn refuse(&mut self, failure: Failure) -> Result<(), Gone> {
        let message = self.detail.take();
        let in_connect = match &self.encoder {
            ResponseEncoder::Connect(_) => true,
            ResponseEncoder::Json(json) => json.speaks_connect(),
            _ => false,
        };
        let (status, body) = if in_connect {
            (connect::http(failure), connect::error(failure, message.as_deref()).to_json().into())
        } else {
            (failure.http(), status_body(failure, message.as_deref()))
        };
        let denial = self.denial.take().filter(|_| !matches!(self.encoder, ResponseEncoder::Connect(_)));
        let mut head = headers::response(&self.heads, status);
        let content_type = denial.as_ref().and_then(|denial| denial.content_type());
        head.push(Name::CONTENT_TYPE, content_type.unwrap_or(b"application/json"));
        if let Some(denial) = &denial {
            denial.add_to(&mut head);
        }
        let body = denial
            .map(|denial| denial.body)
            .filter(|body| !body.is_empty())
            .map_or(body, |own| own.into_bytes().into());
        if let Some(allow) = self.allow.take() {
            head.push(Name::ALLOW, allow.as_bytes());
        }
        if let Some(challenge) = self.challenge {
            head.push(Name::WWW_AUTHENTICATE, challenge.as_bytes());
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, and not too early.
            let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
            head.push(Name::RETRY_AFTER, itoa::Buffer::new().format(seconds).as_bytes());
        }
        self.extra.add_to(&mut head);
        self.sink.send_whole(head, body, self.is_head)
    }

    /// Whether the client gets none of the upstream's further bytes: its request is a HEAD.
    pub(in crate::worker) fn is_said(&self) -> bool {
        self.is_head && self.sink.is_over()
    }

    /// Ready when the client has cancelled or its connection has ended.
    pub(in crate::worker) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_gone(cx)
    }
}

impl Drop for Responder {
    /// A call that has panicked has said nothing; HTTP/1.1 would wait for that.
    fn drop(&mut self) {
        self.sink.close();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;
    use crate::worker::downstream::h1_bridge::{H1Bridge, ResponseFuture};

    #[test]
    fn an_answer_that_never_comes_ends_the_exchange() {
        for begins in [false, true] {
            for fails in [false, true] {
                let exchange = Rc::new(H1Bridge::default());
                let mut answer = ResponseFuture::of(&exchange);
                let mut cx = Context::from_waker(Waker::noop());
                let mut responder = Responder::new(
                    &Heads::new(),
                    ResponseSink::http1(exchange),
                    DownstreamProtocol::Json,
                    false,
                    Moment::ZERO,
                );
                if begins {
                    responder.sink.begin(&Heads::new().head()).expect("nothing was said yet");
                }
                if fails {
                    responder.fail(Failure::DownstreamReset, &Heads::new().head());
                }
                assert!(begins || fails || Pin::new(&mut answer).poll(&mut cx).is_pending());
                drop(responder);
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
