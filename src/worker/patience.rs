//! How long one call may take: the caller's deadline, the wait for the head of the answer, and silence.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::policy::deadline::Deadline;
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::time::timers::{Timer, Timers};

/// What the route allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// From the end of the request to the head of the answer.
    pub(super) answer: Option<Duration>,
    /// For the whole call; caps what the caller asks for.
    pub(super) whole: Option<Duration>,
    /// While nothing moves.
    pub(super) idle: Option<Duration>,
}

/// The deadlines of one call, behind one timer.
#[derive(Debug)]
pub(super) struct Patience {
    timer: Timer,
    began: Moment,
    /// The end of the whole call.
    deadline: Deadline,
    answer: Option<Duration>,
    answer_due: Option<Moment>,
    is_answered: bool,
    /// When the request had been sent whole.
    asked_at: Option<Moment>,
    /// From then to the head of the answer.
    waited: Option<Duration>,
    idle: Option<Duration>,
    moved_at: Moment,
    /// What the timer is armed for.
    armed_for: Option<Moment>,
}

impl Patience {
    pub(super) fn new(timers: &Rc<Timers>, began: Moment) -> Patience {
        Patience {
            timer: timers.timer(),
            began,
            deadline: Deadline::default(),
            answer: None,
            answer_due: None,
            is_answered: false,
            asked_at: None,
            waited: None,
            idle: None,
            moved_at: began,
            armed_for: None,
        }
    }

    /// Sets what the caller asks for and the route allows, counted from the arrival of the head.
    pub(super) fn allow(&mut self, asked: Option<Duration>, allowed: Timeouts) {
        self.deadline = Deadline::new(self.began, asked, allowed.whole);
        self.answer = allowed.answer;
        self.idle = allowed.idle;
    }

    /// Time left until the end of the whole call, if it has one.
    pub(super) fn left(&self, now: Moment) -> Option<Duration> {
        self.deadline.left(now)
    }

    /// Time left until the answer must begin, as far as that is known.
    pub(super) fn left_for_answer(&self, now: Moment) -> Option<Duration> {
        let due = self.answer_due.map(|due| due.since(now));
        self.left(now).into_iter().chain(due).min()
    }

    /// The request has been sent whole: now the wait for the answer counts. If it has to be sent again, that counts on.
    pub(super) fn asked(&mut self) {
        self.moved();
        self.asked_at = Some(self.moved_at);
        if self.answer_due.is_none() {
            self.answer_due = self.answer.map(|answer| self.moved_at.plus(answer));
        }
    }

    /// The head of the answer has come.
    pub(super) fn answered(&mut self) {
        self.moved();
        self.is_answered = true;
        self.waited = self.asked_at.map(|asked| self.moved_at.since(asked));
        self.answer = None;
        self.answer_due = None;
    }

    /// How long the head of the answer took once the request had been sent whole.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.waited
    }

    /// Whether the answer has not come in the time that the operator, and not the caller, gives it.
    pub(super) fn is_overdue(&self) -> bool {
        self.answer_due.is_some_and(|due| due <= self.timer.now())
    }

    /// Whether the head of the answer has come.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Something moved, in either direction.
    pub(super) fn moved(&mut self) {
        self.moved_at = self.moved_at.max(self.timer.now());
    }

    /// Ready when a limit has passed.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Failure> {
        let fired = self.timer.fired();
        if fired {
            let now = self.timer.now();
            let passed = |limit: Option<Moment>| limit.is_some_and(|limit| limit <= now);
            if self.deadline.passed(now) || passed(self.answer_due) {
                return Poll::Ready(Failure::OutOfTime);
            }
            if passed(self.idle_due()) {
                return Poll::Ready(Failure::IdleTooLong);
            }
        }
        let next = [self.deadline.at(), self.answer_due, self.idle_due()].into_iter().flatten().min();
        // A limit that moved away needs nothing: the timer fires too early, finds nothing passed, and is armed anew.
        if let Some(next) = next
            && (fired || self.armed_for.is_none_or(|armed| next < armed))
        {
            self.timer.arm(next, cx.waker());
            self.armed_for = Some(next);
        }
        Poll::Pending
    }

    fn idle_due(&self) -> Option<Moment> {
        self.idle.map(|idle| self.moved_at.plus(idle))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        answer: Some(Duration::from_secs(5)),
        whole: Some(Duration::from_secs(100)),
        idle: Some(Duration::from_secs(30)),
    };

    fn sec(n: u64) -> Moment {
        Moment::from_nanos(n * 1_000_000_000)
    }

    fn polled(patience: &mut Patience, timers: &Timers, at: Moment) -> Poll<Failure> {
        timers.advance(at);
        patience.poll(&Context::from_waker(Waker::noop()))
    }

    fn patience(timers: &Rc<Timers>, asked: Option<Duration>) -> Patience {
        let mut patience = Patience::new(timers, timers.now());
        patience.allow(asked, TIMEOUTS);
        assert_eq!(patience.poll(&Context::from_waker(Waker::noop())), Poll::Pending);
        patience
    }

    #[test]
    fn the_callers_deadline_counts_from_the_head() {
        let timers = Timers::new(sec(10));
        let mut patience = patience(&timers, Some(Duration::from_secs(3)));
        assert_eq!(patience.left(sec(11)), Some(Duration::from_secs(2)));
        assert_eq!(polled(&mut patience, &timers, sec(12)), Poll::Pending);
        assert_eq!(polled(&mut patience, &timers, sec(13)), Poll::Ready(Failure::OutOfTime));
    }

    #[test]
    fn the_route_caps_the_caller() {
        let timers = Timers::new(sec(0));
        let patience = patience(&timers, Some(Duration::from_secs(1_000)));
        assert_eq!(patience.left(sec(0)), Some(Duration::from_secs(100)));
    }

    #[test]
    fn the_answer_is_due_only_after_the_request() {
        let timers = Timers::new(sec(0));
        let mut patience = patience(&timers, None);
        assert_eq!(polled(&mut patience, &timers, sec(20)), Poll::Pending);
        patience.asked();
        assert_eq!(polled(&mut patience, &timers, sec(24)), Poll::Pending);
        assert_eq!(polled(&mut patience, &timers, sec(25)), Poll::Ready(Failure::OutOfTime));
    }

    #[test]
    fn an_answer_that_began_may_go_on() {
        let timers = Timers::new(sec(0));
        let mut patience = patience(&timers, None);
        patience.asked();
        patience.answered();
        assert_eq!(polled(&mut patience, &timers, sec(29)), Poll::Pending);
    }

    #[test]
    fn silence_ends_a_call_and_movement_does_not() {
        let timers = Timers::new(sec(0));
        let mut patience = patience(&timers, None);
        assert_eq!(polled(&mut patience, &timers, sec(29)), Poll::Pending);
        patience.moved();
        assert_eq!(polled(&mut patience, &timers, sec(58)), Poll::Pending);
        assert_eq!(polled(&mut patience, &timers, sec(59)), Poll::Ready(Failure::IdleTooLong));
    }
}
