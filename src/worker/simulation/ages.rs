//! How old connections become, and pings to silent clients: exactly, for a turn takes no time here.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::ledger::{Behaviour, Outcome, PLAIN};
use super::scene::{Scene, echo, plan};
use super::text::Text;
use crate::http2::frame::PREFACE;
use crate::net::memory::{Link, WireConditions};
use crate::time::Moment;

const HANG: Behaviour = Behaviour::Hang { reads: true };
const WHEEL: Duration = Duration::from_millis(5);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn scene(listener: &'static str, cluster: &'static str) -> Scene {
    let text =
        Text { listener, cluster, route: "timeout = \"0s\"\nidle_timeout = \"1h\"", ..Text::default() };
    Scene::new(&text.to_string(), Duration::ZERO)
}

#[test]
fn connections_of_one_moment_end_spread_over_the_jitter() {
    const CLIENTS: usize = 200;
    let scene = scene("max_connection_age = \"20s\"\nidle_timeout = \"1h\"", "");
    let began = scene.now();
    let peers: Vec<_> = (0..CLIENTS).map(|_| scene.client()).collect();
    assert!(scene.now().since(began) < ms(50), "they begin together");
    let ended = |peers: &[_]| peers.iter().filter(|peer: &&Rc<super::peer::Peer>| peer.has_ended()).count();
    // By twentieths of the spread, from 18 to 22 s.
    let mut counts = Vec::new();
    scene.pass(ms(18_000).saturating_sub(scene.now().since(began)));
    assert_eq!(ended(&peers), 0, "none ends before its time");
    for _ in 0..20 {
        let before = ended(&peers);
        scene.pass(ms(200));
        counts.push(ended(&peers) - before);
    }
    scene.pass(ms(60));
    assert_eq!(ended(&peers), CLIENTS, "all have ended: {counts:?}");
    assert!(counts.iter().all(|count| *count <= CLIENTS / 20 * 3), "not all at once: {counts:?}");
    assert_eq!(scene.gateway.counts().connections_aged.get(), CLIENTS as u64);
}

#[test]
fn calls_of_an_old_connection_finish_and_the_client_comes_back() {
    let scene = scene("max_connection_age = \"2s\"\nmax_connection_age_jitter = 0.0", "");
    let peer = scene.client();
    let slow = Behaviour::Answer { after: ms(20_000), messages: vec![20], code: 0 };
    let number = client::begin(&scene.far, &peer, &scene.ledger, &Rc::new(plan(PLAIN, &[slow])));
    scene.pass(ms(2_100));
    assert!(peer.session.ask(|http2| !http2.takes_streams()), "the client knows that it takes no more");
    let other = scene.client();
    assert_eq!(scene.call(&other, echo()).1, Outcome::Status(0));
    scene.until(|| peer.has_ended());
    let (outcome, took) = scene.ledger.ended(number.expect("it takes calls"));
    assert_eq!(outcome, Outcome::Status(0), "after {took:?}");
}

#[test]
fn no_call_of_a_client_that_answers_late_is_lost() {
    let scene =
        scene("max_connection_age = \"10s\"\nmax_connection_age_jitter = 0.0\nidle_timeout = \"1h\"", "");
    let far = WireConditions { delay: ms(1_500), ..WireConditions::default() };
    let peer = scene.client_over(Link { up: far, down: far });
    let plan = Rc::new(echo());
    let mut numbers = Vec::new();
    while let Some(number) = client::begin(&scene.far, &peer, &scene.ledger, &plan) {
        numbers.push(number);
        scene.pass(ms(50));
    }
    scene.until(|| peer.has_ended() && scene.ledger.is_over());
    assert!(numbers.len() > 100, "it calls for as long as it may: {}", numbers.len());
    for number in numbers {
        assert_eq!(scene.ledger.ended(number).0, Outcome::Status(0), "call {number}");
    }
}

#[test]
fn a_call_is_cut_after_the_grace() {
    let age =
        "max_connection_age = \"2s\"\nmax_connection_age_jitter = 0.0\nmax_connection_age_grace = \"3s\"";
    let scene = scene(age, "");
    let began = scene.now();
    let peer = scene.client();
    assert_eq!(scene.call(&peer, plan(PLAIN, &[HANG])).1, Outcome::Status(14));
    let took = scene.now().since(began);
    assert!(ms(5_000) <= took && took <= ms(5_000) + 4 * WHEEL, "{took:?}");
    scene.until(|| peer.has_ended());
}

#[test]
fn an_old_connection_to_a_service_carries_its_calls_to_their_end_and_no_new_ones() {
    let scene = scene("", "[clusters.pool]\nmax_connection_age = \"2s\"\nmax_connection_age_jitter = 0.0");
    let peer = scene.client();
    let connections = || scene.services[0].1.borrow().len();
    assert_eq!(scene.call(&peer, echo()).1, Outcome::Status(0));
    let slow = Behaviour::Answer { after: ms(5_000), messages: vec![20], code: 0 };
    let long = client::begin(&scene.far, &peer, &scene.ledger, &Rc::new(plan(PLAIN, &[slow])));
    assert_eq!(connections(), 1);
    scene.pass(ms(2_100));
    assert_eq!(scene.call(&peer, echo()).1, Outcome::Status(0));
    assert_eq!(connections(), 2, "the next call has a connection of its own");
    scene.until(|| scene.ledger.is_over());
    assert_eq!(scene.ledger.ended(long.expect("it takes calls")).0, Outcome::Status(0));
}

#[test]
fn a_silent_client_is_pinged_and_one_that_does_not_answer_is_let_go() {
    let keepalive =
        "idle_timeout = \"1h\"\n[listeners.http2]\nkeepalive_interval = \"10s\"\nkeepalive_timeout = \"5s\"";
    let scene = scene(keepalive, "");
    let (mute, address) = (scene.far.memory.clone(), scene.gateway.address);
    let ended = Rc::new(Cell::new(None::<Moment>));
    let told = Rc::clone(&ended);
    let began = scene.now();
    scene.far.spawn(async move {
        let end = mute.connect(address, None).await.expect("it serves");
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        end.send([PREFACE, &settings].into_iter()).expect("there is room");
        loop {
            end.readable().await;
            match end.receive(1 << 16) {
                Ok(bytes) if !bytes.is_empty() => {}
                _ => break,
            }
        }
        told.set(Some(mute.now()));
    });
    // One that answers is silent, too, but for its answers.
    let peer = scene.client();
    scene.until(|| ended.get().is_some());
    let took = ended.get().expect("it was").since(began);
    // Connections are looked at each second.
    assert!(ms(15_000) <= took && took <= ms(17_000) + WHEEL, "{took:?}");
    scene.pass(ms(30_000));
    assert!(!peer.has_ended(), "its answers keep it");
    assert_eq!(scene.gateway.counts().client_keepalive_timeouts.get(), 1);
    assert_eq!(scene.call(&peer, echo()).1, Outcome::Status(0));
}
