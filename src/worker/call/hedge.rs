//! A call that is sent several times at once: the first good response is the call's, and the other attempts are
//! cancelled.
//!
//! [`policy::hedge`](crate::policy::hedge) decides when an attempt begins, and the meaning of its end. At any time, one attempt may send the
//! client's own stream. Others begin once all of the request is here, and send copies of it. So a request that is not
//! kept whole, such as a long stream, is sent once. Adaptive timeouts do not apply to such calls: hedges do their work.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::active::Call;
use super::attempt::{Attempt, Attempts, Kind, Response, Start, Times};
use super::headers;
use crate::config::Hedging;
use crate::http2::Head;
use crate::policy::failure::Failure;
use crate::policy::hedge::{self, Hedge, HedgeStep};
use crate::policy::retry::{AttemptOutcome, Pushback};
use crate::policy::status::Code;
use crate::time::Moment;
use crate::time::timers::Timer;
use crate::upstream::AttemptError;

/// A race: the attempts of a call that run, and whether there will be more.
struct Race<'a> {
    shared: &'a Attempts<'a>,
    hedging: &'a Hedging,
    hedge: Hedge,
    running: Vec<Attempt<'a>>,
    /// The end of the attempt before.
    last: Option<Finish<'a>>,
    timer: Timer,
    armed_for: Option<Moment>,
}

/// A step of the race: the end of an attempt, and maybe of the call with it.
enum Finish<'a> {
    /// The response of this attempt begins with this head; the caller has nothing of it yet.
    Response(Box<Attempt<'a>>, Head),
    /// A bad status, and nothing else.
    Status(Code, Head),
    Failed(AttemptError),
}

/// Sends a call. On the heap: calls that are not hedged have no room for this.
pub(super) fn send<'a>(
    shared: &'a Attempts<'a>,
    hedging: &'a Hedging,
    call: &'a mut Call,
) -> Pin<Box<impl Future<Output = Result<Code, Failure>> + 'a>> {
    let worker = shared.worker;
    let mut race = Race {
        shared,
        hedging,
        hedge: Hedge::new(hedging, worker.clock.now()),
        running: Vec::new(),
        last: None,
        timer: worker.local.timers.timer(),
        armed_for: None,
    };
    Box::pin(async move {
        match poll_fn(|cx| race.poll(cx, call)).await {
            Finish::Response(winner, head) => {
                let ended = race.won(call, *winner, head).await.map_err(AttemptError::into_failure);
                if ended == Ok(Code::Ok) {
                    shared.cluster.budget().succeeded();
                }
                ended
            }
            Finish::Status(code, response) => {
                // Attempts that still run are of no more use.
                race.running.clear();
                call.respond_whole(response).map_err(AttemptError::into_failure)?;
                Ok(code)
            }
            Finish::Failed(error) => Err(error.failure),
        }
    })
}

impl<'a> Race<'a> {
    /// Ready when the call has a response, or will have none.
    fn poll(&mut self, cx: &mut Context<'_>, call: &mut Call) -> Poll<Finish<'a>> {
        // The sooner all of the request is here, the sooner others can send it.
        if let Err(failure) = call.gather(cx) {
            return Poll::Ready(Finish::Failed(AttemptError::terminal(failure)));
        }
        loop {
            if let Some(finish) = self.begin_due(cx, call) {
                return Poll::Ready(finish);
            }
            match self.poll_running(cx, call) {
                Poll::Ready(Some(finish)) => return Poll::Ready(finish),
                // After an end, the next attempt may begin.
                Poll::Ready(None) => {}
                Poll::Pending => break,
            }
        }
        call.poll_given_up(cx).map(|failure| {
            let error = AttemptError::terminal(failure);
            for mut attempt in self.running.drain(..) {
                attempt.report(call, Err(error));
            }
            Finish::Failed(error)
        })
    }

    /// Begins the attempts that may begin now.
    fn begin_due(&mut self, cx: &Context<'_>, call: &mut Call) -> Option<Finish<'a>> {
        let Attempts { worker, cluster, .. } = *self.shared;
        loop {
            if self.hedge.previous() > 0 {
                if !call.is_kept() {
                    self.hedge.stop();
                } else if self.is_client_taken() && !call.is_received() {
                    return None;
                }
            }
            match self.hedge.admit(cluster.budget(), worker.clock.now()) {
                hedge::Start::Now => {
                    if let Some(finish) = self.begin(call) {
                        return Some(finish);
                    }
                }
                hedge::Start::At(at) => {
                    if self.armed_for != Some(at) {
                        self.timer.arm(at, cx.waker());
                        self.armed_for = Some(at);
                    }
                    return None;
                }
                hedge::Start::Unpaid => cluster.counts().retry_budget_exhausted.add(1),
                hedge::Start::No if self.hedge.is_over() => return self.last.take(),
                hedge::Start::No => return None,
            }
        }
    }

    /// Whether an attempt sends the client's own stream.
    fn is_client_taken(&self) -> bool {
        self.running.iter().any(Attempt::takes_client_body)
    }

    /// Begins one attempt.
    fn begin(&mut self, call: &mut Call) -> Option<Finish<'a>> {
        let previous = self.hedge.previous() - 1;
        let start = Start {
            kind: if previous > 0 { Kind::Hedge } else { Kind::First },
            previous,
            timeout: None,
            body: self.is_client_taken().then(|| Box::new(call.copy_body())),
            times: if self.running.is_empty() { Times::Queue } else { Times::Nothing },
        };
        match Attempt::begin(self.shared, call, start, self.shared.worker.clock.now()) {
            Ok(attempt) => {
                self.running.push(attempt);
                None
            }
            Err(error) => self.refused(error),
        }
    }

    /// Handles an attempt that was not even sent, for a reason of ours that holds for the next one too. Running ones go
    /// on.
    fn refused(&mut self, error: AttemptError) -> Option<Finish<'a>> {
        self.hedge.stop();
        self.settle(Finish::Failed(error), AttemptOutcome::NoConnection, Pushback::None)
    }

    /// Polls all running attempts. Ready when one has ended: with the call, or without.
    fn poll_running(&mut self, cx: &mut Context<'_>, call: &mut Call) -> Poll<Option<Finish<'a>>> {
        for at in 0..self.running.len() {
            if let Poll::Ready(ended) = self.running[at].poll_head(cx, call) {
                let attempt = self.running.remove(at);
                return Poll::Ready(self.ended(call, attempt, ended));
            }
        }
        Poll::Pending
    }

    /// Handles an attempt's end, or the head of its response. Gives the call's end, if that is it.
    fn ended(
        &mut self,
        call: &mut Call,
        mut attempt: Attempt<'a>,
        ended: Result<Head, AttemptError>,
    ) -> Option<Finish<'a>> {
        let queued = attempt.is_queued();
        let status = ended.and_then(|head| Ok((attempt.bad_status(&head)?, head)));
        let (outcome, finish, pushback) = match status {
            Ok((None, head)) => return Some(Finish::Response(Box::new(attempt), head)),
            Ok((Some(code), head)) => {
                let pushback = headers::pushback(&head);
                (Ok(code), Finish::Status(code, head), pushback)
            }
            Err(error) => (Err(error), Finish::Failed(error), Pushback::None),
        };
        // The next attempt may take the client's own stream.
        if attempt.takes_client_body() && call.is_kept() {
            call.rewind();
        }
        attempt.report(call, outcome);
        drop(attempt);
        match outcome {
            Err(error) if queued && error.outcome == AttemptOutcome::Ours => self.refused(error),
            Err(error) => self.settle(finish, error.outcome, pushback),
            Ok(code) => self.settle(finish, AttemptOutcome::Status(code), pushback),
        }
    }

    fn settle(
        &mut self,
        finish: Finish<'a>,
        outcome: AttemptOutcome,
        pushback: Pushback,
    ) -> Option<Finish<'a>> {
        let Attempts { worker, cluster, .. } = *self.shared;
        match self.hedge.record(outcome, pushback, self.hedging, cluster.budget(), worker.clock.now()) {
            HedgeStep::Final => Some(finish),
            HedgeStep::GoOn => {
                self.last = Some(finish);
                None
            }
        }
    }

    /// Cancels all attempts but one, whose response this is, and passes it on.
    async fn won(
        &mut self,
        call: &mut Call,
        mut winner: Attempt<'a>,
        head: Head,
    ) -> Result<Code, AttemptError> {
        self.running.clear();
        if let Some(copy) = winner.take_body() {
            call.take_copy(*copy);
        }
        let response = match winner.begin_response(call, head) {
            Ok(None) => poll_fn(|cx| winner.poll_response(cx, call)).await,
            Ok(Some(held)) => Ok(held),
            Err(error) => Err(error),
        };
        let ended = match response {
            Ok(Response::Held(code, response)) => call.respond_whole(response).map(|()| code),
            Ok(Response::Passed(code)) => Ok(code),
            Err(error) => Err(error),
        };
        winner.report(call, ended);
        ended
    }
}
