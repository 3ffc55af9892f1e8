//! A call in flight: its request, its response, its timeouts, and its telemetry. Its parts are private: drivers of a
//! call use these verbs.

mod counted;
mod decoded;
mod guarded;
mod local_response;
mod routing;
mod shape;
mod upload;

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

pub(in crate::worker::call) use self::guarded::Wait;
use self::shape::Shape;
use super::admission::Permit;
use super::connect;
use super::guards::Guards;
use super::headers::{self, Arrival, GatewayHeaders};
use super::json;
use super::pace::Pace;
use super::protocol::{DownstreamProtocol, Version};
use super::request_body::RequestBody;
use super::request_forwarder::{RequestForwarder, UpstreamBody};
use super::responder::Responder;
use super::responder::sink::ResponseSink;
use super::response_forwarder::ResponseForwarder;
use super::timeouts::{CallTimeouts, RouteTimeouts};
use crate::buffer::Slice;
use crate::config::EndpointAddress;
use crate::http2::{Head, Stream};
use crate::metrics::record::Stage;
use crate::policy::failure::Failure;
use crate::policy::status::{CANCEL, Code};
use crate::time::Moment;
use crate::upstream::AttemptError;
use crate::worker::config::WorkerConfig;
use crate::worker::core::Worker;
use crate::worker::downstream::buffered::Buffered;
use crate::worker::downstream::client::Client;
use crate::worker::telemetry::records::{CallTelemetry, Ended};
use crate::worker::telemetry::trace::Span;

/// A request whose body has to be read before anything of it is sent.
pub(in crate::worker) enum UnreadRequest {
    /// It has to be transcoded.
    Json(json::TranscodedRequest),
    /// It has no frame.
    Connect(connect::UnaryRequest),
}

/// A call in flight.
pub(in crate::worker) struct Call {
    head: Head,
    client: Rc<Client>,
    responder: Responder,
    request: RequestForwarder,
    /// Bytes that are held of an unfinished request in JSON.
    buffered: Buffered,
    permit: Option<Permit>,
    pace: Pace,
    protocol: DownstreamProtocol,
    version: Version,
    timeouts: CallTimeouts,
    began: Moment,
    /// The caller's address: that of the peer, or the one that a trusted peer names. `None` of a Unix socket.
    caller: Option<IpAddr>,
    /// The guards and changes of its route; `None` until they were asked.
    guards: Option<Rc<Guards>>,
    /// When its last attempt ended, if nothing was waited for since then.
    attempt_ended: Option<Moment>,
    /// The series that counts it.
    series: usize,
    shape: Shape,
    telemetry: CallTelemetry,
}

impl Call {
    /// A call whose head came at `began`.
    pub(super) fn new(
        worker: &Worker,
        config: &WorkerConfig,
        client: Rc<Client>,
        (protocol, began): (DownstreamProtocol, Moment),
        arrival: Arrival,
        (body, sink): (RequestBody, ResponseSink),
    ) -> Call {
        let Arrival { mut head, version, .. } = arrival;
        let is_head = head.method() == Some(b"HEAD");
        let mut responder = Responder::new(&worker.heads, sink, protocol, is_head, began);
        if protocol != DownstreamProtocol::Grpc {
            responder.keep_secure(client.hsts());
        }
        let series = config.unrouted();
        let (buffers, logged) = (worker.telemetry.borrow(), config.logged(series));
        let peer = client.peer();
        let telemetry = CallTelemetry::begin(buffers.as_ref(), peer, logged, (protocol, version), &mut head);
        if let Some(clock) = telemetry.stage_clock() {
            responder.timer_mut().keep(clock);
        }
        Call {
            head,
            buffered: Buffered::default(),
            permit: None,
            pace: Pace::default(),
            protocol,
            version,
            caller: client.ip(),
            guards: None,
            client,
            responder,
            request: RequestForwarder::new(body, worker.replays.take()),
            timeouts: CallTimeouts::new(&worker.local.timers, began),
            began,
            attempt_ended: None,
            series,
            shape: Shape::default(),
            telemetry,
        }
    }

    /// Ends the call: a failure becomes a response, and the outcome is counted and recorded.
    pub(super) fn end(&mut self, worker: &Worker, config: &WorkerConfig, outcome: Result<Code, Failure>) {
        let outcome = match outcome {
            Err(Failure::UpstreamReset(CANCEL)) if self.is_late() => Err(Failure::DeadlineExceeded),
            other => other,
        };
        if let Err(failure) = outcome {
            self.client.call_failed(failure);
            self.request.detail().into_iter().for_each(|detail| self.responder.explain(detail));
            self.responder.fail(failure, &self.head);
        }
        let now = self.attempt_ended.unwrap_or_else(|| worker.clock.now());
        let took = now.since(self.began);
        self.count(worker, config, outcome.unwrap_or_else(Failure::code), took);
        let ended = Ended {
            began: self.began,
            took,
            received: self.request.received_bytes(),
            sent: self.responder.sent_bytes(),
            http_status: self.responder.status(),
            series: config.logged(self.series),
            timer: self.responder.timer(),
        };
        if outcome != Ok(Code::Ok) {
            let (buffers, form) = (worker.telemetry.borrow(), (self.protocol, self.version));
            self.telemetry.failed(buffers.as_ref(), self.client.peer(), form, &self.head);
            self.telemetry.called_by(self.caller);
        }
        self.telemetry.ended(ended, outcome);
        worker.replays.give(self.request.take_kept());
    }

    /// Sets the timeouts of caller and route.
    pub(super) fn set_limits(&mut self, asked: Option<Duration>, allowed: RouteTimeouts) {
        self.timeouts.set_limits(asked, allowed);
    }

    /// Makes the head what the upstream gets of it, and keeps up to `replay_bytes_max` of the body, to send it again.
    pub(super) fn prepare(&mut self, headers: &GatewayHeaders, replay_bytes_max: u32, body: Option<Slice>) {
        headers::prepare(&mut self.head, headers);
        self.request.keep(replay_bytes_max);
        if let Some(message) = body {
            self.request.send_whole(message);
        }
    }

    /// Sets the time after which the caller may come back.
    pub(super) fn retry_after(&mut self, wait: Duration) {
        self.responder.retry_after(wait);
    }

    // Questions.

    /// The path of the method that is called.
    pub(super) fn path(&self) -> &str {
        headers::path_text(&self.head)
    }

    pub(super) fn timeouts(&self) -> &CallTimeouts {
        &self.timeouts
    }

    /// Whether all that was sent of the request is kept, so that it can be sent again.
    pub(super) fn is_kept(&self) -> bool {
        self.request.is_kept()
    }

    /// Whether all of the request has come from the client.
    pub(super) fn is_received(&self) -> bool {
        self.request.is_received()
    }

    /// Whether the service has the request, or does not take it, and has not begun to answer.
    pub(super) fn waits_for_response(&self) -> bool {
        !self.timeouts.is_answered() && (self.request.is_done() || self.request.is_stalled())
    }

    // Waiting.

    /// Enters a stage of the call.
    pub(super) fn enter(&self, stage: Stage) {
        self.responder.timer().enter(stage);
    }

    /// Re-labels the current stage: the time since the last `enter` belongs to `stage`.
    pub(super) fn reclassify(&self, stage: Stage) {
        self.responder.timer().reclassify(stage);
    }

    /// Waits for `future`, as long as there is time and the client is there.
    pub(super) async fn wait_for<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_given_up(cx).map(Err),
        })
        .await
    }

    /// Ready when the call need not go on: its client has gone, the worker ends, or no time is left.
    pub(super) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if self.responder.poll_client_gone(cx).is_ready() {
            return Poll::Ready(Failure::DownstreamReset);
        }
        if self.client.is_cut() {
            return Poll::Ready(Failure::Draining);
        }
        if self.permit.as_ref().is_some_and(|permit| self.client.unbegun.is_lost(permit)) {
            return Poll::Ready(Failure::LimitReached);
        }
        self.timeouts.poll(cx)
    }

    // An attempt, from its beginning to its response.

    /// Begins an attempt after so many others, with this time for its response. Gives its span, if the call is
    /// recorded.
    pub(super) fn begin_attempt(&mut self, previous: u32, timeout: Option<Duration>) -> Option<Box<Span>> {
        self.attempt_ended = None;
        self.timeouts.begin_attempt(timeout);
        self.telemetry.attempt(&self.head, previous)
    }

    /// Notes that an attempt has a connection to this endpoint.
    pub(super) fn connected(&mut self, upstream: EndpointAddress) {
        self.telemetry.connected(upstream, self.responder.timer());
    }

    /// Receives the body before it is sent, as much as may be kept. True if that is all of it.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        self.request.gather(cx)
    }

    /// The head as an attempt sends it: with the time that is left, the number of attempts before it, and its place in
    /// the trace. `is_whole`: the request and its response are one message each, and all of the request is here.
    pub(super) fn attempt_head(
        &mut self,
        upstream: EndpointAddress,
        span: &mut Option<Box<Span>>,
        previous: u32,
        is_whole: bool,
        now: Moment,
    ) -> Result<&Head, Failure> {
        let left = self.timeouts.advertised_timeout(now, is_whole);
        let field = self.telemetry.traceparent(span, upstream);
        headers::upstream(&mut self.head, upstream, left, previous, field)?;
        Ok(&self.head)
    }

    /// Sends the client's body to `stream` from now on; its head has been sent.
    pub(super) fn send_body_to(&mut self, stream: Stream) {
        self.request.to(stream);
        self.timeouts.sent_head();
        if let Some(permit) = self.permit.as_ref().filter(|permit| permit.is_listed()) {
            self.client.unbegun.sent(permit);
        }
    }

    /// A further copy of a body that is kept whole, for another upstream.
    pub(super) fn copy_body(&self) -> UpstreamBody {
        self.request.copy()
    }

    /// Sends as much of a copy as its stream takes.
    pub(super) fn poll_copy(&mut self, cx: &mut Context<'_>, copy: &mut UpstreamBody) -> Result<(), Failure> {
        self.request.poll_copy(cx, copy)
    }

    /// Gives up all other copies: from now on the body goes only this way.
    pub(super) fn take_copy(&mut self, copy: UpstreamBody) {
        self.request.take(copy);
    }

    /// Makes the request ready to be sent again. Lets go of the stream that it was sent to.
    pub(super) fn rewind(&mut self) {
        self.request.rewind();
    }

    /// Notes that an attempt failed, at this endpoint if it had one.
    pub(super) fn attempt_failed(&mut self, worker: &Worker, upstream: Option<EndpointAddress>) {
        let (buffers, form) = (worker.telemetry.borrow(), (self.protocol, self.version));
        self.telemetry.attempt_failed(buffers.as_ref(), self.client.peer(), form, &self.head, upstream);
    }

    /// Notes that an attempt has ended just now.
    pub(super) fn attempt_ended(&mut self, now: Moment) {
        self.attempt_ended = Some(now);
    }

    /// Ends an attempt; the call waits for the next one.
    pub(super) fn end_attempt(&mut self) {
        self.attempt_ended = None;
        self.timeouts.end_attempt();
    }

    // The response.

    /// Notes the head of a response from this endpoint, whose connection was there at `connected`.
    pub(super) fn responded(&mut self, upstream: EndpointAddress, connected: Moment) {
        self.telemetry.responded((upstream, connected), self.responder.timer());
    }

    /// Passes on a response that is a status alone.
    pub(super) fn respond_whole(&mut self, mut head: Head) -> Result<(), AttemptError> {
        if headers::status(&head) == Some(Code::Cancelled) && self.is_late() {
            return Err(AttemptError::terminal(Failure::DeadlineExceeded));
        }
        self.timeouts.response_started();
        self.change_response(&mut head);
        self.responder.send_whole(head, &self.head)
    }

    /// Passes on the head of a response. From then on nothing is sent again.
    pub(super) fn begin_response(&mut self, mut head: Head) -> Result<(), AttemptError> {
        self.timeouts.response_started();
        self.shape.responds();
        // A service may speak first.
        self.begun();
        self.request.forget();
        self.change_response(&mut head);
        self.responder.begin(head, &self.head)
    }

    /// Changes the head of a response as the route asks.
    fn change_response(&mut self, head: &mut Head) {
        self.telemetry.keep_response(head);
        if let Some(guards) = &self.guards {
            guards.change_response(head, self.caller);
        }
    }

    /// Passes the response on, while the request may still be sent. Ready when all of it has been passed on, with the
    /// service's code.
    pub(super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ResponseForwarder,
    ) -> Poll<Result<Code, AttemptError>> {
        let sent = self.poll_request(cx);
        if self.responder.is_json() {
            self.enter(Stage::Transcode);
        }
        let before = response.moved_bytes();
        let polled = response.poll(cx, &mut self.responder);
        if before < response.moved_bytes() {
            self.timeouts.moved();
        }
        if let Poll::Ready(trailers) = polled {
            self.shape.responded(trailers.is_ok() && !response.has_several());
            return Poll::Ready(trailers.and_then(|trailers| self.end_response(trailers)));
        }
        let waits = response.waits_for_client();
        if let Some(since) = self.responder.stalled_since().filter(|_| waits) {
            self.timeouts.untaken_since(since);
        }
        self.enter(if waits { Stage::Write } else { Stage::Upstream });
        if self.responder.is_said() {
            return Poll::Ready(Ok(Code::Ok));
        }
        if let Err(failure) = sent {
            return Poll::Ready(Err(AttemptError::terminal(failure)));
        }
        self.poll_given_up(cx).map(|failure| Err(AttemptError::terminal(failure)))
    }

    fn end_response(&mut self, trailers: Option<Head>) -> Result<Code, AttemptError> {
        if self.responder.is_said() {
            return Ok(Code::Ok);
        }
        let no_status = AttemptError::terminal(Failure::UpstreamNoStatus);
        let mut trailers = trailers.ok_or(no_status)?;
        let mut code = headers::status(&trailers).ok_or(no_status)?;
        if code == Code::Cancelled && self.is_late() {
            code = Code::DeadlineExceeded;
            headers::set_status(&mut trailers, code, Failure::DeadlineExceeded.message());
        }
        self.responder.end(trailers)?;
        Ok(code)
    }

    /// Whether the time that the service was told is over: then it is for that reason that it cancels the call.
    fn is_late(&self) -> bool {
        self.timeouts.passed().is_some()
    }
}

impl Drop for Call {
    /// However it ends, what it has taken of its client and its cluster is given back.
    fn drop(&mut self) {
        self.buffered.release(&self.client);
        if let Some(permit) = self.permit.take() {
            self.client.unbegun.give(permit);
        }
    }
}
