//! The timeouts of one call: the caller's deadline, the wait for the head of the response, and silence.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::policy::deadline::{self, Deadline, Whose};
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::time::timers::{Timer, Timers};

/// The timeouts of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::worker) struct RouteTimeouts {
    /// Until the head of the response comes; waits for the client do not count.
    pub(in crate::worker) response: Option<Duration>,
    /// For the whole call; caps the caller's timeout.
    pub(in crate::worker) whole: Option<Duration>,
    /// For silence: the time while no bytes move.
    pub(in crate::worker) idle: Option<Duration>,
}

/// The time for the head of the response. It stands still while the client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Countdown {
    /// Without a limit, or after the response.
    Off,
    /// Stands still with this time left.
    Stopped(Duration),
    /// Runs until this moment.
    Runs(Moment),
}

impl Countdown {
    fn left(self, now: Moment) -> Option<Duration> {
        match self {
            Countdown::Off => None,
            Countdown::Stopped(left) => Some(left),
            Countdown::Runs(until) => Some(until.since(now)),
        }
    }

    fn due(self) -> Option<Moment> {
        if let Countdown::Runs(until) = self { Some(until) } else { None }
    }
}

/// The deadlines of one call, behind one timer.
#[derive(Debug)]
pub(in crate::worker) struct CallTimeouts {
    timer: Timer,
    began: Moment,
    /// The end of the whole call.
    deadline: Deadline,
    response: Countdown,
    /// The response's time that was left when the head of the current attempt was sent.
    left_for_body: Option<Duration>,
    /// For the response of each attempt; `response` is for all of them together.
    attempt: Option<Duration>,
    attempt_due: Option<Moment>,
    is_answered: bool,
    /// This attempt's service was told the rest of the operator's timeout, not of the caller's.
    advertised_own: bool,
    /// The moment when this attempt's request had been sent whole.
    asked_at: Option<Moment>,
    /// The time from then to the head of the response.
    waited: Option<Duration>,
    idle: Option<Duration>,
    moved_at: Moment,
    /// By then the client has to have sent what it owes.
    owed_by: Option<Moment>,
    /// The moment that the timer is armed for.
    armed_for: Option<Moment>,
}

impl CallTimeouts {
    #[inline]
    pub(in crate::worker) fn new(timers: &Rc<Timers>, began: Moment) -> CallTimeouts {
        CallTimeouts {
            timer: timers.timer(),
            began,
            deadline: Deadline::default(),
            response: Countdown::Off,
            left_for_body: None,
            attempt: None,
            attempt_due: None,
            is_answered: false,
            advertised_own: false,
            asked_at: None,
            waited: None,
            idle: None,
            moved_at: began,
            owed_by: None,
            armed_for: None,
        }
    }

    /// Sets the timeouts of caller and route, counted from the arrival of the head.
    pub(in crate::worker) fn set_limits(&mut self, asked: Option<Duration>, allowed: RouteTimeouts) {
        self.deadline = Deadline::new(self.began, asked, allowed.whole);
        self.response = allowed.response.map_or(Countdown::Off, Countdown::Stopped);
        self.idle = allowed.idle;
    }

    /// Begins an attempt, which has this time for its response. Its wait for a connection counts: that is not the
    /// client's.
    pub(in crate::worker) fn begin_attempt(&mut self, response: Option<Duration>) {
        self.end_attempt();
        self.attempt = response;
    }

    /// Ends an attempt; the call waits for the next one.
    pub(in crate::worker) fn end_attempt(&mut self) {
        self.attempt_due = None;
        self.asked_at = None;
        self.run_from(self.now());
    }

    /// Notes that the head of an attempt was sent, and that its body follows.
    pub(in crate::worker) fn sent_head(&mut self) {
        self.left_for_body = self.response.left(self.now());
    }

    /// The request is on its way. `moved`: the upstream has taken some of it; then what that took is forgotten.
    /// `stalled`: since when it does not take what there is, the time left out that it has earned by what it took;
    /// otherwise the client is waited for.
    pub(in crate::worker) fn upload_progress(&mut self, moved: bool, stalled: Option<Moment>) {
        if moved {
            self.moved();
            if let (Some(left), false) = (self.left_for_body, self.is_answered) {
                self.response = Countdown::Stopped(left);
            }
        }
        if let Some(since) = stalled {
            self.run_from(since);
        } else if let Countdown::Runs(until) = self.response {
            self.response = Countdown::Stopped(until.since(self.now()));
        }
    }

    /// Notes that the request has been sent whole: from now on the response is waited for.
    pub(in crate::worker) fn request_sent(&mut self) {
        self.upload_progress(true, Some(self.now()));
        self.asked_at = Some(self.moved_at);
        self.attempt_due = self.attempt.filter(|_| !self.is_answered).map(|time| self.moved_at.plus(time));
    }

    fn run_from(&mut self, since: Moment) {
        if let Countdown::Stopped(left) = self.response {
            self.response = Countdown::Runs(since.plus(left));
        }
    }

    /// The worker's coarse clock, which may stand before the beginning of a call that nothing waited with.
    pub(in crate::worker) fn now(&self) -> Moment {
        self.began.max(self.timer.now())
    }

    /// Time left until the end of the whole call, if it has one.
    pub(in crate::worker) fn left(&self, now: Moment) -> Option<Duration> {
        self.deadline.left(now)
    }

    /// The timeout to tell the service of an attempt that is sent now. The operator's counts only for a call with one
    /// message as its response: for a stream it ends with the head.
    pub(in crate::worker) fn advertised_timeout(&mut self, now: Moment, is_unary: bool) -> Option<Duration> {
        let (left, response) = (self.left(now), self.response.left(now).filter(|_| is_unary));
        self.advertised_own = response.is_some_and(|response| left.is_none_or(|left| response < left));
        left.into_iter().chain(response).min()
    }

    /// Whether a service that reports a timeout means that of the operator.
    pub(in crate::worker) fn advertised_route_timeout(&self) -> bool {
        self.advertised_own
    }

    /// Time left until the response must begin.
    pub(in crate::worker) fn left_for_response(&self, now: Moment) -> Option<Duration> {
        self.left(now).into_iter().chain(self.response.left(now)).min()
    }

    /// Notes that the head of the response has come.
    pub(in crate::worker) fn response_started(&mut self) {
        self.moved();
        self.is_answered = true;
        self.waited = self.asked_at.map(|asked| self.moved_at.since(asked));
        self.response = Countdown::Off;
        self.attempt_due = None;
    }

    /// The wait for the head of the response, once the request had been sent whole.
    pub(in crate::worker) fn waited(&self) -> Option<Duration> {
        self.waited
    }

    /// The owner of the limit that has passed, if one has.
    pub(in crate::worker) fn passed(&self) -> Option<Whose> {
        let own = earlier(earlier(self.response.due(), self.attempt_due), self.deadline.own());
        deadline::passed(own, self.deadline.callers(), self.now())
    }

    /// Whether the response has not come within the operator's timeout, as opposed to the caller's.
    pub(in crate::worker) fn is_overdue(&self) -> bool {
        self.is_attempt_overdue() || self.response.due().is_some_and(|due| due <= self.timer.now())
    }

    /// Whether the response to this attempt is late; another attempt may still be answered.
    pub(in crate::worker) fn is_attempt_overdue(&self) -> bool {
        self.attempt_due.is_some_and(|due| due <= self.timer.now())
    }

    /// Whether this attempt's request has been sent whole.
    pub(in crate::worker) fn is_asked(&self) -> bool {
        self.asked_at.is_some()
    }

    /// Whether the head of the response has come.
    pub(in crate::worker) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Notes that bytes moved, in either direction.
    pub(in crate::worker) fn moved(&mut self) {
        self.moved_at = self.moved_at.max(self.timer.now());
    }

    /// The client has so long to send the rest of what it has begun.
    pub(in crate::worker) fn owed_by(&mut self, due: Option<Moment>) {
        self.owed_by = due;
    }

    /// The client does not take what waits for it, since then; what it takes meanwhile has been considered. Bytes that it
    /// takes one by one are no movement.
    pub(in crate::worker) fn untaken_since(&mut self, since: Moment) {
        self.moved_at = self.moved_at.min(since);
    }

    /// Ready when a limit has passed.
    pub(in crate::worker) fn poll(&mut self, cx: &Context<'_>) -> Poll<Failure> {
        let fired = self.timer.fired();
        if fired {
            let now = self.timer.now();
            let passed = |limit: Option<Moment>| limit.is_some_and(|limit| limit <= now);
            if self.deadline.passed(now) || passed(self.response.due()) || passed(self.attempt_due) {
                return Poll::Ready(Failure::DeadlineExceeded);
            }
            if passed(self.idle_due()) {
                return Poll::Ready(Failure::StreamIdleTimeout);
            }
            if passed(self.owed_by) {
                return Poll::Ready(Failure::ClientTooSlow);
            }
        }
        let limits = [self.response.due(), self.attempt_due, self.idle_due(), self.owed_by];
        let next = limits.into_iter().fold(self.deadline.at(), earlier);
        // A limit that moved away needs no change: the timer fires too early, finds nothing passed, and is armed anew.
        if let Some(next) = next
            && (fired || self.armed_for.is_none_or(|armed| next < armed))
        {
            self.timer.arm(next, cx.waker());
            self.armed_for = Some(next);
        }
        Poll::Pending
    }

    /// Whether the call itself, and not only an attempt, has no time left.
    pub(in crate::worker) fn is_expired(&self) -> bool {
        let now = self.timer.now();
        self.deadline.passed(now) || self.response.due().is_some_and(|due| due <= now)
    }

    fn idle_due(&self) -> Option<Moment> {
        self.idle.map(|idle| self.moved_at.plus(idle))
    }
}

/// The earlier one of two moments that there may be.
fn earlier(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const TIMEOUTS: RouteTimeouts = RouteTimeouts {
        response: Some(Duration::from_secs(5)),
        whole: Some(Duration::from_secs(100)),
        idle: Some(Duration::from_secs(30)),
    };

    fn sec(n: u64) -> Moment {
        Moment::from_nanos(n * 1_000_000_000)
    }

    fn polled(timeouts: &mut CallTimeouts, timers: &Timers, at: Moment) -> Poll<Failure> {
        timers.advance(at);
        timeouts.poll(&Context::from_waker(Waker::noop()))
    }

    fn timeouts(timers: &Rc<Timers>, asked: Option<Duration>) -> CallTimeouts {
        let mut timeouts = CallTimeouts::new(timers, timers.now());
        timeouts.set_limits(asked, TIMEOUTS);
        assert_eq!(timeouts.poll(&Context::from_waker(Waker::noop())), Poll::Pending);
        timeouts
    }

    #[test]
    fn the_callers_deadline_counts_from_the_head() {
        let timers = Timers::new(sec(10));
        let mut timeouts = timeouts(&timers, Some(Duration::from_secs(3)));
        assert_eq!(timeouts.left(sec(11)), Some(Duration::from_secs(2)));
        assert_eq!(polled(&mut timeouts, &timers, sec(12)), Poll::Pending);
        assert_eq!(polled(&mut timeouts, &timers, sec(13)), Poll::Ready(Failure::DeadlineExceeded));
    }

    #[test]
    fn the_route_caps_the_caller() {
        let timers = Timers::new(sec(0));
        let timeouts = timeouts(&timers, Some(Duration::from_secs(1_000)));
        assert_eq!(timeouts.left(sec(0)), Some(Duration::from_secs(100)));
    }

    #[test]
    fn the_timeout_stands_still_while_the_client_is_waited_for() {
        let timers = Timers::new(sec(0));
        let mut timeouts = timeouts(&timers, None);
        assert_eq!(polled(&mut timeouts, &timers, sec(20)), Poll::Pending);
        timeouts.begin_attempt(None);
        timeouts.sent_head();
        timeouts.upload_progress(true, None);
        assert_eq!(polled(&mut timeouts, &timers, sec(40)), Poll::Pending);
        timeouts.request_sent();
        assert_eq!(polled(&mut timeouts, &timers, sec(44)), Poll::Pending);
        assert_eq!(polled(&mut timeouts, &timers, sec(45)), Poll::Ready(Failure::DeadlineExceeded));
    }

    #[test]
    fn our_own_waits_count() {
        let timers = Timers::new(sec(0));
        // For a connection, all of the time.
        let mut queued = timeouts(&timers, None);
        queued.begin_attempt(None);
        assert_eq!(polled(&mut queued, &timers, sec(4)), Poll::Pending);
        assert_eq!(queued.left_for_response(sec(4)), Some(Duration::from_secs(1)));
        // The wait's time is gone for good, also once the request has been sent.
        queued.sent_head();
        queued.request_sent();
        assert_eq!(polled(&mut queued, &timers, sec(5)), Poll::Ready(Failure::DeadlineExceeded));
        assert!(queued.is_overdue() && queued.is_expired());

        // For an upstream that takes nothing of the body; what it takes begins that wait anew.
        let mut stalled = timeouts(&timers, None);
        stalled.begin_attempt(None);
        stalled.sent_head();
        stalled.upload_progress(true, Some(sec(5)));
        assert_eq!(polled(&mut stalled, &timers, sec(9)), Poll::Pending);
        stalled.upload_progress(true, Some(sec(9)));
        assert_eq!(polled(&mut stalled, &timers, sec(13)), Poll::Pending);
        stalled.upload_progress(false, Some(sec(9)));
        assert_eq!(polled(&mut stalled, &timers, sec(14)), Poll::Ready(Failure::DeadlineExceeded));

        // An upstream that takes it byte by byte earns next to nothing (row 47).
        let mut drips = timeouts(&timers, None);
        drips.begin_attempt(None);
        drips.sent_head();
        for second in 15..19 {
            drips.upload_progress(true, Some(sec(14)));
            assert_eq!(polled(&mut drips, &timers, sec(second)), Poll::Pending);
        }
        drips.upload_progress(true, Some(sec(14)));
        assert_eq!(polled(&mut drips, &timers, sec(19)), Poll::Ready(Failure::DeadlineExceeded));
    }

    #[test]
    fn each_attempt_has_its_own_time_within_that_of_all() {
        let timers = Timers::new(sec(0));
        let mut timeouts = timeouts(&timers, None);
        for (begins, ends) in [(0, 1), (2, 3)] {
            timers.advance(sec(begins));
            timeouts.begin_attempt(Some(Duration::from_secs(1)));
            timeouts.sent_head();
            timeouts.request_sent();
            assert_eq!(polled(&mut timeouts, &timers, sec(begins)), Poll::Pending);
            assert_eq!(polled(&mut timeouts, &timers, sec(ends)), Poll::Ready(Failure::DeadlineExceeded));
            assert!(timeouts.is_attempt_overdue() && !timeouts.is_expired());
            timeouts.end_attempt();
            assert!(!timeouts.is_overdue());
            assert_eq!(timeouts.left_for_response(sec(ends)), Some(Duration::from_secs(5 - ends)));
        }
        timers.advance(sec(4));
        timeouts.begin_attempt(Some(Duration::from_secs(3)));
        timeouts.sent_head();
        timeouts.request_sent();
        assert_eq!(polled(&mut timeouts, &timers, sec(4)), Poll::Pending);
        assert_eq!(polled(&mut timeouts, &timers, sec(5)), Poll::Ready(Failure::DeadlineExceeded));
        assert!(timeouts.is_expired() && !timeouts.is_attempt_overdue());
    }

    #[test]
    fn the_operators_timeout_is_told_only_of_calls_with_one_answer() {
        let timers = Timers::new(sec(0));
        let second = |n| Some(Duration::from_secs(n));
        for (asked, is_unary, told, own) in [
            (None, true, second(4), true),
            (None, false, second(99), false),
            (second(3), true, second(2), false),
            (second(50), true, second(4), true),
            (second(50), false, second(49), false),
        ] {
            let mut timeouts = timeouts(&timers, asked);
            timeouts.begin_attempt(None);
            assert_eq!(timeouts.advertised_timeout(sec(1), is_unary), told, "{asked:?} {is_unary}");
            assert_eq!(timeouts.advertised_route_timeout(), own, "{asked:?} {is_unary}");
        }
    }

    #[test]
    fn an_answer_that_began_may_go_on() {
        let timers = Timers::new(sec(0));
        let mut timeouts = timeouts(&timers, None);
        timeouts.begin_attempt(Some(Duration::from_secs(1)));
        timeouts.sent_head();
        timeouts.upload_progress(true, Some(timers.now()));
        timeouts.response_started();
        timeouts.request_sent();
        assert_eq!(polled(&mut timeouts, &timers, sec(29)), Poll::Pending);
    }

    /// Row 47.
    #[test]
    fn a_client_that_owes_or_does_not_take_is_no_movement() {
        let timers = Timers::new(sec(0));
        let mut sends = timeouts(&timers, None);
        sends.owed_by(Some(sec(20)));
        assert_eq!(polled(&mut sends, &timers, sec(19)), Poll::Pending);
        sends.owed_by(Some(sec(25)));
        assert_eq!(polled(&mut sends, &timers, sec(24)), Poll::Pending);
        assert_eq!(polled(&mut sends, &timers, sec(25)), Poll::Ready(Failure::ClientTooSlow));

        let mut takes = timeouts(&timers, None);
        for second in [40, 50] {
            assert_eq!(polled(&mut takes, &timers, sec(second)), Poll::Pending);
            takes.moved();
            takes.untaken_since(sec(25));
        }
        assert_eq!(polled(&mut takes, &timers, sec(54)), Poll::Pending);
        assert_eq!(polled(&mut takes, &timers, sec(55)), Poll::Ready(Failure::StreamIdleTimeout));
    }

    #[test]
    fn silence_ends_a_call_and_movement_does_not() {
        let timers = Timers::new(sec(0));
        let mut timeouts = timeouts(&timers, None);
        assert_eq!(polled(&mut timeouts, &timers, sec(29)), Poll::Pending);
        timeouts.moved();
        assert_eq!(polled(&mut timeouts, &timers, sec(58)), Poll::Pending);
        assert_eq!(polled(&mut timeouts, &timers, sec(59)), Poll::Ready(Failure::StreamIdleTimeout));
    }
}
