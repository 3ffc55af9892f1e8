//! Plays a seed: random clients, services and faults, judged by what each call's services and client have seen.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::gateway::Gateway;
use super::ledger::{Behaviour, HEDGED, IDEMPOTENT, Ledger, Outcome, PLAIN, Plan};
use super::peer::{Far, Peer};
use super::service;
use crate::http2::{Bounds, ErrorCode};
use crate::net::memory::{Answer, Link, Way, World};
use crate::random::Random;

pub(super) const GATEWAY: &str = r#"
workers = 1
[[listeners]]
address = "10.0.0.1:80"
[[routes]]
cluster = "a"
timeout = "2s"
idle_timeout = "3s"
[[clusters]]
name = "a"
endpoints = ["10.0.1.1:1", "10.0.1.2:1", "10.0.1.3:1"]
connect_timeout = "300ms"
[clusters.retry]
max_attempts = 3
initial_backoff = "20ms"
retryable_status_codes = ["UNAVAILABLE"]
[[clusters.methods]]
path = "/sim.S/Idempotent"
idempotent = true
[[clusters.methods]]
path = "/sim.S/Hedged"
idempotent = true
[clusters.methods.hedging]
max_attempts = 3
hedging_delay = "50ms"
non_fatal_status_codes = ["UNAVAILABLE"]
"#;

/// Nothing of what is planned takes longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Turns at one moment of virtual time after which a loop is taken for one without an end.
const TURNS_MAX: u64 = 200_000;

/// Runs until `is_over`; panics where that never comes.
pub(super) fn run_until(world: &World, is_over: impl Fn() -> bool, context: impl Fn() -> String) {
    let limit = world.memory.now().plus(LONGEST);
    let (mut moment, mut turns) = (world.memory.now(), world.turns());
    while !is_over() {
        assert!(world.step(), "nothing will ever happen again; {}", context());
        let now = world.memory.now();
        assert!(now < limit, "it takes too long; {}", context());
        if now != moment {
            (moment, turns) = (now, world.turns());
        }
        assert!(world.turns() - turns < TURNS_MAX, "it never rests; {}", context());
    }
}

struct Dice(Random);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0.below(n)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u32) as usize]
    }

    fn ms(&mut self, below: u32) -> Duration {
        Duration::from_micros(self.below(below * 1000).into())
    }

    fn way(&mut self, may_cut: bool) -> Way {
        Way {
            delay: if self.one_in(3) { Duration::ZERO } else { self.ms(20) },
            capacity: self.of(&[9_000, 65_536, 1 << 20]),
            piece: self.of(&[150, 3_000, usize::MAX, usize::MAX]),
            cut_after: (may_cut && self.one_in(3)).then(|| self.below(4_000).into()),
            stall: self.one_in(8).then(|| (self.below(3_000).into(), self.ms(900))),
        }
    }

    fn link(&mut self, may_cut: bool) -> Link {
        Link { up: self.way(may_cut), down: self.way(may_cut) }
    }

    fn bounds(&mut self) -> Bounds {
        Bounds {
            max_concurrent_streams: self.of(&[1, 2, 100]),
            stream_window: self.of(&[100, 5_000, 65_535, 1 << 20]),
            ..Bounds::default()
        }
    }

    fn sizes(&mut self) -> Vec<usize> {
        let count = self.of(&[0, 1, 1, 1, 2, 3, 12]);
        (0..count).map(|_| self.of(&[0, 1, 20, 100, 1_000, 3_000, 25_000])).collect()
    }

    fn behaviour(&mut self) -> Behaviour {
        let code = ErrorCode(self.of(&[0, 1, 2, 5, 7, 7, 7, 8, 8, 11, 99]));
        let after = if self.one_in(2) { Duration::ZERO } else { self.ms(120) };
        match self.below(20) {
            0..10 => Behaviour::Answer { after, messages: self.sizes(), code: self.of(&[0, 0, 0, 0, 5, 14]) },
            10..13 => Behaviour::Status { after, code: self.of(&[5, 14, 14, 8]) },
            13 | 14 => Behaviour::Reset { after, code },
            15 => Behaviour::BreakOff { messages: self.sizes(), code },
            16 => Behaviour::Hang { reads: self.one_in(2) },
            17 => Behaviour::GoAway,
            18 => Behaviour::Leave,
            _ if self.one_in(2) => Behaviour::Cut { after },
            _ => Behaviour::Close { after },
        }
    }

    fn plan(&mut self) -> Rc<Plan> {
        let path = self.of(&[PLAIN, PLAIN, IDEMPOTENT, HEDGED]);
        Rc::new(Plan {
            path,
            messages: if path == HEDGED { vec![self.of(&[0, 50, 9_000])] } else { self.sizes() },
            pause: if self.one_in(4) { self.ms(30) } else { Duration::ZERO },
            timeout: (!self.one_in(3)).then(|| Duration::from_millis(20) + self.ms(1_500)),
            cancels_after: self.one_in(10).then(|| self.ms(100)),
            reads_slowly: if self.one_in(5) { self.ms(10) } else { Duration::ZERO },
            attempts: (0..4).map(|_| self.behaviour()).collect(),
        })
    }
}

/// A run of one seed.
struct Play {
    seed: u64,
    dice: Dice,
    world: World,
    far: Rc<Far>,
    gateway: Gateway,
    ledger: Rc<Ledger>,
    clients: Rc<RefCell<Vec<Rc<Peer>>>>,
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut dice = Dice(Random::seeded(seed));
        let world = World::new(seed, Duration::from_micros(dice.of(&[0, 1, 50])));
        let far = Far::new(&world);
        let gateway = Gateway::start(&world, GATEWAY, Link::default());
        let ledger = Rc::<Ledger>::default();
        for endpoint in &gateway.worker.config().config.clusters[0].endpoints {
            let address = format!("{}:{}", endpoint.host, endpoint.port).parse().expect("an address");
            let answer = match dice.below(12) {
                0 => Answer::Refuse,
                1 => Answer::BlackHole,
                _ => Answer::Accept,
            };
            let may_cut = dice.one_in(6);
            world.memory.open(address, answer, dice.link(may_cut));
            service::start(&far, &ledger, address, dice.bounds());
        }
        Play { seed, dice, world, far, gateway, ledger, clients: Rc::default() }
    }

    fn context(&self) -> String {
        let clients = self.clients.borrow();
        let open: Vec<_> = clients.iter().filter(|peer| !peer.has_ended()).collect();
        let ends: Vec<_> = open.iter().map(|peer| (&peer.session, &peer.pipe)).collect();
        let calls = self.ledger.0.borrow();
        let open: Vec<_> = calls.iter().filter(|call| call.outcomes.is_empty()).collect();
        format!("RINGWAY_SEED={}; {}; {ends:?}; {open:?}", self.seed, self.gateway.describe())
    }

    fn run_until(&self, is_over: impl Fn() -> bool) {
        run_until(&self.world, is_over, || self.context());
    }

    /// A client that makes some calls, one after the other or at once, and what it has lost is known.
    fn client(&mut self) {
        let may_cut = self.dice.one_in(5);
        let (link, bounds) = (self.dice.link(may_cut), self.dice.bounds());
        let count = 1 + self.dice.below(8);
        let calls: Vec<_> = (0..count).map(|_| (self.dice.plan(), self.dice.ms(40))).collect();
        let hang_up = self.dice.one_in(10).then(|| (self.dice.ms(200), self.dice.one_in(2)));
        let (far, ledger, address) = (Rc::clone(&self.far), Rc::clone(&self.ledger), self.gateway.address);
        let clients = Rc::clone(&self.clients);
        self.far.spawn(async move {
            let Ok(end) = far.memory.connect(address, Some(link)).await else { return };
            let peer = Peer::client(&far, end, bounds);
            clients.borrow_mut().push(Rc::clone(&peer));
            if let Some((after, in_order)) = hang_up {
                let (far, peer) = (Rc::clone(&far), Rc::clone(&peer));
                far.clone().spawn(async move {
                    far.memory.pause(after).await;
                    if in_order { peer.close() } else { peer.cut() }
                });
            }
            let may_lose = hang_up.is_some() || link.up.cut_after.is_some() || link.down.cut_after.is_some();
            let mut numbers = Vec::new();
            for (plan, pause) in calls {
                far.memory.pause(pause).await;
                if let Some(number) = client::begin(&far, &peer, &ledger, &plan) {
                    ledger.0.borrow_mut()[number].lost_client = may_lose;
                    numbers.push(number);
                }
            }
            let is_over = |ledger: &Ledger| {
                let calls = ledger.0.borrow();
                numbers.iter().all(|number| !calls[*number].outcomes.is_empty())
            };
            far.until(|| is_over(&ledger)).await;
            peer.finish();
            far.until(|| peer.has_ended()).await;
        });
    }

    fn play(mut self) -> (u64, usize) {
        let clients = 1 + self.dice.below(5);
        (0..clients).for_each(|_| self.client());
        // Connects and the first calls.
        let begins = self.world.memory.now().plus(Duration::from_millis(600));
        self.run_until(|| begins < self.world.memory.now());
        self.run_until(|| self.ledger.is_over());
        let counts = &self.gateway.shard.worker;
        let is_alone = || counts.connections_active.get() == 0 && counts.calls_active.get() == 0;
        self.run_until(is_alone);
        self.far.check(&self.context());
        let leases_are_back = || self.gateway.cluster(0).calls_active.get() == 0;
        self.run_until(leases_are_back);
        // Bytes of a cancelled call may still be on their way to a service.
        let buffers_are_back = || self.gateway.worker.local.buffers.are_idle();
        self.run_until(buffers_are_back);
        let context = self.context();
        self.gateway.check_idle(&context);
        for (number, call) in self.ledger.0.borrow().iter().enumerate() {
            call.judge(number, &context);
        }
        self.judge_counts(&context);
        self.gateway.retire();
        let are_gone = || self.gateway.cluster(0).connections_active.get() == 0;
        self.run_until(are_gone);
        let is_quiet = || self.gateway.worker.local.timers.armed() == 0;
        self.run_until(is_quiet);
        self.gateway.check_retired(&context);
        self.gateway.drain();
        self.run_until(|| self.gateway.has_ended());
        self.far.check(&context);
        (self.world.turns() ^ self.world.memory.now().as_nanos(), self.ledger.0.borrow().len())
    }

    /// The gateway's counters are the ledger's.
    fn judge_counts(&self, context: &str) {
        let (calls, counts) = (self.ledger.0.borrow(), self.gateway.cluster(0));
        let started = self.gateway.shard.worker.calls_started.get();
        let ended: u64 = (0..17).map(|code| self.gateway.ended_with(code)).sum();
        assert_eq!(started, ended, "each call ends once; {context}");
        let lost =
            calls.iter().filter(|call| call.lost_client || call.plan.cancels_after.is_some()).count() as u64;
        assert!(started <= calls.len() as u64 && calls.len() as u64 <= started + lost, "calls; {context}");
        for code in 0..17_u8 {
            let is_seen = |outcome: &Outcome| *outcome == Outcome::Status(code);
            let seen = calls.iter().filter(|call| is_seen(&call.outcomes[0].0)).count() as u64;
            let counted = self.gateway.ended_with(code.into());
            // Some whose clients saw no status ended with one here.
            let unseen = |call: &&super::ledger::Call| !matches!(call.outcomes[0].0, Outcome::Status(_));
            let may = calls.iter().filter(unseen).count() as u64;
            assert!(seen <= counted && counted <= seen + may, "code {code}: {seen} {counted}; {context}");
        }
        let attempts: usize = calls.iter().map(|call| call.attempts.len()).sum();
        assert!(attempts as u64 <= counts.calls.get(), "attempts that nobody counted; {context}");
        let more = counts.retries.get() + counts.replays.get() + counts.hedges.get();
        assert!(counts.calls.get() <= started + more, "attempts that nothing allows; {context}");
        // P3: retries are paid for.
        let budget = started as f64 * 0.2 + 10.0;
        let paid = counts.retries.get() + counts.hedges.get();
        assert!(paid as f64 <= budget + 1.0, "{paid} retries of {started} calls; {context}");
    }
}

/// Seeds to play: `RINGWAY_SEED` is one, `RINGWAY_SEEDS` are so many from the first.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("RINGWAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGWAY_SEEDS").unwrap_or(usual),
    }
}

#[test]
fn whatever_clients_and_services_do_each_call_has_one_answer() {
    let (mut calls, all) = (0, seeds(100));
    for seed in all.clone() {
        let played = std::panic::catch_unwind(|| Play::new(seed).play());
        match played {
            Ok((_, more)) => calls += more,
            Err(_) => panic!("RINGWAY_SEED={seed} fails; `./check.sh simulate seed {seed}` plays it again"),
        }
        if seed % 1_000 == 999 {
            eprintln!("{} seeds, {calls} calls", seed + 1 - all.start);
        }
    }
    assert!(calls > 0);
}

#[test]
fn a_seed_plays_the_same_each_time() {
    for seed in [3, 4, 5] {
        assert_eq!(Play::new(seed).play(), Play::new(seed).play(), "{seed}");
    }
}
