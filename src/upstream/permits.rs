//! Permits of attempts, by the breakers of a cluster and of its methods, which are asked and told together.

use std::time::Duration;

use crate::config::Codes;
use crate::policy::breaker::{BreakerPermit, LocalBreaker};
use crate::policy::failure::Failure;
use crate::policy::outcome::Outcome;
use crate::policy::retry::AttemptOutcome;
use crate::policy::status::Code;
use crate::random::Random;
use crate::time::Moment;

/// The right to make one attempt. Dropped without a result, it counts for nothing.
#[derive(Debug, Default)]
pub struct BreakerPermits<'a> {
    cluster: Option<PermitWithCodes<'a>>,
    method: Option<PermitWithCodes<'a>>,
}

/// A breaker's permit, and the codes that this breaker counts as failures.
#[derive(Debug)]
struct PermitWithCodes<'a> {
    permit: BreakerPermit<'a>,
    failures: Codes,
}

/// A breaker's refusal of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRefusal {
    /// The time that the breaker stays open.
    pub rest: Duration,
    /// Whether the call may ask again in a moment.
    pub outcome: AttemptOutcome,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// The service answered with this code.
    Answered(Code),
    /// The gateway ended it.
    Failed(Failure),
    /// A limit of the operator's passed, whichever side noticed it first.
    Late,
}

impl AttemptResult {
    /// The breaker's verdict on the service, by this result.
    pub(super) fn outcome(self, failures: Codes) -> Outcome {
        match self {
            AttemptResult::Answered(code) => Outcome::of_code(code, failures),
            AttemptResult::Failed(failure) => Outcome::of_failure(failure, failures),
            AttemptResult::Late => Outcome::Failure,
        }
    }
}

impl<'a> BreakerPermits<'a> {
    /// Asks both breakers; the error is that of the one that refuses.
    pub(super) fn admit(
        cluster: Option<&'a LocalBreaker>,
        method: Option<&'a LocalBreaker>,
        now: Moment,
        random: &mut Random,
    ) -> Result<BreakerPermits<'a>, BreakerRefusal> {
        let mut admit = |breaker: &'a LocalBreaker| match breaker.admit(now, random) {
            Ok(permit) => {
                Ok(PermitWithCodes { permit, failures: breaker.shared().settings().failure_status_codes })
            }
            Err(_) => {
                let outcome = if breaker.holds() { AttemptOutcome::Held } else { AttemptOutcome::Ours };
                Err(BreakerRefusal { rest: breaker.rest(now), outcome })
            }
        };
        let cluster = cluster.map(&mut admit).transpose()?;
        let method = method.map(&mut admit).transpose()?;
        Ok(BreakerPermits { cluster, method })
    }

    /// Notes that the head of a response has come.
    pub fn answered(&mut self, now: Moment) {
        if let Some(held) = &mut self.cluster {
            held.permit.answered(now);
        }
        if let Some(held) = &mut self.method {
            held.permit.answered(now);
        }
    }

    /// Reports the attempt's result to both breakers.
    pub fn record(self, attempted: AttemptResult, now: Moment) {
        if let Some(held) = self.cluster {
            held.permit.record(attempted.outcome(held.failures), now);
        }
        if let Some(held) = self.method {
            held.permit.record(attempted.outcome(held.failures), now);
        }
    }
}
