//! Promises about time, held exactly: a turn takes no time here.

use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::ledger::{Behaviour, HEDGED, IDEMPOTENT, Outcome, PLAIN, Plan};
use super::scene::{Scene, echo, plan};
use super::text::Text;
use crate::net::memory::{Answer, Link, WireConditions};

const HANG: Behaviour = Behaviour::Hang { reads: true };
const UNAVAILABLE: Behaviour = Behaviour::Status { after: Duration::ZERO, code: 14 };

/// The delay that the timer wheel may add.
const WHEEL: Duration = Duration::from_millis(5);

/// Calls of this path may take as long as they like, but for a second of silence.
const SILENT: &str = "/sim.S/Silent";

fn text() -> Text<'static> {
    Text {
        listener: "handshake_timeout = \"1s\"\nidle_timeout = \"2s\"",
        routes: "[[routes]]\nmatch = { path = \"/sim.S/Silent\" }\ncluster = \"a\"\ntimeout = \"0s\"\nidle_timeout = \"1s\"",
        route: "timeout = \"700ms\"",
        cluster: "[clusters.breaker]\nenabled = false",
        backoff: "100ms",
        hedging_delay: "100ms",
        ..Text::default()
    }
}

fn scene() -> Scene {
    Scene::new(&text().to_string(), Duration::ZERO)
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
    let (_, outcome, took) = scene.call(&peer, plan(SILENT, &[HANG]));
    assert_eq!(outcome, Outcome::Status(4));
    assert_on_time(took, ms(1_000));
}

/// Method: a thousand calls in a second to a service that says nothing, each with 100 ms.
#[test]
fn deadlines_end_calls_on_time_and_cancel_them_upstream_however_many_there_are() {
    let scene = scene();
    let peers: Vec<_> = (0..12).map(|_| scene.client()).collect();
    let numbers = scene.offer(&peers, ms(1), 1_000, Plan { timeout: Some(ms(100)), ..plan(PLAIN, &[HANG]) });
    scene.pass(ms(500));
    let in_flight = scene.gateway.counts().calls_active.get();
    assert!((100..=106).contains(&in_flight), "{in_flight} in flight");
    for (outcome, took) in scene.ended(&numbers, 1_000) {
        assert_eq!(outcome, Outcome::Status(4));
        assert_on_time(took, ms(100));
    }
    for call in scene.ledger.0.borrow().iter() {
        let [attempt] = &call.attempts[..] else { panic!("one attempt: {call:?}") };
        assert_on_time(attempt.given_up.expect("it is cancelled").since(attempt.at), ms(100));
    }
}

#[test]
fn every_timeout_holds_and_caps_the_callers() {
    let method = "[[clusters.methods]]\npath = \"/sim.S/Own\"\ntimeout = \"600ms\"";
    let table = [
        ("a route's", "timeout = \"600ms\"", String::new()),
        ("a cluster's", "timeout = \"30s\"", "timeout = \"600ms\"".to_owned()),
        ("a method's", "timeout = \"30s\"", format!("timeout = \"10s\"\n{method}")),
    ];
    for (whose, route, cluster) in &table {
        let scene = Scene::new(&Text { route, cluster, ..text() }.to_string(), Duration::ZERO);
        let peer = scene.client();
        for (timeout, promised) in [(None, 600), (Some(20_000), 600), (Some(150), 150)] {
            let timeout = timeout.map(ms);
            let (_, outcome, took) = scene.call(&peer, Plan { timeout, ..plan("/sim.S/Own", &[HANG]) });
            assert_eq!(outcome, Outcome::Status(4), "{whose}, {timeout:?}");
            assert_on_time(took, ms(promised));
        }
    }
}

#[test]
fn a_timeout_follows_the_latency() {
    let cluster = "[clusters.adaptive_timeout]\npercentile = 90.0\nfloor = \"120ms\"\n[clusters.breaker]\nenabled = false";
    let scene = Scene::new(&Text { cluster, ..text() }.to_string(), Duration::ZERO);
    let peer = scene.client();
    let slow = Behaviour::Answer { after: ms(300), messages: vec![20], code: 0 };
    assert_eq!(
        scene.call(&peer, plan(IDEMPOTENT, std::slice::from_ref(&slow))).2,
        ms(300),
        "the fixed one is long"
    );
    let quick = Behaviour::Answer { after: ms(10), messages: vec![20], code: 0 };
    // It is judged once a second.
    for _ in 0..150 {
        assert_eq!(scene.call(&peer, plan(IDEMPOTENT, std::slice::from_ref(&quick))).2, ms(10));
    }
    let (number, outcome, took) = scene.call(&peer, plan(IDEMPOTENT, &[slow, quick]));
    let at = scene.attempts(number);
    // Each attempt has its own time, and a call that may be sent again is.
    assert_eq!((outcome, at.len()), (Outcome::Status(0), 2), "{at:?}");
    assert!((ms(120 + 80)..=ms(120 + 120) + 2 * WHEEL).contains(&at[1]), "{at:?}");
    assert_eq!(took, at[1] + ms(10));
}

#[test]
fn a_wait_for_a_connection_counts() {
    let cluster = "[clusters.pool]\nmax_connections_per_endpoint = 1\nmax_streams_per_connection = 1";
    let scene = Scene::new(&Text { cluster, ..text() }.to_string(), Duration::ZERO);
    let peer = scene.client();
    // Another call has the only place for longer.
    let first = Rc::new(Plan { timeout: Some(ms(20_000)), ..plan(SILENT, &[HANG]) });
    client::begin(&scene.far, &peer, &scene.ledger, &first).expect("it takes calls");
    scene.pass(ms(10));
    let (number, outcome, took) = scene.call(&peer, plan(PLAIN, &[HANG]));
    assert_eq!(outcome, Outcome::Status(4));
    assert_on_time(took, ms(700));
    assert!(scene.attempts(number).is_empty(), "it was never sent");
    assert_eq!(scene.gateway.of_cluster(0, |counts| counts.pending_active.get()), 0);
}

#[test]
fn an_upstream_that_takes_no_more_of_the_body_counts() {
    let scene = scene();
    let peer = scene.client();
    let frozen = plan(PLAIN, &[Behaviour::Hang { reads: false }]);
    let (_, outcome, took) = scene.call(&peer, Plan { messages: vec![3 << 20], ..frozen });
    assert_eq!(outcome, Outcome::Status(4));
    assert_on_time(took, ms(700));
}

#[test]
fn a_wait_between_attempts_counts() {
    let scene = Scene::new(&Text { backoff: "400ms", ..text() }.to_string(), Duration::ZERO);
    let peer = scene.client();
    let (number, outcome, took) = scene.call(&peer, plan(PLAIN, &[UNAVAILABLE]));
    // A second wait would end after the timeout, so there is none.
    assert_eq!((outcome, scene.attempts(number).len()), (Outcome::Status(14), 2));
    assert!((ms(320)..=ms(480) + WHEEL).contains(&took), "{took:?}");
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
    // An attempt that has lost is given up when the answer is there, and not before.
    let given_up =
        || scene.ledger.0.borrow()[number].attempts[..2].iter().map(|lost| lost.given_up).collect::<Vec<_>>();
    scene.until(|| given_up().iter().all(Option::is_some));
    let began = scene.ledger.0.borrow()[number].began;
    given_up().into_iter().flatten().for_each(|at| assert_on_time(at.since(began), took));
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

/// Bytes lie where they were received until the connection to the service has sent them, whoever has given up meanwhile.
#[test]
fn what_a_cancelled_call_has_sent_is_held_until_its_link_has_taken_it_and_no_longer() {
    const SIZE: usize = 100_000;
    let scene = scene();
    let way = WireConditions { delay: ms(20), capacity: 9_000, ..WireConditions::default() };
    let narrow = Link { up: way, down: WireConditions::default() };
    scene.world.memory.open(scene.services[0].0, Answer::Accept, narrow);
    let peer = scene.client();
    let upload = Plan { messages: vec![SIZE], cancels_after: Some(ms(70)), ..plan(PLAIN, &[HANG]) };
    assert_eq!(scene.call(&peer, upload).1, Outcome::Cancelled);
    assert!(!scene.gateway.has_let_go() && scene.gateway.is_sending());
    let began = scene.now();
    scene.until(|| scene.gateway.has_let_go() || !scene.gateway.is_sending());
    assert!(scene.gateway.has_let_go(), "nobody sends what is held");
    // The link is read when it is full, and who sends learns of that as long after it.
    let held = scene.now().since(began);
    assert!(held <= way.delay * 2 * (SIZE / way.capacity + 1) as u32, "{held:?}");
}

#[test]
fn connections_without_calls_or_words_end_on_time() {
    let scene = scene();
    let silent = scene.far.memory.clone();
    let (began, address) = (scene.world.memory.now(), scene.gateway.address);
    let ended = Rc::new(std::cell::Cell::new(None));
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
    assert_eq!(scene.gateway.counts().idle_timeouts.get(), 1);
}

#[test]
fn a_drain_waits_for_the_last_call_and_no_longer() {
    let scene = scene();
    let peer = scene.client();
    let slow = Behaviour::Answer { after: ms(500), messages: vec![20], code: 0 };
    let plan = Rc::new(plan(PLAIN, &[slow]));
    let number = client::begin(&scene.far, &peer, &scene.ledger, &plan).expect("it takes calls");
    scene.pass(ms(100));
    scene.gateway.drain();
    scene.until(|| scene.gateway.has_ended());
    let call = &scene.ledger.0.borrow()[number];
    assert_eq!(call.outcomes[0].0, Outcome::Status(0));
    let after = scene.world.memory.now().since(call.outcomes[0].1);
    assert!(after <= ms(10), "it ends {after:?} after its last call");
}
