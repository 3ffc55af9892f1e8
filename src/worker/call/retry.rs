//! The attempts of a call one after the other: sent, and sent again where the policy says so, until there is a response
//! to pass on.
//!
//! [`policy::retry`](crate::policy::retry) decides the meaning of an attempt's end. A response that is a status alone is held back until
//! then: the caller sees nothing of an attempt that is repeated.

use std::future::{Future, pending, poll_fn};
use std::time::Duration;

use super::active::Call;
use super::attempt::{Attempt, Attempts, Kind, Response, Start, Times};
use super::headers;
use crate::metrics::record::Stage;
use crate::policy::failure::Failure;
use crate::policy::retry::{self, AttemptOutcome, Next, Pushback, Retries, Why};
use crate::policy::status::Code;
use crate::time::Moment;
use crate::upstream::{AttemptError, LatencySample};

/// The attempts of a call, and whether there will be more.
struct Retry<'a> {
    shared: &'a Attempts<'a>,
    retries: Retries,
    /// The kind of the attempt that comes next.
    kind: Kind,
    /// The timeout for the head of a response.
    fixed: Option<Duration>,
    /// The method's place among the latencies, and its adaptive timeout.
    latency: Option<(usize, Option<Duration>)>,
}

/// Sends a call. Its response has to begin within `fixed`, all attempts together.
/// Not an async function: the future of one holds its arguments twice.
pub(super) fn send<'a>(
    shared: &'a Attempts<'a>,
    call: &'a mut Call,
    fixed: Option<Duration>,
    mut now: Moment,
) -> impl Future<Output = Result<Code, Failure>> + 'a {
    let latency = shared.cluster.latencies().and_then(|all| all.timeout(call.path(), fixed, now));
    let mut retry = Retry { shared, retries: Retries::default(), kind: Kind::First, fixed, latency };
    async move {
        loop {
            let ended = match retry.begin(call, now) {
                Ok(mut attempt) => {
                    let ended = poll_fn(|cx| attempt.poll(cx, call)).await;
                    retry.report(call, &mut attempt, &ended);
                    ended
                }
                Err(error) => Err(error),
            };
            let (outcome, pushback) = match &ended {
                Ok(Response::Passed(_)) => (AttemptOutcome::Answered, Pushback::None),
                Ok(Response::Held(code, response)) => {
                    (AttemptOutcome::Status(*code), headers::pushback(response))
                }
                Err(error) => (error.outcome, Pushback::None),
            };
            let again = retry.next(call, outcome, pushback);
            match (again, ended) {
                (Some(wait), _) => {
                    retry.wait(call, wait).await?;
                    now = shared.worker.clock.now();
                }
                (None, Ok(Response::Passed(code))) => return Ok(retry.succeeded(code)),
                (None, Ok(Response::Held(code, response))) => {
                    call.respond_whole(response).map_err(AttemptError::into_failure)?;
                    return Ok(retry.succeeded(code));
                }
                (None, Err(error)) => return Err(error.failure),
            }
        }
    }
}

impl<'a> Retry<'a> {
    /// Begins an attempt now.
    fn begin(&self, call: &mut Call, now: Moment) -> Result<Attempt<'a>, AttemptError> {
        let start = Start {
            kind: self.kind,
            previous: self.retries.previous(),
            timeout: self.latency.and_then(|(_, timeout)| timeout),
            body: None,
            times: Times::Connect,
        };
        Attempt::begin(self.shared, call, start, now)
    }

    /// Reports how an attempt ended.
    fn report(&self, call: &mut Call, attempt: &mut Attempt<'_>, ended: &Result<Response, AttemptError>) {
        let outcome = ended.as_ref().map(Response::code).map_err(|error| *error);
        attempt.report(call, outcome);
        self.tell_latency(call, outcome);
    }

    /// Notes the service's latency, if the attempt shows one.
    fn tell_latency(&self, call: &Call, outcome: Result<Code, AttemptError>) {
        let Some(all) = self.shared.cluster.latencies() else { return };
        let sample = match outcome {
            Ok(Code::Ok) => call.timeouts().waited().map(LatencySample::Answered),
            _ if call.timeouts().is_asked() && is_overdue(call, outcome) => Some(LatencySample::TooLong),
            _ => None,
        };
        match (sample, self.latency) {
            (Some(sample), Some((place, _))) => all.record(place, sample),
            // The first response makes the method known.
            (Some(LatencySample::Answered(_)), None) => all.register(call.path(), self.fixed),
            _ => {}
        }
    }

    /// Whether there is another attempt, and after which wait.
    fn next(&mut self, call: &Call, outcome: AttemptOutcome, pushback: Pushback) -> Option<Duration> {
        if matches!(outcome, AttemptOutcome::Answered | AttemptOutcome::Status(Code::Ok)) {
            return None;
        }
        let Attempts { worker, cluster, method, .. } = *self.shared;
        let counts = cluster.counts();
        let now = worker.clock.now();
        let attempt =
            retry::Attempt { outcome, pushback, idempotent: method.idempotent, kept: call.is_kept() };
        let left = call.timeouts().left_for_response(now);
        let random = &mut worker.random.borrow_mut();
        match self.retries.next(attempt, self.shared.retry(), cluster.budget(), left, random, now) {
            Next::Again { wait, counted } => {
                self.kind = match outcome {
                    _ if counted => Kind::Retry,
                    // The attempt was never sent, so this one is still the first.
                    AttemptOutcome::Held => self.kind,
                    _ => Kind::Replay,
                };
                Some(wait)
            }
            Next::Stop(Why::Budget) => {
                counts.retry_budget_exhausted.add(1);
                None
            }
            Next::Stop(_) if outcome == AttemptOutcome::Held => {
                counts.breaker_refused.add(1);
                None
            }
            // An attempt that goes on has not ended.
            Next::Stop(_) => None,
        }
    }

    /// Makes the request ready to be sent again, and waits, as long as the client does.
    async fn wait(&self, call: &mut Call, wait: Duration) -> Result<(), Failure> {
        call.enter(Stage::Queue);
        // First, for it lets go of the stream of the attempt that is over.
        call.rewind();
        call.end_attempt();
        if !wait.is_zero() {
            let worker = self.shared.worker;
            let timer = worker.local.timers.timer();
            let until = worker.clock.now().plus(wait);
            call.wait_for(timer.within(until, pending::<()>())).await?;
        }
        Ok(())
    }

    fn succeeded(&self, code: Code) -> Code {
        if code == Code::Ok {
            self.shared.cluster.budget().succeeded();
        }
        code
    }
}

/// Whether an attempt ended because the operator's timeout passed, even if the service noticed first.
fn is_overdue(call: &Call, outcome: Result<Code, AttemptError>) -> bool {
    let timeouts = call.timeouts();
    let noticed = matches!(outcome, Ok(Code::DeadlineExceeded)) && timeouts.advertised_route_timeout();
    timeouts.is_overdue() || noticed
}
