//! What the workers share of a breaker: what each has counted, the verdict, and the probes.
//!
//! The verdict is one word: how many times it has changed, the state, and a moment. Whoever changes it does so by
//! compare-and-swap of the whole word, so each change is made once, whoever comes first. Probes carry the number of the
//! change that let them out; those of an earlier time are nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::window::Counts;
use crate::config;
use crate::time::Moment;

/// A breaker's state, in gobreaker's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Calls are let through and counted.
    #[default]
    Closed,
    /// All are refused.
    Open,
    /// A few are let through to see how the service is.
    HalfOpen,
}

impl State {
    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half_open",
        }
    }
}

/// The side of a breaker that all workers share.
#[derive(Debug)]
#[repr(align(128))]
pub struct SharedBreaker {
    settings: config::Breaker,
    verdict: AtomicU64,
    /// Of this time half-open: its number, probes that are out or have succeeded, and those that have succeeded.
    probes: AtomicU64,
    opens: AtomicU64,
    reopens: AtomicU64,
    closes: AtomicU64,
    published: Box<[Published]>,
}

/// What one worker has counted: its verdict's number, calls, failures. One writer; a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Published(AtomicU64);

/// The state, since or until when, and how many there were before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Counts the changes, modulo 2^20.
    pub(super) epoch: u32,
    pub(super) state: State,
    /// Open: until. Else: since.
    pub(super) at: Moment,
}

impl Verdict {
    /// Never changed: closed, with nothing to recover from.
    pub(super) fn is_first(self) -> bool {
        self == Verdict::default()
    }

    /// Epoch, 20 bits; state, 2; milliseconds, 42, which are 139 years.
    fn pack(self) -> u64 {
        let state = match self.state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        u64::from(self.epoch) << 44 | state << 42 | millis(self.at).min(MILLIS_MASK)
    }

    fn unpack(word: u64) -> Verdict {
        let state = match word >> 42 & 3 {
            0 => State::Closed,
            1 => State::Open,
            _ => State::HalfOpen,
        };
        let at = Moment::ZERO.plus(Duration::from_millis(word & MILLIS_MASK));
        Verdict { epoch: (word >> 44) as u32, state, at }
    }

    fn next(self, state: State, at: Moment) -> Verdict {
        Verdict { epoch: (self.epoch + 1) & EPOCH_MASK, state, at }
    }
}

impl SharedBreaker {
    /// A closed breaker for this many workers.
    pub fn new(settings: config::Breaker, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            settings,
            verdict: AtomicU64::new(Verdict::default().pack()),
            probes: AtomicU64::new(0),
            opens: AtomicU64::new(0),
            reopens: AtomicU64::new(0),
            closes: AtomicU64::new(0),
            published: (0..workers).map(|_| Published::default()).collect(),
        })
    }

    /// What the operator set.
    pub fn settings(&self) -> &config::Breaker {
        &self.settings
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.verdict().state
    }

    /// How often it opened, from closed. Never less than it closed, and never more than once more.
    pub fn opens(&self) -> u64 {
        self.opens.load(Ordering::Relaxed)
    }

    /// How often a failed probe opened it again.
    pub fn reopens(&self) -> u64 {
        self.reopens.load(Ordering::Relaxed)
    }

    /// How often its probes closed it.
    pub fn closes(&self) -> u64 {
        self.closes.load(Ordering::Relaxed)
    }

    /// Does what is due: opens if all workers together have reason to, lets probes out when the rest is over. To be
    /// called each 100 ms, by any thread and by as many as like to.
    pub fn merge(&self, now: Moment) {
        let verdict = self.verdict();
        match verdict.state {
            State::Closed if self.is_reason(self.counts_without(usize::MAX)) => self.open(verdict, now),
            State::Open if verdict.at <= now => self.half_open(verdict, now, 0),
            // Some probes go on for longer than any answer takes, such as a call that uploads for hours: others may go
            // in their place, so that nobody can keep the breaker half-open.
            State::HalfOpen if now.since(verdict.at) >= self.settings.timeout.max(LOST) => {
                let succeeded = Probes::unpack(self.probes.load(Ordering::Acquire)).succeeded;
                self.half_open(verdict, now, succeeded);
            }
            State::Closed | State::Open | State::HalfOpen => {}
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.published.len()
    }

    pub(super) fn verdict(&self) -> Verdict {
        Verdict::unpack(self.verdict.load(Ordering::Acquire))
    }

    /// Are these counts reason to open?
    pub(super) fn is_reason(&self, counts: Counts) -> bool {
        let wanted = self.settings.failure_ratio * counts.calls as f64;
        counts.failed > 0
            && counts.calls >= u64::from(self.settings.min_requests)
            && counts.failed as f64 >= wanted
    }

    /// What worker number `worker` has counted.
    pub(super) fn publish(&self, worker: usize, epoch: u32, mut counts: Counts) {
        // The share is what matters: where there are too many for the word, halves have the same.
        while counts.calls > COUNT_MASK {
            counts = Counts { calls: counts.calls / 2, failed: counts.failed / 2 };
        }
        let word = u64::from(epoch) << 44 | counts.calls << 22 | counts.failed;
        self.published[worker].0.store(word, Ordering::Release);
    }

    /// What all workers have counted but this one.
    pub(super) fn counts_without(&self, worker: usize) -> Counts {
        let epoch = self.verdict().epoch;
        let words = self.published.iter().enumerate().filter(|(at, _)| *at != worker);
        let words = words.map(|(_, published)| published.0.load(Ordering::Acquire));
        let now = words.filter(|word| word >> 44 == u64::from(epoch));
        now.fold(Counts::default(), |sum, word| {
            sum.plus(Counts { calls: word >> 22 & COUNT_MASK, failed: word & COUNT_MASK })
        })
    }

    /// From closed to open.
    pub(super) fn open(&self, closed: Verdict, now: Moment) {
        if self.change(closed, self.opened(closed, now)) {
            self.opens.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn opened(&self, verdict: Verdict, now: Moment) -> Verdict {
        // A millisecond more, for the moment is rounded down.
        let until = now.plus(self.settings.timeout).plus(Duration::from_micros(999));
        verdict.next(State::Open, until)
    }

    fn half_open(&self, verdict: Verdict, now: Moment, succeeded: u32) {
        let next = verdict.next(State::HalfOpen, now);
        if self.change(verdict, next) {
            // Until this is stored nobody gets a probe, for the number there is another.
            let probes = Probes { epoch: next.epoch, taken: succeeded, succeeded };
            self.probes.store(probes.pack(), Ordering::Release);
        }
    }

    fn change(&self, from: Verdict, to: Verdict) -> bool {
        let (from, to) = (from.pack(), to.pack());
        self.verdict.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes a probe, if one is left.
    pub(super) fn take_probe(&self, epoch: u32) -> bool {
        let max = self.settings.max_requests.min(PROBES_MASK);
        self.probes(epoch, |probes| (probes.taken < max).then(|| probes.taken += 1)).is_some()
    }

    /// A probe says nothing: another may go.
    pub(super) fn give_probe(&self, epoch: u32) {
        self.probes(epoch, |probes| (probes.taken > probes.succeeded).then(|| probes.taken -= 1));
    }

    pub(super) fn probe_succeeded(&self, epoch: u32, now: Moment) {
        let probes =
            self.probes(epoch, |probes| (probes.succeeded < probes.taken).then(|| probes.succeeded += 1));
        let verdict = self.verdict();
        let all = |probes: Probes| probes.succeeded >= self.settings.max_requests.min(PROBES_MASK);
        if probes.is_some_and(all)
            && (verdict.epoch, verdict.state) == (epoch, State::HalfOpen)
            && self.change(verdict, verdict.next(State::Closed, now))
        {
            self.closes.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn probe_failed(&self, epoch: u32, now: Moment) {
        let verdict = self.verdict();
        if (verdict.epoch, verdict.state) == (epoch, State::HalfOpen)
            && self.change(verdict, self.opened(verdict, now))
        {
            self.reopens.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes the probes of one time, if it is still that time and `change` agrees; says what they are then.
    fn probes(&self, epoch: u32, change: impl Fn(&mut Probes) -> Option<()>) -> Option<Probes> {
        let changed = |word| {
            let mut probes = Probes::unpack(word);
            (probes.epoch == epoch).then(|| change(&mut probes)).flatten().map(|()| probes)
        };
        let set = |word| changed(word).map(Probes::pack);
        let before = self.probes.fetch_update(Ordering::AcqRel, Ordering::Acquire, set).ok()?;
        changed(before)
    }
}

#[derive(Clone, Copy, Debug)]
struct Probes {
    epoch: u32,
    taken: u32,
    succeeded: u32,
}

impl Probes {
    fn pack(self) -> u64 {
        u64::from(self.epoch) << 44 | u64::from(self.taken) << 22 | u64::from(self.succeeded)
    }

    fn unpack(word: u64) -> Probes {
        let field = |shift: u32| (word >> shift) as u32 & PROBES_MASK;
        Probes { epoch: (word >> 44) as u32, taken: field(22), succeeded: field(0) }
    }
}

fn millis(moment: Moment) -> u64 {
    moment.as_nanos() / 1_000_000
}

/// A probe is not waited for any longer. Calls on which nothing moves are ended sooner.
const LOST: Duration = Duration::from_secs(600);

const EPOCH_MASK: u32 = (1 << 20) - 1;
const PROBES_MASK: u32 = (1 << 22) - 1;
const COUNT_MASK: u64 = (1 << 22) - 1;
const MILLIS_MASK: u64 = (1 << 42) - 1;
