//! Outages, drilled on a clock that is a number: endpoints that are killed and come back, with the breaker on and off.
//!
//! The policies are the gateway's own: breaker, backoff, outlier detection, balance, retries. The world around them is as
//! small as it can be: workers with a connection to each endpoint, connects that are refused while an endpoint is dead,
//! answers that take 5 to 15 ms. `outages.txt` is the table of what comes out; `UPDATE=1 cargo test --test it outages` writes
//! it anew, and its changes are to be read like those of code.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringway::config::{self, LbPolicy, OutlierDetection, Retry, RetryBudget, SlowStart};
use ringway::policy::backoff::{Backoff, Connects};
use ringway::policy::balance::{Balance, Candidate, Tried};
use ringway::policy::breaker::{BreakerPermit, LocalBreaker, SharedBreaker, State};
use ringway::policy::budget::{Budget, SharedBudget};
use ringway::policy::outcome::Outcome;
use ringway::policy::outlier::{OutlierEvent, Outliers, SharedOutliers};
use ringway::policy::retry::{Attempt, AttemptOutcome, Next, Pushback, Retries};
use ringway::random::Random;
use ringway::time::Moment;

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000 * MICRO;
const SECOND: u64 = 1_000 * MILLI;

const ENDPOINTS: usize = 3;
/// All is well for this long first: more than the breaker's long window.
const BEFORE: u64 = 35 * SECOND;
/// And again after the outage.
const AFTER: u64 = 30 * SECOND;
const TICK: u64 = 100 * MILLI;
/// The route's timeout, and the cluster's `max_requests`.
const TIMEOUT: u64 = 5 * SECOND;
const MAX_REQUESTS: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Drill {
    calls_per_second: u64,
    outage: u64,
    /// How many of the endpoints are killed.
    dead: usize,
    workers: usize,
    breaker: bool,
    seed: u64,
}

impl Drill {
    fn is_dead(&self, endpoint: usize, now: u64) -> bool {
        endpoint < self.dead && (BEFORE..BEFORE + self.outage).contains(&now)
    }
}

/// An event of a drill; `usize` is a call or a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    /// The endpoints that are to die do.
    Kill,
    /// A call that was held asks again.
    Again(usize),
    Answered(usize),
    Connected {
        worker: usize,
        endpoint: usize,
    },
    Refused {
        worker: usize,
        endpoint: usize,
    },
    Tick(usize),
    /// A call has no time left.
    Late(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Connecting,
    Down,
}

struct Worker<'a> {
    random: Random,
    /// For the waits alone, so that they are the same with a breaker and without.
    waits: Random,
    budget: Budget,
    balance: Balance,
    outliers: Outliers,
    breaker: Option<&'a LocalBreaker>,
    links: [Link; ENDPOINTS],
    connects: [Connects; ENDPOINTS],
    loads: [u32; ENDPOINTS],
    /// Calls that wait for a connect.
    waiting: Vec<usize>,
}

struct Call<'a> {
    worker: usize,
    began: u64,
    retries: Retries,
    on: Option<usize>,
    permit: Option<BreakerPermit<'a>>,
    over: bool,
}

/// The outcome of a drill.
#[derive(Clone, Copy, Debug, Default)]
struct DrillResult {
    opened: Option<u64>,
    /// After the return of the service.
    closed: Option<u64>,
    sent_to_dead: u64,
    failed: u64,
    /// After the return, the last call to begin that fails.
    whole: u64,
    /// The longest that a call took which succeeded.
    slowest: u64,
    offered: u64,
}

struct World<'a> {
    now: u64,
    drill: Drill,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    /// For what does not depend on the policies: the same calls come in each drill.
    random: Random,
    workers: Vec<Worker<'a>>,
    calls: Vec<Call<'a>>,
    under_way: usize,
    shared: Option<Arc<SharedBreaker>>,
    told: DrillResult,
}

impl<'a> World<'a> {
    fn new(drill: Drill, breakers: &'a [LocalBreaker]) -> World<'a> {
        let budget = SharedBudget::new(RetryBudget::default());
        let outliers = SharedOutliers::new(OutlierDetection::default(), SlowStart::default(), ENDPOINTS);
        // `clusters.reconnect` as it is by default.
        let backoff = || Backoff::new(Duration::from_millis(100), 1.6, Duration::from_secs(10));
        let worker = |number: usize| Worker {
            random: Random::seeded(drill.seed * 100 + number as u64),
            waits: Random::seeded(drill.seed * 100 + 50 + number as u64),
            budget: Budget::new(&budget, None),
            balance: Balance::new(LbPolicy::LeastRequest, 50),
            outliers: Outliers::new(Arc::clone(&outliers)),
            breaker: breakers.get(number),
            links: [Link::Up; ENDPOINTS],
            connects: std::array::from_fn(|_| Connects::new(backoff())),
            loads: [0; ENDPOINTS],
            waiting: Vec::new(),
        };
        let mut world = World {
            now: 0,
            drill,
            events: BinaryHeap::new(),
            order: 0,
            random: Random::seeded(drill.seed),
            workers: (0..drill.workers).map(worker).collect(),
            calls: Vec::new(),
            under_way: 0,
            shared: breakers.first().map(|breaker| Arc::clone(breaker.shared())),
            told: DrillResult::default(),
        };
        world.plan(0, Event::Arrive);
        world.plan(BEFORE, Event::Kill);
        for worker in 0..drill.workers {
            world.plan(worker as u64 * TICK / drill.workers as u64, Event::Tick(worker));
        }
        world
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + after, self.order, event)));
    }

    fn moment(&self) -> Moment {
        Moment::from_nanos(SECOND + self.now)
    }

    fn until(&self) -> u64 {
        BEFORE + self.drill.outage + AFTER
    }

    fn run(mut self) -> DrillResult {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Arrive => self.arrive(),
                Event::Kill => self.kill(),
                Event::Again(call) => self.attempt(call),
                Event::Answered(call) => self.answered(call),
                Event::Connected { worker, endpoint } => self.connected(worker, endpoint),
                Event::Refused { worker, endpoint } => self.refused(worker, endpoint),
                Event::Tick(worker) => self.tick(worker),
                Event::Late(call) if self.calls[call].over => {}
                Event::Late(call) => self.end(call, Outcome::Failure, false),
            }
            self.watch();
        }
        assert_eq!(self.under_way, 0);
        self.told
    }

    /// Notes when the breaker opens and closes.
    fn watch(&mut self) {
        let Some(shared) = &self.shared else { return };
        let (state, back) = (shared.state(), BEFORE + self.drill.outage);
        // Where a worker is connected when it opens, it is half-open before anybody sees it.
        if shared.opens() > 0 {
            self.told.opened.get_or_insert(self.now.saturating_sub(BEFORE));
        }
        if state != State::Closed {
            self.told.closed = None;
        } else if self.told.opened.is_some() {
            self.told.closed.get_or_insert(self.now.saturating_sub(back));
        }
    }

    fn tick(&mut self, number: usize) {
        let now = self.moment();
        self.workers[number].outliers.tick(now);
        if let Some(breaker) = self.workers[number].breaker {
            breaker.tick(now);
        }
        self.reach(number);
        if self.now < self.until() {
            self.plan(TICK, Event::Tick(number));
        }
    }

    /// Does what the breaker asks for, as a cluster does.
    fn reach(&mut self, number: usize) {
        let now = self.moment();
        let worker = &mut self.workers[number];
        let Some(breaker) = worker.breaker.filter(|breaker| !breaker.is_closed()) else { return };
        if breaker.reach(worker.links.contains(&Link::Up), now) {
            worker.connects.iter_mut().for_each(Connects::hurry);
            self.connect_all(number);
        }
    }

    fn connect_all(&mut self, number: usize) {
        for endpoint in 0..ENDPOINTS {
            let now = self.moment();
            let worker = &mut self.workers[number];
            if worker.links[endpoint] == Link::Down && worker.connects[endpoint].may_begin(now) {
                worker.links[endpoint] = Link::Connecting;
                // Both take as long, so that what is counted is not how fast a connect fails.
                let ends = Event::Connected { worker: number, endpoint };
                let fails = Event::Refused { worker: number, endpoint };
                let event = if self.drill.is_dead(endpoint, self.now) { fails } else { ends };
                self.plan(300 * MICRO, event);
            }
        }
    }

    fn kill(&mut self) {
        for number in 0..self.drill.workers {
            let dead = self.drill.dead;
            self.workers[number].links[..dead].fill(Link::Down);
        }
        for call in 0..self.calls.len() {
            if !self.calls[call].over && self.calls[call].on.is_some_and(|on| on < self.drill.dead) {
                self.told.sent_to_dead += 1;
                self.end(call, Outcome::Failure, false);
            }
        }
    }

    fn connected(&mut self, number: usize, endpoint: usize) {
        if self.drill.is_dead(endpoint, self.now) {
            return self.refused(number, endpoint);
        }
        let worker = &mut self.workers[number];
        worker.links[endpoint] = Link::Up;
        worker.connects[endpoint].succeeded();
        self.wake(number);
    }

    fn refused(&mut self, number: usize, endpoint: usize) {
        let now = self.moment();
        let worker = &mut self.workers[number];
        worker.connects[endpoint].failed(now, &mut worker.waits);
        worker.links[endpoint] = Link::Down;
        worker.outliers.record(endpoint, OutlierEvent::LocalOriginFailure, now);
        self.told.sent_to_dead += worker.waiting.len() as u64;
        self.wake(number);
    }

    fn wake(&mut self, number: usize) {
        for call in std::mem::take(&mut self.workers[number].waiting) {
            if !self.calls[call].over {
                self.acquire(call);
            }
        }
    }

    fn arrive(&mut self) {
        let pause = SECOND / self.drill.calls_per_second;
        let pause = self.random.below_u64(2 * pause);
        if self.now + pause < self.until() {
            self.plan(pause, Event::Arrive);
        }
        self.told.offered += 1;
        let worker = self.random.below(u32::try_from(self.drill.workers).expect("few")) as usize;
        let call = self.calls.len();
        let retries = Retries::default();
        self.calls.push(Call { worker, began: self.now, retries, on: None, permit: None, over: false });
        self.under_way += 1;
        if self.under_way > MAX_REQUESTS {
            return self.end(call, Outcome::Ignored, false);
        }
        self.workers[worker].budget.earn(self.moment());
        self.plan(TIMEOUT, Event::Late(call));
        self.attempt(call);
    }

    /// Asks the breaker, as a cluster does, and goes on to a connection.
    fn attempt(&mut self, number: usize) {
        if self.calls[number].over {
            return;
        }
        let now = self.moment();
        self.reach(self.calls[number].worker);
        let call = &mut self.calls[number];
        let worker = &mut self.workers[call.worker];
        let Some(breaker) = worker.breaker else { return self.acquire(number) };
        match breaker.admit(now, &mut worker.random) {
            Ok(permit) => {
                call.permit = Some(permit);
                self.acquire(number);
            }
            Err(_) => {
                self.connect_all(self.calls[number].worker);
                let call = &mut self.calls[number];
                let worker = &mut self.workers[call.worker];
                let outcome = if breaker.holds() { AttemptOutcome::Held } else { AttemptOutcome::Ours };
                let attempt = Attempt { outcome, pushback: Pushback::None, idempotent: false, kept: true };
                let left = Duration::from_nanos((call.began + TIMEOUT).saturating_sub(self.now));
                let (policy, random) = (Retry::default(), &mut worker.random);
                match call.retries.next(attempt, &policy, &worker.budget, Some(left), random, now) {
                    Next::Again { wait, .. } => {
                        self.plan(u64::try_from(wait.as_nanos()).expect("short"), Event::Again(number));
                    }
                    Next::Stop(_) => self.end(number, Outcome::Ignored, false),
                }
            }
        }
    }

    /// Gives a call to a connection, as a pool does.
    fn acquire(&mut self, number: usize) {
        let worker_number = self.calls[number].worker;
        self.connect_all(worker_number);
        let worker = &mut self.workers[worker_number];
        let pick = |worker: &mut Worker<'_>, all: bool| {
            let look = |endpoint: usize| {
                let (healthy, weight) = if all { (true, 1.0) } else { worker.outliers.of(endpoint) };
                let load = (worker.links[endpoint] == Link::Up).then_some(worker.loads[endpoint]);
                Candidate { load, healthy, weight, avoid: Tried::default().has(endpoint) }
            };
            worker.balance.pick(ENDPOINTS, look, &mut worker.random)
        };
        let hope = |healthy: bool| {
            let hopes =
                |at: &usize| worker.links[*at] != Link::Down && (!healthy || worker.outliers.of(*at).0);
            (0..ENDPOINTS).any(|at| hopes(&at))
        };
        let (fit_hope, any_hope) = (hope(true), hope(false));
        let picked = pick(worker, false).or_else(|| if fit_hope { None } else { pick(worker, true) });
        let Some(endpoint) = picked else {
            if any_hope {
                worker.waiting.push(number);
            } else {
                self.end(number, Outcome::Unreached, false);
            }
            return;
        };
        worker.loads[endpoint] += 1;
        self.calls[number].on = Some(endpoint);
        let takes = 5 * MILLI + (number as u64).wrapping_mul(7_919) % 1_000 * 10 * MICRO;
        self.plan(takes, Event::Answered(number));
    }

    fn answered(&mut self, number: usize) {
        if !self.calls[number].over {
            self.end(number, Outcome::Success, true);
        }
    }

    fn end(&mut self, number: usize, outcome: Outcome, succeeded: bool) {
        let now = self.moment();
        let back = BEFORE + self.drill.outage;
        let call = &mut self.calls[number];
        let worker = &mut self.workers[call.worker];
        call.over = true;
        self.under_way -= 1;
        if let Some(permit) = call.permit.take() {
            permit.record(outcome, now);
        }
        if let Some(endpoint) = call.on.take() {
            worker.loads[endpoint] -= 1;
            let seen = if succeeded { OutlierEvent::Success } else { OutlierEvent::LocalOriginFailure };
            worker.outliers.record(endpoint, seen, now);
        }
        if succeeded {
            self.told.slowest = self.told.slowest.max(self.now - call.began);
        } else {
            self.told.failed += 1;
            self.told.whole = self.told.whole.max(call.began.saturating_sub(back));
        }
    }
}

fn drilled(drill: Drill) -> DrillResult {
    let settings = config::Breaker::default();
    let shared = SharedBreaker::new(settings, drill.workers);
    let workers = if drill.breaker { drill.workers } else { 0 };
    let breakers: Vec<_> =
        (0..workers).map(|worker| LocalBreaker::new(Arc::clone(&shared), worker)).collect();
    World::new(drill, &breakers).run()
}

/// Compares a drill with the breaker on to one with it off. By chance both may come back with one connect. Calls that
/// begin during it wait for it without a breaker, and are refused with one: `moment` of them.
fn check(drill: Drill, moment: u64, on: &DrillResult, off: &DrillResult) {
    assert_eq!(on.offered, off.offered, "{drill:?}: the same calls");
    assert!(on.failed <= off.failed + moment, "{drill:?}: {on:?} {off:?}");
    assert!(on.sent_to_dead <= off.sent_to_dead, "{drill:?}: {on:?} {off:?}");
    assert!(on.whole <= off.whole + 2 * SECOND, "{drill:?}: {on:?} {off:?}");
    if drill.dead < ENDPOINTS {
        assert_eq!(on.opened, None, "{drill:?}: others are there");
        return;
    }
    let opens_in = if drill.calls_per_second < 300 { 3 } else { 2 } * SECOND;
    assert!(on.opened.is_none_or(|opened| opened <= opens_in), "{drill:?}: {on:?}");
    assert!(on.opened.is_some() || drill.outage < opens_in, "{drill:?}: {on:?}");
    if on.opened.is_some() {
        assert!(on.closed.is_some_and(|closed| closed <= 2 * SECOND), "{drill:?}: {on:?}");
        assert!(on.whole <= 2 * SECOND, "{drill:?}: {on:?}");
    }
}

const HEAD: &str = "\
# Endpoints of three are killed for a while, four workers. With the breaker on and off: seconds until it opened; calls that
# were given to dead endpoints; calls that failed, in the outage and the 30 s after it; seconds from the endpoints' return
# until the breaker was closed, and until the last call began that failed; the longest that a call took which succeeded, in
# milliseconds. Written by `UPDATE=1 cargo test --test it outages`.
calls/s  outage  dead  breaker   opened  to dead   failed   closed    whole  slowest
";

fn row(drill: Drill, told: &DrillResult) -> String {
    let seconds = |nanos: u64| format!("{:.2}", nanos as f64 / 1e9);
    let or_none = |time: Option<u64>| time.map_or("-".to_owned(), seconds);
    format!(
        "{:>7}{:>8}{:>6}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9.1}\n",
        drill.calls_per_second,
        drill.outage / SECOND,
        drill.dead,
        if drill.breaker { "on" } else { "off" },
        or_none(told.opened),
        told.sent_to_dead,
        told.failed,
        or_none(told.closed),
        seconds(told.whole),
        told.slowest as f64 / 1e6,
    )
}

#[test]
fn the_table_is_what_it_was() {
    let mut table = HEAD.to_owned();
    // Few calls show the length of an outage, and many its breadth: a call of the drill costs time, here.
    for (calls_per_second, outages) in [(25, &[1, 13, 120][..]), (300, &[1, 13, 120]), (3_000, &[13])] {
        for outage in outages.iter().map(|seconds| seconds * SECOND) {
            for dead in 1..=ENDPOINTS {
                let drill = |breaker| Drill { calls_per_second, outage, dead, workers: 4, breaker, seed: 1 };
                let [on, off] = [true, false].map(|breaker| drilled(drill(breaker)));
                table += &row(drill(true), &on);
                table += &row(drill(false), &off);
                if std::env::var_os("UPDATE").is_none() {
                    check(drill(true), 0, &on, &off);
                }
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/resilience/outages.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).expect("the table can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "tests/it/resilience/outages.txt differs; look at it, then UPDATE=1. It would be\n{table}"
    );
}

/// The table has one course of chance; what must hold does in others, too, and however many workers there are.
/// `RINGWAY_SEEDS` says how many others.
#[test]
fn it_holds_whatever_chance_and_however_many_workers() {
    let seeds = std::env::var("RINGWAY_SEEDS").map_or(2, |seeds| seeds.parse().expect("a number"));
    for workers in [1, 2, 4, 16] {
        for seed in 2..2 + seeds {
            for (calls_per_second, outage) in [
                (25, 1_000),
                (25, 3_000),
                (25, 13_000),
                (300, 1_000),
                (300, 1_600),
                (300, 4_000),
                (300, 13_000),
            ] {
                let outage = outage * MILLI;
                let drill =
                    |breaker| Drill { calls_per_second, outage, dead: ENDPOINTS, workers, breaker, seed };
                let [on, off] = [true, false].map(|breaker| drilled(drill(breaker)));
                check(drill(true), 1 + workers as u64, &on, &off);
            }
        }
    }
}
