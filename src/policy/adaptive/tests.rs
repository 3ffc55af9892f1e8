use super::*;
use crate::random::Random;

fn at(millis: u64) -> Moment {
    Moment::from_nanos(1_000_000_000).plus(Duration::from_millis(millis))
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const FIXED: Option<Duration> = Some(Duration::from_secs(5));

fn settings() -> AdaptiveTimeout {
    AdaptiveTimeout { percentile: 99.0, multiplier: 3.0, floor: ms(50), window: Duration::from_secs(10) }
}

/// The timeout after so many calls that took so long.
fn asked(settings: AdaptiveTimeout, fixed: Option<Duration>, calls: &[(u32, Duration)]) -> Option<Duration> {
    let mut adaptive = Adaptive::new(settings, fixed);
    assert_eq!(adaptive.timeout_at(at(0)), fixed);
    for (count, took) in calls {
        for _ in 0..*count {
            adaptive.took(*took);
        }
    }
    assert_eq!(adaptive.timeout_at(at(999)), fixed, "it is judged anew each second");
    adaptive.timeout_at(at(1_000))
}

fn near(timeout: Option<Duration>, wanted: Duration) -> bool {
    timeout.is_some_and(|timeout| wanted <= timeout && timeout <= wanted.mul_f64(1.13))
}

#[test]
fn the_timeout_follows_the_percentile() {
    // calls -> about
    let table: [(&[(u32, Duration)], Duration); 5] = [
        (&[(1_000, ms(100))], ms(300)),
        (&[(995, ms(20)), (5, ms(1_000))], ms(60)),
        (&[(980, ms(20)), (20, ms(1_000))], ms(3_000)),
        (&[(1_000, ms(1))], ms(50)),
        (&[(1_000, Duration::ZERO)], ms(50)),
    ];
    for (calls, wanted) in table {
        let timeout = asked(settings(), FIXED, calls);
        assert!(near(timeout, wanted), "{timeout:?} for {wanted:?}");
    }
}

#[test]
fn it_is_never_above_the_fixed_one() {
    assert_eq!(asked(settings(), FIXED, &[(1_000, ms(4_000))]), FIXED);
    assert_eq!(asked(settings(), Some(ms(10)), &[(1_000, ms(1))]), Some(ms(10)), "not for the floor either");
    assert!(near(asked(settings(), None, &[(1_000, ms(4_000))]), ms(12_000)));
    assert_eq!(asked(settings(), None, &[(1_000, Duration::MAX)]), None);
}

#[test]
fn few_calls_tell_nothing() {
    let p999 = AdaptiveTimeout { percentile: 99.9, ..settings() };
    assert_eq!(asked(settings(), FIXED, &[(199, ms(100))]), FIXED);
    assert!(near(asked(settings(), FIXED, &[(200, ms(100))]), ms(300)));
    assert_eq!(asked(p999.clone(), FIXED, &[(1_999, ms(100))]), FIXED);
    assert!(near(asked(p999, FIXED, &[(2_001, ms(100))]), ms(300)));
}

#[test]
fn old_latencies_lose_their_weight() {
    let mut adaptive = Adaptive::new(settings(), FIXED);
    let _ = adaptive.timeout_at(at(0));
    (0..1_000).for_each(|_| adaptive.took(ms(1_000)));
    assert!(near(adaptive.timeout_at(at(9_999)), ms(3_000)));
    // 60 s: six times halved, 15 slow calls among 3,000 quick ones.
    let _ = adaptive.timeout_at(at(60_000));
    (0..3_000).for_each(|_| adaptive.took(ms(20)));
    assert!(near(adaptive.timeout_at(at(61_000)), ms(60)));
    // Long after, nothing is known any more.
    assert_eq!(adaptive.timeout_at(at(10_000_000)), FIXED);
}

/// A service becomes ten times slower. The timeout cuts its calls at first, and then makes room for them.
#[test]
fn a_service_that_slows_down_is_not_cut_off_for_ever() {
    let mut adaptive = Adaptive::new(settings(), FIXED);
    let mut random = Random::seeded(1);
    let mut cut_late = 0;
    for millis in 0..60_000 {
        let slow = millis >= 20_000;
        let took = ms(if slow { 300 } else { 30 }).mul_f64(random.between(0.8, 1.2));
        let timeout = adaptive.timeout_at(at(millis)).unwrap();
        assert!(timeout <= FIXED.unwrap());
        if took <= timeout {
            adaptive.took(took);
        } else {
            adaptive.timed_out();
            cut_late += u32::from(millis > 22_000);
        }
    }
    assert_eq!(cut_late, 0);
    // And when the calls that were cut are long ago, it follows the latency again: 360 ms at most.
    assert!(near(adaptive.timeout_at(at(61_000)), ms(1_000)), "{:?}", adaptive.timeout_at(at(61_000)));
}

#[test]
fn every_latency_is_in_a_bucket_that_ends_after_it() {
    let mut last = 0;
    for micros in (0..100_000).chain((100_000..2_000_000_000).step_by(99_991)) {
        let took = Duration::from_micros(micros);
        let at = bucket(took);
        assert!(last <= at && at < BUCKETS);
        last = at;
        let end = bucket_end(at);
        if at + 1 < BUCKETS {
            assert!(took < end && end <= took.mul_f64(1.126) + Duration::from_micros(1), "{took:?} {end:?}");
        }
    }
}
