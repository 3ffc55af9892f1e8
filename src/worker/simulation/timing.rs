//! Promises about time, held exactly: a turn takes no time here.

use std::time::Duration;

use super::ledger::{Behaviour, HEDGED, IDEMPOTENT, Outcome, PLAIN, Plan};
use super::scene::{Scene, echo, plan};
use crate::net::memory::{Answer, Link};

const HANG: Behaviour = Behaviour::Hang { reads: true };
const UNAVAILABLE: Behaviour = Behaviour::Status { after: Duration::ZERO, code: 14 };

/// The delay that the timer wheel may add.
const WHEEL: Duration = Duration::from_millis(5);

const CONFIG: &str = r#"
workers = 1
[[listeners]]
address = "10.0.0.1:80"
handshake_timeout = "1s"
idle_timeout = "2s"
[[routes]]
match = { path = "/sim.S/Silent" }
cluster = "a"
timeout = "0s"
idle_timeout = "1s"
[[routes]]
cluster = "a"
timeout = "700ms"
[[clusters]]
name = "a"
endpoints = ["10.0.1.1:1"]
connect_timeout = "300ms"
[clusters.retry]
max_attempts = 3
initial_backoff = "100ms"
backoff_multiplier = 2.0
retryable_status_codes = ["UNAVAILABLE"]
[clusters.breaker]
enabled = false
[[clusters.methods]]
path = "/sim.S/Idempotent"
idempotent = true
[[clusters.methods]]
path = "/sim.S/Hedged"
idempotent = true
[clusters.methods.hedging]
max_attempts = 3
hedging_delay = "100ms"
non_fatal_status_codes = ["UNAVAILABLE"]
"#;

fn scene() -> Scene {
    Scene::new(CONFIG, Duration::ZERO)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Whether `took` is `promised`, or later by what the wheel may add.
#[track_caller]
fn assert_on_time(took: Duration, promised: Duration) {
    assert!(promised <= took && took <= promised + WHEEL, "{took:?} for {promised:?}");
}

#[test]
fn a_deadline_ends_a_call_within_the_wheels_tick_and_never_before() {
    let scene = scene();
    let peer = scene.client();
    for micros in (0..60).map(|n| 1_000 + n * 7_919) {
        let timeout = Duration::from_micros(micros);
        let (_, outcome, took) = scene.call(&peer, Plan { timeout: Some(timeout), ..plan(PLAIN, &[HANG]) });
        assert_eq!(outcome, Outcome::Status(4));
        assert_on_time(took, timeout);
    }
}

#[test]
fn timeouts_of_routes_end_calls_on_time() {
    let scene = scene();
    let peer = scene.client();
    let (_, outcome, took) = scene.call(&peer, plan(PLAIN, &[HANG]));
    assert_eq!(outcome, Outcome::Status(4));
    assert_on_time(took, ms(700));
    let (_, outcome, took) = scene.call(&peer, plan("/sim.S/Silent", &[HANG]));
    assert_eq!(outcome, Outcome::Status(4));
    assert_on_time(took, ms(1_000));
}

#[test]
fn a_hedge_begins_when_its_delay_is_over() {
    let scene = scene();
    let peer = scene.client();
    let answer = Behaviour::Answer { after: ms(30), messages: vec![20], code: 0 };
    let (number, outcome, took) = scene.call(&peer, plan(HEDGED, &[HANG, HANG, answer]));
    assert_eq!(outcome, Outcome::Status(0));
    let at = scene.attempts(number);
    assert_eq!(at.len(), 3);
    assert_on_time(at[1] - at[0], ms(100));
    assert_on_time(at[2] - at[1], ms(100));
    assert_eq!(took, at[2] + ms(30), "the answer is passed on at once");
    // An attempt that has lost is given up, though not before its service may have looked at it.
    scene.until(|| scene.ledger.0.borrow()[number].attempts[..2].iter().all(|lost| lost.given_up.is_some()));
}

#[test]
fn the_waits_between_attempts_are_those_of_the_policy() {
    let scene = scene();
    let peer = scene.client();
    for path in [PLAIN, IDEMPOTENT, PLAIN, IDEMPOTENT] {
        let (number, outcome, _) = scene.call(&peer, plan(path, &[UNAVAILABLE]));
        assert_eq!(outcome, Outcome::Status(14));
        let at = scene.attempts(number);
        assert_eq!(at.len(), 3);
        for (gap, mean) in [(at[1] - at[0], 100), (at[2] - at[1], 200)] {
            let bounds = ms(mean * 8 / 10)..=ms(mean * 12 / 10) + WHEEL;
            assert!(bounds.contains(&gap), "{gap:?} for {mean} ms");
        }
    }
}

#[test]
fn a_connect_that_nobody_answers_ends_on_time() {
    let scene = scene();
    scene.world.memory.open("10.0.1.1:1".parse().unwrap(), Answer::BlackHole, Link::default());
    let peer = scene.client();
    let (_, outcome, took) = scene.call(&peer, echo());
    assert_eq!(outcome, Outcome::Status(14));
    assert_on_time(took, ms(300));
}

#[test]
fn a_reset_waits_until_its_stream_is_old_enough() {
    let scene = scene();
    let peer = scene.client();
    for after in [0, 1, 5, 19, 25, 60] {
        let plan = Plan { cancels_after: Some(ms(after)), ..plan(PLAIN, &[HANG]) };
        let (number, outcome, _) = scene.call(&peer, plan);
        assert_eq!(outcome, Outcome::Cancelled);
        let attempt = || scene.ledger.0.borrow()[number].attempts.first().cloned();
        scene.until(|| attempt().is_none_or(|attempt| attempt.given_up.is_some()));
        let Some(attempt) = attempt() else { continue };
        let lived = attempt.given_up.expect("it was").since(attempt.at);
        let least = ms(after.max(20));
        // The wheel's moment is what a stream's age is counted from.
        assert!(least - WHEEL <= lived && lived <= least + WHEEL, "{after}: {lived:?}");
    }
}

#[test]
fn connections_without_calls_or_words_end_on_time() {
    let scene = scene();
    let silent = scene.far.memory.clone();
    let (began, address) = (scene.world.memory.now(), scene.gateway.address);
    let ended = std::rc::Rc::new(std::cell::Cell::new(None));
    let told = ended.clone();
    scene.far.spawn(async move {
        let end = silent.connect(address, None).await.expect("it serves");
        end.readable().await;
        told.set(Some(silent.now()));
    });
    scene.until(|| ended.get().is_some());
    assert_on_time(ended.get().expect("it was").since(began), ms(1_000));
    let peer = scene.client();
    assert_eq!(scene.call(&peer, echo()).1, Outcome::Status(0));
    let idle = scene.world.memory.now();
    scene.until(|| peer.has_ended());
    let took = scene.world.memory.now().since(idle);
    // A connection is looked at each second.
    assert!(ms(2_000) <= took && took <= ms(3_000) + WHEEL, "{took:?}");
    assert_eq!(scene.gateway.shard.worker.idle_timeouts.get(), 1);
}

#[test]
fn a_drain_waits_for_the_last_call_and_no_longer() {
    let scene = scene();
    let peer = scene.client();
    let slow = Behaviour::Answer { after: ms(500), messages: vec![20], code: 0 };
    let plan = std::rc::Rc::new(plan(PLAIN, &[slow]));
    let number = super::client::begin(&scene.far, &peer, &scene.ledger, &plan).expect("it takes calls");
    scene.pass(ms(100));
    scene.gateway.drain();
    scene.until(|| scene.gateway.has_ended());
    let call = &scene.ledger.0.borrow()[number];
    assert_eq!(call.outcomes[0].0, Outcome::Status(0));
    let after = scene.world.memory.now().since(call.outcomes[0].1);
    assert!(after <= ms(10), "it ends {after:?} after its last call");
}
