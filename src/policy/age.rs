//! How old a connection may become (gRFC A9): after its age it takes no new calls, and after a grace it is cut.
//!
//! Connections that began together must not end together, or their clients come back as one crowd. So each has an age of
//! its own, by chance within the jitter.

use crate::config::ConnectionAge;
use crate::random::Random;
use crate::time::Moment;

/// When a connection retires, and when it is cut. Neither if its age has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    retires: Option<Moment>,
    cut: Option<Moment>,
}

impl Age {
    /// The age of a connection that begins at `now`.
    pub fn begin(settings: &ConnectionAge, now: Moment, random: &mut Random) -> Age {
        let Some(max) = settings.max else { return Age::default() };
        let factor = random.between(1.0 - settings.jitter, 1.0 + settings.jitter);
        let retires = now.plus(max.mul_f64(factor));
        Age { retires: Some(retires), cut: settings.grace.map(|grace| retires.plus(grace)) }
    }

    /// Whether it takes no new calls.
    pub fn is_retired(&self, now: Moment) -> bool {
        self.retires.is_some_and(|at| at <= now)
    }

    /// Whether the calls that it still has are cut.
    pub fn is_over(&self, now: Moment) -> bool {
        self.cut.is_some_and(|at| at <= now)
    }

    /// The next moment at which one of the two becomes true.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        let coming = |at: &Moment| *at > now;
        self.retires.filter(coming).or(self.cut.filter(coming))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ENDLESS: Option<Duration> = None;

    fn settings(grace: Option<Duration>) -> ConnectionAge {
        ConnectionAge { max: Some(Duration::from_secs(10)), jitter: 0.1, grace }
    }

    #[test]
    fn ages_spread_over_the_jitter_evenly() {
        let mut random = Random::seeded(5);
        let mut ages: Vec<_> = (0..1_000)
            .map(|_| Age::begin(&settings(ENDLESS), Moment::ZERO, &mut random))
            .map(|age| age.next(Moment::ZERO).expect("it has one").since(Moment::ZERO).as_millis())
            .collect();
        ages.sort_unstable();
        assert!((9_000..9_050).contains(&ages[0]), "{}", ages[0]);
        assert!((10_950..=11_000).contains(&ages[999]), "{}", ages[999]);
        // In each tenth of the spread a tenth of them, give or take.
        for tenth in 0..10 {
            let from = 9_000 + 200 * tenth;
            let count = ages.iter().filter(|age| (from..from + 200).contains(*age)).count();
            assert!((65..=135).contains(&count), "{count} in tenth {tenth}");
        }
    }

    #[test]
    fn a_connection_retires_and_is_cut_after_its_grace() {
        let mut random = Random::seeded(1);
        let exact = ConnectionAge { jitter: 0.0, ..settings(Some(Duration::from_secs(5))) };
        let age = Age::begin(&exact, Moment::ZERO, &mut random);
        let at = |millis| Moment::ZERO.plus(Duration::from_millis(millis));
        for (millis, retired, over, next) in [
            (0, false, false, Some(10_000)),
            (9_999, false, false, Some(10_000)),
            (10_000, true, false, Some(15_000)),
            (14_999, true, false, Some(15_000)),
            (15_000, true, true, None),
        ] {
            let now = at(millis);
            assert_eq!((age.is_retired(now), age.is_over(now)), (retired, over), "at {millis} ms");
            assert_eq!(age.next(now), next.map(at), "at {millis} ms");
        }
    }

    #[test]
    fn without_a_bound_a_connection_stays() {
        let endless = ConnectionAge { max: ENDLESS, ..settings(Some(Duration::ZERO)) };
        let age = Age::begin(&endless, Moment::ZERO, &mut Random::seeded(1));
        let late = Moment::ZERO.plus(Duration::from_secs(1 << 30));
        assert_eq!((age.is_retired(late), age.is_over(late), age.next(Moment::ZERO)), (false, false, None));
    }
}
