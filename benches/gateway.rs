//! The cost of a call, end to end over real sockets: `cargo bench --bench gateway`.
//!
//! A gateway on io_uring and one on epoll are measured in turn, in the same rounds, against the same service, over a
//! sweep of connections. Compare the gateway's CPU time per call first: on a shared machine it is what differs least
//! from one run to the next. `--policies` measures what policies cost: a gateway that has all of them on, and one that
//! has none, in the same way. `-- --help` lists the rest; `--against BINARY` measures another build of this bench in
//! turn with this one (see scripts/ab.sh). Without `--bench`, as under `cargo test`, it only looks whether all of it works.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use ringway::config;
use ringway::supervisor::Gateway;
use ringway::tools::ab;
use ringway::tools::interval::Interval;
use ringway::tools::load::{self, Case, Load, Pace};
use ringway::tools::scrape::Page;
use ringway::tools::service::Service;
use ringway::tools::show::{self, Document, Output, Table, Tone, units};
use ringway::tools::usage::{Side, threads_named};
use serde_json::{Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: ringway::alloc::CountingOver<mimalloc::MiMalloc> =
    ringway::alloc::CountingOver(mimalloc::MiMalloc);

const HELP: &str = "\
--json              print JSON
--html FILE         also write a page with plots
--rounds N          rounds of each (9); fewer than 6 give no intervals
--millis N          how long each is measured in a round (500)
--connections A,B   the sweep (1,16,64,256,1024)
--backends A,B      io_uring,epoll
--in-flight N       calls in flight on each connection (1)
--policies          all policies on against all off, on io_uring, at 32 x 32
--message BYTES     size of the message (100)
--against BINARY    measure another build of this bench in turn with this one";

/// A worker publishes some of its counts every 100 ms.
const PUBLISHED: Duration = Duration::from_millis(120);

/// The points to measure, and how.
struct Options {
    full: bool,
    rounds: usize,
    span: Duration,
    connections: Vec<usize>,
    /// Calls in flight on each of them.
    in_flight: usize,
    backends: Vec<String>,
    /// Policies are compared, not back-ends.
    policies: bool,
    message_bytes: usize,
    against: Option<PathBuf>,
    output: Output,
}

/// A running gateway: a back-end, or policies on or off.
struct Subject {
    name: String,
    gateway: Gateway,
    sides: [Side; 2],
}

/// A place of the sweep, with what the gateway has counted of its calls.
struct Point {
    subject: usize,
    connections: usize,
    case: Case,
    counts: Vec<Counts>,
}

/// Counts of the gateway for one call.
#[derive(Clone, Copy, Default)]
struct Counts {
    enters: f64,
    sqes: f64,
    allocations: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    if let Some(other) = &options.against {
        let arguments =
            ["--rounds", "1", "--millis", &options.span.as_millis().to_string()].map(str::to_owned);
        let document = ab::run(&std::env::current_exe()?, other, &arguments, options.rounds)?;
        return Ok(document.write(&options.output)?);
    }
    let service = Service::start()?;
    let mut subjects = Vec::new();
    for (name, backend, policies) in options.subjects() {
        match Subject::start(&name, backend, policies, &service) {
            Ok(subject) => subjects.push(subject),
            Err(error) => eprintln!("{name} is left out: {error}"),
        }
    }
    if subjects.is_empty() {
        return Err("no back-end can be measured".into());
    }
    let points = measure(&options, &subjects)?;
    // In a measurement what failed is said in the table; one call of a million does not end it.
    if let Some(failure) = points.iter().find_map(Point::failure).filter(|_| !options.full) {
        return Err(failure.into());
    }
    document(&options, &subjects, &points).write(&options.output)?;
    Ok(())
}

impl Options {
    fn parse() -> Result<Options, Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1).peekable();
        let mut options = Options {
            full: false,
            rounds: 9,
            span: Duration::from_millis(500),
            connections: vec![1, 16, 64, 256, 1024],
            in_flight: 1,
            policies: false,
            backends: vec!["io_uring".to_owned(), "epoll".to_owned()],
            message_bytes: 100,
            against: None,
            output: Output::default(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => options.full = true,
                "--json" => options.output.json = true,
                "--html" => options.output.html = Some(value()?.into()),
                "--rounds" => options.rounds = value()?.parse()?,
                "--millis" => options.span = Duration::from_millis(value()?.parse()?),
                "--connections" => {
                    options.connections = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--backends" => options.backends = value()?.split(',').map(str::to_owned).collect(),
                "--in-flight" => options.in_flight = value()?.parse()?,
                "--policies" => {
                    options.policies = true;
                    (options.connections, options.in_flight) = (vec![32], 32);
                }
                "--message" => options.message_bytes = value()?.parse()?,
                "--against" => options.against = Some(value()?.into()),
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
            options.connections = vec![1, 16];
        }
        Ok(options)
    }

    /// The gateways to measure: the name, the back-end, and what the configuration says of policies.
    fn subjects(&self) -> Vec<(String, &str, [&str; 2])> {
        if self.policies {
            let on = ("policies on".to_owned(), "io_uring", POLICIES_ON);
            let off = ("policies off".to_owned(), "io_uring", POLICIES_OFF);
            return vec![on, off];
        }
        self.backends.iter().map(|backend| (backend.clone(), &backend[..], [""; 2])).collect()
    }
}

/// Settings of the route and of the cluster: every policy, with bounds that no call of a bench meets.
const POLICIES_ON: [&str; 2] = [
    "[routes.rate_limit]\nmax_tokens = 1000000\ntokens_per_fill = 1000000\nfill_interval = \"50ms\"\n",
    "[clusters.adaptive_timeout]\n[clusters.health_checks]\ninterval = \"1s\"\n[clusters.slow_start]\nwindow = \"10s\"\n\
     [clusters.breaker]\n[clusters.outlier_detection]\n[clusters.retry]\nmax_attempts = 3\nbudget_percent = 20\n\
     [[clusters.methods]]\npath = \"/ringway.measure.v1.Measure/Echo\"\ntimeout = \"2s\"\n[clusters.methods.breaker]\n",
];

const POLICIES_OFF: [&str; 2] = [
    "",
    "[clusters.breaker]\nenabled = false\n[clusters.outlier_detection]\nenabled = false\n\
     [clusters.retry]\nmax_attempts = 1\nbudget_percent = 0\n",
];

impl Subject {
    fn start(
        name: &str,
        backend: &str,
        [of_route, of_cluster]: [&str; 2],
        service: &Service,
    ) -> Result<Subject, Box<dyn Error>> {
        let text = format!(
            "workers = 1\ndrain_timeout = \"1s\"\n[io]\nbackend = \"{backend}\"\non_unavailable = \"fail\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [[routes]]\nmatch = {{ service = \"ringway.measure.v1.Measure\" }}\ncluster = \"service\"\n{of_route}\
             [[clusters]]\nname = \"service\"\nendpoints = [\"{}\"]\nmax_requests = 100000\n{of_cluster}",
            service.address()
        );
        let config = config::parse(&text, Path::new("bench.toml")).map_err(|errors| errors.to_string())?;
        let before = threads_named("worker-");
        let gateway = Gateway::start(config)?;
        let workers = threads_named("worker-").difference(&before).copied().collect();
        let sides = [Side::threads("gateway", workers), Side::threads("service", threads_named("service"))];
        Ok(Subject { name: name.to_owned(), gateway, sides })
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "backend": self.gateway.backend().name(), "flags": self.gateway.backend().flags() })
    }

    /// The gateway's counts so far, of all calls.
    fn counts(&self) -> (f64, Counts) {
        let page = Page::parse(&self.gateway.metrics()).expect("the gateway's own page");
        let sum = |name| page.sum(name).unwrap_or(0.0);
        let counts = Counts {
            enters: sum("ringway_turns_total"),
            sqes: sum("ringway_ring_sqes_total"),
            allocations: sum("ringway_allocations_total"),
        };
        (sum("ringway_calls_started_total"), counts)
    }
}

/// Every point of every subject once in each round, the subjects in turn.
fn measure(options: &Options, subjects: &[Subject]) -> Result<Vec<Point>, Box<dyn Error>> {
    let mut points = Vec::new();
    for &connections in &options.connections {
        for (subject, Subject { name, .. }) in subjects.iter().enumerate() {
            let more =
                if options.in_flight == 1 { String::new() } else { format!(" x {}", options.in_flight) };
            let case = Case::new(format!("{name}/{connections}{more}"));
            points.push(Point { subject, connections, case, counts: Vec::new() });
        }
    }
    let bar = show::progress((options.rounds * points.len()) as u64, "bench");
    for round in 0..options.rounds {
        for turn in 0..points.len() {
            // Neither is always the first.
            let point = &mut points[turn ^ (round & 1).min(subjects.len() - 1)];
            point.measure(options, &subjects[point.subject])?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(points)
}

impl Point {
    fn measure(&mut self, options: &Options, subject: &Subject) -> Result<(), Box<dyn Error>> {
        let target = Service::target(subject.gateway.listeners()[0], options.message_bytes);
        let at_once = self.connections * options.in_flight;
        let mut load = Load::new(target, Pace::Span { span: options.span, at_once });
        load.connections = self.connections;
        // A single thread cannot keep a worker busy that needs less time for a call than it does.
        load.threads = self.connections.clamp(1, 2);
        load.warm_up = if options.full { 1000.max(2 * at_once as u64) } else { 20 };
        let mut seen = Vec::new();
        let round = load::run_between(
            &load,
            &subject.sides,
            |_| (),
            || {
                if options.full {
                    std::thread::sleep(PUBLISHED);
                }
                seen.push(subject.counts());
            },
        )?;
        if let [(calls_before, before), (calls_after, after)] = seen[..] {
            let calls = (calls_after - calls_before).max(1.0);
            self.counts.push(Counts {
                enters: (after.enters - before.enters) / calls,
                sqes: (after.sqes - before.sqes) / calls,
                allocations: (after.allocations - before.allocations) / calls,
            });
        }
        self.case.rounds.push(round);
        Ok(())
    }

    /// The failure of its calls, if there is one.
    fn failure(&self) -> Option<String> {
        let (calls, errors) = (self.case.tally().calls(), self.case.tally().errors());
        (calls == 0 || errors > 0)
            .then(|| format!("{}: {errors} of {calls} calls failed: {}", self.case.name, self.case.errors()))
    }

    /// Why nothing may be concluded from it.
    fn invalid(&self) -> Option<String> {
        self.case.invalid().or_else(|| self.failure())
    }

    fn median(&self, of: impl Fn(&Counts) -> f64) -> f64 {
        let all: Vec<f64> = self.counts.iter().map(of).collect();
        Interval::of(&all).map_or(0.0, |interval| interval.median)
    }

    fn json(&self) -> Value {
        let mut json = self.case.json();
        json["invalid"] = json!(self.invalid());
        json["enters_per_call"] = json!(self.median(|counts| counts.enters));
        json["sqes_per_call"] = json!(self.median(|counts| counts.sqes));
        json["allocations_per_call"] = json!(self.median(|counts| counts.allocations));
        json
    }
}

fn document(options: &Options, subjects: &[Subject], points: &[Point]) -> Document {
    let columns = [
        "gateway",
        ">connections",
        ">calls/s",
        ">p50",
        ">p99",
        ">p99.9",
        ">gateway CPU us",
        ">turns",
        ">SQEs",
        ">allocs",
        ">generator busy",
        "valid",
    ];
    let mut table = Table::new("", &columns);
    for point in points {
        let case = &point.case;
        let tally = case.tally();
        let figure = |interval: Option<Interval>| interval.map_or("-".into(), |i| units::interval(&i));
        let quantile = |q| units::time(tally.quantile(q));
        let valid = point.invalid();
        table.rows.push(vec![
            subjects[point.subject].name.as_str().into(),
            point.connections.to_string().into(),
            figure(case.rate()).into(),
            quantile(0.5).into(),
            quantile(0.99).into(),
            quantile(0.999).into(),
            figure(case.cpu_micros("gateway")).into(),
            units::digits(point.median(|counts| counts.enters)).into(),
            units::digits(point.median(|counts| counts.sqes)).into(),
            units::digits(point.median(|counts| counts.allocations)).into(),
            case.busy().map_or("-".into(), |busy| units::percent(busy.median)).into(),
            match valid {
                None => show::Cell::new("yes", Tone::Good),
                Some(reason) => show::Cell::new(reason, Tone::Bad),
            },
        ]);
    }
    let cases: Vec<Case> = points.iter().map(|point| point.case.clone()).collect();
    let (bytes, in_flight) = (options.message_bytes, options.in_flight);
    Document {
        title: format!(
            "A unary call of {bytes} bytes through one worker; in flight on each connection: {in_flight}"
        ),
        facts: vec![
            "closed loop; the generator has a thread, or two beyond one connection, the service one"
                .to_owned(),
            "per call; a turn of the loop is one io_uring_enter or epoll_wait".to_owned(),
        ],
        tables: vec![table],
        conclusions: verdicts(points, options.policies),
        plots: load::rows::plots(&cases),
        json: json!({
            "message_bytes": bytes,
            "rings": subjects.iter().map(Subject::json).collect::<Vec<_>>(),
            "points": points.iter().map(Point::json).collect::<Vec<_>>(),
        }),
    }
}

/// The price of all policies together: at most 5 % of the gateway's CPU time.
const POLICIES_MAX: f64 = 1.05;

/// The first against the second at each place of the sweep, by the ratio of the two in each round: a slow second of the
/// machine falls on both.
fn verdicts(points: &[Point], policies: bool) -> Vec<String> {
    let compared = points.chunks(2).filter_map(|pair| {
        let [one, other] = pair else { return None };
        let micros = |round: &load::Round| round.cpu_micros("gateway");
        let rounds = one.case.rounds.iter().zip(&other.case.rounds);
        let ratios: Vec<f64> =
            rounds.filter_map(|(one, other)| Some(micros(one)? / micros(other)?)).collect();
        let ratio = Interval::of(&ratios)?;
        let names = format!("{} against {}: gateway CPU per call", one.case.name, other.case.name);
        if policies {
            let ends = ratio.ends.map_or(String::new(), |(low, high)| format!(" ({low:.3} to {high:.3})"));
            let verdict = if ratio.median <= POLICIES_MAX { "within" } else { "MORE THAN" };
            return Some(format!("{names} x {:.3}{ends}: {verdict} 5 % more", ratio.median));
        }
        Some(match ratio.ends {
            None => format!("{names}: too few rounds for a verdict"),
            Some((low, high)) if low <= 1.0 && 1.0 <= high => {
                format!("{names}: no difference (x {low:.2} to {high:.2})")
            }
            Some((low, high)) => format!("{names} x {:.2} ({low:.2} to {high:.2})", ratio.median),
        })
    });
    compared.collect()
}
