use super::*;
use crate::random::Random;
use std::thread;

fn at(millis: u64) -> Moment {
    Moment::from_nanos(1_000_000_000).plus(Duration::from_millis(millis))
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// 3 gateway failures in a row or 2 local ones, 10 s, at most half of the endpoints.
fn settings() -> OutlierDetection {
    OutlierDetection {
        consecutive_gateway_failure: 3,
        consecutive_local_origin_failure: 2,
        base_ejection_time: secs(10),
        max_ejection_time: secs(25),
        max_ejection_percent: 50,
        interval: secs(5),
    }
}

fn shared(endpoints: usize) -> Arc<SharedOutliers> {
    SharedOutliers::new(settings(), SlowStart::default(), endpoints)
}

fn tells(outliers: &Outliers, endpoint: usize, seen: &[OutlierEvent], now: Moment) {
    for seen in seen {
        outliers.record(endpoint, *seen, now);
    }
}

#[test]
fn failures_in_a_row_eject() {
    use OutlierEvent::{GatewayFailure as G, LocalOriginFailure as L, Success as W};
    let table: [(&[OutlierEvent], bool); 9] = [
        (&[G, G], true),
        (&[G, G, G], false),
        (&[G, G, W, G, G], true),
        (&[L], true),
        (&[L, L], false),
        (&[L, W, L], true),
        (&[G, L, G, W], true),
        (&[G, L, L], false),
        (&[W, W, W], true),
    ];
    for (seen, healthy) in table {
        let outliers = Outliers::new(shared(2));
        tells(&outliers, 1, seen, at(0));
        assert_eq!((outliers.of(0).0, outliers.of(1).0), (true, healthy), "{seen:?}");
    }
    let off = OutlierDetection { consecutive_gateway_failure: 0, ..settings() };
    let outliers = Outliers::new(SharedOutliers::new(off, SlowStart::default(), 2));
    tells(&outliers, 1, &[G; 100], at(0));
    assert!(outliers.of(1).0);
}

#[test]
fn an_ejection_reaches_all_workers_at_their_tick() {
    let shared = shared(4);
    let [one, other] = [0, 1].map(|_| Outliers::new(Arc::clone(&shared)));
    tells(&one, 2, &[OutlierEvent::GatewayFailure; 3], at(0));
    assert!(!one.of(2).0 && other.of(2).0);
    other.tick(at(100));
    assert!(!other.of(2).0);
    assert_eq!((shared.ejected(), shared.ejections()), (1, 1));
}

#[test]
fn failures_of_several_workers_add_up() {
    let shared = shared(4);
    let workers: Vec<Outliers> = (0..3).map(|_| Outliers::new(Arc::clone(&shared))).collect();
    for worker in &workers {
        worker.record(0, OutlierEvent::GatewayFailure, at(0));
    }
    assert_eq!(shared.ejected(), 1);
    // A success on a worker that has seen no failure ends the row, once it knows of it.
    workers[0].record(1, OutlierEvent::GatewayFailure, at(0));
    workers[0].record(1, OutlierEvent::GatewayFailure, at(0));
    workers[1].tick(at(100));
    workers[1].record(1, OutlierEvent::Success, at(110));
    workers[0].record(1, OutlierEvent::GatewayFailure, at(120));
    assert_eq!(shared.ejected(), 1);
}

#[test]
fn an_ejection_ends_and_the_next_one_is_longer() {
    let outliers = Outliers::new(shared(2));
    // When it fails, and how long it is away then: 10 s for each time, at most 25 s; 5 s without forget one.
    let mut now = 0;
    for (stays, away) in [(0, 10), (0, 20), (0, 25), (0, 25), (5, 25), (20, 10), (100, 10)] {
        now += stays * 1_000;
        tells(&outliers, 0, &[OutlierEvent::GatewayFailure; 3], at(now));
        assert!(!outliers.of(0).0, "at {now}");
        now += away * 1_000;
        outliers.tick(at(now - 1));
        assert!(!outliers.of(0).0, "at {now}");
        outliers.tick(at(now));
        assert!(outliers.of(0).0, "at {now}");
    }
    assert_eq!((outliers.shared().ejected(), outliers.shared().ejections()), (0, 7));
}

#[test]
fn no_more_than_the_share_is_ejected() {
    for (endpoints, wanted) in [(1, 0), (2, 1), (3, 1), (4, 2), (10, 5)] {
        let shared = shared(endpoints);
        let outliers = Outliers::new(Arc::clone(&shared));
        for endpoint in 0..endpoints {
            tells(&outliers, endpoint, &[OutlierEvent::GatewayFailure; 10], at(0));
        }
        let unhealthy = (0..endpoints).filter(|endpoint| !outliers.of(*endpoint).0).count();
        assert_eq!((unhealthy, shared.ejected() as usize), (wanted, wanted), "of {endpoints}");
        // When one comes back, another can go.
        outliers.tick(at(10_000));
        assert_eq!(shared.ejected(), 0);
    }
}

#[test]
fn one_that_comes_back_starts_slowly() {
    // window, aggression, percent; milliseconds since it is back -> weight
    let table = [
        (10, 1.0, 10, 0, 0.1),
        (10, 1.0, 10, 5_000, 0.5),
        (10, 1.0, 10, 9_000, 0.9),
        (10, 1.0, 10, 10_000, 1.0),
        (10, 2.0, 10, 2_500, 0.5),
        (10, 1.0, 30, 1_000, 0.3),
        (0, 1.0, 10, 0, 1.0),
    ];
    for (window, aggression, min_weight_percent, after, wanted) in table {
        let slow_start = SlowStart { window: secs(window), aggression, min_weight_percent };
        let outliers = Outliers::new(SharedOutliers::new(settings(), slow_start, 2));
        assert_eq!(outliers.of(0), (true, 1.0), "it was always there");
        tells(&outliers, 0, &[OutlierEvent::GatewayFailure; 3], at(0));
        outliers.tick(at(10_000));
        outliers.tick(at(10_000 + after));
        let (healthy, weight) = outliers.of(0);
        assert!(healthy && (weight - wanted).abs() < 1e-3, "{weight} for {wanted} after {after}");
        outliers.shared().host(1).welcome(at(50_000));
        outliers.tick(at(50_000 + after));
        assert!((outliers.of(1).1 - wanted).abs() < 1e-3, "welcomed");
    }
}

#[test]
fn what_is_known_of_an_endpoint_stays_when_others_change() {
    let before = shared(4);
    let old = Outliers::new(Arc::clone(&before));
    for endpoint in [1, 2] {
        tells(&old, endpoint, &[OutlierEvent::GatewayFailure; 3], at(0));
    }
    tells(&old, 3, &[OutlierEvent::GatewayFailure; 2], at(0));
    // 1 goes; the others stay in another order, between two that are new.
    let kept = [None, Some(3), Some(2), Some(0), None];
    let next =
        before.next(OutlierDetection { max_ejection_percent: 40, ..settings() }, SlowStart::default(), &kept);
    before.hand_over_to(&next);
    let new = Outliers::new(Arc::clone(&next));
    new.tick(at(100));
    assert_eq!([0, 1, 2, 3, 4].map(|endpoint| new.of(endpoint).0), [true, true, false, true, true]);
    assert_eq!((next.ejected(), next.ejections()), (1, 2));
    // Its two failures in a row count still, and so does that two of five are ejected then.
    tells(&new, 1, &[OutlierEvent::GatewayFailure], at(100));
    tells(&new, 0, &[OutlierEvent::GatewayFailure; 3], at(100));
    assert_eq!(([0, 1].map(|endpoint| new.of(endpoint).0), next.ejected()), ([true, false], 2));
    // A worker that has not heard of it yet can eject no endpoint that is gone, and no new one beyond the share.
    tells(&old, 1, &[OutlierEvent::GatewayFailure; 9], at(100));
    tells(&old, 0, &[OutlierEvent::GatewayFailure; 3], at(100));
    assert_eq!(next.ejected(), 2);
    new.tick(at(20_200));
    assert_eq!((next.ejected(), next.ejections()), (0, 3));
}

/// Threads with their own clocks make endpoints fail; at no time are more ejected than may be, and in the end all return.
#[test]
fn threads_together_keep_the_share() {
    let shared = shared(9);
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let outliers = Outliers::new(shared);
                let mut random = Random::seeded(seed);
                for step in 0..50_000 {
                    let seen = [
                        OutlierEvent::GatewayFailure,
                        OutlierEvent::LocalOriginFailure,
                        OutlierEvent::Success,
                    ][random.below(3) as usize];
                    outliers.record(random.below(9) as usize, seen, at(step * 10));
                    if step % 10 == 0 {
                        outliers.tick(at(step * 10));
                        assert!(outliers.shared().ejected() <= 4);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    shared.sweep(at(10_000_000));
    assert_eq!(shared.ejected(), 0);
    assert!(shared.ejections() > 100, "{}", shared.ejections());
}
