//! Hedging in a world without clocks and sockets: what it costs, and what the slowest calls gain. Events happen in the
//! order of their time and chance has a seed, so each run is the same to the last digit.
//!
//! `hedges.txt` is the table of what comes out; `UPDATE=1 cargo test --test it hedges` writes it anew, and its changes
//! are to be read like those of code.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use ringway::config::{Codes, Hedging, LbPolicy, RetryBudget};
use ringway::policy::balance::{Balance, Candidate, Tried};
use ringway::policy::budget::{Budget, SharedBudget};
use ringway::policy::hedge::{Hedge, HedgeStep, Start};
use ringway::policy::retry::{AttemptOutcome, Pushback};
use ringway::policy::status::Code;
use ringway::random::Random;
use ringway::time::Moment;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
const SERVERS: usize = 3;
/// Calls one server works on at once; the others queue.
const SLOTS: u32 = 8;
/// Of a quick answer, 5 to 15 ms.
const SERVICE: u64 = 10 * MILLI;
/// Of a slow one.
const STALL: u64 = 300 * MILLI;
const CAPACITY: u64 = SERVERS as u64 * SLOTS as u64 * SECOND / SERVICE;
const DEADLINE: u64 = 500 * MILLI;
const SECONDS: u64 = 20;

/// The behaviour of the servers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// So many of a hundred calls stall; those that are sent twice stall or not, each for itself.
    Stalls(u32),
    /// All answer UNAVAILABLE.
    AllFail,
    /// Server 0 answers UNAVAILABLE.
    OneFails,
    /// Nobody ever answers.
    AllSilent,
}

#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    weather: Weather,
    load_percent: u64,
    /// Whether calls are hedged.
    hedged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    /// Another attempt may begin.
    Ask(usize),
    Served {
        call: usize,
        server: usize,
        attempt: u32,
        fails: bool,
    },
    Deadline(usize),
}

struct Server {
    busy: u32,
    queue: VecDeque<(usize, u32)>,
}

struct Call {
    began: u64,
    hedge: Hedge,
    tried: Tried,
    begun: u32,
    /// Attempts that run: their number, and where.
    running: Vec<(u32, usize)>,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Failed,
    Late,
}

struct World {
    scenario: Scenario,
    settings: Hedging,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    random: Random,
    budget: Budget,
    balance: Balance,
    servers: Vec<Server>,
    in_flight: [u32; SERVERS],
    calls: Vec<Call>,
    attempts: u64,
    unpaid: u64,
    latencies: Vec<u64>,
}

impl World {
    fn new(scenario: Scenario) -> World {
        let attempts = if scenario.hedged { 3 } else { 1 };
        let mut world = World {
            scenario,
            settings: Hedging {
                max_attempts: attempts,
                hedging_delay: Duration::from_millis(40),
                non_fatal_status_codes: Codes::NONE.with(Code::Unavailable.number()),
            },
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            random: Random::seeded(7),
            budget: Budget::new(&SharedBudget::new(RetryBudget::default()), None),
            balance: Balance::new(LbPolicy::LeastRequest, 50),
            servers: (0..SERVERS).map(|_| Server { busy: 0, queue: VecDeque::new() }).collect(),
            in_flight: [0; SERVERS],
            calls: Vec::new(),
            attempts: 0,
            unpaid: 0,
            latencies: Vec::new(),
        };
        world.plan(0, Event::Arrive);
        world
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + after, self.order, event)));
    }

    fn moment(&self) -> Moment {
        Moment::from_nanos(SECOND + self.now)
    }

    fn run(&mut self) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Arrive => self.arrive(),
                Event::Ask(call) => self.ask(call),
                Event::Served { call, server, attempt, fails } => {
                    self.servers[server].busy -= 1;
                    self.served(call, attempt, fails);
                    self.work(server);
                }
                Event::Deadline(call) => self.end(call, Outcome::Late),
            }
        }
    }

    fn arrive(&mut self) {
        let pause = SECOND * 100 / (CAPACITY * self.scenario.load_percent);
        let pause = self.random.below_u64(2 * pause);
        if self.now + pause < SECONDS * SECOND {
            self.plan(pause, Event::Arrive);
        }
        let hedge = Hedge::new(&self.settings, self.moment());
        let (tried, running) = (Tried::default(), Vec::new());
        self.calls.push(Call { began: self.now, hedge, tried, begun: 0, running, outcome: None });
        let call = self.calls.len() - 1;
        self.budget.earn(self.moment());
        self.plan(DEADLINE, Event::Deadline(call));
        self.ask(call);
    }

    /// Begins the attempts that may begin now.
    fn ask(&mut self, number: usize) {
        loop {
            let now = self.moment();
            let call = &mut self.calls[number];
            if call.outcome.is_some() {
                return;
            }
            match call.hedge.admit(&self.budget, now) {
                Start::Now => self.begin(number),
                Start::At(at) => return self.plan(at.since(now).as_nanos() as u64, Event::Ask(number)),
                Start::Unpaid => self.unpaid += 1,
                Start::No if call.hedge.is_over() => return self.end(number, Outcome::Failed),
                Start::No => return,
            }
        }
    }

    fn begin(&mut self, number: usize) {
        let call = &mut self.calls[number];
        let look = |server: usize| Candidate {
            load: Some(self.in_flight[server]),
            healthy: true,
            weight: 1.0,
            avoid: call.tried.has(server),
        };
        let server = self.balance.pick(SERVERS, look, &mut self.random).expect("none is ever full");
        call.tried.add(server);
        call.begun += 1;
        call.running.push((call.begun, server));
        self.in_flight[server] += 1;
        self.attempts += 1;
        let attempt = call.begun;
        self.servers[server].queue.push_back((number, attempt));
        self.work(server);
    }

    fn work(&mut self, server: usize) {
        while self.servers[server].busy < SLOTS
            && let Some((call, attempt)) = self.servers[server].queue.pop_front()
        {
            if !self.runs(call, attempt) {
                continue; // cancelled while it waited
            }
            let (takes, fails) = match self.scenario.weather {
                Weather::Stalls(percent) if self.random.below(100) < percent => (STALL, false),
                Weather::AllSilent => (10 * SECOND, false),
                Weather::AllFail => (SERVICE / 5, true),
                Weather::OneFails if server == 0 => (SERVICE / 5, true),
                Weather::Stalls(_) | Weather::OneFails => {
                    (SERVICE / 2 + self.random.below_u64(SERVICE), false)
                }
            };
            self.servers[server].busy += 1;
            self.plan(takes, Event::Served { call, server, attempt, fails });
        }
    }

    fn runs(&self, call: usize, attempt: u32) -> bool {
        self.calls[call].running.iter().any(|(number, _)| *number == attempt)
    }

    fn served(&mut self, number: usize, attempt: u32, fails: bool) {
        let now = self.moment();
        let call = &mut self.calls[number];
        let Some(at) = call.running.iter().position(|(running, _)| *running == attempt) else { return };
        let (_, server) = call.running.remove(at);
        self.in_flight[server] -= 1;
        let code = if fails { Code::Unavailable } else { Code::Ok };
        match call.hedge.record(
            AttemptOutcome::Status(code),
            Pushback::None,
            &self.settings,
            &self.budget,
            now,
        ) {
            HedgeStep::GoOn => self.ask(number),
            HedgeStep::Final if fails => self.end(number, Outcome::Failed),
            HedgeStep::Final => self.end(number, Outcome::Answered),
        }
    }

    /// The call is over, and those of its attempts that run are cancelled: a server does not begin one, but ends it.
    fn end(&mut self, number: usize, outcome: Outcome) {
        let call = &mut self.calls[number];
        if call.outcome.is_some() {
            return;
        }
        call.outcome = Some(outcome);
        for (_, server) in call.running.drain(..) {
            self.in_flight[server] -= 1;
        }
        if outcome == Outcome::Answered {
            self.latencies.push(self.now - call.began);
        }
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.calls.iter().filter(|call| call.outcome == Some(outcome)).count() as u64
    }

    fn millis(&self, per_mille: usize) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * per_mille / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(0.0, |nanos| *nanos as f64 / 1e6)
    }

    fn row(&self) -> String {
        let offered = self.calls.len() as u64;
        let [answered, failed, late] =
            [Outcome::Answered, Outcome::Failed, Outcome::Late].map(|it| self.count(it));
        assert_eq!(offered, answered + failed + late, "every call has one end");
        assert_eq!(self.in_flight, [0; SERVERS], "every attempt has one");
        let percent = |part: u64| 100.0 * part as f64 / offered as f64;
        format!(
            "{:<28}{:>5}{:>9}{:>9.2}{:>9.2}{:>9.2}{:>10.3}{:>8}{:>8.1}{:>8.1}\n",
            self.scenario.name,
            self.scenario.load_percent,
            offered,
            percent(answered),
            percent(failed),
            percent(late),
            self.attempts as f64 / offered as f64,
            self.unpaid,
            self.millis(500),
            self.millis(990),
        )
    }
}

const HEAD: &str = "\
# What becomes of calls, in percent of those offered; attempts for each call; hedges that the budget did not pay;
# milliseconds of those that succeeded. Written by `UPDATE=1 cargo test --test it hedges`.
scenario                     load  offered  success   failed     late  attempts  unpaid     p50     p99
";

fn ran(scenario: Scenario) -> World {
    let mut world = World::new(scenario);
    world.run();
    world
}

#[test]
fn the_table_is_what_it_was() {
    let mut table = HEAD.to_owned();
    let weathers = [
        ("all well", Weather::Stalls(0)),
        ("2 % stall", Weather::Stalls(2)),
        ("20 % stall", Weather::Stalls(20)),
        ("one of three fails", Weather::OneFails),
        ("all fail", Weather::AllFail),
        ("all are silent", Weather::AllSilent),
    ];
    for (name, weather) in weathers {
        for load_percent in [10, 40] {
            for (name, hedged) in [(name.to_owned(), false), (format!("{name}, hedged"), true)] {
                let world = ran(Scenario { name: name.leak(), weather, load_percent, hedged });
                table += &world.row();
                let (calls, attempts) = (world.calls.len() as u64, world.attempts);
                assert!(attempts * 10 <= calls * 12 + 100, "{}: {attempts} for {calls}", world.scenario.name);
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/resilience/hedges.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).expect("the table can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let mut message = String::new();
    let _ = write!(
        message,
        "tests/it/resilience/hedges.txt differs; look at it, then UPDATE=1. It would be\n{table}"
    );
    assert!(written == table, "{message}");
}

/// Two of a hundred answers take 300 ms: hedges begin at 40, so only one in 2,500 calls should meet two such.
#[test]
fn the_slowest_calls_gain_and_it_costs_little() {
    let scenario = |hedged| Scenario { name: "", weather: Weather::Stalls(2), load_percent: 20, hedged };
    let [plain, hedged] = [false, true].map(|hedged| ran(scenario(hedged)));
    assert!(plain.millis(990) >= 300.0, "{}", plain.millis(990));
    assert!(hedged.millis(990) <= 60.0, "{}", hedged.millis(990));
    let calls = hedged.calls.len() as u64;
    assert!(hedged.attempts * 100 <= calls * 104, "{} for {calls}", hedged.attempts);
}

/// Another server answers at once where one server refuses.
#[test]
fn one_bad_server_costs_no_call_within_the_budget() {
    let world = ran(Scenario { name: "", weather: Weather::OneFails, load_percent: 20, hedged: true });
    let calls = world.calls.len() as u64;
    assert!(world.count(Outcome::Answered) + world.unpaid >= calls);
}
