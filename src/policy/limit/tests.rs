use super::*;
use crate::random::Random;
use crate::time::Moment;
use std::sync::atomic::AtomicU32;
use std::thread;

#[test]
fn one_worker_gets_all_tokens_and_no_more() {
    for max in [0, 1, 7, 100, 1_024] {
        let shared = SharedLimit::new(max, 4);
        let limit = Limit::new(Arc::clone(&shared));
        for _ in 0..max {
            assert!(limit.take());
        }
        assert!(!limit.take());
        assert_eq!((limit.in_use(), shared.free(), shared.max()), (max, 0, max));
        for _ in 0..max {
            limit.give();
        }
        limit.sync_shared();
        assert_eq!((limit.in_use(), shared.free()), (0, max));
    }
}

#[test]
fn a_small_limit_is_exact_at_every_moment() {
    let shared = SharedLimit::new(10, 4);
    let [one, other] = [0, 1].map(|_| Limit::new(Arc::clone(&shared)));
    for _ in 0..10 {
        assert!(one.take());
    }
    assert!(!other.take());
    one.give();
    assert!(other.take(), "no tick was needed");
    assert!(!one.take());
}

#[test]
fn a_limit_without_leases_is_exact_whatever_its_size() {
    let shared = SharedLimit::unleased(5_000);
    let [one, other] = [0, 1].map(|_| Limit::new(Arc::clone(&shared)));
    assert!(one.take());
    for _ in 1..5_000 {
        assert!(other.take());
    }
    assert!(!other.take());
    one.give();
    assert!(other.take());
}

#[test]
fn idle_tokens_come_back_on_the_tick() {
    let shared = SharedLimit::new(1_024, 2);
    let [one, other] = [0, 1].map(|_| Limit::new(Arc::clone(&shared)));
    assert!(other.take());
    other.give();
    assert_eq!(shared.free(), 1_024 - 32);
    other.sync_shared();
    for _ in 0..1_024 {
        assert!(one.take());
    }
    assert!(!one.take() && !other.take());
}

#[test]
fn under_load_the_shared_atomic_is_left_alone() {
    let shared = SharedLimit::new(1_024, 2);
    let limit = Limit::new(Arc::clone(&shared));
    assert!(limit.take());
    let free = shared.free();
    for _ in 0..1_000 {
        for _ in 0..30 {
            assert!(limit.take());
        }
        for _ in 0..30 {
            limit.give();
        }
        assert_eq!(shared.free(), free);
    }
}

#[test]
fn a_worker_that_ends_puts_everything_back() {
    let shared = SharedLimit::new(100, 2);
    let limit = Limit::new(Arc::clone(&shared));
    assert!(limit.take() && limit.take());
    drop(limit);
    assert_eq!(shared.free(), 100);
}

/// Workers of very different load take, give and synchronise in a random order, in so many steps. At every step no more than
/// `max` are in use, a refusal means that no token is free, and few tokens lie idle; at rest all are back.
fn never_exceeds(shared: &Arc<SharedLimit>, workers: usize, seed: usize, steps: u32) {
    let (max, mut random) = (shared.max(), Random::seeded(seed as u64));
    let limits: Vec<Limit> = (0..workers).map(|_| Limit::new(Arc::clone(shared))).collect();
    let (mut in_use, mut refused, mut full) = (0, 0_u32, 0_u32);
    for step in 0..steps {
        // The first worker gets about half of the steps; give and take swing slowly between few and many calls.
        let draw = random.below(1 << 16) as usize;
        let worker = if draw & 1 == 0 { 0 } else { (draw >> 1) % workers };
        let limit = &limits[worker];
        let takes_of_256 = if (step >> 15) & 1 == 0 { 160 } else { 96 };
        match random.below(256) {
            0 => limit.sync_shared(),
            n if n <= takes_of_256 => {
                if limit.take() {
                    in_use += 1;
                    full += u32::from(in_use == max);
                } else {
                    refused += 1;
                    assert_eq!(shared.free(), 0);
                }
            }
            _ if limit.in_use() > 0 => {
                limit.give();
                in_use -= 1;
            }
            _ => {}
        }
        assert!(in_use <= max);
        debug_assert!(limit.idle.get() <= idle_max(limit.batch.get()));
    }
    assert_eq!(in_use, limits.iter().map(Limit::in_use).sum::<u32>());
    let idle: u32 = limits.iter().map(|limit| limit.idle.get()).sum();
    assert_eq!(in_use + idle + shared.free(), max);
    let is_leased = shared.batch(Tokens::new(max)) > 1;
    assert!(idle <= if is_leased { max / 4 } else { 0 });
    assert!(refused > 0 && full > 0, "the limit was reached");
    for limit in &limits {
        while limit.in_use() > 0 {
            limit.give();
        }
        limit.sync_shared();
    }
    assert_eq!(shared.free(), max);
}

const CASES: [(u32, usize); 5] = [(1, 1), (5, 3), (100, 2), (333, 8), (1_024, 4)];

/// Ten million steps of `max_requests`.
#[test]
fn no_order_of_events_exceeds_the_limit() {
    for (seed, (max, workers)) in CASES.into_iter().enumerate() {
        never_exceeds(&SharedLimit::new(max, workers), workers, seed, 2_000_000);
    }
}

/// Ten million steps of `max_pending_requests` and `max_connections`: there no refusal is early, ever.
#[test]
fn no_order_of_events_exceeds_a_limit_without_leases() {
    for (seed, (max, workers)) in CASES.into_iter().enumerate() {
        never_exceeds(&SharedLimit::unleased(max), workers, seed, 2_000_000);
    }
}

/// The limit is changed again and again while workers take and give. None is let in above what holds at that moment, but
/// for tokens that lay idle with a worker when the limit fell, which it uses up or puts back at its tick.
#[test]
fn a_limit_that_changes_is_never_exceeded() {
    for (seed, workers) in [1_usize, 2, 4, 8].into_iter().enumerate() {
        let mut random = Random::seeded(70 + seed as u64);
        let shared = SharedLimit::new(300, workers);
        let limits: Vec<Limit> = (0..workers).map(|_| Limit::new(Arc::clone(&shared))).collect();
        let (mut in_use, mut max, mut refused_above) = (0_u32, 300_u32, 0_u32);
        for step in 0..1_000_000 {
            if step % 10_000 == 0 {
                max = [1, 7, 300, 1_000, 40][random.below(5) as usize];
                shared.resize(max);
                // As a worker does that takes over another configuration.
                limits.iter().for_each(Limit::sync_shared);
                assert_eq!(shared.max(), max);
            }
            let limit = &limits[random.below(u32::try_from(workers).unwrap()) as usize];
            match random.below(256) {
                0 => limit.sync_shared(),
                n if n <= 150 => {
                    let taken = limit.take();
                    assert!(!taken || in_use < max, "{in_use} of {max}");
                    in_use += u32::from(taken);
                    refused_above += u32::from(!taken && in_use > max);
                }
                _ if limit.in_use() > 0 => {
                    limit.give();
                    in_use -= 1;
                }
                _ => {}
            }
        }
        assert!(refused_above > 0, "the limit fell below what was in use");
        drop(limits);
        assert_eq!((shared.free(), shared.max()), (max, max));
    }
}

/// Four threads take and give while a fifth changes the limit; in the end every token is there.
#[test]
fn no_token_is_lost_while_the_limit_changes() {
    let shared = SharedLimit::new(50, 4);
    thread::scope(|scope| {
        for seed in 0..4 {
            let shared = &shared;
            scope.spawn(move || {
                let (limit, mut random) = (Limit::new(Arc::clone(shared)), Random::seeded(seed));
                for _ in 0..100_000 {
                    if random.below(2) == 0 {
                        let _ = limit.take();
                    } else if limit.in_use() > 0 {
                        limit.give();
                    }
                }
            });
        }
        for max in (0..2_000).map(|step| step * 37 % 400) {
            shared.resize(max);
        }
        shared.resize(60);
    });
    assert_eq!((shared.free(), shared.max()), (60, 60));
}

/// Real threads, each with calls in flight, count one another in an atomic.
#[test]
fn threads_together_keep_the_limit() {
    for max in [3, 64, 500] {
        let shared = SharedLimit::new(max, 4);
        let in_flight = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|seed| {
                let limit = Limit::new(Arc::clone(&shared));
                let in_flight = Arc::clone(&in_flight);
                thread::spawn(move || {
                    let mut random = Random::seeded(seed);
                    for step in 0..200_000_u32 {
                        if random.below(100) < 55 {
                            if limit.take() {
                                assert!(in_flight.fetch_add(1, Ordering::SeqCst) < max);
                            }
                        } else if limit.in_use() > 0 {
                            in_flight.fetch_sub(1, Ordering::SeqCst);
                            limit.give();
                        }
                        if step % 1_000 == 0 {
                            limit.sync_shared();
                        }
                    }
                    in_flight.fetch_sub(limit.in_use(), Ordering::SeqCst);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((in_flight.load(Ordering::SeqCst), shared.free()), (0, max));
    }
}

#[test]
fn wants_are_few_and_each_is_taken_once() {
    let shared = SharedLimit::new(10, 2);
    assert!(!shared.take_want());
    (0..100).for_each(|_| shared.want());
    let taken = (0..100).filter(|_| shared.take_want()).count();
    assert_eq!(taken, WANTED_MAX as usize);
}

#[test]
fn a_refusal_within_a_share_holds_others_to_theirs_for_a_while() {
    let shared = SharedLimit::new(1_024, 2);
    let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
    let shares = [3, 63, 64].map(|max| SharedLimit::new(max, 1).share());
    assert_eq!((shared.share(), shares), (128, [u32::MAX, u32::MAX, 8]));
    let small = SharedLimit::new(63, 1);
    small.starve(at(5_000));
    assert!(!small.is_starved(at(5_000)) && !shared.is_starved(at(5_000)));
    shared.starve(at(5_000));
    assert!(shared.is_starved(at(5_000)) && shared.is_starved(at(6_999)) && !shared.is_starved(at(7_000)));
    // Refusals that follow at once are not written down, later ones are.
    shared.starve(at(5_200));
    assert!(!shared.is_starved(at(7_000)));
    shared.starve(at(5_300));
    assert!(shared.is_starved(at(7_299)) && !shared.is_starved(at(7_300)));
    shared.starve(at(1_000));
    assert!(shared.is_starved(at(7_299)), "an older moment takes nothing back");
}
