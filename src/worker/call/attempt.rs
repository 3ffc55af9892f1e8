//! An attempt of a call: queued for a connection, sent, its response streaming, ended.
//!
//! [`retry`](super::retry) drives one attempt after the other, [`hedge`](super::hedge) several at once.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::active::Call;
use super::headers;
use super::request_forwarder::UpstreamBody;
use super::response_forwarder::ResponseForwarder;
use crate::config::{Hedging, Override, Retry, RouteActions};
use crate::http2::{Head, Stream};
use crate::metrics::record::Stage;
use crate::policy::balance::Tried;
use crate::policy::deadline::Whose;
use crate::policy::failure::Failure;
use crate::policy::outcome::Ended;
use crate::policy::retry::AttemptOutcome;
use crate::policy::status::Code;
use crate::time::Moment;
use crate::upstream::{
    AcquireStream, AttemptError, AttemptResult, BreakerPermits, Cluster, Method, RouteBreaker, StreamLease,
};
use crate::worker::core::Worker;
use crate::worker::telemetry::trace::Span;

/// The state that all attempts of a call share.
pub(super) struct Attempts<'a> {
    pub(super) worker: &'a Worker,
    pub(super) cluster: &'a Rc<Cluster>,
    pub(super) method: &'a Method,
    /// The route's policies in place of those of cluster and method.
    route: &'a RouteActions,
    breaker: RouteBreaker,
    /// The method takes one message and answers with one.
    pub(super) is_unary: bool,
    /// Endpoints that attempts went to.
    tried: Cell<Tried>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        worker: &'a Worker,
        cluster: &'a Rc<Cluster>,
        method: &'a Method,
        (route, breaker): (&'a RouteActions, RouteBreaker),
        is_unary: bool,
    ) -> Attempts<'a> {
        Attempts { worker, cluster, method, route, breaker, is_unary, tried: Cell::default() }
    }

    /// The retry policy.
    pub(super) fn retry(&self) -> &'a Retry {
        self.route.retry.as_ref().unwrap_or(&self.method.retry)
    }

    /// The hedging policy, if there is one.
    pub(super) fn hedging(&self) -> Option<&'a Hedging> {
        match &self.route.hedging {
            None => self.method.hedging.as_ref(),
            Some(Override::Own(hedging)) if self.method.idempotent => Some(hedging),
            Some(_) => None,
        }
    }
}

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    First,
    /// No service has seen the attempt before.
    Replay,
    Retry,
    /// It is one of several that run at once, and not the first of them.
    Hedge,
}

/// Inputs of an attempt.
pub(super) struct Start {
    pub(super) kind: Kind,
    /// Attempts that began before it.
    pub(super) previous: u32,
    /// The time for its response.
    pub(super) timeout: Option<Duration>,
    /// A copy of the body; `None` if the client's stream is sent. In a box, for most calls have none.
    pub(super) body: Option<Box<UpstreamBody>>,
    /// The way that the wait for a connection is timed: not at all where another attempt runs.
    pub(super) times: Times,
}

/// Which stages of the call are this attempt's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// The wait for a connection, and whether that was a connect.
    Connect,
    /// The wait for a connection.
    Queue,
    Nothing,
}

/// An attempt under way.
pub(super) struct Attempt<'a> {
    shared: &'a Attempts<'a>,
    start: Start,
    permits: BreakerPermits<'a>,
    /// The time of its connection; until then, the time of its beginning.
    connected: Moment,
    /// The attempt's span.
    span: Option<Box<Span>>,
    // Before the lease, for a stream ends before its place is given to the next call.
    state: State,
    lease: Option<StreamLease>,
}

enum State {
    /// It waits for a connection. Beside it: connections that had been opened by then.
    Queued(AcquireStream, u64),
    /// It waits for the head of a response.
    Sent(Stream),
    /// The caller has the head, and the body follows.
    Streaming(ResponseForwarder),
    Ended,
}

/// The end of an attempt that was answered.
pub(super) enum Response {
    /// The caller has it.
    Passed(Code),
    /// It is a status alone, and the caller does not have it yet.
    Held(Code, Head),
}

impl Response {
    pub(super) fn code(&self) -> Code {
        match self {
            Response::Passed(code) | Response::Held(code, _) => *code,
        }
    }
}

impl<'a> Attempt<'a> {
    /// Begins an attempt at `now`: asks the breakers, and queues for a connection.
    pub(super) fn begin(
        shared: &'a Attempts<'a>,
        call: &mut Call,
        start: Start,
        now: Moment,
    ) -> Result<Attempt<'a>, AttemptError> {
        let Attempts { cluster, method, breaker, .. } = *shared;
        let permits = cluster.admit(method, breaker, now).map_err(|refusal| {
            call.retry_after(refusal.rest);
            AttemptError { failure: Failure::BreakerOpen, outcome: refusal.outcome }
        })?;
        let span = call.begin_attempt(start.previous, start.timeout);
        if start.times != Times::Nothing {
            call.enter(Stage::Queue);
        }
        let opened = cluster.counts().connections_opened.get();
        let state = State::Queued(cluster.acquire(shared.tried.get(), !call.has_begun()), opened);
        Ok(Attempt { shared, start, permits, connected: now, span, state, lease: None })
    }

    /// Whether it waits for a connection.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued(..))
    }

    /// Whether it sends the client's own stream, and not a copy.
    pub(super) fn takes_client_body(&self) -> bool {
        self.start.body.is_none()
    }

    /// Its copy of the body, if it sends one.
    pub(super) fn take_body(&mut self) -> Option<Box<UpstreamBody>> {
        self.start.body.take()
    }

    /// Goes on until the head of a response comes. Its driver asks whether the call is given up meanwhile.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        call: &mut Call,
    ) -> Poll<Result<Head, AttemptError>> {
        if let State::Queued(acquire, opened) = &mut self.state {
            acquire.stop_yielding(|| call.has_begun());
            let acquired = ready!(Pin::new(&mut *acquire).poll(cx));
            let has_waited = acquire.has_waited();
            let is_connect = *opened != self.shared.cluster.counts().connections_opened.get()
                || matches!(acquired, Err(Failure::ConnectFailed | Failure::ConnectTimedOut));
            if self.start.times == Times::Connect && is_connect {
                call.reclassify(Stage::Connect);
            }
            self.send(cx, call, acquired.map_err(AttemptError::from_acquire)?, has_waited)?;
        }
        let (State::Sent(stream), Some(lease)) = (&self.state, &self.lease) else { return Poll::Pending };
        let sent = match &mut self.start.body {
            Some(copy) => call.poll_copy(cx, copy),
            None => call.poll_request(cx),
        };
        // The response is polled first: an upstream that resets the request has said why there.
        if let Poll::Ready(head) = stream.poll_head(cx) {
            return Poll::Ready(head.map_err(|error| lease.classify(AttemptError::from_stream(error))));
        }
        sent.map_err(AttemptError::terminal)?;
        Poll::Pending
    }

    /// Sends the head; the body follows.
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        call: &mut Call,
        lease: StreamLease,
        has_waited: bool,
    ) -> Result<(), AttemptError> {
        let Attempts { worker, cluster, is_unary, ref tried, .. } = *self.shared;
        let lease = self.lease.insert(lease);
        let mut known = tried.get();
        known.add(lease.endpoint());
        tried.set(known);
        if has_waited {
            self.connected = worker.clock.now();
        }
        call.connected(lease.address());
        match self.start.kind {
            Kind::First => {}
            Kind::Replay => cluster.counts().replays.add(1),
            Kind::Retry => cluster.counts().retries.add(1),
            Kind::Hedge => cluster.counts().hedges.add(1),
        }
        let is_whole = is_unary && call.gather(cx).map_err(AttemptError::terminal)?;
        let Start { previous, .. } = self.start;
        let head = call.attempt_head(lease.address(), &mut self.span, previous, is_whole, self.connected);
        let stream = lease.open(head.map_err(AttemptError::terminal)?, false)?;
        if self.start.kind == Kind::First {
            call.mirror(worker, is_whole);
        }
        match &mut self.start.body {
            Some(copy) => copy.to(stream.clone()),
            None => call.send_body_to(stream.clone()),
        }
        self.state = State::Sent(stream);
        Ok(())
    }

    /// Ends an attempt whose call was given up while it ran, for this reason.
    pub(super) fn given_up(&self, call: &Call, failure: Failure) -> AttemptError {
        // Where only this attempt has no time left, another one may still be answered.
        let is_alone = failure == Failure::DeadlineExceeded && !call.timeouts().is_expired();
        let outcome = if is_alone && matches!(self.state, State::Sent(_)) {
            AttemptOutcome::Lost
        } else {
            AttemptOutcome::Ours
        };
        AttemptError { failure, outcome }
    }

    /// The code of a head that is a status alone, and not OK.
    pub(super) fn bad_status(&self, head: &Head) -> Result<Option<Code>, AttemptError> {
        let code = headers::read_response(head)?.filter(|code| *code != Code::Ok);
        let is_all = matches!(&self.state, State::Sent(stream) if stream.ended_with_head());
        Ok(code.filter(|_| is_all))
    }

    /// Goes on until the response has been passed on.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        call: &mut Call,
    ) -> Poll<Result<Response, AttemptError>> {
        if !matches!(self.state, State::Streaming(_)) {
            let head = match self.poll_head(cx, call) {
                Poll::Pending => {
                    return call.poll_given_up(cx).map(|failure| Err(self.given_up(call, failure)));
                }
                Poll::Ready(head) => head?,
            };
            if let Some(held) = self.begin_response(call, head)? {
                return Poll::Ready(Ok(held));
            }
        }
        self.poll_response(cx, call)
    }

    /// Passes the response on, which has begun.
    pub(super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        call: &mut Call,
    ) -> Poll<Result<Response, AttemptError>> {
        let State::Streaming(response) = &mut self.state else {
            return Poll::Ready(Err(AttemptError::terminal(Failure::UpstreamNoStatus)));
        };
        call.poll_response(cx, response).map_ok(Response::Passed)
    }

    /// Begins to pass on the response with this head. A status alone is held back, and returned.
    pub(super) fn begin_response(
        &mut self,
        call: &mut Call,
        head: Head,
    ) -> Result<Option<Response>, AttemptError> {
        if let Some(lease) = &self.lease {
            call.responded(lease.address(), self.connected);
        }
        let code = headers::read_response(&head)?;
        self.permits.answered(call.timeouts().now());
        let State::Sent(stream) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(None) };
        if stream.ended_with_head() {
            let code = code.ok_or(AttemptError::terminal(Failure::UpstreamNoStatus))?;
            return Ok(Some(Response::Held(code, head)));
        }
        call.begin_response(head)?;
        self.state = State::Streaming(ResponseForwarder::new(stream));
        Ok(None)
    }

    /// Ends the attempt, and reports its result to breakers and endpoint.
    pub(super) fn report(&mut self, call: &mut Call, outcome: Result<Code, AttemptError>) {
        let Attempts { worker, cluster, .. } = *self.shared;
        let now = worker.clock.now();
        call.attempt_ended(now);
        self.state = State::Ended;
        let ended = outcome.map_err(|error| error.failure);
        if ended != Ok(Code::Ok) {
            call.attempt_failed(worker, self.lease.as_ref().map(StreamLease::address));
        }
        if let Some(span) = &mut self.span {
            span.ended(ended);
        }
        if let Err(Failure::UpstreamReset(_)) = ended {
            cluster.counts().resets.add(1);
        }
        let Some(result) = result(call, cluster, self.lease.is_some(), ended) else { return };
        std::mem::take(&mut self.permits).record(result, now);
        if let Some(lease) = &self.lease {
            lease.record(result, now);
        }
    }
}

/// The attempt's result for breakers and outlier detection; `None` if its end says nothing of the service. `is_sent`:
/// the attempt had a connection.
fn result(
    call: &Call,
    cluster: &Cluster,
    is_sent: bool,
    ended: Result<Code, Failure>,
) -> Option<AttemptResult> {
    // Nothing passed. Most calls end here.
    if ended == Ok(Code::Ok) {
        return Some(AttemptResult::Answered(Code::Ok));
    }
    // Time that ran out while the service waited for the caller, or while it answered, is not its fault.
    if ended == Err(Failure::DeadlineExceeded) && is_sent && !call.waits_for_response() {
        return None;
    }
    let is_noticed = ended.is_ok() && call.timeouts().advertised_route_timeout();
    Some(match (Ended::of(ended), call.timeouts().passed()) {
        (Ended::DeadlineExceeded | Ended::Cancelled, Some(Whose::Own))
            if !is_sent && !cluster.is_connected() =>
        {
            AttemptResult::Failed(Failure::ConnectTimedOut)
        }
        (Ended::DeadlineExceeded | Ended::Cancelled, Some(Whose::Own)) => AttemptResult::Late,
        (Ended::DeadlineExceeded, _) if is_noticed => AttemptResult::Late,
        // The caller's time is over, which says nothing of the service.
        (Ended::DeadlineExceeded | Ended::Cancelled, Some(Whose::Callers)) => return None,
        _ => ended.map_or_else(AttemptResult::Failed, AttemptResult::Answered),
    })
}
