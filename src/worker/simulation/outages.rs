//! Services that fail for a while: what they are asked meanwhile, and when all is well again, exactly.

use std::net::SocketAddr;
use std::time::Duration;

use super::ledger::{Behaviour, Outcome, PLAIN, Plan};
use super::peer::Peers;
use super::scene::{Scene, echo, plan};
use super::text::Text;
use crate::net::memory::{Answer, Link};
use crate::time::Moment;

/// The delay that the wheel may add.
const WHEEL: Duration = Duration::from_millis(5);
/// After so long at most a worker knows what another one has counted.
const TICK: Duration = Duration::from_millis(100);

const OK: Behaviour = Behaviour::Answer { after: Duration::ZERO, messages: Vec::new(), code: 0 };
const UNAVAILABLE: Behaviour = Behaviour::Status { after: Duration::ZERO, code: 14 };

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn scene(endpoints: usize, cluster: &str) -> Scene {
    let text = Text { endpoints, cluster, backoff: "100ms", ..Text::default() };
    Scene::new(&text.to_string(), Duration::ZERO)
}

/// A call that may take two seconds.
fn call() -> Plan {
    Plan { timeout: Some(ms(2_000)), ..plan(PLAIN, &[OK]) }
}

/// An outage of five seconds under 500 calls a second, as its clients and its service see it.
struct Outage {
    scene: Scene,
    began: Moment,
    back: Moment,
    /// How each call ended, in the order in which they began.
    calls: Vec<(Moment, Outcome)>,
}

impl Outage {
    fn of(cluster: &str) -> Outage {
        const PACE: Duration = Duration::from_millis(2);
        let scene = scene(1, cluster);
        let service = scene.services[0].0;
        let peers = [scene.client(), scene.client()];
        let numbers = scene.offer(&peers, PACE, 5_000, call());
        scene.pass(ms(500));
        let began = scene.now();
        scene.ledger.set_mood(service, |_| UNAVAILABLE);
        scene.pass(ms(5_000));
        let back = scene.now();
        scene.ledger.clear_mood(service);
        scene.ended(&numbers, 5_000);
        let calls = {
            let calls = scene.ledger.0.borrow();
            let of = |call: &super::ledger::Call| (call.began, call.outcomes[0].0.clone());
            numbers.borrow().iter().map(|number| of(&calls[*number])).collect()
        };
        Outage { scene, began, back, calls }
    }

    /// Attempts while it lasts, and calls that begin then.
    fn asked(&self) -> (usize, usize) {
        let attempts = |since| self.scene.ledger.attempts_since(since);
        let calls = self.calls.iter().filter(|(at, _)| (self.began..self.back).contains(at)).count();
        (attempts(self.began) - attempts(self.back), calls)
    }

    /// From the return of the service to the beginning of the last call that fails.
    fn recovery(&self) -> Duration {
        let failed = self.calls.iter().filter(|(_, outcome)| *outcome != Outcome::Status(0));
        failed.map(|(at, _)| at.since(self.back)).max().unwrap_or_default()
    }
}

#[test]
fn without_a_breaker_a_service_is_asked_a_fifth_more_and_all_is_well_at_once() {
    let outage = Outage::of("[clusters.breaker]\nenabled = false");
    let (attempts, calls) = outage.asked();
    // A fifth of all calls so far, and what the budget lends.
    assert!(calls == 2_500 && (calls..=calls + 3_000 / 5 + 10).contains(&attempts), "{attempts} for {calls}");
    assert_eq!(outage.recovery(), Duration::ZERO);
    let fails = |(at, outcome): &&(Moment, Outcome)| {
        (outage.began..outage.back).contains(at) && *outcome == Outcome::Status(0)
    };
    // A call that waits for its retry when the service comes back succeeds.
    let late = outage.calls.iter().filter(fails).map(|(at, _)| outage.back.since(*at)).max();
    assert!(late.unwrap_or_default() <= ms(120 + 240) + 2 * WHEEL, "{late:?}");
}

#[test]
fn with_a_breaker_a_service_is_hardly_asked_and_all_is_well_when_it_has_rested() {
    let outage = Outage::of("[clusters.breaker]\ntimeout = \"1s\"\nramp = \"1s\"");
    let (attempts, calls) = outage.asked();
    // Three quarters of the last 1.5 s have to fail before it opens, and each second a probe is let through.
    assert!(attempts <= calls / 2, "{attempts} for {calls}");
    let opened = outage.scene.gateway.of_cluster(0, |counts| counts.breaker_refused.get());
    assert!(opened > 1_000, "{opened} calls were refused");
    // It rests for a second when a probe has failed, and grows back over another one.
    let recovery = outage.recovery();
    assert!(recovery <= ms(1_000 + 1_000) + TICK, "still failing {recovery:?} later");
}

#[test]
fn a_breaker_opens_rests_and_closes_when_it_says() {
    const PACE: Duration = Duration::from_millis(10);
    let cluster = "[clusters.breaker]\ntimeout = \"1s\"\nramp = \"1s\"";
    let text = Text { cluster, max_attempts: 1, ..Text::default() };
    let scene = Scene::new(&text.to_string(), Duration::ZERO);
    let service = scene.services[0].0;
    let peer = scene.client();
    scene.ledger.set_mood(service, |_| UNAVAILABLE);
    let began = scene.now();
    let numbers = scene.offer(&[peer], PACE, 500, call());
    // `min_requests` calls have failed: it opens with the last of them, not a call later.
    let opens = began.plus(PACE * 19);
    scene.pass(PACE * 19 + ms(900));
    assert_eq!(scene.ledger.attempts_since(began), 20);
    scene.ledger.clear_mood(service);
    let calls = scene.ended(&numbers, 500);
    let outcomes: Vec<_> = calls.iter().map(|(outcome, _)| outcome == &Outcome::Status(0)).collect();
    // The next one that is let through is the first after its rest, and it is one of three probes.
    let first = outcomes.iter().position(|is_ok| *is_ok).expect("it closes");
    assert_eq!(began.plus(PACE * first as u32), opens.plus(ms(1_000)));
    assert!(calls[20..first].iter().all(|(_, took)| took.is_zero()), "who is refused does not wait");
    assert_eq!(outcomes[first..first + 3], [true; 3]);
    // Of the calls of the next second some are refused, and none after it.
    let last = outcomes.iter().rposition(|is_ok| !is_ok).expect("some are refused");
    let ramp = PACE * (last - first) as u32;
    assert!((ms(500)..=ms(1_000) + PACE * 3).contains(&ramp), "{ramp:?}");
    let (early, late) = (&outcomes[first + 3..first + 28], &outcomes[first + 75..first + 100]);
    let ok = |of: &[bool]| of.iter().filter(|is_ok| **is_ok).count();
    assert!(ok(early) < ok(late), "{} and {} of 25", ok(early), ok(late));
}

/// The fault of an endpoint.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its process is killed, and another one is there a little later.
    Killed,
    /// It stands still, and then does all at once.
    Stopped,
    Refuses,
    /// It says goodbye at each call.
    Goaways,
    Blackhole,
}

impl Fault {
    /// How long it goes on, and how long the service is well then.
    fn rhythm(self) -> [Duration; 2] {
        let [ill, well] = match self {
            Fault::Killed => [300, 700],
            Fault::Stopped | Fault::Blackhole => [1_500, 1_000],
            Fault::Refuses => [700, 800],
            Fault::Goaways => [900, 100],
        };
        [ill, well].map(Duration::from_millis)
    }

    fn begin(self, scene: &Scene, (service, peers): &(SocketAddr, Peers)) {
        let ends = scene.now().plus(self.rhythm()[0]);
        match self {
            Fault::Killed | Fault::Refuses => {
                scene.world.memory.open(*service, Answer::Refuse, Link::default());
                peers.borrow_mut().drain(..).for_each(|peer| match self {
                    Fault::Killed => peer.cut(),
                    _ => peer.finish(),
                });
            }
            Fault::Stopped => scene.ledger.set_mood(*service, move |now| Behaviour::Answer {
                after: ends.since(now),
                messages: Vec::new(),
                code: 0,
            }),
            Fault::Goaways => scene.ledger.set_mood(*service, |_| Behaviour::Leave),
            Fault::Blackhole => scene.ledger.set_mood(*service, |_| Behaviour::Hang { reads: true }),
        }
    }

    fn end(self, scene: &Scene, service: SocketAddr) {
        scene.world.memory.open(service, Answer::Accept, Link::default());
        scene.ledger.clear_mood(service);
    }
}

/// Method: a thousand calls a second for three seconds, none of which waits for another, with all policies at their
/// defaults; one of three endpoints falls ill, and is well, over and over.
#[test]
fn one_ill_endpoint_of_three_costs_less_than_one_call_in_a_hundred() {
    for fault in [Fault::Killed, Fault::Stopped, Fault::Refuses, Fault::Goaways, Fault::Blackhole] {
        let scene = scene(3, "");
        let peers: Vec<_> = (0..12).map(|_| scene.client()).collect();
        let [ill, well] = fault.rhythm();
        let rounds = (3_000 / (ill + well).as_millis() as u64).max(1);
        let count = 200 + rounds as usize * (ill + well).as_millis() as usize;
        let slow = Behaviour::Answer { after: ms(2), messages: vec![20], code: 0 };
        let numbers = scene.offer(&peers, ms(1), count, Plan { attempts: vec![slow], ..call() });
        scene.pass(ms(200));
        for _ in 0..rounds {
            fault.begin(&scene, &scene.services[0]);
            scene.pass(ill);
            fault.end(&scene, scene.services[0].0);
            scene.pass(well);
        }
        let calls = scene.ended(&numbers, count);
        let ok = calls.iter().filter(|(outcome, _)| *outcome == Outcome::Status(0)).count();
        let last = calls.iter().map(|(_, took)| *took).max().unwrap_or_default();
        eprintln!("{fault:?}: {ok} of {count} calls succeed, the last after {last:?}");
        assert!(count <= ok + count / 100, "{fault:?}: {ok} of {count}");
        assert!(last <= ms(2_000) + WHEEL, "{fault:?}: one took {last:?}");
        for (number, call) in scene.ledger.0.borrow().iter().enumerate() {
            call.judge(number, &format!("{fault:?}"));
        }
        let ended: u64 = (0..17).map(|code| scene.gateway.ended_with(code)).sum();
        assert_eq!(ended, count as u64, "{fault:?}: each call is counted once");
    }
}

/// A call that waits for a connection that is refused is answered then, and not at its deadline.
#[test]
fn a_service_that_is_gone_costs_no_time_and_is_used_when_it_is_back() {
    let scene = scene(1, "");
    let service = scene.services[0].0;
    let peer = scene.client();
    assert_eq!(scene.call(&peer, echo()).1, Outcome::Status(0));
    Fault::Killed.begin(&scene, &scene.services[0]);
    scene.pass(ms(1));
    for _ in 0..10 {
        let (_, outcome, took) = scene.call(&peer, Plan { timeout: Some(ms(2_000)), ..echo() });
        assert_eq!(outcome, Outcome::Status(14));
        // Two waits between three attempts.
        assert!(took <= ms(120 + 240) + 2 * WHEEL, "{took:?}");
    }
    Fault::Killed.end(&scene, service);
    let back = scene.now();
    while scene.call(&peer, echo()).1 != Outcome::Status(0) {
        scene.pass(ms(10));
    }
    let took = scene.now().since(back);
    assert!(took <= ms(2_000), "it is used again after {took:?}");
}
