//! Outages over sockets: endpoints that are killed and come back, with the breaker on and beside it off.
//!
//! `tests/it/resilience/outages.rs` drills the same on a clock that is a number; here the program runs as a process, and so does each of
//! three endpoints. Calls come on a schedule. Whether the breaker has opened is read from the metrics every 50 ms.
//! `scripts/outage-drill.sh` runs it. Without `--bench`, as under `cargo test`, one short drill shows that all of it works.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench measures time")]

#[path = "support/process.rs"]
#[allow(unreachable_pub, dead_code, reason = "a bench binary has no public side")]
mod process;

#[path = "../tests/support/child.rs"]
#[allow(unreachable_pub, dead_code, reason = "a bench binary has no public side")]
mod child;

#[path = "../tests/support/open_loop.rs"]
#[allow(unreachable_pub, dead_code, reason = "a bench binary has no public side")]
mod open_loop;

#[path = "../tests/support/raw.rs"]
#[allow(unreachable_pub, dead_code, reason = "a bench binary has no public side")]
mod raw;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use child::ChildService;
use open_loop::{OpenLoop, Outcome};
use process::{PROGRAM, Process};
use ringway::tools::scrape::{Page, Sample};
use tokio::task::JoinHandle;

const HELP: &str = "\
--rates N,N         calls per second (25,300)
--outages N,N       seconds that endpoints are gone (1,13)
--before N          seconds of success before that (32)
--after N           seconds after it (12)
--program FILE      another build of ringway";

const ENDPOINTS: usize = 3;
/// Drills of at most so many calls a second run side by side, however many endpoints they kill.
const TOGETHER_MAX: u32 = 50;
const DEADLINE: Duration = Duration::from_secs(5);
/// How much later all may be well with the breaker on than with it off.
const LATER_MAX: f64 = 2.0;

/// Runs `work`, at most `limit` long; the panic names `what` took longer.
async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => panic!("{what}: not done within {limit:?}"),
    }
}

#[derive(Clone)]
struct Options {
    rates: Vec<u32>,
    outages: Vec<u64>,
    before: u64,
    after: u64,
    program: PathBuf,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            rates: vec![25, 300],
            outages: vec![1, 13],
            before: 32,
            after: 12,
            program: PROGRAM.into(),
        };
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| HELP.to_owned())?;
            let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
            match name.as_str() {
                "--rates" => {
                    let rates: Result<Vec<_>, _> = value.split(',').map(number).collect();
                    options.rates = rates?.into_iter().filter_map(|rate| rate.try_into().ok()).collect();
                }
                "--outages" => options.outages = value.split(',').map(number).collect::<Result<_, _>>()?,
                "--before" => options.before = number(&value)?,
                "--after" => options.after = number(&value)?,
                "--program" => options.program = value.clone().into(),
                _ => return Err(HELP.to_owned()),
            }
        }
        Ok(options)
    }
}

#[derive(Clone, Copy)]
struct Drill {
    rate: u32,
    outage: u64,
    dead: usize,
    breaker: bool,
}

/// The result of a drill.
struct DrillResult {
    /// Seconds from the kill until the breaker was seen open.
    opened: Option<f64>,
    /// Calls that waited for a connect that found nobody, or were lost with a connection.
    to_dead: u64,
    /// Connects that found nobody.
    connects: u64,
    failed: usize,
    /// Seconds from the endpoints' return until the breaker was seen closed.
    closed: Option<f64>,
    /// Seconds from the endpoints' return until the last call began that failed.
    whole: f64,
    /// The longest that a call took which failed, in milliseconds.
    slowest_failure: f64,
}

fn config(addresses: &[SocketAddr], breaker: bool) -> String {
    let endpoints: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let endpoints = endpoints.join(", ");
    format!(
        "workers = 2\n[admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\ncluster = \"drilled\"\n[[clusters]]\nname = \"drilled\"\nendpoints = [{endpoints}]\n\
         [clusters.breaker]\nenabled = {breaker}\n"
    )
}

/// The page of metrics.
async fn page(admin: SocketAddr) -> Option<Page> {
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = String::from_utf8(raw::exchange(admin, request).await).ok()?;
    Page::parse(answer.split_once("\r\n\r\n")?.1).ok()
}

/// The sum of these families; of one that has the label `failure`, that of the values that are named, too.
async fn sum(admin: SocketAddr, families: &[&str]) -> u64 {
    let page = page(admin).await;
    let samples = page.iter().flat_map(|page| &page.samples);
    let is_wanted = |sample: &&Sample| {
        families.contains(&sample.name.as_str())
            && sample.labels.get("failure").is_none_or(|failure| families.contains(&failure.as_str()))
    };
    samples.filter(is_wanted).map(|sample| sample.value as u64).sum()
}

/// Notes when the breaker is first seen in this state.
fn watch(admin: SocketAddr, wanted: fn(u64) -> bool) -> JoinHandle<Duration> {
    let begun = std::time::Instant::now();
    tokio::spawn(async move {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            if wanted(sum(admin, &["ringway_breaker_state"]).await) {
                return begun.elapsed();
            }
        }
    })
}

/// The moment that a watch has seen, if it has.
async fn seen(watch: JoinHandle<Duration>) -> Option<f64> {
    if !watch.is_finished() {
        watch.abort();
    }
    watch.await.ok().map(|moment| moment.as_secs_f64())
}

async fn drilled(drill: Drill, options: &Options) -> Result<DrillResult, Box<dyn Error>> {
    const CONNECTS: &[&str] =
        &["ringway_upstream_connect_failures_total", "ringway_upstream_connect_timeouts_total"];
    const WAITED: &[&str] = &["ringway_upstream_pending_failed_total"];
    const LOST: &[&str] = &["ringway_failures_total", "upstream_disconnected"];
    let mut services = Vec::new();
    for _ in 0..ENDPOINTS {
        services.push(ChildService::start("drill").await);
    }
    let addresses: Vec<_> = services.iter().map(ChildService::address).collect();
    let gateway = Process::start(&options.program, &config(&addresses, drill.breaker))?;
    let load = OpenLoop::start(gateway.listener, drill.rate, DEADLINE).await;
    load.go_on(Duration::from_secs(options.before)).await;

    let opened = watch(gateway.admin, |state| state == 2);
    let killed_at = load.elapsed();
    services[..drill.dead].iter_mut().for_each(ChildService::kill);
    load.go_on(Duration::from_secs(drill.outage)).await;
    for service in &mut services[..drill.dead] {
        service.restart().await;
    }
    let back = load.elapsed();
    let closed = watch(gateway.admin, |state| state == 0);
    load.go_on(Duration::from_secs(options.after)).await;
    let connects = sum(gateway.admin, CONNECTS).await;
    let to_dead = sum(gateway.admin, WAITED).await + sum(gateway.admin, LOST).await;
    let (opened, closed) = (seen(opened).await, seen(closed).await);
    let outcomes = load.stop().await;
    gateway.end()?;

    let failed: Vec<&Outcome> = outcomes.iter().filter(|it| !it.is_ok()).collect();
    if let Some(early) = failed.iter().find(|it| it.at + it.took < killed_at) {
        return Err(format!("a call failed before the outage: {early:?}").into());
    }
    let last = failed.iter().map(|it| it.at).max().unwrap_or_default();
    let slowest = failed.iter().map(|it| it.took).max().unwrap_or_default();
    Ok(DrillResult {
        closed: closed.filter(|_| opened.is_some()),
        opened,
        to_dead,
        connects,
        failed: failed.len(),
        whole: last.saturating_sub(back).as_secs_f64(),
        slowest_failure: slowest.as_secs_f64() * 1e3,
    })
}

fn row(drill: Drill, told: &DrillResult) -> String {
    let or_none = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.2}"));
    format!(
        "{:>7}{:>8}{:>6}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9.2}{:>10.1}",
        drill.rate,
        drill.outage,
        drill.dead,
        if drill.breaker { "on" } else { "off" },
        or_none(told.opened),
        told.to_dead,
        told.connects,
        told.failed,
        or_none(told.closed),
        told.whole,
        told.slowest_failure,
    )
}

/// Promises that a drill with the breaker on breaks, beside its pair with it off. Calls that happen to be under way when
/// something changes are a part of a second's.
fn judge(drill: Drill, on: &DrillResult, off: &DrillResult) -> Vec<String> {
    let mut wrong = Vec::new();
    let chance = drill.rate as usize / 5 + 5;
    if on.failed > off.failed + chance {
        wrong.push(format!("{} calls failed with the breaker, {} without", on.failed, off.failed));
    }
    if on.to_dead > off.to_dead + chance as u64 {
        wrong
            .push(format!("{} went to dead endpoints with the breaker, {} without", on.to_dead, off.to_dead));
    }
    if on.whole > off.whole + LATER_MAX {
        wrong.push(format!(
            "all is well {:.2} s later with the breaker, and {:.2} s without",
            on.whole, off.whole
        ));
    }
    wrong
}

/// A drill with the breaker on, and side by side with it off: what else the machine does is the same for both.
async fn pair(drill: Drill, options: &Options) -> Result<(Drill, DrillResult, DrillResult), Box<dyn Error>> {
    let off = Drill { breaker: false, ..drill };
    let (on, off) = tokio::join!(drilled(drill, options), drilled(off, options));
    Ok((drill, on?, off?))
}

/// Polls all of them until all are done.
async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in futures.iter_mut().filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}

async fn all(options: &Options, dead: std::ops::RangeInclusive<usize>) -> Result<bool, Box<dyn Error>> {
    println!(
        "calls/s  outage  dead  breaker   opened  to dead  connects   failed   closed    whole   slowest"
    );
    let mut holds = true;
    for rate in &options.rates {
        for outage in &options.outages {
            let pairs = dead
                .clone()
                .map(|dead| pair(Drill { rate: *rate, outage: *outage, dead, breaker: true }, options));
            let told = if *rate <= TOGETHER_MAX {
                join_all(pairs.collect()).await
            } else {
                let mut told = Vec::new();
                for pair in pairs {
                    told.push(pair.await);
                }
                told
            };
            for told in told {
                let (drill, on, off) = told?;
                println!("{}\n{}", row(drill, &on), row(Drill { breaker: false, ..drill }, &off));
                for wrong in judge(drill, &on, &off) {
                    println!("        {wrong}");
                    holds = false;
                }
            }
        }
    }
    Ok(holds)
}

fn main() -> ExitCode {
    child::serve_if_asked();
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let options = match Options::read(std::env::args().skip(1).filter(|_| is_bench)) {
        Ok(options) => options,
        Err(help) => {
            eprintln!("{help}");
            return ExitCode::from(2);
        }
    };
    let short = Options { rates: vec![50], outages: vec![1], before: 1, after: 3, ..options.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let drills = async {
        if is_bench { all(&options, 1..=ENDPOINTS).await } else { all(&short, ENDPOINTS..=ENDPOINTS).await }
    };
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(drills)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
