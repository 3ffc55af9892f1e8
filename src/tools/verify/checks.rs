//! The eight checks. Each leaves the service as it found it.
#![allow(clippy::disallowed_methods, reason = "checks measure time, and wait for what gateways do in it")]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::check::{Check, Finding, Setup, Subject};
use crate::policy::status::Code;
use crate::tools::load::{self, Ending, Load, Pace, Request, Target};
use crate::tools::scrape::{self, Page};
use crate::tools::service::Service;
use crate::tools::show::units;

/// The checks, in the order of the report.
pub const CHECKS: [Check; 8] = [
    Check {
        name: "client retrieval latency",
        required: "< 1 ms",
        how: "calls in turn through the gateway and straight; what the gateway adds to the median",
        setup: Setup::Plain,
        run: retrieval,
    },
    Check {
        name: "retry overhead",
        required: "< 2.0x, ours <= 1.2x + 10",
        how: "the service fails every call; attempts that reach it over calls, of which some must be retries",
        setup: Setup::Retries,
        run: retry_overhead,
    },
    Check {
        name: "concurrent throughput",
        required: "> 1,000 req/s",
        how: "50 calls in flight for a second and a half",
        setup: Setup::Plain,
        run: throughput,
    },
    Check {
        name: "timeout accuracy",
        required: "> 95 %, ours > 99 %",
        how: "40 calls with a grpc-timeout of 1 s to a service that does not answer; how near to 1 s they end",
        setup: Setup::Plain,
        run: timeout_accuracy,
    },
    Check {
        name: "memory under load",
        required: "grows < 10 %",
        how: "five rounds of load, of clients that connect and go, of cancels; what is resident, and what is allocated",
        setup: Setup::Plain,
        run: memory,
    },
    Check {
        name: "no leaks",
        required: "nothing is left",
        how: "20 rounds of connecting, calling, cancelling, closing; then calls, connections, files and allocations",
        setup: Setup::Plain,
        run: leaks,
    },
    Check {
        name: "circuit breaker",
        required: "opens, rests, closes",
        how: "the service fails until calls stop reaching it; they must stay away, and come back when it is well",
        setup: Setup::Breaker,
        run: breaker,
    },
    Check {
        name: "connection reuse",
        required: "< 1 connection per 100 calls",
        how: "connections that reach the service while 2 000 calls are made",
        setup: Setup::Plain,
        run: reuse,
    },
];

const MESSAGE_BYTES: usize = 100;
/// Retries that the budget allows on top of its share.
const BUDGET_MIN: u64 = 10;

impl Subject<'_> {
    fn through(&self) -> Target {
        Service::target(self.gateway, MESSAGE_BYTES)
    }

    fn closed(&self, calls: u64, at_once: usize) -> Load {
        Load::new(self.through(), Pace::Calls { calls, at_once })
    }

    /// Makes so many calls that nobody waits for: they are cancelled before the service responds.
    fn cancelled(&self, calls: u64) -> io::Result<()> {
        let mut cut = self.closed(calls, 50);
        (cut.warm_up, cut.patience) = (0, Duration::from_millis(20));
        self.service.set_wait(Duration::from_secs(2));
        let round = load::run_alone(&cut);
        self.service.set_wait(Duration::ZERO);
        round.map(drop)
    }
}

fn retrieval(subject: &Subject<'_>) -> io::Result<Finding> {
    let straight = Service::target(subject.service.address(), MESSAGE_BYTES);
    let (mut with, mut without) = (load::Tally::default(), load::Tally::default());
    // In turn, so that what else the machine does falls on both.
    for _ in 0..5 {
        for (target, tally) in [(subject.through(), &mut with), (straight.clone(), &mut without)] {
            let round = load::run_alone(&Load::new(target, Pace::Calls { calls: 100, at_once: 1 }))?;
            tally.merge(&round.tally);
        }
    }
    if with.errors() > 0 {
        return Ok(failed(&with));
    }
    let added = |q| with.quantile(q).saturating_sub(without.quantile(q));
    let figure = added(0.5);
    Ok(Finding {
        measured: format!("adds {} (p99: {})", units::time(figure), units::time(added(0.99))),
        passed: figure < Duration::from_millis(1),
        figure: figure.as_secs_f64() * 1e3,
    })
}

fn retry_overhead(subject: &Subject<'_>) -> io::Result<Finding> {
    const CALLS: u64 = 1000;
    let mut load = subject.closed(CALLS, 20);
    load.warm_up = 0;
    load.connections = 4;
    // The connections' first calls succeed; they are four of the calls that reach the service.
    let warm = load.connections as u64;
    subject.service.set_failing(true);
    let before = subject.service.calls();
    let round = load::run_alone(&load);
    subject.service.set_failing(false);
    let round = round?;
    let calls = round.tally.calls() + warm;
    let attempts = subject.service.calls() - before;
    let figure = attempts as f64 / calls as f64;
    let allowed = calls * 12 / 10 + BUDGET_MIN;
    let mut measured = format!("{figure:.3}x: {attempts} attempts for {calls} calls");
    if attempts <= calls {
        measured += ", no call was sent again";
    }
    Ok(Finding { measured, passed: calls < attempts && attempts <= allowed, figure })
}

fn throughput(subject: &Subject<'_>) -> io::Result<Finding> {
    let pace = Pace::Span { span: Duration::from_millis(1500), at_once: 50 };
    let round = load::run_alone(&Load::new(subject.through(), pace))?;
    if round.tally.errors() > 0 {
        return Ok(failed(&round.tally));
    }
    let figure = round.rate();
    let p99 = units::time(round.tally.quantile(0.99));
    Ok(Finding {
        measured: format!("{} req/s (p99: {p99})", units::count(figure)),
        passed: figure > 1000.0,
        figure,
    })
}

fn timeout_accuracy(subject: &Subject<'_>) -> io::Result<Finding> {
    const ALLOWED: Duration = Duration::from_secs(1);
    let mut target = subject.through();
    if let Request::Grpc { headers, .. } = &mut target.request {
        headers.push(("grpc-timeout".to_owned(), "1S".to_owned()));
    }
    let mut load = Load::new(target, Pace::Calls { calls: 40, at_once: 40 });
    // The warm-up is the connections' first calls; they time out as well.
    (load.warm_up, load.connections, load.patience) = (0, 8, 3 * ALLOWED);
    subject.service.set_wait(5 * ALLOWED);
    let round = load::run_alone(&load);
    subject.service.set_wait(Duration::ZERO);
    let tally = round?.tally;
    let on_time = tally.endings.get(&Ending::Answered(Code::DeadlineExceeded)).copied().unwrap_or(0);
    if on_time < tally.calls() {
        return Ok(failed(&tally));
    }
    // The farthest from the second, on either side.
    let off = |took: Duration| took.abs_diff(ALLOWED);
    let worst = off(tally.max()).max(off(tally.quantile(0.0)));
    let figure = 1.0 - off(tally.quantile(0.5)).as_secs_f64() / ALLOWED.as_secs_f64();
    Ok(Finding {
        measured: format!("{:.2} % (farthest off: {})", 100.0 * figure, units::time(worst)),
        passed: figure > 0.99,
        figure,
    })
}

/// The memory of a gateway, by its own page.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident: f64,
    allocations: f64,
    bytes: f64,
}

impl Held {
    /// `None` where the gateway does not count what it allocates.
    fn on(page: &Page) -> Option<Held> {
        Some(Held {
            resident: page.sum("process_resident_memory_bytes")?,
            allocations: page.sum("ringway_heap_live_allocations")?,
            bytes: page.sum("ringway_heap_live_bytes")?,
        })
    }
}

const UNCOUNTED: &str = "its page does not say what is allocated and resident";

/// Rounds until what grows to its size once has grown, and those that are compared.
const WARMING: usize = 3;
const COMPARED: usize = 4;

fn memory(subject: &Subject<'_>) -> io::Result<Finding> {
    let mut held = Vec::new();
    for _ in 0..WARMING + COMPARED {
        let pace = Pace::Span { span: Duration::from_millis(800), at_once: 100 };
        let round = load::run_alone(&Load::new(subject.through(), pace))?;
        for _ in 0..3 {
            load::run_alone(&Load { connections: 50, ..subject.closed(50, 50) })?;
        }
        subject.cancelled(100)?;
        if round.tally.errors() > 0 {
            return Ok(failed(&round.tally));
        }
        let Some(now) = Held::on(&at_rest(subject)?) else {
            return Ok(Finding { measured: UNCOUNTED.to_owned(), passed: false, figure: f64::NAN });
        };
        held.push(now);
    }
    let compared = &held[WARMING..];
    let (first, last) = (compared[0], compared[COMPARED - 1]);
    let resident = last.resident / first.resident - 1.0;
    let [allocations, bytes] = steady(compared);
    let percent = |share: f64| format!("{:+.1} %", 100.0 * share);
    let measured = format!(
        "{} resident ({} to {}), {} allocations, {} allocated, round by round",
        percent(resident),
        units::bytes(first.resident),
        units::bytes(last.resident),
        percent(allocations),
        percent(bytes),
    );
    let figure = resident.max(allocations).max(bytes);
    Ok(Finding { measured, passed: figure < 0.1, figure })
}

/// The growth of allocations and their bytes over all rounds, if each round adds what the least of them adds. Memory
/// that grows to its size once, such as a table, is no leak; a leak grows with every round.
fn steady(held: &[Held]) -> [f64; 2] {
    let least = |of: fn(&Held) -> f64| {
        let growth = held.windows(2).map(|pair| of(&pair[1]) / of(&pair[0]) - 1.0);
        growth.fold(f64::INFINITY, f64::min) * (held.len() - 1) as f64
    };
    [least(|held| held.allocations), least(|held| held.bytes)]
}

/// Gauges that must be as before when all clients have gone.
const GAUGES: [(&str, &str); 5] = [
    ("ringway_connections_active", "client connections"),
    ("ringway_calls_active", "calls"),
    ("ringway_upstream_calls_active", "attempts"),
    ("ringway_upstream_pending_active", "waiting calls"),
    ("process_open_fds", "open files"),
];

/// Rounds of calls, after those that are for getting warm, in so many lots.
const LOTS: usize = 8;
const ROUNDS: usize = 4;
const CANCELLED: u64 = 100;
/// A leak of less than one allocation for so many cancelled calls is not told from chance.
const CALLS_PER_LEAK: f64 = 20.0;

fn leaks(subject: &Subject<'_>) -> io::Result<Finding> {
    let lot = || -> io::Result<load::Tally> {
        let mut tally = load::Tally::default();
        for _ in 0..ROUNDS {
            tally.merge(&load::run_alone(&subject.closed(200, 20))?.tally);
            subject.cancelled(CANCELLED)?;
        }
        Ok(tally)
    };
    lot()?;
    let before = at_rest(subject)?;
    let Some(first) = Held::on(&before) else {
        return Ok(Finding { measured: UNCOUNTED.to_owned(), passed: false, figure: f64::NAN });
    };
    let mut held = vec![first];
    for _ in 0..LOTS {
        let whole = lot()?;
        if whole.errors() > 0 {
            return Ok(failed(&whole));
        }
        held.extend(Held::on(&at_rest(subject)?));
    }
    let mut left = left_since(subject, &before)?;
    // A leak adds to each lot; memory that grows to its size once adds to one.
    let more = held.windows(2).map(|pair| pair[1].allocations - pair[0].allocations);
    let more = more.fold(f64::INFINITY, f64::min);
    let allowed = (ROUNDS as u64 * CANCELLED) as f64 / CALLS_PER_LEAK;
    if more > allowed {
        left.push(format!("{} allocations of each {}", units::count(more), ROUNDS as u64 * CANCELLED));
    }
    let measured = if left.is_empty() {
        let calls = units::count((LOTS * ROUNDS * 300) as f64);
        format!("nothing is left of {calls} calls, a third of them cancelled")
    } else {
        left.join(", ")
    };
    Ok(Finding { measured, passed: left.is_empty(), figure: left.len() as f64 })
}

/// The gauges above their values before, in words. Resources of a client take a moment to go.
fn left_since(subject: &Subject<'_>, before: &Page) -> io::Result<Vec<String>> {
    let given_up = Instant::now() + Duration::from_secs(5);
    loop {
        let after = scrape::fetch(subject.admin)?;
        let more = GAUGES.map(|(name, words)| (sum(&after, name) - sum(before, name), words));
        let left = more.into_iter().filter(|(more, _)| *more > 0.0);
        let left: Vec<String> = left.map(|(more, words)| format!("{more} {words}")).collect();
        if left.is_empty() || given_up < Instant::now() {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The metrics once no client is connected.
fn at_rest(subject: &Subject<'_>) -> io::Result<Page> {
    let given_up = Instant::now() + Duration::from_secs(3);
    loop {
        let page = scrape::fetch(subject.admin)?;
        if sum(&page, "ringway_connections_active") == 0.0 || given_up < Instant::now() {
            return Ok(page);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn breaker(subject: &Subject<'_>) -> io::Result<Finding> {
    let service = subject.service;
    let one = || load::probe(&subject.through(), Duration::from_secs(5));
    let finding = |measured: String, passed, figure| Ok(Finding { measured, passed, figure });
    service.set_failing(true);
    let (before, began) = (service.calls(), Instant::now());
    // It is open when calls end and none of the last ten has reached the service.
    let (mut made, mut kept_away) = (0_u64, 0);
    while kept_away < 10 && made < 500 {
        let reached = service.calls();
        one()?;
        made += 1;
        kept_away = if service.calls() == reached { kept_away + 1 } else { 0 };
    }
    let (reached, opened_after) = (service.calls() - before, began.elapsed());
    service.set_failing(false);
    if kept_away < 10 {
        return finding(format!("still closed after {made} failures"), false, f64::NAN);
    }
    // It closes again: let its second pass, and see calls succeed, ten in a row.
    let (mut well, given_up) = (0, Instant::now() + Duration::from_secs(10));
    while well < 10 && Instant::now() < given_up {
        well = if one()?.is_ok() { well + 1 } else { 0 };
        thread::sleep(Duration::from_millis(5));
    }
    let back = began.elapsed();
    let opened = format!("opened after {reached} failures in {}", units::time(opened_after));
    if well < 10 {
        return finding(format!("{opened}, and never closed again"), false, reached as f64);
    }
    finding(format!("{opened}, closed again after {}", units::time(back)), true, reached as f64)
}

fn reuse(subject: &Subject<'_>) -> io::Result<Finding> {
    load::run_alone(&subject.closed(200, 20))?;
    let before = subject.service.connections_opened();
    let round = load::run_alone(&subject.closed(2000, 20))?;
    if round.tally.errors() > 0 {
        return Ok(failed(&round.tally));
    }
    let opened = subject.service.connections_opened() - before;
    let figure = opened as f64 / round.tally.calls() as f64;
    let measured = format!("{opened} opened for 2 000 calls ({} are open)", subject.service.connections());
    Ok(Finding { measured, passed: figure < 0.01, figure })
}

/// A check whose calls did not end as they must.
fn failed(tally: &load::Tally) -> Finding {
    let ends = tally.endings.iter().map(|(ending, count)| format!("{ending} {count}"));
    Finding {
        measured: format!("calls did not end as they must: {}", ends.collect::<Vec<_>>().join(", ")),
        passed: false,
        figure: f64::NAN,
    }
}

fn sum(page: &Page, name: &str) -> f64 {
    page.sum(name).unwrap_or(0.0)
}
