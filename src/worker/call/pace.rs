//! How slowly a client may send what it owes: the rest of a message that it has begun. Bytes that come earn time at
//! `min_rate`; so one that drips is as one that sends nothing.

use std::time::Duration;

use crate::time::Moment;

/// Since when something is owed, less the time that was earned meanwhile; and how much had come by the last look.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<(Moment, u64)>);

impl Pace {
    /// A look at a body of which so much has come in all. Says since when the client has been too slow.
    pub(super) fn look(
        &mut self,
        is_owed: bool,
        received: u64,
        min_rate: u32,
        now: Moment,
    ) -> Option<Moment> {
        self.0 = match self.0 {
            _ if !is_owed => None,
            None => Some((now, received)),
            Some((since, before)) => {
                let earned = Duration::from_secs(received.saturating_sub(before)) / min_rate.max(1);
                Some((since.plus(earned).min(now), received))
            }
        };
        self.0.map(|(since, _)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    /// Row 47: a byte now and then earns next to nothing.
    #[test]
    fn a_drip_earns_little_and_a_stream_all_of_its_time() {
        let mut drip = Pace::default();
        assert_eq!(drip.look(true, 1, 100, at(10)), Some(at(10)));
        for second in 1..=100 {
            drip.look(true, 1 + second, 100, at(10 + second));
        }
        assert_eq!(drip.look(true, 101, 100, at(110)), Some(at(11)));

        let mut fast = Pace::default();
        fast.look(true, 1, 100, at(10));
        assert_eq!(fast.look(true, 10_001, 100, at(20)), Some(at(20)), "no more than what has passed");
        assert_eq!(
            fast.look(true, 10_501, 100, at(30)),
            Some(at(25)),
            "half of the time, at half of the rate"
        );
    }

    #[test]
    fn who_owes_nothing_is_not_slow() {
        let mut pace = Pace::default();
        assert_eq!(pace.look(false, 0, 100, at(1)), None);
        assert_eq!(pace.look(true, 3, 100, at(50)), Some(at(50)));
        assert_eq!(pace.look(false, 9, 100, at(90)), None);
        assert_eq!(pace.look(true, 9, 100, at(95)), Some(at(95)));
    }
}
