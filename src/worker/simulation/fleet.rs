//! Several workers, each with turns of its own in an order that the seed chooses: what they share is exact, and a
//! connection that one hands to another is served.

use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::ledger::{Behaviour, Outcome, PLAIN, Plan};
use super::peer::Peer;
use super::scene::{Scene, echo, plan};
use super::text::Text;
use crate::http2::Bounds;

const SEEDS: std::ops::Range<u64> = 0..12;

/// A worker settles what it shares each 100 ms, and its timers may add a tick of the wheel. What one has counted
/// another has read when both have.
const SETTLED: Duration = Duration::from_millis(100 + 5);
const READ: Duration = Duration::from_millis(2 * (100 + 5));

const HANG: Behaviour = Behaviour::Hang { reads: true };
const UNAVAILABLE: Behaviour = Behaviour::Status { after: Duration::ZERO, code: 14 };

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn scene(seed: u64, text: &Text<'_>) -> Scene {
    Scene::seeded(seed, &text.to_string(), Duration::from_micros(seed % 3 * 10))
}

/// A client for each worker.
fn one_each(scene: &Scene) -> Vec<Rc<Peer>> {
    let count = scene.gateway.workers.len();
    let peers = (0..count).map(|_| scene.client()).collect();
    assert_eq!(connections(scene), vec![1; count]);
    peers
}

/// The connections of each worker.
fn connections(scene: &Scene) -> Vec<u64> {
    let workers = scene.gateway.workers.iter();
    workers.map(|seat| seat.shard.worker.connections_active.get()).collect()
}

fn is_ok(outcome: &Outcome) -> bool {
    *outcome == Outcome::Status(0)
}

#[test]
fn connections_one_after_the_other_live_on_workers_of_their_own() {
    for (seed, workers) in SEEDS.flat_map(|seed| [2, 3, 4].map(|workers| (seed, workers))) {
        let scene = scene(seed, &Text { workers, ..Text::default() });
        for _ in 0..3 {
            let peers = one_each(&scene);
            for peer in &peers {
                assert_eq!(scene.call(peer, echo()).1, Outcome::Status(0));
                peer.finish();
            }
            scene.until(|| connections(&scene).iter().all(|count| *count == 0));
        }
    }
}

#[test]
fn a_burst_is_spread_by_an_eighth_and_each_connection_served() {
    const CLIENTS: usize = 60;
    for (seed, workers) in SEEDS.flat_map(|seed| [2, 3, 4].map(|workers| (seed, workers))) {
        let scene = scene(seed, &Text { workers, ..Text::default() });
        for _ in 0..CLIENTS {
            let (far, ledger, address) =
                (Rc::clone(&scene.far), Rc::clone(&scene.ledger), scene.gateway.address);
            scene.far.spawn(async move {
                let end = far.memory.connect(address, None).await.expect("it serves");
                let peer = Peer::client(&far, end, Bounds::default());
                client::begin(&far, &peer, &ledger, &echo().into()).expect("it takes calls");
                std::future::pending::<()>().await;
            });
        }
        scene.until(|| scene.ledger.0.borrow().len() == CLIENTS && scene.ledger.is_over());
        assert!((0..CLIENTS).all(|number| is_ok(&scene.ledger.ended(number).0)), "seed {seed}");
        let all = connections(&scene);
        let (most, fewest) = (all.iter().max().expect("workers"), all.iter().min().expect("workers"));
        assert_eq!(all.iter().sum::<u64>(), CLIENTS as u64, "seed {seed}");
        // An eighth, and the one that was placed last.
        assert!(*most <= fewest + fewest / 8 + 1, "seed {seed}: {all:?}");
        assert!(scene.gateway.total(|counts| counts.connections_handed.get()) > 0, "seed {seed}");
        assert_eq!(scene.gateway.total(|counts| counts.connections_refused.get()), 0, "seed {seed}");
    }
}

/// Method: clients connect and call all the time while the gateway drains.
#[test]
fn connections_that_come_while_it_drains_are_not_lost() {
    for seed in SEEDS {
        let scene = scene(seed, &Text { workers: 4, ..Text::default() });
        let begun = Rc::new(std::cell::Cell::new(0));
        for _ in 0..8 {
            let (far, ledger, address) =
                (Rc::clone(&scene.far), Rc::clone(&scene.ledger), scene.gateway.address);
            let begun = Rc::clone(&begun);
            scene.far.spawn(async move {
                // Refused once nobody listens.
                while let Ok(end) = far.memory.connect(address, None).await {
                    let peer = Peer::client(&far, end, Bounds::default());
                    let number = client::begin(&far, &peer, &ledger, &echo().into()).expect("it takes calls");
                    let is_over = || !ledger.0.borrow()[number].outcomes.is_empty();
                    far.until(is_over).await;
                    peer.close();
                    far.until(|| peer.has_ended()).await;
                }
                begun.set(begun.get() + 1);
            });
        }
        scene.pass(ms(20 + seed));
        scene.gateway.drain();
        scene.until(|| scene.gateway.has_ended() && begun.get() == 8);
        scene.gateway.check_idle(&format!("seed {seed}"));
        let calls = scene.ledger.0.borrow();
        let ok = calls.iter().filter(|call| is_ok(&call.outcomes[0].0)).count();
        assert!(calls.iter().all(|call| call.outcomes.len() == 1) && ok > 0, "seed {seed}");
        // A client that waited when the listener closed, or came when its worker drained, was not served, and knows it.
        let served = calls.iter().filter(|call| !call.attempts.is_empty()).count();
        assert_eq!(served, ok, "seed {seed}: {calls:?}");
    }
}

#[test]
fn a_rate_limit_is_exact_over_workers() {
    const LIMITED: &str = "/sim.S/Limited";
    let routes = "[[routes]]\nmatch = { path = \"/sim.S/Limited\" }\ncluster = \"a\"\n\
                  rate_limit = { max_tokens = 100, tokens_per_fill = 50, fill_interval = \"1s\" }";
    let limited = || Plan { path: LIMITED, ..echo() };
    for seed in SEEDS {
        let scene = scene(seed, &Text { workers: 4, routes, ..Text::default() });
        let peers = one_each(&scene);
        let fills = || scene.now().as_nanos() / 1_000_000_000;
        // Four times as many as are filled.
        let (before, count) = (fills(), 700);
        let calls = scene.ended(&scene.offer(&peers, ms(5), count, limited()), count);
        let filled = fills() - before;
        assert!((3..=4).contains(&filled), "{filled} fills");
        let ok = calls.iter().filter(|(outcome, _)| is_ok(outcome)).count() as u64;
        assert_eq!(ok, 100 + 50 * filled, "seed {seed}");
        assert!(calls.iter().all(|(outcome, _)| is_ok(outcome) || *outcome == Outcome::Status(8)));
    }
}

#[test]
fn a_worker_gets_the_tokens_that_others_have_leased_and_do_not_need() {
    const LIMITED: &str = "/sim.S/Limited";
    let routes = "[[routes]]\nmatch = { path = \"/sim.S/Limited\" }\ncluster = \"a\"\n\
                  rate_limit = { max_tokens = 100, tokens_per_fill = 1, fill_interval = \"1h\" }";
    let limited = || Plan { path: LIMITED, ..echo() };
    for seed in SEEDS {
        let scene = scene(seed, &Text { workers: 4, routes, ..Text::default() });
        let peers = one_each(&scene);
        for peer in &peers {
            assert_eq!(scene.call(peer, limited()).1, Outcome::Status(0));
        }
        scene.pass(SETTLED);
        let calls = scene.ended(&scene.offer(&peers[..1], Duration::ZERO, 150, limited()), 150);
        let ok = calls.iter().filter(|(outcome, _)| is_ok(outcome)).count();
        assert_eq!(ok, 100 - peers.len(), "seed {seed}");
    }
}

#[test]
fn a_limit_on_calls_is_exact_over_workers_and_all_of_it_is_used() {
    const MAX: usize = 200;
    for seed in SEEDS {
        let cluster = "max_requests = 200\n[clusters.breaker]\nenabled = false";
        let scene = scene(seed, &Text { workers: 4, cluster, ..Text::default() });
        let peers = one_each(&scene);
        let hang = Plan { timeout: Some(ms(2_000)), ..plan(PLAIN, &[HANG]) };
        let exact = || {
            scene.gateway.check_shared(|| format!("seed {seed}"));
            true
        };
        // The first worker has hardly any calls, and the last has most.
        let numbers: Vec<_> = [10, 20, 40, 200]
            .iter()
            .zip(&peers)
            .map(|(count, peer)| {
                (scene.offer(std::slice::from_ref(peer), ms(1), *count, hang.clone()), *count)
            })
            .collect();
        let begun = || numbers.iter().all(|(numbers, count)| numbers.borrow().len() == *count);
        scene.until(|| exact() && begun());
        scene.pass(SETTLED);
        // Workers that need no leases have given them back.
        let more = scene.offer(&peers[2..3], Duration::ZERO, 60, hang);
        scene.until(|| exact() && more.borrow().len() == 60);
        scene.pass(ms(20));
        assert_eq!(
            scene.gateway.of_cluster(0, |counts| counts.calls_active.get()),
            MAX as u64,
            "seed {seed}"
        );
        scene.until(|| exact() && scene.ledger.is_over());
        let limit = &scene.gateway.shared.limits[0];
        let over = scene.now();
        scene.until(|| limit.free() == limit.max());
        assert!(scene.now().since(over) <= READ, "seed {seed}");
    }
}

/// Four clients keep all places taken by calls that services work on for a second.
#[test]
fn clients_that_want_all_places_leave_others_theirs() {
    const SECONDS: usize = 8;
    for seed in 0..3 {
        let cluster = "max_requests = 200\n[clusters.breaker]\nenabled = false";
        let text = Text { workers: 4, cluster, max_attempts: 1, ..Text::default() };
        let scene = scene(seed, &text);
        let (greedy, stranger) = (one_each(&scene), scene.client());
        let slow = Behaviour::Answer { after: ms(1_000), messages: vec![20], code: 0 };
        let slow = scene.offer(&greedy, ms(1), 1_000 * SECONDS, plan(PLAIN, &[slow]));
        scene.pass(ms(1_000));
        let calls = scene.offer(std::slice::from_ref(&stranger), ms(50), 20 * (SECONDS - 2), echo());
        let calls = scene.ended(&calls, 20 * (SECONDS - 2));
        // Within two seconds places come back, and from then on there always is one.
        let later = &calls[2 * 20..];
        assert!(later.iter().all(|(outcome, _)| is_ok(outcome)), "seed {seed}: {calls:?}");
        assert!(calls.iter().any(|(outcome, _)| !is_ok(outcome)), "seed {seed}: there was no want");
        let greedy = scene.ended(&slow, 1_000 * SECONDS);
        let served = greedy.iter().filter(|(outcome, _)| is_ok(outcome)).count();
        // All but what is kept.
        assert!(served >= 160 * (SECONDS - 1), "seed {seed}: {served}");
    }
}

#[test]
fn a_breaker_counts_what_all_workers_see_and_holds_for_all() {
    for seed in SEEDS {
        let cluster = "[clusters.breaker]\ntimeout = \"1s\"\nramp = \"0s\"";
        let scene = scene(seed, &Text { workers: 4, cluster, max_attempts: 1, ..Text::default() });
        let service = scene.services[0].0;
        let peers = one_each(&scene);
        scene.ledger.set_mood(service, |_| UNAVAILABLE);
        let failing = |count| {
            let before = scene.ledger.attempts_since(crate::time::Moment::ZERO);
            let calls = scene.ended(&scene.offer(&peers, ms(1), count, echo()), count);
            assert!(calls.iter().all(|(outcome, _)| *outcome == Outcome::Status(14)), "seed {seed}");
            scene.ledger.attempts_since(crate::time::Moment::ZERO) - before
        };
        // Five calls of each worker are not enough for any of them alone, and `min_requests` in all.
        assert_eq!(failing(20), 20, "seed {seed}");
        scene.pass(READ);
        assert_eq!(failing(40), 0, "seed {seed}: it is open for all");

        // Its rest over, three probes are let through, whichever worker asks.
        scene.pass(ms(1_000));
        scene.ledger.set_mood(service, |_| Behaviour::Answer { after: ms(50), messages: vec![20], code: 0 });
        let calls = scene.ended(&scene.offer(&peers, Duration::ZERO, 24, echo()), 24);
        assert_eq!(calls.iter().filter(|(outcome, _)| is_ok(outcome)).count(), 3, "seed {seed}");
        scene.pass(READ);
        let calls = scene.ended(&scene.offer(&peers, ms(1), 40, echo()), 40);
        assert!(calls.iter().all(|(outcome, _)| is_ok(outcome)), "seed {seed}: it is closed for all");
    }
}
