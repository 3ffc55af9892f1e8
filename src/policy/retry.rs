//! The next step of a call whose attempt failed: one table, and one call's way through it.
//!
//! The table is [`rule`]. A call that no application has seen may be sent again, for nothing. A call that one may have
//! seen needs an idempotent method, or the service's word. A call whose response has begun is never repeated.
//! Sources: gRFC A6; RFC 9110 section 9.2.2, by which a proxy must not repeat what is not idempotent.
//! Read [`budget`](super::budget) next: it pays for the attempts that count.

use std::time::Duration;

use super::backoff::JITTER;
use super::budget::Budget;
use super::status::Code;
use crate::config::{self, Codes};
use crate::random::Random;
use crate::time::Moment;

/// The end of an attempt, which tells whether a service may have seen the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// No connect succeeded, to none of the endpoints.
    NoConnection,
    /// A breaker lets few calls through for a moment.
    Held,
    /// The call waited for a connection, which ended before the call had a stream.
    NeverOpened,
    /// The call had a stream, of which no byte was written.
    NotWritten,
    /// RST_STREAM with REFUSED_STREAM: the service has not looked at it (RFC 9113 section 8.7).
    Refused,
    /// GOAWAY, and the stream is above the last one it covers.
    AboveGoaway,
    /// The request was sent, and then the stream was reset for another reason or the connection ended, before any
    /// response. The service may have seen it.
    Lost,
    /// The head of a response came, and more was to follow.
    Answered,
    /// A response of trailers only: the code of the service.
    Status(Code),
    /// The gateway ended it: no time left, the client gone, a limit reached, or the end of the process.
    Ours,
}

/// The service's word on another attempt: `grpc-retry-pushback-ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pushback {
    /// Nothing.
    #[default]
    None,
    /// Again after this time.
    After(Duration),
    /// Not again.
    Never,
}

impl Pushback {
    /// Reads the value of the header. A value that is no time in milliseconds means "not again" (A6).
    pub fn from_header(value: &[u8]) -> Pushback {
        let text = str::from_utf8(value).unwrap_or_default();
        match text.parse::<i32>().map(u64::try_from) {
            Ok(Ok(millis)) if text.as_bytes()[0].is_ascii_digit() => {
                Pushback::After(Duration::from_millis(millis))
            }
            _ => Pushback::Never,
        }
    }
}

/// An attempt that ended, and facts about its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its end.
    pub outcome: AttemptOutcome,
    /// The service's word on another attempt.
    pub pushback: Pushback,
    /// The method is declared idempotent: a second execution does no harm.
    pub idempotent: bool,
    /// All sent parts of the request are still kept.
    pub kept: bool,
}

/// The table's ruling on one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The call ends with this attempt.
    Never(Why),
    /// Again, on another endpoint. Nothing was sent, so it counts neither as an attempt nor in the budget.
    Unsent,
    /// As `Unsent`, as long as there is time.
    StillQueued,
    /// Asks again in a moment.
    Held,
    /// Again at once, once only: the call was sent, but not seen.
    Replay,
    /// Again, if attempts and budget are left.
    Retry,
}

/// The reason why a call is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The gateway ended it.
    Ours,
    /// Its response has begun.
    Answered,
    /// A service may have seen it, and its method is not idempotent.
    NotIdempotent,
    /// The policy does not list the code.
    NotRetryable,
    /// The service forbids it.
    Pushback,
    /// More was sent than is kept.
    NotKept,
    /// `max_attempts` are made.
    Attempts,
    /// No endpoint can take it.
    NoConnection,
    /// Its time ends before the wait does.
    Time,
    /// The budget or the throttle does not pay for it.
    Budget,
}

/// The decision table. `replayed`: the call has had its one replay. `codes`: those that the policy lists.
pub fn rule(attempt: Attempt, replayed: bool, codes: Codes) -> Ruling {
    let ruling = match attempt.outcome {
        // All endpoints are in backoff: a wait for them would only fill queues with calls that fail later.
        AttemptOutcome::NoConnection => Ruling::Never(Why::NoConnection),
        AttemptOutcome::Held => Ruling::Held,
        AttemptOutcome::NotWritten => Ruling::Unsent,
        AttemptOutcome::NeverOpened => Ruling::StillQueued,
        AttemptOutcome::Refused | AttemptOutcome::AboveGoaway if !replayed => Ruling::Replay,
        // Unseen once more: this counts as if the service had responded with UNAVAILABLE.
        AttemptOutcome::Refused | AttemptOutcome::AboveGoaway => {
            by_code(Code::Unavailable, attempt.pushback, codes)
        }
        AttemptOutcome::Lost if attempt.idempotent => Ruling::Retry,
        AttemptOutcome::Lost => Ruling::Never(Why::NotIdempotent),
        AttemptOutcome::Answered => Ruling::Never(Why::Answered),
        AttemptOutcome::Status(code) => by_code(code, attempt.pushback, codes),
        AttemptOutcome::Ours => Ruling::Never(Why::Ours),
    };
    match ruling {
        Ruling::Never(_) => ruling,
        _ if attempt.kept => ruling,
        _ => Ruling::Never(Why::NotKept),
    }
}

fn by_code(code: Code, pushback: Pushback, codes: Codes) -> Ruling {
    // A service that is out of a resource, and says when to come back, asks for it, listed or not.
    let asked = code == Code::ResourceExhausted && matches!(pushback, Pushback::After(_));
    match pushback {
        _ if code == Code::Ok || !(codes.has(code.number()) || asked) => Ruling::Never(Why::NotRetryable),
        Pushback::Never => Ruling::Never(Why::Pushback),
        Pushback::None | Pushback::After(_) => Ruling::Retry,
    }
}

/// The next step of a call.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The call ends with the end of this attempt.
    Stop(Why),
    /// Send it again after this time, on another endpoint if there is one. `counted`: it is one of `max_attempts`.
    Again {
        /// Zero is at once.
        wait: Duration,
        /// It is one of `max_attempts`, and paid for.
        counted: bool,
    },
}

/// A call's attempts. A value of a few words; a new one for each call.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    /// Attempts after the first one that counted.
    counted: u32,
    /// Tries that sent nothing.
    unsent: u32,
    /// Times that a breaker held it.
    held: u8,
    replayed: bool,
    /// Waits since the last pushback, which begins the schedule anew.
    waits: u32,
}

impl Retries {
    /// The value of `grpc-previous-rpc-attempts`; left out where it is 0. Replays do not count (A6).
    pub fn previous(&self) -> u32 {
        self.counted
    }

    /// Takes the end of an attempt. `left` is the time until the call's deadline, if it has one.
    pub fn next(
        &mut self,
        attempt: Attempt,
        policy: &config::Retry,
        budget: &Budget,
        left: Option<Duration>,
        random: &mut Random,
        now: Moment,
    ) -> Next {
        match rule(attempt, self.replayed, policy.retryable_status_codes) {
            Ruling::Never(why) => {
                if why == Why::Pushback {
                    budget.failed();
                }
                Next::Stop(why)
            }
            Ruling::Replay => {
                self.replayed = true;
                in_time(Duration::ZERO, left, false)
            }
            Ruling::Unsent => self.unsent(policy, left, random, unsent_max(policy)),
            Ruling::StillQueued => {
                let max = left.map_or_else(|| unsent_max(policy), |_| u32::MAX);
                self.unsent(policy, left, random, max)
            }
            Ruling::Held => self.hold(left, random),
            Ruling::Retry => self.retry(attempt.pushback, policy, budget, left, random, now),
        }
    }

    /// The next step after nothing was sent. The first time another endpoint may do; after that the call waits, or it
    /// would loop.
    fn unsent(
        &mut self,
        policy: &config::Retry,
        left: Option<Duration>,
        random: &mut Random,
        max: u32,
    ) -> Next {
        if self.unsent >= max {
            return Next::Stop(Why::Attempts);
        }
        let wait = match self.unsent {
            0 => Duration::ZERO,
            tries => backoff(policy, tries - 1, random),
        };
        self.unsent += 1;
        in_time(wait, left, false)
    }

    /// A held call asks again and again, at times of its own, while it is held.
    fn hold(&mut self, left: Option<Duration>, random: &mut Random) -> Next {
        if self.held >= HELD_MAX {
            return Next::Stop(Why::Attempts);
        }
        self.held += 1;
        in_time(HELD.mul_f64(random.between(1.0 - JITTER, 1.0 + JITTER)), left, false)
    }

    fn retry(
        &mut self,
        pushback: Pushback,
        policy: &config::Retry,
        budget: &Budget,
        left: Option<Duration>,
        random: &mut Random,
        now: Moment,
    ) -> Next {
        budget.failed();
        if self.counted + 1 >= policy.max_attempts {
            return Next::Stop(Why::Attempts);
        }
        let (wait, waits) = match pushback {
            Pushback::After(wait) => (wait, 0),
            Pushback::None | Pushback::Never => (backoff(policy, self.waits, random), self.waits + 1),
        };
        let next = in_time(wait, left, true);
        if let Next::Again { .. } = next {
            // Asked last, so that only attempts that are sent are paid for.
            if !budget.take(now) {
                return Next::Stop(Why::Budget);
            }
            self.waits = waits;
            self.counted += 1;
        }
        next
    }
}

/// The bound of tries without an attempt: that of attempts, but at least one.
fn unsent_max(policy: &config::Retry) -> u32 {
    policy.max_attempts.saturating_sub(1).max(1)
}

/// A wait beyond the deadline helps nothing: the caller learns now what it would learn then.
fn in_time(wait: Duration, left: Option<Duration>, counted: bool) -> Next {
    match left {
        Some(left) if left <= wait => Next::Stop(Why::Time),
        _ => Next::Again { wait, counted },
    }
}

/// The wait after `waits` others: `min(initial * multiplier^waits, max)`, and then 20 % more or less (A6).
fn backoff(policy: &config::Retry, waits: u32, random: &mut Random) -> Duration {
    let max = policy.max_backoff.as_secs_f64();
    let mut wait = policy.initial_backoff.as_secs_f64().min(max);
    for _ in 0..waits {
        if wait >= max {
            break;
        }
        wait = (wait * policy.backoff_multiplier.max(1.0)).min(max);
        if policy.backoff_multiplier <= 1.0 {
            break;
        }
    }
    let wait = wait * random.between(1.0 - JITTER, 1.0 + JITTER);
    Duration::try_from_secs_f64(wait).unwrap_or(policy.max_backoff)
}

/// The time after which a held call asks again; it does so for two seconds.
const HELD: Duration = Duration::from_millis(50);
const HELD_MAX: u8 = 40;

#[cfg(test)]
mod tests;
