//! May an attempt be made, and what its end says: the breakers of a cluster and of its methods, asked and told together.

use std::time::Duration;

use crate::policy::breaker::{LocalBreaker, Pass};
use crate::policy::failure::Failure;
use crate::policy::outcome::Outcome;
use crate::policy::status::Code;
use crate::random::Random;
use crate::time::Moment;

/// The right to make one attempt. Dropped without a word, it says nothing.
#[derive(Debug, Default)]
pub struct Passes<'a> {
    cluster: Option<Held<'a>>,
    method: Option<Held<'a>>,
}

/// A breaker's pass, and which deadlines are too short to tell it anything.
#[derive(Debug)]
struct Held<'a> {
    pass: Pass<'a>,
    min_deadline: Duration,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// The service answered with this code.
    Answered(Code),
    /// The gateway ended it.
    Failed(Failure),
}

impl Attempted {
    /// What that says of the service, `took` after the attempt began.
    pub(super) fn outcome(self, took: Duration, min_deadline: Duration) -> Outcome {
        match self {
            Attempted::Answered(code) => Outcome::of_code(code, took, min_deadline),
            Attempted::Failed(failure) => Outcome::of_failure(failure, took, min_deadline),
        }
    }
}

/// Deadlines shorter than this say nothing of an endpoint. It is less than what breakers ask for by default: no more than
/// a part of the endpoints can be lost to callers that are in a hurry, and one that hangs should be found soon.
pub(super) const ENDPOINT_MIN_DEADLINE: Duration = Duration::from_millis(100);

impl<'a> Passes<'a> {
    /// Asks both; the error is how long the one that refuses stays open.
    pub(super) fn ask(
        cluster: Option<&'a LocalBreaker>,
        method: Option<&'a LocalBreaker>,
        now: Moment,
        random: &mut Random,
    ) -> Result<Passes<'a>, Duration> {
        let mut ask = |breaker: &'a LocalBreaker| match breaker.ask(now, random) {
            Ok(pass) => Ok(Held { pass, min_deadline: breaker.shared().settings().min_deadline }),
            Err(_) => Err(breaker.rest(now)),
        };
        let cluster = cluster.map(&mut ask).transpose()?;
        let method = method.map(&mut ask).transpose()?;
        Ok(Passes { cluster, method })
    }

    /// The head of an answer has come. A probe has seen enough: a long stream would keep the others waiting.
    pub fn answered(&mut self, now: Moment) {
        for held in [&mut self.cluster, &mut self.method] {
            if let Some(probe) = held.take_if(|held| held.pass.is_probe()) {
                probe.pass.tell(Outcome::Well, now);
            }
        }
    }

    /// The attempt is over.
    pub fn tell(self, attempted: Attempted, took: Duration, now: Moment) {
        for held in [self.cluster, self.method].into_iter().flatten() {
            held.pass.tell(attempted.outcome(took, held.min_deadline), now);
        }
    }
}
