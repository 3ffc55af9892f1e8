//! Hedging: when the next attempt of a call begins, and which response ends it (gRFC A6, "Hedging Policy").
//!
//! Only methods that are declared idempotent are hedged: several attempts run at once, and the first good response is
//! the call's. Another attempt begins after each `hedging_delay`, and at once when one fails in a way that is not
//! fatal. The budget pays for all but the first.

use std::time::Duration;

use super::budget::Budget;
use super::retry::{AttemptOutcome, Pushback};
use super::status::Code;
use crate::config::Hedging;
use crate::time::Moment;

/// A call's attempts. A value of a few words; a new one for each call.
#[derive(Clone, Debug)]
pub struct Hedge {
    begun: u32,
    running: u32,
    max: u32,
    delay: Duration,
    /// The moment of the next attempt; `None`: no more.
    next: Option<Moment>,
}

/// The answer to the question whether an attempt may begin.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Yes, and it counts as begun.
    Now,
    /// At that moment, if nothing else happens.
    At(Moment),
    /// There will be no more, because the budget does not pay for one. Said once.
    Unpaid,
    /// There will be no more.
    No,
}

/// The consequence for a call when one of its attempts ends.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeStep {
    /// This is the call's end; the other attempts are cancelled.
    Final,
    /// The others go on, and maybe more begin: ask.
    GoOn,
}

impl Hedge {
    /// A call that begins now; its first attempt may begin at once.
    pub fn new(settings: &Hedging, now: Moment) -> Self {
        Self {
            begun: 0,
            running: 0,
            max: settings.max_attempts.max(1),
            delay: settings.hedging_delay,
            next: Some(now),
        }
    }

    /// The value of `grpc-previous-rpc-attempts` for the attempt that begins next.
    pub fn previous(&self) -> u32 {
        self.begun
    }

    /// Asks whether the next attempt may begin.
    pub fn admit(&mut self, budget: &Budget, now: Moment) -> Start {
        let Some(next) = self.next else { return Start::No };
        if self.begun == self.max {
            self.stop();
            return Start::No;
        }
        if next > now {
            return Start::At(next);
        }
        if self.begun > 0 && !budget.take(now) {
            self.stop();
            return Start::Unpaid;
        }
        self.begun += 1;
        self.running += 1;
        self.next = Some(now.plus(self.delay));
        Start::Now
    }

    /// Lets no further attempt begin.
    pub fn stop(&mut self) {
        self.next = None;
    }

    /// Notes the end of an attempt. `pushback` is the service's word on another attempt.
    pub fn record(
        &mut self,
        outcome: AttemptOutcome,
        pushback: Pushback,
        settings: &Hedging,
        budget: &Budget,
        now: Moment,
    ) -> HedgeStep {
        self.running = self.running.saturating_sub(1);
        let fatal = match outcome {
            AttemptOutcome::Status(Code::Ok) => {
                budget.succeeded();
                return HedgeStep::Final;
            }
            AttemptOutcome::Answered | AttemptOutcome::Ours => return HedgeStep::Final,
            // No service has seen it, so it says nothing of the service.
            AttemptOutcome::NoConnection
            | AttemptOutcome::Held
            | AttemptOutcome::NeverOpened
            | AttemptOutcome::NotWritten
            | AttemptOutcome::Refused
            | AttemptOutcome::AboveGoaway => false,
            // The method is idempotent, so a service may have seen it.
            AttemptOutcome::Lost => {
                budget.failed();
                false
            }
            AttemptOutcome::Status(code) => {
                let fatal = !settings.non_fatal_status_codes.has(code.number());
                if !fatal || pushback == Pushback::Never {
                    budget.failed();
                }
                fatal
            }
        };
        if fatal {
            return HedgeStep::Final;
        }
        if self.next.is_some() {
            self.next = match pushback {
                Pushback::None => Some(now),
                Pushback::After(wait) => Some(now.plus(wait)),
                Pushback::Never => None,
            };
        }
        // No attempt runs, and none will.
        if self.running == 0 && (self.next.is_none() || self.begun == self.max) {
            return HedgeStep::Final;
        }
        HedgeStep::GoOn
    }

    /// Leaves the call to the running attempts, where one could not be paid for. True if none runs.
    pub fn is_over(&self) -> bool {
        self.running == 0 && self.next.is_none()
    }
}

#[cfg(test)]
mod tests;
