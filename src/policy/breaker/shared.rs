//! The part of a breaker that the workers share: each one's published counts, the verdict, and the probes.
//!
//! The verdict is one word: how many times it has changed, the state, why it opened, and a moment. Each change is a
//! compare-and-swap of the whole word. So only one worker makes it, and the others see it. Probes carry the number of
//! the change that let them out; older ones count for nothing.

use super::super::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::window::{Counts, Tally};
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
    /// A few are let through to test the service.
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
    /// Counts of this half-open time: its number, probes that are out or have succeeded, and those that have succeeded.
    probes: AtomicU64,
    /// The moments from which on a connection is reason to try again, and the next worker may connect out of turn;
    /// milliseconds.
    reach_at: AtomicU64,
    turn_at: AtomicU64,
    /// The last opening's [`Cause`]: calls, failures, and those without a connection; 21 bits each.
    cause: AtomicU64,
    opens: AtomicU64,
    reopens: AtomicU64,
    closes: AtomicU64,
    published: Box<[Published]>,
}

/// The counts of one worker. Each window has a word of calls and failures. Both share a word of failures without a
/// connection, and a word of calls that began. Each word has its verdict's number. One writer; a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Published([AtomicU64; 4]);

/// The counts that made a breaker open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Calls that ended in the window that was reason to open; two million stand for any larger count.
    pub calls: u64,
    /// Calls of these that failed.
    pub failed: u64,
    /// Failed calls that had no connection.
    pub unreached: u64,
}

/// The state with its moment, and a count of the states before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Counts the changes, modulo 2^20.
    pub(super) epoch: u32,
    pub(super) state: State,
    /// It opened last because the service could not be connected to.
    pub(super) gone: bool,
    /// The moment that an open breaker stays open until; otherwise, that of the change.
    pub(super) at: Moment,
}

impl Verdict {
    /// Never changed: closed, with nothing to recover from.
    pub(super) fn is_first(self) -> bool {
        self == Verdict::default()
    }

    /// Epoch, 20 bits; state, 2; gone, 1; milliseconds, 41, which are 69 years.
    fn pack(self) -> u64 {
        let state = match self.state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        let gone = u64::from(self.gone) << 41;
        u64::from(self.epoch) << 44 | state << 42 | gone | millis(self.at).min(MILLIS_MASK)
    }

    fn unpack(word: u64) -> Verdict {
        let state = match word >> 42 & 3 {
            0 => State::Closed,
            1 => State::Open,
            _ => State::HalfOpen,
        };
        let at = Moment::ZERO.plus(Duration::from_millis(word & MILLIS_MASK));
        Verdict { epoch: (word >> 44) as u32, state, gone: word >> 41 & 1 == 1, at }
    }

    fn next(self, state: State, at: Moment) -> Verdict {
        Verdict { epoch: (self.epoch + 1) & EPOCH_MASK, state, at, ..self }
    }
}

impl SharedBreaker {
    /// A closed breaker for this many workers.
    pub fn new(settings: config::Breaker, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            settings,
            verdict: AtomicU64::new(Verdict::default().pack()),
            probes: AtomicU64::new(0),
            reach_at: AtomicU64::new(0),
            turn_at: AtomicU64::new(0),
            cause: AtomicU64::new(0),
            opens: AtomicU64::new(0),
            reopens: AtomicU64::new(0),
            closes: AtomicU64::new(0),
            published: (0..workers).map(|_| Published::default()).collect(),
        })
    }

    /// The breaker's settings, as configured.
    pub fn settings(&self) -> &config::Breaker {
        &self.settings
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.verdict().state
    }

    /// How often it opened, from closed: as often as it closed, or once more.
    pub fn opens(&self) -> u64 {
        self.opens.load(Ordering::Relaxed)
    }

    /// How often a failed probe opened it again.
    pub fn reopens(&self) -> u64 {
        self.reopens.load(Ordering::Relaxed)
    }

    /// How often it closed.
    pub fn closes(&self) -> u64 {
        self.closes.load(Ordering::Relaxed)
    }

    /// The counts that last made it open from closed; a failed probe does not change them.
    pub fn cause(&self) -> Cause {
        let word = self.cause.load(Ordering::Relaxed);
        let field = |shift: u32| word >> shift & CAUSE_MASK;
        Cause { calls: field(42), failed: field(21), unreached: field(0) }
    }

    /// Makes a change that is due: opens if all workers together have reason to, lets probes out when the timeout is
    /// over. Any thread may call it, each 100 ms.
    pub fn merge(&self, now: Moment) {
        let verdict = self.verdict();
        match verdict.state {
            State::Closed => {
                let tally = self.counts_without(usize::MAX);
                if self.is_reason(tally) {
                    self.open(verdict, tally, now);
                }
            }
            State::Open if verdict.at <= now => self.half_open(verdict, now, 0),
            State::HalfOpen if now.since(verdict.at) >= PASSES_ON => self.pass_on(verdict, now),
            State::Open | State::HalfOpen => {}
        }
    }

    /// Ends a long half-open state. Without calls, or with good ones only, the breaker closes. Where probes are still
    /// out, such as uploads of hours, others may go in their place: no caller can keep it half-open.
    fn pass_on(&self, verdict: Verdict, now: Moment) {
        let probes = Probes::unpack(self.probes.load(Ordering::Acquire));
        let taken = if probes.epoch == verdict.epoch { probes.taken } else { 0 };
        if taken == 0 || probes.succeeded > 0 {
            self.close(verdict, now);
        } else {
            self.half_open(verdict, now, 0);
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.published.len()
    }

    pub(super) fn verdict(&self) -> Verdict {
        Verdict::unpack(self.verdict.load(Ordering::Acquire))
    }

    /// Whether these counts are reason to open.
    pub(super) fn is_reason(&self, tally: Tally) -> bool {
        let ratio = self.settings.failure_ratio;
        self.is_too_much(tally.long, ratio) || self.is_too_much(tally.short, short_ratio(ratio))
    }

    /// Failures are a share of the calls that began, too. Failures often end sooner than other calls. Of many calls
    /// that begin at once they would be the first to count.
    fn is_too_much(&self, counts: Counts, ratio: f64) -> bool {
        let all = counts.calls.max(u64::try_from(counts.begun).unwrap_or(0));
        counts.failed > 0
            && counts.calls >= u64::from(self.settings.min_requests)
            && counts.failed as f64 >= ratio * all as f64
    }

    /// Publishes the counts of worker number `worker`.
    pub(super) fn publish(&self, worker: usize, epoch: u32, tally: Tally) {
        let (long, short) = (halved(tally.long), halved(tally.short));
        let begun = |counts: Counts| u64::try_from(counts.begun).unwrap_or(0).min(COUNT_MASK);
        let pairs = [
            (long.calls, long.failed),
            (short.calls, short.failed),
            (long.unreached, short.unreached),
            (begun(long), begun(short)),
        ];
        for (word, (left, right)) in self.published[worker].0.iter().zip(pairs) {
            word.store(u64::from(epoch) << 44 | left << 22 | right, Ordering::Release);
        }
    }

    /// The sum of all workers' counts but this one's.
    pub(super) fn counts_without(&self, worker: usize) -> Tally {
        let epoch = self.verdict().epoch;
        let others = self.published.iter().enumerate().filter(|(at, _)| *at != worker);
        others.fold(Tally::default(), |sum, (_, published)| {
            let [long, short, unreached, begun] = published.0.each_ref().map(|word| {
                let word = word.load(Ordering::Acquire);
                let counts = (word >> 22 & COUNT_MASK, word & COUNT_MASK);
                if word >> 44 == u64::from(epoch) { counts } else { (0, 0) }
            });
            let counts = |(calls, failed), unreached, begun: u64| {
                // 22 bits.
                Counts { calls, failed, unreached, begun: begun as i64 }
            };
            let long = counts(long, unreached.0, begun.0);
            sum.plus(Tally { long, short: counts(short, unreached.1, begun.1) })
        })
    }

    /// From closed to open.
    pub(super) fn open(&self, closed: Verdict, tally: Tally, now: Moment) {
        let ratio = self.settings.failure_ratio;
        let is_sudden = self.is_too_much(tally.short, short_ratio(ratio));
        let counts = if is_sudden { tally.short } else { tally.long };
        // The present failures count, if there are any.
        let latest = if tally.short.failed > 0 { tally.short } else { tally.long };
        let gone = latest.unreached * 2 >= latest.failed;
        self.reach_at.store(millis(now), Ordering::Relaxed);
        if self.change(closed, Verdict { gone, ..self.opened(closed, now) }) {
            let field = |count: u64| count.min(CAUSE_MASK);
            let cause = field(counts.calls) << 42 | field(counts.failed) << 21 | field(counts.unreached);
            self.cause.store(cause, Ordering::Relaxed);
            self.opens.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn opened(&self, verdict: Verdict, now: Moment) -> Verdict {
        // A millisecond more, for the moment is rounded down.
        let until = now.plus(self.settings.timeout).plus(Duration::from_micros(999));
        verdict.next(State::Open, until)
    }

    /// Lets probes out at once: there is a connection again, where there was none.
    pub(super) fn reached(&self, open: Verdict, now: Moment) {
        if self.reach_at.load(Ordering::Relaxed) <= millis(now) {
            self.half_open(open, now, 0);
        }
    }

    /// Whether this worker may connect now, whatever its backoff says. In each quarter of a second, one worker may.
    pub(super) fn take_turn(&self, now: Moment) -> bool {
        let (now, next) = (millis(now), millis(now.plus(TURN)));
        let turn = |at| (at <= now).then_some(next);
        self.turn_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, turn).is_ok()
    }

    fn half_open(&self, verdict: Verdict, now: Moment, succeeded: u32) {
        let next = verdict.next(State::HalfOpen, now);
        if self.change(verdict, next) {
            // Until this is stored no call gets a probe, for the number there is another.
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

    /// Gives a probe back that had no outcome: another may go.
    pub(super) fn give_probe(&self, epoch: u32) {
        self.probes(epoch, |probes| (probes.taken > probes.succeeded).then(|| probes.taken -= 1));
    }

    pub(super) fn probe_succeeded(&self, epoch: u32, now: Moment) {
        let probes =
            self.probes(epoch, |probes| (probes.succeeded < probes.taken).then(|| probes.succeeded += 1));
        let verdict = self.verdict();
        let all = |probes: Probes| probes.succeeded >= self.settings.max_requests.min(PROBES_MASK);
        if probes.is_some_and(all) && (verdict.epoch, verdict.state) == (epoch, State::HalfOpen) {
            self.close(verdict, now);
        }
    }

    fn close(&self, half_open: Verdict, now: Moment) {
        if self.change(half_open, half_open.next(State::Closed, now)) {
            self.closes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a failed probe. `unreached`: it had no connection. A probe that got a bad response holds back the
    /// next ones for a moment, however good their connections are.
    pub(super) fn probe_failed(&self, epoch: u32, unreached: bool, now: Moment) {
        let verdict = self.verdict();
        if (verdict.epoch, verdict.state) != (epoch, State::HalfOpen) {
            return;
        }
        let pause = if unreached { Duration::ZERO } else { REACH_PAUSE };
        self.reach_at.store(millis(now.plus(pause)), Ordering::Relaxed);
        let opened = self.opened(verdict, now);
        if self.change(verdict, Verdict { gone: verdict.gone || unreached, ..opened }) {
            self.reopens.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes the probes of one half-open time, if it still lasts and `change` agrees; gives their new state.
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

/// The share of the short window at which it opens, half-way between that of the long one and all: few calls are seldom
/// all bad by chance.
fn short_ratio(ratio: f64) -> f64 {
    (1.0 + ratio) / 2.0
}

/// Halves the counts where they are too large for the word: only the share matters.
fn halved(mut counts: Counts) -> Counts {
    while counts.calls > COUNT_MASK {
        let Counts { calls, failed, unreached, begun } = counts;
        counts = Counts { calls: calls / 2, failed: failed / 2, unreached: unreached / 2, begun: begun / 2 };
    }
    counts
}

/// The longest half-open time without a change.
const PASSES_ON: Duration = Duration::from_secs(10);

/// The pause after a probe that got a bad response, on a connection that had come back.
const REACH_PAUSE: Duration = Duration::from_secs(1);

/// The time between two workers that connect out of turn.
const TURN: Duration = Duration::from_millis(250);

const EPOCH_MASK: u32 = (1 << 20) - 1;
const PROBES_MASK: u32 = (1 << 22) - 1;
const COUNT_MASK: u64 = (1 << 22) - 1;
const CAUSE_MASK: u64 = (1 << 21) - 1;
const MILLIS_MASK: u64 = (1 << 41) - 1;
