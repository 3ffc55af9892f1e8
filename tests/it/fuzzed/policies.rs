//! Operations on breaker, retries and budget, in an order that the input chooses.

use ringway::config::{Breaker, Codes, Retry, RetryBudget};
use ringway::policy::breaker::{BreakerPermit, LocalBreaker, SharedBreaker, State};
use ringway::policy::budget::{Budget, SharedBudget};
use ringway::policy::outcome::Outcome;
use ringway::policy::retry::{Attempt, AttemptOutcome, Next, Pushback, Retries};
use ringway::policy::status::Code;
use ringway::random::Random;
use ringway::time::Moment;
use std::sync::Arc;
use std::time::Duration;

const WORKERS: usize = 3;

/// The longest half-open time without a change.
const PASSES_ON: Duration = Duration::from_secs(10);

/// The input, a byte at a time; zeros after its end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.next() % end
    }
}

/// A breaker's settings, by the first six bytes.
fn breaker_settings(choices: &mut Choices<'_>) -> Breaker {
    Breaker {
        max_requests: 1 + u32::from(choices.below(4)),
        min_requests: 1 + u32::from(choices.below(8)),
        failure_ratio: 0.1 + f64::from(choices.below(9)) / 10.0,
        interval: Duration::from_secs(1 + u64::from(choices.below(30))),
        timeout: Duration::from_millis(100 * (1 + u64::from(choices.below(50)))),
        ramp: Duration::from_millis(100 * u64::from(choices.below(20))),
        ..Breaker::default()
    }
}

/// Calls of several workers through one breaker: as often opened as closed, unless it is not closed now; nothing passes
/// while it is open; and no more probes are out than there may be.
pub(crate) fn breaker(input: &[u8]) {
    let mut choices = Choices(input);
    let settings = breaker_settings(&mut choices);
    let max_probes = settings.max_requests;
    let shared = SharedBreaker::new(settings, WORKERS);
    let workers: Vec<LocalBreaker> =
        (0..WORKERS).map(|number| LocalBreaker::new(Arc::clone(&shared), number)).collect();
    let (mut random, mut now) = (Random::seeded(1), Moment::ZERO);
    // Each with the half-open time that it may be a probe of.
    let mut permits: Vec<(u64, BreakerPermit<'_>)> = Vec::new();
    let (mut time, mut half_open_since) = (0, None);
    while !choices.0.is_empty() {
        let (choice, which) = (choices.next(), usize::from(choices.next()));
        let worker = &workers[which % WORKERS];
        if matches!(choice % 8, 0..3 | 6) {
            worker.tick(now);
            // A long half-open time may have passed its probes on to others.
            if half_open_since.is_some_and(|at: Moment| now.since(at) >= PASSES_ON) {
                (time, half_open_since) = (time + 1, None);
            }
        }
        match choice % 8 {
            0..3 => {
                let is_shut = shared.state() == State::Open && !worker.rest(now).is_zero();
                match worker.admit(now, &mut random) {
                    Ok(permit) => {
                        assert!(!is_shut, "it is open for another {:?}", worker.rest(now));
                        let half_open = time + shared.opens() + shared.reopens() + shared.closes();
                        permits.push((half_open, permit));
                        let probes = permits.iter().filter(|(at, it)| *at == half_open && it.is_probe());
                        assert!(probes.count() <= max_probes as usize, "too many probes");
                    }
                    Err(_) => assert!(!worker.is_closed(), "a closed breaker refuses"),
                }
            }
            3 | 4 if !permits.is_empty() => {
                let (_, permit) = permits.swap_remove(which % permits.len());
                let outcomes = [Outcome::Success, Outcome::Failure, Outcome::Unreached, Outcome::Ignored];
                permit.record(outcomes[usize::from(choice >> 3) % 4], now);
            }
            5 if !permits.is_empty() => {
                let at = which % permits.len();
                match choice & 8 {
                    0 => drop(permits.swap_remove(at)),
                    _ => permits[at].1.answered(now),
                }
            }
            6 => {
                worker.reach(choice & 8 == 0, now);
            }
            _ => now = now.plus(Duration::from_millis(10 * which as u64)),
        }
        let not_closed = u64::from(shared.state() != State::Closed);
        assert_eq!(shared.opens(), shared.closes() + not_closed, "{:?}", shared.state());
        half_open_since = (shared.state() == State::HalfOpen).then(|| half_open_since.unwrap_or(now));
    }
    // Given up, they count for nothing. What was reason to open may open it once more; after that somebody may try again.
    drop(permits);
    for _ in 0..2 {
        now = now.plus(Duration::from_secs(60));
        shared.merge(now);
        workers.iter().for_each(|worker| worker.tick(now));
    }
    let tries = workers.iter().filter(|worker| worker.admit(now, &mut random).is_ok()).count();
    assert!(tries > 0 || shared.state() == State::Closed, "{:?}: nobody may try", shared.state());
}

fn outcome(choices: &mut Choices<'_>) -> AttemptOutcome {
    match choices.below(9) {
        0 => AttemptOutcome::NoConnection,
        1 => AttemptOutcome::Held,
        2 => AttemptOutcome::NeverOpened,
        3 => AttemptOutcome::NotWritten,
        4 => AttemptOutcome::Refused,
        5 => AttemptOutcome::AboveGoaway,
        6 => AttemptOutcome::Lost,
        7 => AttemptOutcome::Answered,
        _ => AttemptOutcome::Status(Code::from_number(u32::from(choices.below(17))).unwrap_or(Code::Unknown)),
    }
}

/// Calls of several workers with retries: none is sent again that must not be, each ends, and no more retries are paid
/// for than the budget has.
pub(crate) fn retries(input: &[u8]) {
    let mut choices = Choices(input);
    let codes = [1, 4, 8, 10, 14].into_iter().fold(Codes::NONE, Codes::with);
    let policy = Retry {
        max_attempts: 1 + u32::from(choices.below(6)),
        retryable_status_codes: codes,
        ..Retry::default()
    };
    let settings =
        RetryBudget { percent: u32::from(choices.below(101)), min_retries: u32::from(choices.below(5)) };
    let (percent, min) = (u64::from(settings.percent), u64::from(settings.min_retries));
    let shared = SharedBudget::new(settings);
    let budgets: Vec<Budget> = (0..WORKERS).map(|_| Budget::new(&shared, None)).collect();
    let (mut random, mut now) = (Random::seeded(1), Moment::ZERO);
    let (mut calls, mut retries) = (0_u64, 0_u64);
    while !choices.0.is_empty() {
        let budget = &budgets[usize::from(choices.below(WORKERS as u8))];
        now = now.plus(Duration::from_millis(10 * u64::from(choices.next())));
        budget.earn(now);
        calls += 1;
        let left = Some(Duration::from_millis(10 * u64::from(choices.next()))).filter(|left| !left.is_zero());
        let (mut call, mut counted, mut steps, mut replays) = (Retries::default(), 0, 0, 0);
        loop {
            let idempotent = choices.0.len().is_multiple_of(2);
            let pushback = [Pushback::None, Pushback::Never, Pushback::After(Duration::from_millis(5))]
                [usize::from(choices.below(3))];
            let attempt =
                Attempt { outcome: outcome(&mut choices), pushback, idempotent, kept: choices.below(8) > 0 };
            let next = call.next(attempt, &policy, budget, left, &mut random, now);
            let Next::Again { wait, counted: counts } = next else { break };
            assert!(left.is_none_or(|left| wait < left), "it waits beyond its deadline");
            assert!(attempt.kept && attempt.outcome != AttemptOutcome::Answered, "{attempt:?}");
            assert!(idempotent || attempt.outcome != AttemptOutcome::Lost, "{attempt:?}");
            counted += u32::from(counts);
            retries += u64::from(counts);
            let is_seen = matches!(attempt.outcome, AttemptOutcome::Refused | AttemptOutcome::AboveGoaway);
            replays += u32::from(is_seen && !counts);
            steps += 1;
            assert!(counted < policy.max_attempts && replays <= 1 && call.previous() == counted);
            // A call with a deadline may wait for a connection as often as its time allows.
            if left.is_none() {
                assert!(steps < 64, "it never ends");
            } else if choices.0.is_empty() {
                break;
            }
        }
        assert!(retries * 100 <= calls * percent + min * 100, "{retries} of {calls} calls");
    }
}
