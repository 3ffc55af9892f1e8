//! May a service be called at all? Closed, open, half-open, and a slow return.
//!
//! Closed, it counts the calls of the last `interval`, and opens when at least `min_requests` of them have ended and the
//! share `failure_ratio` has failed. Open, it refuses for `timeout`. Half-open, it lets `max_requests` probes through,
//! in all and over all workers: one that fails opens it again, and when all have succeeded it closes. Then the share of
//! calls that it lets through grows over `ramp`, so that a service that has just come back is not run over.
//!
//! A [`LocalBreaker`] belongs to one worker. While it is closed, asking reads one cell and telling counts into the
//! worker's own window. What the workers share is in `shared.rs`, and is read at each worker's tick; a worker whose own
//! calls, with what the others have counted up to the last tick, are reason enough opens it at once.

mod shared;
mod window;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use self::shared::Verdict;
pub use self::shared::{SharedBreaker, State};
use self::window::{Counts, Window};
use super::outcome::Outcome;
use crate::random::Random;
use crate::time::Moment;

/// One worker's side of a breaker.
#[derive(Debug)]
pub struct LocalBreaker {
    shared: Arc<SharedBreaker>,
    worker: usize,
    /// What is asked for each call.
    gate: Cell<Gate>,
    /// What was last read of the shared side.
    verdict: Cell<Verdict>,
    window: RefCell<Window>,
    /// What the other workers had counted at the last tick.
    others: Cell<Counts>,
}

/// Who gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    All,
    /// More and more, since the moment given.
    Some(Moment),
    Probes,
    /// From the moment given on it may be half-open.
    None(Moment),
}

/// Why a call is refused.
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
            window: RefCell::new(Window::new(shared.settings().interval)),
            others: Cell::new(Counts::default()),
            shared,
        };
        breaker.look(Moment::ZERO);
        breaker
    }

    /// The side that all workers share.
    pub fn shared(&self) -> &Arc<SharedBreaker> {
        &self.shared
    }

    /// How long it stays open still; zero if it is not.
    pub fn rest(&self, now: Moment) -> Duration {
        match self.gate.get() {
            Gate::None(until) => until.since(now),
            Gate::All | Gate::Some(_) | Gate::Probes => Duration::ZERO,
        }
    }

    /// May a call be made? Whoever may tells how it ended, or drops the pass.
    ///
    /// # Errors
    /// Why not.
    pub fn ask(&self, now: Moment, random: &mut Random) -> Result<Pass<'_>, Refused> {
        if self.gate.get() == Gate::All {
            return Ok(self.pass(false));
        }
        self.ask_closer(now, random)
    }

    #[cold]
    fn ask_closer(&self, now: Moment, random: &mut Random) -> Result<Pass<'_>, Refused> {
        if matches!(self.gate.get(), Gate::None(until) if until <= now) {
            self.shared.merge(now);
        }
        self.look(now);
        match self.gate.get() {
            Gate::All => Ok(self.pass(false)),
            Gate::Some(since) if random.between(0.0, 1.0) < self.share(now.since(since)) => {
                Ok(self.pass(false))
            }
            Gate::Some(_) => Err(Refused::Ramp),
            Gate::Probes if self.shared.take_probe(self.verdict.get().epoch) => Ok(self.pass(true)),
            Gate::Probes => Err(Refused::HalfOpen),
            Gate::None(_) => Err(Refused::Open),
        }
    }

    fn pass(&self, probe: bool) -> Pass<'_> {
        Pass { breaker: self, epoch: self.verdict.get().epoch, probe }
    }

    /// The share of calls let through so long after it closed: from a tenth to all.
    fn share(&self, elapsed: Duration) -> f64 {
        let done = elapsed.as_secs_f64() / self.shared.settings().ramp.as_secs_f64();
        RAMP_BEGINS + (1.0 - RAMP_BEGINS) * done
    }

    fn tell(&self, epoch: u32, outcome: Outcome, now: Moment) {
        let verdict = self.verdict.get();
        // What began in another state says nothing about this one.
        if outcome == Outcome::Silent || epoch != verdict.epoch || verdict.state != State::Closed {
            return;
        }
        let mine = self.window.borrow_mut().count(outcome == Outcome::Ill, now);
        if outcome == Outcome::Ill && self.shared.is_reason(mine.plus(self.others.get())) {
            self.shared.open(verdict, now);
            self.look(now);
        }
    }

    /// To be called on the worker's tick, each 100 ms: says what this worker has counted, and reads what all have.
    pub fn tick(&self, now: Moment) {
        let mine = self.window.borrow_mut().counts(now);
        self.shared.publish(self.worker, self.verdict.get().epoch, mine);
        self.shared.merge(now);
        self.look(now);
        self.others.set(self.shared.counts_without(self.worker));
    }

    /// Reads the shared side.
    fn look(&self, now: Moment) {
        let verdict = self.shared.verdict();
        if verdict.epoch != self.verdict.replace(verdict).epoch {
            self.window.borrow_mut().clear();
            self.others.set(Counts::default());
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
        self.shared.publish(self.worker, self.verdict.get().epoch, Counts::default());
    }
}

/// The right to make one call. Dropped without a word, it says nothing, and a probe is given back.
#[derive(Debug)]
pub struct Pass<'a> {
    breaker: &'a LocalBreaker,
    epoch: u32,
    probe: bool,
}

impl Pass<'_> {
    /// Is it one of the probes of a half-open breaker?
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Says how the call ended.
    pub fn tell(mut self, outcome: Outcome, now: Moment) {
        if !self.probe {
            self.breaker.tell(self.epoch, outcome, now);
            return;
        }
        match outcome {
            Outcome::Silent => return,
            Outcome::Well => self.breaker.shared.probe_succeeded(self.epoch, now),
            Outcome::Ill => self.breaker.shared.probe_failed(self.epoch, now),
        }
        self.probe = false;
        self.breaker.look(now);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.shared.give_probe(self.epoch);
        }
    }
}

const RAMP_BEGINS: f64 = 0.1;

#[cfg(test)]
mod tests;
