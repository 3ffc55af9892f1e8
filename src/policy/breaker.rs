//! A circuit breaker: closed, open, half-open, and a slow return.
//!
//! A closed breaker counts the calls of the last `interval`. It opens when at least `min_requests` of them have ended
//! and the share `failure_ratio` has failed. It also opens when half-way from that share to all have failed in the last
//! 1.5 seconds. An open breaker refuses for `timeout`. A half-open one lets `max_requests` probes through, in all and
//! over all workers. A probe that fails opens it again, and when all have succeeded it closes. Then the share of calls
//! that it lets through grows over `ramp`. So it does not run over a service that has just come back.
//!
//! If it opened because the service could not be connected to, a connection is reason enough to let probes out, and each
//! worker connects again whatever its backoff says ([`LocalBreaker::reach`]). Calls that come meanwhile are not refused
//! for good: they wait for a moment ([`LocalBreaker::holds`]). So a breaker never costs calls that would succeed without.
//!
//! A [`LocalBreaker`] belongs to one worker. While it is closed, asking reads one cell, and telling counts into the
//! worker's own window. The shared part is in [`shared`], and each worker reads it at its tick. A worker adds the
//! others' counts of the last tick to its own, and opens the breaker at once if they suffice.
//!
//! ```
//! use ringway::config::Breaker;
//! use ringway::policy::breaker::{LocalBreaker, SharedBreaker};
//! use ringway::policy::outcome::Outcome;
//! use ringway::random::Random;
//! use ringway::time::Moment;
//!
//! let shared = SharedBreaker::new(Breaker { min_requests: 3, ..Breaker::default() }, 1);
//! let breaker = LocalBreaker::new(shared, 0);
//! let (now, mut random) = (Moment::ZERO, Random::seeded(1));
//! for _ in 0..3 {
//!     let permit = breaker.admit(now, &mut random).expect("a closed breaker admits all calls");
//!     permit.record(Outcome::Failure, now);
//! }
//! assert!(breaker.admit(now, &mut random).is_err(), "an open breaker admits none");
//! ```

mod shared;
mod window;

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use self::shared::Verdict;
pub use self::shared::{Cause, SharedBreaker, State};
use self::window::{Counts, Tally, Windows};
use super::outcome::Outcome;
use crate::random::Random;
use crate::time::Moment;

/// A worker's side of a breaker.
#[derive(Debug)]
pub struct LocalBreaker {
    shared: Arc<SharedBreaker>,
    worker: usize,
    /// The gate that each call asks.
    gate: Cell<Gate>,
    /// The verdict, as last read of the shared side.
    verdict: Cell<Verdict>,
    windows: RefCell<Windows>,
    /// The counts of the other workers at the last tick.
    others: Cell<Tally>,
    /// The verdict has changed since [`LocalBreaker::reach`] saw it.
    is_news: Cell<bool>,
    /// Probes whose response has begun and not ended, by their numbers, and since when.
    answering: RefCell<Vec<(NonZeroU32, Moment)>>,
    /// Probes that had a response so far.
    numbered: Cell<NonZeroU32>,
}

/// The calls that a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    All,
    /// A growing share, since this moment.
    Some(Moment),
    Probes,
    /// None; from this moment on it may be half-open.
    None(Moment),
}

/// The reason why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The breaker is open.
    Open,
    /// It is half-open and all probes are out.
    HalfOpen,
    /// It has just closed, and chance was against this call.
    Ramp,
}

impl LocalBreaker {
    /// The side of worker number `worker`.
    ///
    /// # Panics
    /// If the shared side is for fewer workers.
    pub fn new(shared: Arc<SharedBreaker>, worker: usize) -> Self {
        assert!(worker < shared.workers(), "a breaker for fewer workers");
        let breaker = Self {
            worker,
            gate: Cell::new(Gate::All),
            verdict: Cell::new(Verdict::default()),
            windows: RefCell::new(Windows::new(shared.settings().interval)),
            others: Cell::new(Tally::default()),
            is_news: Cell::new(false),
            answering: RefCell::default(),
            numbered: Cell::new(NonZeroU32::MIN),
            shared,
        };
        breaker.look(Moment::ZERO);
        breaker
    }

    /// The side that all workers share.
    pub fn shared(&self) -> &Arc<SharedBreaker> {
        &self.shared
    }

    /// The time that it still stays open; zero if it is not.
    pub fn rest(&self, now: Moment) -> Duration {
        match self.gate.get() {
            Gate::None(until) => until.since(now),
            Gate::All | Gate::Some(_) | Gate::Probes => Duration::ZERO,
        }
    }

    /// Whether it lets all calls through, as of the last question or tick.
    pub fn is_closed(&self) -> bool {
        self.gate.get() == Gate::All
    }

    /// Whether a call that is refused now should ask again in a moment: the service is back, but does not get all calls
    /// yet.
    pub fn holds(&self) -> bool {
        self.verdict.get().gone && matches!(self.gate.get(), Gate::Probes | Gate::Some(_))
    }

    /// Whether this worker should connect now, whatever its backoff says, to a service that is gone. `connected`: the
    /// worker has a connection, which lets probes out. To be called while the breaker is not closed: each 100 ms, and
    /// before each call.
    pub fn reach(&self, connected: bool, now: Moment) -> bool {
        self.look(now);
        let verdict = self.verdict.get();
        if !verdict.gone {
            return false;
        }
        match verdict.state {
            State::Open if connected => {
                self.shared.reached(verdict, now);
                self.look(now);
                false
            }
            State::Open => self.shared.take_turn(now),
            // Another worker has reached the service: this one can, too, without a wait.
            State::HalfOpen | State::Closed => self.is_news.take() && !connected,
        }
    }

    /// May a call be made? A caller that may tells how it ended, or drops the permit.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn admit(&self, now: Moment, random: &mut Random) -> Result<BreakerPermit<'_>, Refused> {
        if self.gate.get() == Gate::All {
            return Ok(self.begin(now));
        }
        self.admit_closer(now, random)
    }

    #[cold]
    fn admit_closer(&self, now: Moment, random: &mut Random) -> Result<BreakerPermit<'_>, Refused> {
        if matches!(self.gate.get(), Gate::None(until) if until <= now) {
            self.shared.merge(now);
        }
        self.look(now);
        match self.gate.get() {
            Gate::All => Ok(self.begin(now)),
            Gate::Some(since) if random.between(0.0, 1.0) < self.share(now.since(since)) => {
                Ok(self.begin(now))
            }
            Gate::Some(_) => Err(Refused::Ramp),
            Gate::Probes if self.shared.take_probe(self.verdict.get().epoch) => Ok(self.permit(true)),
            Gate::Probes => Err(Refused::HalfOpen),
            Gate::None(_) => Err(Refused::Open),
        }
    }

    fn begin(&self, now: Moment) -> BreakerPermit<'_> {
        self.windows.borrow_mut().count(Counts { begun: 1, ..Counts::default() }, now);
        self.permit(false)
    }

    fn permit(&self, probe: bool) -> BreakerPermit<'_> {
        BreakerPermit {
            breaker: self,
            epoch: self.verdict.get().epoch,
            probe,
            is_told: false,
            answering: None,
        }
    }

    /// The share of calls let through so long after it closed: from a tenth to all.
    fn share(&self, elapsed: Duration) -> f64 {
        let done = elapsed.as_secs_f64() / self.shared.settings().ramp.as_secs_f64();
        RAMP_BEGINS + (1.0 - RAMP_BEGINS) * done
    }

    fn record(&self, epoch: u32, outcome: Outcome, now: Moment) {
        let verdict = self.verdict.get();
        // A call that began under another verdict says nothing about this one.
        if epoch != verdict.epoch || verdict.state != State::Closed {
            return;
        }
        if outcome == Outcome::Ignored {
            return self.windows.borrow_mut().forget();
        }
        let (failed, unreached) = (outcome.is_failure(), outcome == Outcome::Unreached);
        let one = Counts { calls: 1, failed: u64::from(failed), unreached: u64::from(unreached), begun: 0 };
        self.windows.borrow_mut().count(one, now);
        if failed {
            self.judge(verdict, now);
        }
    }

    #[cold]
    fn judge(&self, verdict: Verdict, now: Moment) {
        let all = self.windows.borrow_mut().tally(now).plus(self.others.get());
        if self.shared.is_reason(all) {
            self.shared.open(verdict, all, now);
            self.look(now);
        }
    }

    /// Publishes this worker's counts, and reads those of all. To be called on the worker's tick, each 100 ms.
    pub fn tick(&self, now: Moment) {
        self.settle_probes(now);
        let mine = self.windows.borrow_mut().tally(now);
        self.shared.publish(self.worker, self.verdict.get().epoch, mine);
        self.shared.merge(now);
        self.look(now);
        self.others.set(self.shared.counts_without(self.worker));
    }

    /// Counts responses that go on and on as good ones: a long stream would keep all others waiting.
    fn settle_probes(&self, now: Moment) {
        let mut answering = self.answering.borrow_mut();
        let before = answering.len();
        answering.retain(|(_, since)| now.since(*since) < STAYS_OPEN);
        for _ in answering.len()..before {
            self.shared.probe_succeeded(self.verdict.get().epoch, now);
        }
    }

    /// Reads the shared side.
    fn look(&self, now: Moment) {
        let verdict = self.shared.verdict();
        if verdict.epoch != self.verdict.replace(verdict).epoch {
            self.windows.borrow_mut().clear();
            self.others.set(Tally::default());
            self.answering.borrow_mut().clear();
            self.is_news.set(true);
        }
        let ramp = self.shared.settings().ramp;
        self.gate.set(match verdict.state {
            State::Open => Gate::None(verdict.at),
            State::HalfOpen => Gate::Probes,
            State::Closed if verdict.is_first() || now.since(verdict.at) >= ramp => Gate::All,
            State::Closed => Gate::Some(verdict.at),
        });
    }
}

impl Drop for LocalBreaker {
    /// A worker that is gone has counted nothing.
    fn drop(&mut self) {
        self.shared.publish(self.worker, self.verdict.get().epoch, Tally::default());
    }
}

/// The right to make one call. Dropped without an outcome it counts for nothing, and a probe is given back.
#[derive(Debug)]
pub struct BreakerPermit<'a> {
    breaker: &'a LocalBreaker,
    epoch: u32,
    probe: bool,
    is_told: bool,
    /// The number of a probe whose response has begun.
    answering: Option<NonZeroU32>,
}

impl BreakerPermit<'_> {
    /// Whether it is a probe of a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Notes the head of a response. The end of the response decides how a probe went. Only if that stays away for a
    /// second, as with streams, its head decides.
    pub fn answered(&mut self, now: Moment) {
        if self.probe && self.answering.is_none() && self.epoch == self.breaker.verdict.get().epoch {
            let number = self.breaker.numbered.get().checked_add(1).unwrap_or(NonZeroU32::MIN);
            self.breaker.numbered.set(number);
            self.breaker.answering.borrow_mut().push((number, now));
            self.answering = Some(number);
        }
    }

    /// Reports the outcome of the call.
    pub fn record(mut self, outcome: Outcome, now: Moment) {
        if !self.probe {
            self.is_told = true;
            return self.breaker.record(self.epoch, outcome, now);
        }
        if outcome == Outcome::Ignored {
            return;
        }
        let is_undecided = self.is_undecided();
        (self.probe, self.is_told) = (false, true);
        if !is_undecided {
            return;
        }
        let (shared, unreached) = (&self.breaker.shared, outcome == Outcome::Unreached);
        match outcome {
            Outcome::Success | Outcome::Ignored => shared.probe_succeeded(self.epoch, now),
            Outcome::Failure | Outcome::Unreached => shared.probe_failed(self.epoch, unreached, now),
        }
        self.breaker.look(now);
    }

    /// It has not counted yet, like a response that stays open.
    fn is_undecided(&mut self) -> bool {
        let Some(number) = self.answering.take() else { return self.probe };
        let mut answering = self.breaker.answering.borrow_mut();
        let before = answering.len();
        answering.retain(|(known, _)| *known != number);
        answering.len() < before
    }
}

impl Drop for BreakerPermit<'_> {
    fn drop(&mut self) {
        if self.probe && self.is_undecided() {
            self.breaker.shared.give_probe(self.epoch);
        } else if !self.probe && !self.is_told {
            // The moment matters only for an outcome that counts.
            self.breaker.record(self.epoch, Outcome::Ignored, Moment::ZERO);
        }
    }
}

const RAMP_BEGINS: f64 = 0.1;

/// A response that has not ended so long after its head counts as a stream.
const STAYS_OPEN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
