use super::*;
use crate::random::Random;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

fn at(millis: u64) -> Moment {
    Moment::ZERO.plus(Duration::from_millis(millis))
}

fn settings(max_tokens: u32, tokens_per_fill: u32, fill_millis: u64) -> RateLimit {
    RateLimit { max_tokens, tokens_per_fill, fill_interval: Duration::from_millis(fill_millis) }
}

fn takes(rate: &Rate, now: Moment) -> u32 {
    let mut count = 0;
    while rate.take(now) {
        count += 1;
    }
    count
}

#[test]
fn a_bucket_is_filled_in_steps_up_to_its_rim() {
    for workers in [1, 8] {
        let rate = Rate::new(SharedRate::new(settings(100, 30, 1_000), workers, at(5_000)));
        let table =
            [(5_000, 100), (5_999, 0), (6_000, 30), (6_001, 0), (8_500, 60), (99_999, 100), (100_000, 30)];
        for (now, wanted) in table {
            assert_eq!(takes(&rate, at(now)), wanted, "at {now} ms, {workers} workers");
        }
    }
}

#[test]
fn idle_tokens_come_back_on_the_tick() {
    let shared = SharedRate::new(settings(100, 0, 1_000), 2, at(0));
    let [one, other] = [0, 1].map(|_| Rate::new(Arc::clone(&shared)));
    assert!(other.take(at(0)));
    let early = takes(&one, at(0));
    assert!((75..99).contains(&early), "{early}: not more than a quarter lies idle");
    other.sync_shared(at(100));
    assert_eq!(early + takes(&one, at(100)), 99);
}

#[test]
fn a_worker_that_ends_puts_its_tokens_back() {
    let shared = SharedRate::new(settings(40, 0, 1_000), 2, at(0));
    let one = Rate::new(Arc::clone(&shared));
    assert!(one.take(at(0)));
    drop(one);
    assert_eq!(takes(&Rate::new(shared), at(0)), 39);
}

#[test]
fn the_number_of_a_fill_may_wrap() {
    let interval = 50;
    let last = at(u64::from(FILL_MASK) * interval);
    let shared = SharedRate::new(settings(10, 4, interval), 1, last);
    let rate = Rate::new(shared);
    assert_eq!(takes(&rate, last), 10);
    assert_eq!(takes(&rate, last.plus(Duration::from_millis(interval))), 4);
    // A clock that was read earlier and is told later fills nothing.
    assert_eq!(takes(&rate, last), 0);
}

#[test]
fn under_load_the_shared_atomic_is_left_alone() {
    let shared = SharedRate::new(settings(1_000, 1_000, 1_000), 2, at(0));
    let rate = Rate::new(Arc::clone(&shared));
    assert!(rate.take(at(0)));
    let word = shared.bucket.load(Ordering::Relaxed);
    for _ in 1..BATCH_MAX {
        assert!(rate.take(at(1)));
        assert_eq!(shared.bucket.load(Ordering::Relaxed), word);
    }
}

/// Workers of uneven load, calls and ticks at random times, ten million in all. Over no time are more calls let through than `max_tokens`
/// and what was filled; and while all want more than there is, hardly fewer.
#[test]
fn no_order_of_events_exceeds_the_rate() {
    for (seed, (max, per_fill, workers)) in
        [(1, 1, 1), (20, 5, 3), (100, 100, 4), (1_000, 100, 8), (333, 50, 16)].into_iter().enumerate()
    {
        let mut random = Random::seeded(seed as u64);
        let shared = SharedRate::new(settings(max, per_fill, 100), workers, at(0));
        let rates: Vec<Rate> = (0..workers).map(|_| Rate::new(Arc::clone(&shared))).collect();
        let (mut nanos, mut passed) = (0_u64, 0_u64);
        // The level of an ideal bucket: calls let through never make it negative.
        let (mut ideal, mut fill) = (u64::from(max), 0);
        for step in 0..2_000_000_u32 {
            // Rushes and lulls.
            nanos += random.below_u64(if step >> 14 & 1 == 0 { 200_000 } else { 40_000_000 });
            let now = Moment::from_nanos(nanos);
            let due = nanos / 100_000_000;
            ideal = (ideal + (due - fill) * u64::from(per_fill)).min(u64::from(max));
            fill = due;
            let draw = random.below(1 << 16) as usize;
            let rate = &rates[if draw & 1 == 0 { 0 } else { (draw >> 1) % workers }];
            if random.below(64) == 0 {
                rate.sync_shared(now);
            } else if rate.take(now) {
                assert!(ideal > 0, "step {step}: a call too many");
                ideal -= 1;
                passed += 1;
            }
        }
        let filled = u64::from(max) + nanos / 100_000_000 * u64::from(per_fill);
        assert!(0 < passed && passed <= filled, "{passed} of {filled}");
        let bucket = TokenBucket::unpack(shared.bucket.load(Ordering::Relaxed));
        assert_eq!(bucket.leased, rates.iter().map(|rate| rate.leased.get()).sum::<u32>());
    }
}

#[test]
fn what_is_in_the_bucket_stays_when_settings_change() {
    // Of 100 tokens 60 are used; then the settings change, and what can be taken at some moments of them.
    let table: [(RateLimit, &[(u64, u32)]); 5] = [
        (settings(100, 10, 1_000), &[(5_500, 40), (6_000, 10), (7_000, 10)]),
        (settings(1_000, 10, 1_000), &[(5_500, 40), (6_000, 10)]),
        (settings(20, 5, 1_000), &[(5_500, 20), (5_999, 0), (6_000, 5)]),
        (settings(100, 10, 3_600_000), &[(5_500, 40), (60_000, 0), (3_600_000, 10)]),
        (settings(100, 1, 100), &[(5_500, 41), (5_600, 1), (5_800, 2)]),
    ];
    for (next, moments) in table {
        let shared = SharedRate::new(settings(100, 100, 3_600_000), 2, at(5_000));
        let rate = Rate::new(Arc::clone(&shared));
        assert_eq!((0..60).filter(|_| rate.take(at(5_000))).count(), 60);
        rate.sync_shared(at(5_300));
        shared.change(next, at(5_400));
        for (now, wanted) in moments {
            assert_eq!(takes(&rate, at(*now)), *wanted, "{next:?} at {now}");
        }
    }
}

#[test]
fn many_changes_neither_add_nor_lose_a_token() {
    let shared = SharedRate::new(settings(100, 100, 3_600_000), 2, at(0));
    let rate = Rate::new(Arc::clone(&shared));
    let mut taken = 0;
    for round in 1..=40 {
        taken += u32::from(rate.take(at(0)));
        shared.change(settings(100 + round % 3, 100, 3_600_000 + u64::from(round)), at(0));
    }
    assert_eq!((taken, takes(&rate, at(0))), (40, 60));
}

/// Four threads take while a fifth changes the settings: no fill is due, so all together get what was in the bucket.
#[test]
fn threads_together_keep_the_rate_while_it_changes() {
    let shared = SharedRate::new(settings(5_000, 1, 3_600_000), 4, at(0));
    let passed = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            let (rate, passed) = (Rate::new(Arc::clone(&shared)), &passed);
            scope.spawn(move || {
                for step in 0..20_000 {
                    passed.fetch_add(u32::from(rate.take(at(0))), Ordering::SeqCst);
                    if step % 100 == 0 {
                        rate.sync_shared(at(0));
                    }
                }
            });
        }
        for round in 0..2_000 {
            shared.change(settings(5_000 + round % 7, 1, 3_600_000 - u64::from(round)), at(0));
        }
    });
    assert_eq!(passed.into_inner(), 5_000);
}

#[test]
fn the_whole_rate_can_be_used() {
    let shared = SharedRate::new(settings(100, 100, 100), 4, at(0));
    let rates: Vec<Rate> = (0..4).map(|_| Rate::new(Arc::clone(&shared))).collect();
    let passed: u32 =
        (0..10_000).map(|millis| rates.iter().map(|rate| takes(rate, at(millis))).sum::<u32>()).sum();
    assert_eq!(passed, 10_000, "a hundred for each of a hundred fills");
}

/// Real threads at one moment: no fill but the first.
#[test]
fn threads_together_keep_the_rate() {
    for max in [1, 50, 5_000] {
        let shared = SharedRate::new(settings(max, 1_000, 1_000), 4, at(0));
        let passed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (rate, passed) = (Rate::new(Arc::clone(&shared)), Arc::clone(&passed));
                thread::spawn(move || {
                    for step in 0..20_000 {
                        passed.fetch_add(u32::from(rate.take(at(0))), Ordering::SeqCst);
                        if step % 100 == 0 {
                            rate.sync_shared(at(0));
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(passed.load(Ordering::SeqCst), max);
    }
}
