//! Plays a seed: random clients, services and faults, judged by what each call's services and client have seen.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::gateway::{self, Gateway};
use super::ledger::{Behaviour, HEDGED, IDEMPOTENT, Ledger, Outcome, PLAIN, Plan};
use super::peer::{Far, Peer};
use super::service;
use super::text::Text;
use crate::http2::{Bounds, ErrorCode};
use crate::metrics::ClusterBlock;
use crate::net::memory::{Answer, Link, WireConditions, World};
use crate::random::Random;

/// The longest time of a call without a deadline, and of a call on which nothing moves.
const ROUTE: &str = "timeout = \"2s\"\nidle_timeout = \"3s\"";

/// The settings of the cluster that a reload changes. With other windows its connections are made anew.
const CLUSTERS: &[&str] =
    &["", "", "", "max_requests = 4", "[clusters.pool]\ninitial_stream_window_size = \"70KiB\""];

/// Two of a worker's ticks, in which it puts back what it has leased and no call has, and what the wheel may add.
const SETTLED: Duration = Duration::from_millis(2 * 100 + 5);

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

    fn way(&mut self, may_cut: bool) -> WireConditions {
        WireConditions {
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
    /// Bytes that a connection has staged, and has in flight, are with its service after this time.
    longest_send: Duration,
    /// The turn of the gateway, and its moment: another configuration comes, or it drains.
    turns_to: Option<(Duration, Turn)>,
}

/// An action of the operator.
enum Turn {
    Reload(String),
    Drain,
}

/// The time that two stages of a connection, the most that it holds, take over a link.
fn longest_send(way: WireConditions, turn: Duration) -> Duration {
    const BYTES: usize = 2 * 256 * 1024;
    // Each filling of the link is read when it arrives, and who sends learns of that as long after it.
    let fillings = (BYTES / way.capacity + 1) as u32;
    let turns = if way.piece == usize::MAX { 0 } else { 4 * BYTES / way.piece } as u32;
    way.delay * 2 * fillings + turn * turns + way.stall.map_or(Duration::ZERO, |(_, span)| span)
}

impl Play {
    fn new(seed: u64) -> Play {
        Play::over(seed, "", "")
    }

    /// Plays it with these tables of the listener and of the cluster.
    fn over(seed: u64, listener: &str, tables: &str) -> Play {
        let mut dice = Dice(Random::seeded(seed));
        let turn = Duration::from_micros(dice.of(&[0, 1, 50]));
        let world = World::new(seed, turn);
        let mut longest = Duration::ZERO;
        let far = Far::new(&world);
        let workers = dice.of(&[1, 1, 2, 3, 4]);
        let text = |cluster| {
            let cluster = &format!("{cluster}\n{tables}");
            Text { workers, listener, route: ROUTE, endpoints: 3, cluster, ..Text::default() }.to_string()
        };
        let gateway = Gateway::start(&world, &text(dice.of(CLUSTERS)), Link::default());
        far.secure(&gateway.shared.tls);
        let turns_to = match dice.below(12) {
            0..3 => Some((dice.ms(500), Turn::Reload(text(dice.of(CLUSTERS))))),
            3 => Some((dice.ms(500), Turn::Drain)),
            _ => None,
        };
        let ledger = Rc::<Ledger>::default();
        for endpoint in &gateway.shared.config.clusters[0].endpoints {
            let address = gateway::address(endpoint);
            let answer = match dice.below(12) {
                0 => Answer::Refuse,
                1 => Answer::BlackHole,
                _ => Answer::Accept,
            };
            let may_cut = dice.one_in(6);
            let link = dice.link(may_cut);
            longest = longest.max(longest_send(link.up, turn));
            world.memory.open(address, answer, link);
            service::start(&far, &ledger, address, dice.bounds());
        }
        let (clients, longest_send) = (Rc::default(), longest);
        Play { seed, dice, world, far, gateway, ledger, clients, longest_send, turns_to }
    }

    fn context(&self) -> String {
        let clients = self.clients.borrow();
        let open: Vec<_> = clients.iter().filter(|peer| !peer.has_ended()).collect();
        let ends: Vec<_> = open.iter().map(|peer| (&peer.session, &peer.conn)).collect();
        let calls = self.ledger.0.borrow();
        let open: Vec<_> = calls.iter().filter(|call| call.outcomes.is_empty()).collect();
        format!("RINGWAY_SEED={}; {}; {ends:?}; {open:?}", self.seed, self.gateway.describe())
    }

    fn run_until(&self, is_over: impl Fn() -> bool) {
        let is_over = || {
            self.gateway.check_shared(|| self.context());
            is_over()
        };
        run_until(&self.world, is_over, || self.context());
    }

    /// The time that passes until then.
    fn time_until(&self, is_over: impl Fn() -> bool) -> Duration {
        let began = self.world.memory.now();
        self.run_until(is_over);
        self.world.memory.now().since(began)
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
        let turns_to = self.turns_to.take();
        let drains = matches!(turns_to, Some((_, Turn::Drain)));
        // Connections of the configuration before are not asked whether they send.
        let reloads = matches!(turns_to, Some((_, Turn::Reload(_))));
        if let Some((after, turn)) = turns_to {
            let due = self.world.memory.now().plus(after);
            self.run_until(|| due < self.world.memory.now());
            match turn {
                Turn::Reload(text) => self.gateway.reload(&text),
                Turn::Drain => self.gateway.drain(),
            }
        }
        self.run_until(|| begins < self.world.memory.now());
        self.run_until(|| self.ledger.is_over());
        if drains {
            // A client that is told to go may have begun calls that nobody takes any more.
            self.ledger.0.borrow_mut().iter_mut().for_each(|call| call.lost_client = true);
        }
        let has_clients = || self.gateway.total(|counts| counts.connections_active.get()) > 0;
        let has_calls = || self.gateway.total(|counts| counts.calls_active.get()) > 0;
        self.run_until(|| !has_clients() && !has_calls());
        self.far.check(&self.context());
        self.run_until(|| self.gateway.of_cluster(0, |counts| counts.calls_active.get()) == 0);
        let held = self.time_until(|| {
            // Bytes of cancelled calls lie where they were received until the link to the service takes them.
            let has_let_go = self.gateway.has_let_go();
            let is_held = has_let_go || reloads || self.gateway.is_sending();
            assert!(is_held, "nobody sends what is held; {}", self.context());
            has_let_go
        });
        assert!(held <= self.longest_send, "buffers are held for {held:?}; {}", self.context());
        let context = self.context();
        self.gateway.check_idle(&context);
        for (number, call) in self.ledger.0.borrow().iter().enumerate() {
            call.judge(number, &context);
        }
        self.judge_counts(&context);
        self.gateway.retire();
        let limit = &self.gateway.shared.limits[0];
        let settled = self.time_until(|| limit.free() == limit.max());
        assert!(settled <= SETTLED, "leased permits are back after {settled:?}; {context}");
        self.run_until(|| self.gateway.of_cluster(0, |counts| counts.connections_active.get()) == 0);
        self.run_until(|| self.gateway.timers() == 0);
        self.gateway.check_retired(&context);
        self.gateway.drain();
        self.run_until(|| self.gateway.has_ended());
        self.far.check(&context);
        (self.world.turns() ^ self.world.memory.now().as_nanos(), self.ledger.0.borrow().len())
    }

    /// The gateway's counters are the ledger's.
    fn judge_counts(&self, context: &str) {
        let calls = self.ledger.0.borrow();
        let of = |count: fn(&ClusterBlock) -> u64| self.gateway.of_cluster(0, count);
        let started = self.gateway.total(|counts| counts.calls_started.get());
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
        let sent = of(|counts| counts.calls.get());
        assert!(attempts as u64 <= sent, "attempts that nobody counted; {context}");
        let paid = of(|counts| counts.retries.get() + counts.hedges.get());
        let more = paid + of(|counts| counts.replays.get());
        assert!(sent <= started + more, "attempts that nothing allows; {context}");
        // P3: retries are paid for.
        let budget = started as f64 * 0.2 + 10.0;
        assert!(paid as f64 <= budget + 1.0, "{paid} retries of {started} calls; {context}");
    }
}

/// Seeds to play: `RINGWAY_SEED` is one, `RINGWAY_SEEDS` are so many from the first, or `FROM..TO`.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let said = |name: &str| std::env::var(name).ok();
    match (said("RINGWAY_SEED"), said("RINGWAY_SEEDS")) {
        (Some(seed), _) => number(&seed)..number(&seed) + 1,
        (None, None) => 0..usual,
        (None, Some(text)) => match text.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => 0..number(&text),
        },
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

/// Plays so many seeds with these tables of the listener and of the cluster.
pub(super) fn seeds_over(listener: &str, tables: &str, usual: u64) {
    let mut calls = 0;
    for seed in seeds(usual) {
        let played = std::panic::catch_unwind(|| Play::over(seed, listener, tables).play());
        calls += played.unwrap_or_else(|_| panic!("RINGWAY_SEED={seed} fails")).1;
    }
    assert!(calls > 0);
}

#[test]
fn a_seed_plays_the_same_each_time() {
    for seed in [3, 4, 5] {
        assert_eq!(Play::new(seed).play(), Play::new(seed).play(), "{seed}");
    }
}
