//! The next step of a call whose attempt failed: one table, and one call's way through it.
//!
//! The table is [`rule`]. A call that no application has seen may be sent again, for nothing. A call that one may have
//! seen needs an idempotent method, or the service's word. A call whose answer has begun is never repeated.
//! Sources: gRFC A6; RFC 9110 section 9.2.2, by which a proxy must not repeat what is not idempotent.
//! Read `budget.rs` next: it pays for the attempts that count.

use std::time::Duration;

use super::budget::Budget;
use super::status::Code;
use crate::config::{self, Codes};
use crate::random::Random;
use crate::time::Moment;

/// The end of an attempt, which tells whether a service may have seen the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No connection came about, to none of the endpoints.
    NoConnection,
    /// A breaker lets few calls through for a moment.
    Held,
    /// It waited for a connection, and that one ended before the call had a stream.
    NeverOpened,
    /// It had a stream, of which no byte was written.
    NotWritten,
    /// RST_STREAM with REFUSED_STREAM: the service has not looked at it (RFC 9113 section 8.7).
    Refused,
    /// GOAWAY, and the stream is above the last one it covers.
    AboveGoaway,
    /// GOAWAY that covers the stream: the attempt goes on.
    UnderGoaway,
    /// The request was sent, and then the stream was reset for another reason or the connection ended, before any
    /// answer. The service may have seen it.
    Lost,
    /// The head of an answer came, and more was to follow.
    Answered,
    /// An answer of trailers only: the code of the service.
    Status(Code),
    /// The gateway ended it: no time left, the client gone, a limit reached, about to exit.
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

/// An attempt that ended, and what is known of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How it ended.
    pub end: End,
    /// The service's word on another attempt.
    pub pushback: Pushback,
    /// The method is declared idempotent: a second execution does no harm.
    pub idempotent: bool,
    /// All that was sent of the request is kept still.
    pub kept: bool,
}

/// The table's ruling on one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The call ends with this attempt.
    Never(Why),
    /// The attempt goes on.
    GoesOn,
    /// Again, on another endpoint. Nothing was sent, so it counts neither as an attempt nor in the budget.
    Unsent,
    /// As `Unsent`, as long as there is time.
    StillQueued,
    /// Asks again in a moment.
    Held,
    /// Again at once, this one time: it was sent, but not seen.
    Replay,
    /// Again, if attempts and budget are left.
    Retry,
}

/// Why a call is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The gateway ended it.
    Ours,
    /// Its answer has begun.
    Answered,
    /// A service may have seen it, and its method is not idempotent.
    NotIdempotent,
    /// The policy does not list the code.
    NotRetryable,
    /// The service says so.
    Pushback,
    /// More was sent than is kept.
    NotKept,
    /// `max_attempts` are made.
    Attempts,
    /// There is no endpoint to send it to.
    NoConnection,
    /// Its time ends before the wait does.
    Time,
    /// The budget or the throttle.
    Budget,
}

/// The decision table. `replayed`: the call has had its one replay. `codes`: what the policy lists.
pub fn rule(attempt: Attempt, replayed: bool, codes: Codes) -> Ruling {
    let ruling = match attempt.end {
        // All endpoints wait for their backoff: to wait for them would only fill queues with calls that fail later.
        End::NoConnection => Ruling::Never(Why::NoConnection),
        End::Held => Ruling::Held,
        End::NotWritten => Ruling::Unsent,
        End::NeverOpened => Ruling::StillQueued,
        End::Refused | End::AboveGoaway if !replayed => Ruling::Replay,
        // Once more unseen: now it is as if the service had answered UNAVAILABLE.
        End::Refused | End::AboveGoaway => by_code(Code::Unavailable, attempt.pushback, codes),
        End::UnderGoaway => Ruling::GoesOn,
        End::Lost if attempt.idempotent => Ruling::Retry,
        End::Lost => Ruling::Never(Why::NotIdempotent),
        End::Answered => Ruling::Never(Why::Answered),
        End::Status(code) => by_code(code, attempt.pushback, codes),
        End::Ours => Ruling::Never(Why::Ours),
    };
    match ruling {
        Ruling::Never(_) | Ruling::GoesOn => ruling,
        _ if attempt.kept => ruling,
        _ => Ruling::Never(Why::NotKept),
    }
}

fn by_code(code: Code, pushback: Pushback, codes: Codes) -> Ruling {
    // A service that is out of something and says when to come back asks for it, listed or not.
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
    /// The call ends with what this attempt ended with.
    Stop(Why),
    /// Go on with the attempt.
    GoOn,
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

    /// An attempt ended. `left` is the time until the call's deadline, if it has one.
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
            Ruling::GoesOn => Next::GoOn,
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

    /// Nothing was sent. The first time another endpoint may do; after that it waits, or the tries would be a loop.
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

    /// It asks again and again, at times of its own, for as long as such a moment lasts.
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
            // Asked last, so that only what is sent is paid for.
            if !budget.take(now) {
                return Next::Stop(Why::Budget);
            }
            self.waits = waits;
            self.counted += 1;
        }
        next
    }
}

/// Tries without an attempt have a bound of their own, the same as attempts; but one is always there.
fn unsent_max(policy: &config::Retry) -> u32 {
    policy.max_attempts.saturating_sub(1).max(1)
}

/// A wait beyond the deadline helps nobody: the caller learns now what it would learn then.
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

const JITTER: f64 = 0.2;

/// A call that is held asks again after this time, and two seconds long.
const HELD: Duration = Duration::from_millis(50);
const HELD_MAX: u8 = 40;

#[cfg(test)]
mod tests;
