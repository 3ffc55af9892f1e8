//! The attempts of one call: sent, and sent again where the policy says so, until there is an answer to pass on.
//!
//! What an attempt's end means is decided in `policy/retry.rs`; here is how it is known and what is done about it. An
//! answer that is a status alone is held back until that is decided: of an attempt that is repeated the caller sees
//! nothing.

use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::Worker;
use super::download::Download;
use super::head;
use super::hedging;
use super::request::Call;
use super::trace::Span;
use crate::http2::{Head, Stream};
use crate::metrics::record::Stage;
use crate::policy::balance::Tried;
use crate::policy::deadline::Whose;
use crate::policy::failure::Failure;
use crate::policy::outcome::Ended;
use crate::policy::retry::{Attempt, End, Next, Pushback, Retries, Why};
use crate::policy::status::Code;
use crate::time::Moment;
use crate::upstream::{Attempted, Cluster, Failed, Lease, Method, Passes, Took};

/// How an attempt ended that was answered.
enum Answer {
    /// The caller has it.
    Passed(Code),
    /// It is a status alone, and the caller does not have it yet.
    Held(Code, Head),
}

impl Answer {
    fn code(&self) -> Code {
        match self {
            Answer::Passed(code) | Answer::Held(code, _) => *code,
        }
    }
}

/// An answer whose head has come.
pub(super) enum Begun {
    /// It is a status alone, and the caller does not have it yet.
    Held(Code, Head),
    /// The caller has the head, and this is the body.
    Passed(Download),
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
    /// The method takes one message and answers with one.
    is_unary: bool,
    /// The timeout for the head of an answer.
    fixed: Option<Duration>,
    /// Where the method's latency is kept, and the timeout that follows it.
    latency: Option<(usize, Option<Duration>)>,
}

/// Sends a call. Its answers have to begin within `fixed`, all attempts together.
pub(super) async fn send(
    worker: &Worker,
    cluster: &Rc<Cluster>,
    method: &Method,
    call: &mut Call,
    fixed: Option<Duration>,
) -> Result<Code, Failure> {
    let mut now = worker.clock.now();
    let path = head::path_text(&call.head);
    let mut attempts = Attempts {
        worker,
        cluster,
        method,
        tried: Tried::default(),
        retries: Retries::default(),
        kind: Kind::First,
        is_unary: fixed.is_some() && (method.unary || worker.takes_one_message(path)),
        fixed,
        latency: cluster.latencies().and_then(|all| all.ask(path, fixed, now)),
    };
    cluster.budget().earn(now);
    if let Some(hedging) = &method.hedging {
        let shared = hedging::Shared { worker, cluster, method, hedging, is_unary: attempts.is_unary };
        return hedging::send(shared, call).await;
    }
    loop {
        let ended = attempts.attempt(call, now).await;
        let (end, pushback) = match &ended {
            Ok(Answer::Passed(_)) => (End::Answered, Pushback::None),
            Ok(Answer::Held(code, response)) => (End::Status(*code), head::pushback(response)),
            Err(failed) => (failed.end, Pushback::None),
        };
        let again = attempts.next(call, end, pushback);
        match (again, ended) {
            (Some(wait), _) => {
                attempts.wait(call, wait).await?;
                now = worker.clock.now();
            }
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
    /// Makes one attempt, which begins now, and says what its end says of the service.
    async fn attempt(&mut self, call: &mut Call, began: Moment) -> Result<Answer, Failed> {
        let mut passes = self.cluster.ask(self.method, began).map_err(|refusal| {
            call.reply.retry_after(refusal.rest);
            Failed { failure: Failure::BreakerOpen, end: refusal.end }
        })?;
        // A connection is taken only now, so whoever waits for one holds none.
        let mut lease = None;
        let mut span = call.note.attempt(&call.head, self.retries.previous());
        call.patience.begin_attempt(self.latency.and_then(|(_, timeout)| timeout));
        let ended = self.make(call, &mut passes, &mut lease, &mut span).await;
        let outcome = ended.as_ref().map(Answer::code).map_err(|failed| *failed);
        if let Some(span) = &mut span {
            span.ended(outcome.map_err(|failed| failed.failure));
        }
        tell(self.worker, self.cluster, call, passes, lease.as_ref(), outcome);
        self.tell_latency(call, outcome);
        ended
    }

    /// Tells how long the service took, if that says something.
    fn tell_latency(&self, call: &Call, outcome: Result<Code, Failed>) {
        let Some(all) = self.cluster.latencies() else { return };
        let took = match outcome {
            Ok(Code::Ok) => call.patience.waited().map(Took::Answered),
            _ if call.patience.is_asked() && is_overdue(call, outcome) => Some(Took::TooLong),
            _ => None,
        };
        match (took, self.latency) {
            (Some(took), Some((place, _))) => all.tell(place, took),
            // The first answer makes the method known.
            (Some(Took::Answered(_)), None) => {
                all.learn(head::path_text(&call.head), self.fixed);
            }
            _ => {}
        }
    }

    async fn make(
        &mut self,
        call: &mut Call,
        passes: &mut Passes<'_>,
        leased: &mut Option<Lease>,
        span: &mut Option<Box<Span>>,
    ) -> Result<Answer, Failed> {
        let lease = leased.insert(self.acquire(call).await?);
        self.tried.add(lease.endpoint());
        let now = self.worker.clock.now();
        call.note.connected(lease.address(), &call.reply, now);
        match self.kind {
            Kind::First => {}
            Kind::Replay => self.cluster.counts().replays.add(1),
            Kind::Retry => self.cluster.counts().retries.add(1),
        }
        let whole = self.is_unary && poll_fn(|cx| Poll::Ready(call.upload.gather(cx))).await?;
        let stream = self.send_head(call, lease, whole, span, now)?;
        let head = poll_fn(|cx| call.poll_response(cx, &stream)).await;
        let head = head.map_err(|failed| lease.judge(failed))?;
        let now = self.worker.clock.now();
        call.note.answered(&call.reply, now);
        let mut download = match begin(call, passes, head, stream, now)? {
            Begun::Held(code, head) => return Ok(Answer::Held(code, head)),
            Begun::Passed(download) => download,
        };
        finish(call, &mut download).await.map(Answer::Passed)
    }

    /// Sends the head of an attempt. All of the request has come, if it is `whole`.
    fn send_head(
        &self,
        call: &mut Call,
        lease: &Lease,
        whole: bool,
        span: &mut Option<Box<Span>>,
        now: Moment,
    ) -> Result<Stream, Failed> {
        let left = call.patience.tell_left(now, whole);
        let field = call.note.traceparent(span, lease.address());
        head::upstream(&mut call.head, lease.address(), left, self.retries.previous(), field)?;
        let stream = lease.open(&call.head, false)?;
        call.upload.to(stream.clone());
        call.patience.sent_head();
        Ok(stream)
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
                    End::Held => self.kind,
                    _ => Kind::Replay,
                };
                Some(wait)
            }
            Next::Stop(Why::Budget) => {
                counts.retry_budget_exhausted.add(1);
                None
            }
            Next::Stop(_) if end == End::Held => {
                counts.breaker_refused.add(1);
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
        call.patience.end_attempt();
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

/// Reads the head of an answer that came now. One that has a body goes to the caller at once.
pub(super) fn begin(
    call: &mut Call,
    passes: &mut Passes<'_>,
    head: Head,
    stream: Stream,
    now: Moment,
) -> Result<Begun, Failed> {
    let code = head::answered(&head)?;
    passes.answered(now);
    if stream.ended_with_head() {
        let code = code.ok_or(Failed::finally(Failure::UpstreamNoStatus))?;
        return Ok(Begun::Held(code, head));
    }
    call.begin_answer(head)?;
    Ok(Begun::Passed(Download::new(stream)))
}

/// Passes on the body of an answer, and its end.
pub(super) async fn finish(call: &mut Call, download: &mut Download) -> Result<Code, Failed> {
    let trailers = poll_fn(|cx| call.poll_body(cx, download)).await?;
    if call.reply.is_said() {
        return Ok(Code::Ok);
    }
    let trailers = trailers.ok_or(Failed::finally(Failure::UpstreamNoStatus))?;
    let code = head::status(&trailers).ok_or(Failed::finally(Failure::UpstreamNoStatus))?;
    call.reply.end(trailers)?;
    Ok(code)
}

/// Says what the end of an attempt says of the service and of the endpoint it went to.
pub(super) fn tell(
    worker: &Worker,
    cluster: &Cluster,
    call: &Call,
    passes: Passes<'_>,
    lease: Option<&Lease>,
    outcome: Result<Code, Failed>,
) {
    if let Err(Failed { failure: Failure::UpstreamReset(_), .. }) = outcome {
        cluster.counts().resets.add(1);
    }
    // Time that ran out while the service waited for the caller, or while it answered, is not its fault.
    if matches!(outcome, Err(Failed { failure: Failure::OutOfTime, .. }))
        && lease.is_some()
        && !call.waits_for_answer()
    {
        return;
    }
    let ended = outcome.map_err(|failed| failed.failure);
    let noticed = outcome.is_ok() && call.patience.told_own();
    let attempted = match (Ended::of(ended), call.patience.passed()) {
        (Ended::OutOfTime | Ended::Cancelled, Some(Whose::Own))
            if lease.is_none() && !cluster.is_connected() =>
        {
            Attempted::Failed(Failure::ConnectTimedOut)
        }
        (Ended::OutOfTime | Ended::Cancelled, Some(Whose::Own)) => Attempted::Late,
        (Ended::OutOfTime, _) if noticed => Attempted::Late,
        // The caller's time is over, which says nothing of the service.
        (Ended::OutOfTime | Ended::Cancelled, Some(Whose::Callers)) => return,
        _ => ended.map_or_else(Attempted::Failed, Attempted::Answered),
    };
    let now = worker.clock.now();
    passes.tell(attempted, now);
    lease.inspect(|lease| lease.tell(attempted, now));
}

/// Whether an attempt ended because the operator's timeout passed, be it that the service noticed first.
fn is_overdue(call: &Call, outcome: Result<Code, Failed>) -> bool {
    let noticed = matches!(outcome, Ok(Code::DeadlineExceeded)) && call.patience.told_own();
    call.patience.is_overdue() || noticed
}
