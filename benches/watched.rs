//! The cost of watching a gateway, and whether watching works while it is busy: `cargo bench --bench watched`.
//!
//! Three questions, each with its verdict. What do an access log of 1 %, tracing of 1 % and a scrape every second cost
//! together, of the CPU time of all the gateway's threads? How long does the admin address take while every worker is
//! saturated? How long does a page of 50,000 series take, and what do calls notice of it? The program runs as a process of
//! its own, as it does for those who run it; what is compared is measured in turn, in the same rounds. `cargo bench` builds
//! a program without the profile that releases have: `--program` measures another. Without `--bench`, as under
//! `cargo test`, it only looks whether all of it works.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]
#![allow(clippy::disallowed_types, reason = "a bench has threads of its own")]

#[path = "support/process.rs"]
#[allow(unreachable_pub, reason = "a bench binary has no public side")]
mod process;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use process::{PROGRAM, Process};
use ringway::tools::interval::Interval;
use ringway::tools::load::{self, Case, Load, Pace, Round};
use ringway::tools::scrape;
use ringway::tools::service::Service;
use ringway::tools::show::{self, Cell, Document, Output, Table, Tone, units};
use serde_json::json;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The price of watching: the CPU time of a call, against that without.
const COST_MAX: f64 = 1.03;
/// How long the admin address may take under full load.
const ADMIN_MAX: Duration = Duration::from_millis(10);
/// How long a page of so many series may take.
const PAGE_MAX: Duration = Duration::from_millis(250);
const SERIES: usize = 50_000;
/// Series of one route: the buckets of its histogram, and what else it has from the beginning.
const SERIES_PER_ROUTE: usize = 25;

const HELP: &str = "\
--json              print JSON
--html FILE         also write a page
--rounds N          rounds of each (10); fewer than 6 give no intervals
--millis N          how long each is measured in a round (2000)
--connections N     connections, one call in flight on each (32)
--program FILE      another build of ringway
--only cost|admin|page";

struct Options {
    full: bool,
    rounds: usize,
    span: Duration,
    connections: usize,
    program: PathBuf,
    only: Option<String>,
    output: Output,
}

impl Options {
    fn parse() -> Result<Options, Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let (rounds, span, connections) = (10, Duration::from_secs(2), 32);
        let (program, output) = (PROGRAM.into(), Output::default());
        let mut options = Options { full: false, rounds, span, connections, program, only: None, output };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => options.full = true,
                "--json" => options.output.json = true,
                "--html" => options.output.html = Some(value()?.into()),
                "--rounds" => options.rounds = value()?.parse()?,
                "--millis" => options.span = Duration::from_millis(value()?.parse()?),
                "--connections" => options.connections = value()?.parse()?,
                "--program" => options.program = value()?.into(),
                "--only" => options.only = Some(value()?),
                "--help" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                // Arguments of `cargo test` and of other benches' harnesses.
                _ => {}
            }
        }
        if !options.full {
            (options.rounds, options.span) = (1, Duration::from_millis(30));
        }
        Ok(options)
    }

    fn wants(&self, what: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == what)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let service = Service::start()?;
    let mut document = Document {
        title: "What it costs to watch a gateway".to_owned(),
        facts: vec![format!(
            "unary calls of 100 bytes, {} connections with one call in flight each, closed loop",
            options.connections
        )],
        json: json!({}),
        ..Document::default()
    };
    if options.wants("cost") {
        cost(&options, &service, &mut document)?;
    }
    if options.wants("admin") {
        admin(&options, &service, &mut document)?;
    }
    if options.wants("page") {
        page(&options, &service, &mut document)?;
    }
    document.write(&options.output)?;
    Ok(())
}

/// A gateway before the service, with these tables in its configuration.
fn start(
    options: &Options,
    backend: &str,
    workers: &str,
    service: &Service,
    tables: &str,
) -> Result<Process, Box<dyn Error>> {
    let config = format!(
        "workers = {workers}\ndrain_timeout = \"1s\"\n[io]\nbackend = \"{backend}\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n{tables}\n\
         [[routes]]\nmatch = {{ service = \"ringway.measure.v1.Measure\" }}\ncluster = \"service\"\n\
         [[clusters]]\nname = \"service\"\nendpoints = [\"{}\"]\nmax_requests = 100000\n",
        service.address()
    );
    Process::start(&options.program, &config)
}

/// Calls through the gateway, and what that costs it.
fn measure(gateway: &Process, options: &Options) -> Result<Round, Box<dyn Error>> {
    let pace = Pace::Span { span: options.span, at_once: options.connections };
    let mut load = Load::new(Service::target(gateway.listener, 100), pace);
    load.connections = options.connections;
    load.warm_up = if options.full { 2000 } else { 20 };
    let round = load::run(&load, &[gateway.side()], |_| ())?;
    match round.tally.errors() {
        0 => Ok(round),
        errors => Err(format!("{errors} of {} calls failed", round.tally.calls()).into()),
    }
}

/// Asks an admin address for a page; how long that took, and the page.
fn ask(admin: SocketAddr, path: &str) -> std::io::Result<(Duration, String)> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: admin\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok((begun.elapsed(), answer))
}

/// Someone who asks for pages all the time, in turn, until it is dropped.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Asking {
    fn start(admin: SocketAddr, paths: &'static [&'static str], pause: Duration) -> Asking {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut took = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                for path in paths {
                    took.push(ask(admin, path).expect("the admin address answers").0);
                }
                thread::park_timeout(pause);
            }
            took
        });
        Asking { stop, thread }
    }

    /// How long each page took.
    fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().expect("it does not panic")
    }
}

fn quantile(sorted: &[Duration], q: f64) -> Duration {
    sorted[(q * (sorted.len() - 1) as f64).round() as usize]
}

/// A collector that takes spans and forgets them.
struct Collector {
    address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

struct Sink;

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn start() -> Result<Collector, Box<dyn Error>> {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        thread::Builder::new().name("collector".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                tell.send(listener.local_addr().expect("it is bound")).expect("someone waits");
                let serve = tonic::transport::Server::builder()
                    .add_service(TraceServiceServer::new(Sink))
                    .serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! { _ = serve => {}, _ = stopped => {} }
            });
        })?;
        Ok(Collector { address: told.recv()?, _stop: stop })
    }
}

/// A file that is there until the value is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A gateway that is watched against one that is not, by the ratio of the two in each round.
fn cost(options: &Options, service: &Service, document: &mut Document) -> Result<(), Box<dyn Error>> {
    let collector = Collector::start()?;
    let log = Scratch(std::env::temp_dir().join(format!("ringway-watched-{}.log", std::process::id())));
    let tables = format!(
        "[access_log]\npath = {:?}\nsample = 0.01\n[tracing]\nendpoint = \"http://{}\"\nsample = 0.01\n",
        log.0, collector.address
    );
    let plain = start(options, "auto", "1", service, "")?;
    let watched = start(options, "auto", "1", service, &tables)?;
    let mut cases = [Case::new("watched"), Case::new("plain")];
    let bar = show::progress(2 * options.rounds as u64, "cost");
    for round in 0..options.rounds {
        for turn in 0..2 {
            let at = (round + turn) % 2;
            let scraper =
                (at == 0).then(|| Asking::start(watched.admin, &["/metrics"], Duration::from_secs(1)));
            cases[at].rounds.push(measure([&watched, &plain][at], options)?);
            drop(scraper.map(Asking::end));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let seen = scrape::fetch(watched.admin)?;
    plain.end()?;
    watched.end()?;
    let sum = |name| seen.sum(name).unwrap_or(0.0);
    let lost = sum("ringway_spans_dropped_total") + sum("ringway_spans_failed_total");
    let micros = |round: &Round| round.cpu_micros("gateway");
    let rounds = cases[0].rounds.iter().zip(&cases[1].rounds);
    let ratios: Vec<f64> = rounds.filter_map(|(one, other)| Some(micros(one)? / micros(other)?)).collect();
    let ratio = Interval::of(&ratios).ok_or("no round was measured")?;
    let mut table = Table::new(
        "access log 1 %, tracing 1 %, a scrape each second",
        &["gateway", ">calls/s", ">p50", ">p99", ">CPU us of all its threads"],
    );
    for case in &cases {
        let figure = |interval: Option<Interval>| interval.map_or("-".into(), |i| units::interval(&i));
        let tally = case.tally();
        table.rows.push(vec![
            case.name.as_str().into(),
            figure(case.rate()).into(),
            units::time(tally.quantile(0.5)).into(),
            units::time(tally.quantile(0.99)).into(),
            figure(case.cpu_micros("gateway")).into(),
        ]);
    }
    document.tables.push(table);
    let verdict = match ratio.ends {
        None => "too few rounds for a verdict",
        Some((_, high)) if high <= COST_MAX => "holds",
        Some((low, _)) if low > COST_MAX => "does not hold",
        Some(_) => "undecided",
    };
    let ends = ratio.ends.map_or("-".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
    document.conclusions.push(format!(
        "watching costs x {:.3} of the CPU time of a call ({ends}); at most x {COST_MAX} is wanted: {verdict}; \
         {} spans exported, {lost} lost",
        ratio.median,
        sum("ringway_spans_exported_total"),
    ));
    document.json["cost"] = json!({
        "ratio": ratio.median, "interval_95": ratio.ends, "verdict": verdict, "ratios": ratios,
        "cases": cases.iter().map(Case::json).collect::<Vec<_>>(),
    });
    Ok(())
}

/// Pages of the admin address while every worker is saturated.
fn admin(options: &Options, service: &Service, document: &mut Document) -> Result<(), Box<dyn Error>> {
    const PATHS: &[&str] = &["/ready", "/workers", "/clusters", "/metrics"];
    let mut table = Table::new(
        "the admin address under full load",
        &["back-end", ">pages", ">p50", ">p99", ">slowest", ""],
    );
    for backend in ["io_uring", "epoll"] {
        let gateway = start(options, backend, "\"auto\"", service, "")?;
        let asking = Asking::start(gateway.admin, PATHS, Duration::from_millis(5));
        for _ in 0..options.rounds.div_ceil(2) {
            measure(&gateway, options)?;
        }
        let mut took = asking.end();
        gateway.end()?;
        took.sort();
        let p99 = quantile(&took, 0.99);
        let verdict = if p99 <= ADMIN_MAX { ("holds", Tone::Good) } else { ("does not hold", Tone::Bad) };
        table.rows.push(vec![
            backend.into(),
            took.len().to_string().into(),
            units::time(quantile(&took, 0.5)).into(),
            units::time(p99).into(),
            units::time(took[took.len() - 1]).into(),
            Cell::new(verdict.0, verdict.1),
        ]);
        document.conclusions.push(format!(
            "{backend}: 99 of 100 pages take at most {}; {} is wanted: {}",
            units::time(p99),
            units::time(ADMIN_MAX),
            verdict.0
        ));
        document.json["admin"][backend] =
            json!({ "pages": took.len(), "p99_ms": p99.as_secs_f64() * 1e3, "verdict": verdict.0 });
    }
    document.tables.push(table);
    Ok(())
}

/// A page of 50,000 series, once a second, and what calls notice of it.
fn page(options: &Options, service: &Service, document: &mut Document) -> Result<(), Box<dyn Error>> {
    let mut routes = String::new();
    for number in 0..SERIES / SERIES_PER_ROUTE {
        let _ = write!(
            routes,
            "[[routes]]\nmatch = {{ service = \"bench.v1.Service{number}\" }}\ncluster = \"service\"\n"
        );
    }
    let gateway = start(options, "auto", "\"auto\"", service, &routes)?;
    let series = ask(gateway.admin, "/metrics")?.1.lines().filter(|line| !line.starts_with('#')).count();
    let mut cases = [Case::new("scraped each second"), Case::new("not scraped")];
    let mut took = Vec::new();
    for round in 0..options.rounds {
        for turn in 0..2 {
            let at = (round + turn) % 2;
            let scraper =
                (at == 0).then(|| Asking::start(gateway.admin, &["/metrics"], Duration::from_secs(1)));
            cases[at].rounds.push(measure(&gateway, options)?);
            took.extend(scraper.into_iter().flat_map(Asking::end));
        }
    }
    gateway.end()?;
    took.sort();
    let slowest = took[took.len() - 1];
    let mut table = Table::new(
        format!("a page of {series} series"),
        &["calls", ">calls/s", ">p50", ">p99", ">p99.9", ">slowest"],
    );
    for case in &cases {
        let tally = case.tally();
        table.rows.push(vec![
            case.name.as_str().into(),
            case.rate().map_or("-".into(), |rate| units::interval(&rate)).into(),
            units::time(tally.quantile(0.5)).into(),
            units::time(tally.quantile(0.99)).into(),
            units::time(tally.quantile(0.999)).into(),
            units::time(tally.max()).into(),
        ]);
    }
    document.tables.push(table);
    let verdict = if slowest <= PAGE_MAX { "holds" } else { "does not hold" };
    document.conclusions.push(format!(
        "a page of {series} series takes {} (slowest {}) under full load; {} is wanted: {verdict}",
        units::time(quantile(&took, 0.5)),
        units::time(slowest),
        units::time(PAGE_MAX),
    ));
    document.json["page"] = json!({
        "series": series, "slowest_ms": slowest.as_secs_f64() * 1e3, "verdict": verdict,
        "cases": cases.iter().map(Case::json).collect::<Vec<_>>(),
    });
    Ok(())
}
