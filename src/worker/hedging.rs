//! A call that is sent several times at once: the first good answer is the call's, and the other attempts are cancelled.
//!
//! When an attempt begins and what its end means is decided in `policy/hedge.rs`. One attempt is sent the request as it
//! comes from the client; others begin once all of it is here, and are fed from what is kept. So what is not kept whole,
//! such as a long stream, is sent once. A timeout that follows the latency is not for such calls: hedges do its work.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::Worker;
use super::attempts::{self, Begun};
use super::forward::Feed;
use super::head;
use super::request::Call;
use super::trace::Span;
use crate::config::Hedging;
use crate::http2::{Head, Stream};
use crate::metrics::record::Stage as Time;
use crate::policy::balance::Tried;
use crate::policy::failure::Failure;
use crate::policy::hedge::{Hedge, Start, Told};
use crate::policy::retry::{End, Pushback};
use crate::policy::status::Code;
use crate::time::Moment;
use crate::time::timers::Timer;
use crate::upstream::{Acquire, Cluster, Failed, Lease, Method, Passes};

/// What the attempts of a call have in common.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) worker: &'a Worker,
    pub(super) cluster: &'a Rc<Cluster>,
    pub(super) method: &'a Method,
    pub(super) hedging: &'a Hedging,
    /// The method takes one message and answers with one.
    pub(super) is_unary: bool,
}

/// The attempts of a call that run, and whether there will be more.
struct Race<'a> {
    shared: Shared<'a>,
    hedge: Hedge,
    running: Vec<Runner<'a>>,
    /// Endpoints that attempts went to.
    tried: Tried,
    /// How the attempt before ended.
    last: Option<Finish<'a>>,
    timer: Timer,
    armed_for: Option<Moment>,
}

/// One attempt.
struct Runner<'a> {
    /// Attempts that began before it.
    previous: u32,
    passes: Passes<'a>,
    lease: Option<Lease>,
    /// When it had a connection; until then, when it began.
    connected: Moment,
    /// Where the call is traced.
    span: Option<Box<Span>>,
    /// None while it is the one that is sent what comes from the client.
    feed: Option<Feed>,
    stage: Stage,
}

enum Stage {
    /// It waits for a connection.
    Queued(Acquire),
    /// It waits for the head of an answer.
    Sent(Stream),
}

/// How an attempt ended, and maybe the call with it.
enum Finish<'a> {
    /// This is the answer, of which the caller has nothing yet.
    Answer(Box<Runner<'a>>, Head, Stream),
    /// A bad status, and nothing else.
    Status(Code, Head),
    Failed(Failed),
}

/// Sends a call. On the heap: calls that are not hedged have no room for this.
pub(super) fn send<'a>(
    shared: Shared<'a>,
    call: &'a mut Call,
) -> Pin<Box<impl Future<Output = Result<Code, Failure>> + 'a>> {
    let Shared { worker, hedging, .. } = shared;
    let mut race = Race {
        shared,
        hedge: Hedge::new(hedging, worker.clock.now()),
        running: Vec::new(),
        tried: Tried::default(),
        last: None,
        timer: worker.local.timers.timer(),
        armed_for: None,
    };
    Box::pin(async move {
        let finish = poll_fn(|cx| race.poll(cx, call)).await;
        match finish {
            Finish::Answer(winner, head, stream) => {
                let ended = race.won(call, *winner, head, stream).await.map_err(|failed| failed.failure);
                if ended == Ok(Code::Ok) {
                    shared.cluster.budget().succeeded();
                }
                ended
            }
            Finish::Status(code, response) => {
                // Those that still run are of no more use.
                race.running.clear();
                call.pass_whole(response).map_err(|failed| failed.failure)?;
                Ok(code)
            }
            Finish::Failed(failed) => Err(failed.failure),
        }
    })
}

impl<'a> Race<'a> {
    /// Ready when the call has an answer, or will have none.
    fn poll(&mut self, cx: &mut Context<'_>, call: &mut Call) -> Poll<Finish<'a>> {
        // The sooner all of the request is here, the sooner others can be sent it.
        if let Err(failure) = call.upload.gather(cx) {
            return Poll::Ready(Finish::Failed(Failed::finally(failure)));
        }
        loop {
            if let Some(finish) = self.begin_due(cx, call) {
                return Poll::Ready(finish);
            }
            match self.poll_running(cx, call) {
                Poll::Ready(Some(finish)) => return Poll::Ready(finish),
                // Where one has ended the next may begin.
                Poll::Ready(None) => {}
                Poll::Pending => break,
            }
        }
        call.poll_given_up(cx).map(|failure| {
            let failed = Failed::finally(failure);
            for runner in self.running.drain(..) {
                self.shared.tell(call, runner, Err(failed));
            }
            Finish::Failed(failed)
        })
    }

    /// Begins the attempts that may begin now.
    fn begin_due(&mut self, cx: &Context<'_>, call: &mut Call) -> Option<Finish<'a>> {
        let Shared { worker, cluster, .. } = self.shared;
        loop {
            if self.hedge.previous() > 0 {
                if !call.upload.is_kept() {
                    self.hedge.stop();
                } else if self.is_client_taken() && !call.upload.is_received() {
                    return None;
                }
            }
            match self.hedge.ask(cluster.budget(), worker.clock.now()) {
                Start::Now => {
                    if let Some(finish) = self.begin(call) {
                        return Some(finish);
                    }
                }
                Start::At(at) => {
                    if self.armed_for != Some(at) {
                        self.timer.arm(at, cx.waker());
                        self.armed_for = Some(at);
                    }
                    return None;
                }
                Start::Unpaid => cluster.counts().retry_budget_exhausted.add(1),
                Start::No if self.hedge.is_over() => return self.last.take(),
                Start::No => return None,
            }
        }
    }

    /// Whether an attempt is sent what comes from the client.
    fn is_client_taken(&self) -> bool {
        self.running.iter().any(|runner| runner.feed.is_none())
    }

    /// Begins one attempt.
    fn begin(&mut self, call: &mut Call) -> Option<Finish<'a>> {
        let Shared { worker, cluster, method, .. } = self.shared;
        let began = worker.clock.now();
        let passes = match cluster.ask(method, began) {
            Ok(passes) => passes,
            Err(refusal) => {
                call.reply.retry_after(refusal.rest);
                return self.refused(Failed::finally(Failure::BreakerOpen));
            }
        };
        call.patience.begin_attempt(None);
        if self.running.is_empty() {
            call.reply.extra.ledger.enter(Time::Queue);
        }
        let previous = self.hedge.previous() - 1;
        self.running.push(Runner {
            previous,
            passes,
            lease: None,
            connected: began,
            span: call.note.attempt(&call.head, previous),
            feed: self.is_client_taken().then(|| call.upload.copy()),
            stage: Stage::Queued(cluster.acquire(self.tried)),
        });
        None
    }

    /// An attempt was not even sent, for a reason of ours that holds for the next one too. Those that run go on.
    fn refused(&mut self, failed: Failed) -> Option<Finish<'a>> {
        self.hedge.stop();
        self.settle(Finish::Failed(failed), End::NoConnection, Pushback::None)
    }

    /// Polls all that run. Ready when one has ended: with the call, or without.
    fn poll_running(&mut self, cx: &mut Context<'_>, call: &mut Call) -> Poll<Option<Finish<'a>>> {
        for at in 0..self.running.len() {
            if let Poll::Ready(ended) = self.poll_one(at, cx, call) {
                let runner = self.running.remove(at);
                return Poll::Ready(self.ended(call, runner, ended));
            }
        }
        Poll::Pending
    }

    /// One attempt goes on, until the head of an answer comes.
    fn poll_one(
        &mut self,
        at: usize,
        cx: &mut Context<'_>,
        call: &mut Call,
    ) -> Poll<Result<(Head, Stream), Failed>> {
        if let Stage::Queued(acquire) = &mut self.running[at].stage {
            let lease = ready!(Pin::new(acquire).poll(cx)).map_err(Failed::unconnected)?;
            self.send(at, call, lease)?;
        }
        let Runner { stage: Stage::Sent(stream), feed, lease: Some(lease), .. } = &mut self.running[at]
        else {
            return Poll::Pending;
        };
        let uploaded = match feed {
            Some(feed) => call.upload.poll_copy(cx, feed),
            None => call.poll_upload(cx),
        };
        // Looked at first: an upstream that resets the request has said why here.
        if let Poll::Ready(head) = stream.poll_head(cx) {
            let answered = head.map(|head| (head, stream.clone()));
            return Poll::Ready(answered.map_err(|error| lease.judge(Failed::of(error))));
        }
        uploaded.map_err(Failed::finally)?;
        Poll::Pending
    }

    /// Sends the head of an attempt; its body follows.
    fn send(&mut self, at: usize, call: &mut Call, lease: Lease) -> Result<(), Failed> {
        let Shared { worker, cluster, is_unary, .. } = self.shared;
        let runner = &mut self.running[at];
        let lease = runner.lease.insert(lease);
        self.tried.add(lease.endpoint());
        let now = worker.clock.now();
        runner.connected = now;
        call.note.connected(lease.address(), &call.reply, now);
        if runner.previous > 0 {
            cluster.counts().hedges.add(1);
        }
        let told_own = is_unary && call.upload.is_received();
        let left = call.patience.tell_left(now, told_own);
        let field = call.note.traceparent(&mut runner.span, lease.address());
        head::upstream(&mut call.head, lease.address(), left, runner.previous, field)?;
        let stream = lease.open(&call.head, false)?;
        runner.stage = Stage::Sent(stream.clone());
        match &mut runner.feed {
            Some(feed) => feed.to(stream),
            None => {
                call.upload.to(stream);
                call.patience.sent_head();
            }
        }
        Ok(())
    }

    /// An attempt has ended, or the head of its answer has come. Says how the call ends, if that is its end.
    fn ended(
        &mut self,
        call: &mut Call,
        runner: Runner<'a>,
        ended: Result<(Head, Stream), Failed>,
    ) -> Option<Finish<'a>> {
        let queued = runner.lease.is_none();
        let (outcome, finish, pushback) = match ended.and_then(bad_status) {
            Ok(Verdict::Good(head, stream)) => {
                return Some(Finish::Answer(Box::new(runner), head, stream));
            }
            Ok(Verdict::Bad(code, head)) => {
                let pushback = head::pushback(&head);
                (Ok(code), Finish::Status(code, head), pushback)
            }
            Err(failed) => (Err(failed), Finish::Failed(failed), Pushback::None),
        };
        // The next attempt may take the client's own stream.
        if runner.feed.is_none() && call.upload.is_kept() {
            call.upload.rewind();
        }
        self.shared.tell(call, runner, outcome);
        match outcome {
            Err(failed) if queued && failed.end == End::Ours => self.refused(failed),
            Err(failed) => self.settle(finish, failed.end, pushback),
            Ok(code) => self.settle(finish, End::Status(code), pushback),
        }
    }

    fn settle(&mut self, finish: Finish<'a>, end: End, pushback: Pushback) -> Option<Finish<'a>> {
        let Shared { worker, cluster, hedging, .. } = self.shared;
        match self.hedge.told(end, pushback, hedging, cluster.budget(), worker.clock.now()) {
            Told::Final => Some(finish),
            Told::GoOn => {
                self.last = Some(finish);
                None
            }
        }
    }

    /// Cancels all attempts but one, whose answer this is, and passes it on.
    async fn won(
        &mut self,
        call: &mut Call,
        mut winner: Runner<'a>,
        head: Head,
        stream: Stream,
    ) -> Result<Code, Failed> {
        self.running.clear();
        if let Some(feed) = winner.feed.take() {
            call.upload.take(feed);
        }
        let now = self.shared.worker.clock.now();
        if let Some(lease) = &winner.lease {
            call.note.answered_by(lease.address(), winner.connected, &call.reply, now);
        }
        let begun = attempts::begin(call, &mut winner.passes, head, stream, now);
        let ended = match begun {
            Ok(Begun::Held(code, response)) => call.pass_whole(response).map(|()| code),
            Ok(Begun::Passed(mut download)) => attempts::finish(call, &mut download).await,
            Err(failed) => Err(failed),
        };
        self.shared.tell(call, winner, ended);
        ended
    }
}

impl Shared<'_> {
    /// Says what the end of an attempt says of the service.
    fn tell(&self, call: &Call, runner: Runner<'_>, outcome: Result<Code, Failed>) {
        let Runner { passes, lease, span, .. } = runner;
        if let Some(mut span) = span {
            span.ended(outcome.map_err(|failed| failed.failure));
        }
        attempts::tell(self.worker, self.cluster, call, passes, lease.as_ref(), outcome);
    }
}

/// What the head of an answer means for the others.
enum Verdict {
    /// A status alone, and not OK.
    Bad(Code, Head),
    Good(Head, Stream),
}

fn bad_status((head, stream): (Head, Stream)) -> Result<Verdict, Failed> {
    match head::answered(&head)? {
        Some(code) if code != Code::Ok && stream.ended_with_head() => Ok(Verdict::Bad(code, head)),
        _ => Ok(Verdict::Good(head, stream)),
    }
}
