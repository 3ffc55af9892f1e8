//! The waits between connects to an endpoint after a failure.
//!
//! Source: gRPC `doc/connection-backoff.md`: the wait grows by a factor up to a maximum, with 20 % of jitter to either
//! side so that workers do not all come back at once. Here the jitter does not reach above the maximum either.

use crate::random::Random;
use crate::time::Moment;
use std::time::Duration;

/// The waits between the connects to one endpoint.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    multiplier: f64,
    max: Duration,
    /// The next wait, before jitter.
    next: Duration,
}

impl Backoff {
    /// Waits of `initial`, then each `multiplier` times the one before, none above `max`.
    pub fn new(initial: Duration, multiplier: f64, max: Duration) -> Self {
        let initial = initial.min(max);
        Self { initial, multiplier, max, next: initial }
    }

    /// Notes a failed connect. Gives the wait before the next.
    pub fn failed(&mut self, random: &mut Random) -> Duration {
        let wait = self.next.as_secs_f64();
        let grown = wait * self.multiplier.max(1.0);
        self.next = Duration::try_from_secs_f64(grown).map_or(self.max, |next| next.min(self.max));
        let highest = (wait * (1.0 + JITTER)).min(self.max.as_secs_f64());
        let jittered = random.between(wait * (1.0 - JITTER), highest);
        Duration::try_from_secs_f64(jittered).map_or(self.max, |wait| wait.min(self.max))
    }

    /// Notes that a connection was of use: the next failure waits for the initial time again.
    pub fn succeeded(&mut self) {
        self.next = self.initial;
    }
}

/// Decides when connects to one endpoint may begin. A connect out of turn does not move the next one: more frequent
/// attempts never make it later.
#[derive(Clone, Debug)]
pub struct Connects {
    backoff: Backoff,
    /// The moment of the next connect.
    next: Moment,
    hurried: bool,
    /// The last connect failed.
    is_failing: bool,
}

impl Connects {
    /// Lets the first connect begin at once.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, next: Moment::ZERO, hurried: false, is_failing: false }
    }

    /// Sets another backoff for the waits from now on.
    pub fn set(&mut self, backoff: Backoff) {
        self.backoff = backoff;
    }

    /// May a connect begin?
    pub fn may_begin(&self, now: Moment) -> bool {
        self.hurried || self.next <= now
    }

    /// The time until the next connect.
    pub fn rest(&self, now: Moment) -> Duration {
        self.next.since(now)
    }

    /// Lets a connect begin now, out of turn.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Notes a failed connect.
    pub fn failed(&mut self, now: Moment, random: &mut Random) {
        let was_hurried = std::mem::take(&mut self.hurried);
        self.is_failing = true;
        if !was_hurried || self.next <= now {
            self.next = now.plus(self.backoff.failed(random));
        }
    }

    /// Notes a connect that did not fail. A connection has yet to be of use.
    pub fn connected(&mut self) {
        self.hurried = false;
        self.is_failing = false;
    }

    /// Whether the last connect failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Notes that a connection was of use: the next failure waits for the initial time again.
    pub fn succeeded(&mut self) {
        self.backoff.succeeded();
    }
}

/// The part of a wait that it may be longer or shorter by (gRFC A6).
pub(super) const JITTER: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_to_the_maximum_and_start_anew_after_success() {
        let mut random = Random::seeded(5);
        let mut backoff = Backoff::new(SECOND, 1.6, 4 * SECOND);
        for _ in 0..1_000 {
            for wanted in [1.0, 1.6, 2.56, 4.0, 4.0, 4.0_f64] {
                let wait = backoff.failed(&mut random).as_secs_f64();
                assert!(
                    wanted * 0.8 - 1e-6 <= wait && wait <= (wanted * 1.2).min(4.0),
                    "{wait} for {wanted}"
                );
            }
            backoff.succeeded();
        }
    }

    #[test]
    fn waits_spread_evenly_over_the_jitter() {
        let mut random = Random::seeded(6);
        let mut backoff = Backoff::new(SECOND, 1.0, 10 * SECOND);
        let mut counts = [0_u32; 4];
        for _ in 0..40_000 {
            let wait = backoff.failed(&mut random).as_secs_f64();
            let place = [0.9, 1.0, 1.1].iter().filter(|&&edge| edge <= wait).count();
            counts[place] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_connect_out_of_turn_leaves_the_turns_where_they_are() {
        let at = |millis| Moment::ZERO.plus(Duration::from_millis(millis));
        let mut random = Random::seeded(8);
        let mut connects = Connects::new(Backoff::new(SECOND, 2.0, 10 * SECOND));
        assert!(connects.may_begin(at(1_000)));
        connects.failed(at(1_000), &mut random);
        let rest = connects.rest(at(1_000));
        assert!(!connects.may_begin(at(1_500)) && rest >= SECOND * 8 / 10);
        for millis in [1_100, 1_200, 1_500] {
            connects.hurry();
            assert!(connects.may_begin(at(millis)));
            connects.failed(at(millis), &mut random);
            assert!(!connects.may_begin(at(millis)), "once");
            assert_eq!(connects.rest(at(1_000)), rest);
        }
        // In its turn, hurried or not, it goes on to the next.
        connects.hurry();
        connects.failed(at(3_000), &mut random);
        assert!(connects.rest(at(3_000)) > SECOND * 15 / 10);
        connects.hurry();
        connects.connected();
        connects.succeeded();
        connects.failed(at(9_000), &mut random);
        assert!(!connects.may_begin(at(9_000)) && connects.rest(at(9_000)) <= SECOND * 12 / 10);
    }

    #[test]
    fn an_endpoint_fails_until_a_connect_does_not() {
        let mut random = Random::seeded(9);
        let mut connects = Connects::new(Backoff::new(SECOND, 2.0, 10 * SECOND));
        assert!(!connects.is_failing());
        connects.failed(Moment::ZERO, &mut random);
        // The wait is over long ago.
        assert!(connects.rest(Moment::ZERO.plus(60 * SECOND)).is_zero() && connects.is_failing());
        connects.connected();
        assert!(!connects.is_failing());
    }

    #[test]
    fn odd_settings_do_no_harm() {
        let mut random = Random::seeded(7);
        for (initial, multiplier, max) in [
            (Duration::ZERO, 2.0, SECOND),
            (2 * SECOND, 2.0, SECOND),
            (SECOND, 0.0, SECOND),
            (SECOND, f64::MAX, Duration::MAX),
            (SECOND, f64::NAN, SECOND),
        ] {
            let mut backoff = Backoff::new(initial, multiplier, max);
            for _ in 0..100 {
                assert!(backoff.failed(&mut random) <= max);
            }
        }
    }
}
