//! More calls than a worker, or its configuration, stands still for: none waits longer than it must.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::ledger::{Behaviour, Outcome, PLAIN, Plan};
use super::scene::{Scene, echo, plan};
use super::text::Text;
use crate::net::memory::{Link, WireConditions};
use crate::time::Moment;

/// The delay that the wheel may add.
const WHEEL: Duration = Duration::from_millis(5);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn answer(after: Duration) -> Plan {
    plan(PLAIN, &[Behaviour::Answer { after, messages: vec![20], code: 0 }])
}

/// Method: a gateway that takes 16 calls at once, each of which takes the service 50 ms: 320 a second at most. First 16
/// callers that ask again when they are answered; then three times as many calls as those got through, come what may.
#[test]
fn what_gets_through_stays_the_same_however_much_is_asked_for() {
    const MAX: usize = 16;
    let head = "[overload]\nmax_active_calls = 16";
    let scene = Scene::new(&Text { head, ..Text::default() }.to_string(), Duration::ZERO);
    let peers: Vec<_> = (0..4).map(|_| scene.client()).collect();
    let mut busy = 0;
    for _ in 0..40 {
        let before = scene.now();
        let calls = scene.ended(&scene.offer(&peers, Duration::ZERO, MAX, answer(ms(50))), MAX);
        assert!(calls.iter().all(|call| *call == (Outcome::Status(0), ms(50))), "{calls:?}");
        assert_eq!(scene.now().since(before), ms(50));
        busy += MAX;
    }
    let count = 3 * busy;
    let calls = scene.ended(&scene.offer(&peers, ms(2_000) / count as u32, count, answer(ms(50))), count);
    let (ok, refused): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|(outcome, _)| *outcome == Outcome::Status(0));
    assert!(busy * 95 / 100 <= ok.len() && ok.len() <= busy, "{} in place of {busy}", ok.len());
    assert!(ok.iter().all(|(_, took)| *took == ms(50)), "what gets through is as quick as ever");
    assert!(refused.iter().all(|call| *call == (Outcome::Status(14), Duration::ZERO)), "at once");
    let counts = scene.gateway.counts();
    assert_eq!(counts.overload_active_calls.get(), refused.len() as u64);
    // No service ever sees a call that is refused.
    assert_eq!(scene.ledger.attempts_since(Moment::ZERO), busy + ok.len());
}

/// Method: a worker that may be late by 10 ms. For a while something else on its thread takes 20 ms over and over, so that
/// what comes meanwhile waits, and the worker's tick with it.
#[test]
fn a_worker_that_stays_late_refuses_until_it_no_longer_is() {
    let head = "[overload]\nmax_loop_delay = \"10ms\"\ninterval = \"100ms\"";
    let scene = Scene::new(&Text { head, ..Text::default() }.to_string(), Duration::ZERO);
    let way = WireConditions { delay: ms(3), ..WireConditions::default() };
    let peer = scene.client_over(Link { up: way, down: way });
    let refused = || scene.gateway.counts().overload_loop_delay.get();
    let numbers = scene.offer(std::slice::from_ref(&peer), ms(1), 2_000, echo());
    scene.pass(ms(300));
    assert_eq!(refused(), 0, "it is in time");
    let (began, is_busy) = (scene.now(), Rc::new(Cell::new(true)));
    let (far, goes_on) = (Rc::clone(&scene.far), Rc::clone(&is_busy));
    scene.far.spawn(async move {
        while goes_on.get() {
            far.memory.pause(ms(1)).await;
            far.memory.work(ms(20));
        }
    });
    scene.until(|| refused() > 0);
    let first = scene.now().since(began);
    // The interval begins with a tick that is late. After it, calls are refused that are looked at before the next tick.
    assert!((ms(100)..=ms(100 + 5 * 21)).contains(&first), "{first:?}");
    scene.until(|| refused() > 200);
    is_busy.set(false);
    // A single tick in time is enough.
    scene.pass(ms(21) + 2 * WHEEL);
    let before = refused();
    let calls = scene.ended(&numbers, 2_000);
    assert_eq!(refused(), before, "it is no longer late");
    let ok = calls.iter().filter(|(outcome, _)| *outcome == Outcome::Status(0)).count();
    assert_eq!(ok as u64 + refused(), 2_000, "every call has one outcome");
    assert_eq!(scene.ledger.attempts_since(Moment::ZERO), ok);
    for _ in 0..20 {
        let (_, outcome, took) = scene.call(&peer, echo());
        assert_eq!((outcome, took), (Outcome::Status(0), ms(6)), "there and back");
    }
}

/// Method: a thousand calls a second, each of which takes the service 3 ms, while another configuration comes each
/// 5 ms: with other limits, other routes, or other windows, so that connections to the service are made anew.
#[test]
fn two_hundred_reloads_cost_no_call_and_no_time_and_keep_nothing() {
    const RELOADS: usize = 200;
    let texts =
        ["", "max_requests = 500", "[clusters.pool]\ninitial_stream_window_size = \"1MiB\""].map(|cluster| {
            let routes = "[[routes]]\nmatch = { service = \"not.There\" }\ncluster = \"a\"";
            let routes = if cluster.is_empty() { "" } else { routes };
            Text { cluster, routes, ..Text::default() }.to_string()
        });
    let mut scene = Scene::new(&texts[0], Duration::ZERO);
    let peers = [scene.client(), scene.client()];
    let count = 6 * RELOADS;
    let numbers = scene.offer(&peers, ms(1), count, answer(ms(3)));
    let configs = RefCell::new(Vec::new());
    for round in 1..=RELOADS {
        configs.borrow_mut().push(Rc::downgrade(&scene.gateway.first().worker.config()));
        scene.gateway.reload(&texts[round % texts.len()]);
        scene.pass(ms(5));
        let now = scene.gateway.first().worker.config();
        assert!(!configs.borrow().iter().any(|before| before.ptr_eq(&Rc::downgrade(&now))), "it is taken");
    }
    let calls = scene.ended(&numbers, count);
    assert!(calls.iter().all(|call| *call == (Outcome::Status(0), ms(3))), "{calls:?}");
    assert_eq!(scene.ledger.attempts_since(Moment::ZERO), count, "none is sent twice");
    let ended: u64 = scene.gateway.ended_with(0);
    assert_eq!(ended, count as u64, "counting goes on");
    // The cluster before is gone with its last call, and so are its connections.
    scene.until(|| configs.borrow().iter().all(|before| before.upgrade().is_none()));
    scene.until(|| scene.gateway.of_cluster(0, |counts| counts.connections_active.get()) == 1);
    assert!(peers.iter().all(|peer| !peer.has_ended()), "no client is told to dial again");
}

/// Without calls a worker looks at its clock once a second, and that is all.
#[test]
fn an_idle_worker_sleeps() {
    let scene = Scene::new(&Text::default().to_string(), Duration::ZERO);
    let peer = scene.client();
    assert_eq!(scene.call(&peer, echo()).1, Outcome::Status(0));
    // The call is over: the worker settles once, and looks at the connection once a second.
    scene.pass(ms(2_000));
    let before = scene.world.turns();
    scene.pass(Duration::from_secs(10));
    let turns = scene.world.turns() - before;
    assert!(turns <= 10 * 4 + 1, "{turns} turns in ten seconds");
}
