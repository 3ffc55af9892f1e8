//! The policies together, in a world without clocks and sockets: clients, workers with their policies, servers with
//! queues. Events happen in the order of their time and chance has a seed, so each run is the same to the last digit.
//!
//! `simulation.txt` is the table of what comes out; `UPDATE=1 cargo test --test it simulation` writes it anew, and its
//! changes are to be read like those of code.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringway::config::{self, LbPolicy, OutlierDetection, Retry, RetryBudget, SlowStart};
use ringway::policy::balance::{Balance, Candidate, Tried};
use ringway::policy::breaker::{BreakerPermit, LocalBreaker, SharedBreaker, State};
use ringway::policy::budget::{Budget, SharedBudget};
use ringway::policy::limit::{Limit, SharedLimit};
use ringway::policy::outcome::{FAILURE_CODES, Outcome};
use ringway::policy::outlier::{OutlierEvent, Outliers, SharedOutliers};
use ringway::policy::retry::{Attempt, AttemptOutcome, Next, Pushback, Retries};
use ringway::policy::status::Code;
use ringway::random::Random;
use ringway::time::Moment;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

const WORKERS: usize = 4;
const SERVERS: usize = 3;
/// Calls one server works on at once; the others queue.
const SLOTS: u32 = 8;
/// Of a good answer, 5 to 15 ms; a bad one comes after a fifth of that.
const SERVICE: u64 = 10 * MILLI;
/// Calls that all servers can do in a second.
const CAPACITY: u64 = SERVERS as u64 * SLOTS as u64 * SECOND / SERVICE;
const MAX_REQUESTS: u32 = 200;
const DEADLINE: u64 = 500 * MILLI;
const TICK: u64 = 100 * MILLI;

fn breaker_settings() -> config::Breaker {
    config::Breaker {
        max_requests: 3,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        min_requests: 20,
        failure_ratio: 0.5,
        ramp: Duration::from_secs(1),
        failure_status_codes: FAILURE_CODES,
    }
}

/// The weather of the servers.
#[derive(Clone, Copy)]
enum Weather {
    /// Each fails so many of a hundred calls.
    Percent(u32),
    /// Server 0 fails all.
    OneDown,
    /// All fail between these two moments.
    Outage(u64, u64),
}

impl Weather {
    fn fails(self, server: usize, now: u64, random: &mut Random) -> bool {
        let percent = match self {
            Weather::Percent(percent) => percent,
            Weather::OneDown => 100 * u32::from(server == 0),
            Weather::Outage(from, to) => 100 * u32::from((from..to).contains(&now)),
        };
        random.below(100) < percent
    }
}

struct Scenario {
    name: &'static str,
    /// Calls offered, as a share of what the servers can do.
    load_percent: u64,
    weather: Weather,
    breaker: bool,
    seconds: u64,
}

/// An event of a simulation; `usize` is a call, a server or a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Send(usize),
    /// A server has worked on this attempt of a call.
    Served {
        server: usize,
        call: usize,
        attempt: u32,
        fails: bool,
    },
    Deadline(usize),
    Tick(usize),
}

struct Server {
    busy: u32,
    queue: VecDeque<(usize, u32)>,
}

struct Worker<'a> {
    random: Random,
    budget: Budget,
    limit: Limit,
    balance: Balance,
    outliers: Outliers,
    breaker: &'a LocalBreaker,
    in_flight: [u32; SERVERS],
}

struct Call<'a> {
    worker: usize,
    began: u64,
    retries: Retries,
    tried: Tried,
    /// Counts what was sent, so that an answer finds whether it is still waited for.
    attempt: u32,
    on: Option<usize>,
    permit: Option<BreakerPermit<'a>>,
    over: bool,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    offered: u64,
    attempts: u64,
    succeeded: u64,
}

struct World<'a> {
    now: u64,
    until: u64,
    scenario: &'a Scenario,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    random: Random,
    workers: Vec<Worker<'a>>,
    servers: Vec<Server>,
    calls: Vec<Call<'a>>,
    /// By the half second in which a call began; attempts by when they were sent.
    sums: Vec<Sums>,
    limited: u64,
    /// Ended by the breaker; of these, at their first attempt.
    broken: u64,
    refused: u64,
    late: u64,
    failed: u64,
    latencies: Vec<u64>,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, breakers: &'a [LocalBreaker]) -> World<'a> {
        let budget = SharedBudget::new(RetryBudget::default());
        let limit = SharedLimit::new(MAX_REQUESTS, WORKERS);
        let outliers = SharedOutliers::new(OutlierDetection::default(), SlowStart::default(), SERVERS);
        let worker = |(seed, breaker)| Worker {
            random: Random::seeded(seed),
            budget: Budget::new(&budget, None),
            limit: Limit::new(Arc::clone(&limit)),
            balance: Balance::new(LbPolicy::LeastRequest, 50),
            outliers: Outliers::new(Arc::clone(&outliers)),
            breaker,
            in_flight: [0; SERVERS],
        };
        let until = scenario.seconds * SECOND;
        let mut world = World {
            now: 0,
            until,
            scenario,
            events: BinaryHeap::new(),
            order: 0,
            random: Random::seeded(42),
            workers: (1..).zip(breakers).map(worker).collect(),
            servers: (0..SERVERS).map(|_| Server { busy: 0, queue: VecDeque::new() }).collect(),
            calls: Vec::new(),
            sums: vec![Sums::default(); usize::try_from(scenario.seconds * 2 + 2).expect("a short scenario")],
            limited: 0,
            broken: 0,
            refused: 0,
            late: 0,
            failed: 0,
            latencies: Vec::new(),
        };
        world.plan(0, Event::Arrive);
        for worker in 0..WORKERS {
            world.plan(worker as u64 * TICK / WORKERS as u64, Event::Tick(worker));
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

    fn sums(&mut self, at: u64) -> &mut Sums {
        &mut self.sums[usize::try_from(at * 2 / SECOND).expect("within the scenario")]
    }

    fn run(&mut self) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Arrive => self.arrive(),
                Event::Send(call) => self.send(call),
                Event::Served { server, call, attempt, fails } => {
                    self.servers[server].busy -= 1;
                    self.work(server);
                    self.answered(call, attempt, fails);
                }
                Event::Deadline(call) => self.out_of_time(call),
                Event::Tick(worker) => self.tick(worker),
            }
            let in_flight: u32 = self.workers.iter().map(|worker| worker.limit.in_use()).sum();
            assert!(in_flight <= MAX_REQUESTS);
        }
    }

    fn tick(&mut self, worker: usize) {
        let now = self.moment();
        let worker_is = &self.workers[worker];
        worker_is.limit.sync_shared();
        worker_is.breaker.tick(now);
        worker_is.outliers.tick(now);
        if self.now < self.until {
            self.plan(TICK, Event::Tick(worker));
        }
    }

    fn arrive(&mut self) {
        // Calls come at random times, and the first worker gets as many as two others.
        let pause = SECOND * 100 / (CAPACITY * self.scenario.load_percent);
        let pause = self.random.below_u64(2 * pause);
        if self.now + pause < self.until {
            self.plan(pause, Event::Arrive);
        }
        let worker = [0, 0, 1, 2, 3][self.random.below(5) as usize];
        let began = self.now;
        self.sums(began).offered += 1;
        self.workers[worker].budget.earn(self.moment());
        if !self.workers[worker].limit.take() {
            self.limited += 1;
            return;
        }
        let call = self.calls.len();
        self.calls.push(Call {
            worker,
            began,
            retries: Retries::default(),
            tried: Tried::default(),
            attempt: 0,
            on: None,
            permit: None,
            over: false,
        });
        self.plan(DEADLINE, Event::Deadline(call));
        self.send(call);
    }

    /// Asks the breaker, chooses a server, and puts the call into its queue.
    fn send(&mut self, number: usize) {
        let now = self.moment();
        let call = &mut self.calls[number];
        if call.over {
            return;
        }
        let worker = &mut self.workers[call.worker];
        if self.scenario.breaker {
            match worker.breaker.admit(now, &mut worker.random) {
                Ok(permit) => call.permit = Some(permit),
                Err(_) => {
                    self.broken += 1;
                    self.refused += u64::from(call.attempt == 0);
                    self.end(number);
                    return;
                }
            }
        }
        let look = |server: usize| {
            let (healthy, weight) = worker.outliers.of(server);
            Candidate { load: Some(worker.in_flight[server]), healthy, weight, avoid: call.tried.has(server) }
        };
        let server = worker.balance.pick(SERVERS, look, &mut worker.random).expect("none is ever full");
        worker.in_flight[server] += 1;
        call.attempt += 1;
        call.on = Some(server);
        let attempt = call.attempt;
        let at = self.now;
        self.sums(at).attempts += 1;
        self.servers[server].queue.push_back((number, attempt));
        self.work(server);
    }

    /// Lets a server take what it can of its queue.
    fn work(&mut self, server: usize) {
        while self.servers[server].busy < SLOTS
            && let Some((call, attempt)) = self.servers[server].queue.pop_front()
        {
            let waiting = &self.calls[call];
            if waiting.over || waiting.attempt != attempt {
                continue; // cancelled while it waited
            }
            self.servers[server].busy += 1;
            let takes = SERVICE / 2 + self.random.below_u64(SERVICE);
            let fails = self.scenario.weather.fails(server, self.now, &mut self.random);
            let after = if fails { takes / 5 } else { takes };
            self.plan(after, Event::Served { server, call, attempt, fails });
        }
    }

    fn answered(&mut self, number: usize, attempt: u32, fails: bool) {
        let now = self.moment();
        let waiting = &self.calls[number];
        if waiting.over || waiting.attempt != attempt {
            return;
        }
        self.left(number, if fails { Outcome::Failure } else { Outcome::Success }, now);
        if fails {
            self.again(number, now);
        } else {
            let began = self.calls[number].began;
            self.latencies.push(self.now - began);
            self.sums(began).succeeded += 1;
            self.end(number);
        }
    }

    /// Asks what becomes of a call that the service answered with UNAVAILABLE.
    fn again(&mut self, number: usize, now: Moment) {
        let call = &mut self.calls[number];
        let worker = &mut self.workers[call.worker];
        let outcome = AttemptOutcome::Status(Code::Unavailable);
        let attempt = Attempt { outcome, pushback: Pushback::None, idempotent: false, kept: true };
        let left = Duration::from_nanos((call.began + DEADLINE).saturating_sub(self.now));
        let policy = Retry { initial_backoff: Duration::from_millis(20), ..Retry::default() };
        match call.retries.next(attempt, &policy, &worker.budget, Some(left), &mut worker.random, now) {
            Next::Again { wait, .. } => {
                let wait = u64::try_from(wait.as_nanos()).expect("below the deadline");
                self.plan(wait, Event::Send(number));
            }
            Next::Stop(_) => {
                self.failed += 1;
                self.end(number);
            }
        }
    }

    /// An attempt has ended: whoever counts it is told.
    fn left(&mut self, number: usize, outcome: Outcome, now: Moment) {
        let call = &mut self.calls[number];
        let worker = &mut self.workers[call.worker];
        if let Some(permit) = call.permit.take() {
            permit.record(outcome, now);
        }
        if let Some(server) = call.on.take() {
            worker.in_flight[server] -= 1;
            if outcome == Outcome::Failure {
                call.tried.add(server);
            }
            let seen = if outcome == Outcome::Failure {
                OutlierEvent::GatewayFailure
            } else {
                OutlierEvent::Success
            };
            worker.outliers.record(server, seen, now);
        }
    }

    fn out_of_time(&mut self, number: usize) {
        if self.calls[number].over {
            return;
        }
        self.late += 1;
        let now = self.moment();
        self.left(number, Outcome::Failure, now);
        self.end(number);
    }

    fn end(&mut self, number: usize) {
        let call = &mut self.calls[number];
        call.over = true;
        self.workers[call.worker].limit.give();
    }

    fn total(&self) -> Sums {
        self.sums.iter().fold(Sums::default(), |sum, one| Sums {
            offered: sum.offered + one.offered,
            attempts: sum.attempts + one.attempts,
            succeeded: sum.succeeded + one.succeeded,
        })
    }

    fn row(&mut self) -> String {
        self.latencies.sort_unstable();
        let millis = |percent: usize| {
            let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(at).map_or("-".to_owned(), |nanos| format!("{:.1}", *nanos as f64 / 1e6))
        };
        let sums = self.total();
        assert_eq!(
            sums.offered,
            sums.succeeded + self.failed + self.late + self.limited + self.broken,
            "every call has one end"
        );
        // A call whose retry the breaker refused was admitted before.
        let refused = self.limited + self.refused;
        let admitted = sums.offered - refused;
        let percent = |part: u64| format!("{:.1}", 100.0 * part as f64 / sums.offered as f64);
        format!(
            "{:<28}{:>5}{:>9}{:>10}{:>9}{:>9}{:>9}{:>8}{:>7}{:>9}{:>8}{:>8}{:>8}\n",
            self.scenario.name,
            self.scenario.load_percent,
            sums.offered,
            percent(admitted),
            percent(refused),
            percent(sums.attempts - admitted),
            percent(sums.succeeded),
            percent(self.failed),
            percent(self.late),
            percent(self.limited),
            percent(self.broken),
            millis(50),
            millis(99),
        )
    }
}

fn breakers() -> Vec<LocalBreaker> {
    let shared = SharedBreaker::new(breaker_settings(), WORKERS);
    (0..WORKERS).map(|worker| LocalBreaker::new(Arc::clone(&shared), worker)).collect()
}

const HEAD: &str = "\
# What becomes of calls at some loads (percent of what the servers can do) and failure rates, in percent of those offered.
# admitted, refused: let through to a server, or not, by the limit or the breaker; retried: sent again; milliseconds of
# those that succeeded. Then the same calls by their ends: success, failed, late, limited, broken. Where a breaker makes a
# difference, the row with one follows that without.
# Written by `UPDATE=1 cargo test --test it simulation`.
scenario                     load  offered  admitted  refused  retried  success  failed   late  limited  broken     p50     p99
";

#[test]
fn the_table_is_what_it_was() {
    let mut table = HEAD.to_owned();
    let weathers = [
        ("all well", Weather::Percent(0)),
        ("40 % fail", Weather::Percent(40)),
        ("60 % fail", Weather::Percent(60)),
        ("80 % fail", Weather::Percent(80)),
        ("all fail", Weather::Percent(100)),
        ("one of three fails", Weather::OneDown),
    ];
    for (name, weather) in weathers {
        for load_percent in [30, 60, 90, 150] {
            let mut without = String::new();
            for breaker in [false, true] {
                let scenario = Scenario { name, load_percent, weather, breaker, seconds: 10 };
                let breakers = breakers();
                let mut world = World::new(&scenario, &breakers);
                world.run();
                let row = world.row();
                // Most breakers stay closed, and make no difference.
                if !breaker {
                    table += &row;
                    without = row;
                } else if row != without {
                    table += &row.replacen(
                        &format!("{name:<19}"),
                        &format!("{:<19}", format!("{name}, breaker")),
                        1,
                    );
                }
                let sums = world.total();
                assert!(
                    sums.attempts * 10 <= sums.offered * 12 + 100,
                    "{name}: more than 1.2 attempts a call"
                );
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/resilience/simulation.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).expect("the table can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "tests/it/resilience/simulation.txt differs; look at it, then UPDATE=1. It would be\n{table}"
    );
}

/// Five seconds well, five without any good answer, and well again.
#[test]
fn an_outage_costs_a_fifth_and_then_all_succeed_again() {
    for breaker in [false, true] {
        let weather = Weather::Outage(5 * SECOND, 10 * SECOND);
        let scenario = Scenario { name: "outage", load_percent: 60, weather, breaker, seconds: 20 };
        let breakers = breakers();
        let mut world = World::new(&scenario, &breakers);
        world.run();
        let during = &world.sums[10..20];
        let offered: u64 = during.iter().map(|sums| sums.offered).sum();
        let attempts: u64 = during.iter().map(|sums| sums.attempts).sum();
        // The credit of the ten seconds before may be spent, too.
        let earned: u64 = world.sums[..10].iter().map(|sums| sums.offered / 5).sum();
        assert!(attempts <= offered * 12 / 10 + earned + 10, "{attempts} for {offered}");
        if breaker {
            // It opens when half of its window of two seconds has failed.
            assert!(attempts * 2 < offered, "the breaker spares the servers: {attempts} for {offered}");
        }
        // The breaker waits for a second at most, and ramps for another; two more are allowed for.
        let healed = if breaker { 28 } else { 24 };
        for (half, sums) in world.sums.iter().enumerate() {
            let well = half < 10 || (healed..40).contains(&half);
            assert!(!well || sums.offered == sums.succeeded, "half second {half}, breaker {breaker}");
        }
        assert!(breakers.iter().all(|breaker| breaker.shared().state() == State::Closed));
    }
}

/// A server of three fails all: its calls succeed elsewhere, and it is ejected.
#[test]
fn one_bad_server_costs_no_call() {
    let scenario =
        Scenario { name: "", load_percent: 50, weather: Weather::OneDown, breaker: true, seconds: 10 };
    let breakers = breakers();
    let mut world = World::new(&scenario, &breakers);
    world.run();
    let sums = world.total();
    assert_eq!(sums.succeeded, sums.offered);
    assert_eq!(world.workers[0].outliers.shared().ejections(), 1);
    assert!(sums.attempts < sums.offered + 100, "{} for {}", sums.attempts, sums.offered);
}
