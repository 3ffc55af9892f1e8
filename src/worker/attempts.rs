//! The attempts of one call: sent, and sent again where the policy says so, until there is an answer to pass on.
//!
//! What an attempt's end means is decided in `policy/retry.rs`; here is how it is known and what is done about it. An
//! answer that is a status alone is held back until that is decided: of an attempt that is repeated the caller sees
//! nothing.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use http::request::Parts;

use super::Worker;
use super::forward::Download;
use super::head;
use super::request::Call;
use super::trace::Span;
use crate::metrics::record::Stage;
use crate::policy::balance::Tried;
use crate::policy::failure::Failure;
use crate::policy::retry::{Attempt, End, Next, Pushback, Retries, Why};
use crate::policy::status::Code;
use crate::upstream::{Attempted, Cluster, Failed, Lease, Method, Passes};

/// How an attempt ended that was answered.
enum Answer {
    /// The caller has it.
    Passed(Code),
    /// It is a status alone, and the caller does not have it yet.
    Held(Code, Response<()>),
}

/// Why the attempt that is about to be made is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    First,
    /// Nobody has seen the one before.
    Replay,
    Retry,
}

/// What a call's attempts have in common.
struct Attempts<'a> {
    worker: &'a Worker,
    cluster: &'a Rc<Cluster>,
    method: &'a Method,
    /// Endpoints they have failed on.
    tried: Tried,
    retries: Retries,
    kind: Kind,
}

/// Sends a call whose head this is.
pub(super) async fn send(
    worker: &Worker,
    cluster: &Rc<Cluster>,
    method: &Method,
    call: &mut Call,
    head: Parts,
) -> Result<Code, Failure> {
    let (tried, retries, kind) = (Tried::default(), Retries::default(), Kind::First);
    let mut attempts = Attempts { worker, cluster, method, tried, retries, kind };
    let mut head = Some(head);
    cluster.budget().earn(worker.clock.now());
    loop {
        let ended = attempts.attempt(call, head.take()).await;
        let (end, pushback) = match &ended {
            Ok(Answer::Passed(_)) => (End::Answered, Pushback::None),
            Ok(Answer::Held(code, response)) => (End::Status(*code), head::pushback(response.headers())),
            Err(failed) => (failed.end, Pushback::None),
        };
        let again = attempts.next(call, end, pushback);
        match (again, ended) {
            (Some(wait), _) => attempts.wait(call, wait).await?,
            (None, Ok(Answer::Passed(code))) => return Ok(attempts.succeeded(code)),
            (None, Ok(Answer::Held(code, response))) => {
                call.pass_whole(response).map_err(|failed| failed.failure)?;
                return Ok(attempts.succeeded(code));
            }
            (None, Err(failed)) => return Err(failed.failure),
        }
    }
}

impl Attempts<'_> {
    /// Makes one attempt, and says what its end says of the service.
    async fn attempt(&mut self, call: &mut Call, head: Option<Parts>) -> Result<Answer, Failed> {
        let began = self.worker.clock.now();
        let mut passes = self.cluster.ask(self.method, began).map_err(|rest| {
            call.reply.retry_after(rest);
            Failed::finally(Failure::BreakerOpen)
        })?;
        // A connection is taken only now, so whoever waits for one holds none.
        let mut lease = None;
        let mut span = call.note.attempt(&call.upload, self.retries.previous());
        let ended = self.make(call, head, &mut passes, &mut lease, &mut span).await;
        if let Some(span) = &mut span {
            span.ended(match &ended {
                Ok(Answer::Passed(code) | Answer::Held(code, _)) => Ok(*code),
                Err(failed) => Err(failed.failure),
            });
        }
        if let Err(Failed { failure: Failure::UpstreamReset(_), .. }) = ended {
            self.cluster.counts().resets.add(1);
        }
        let attempted = match &ended {
            Ok(Answer::Passed(code) | Answer::Held(code, _)) => Some(Attempted::Answered(*code)),
            // Time that ran out while the service waited for the caller, or while it answered, is not its fault.
            Err(Failed { failure: Failure::OutOfTime, .. })
                if lease.is_some() && !call.waits_for_answer() =>
            {
                None
            }
            Err(failed) => Some(Attempted::Failed(failed.failure)),
        };
        if let Some(attempted) = attempted {
            let now = self.worker.clock.now();
            // The operator's own timeout is never too short to count.
            let took = if call.patience.is_overdue() { Duration::MAX } else { now.since(began) };
            passes.tell(attempted, took, now);
            lease.inspect(|lease| lease.tell(attempted, took, now));
        }
        ended
    }

    async fn make(
        &mut self,
        call: &mut Call,
        head: Option<Parts>,
        passes: &mut Passes<'_>,
        leased: &mut Option<Lease>,
        span: &mut Option<Box<Span>>,
    ) -> Result<Answer, Failed> {
        let lease = leased.insert(self.acquire(call).await?);
        self.tried.add(lease.endpoint());
        call.note.connected(lease.address(), &call.reply);
        match self.kind {
            Kind::First => {}
            Kind::Replay => self.cluster.counts().replays.add(1),
            Kind::Retry => self.cluster.counts().retries.add(1),
        }
        let parts = head.map_or_else(|| call.upload.head_again(), Ok)?;
        let left = call.patience.left(self.worker.clock.now());
        let mut request = head::upstream(parts, lease, left, self.retries.previous(), &self.worker.arena)?;
        if let Some(span) = span {
            span.sent(lease.address(), request.headers_mut());
        }

        let (mut response, sink) = lease.send(request, false).map_err(|error| Failed::unsent(&error))?;
        call.upload.to(sink);
        let response = poll_fn(|cx| call.poll_response(cx, Pin::new(&mut response))).await?;
        call.note.answered(&call.reply);
        let (head, body) = response.into_parts();
        let code = head::answered(&head)?;
        passes.answered(self.worker.clock.now());
        let response = Response::from_parts(head, ());
        if body.is_end_stream() {
            let code = code.ok_or(Failed::finally(Failure::UpstreamNoStatus))?;
            return Ok(Answer::Held(code, response));
        }
        call.begin_answer(response)?;
        let mut download = Download::new(body);
        let trailers = poll_fn(|cx| call.poll_body(cx, &mut download)).await?;
        if call.reply.is_said() {
            return Ok(Answer::Passed(Code::Ok));
        }
        let trailers = trailers.ok_or(Failed::finally(Failure::UpstreamNoStatus))?;
        let code = head::status(&trailers).ok_or(Failed::finally(Failure::UpstreamNoStatus))?;
        call.reply.end(trailers)?;
        Ok(Answer::Passed(code))
    }

    /// A place on a connection; waits for one if need be.
    async fn acquire(&self, call: &mut Call) -> Result<Lease, Failed> {
        call.reply.extra.ledger.enter(Stage::Queue);
        let opened = &self.cluster.counts().connections_opened;
        let before = opened.get();
        let acquired = call.patiently(self.cluster.acquire(self.tried)).await?;
        if before != opened.get()
            || matches!(acquired, Err(Failure::ConnectFailed | Failure::ConnectTimedOut))
        {
            call.reply.extra.ledger.was(Stage::Connect);
        }
        acquired.map_err(Failed::unconnected)
    }

    /// Whether there is another attempt, and after which wait.
    fn next(&mut self, call: &Call, end: End, pushback: Pushback) -> Option<Duration> {
        if matches!(end, End::Answered | End::Status(Code::Ok)) {
            return None;
        }
        let counts = self.cluster.counts();
        let now = self.worker.clock.now();
        let attempt =
            Attempt { end, pushback, idempotent: self.method.idempotent, kept: call.upload.is_kept() };
        let left = call.patience.left_for_answer(now);
        let random = &mut self.worker.random.borrow_mut();
        match self.retries.next(attempt, &self.method.retry, self.cluster.budget(), left, random, now) {
            Next::Again { wait, counted } => {
                self.kind = match end {
                    _ if counted => Kind::Retry,
                    // It was never sent, so this one is the first still.
                    End::NoConnection => self.kind,
                    _ => Kind::Replay,
                };
                Some(wait)
            }
            Next::Stop(Why::Budget) => {
                counts.retry_budget_exhausted.add(1);
                None
            }
            // An attempt that goes on has not ended.
            Next::Stop(_) | Next::GoOn => None,
        }
    }

    /// Makes the request ready to be sent again, and waits, as long as there is somebody to wait for.
    async fn wait(&self, call: &mut Call, wait: Duration) -> Result<(), Failure> {
        call.reply.extra.ledger.enter(Stage::Queue);
        // First, for it lets go of the stream of the attempt that is over.
        call.upload.rewind();
        if !wait.is_zero() {
            let timer = self.worker.local.timers.timer();
            let until = self.worker.clock.now().plus(wait);
            call.patiently(timer.within(until, pending::<()>())).await?;
        }
        Ok(())
    }

    fn succeeded(&self, code: Code) -> Code {
        if code == Code::Ok {
            self.cluster.budget().succeeded();
        }
        code
    }
}
