//! The commands that measure: their arguments, as the tools want them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};

use crate::tools::load::{Request, Target};
use crate::tools::show::Output;
use crate::tools::usage::Side;
use crate::tools::{advise, compare, load_test, report, stage, verify};

#[derive(Debug, Subcommand)]
pub(super) enum Measure {
    /// Load a gateway in four steps, or in an open loop: latencies, throughput, errors, CPU.
    ///
    /// Without --target it starts the demo services and a gateway before them. Exit code 1 if a call failed or the
    /// result is invalid.
    LoadTest(LoadTest),
    /// Compare gRPC with JSON and the gateway with none: the same method of the same service in turn.
    Compare(Compare),
    /// Measure over real sockets what the gateway promises, such as deadlines kept and nothing sent twice: PASS or FAIL for each.
    ///
    /// Exit code 1 if one has failed. Takes about half a minute.
    Verify(Verify),
    /// Recommend timeouts, retries, pool sizes and breaker settings from a gateway's metrics, with the evidence.
    Advise(Advise),
    /// Write what was measured as Markdown; scripts/report.sh measures it.
    #[command(hide = true)]
    Report(Report),
    /// A process of the embedded demo, for the commands above.
    #[command(hide = true)]
    Stage {
        #[command(subcommand)]
        part: StagePart,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum StagePart {
    Services,
    Gateway { config: String },
}

#[derive(Args, Debug)]
pub(super) struct Advise {
    /// The admin address of a running gateway.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", conflicts_with = "from")]
    admin: SocketAddr,
    /// How long to look on, which tells how many calls are in flight.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds, conflicts_with = "from")]
    duration: f64,
    /// A saved page of metrics instead.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Print JSON instead of TOML.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Report {
    /// The eleven rows, as `cargo bench --bench report` leaves them.
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// The parts of the hot path, as `cargo bench --bench parts` leaves them.
    #[arg(long, value_name = "FILE")]
    parts: Option<PathBuf>,
    /// The output of `ringway verify --json`.
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
    /// The output of `cargo bench --bench gateway -- --json`.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// A table of peers in Markdown.
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
    /// The commit that was measured.
    #[arg(long)]
    commit: Option<String>,
    /// Where to write.
    #[arg(long, value_name = "FILE", default_value = "REPORT.md")]
    out: PathBuf,
    /// The compiler.
    #[arg(long, value_name = "VERSION")]
    toolchain: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    /// One of the checks alone, such as "timeout accuracy".
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The service waits so long with each answer, to see a check fail.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = hold, hide = true)]
    hold: f64,
    #[command(flatten)]
    show: Show,
}

/// How results are shown.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Also write one page of HTML with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The call to make.
#[derive(Args, Debug)]
struct Called {
    /// Call this address instead of the demo.
    #[arg(long, value_name = "HOST:PORT")]
    target: Option<String>,
    /// The gRPC method.
    #[arg(long, value_name = "/PKG.SERVICE/METHOD", requires = "target")]
    method: Option<String>,
    /// The encoded message; empty by default.
    #[arg(long, value_name = "FILE", requires = "target")]
    message_file: Option<PathBuf>,
    /// A JSON call instead of a gRPC one, such as "GET /v1/employees/1".
    #[arg(long, value_name = "METHOD PATH", requires = "target")]
    http: Option<String>,
    /// The JSON body; none by default.
    #[arg(long, value_name = "FILE", requires = "http")]
    body_file: Option<PathBuf>,
    /// A further header field of a gRPC call; may be repeated.
    #[arg(long, value_name = "NAME: VALUE", requires = "method")]
    header: Vec<String>,
    /// Read the gateway's CPU time and memory from the metrics at its admin address; CPU time in steps of 10 ms.
    #[arg(long, value_name = "ADDRESS", requires = "target", conflicts_with = "pid")]
    admin: Option<SocketAddr>,
    /// Read the gateway's CPU time and memory from its process on this machine.
    #[arg(long, value_name = "ID", requires = "target")]
    pid: Option<u32>,
    /// Read those of the service behind it, too, from its process on this machine.
    #[arg(long, value_name = "ID", requires = "target")]
    service_pid: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct LoadTest {
    #[command(flatten)]
    called: Called,
    /// Begin calls on a schedule, whatever became of the earlier ones, instead of the four steps.
    #[arg(long)]
    open_loop: bool,
    /// Calls per second of the open loop.
    #[arg(long, default_value_t = 1000.0, requires = "open_loop", value_parser = rate)]
    rate: f64,
    /// How long the open loop lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, requires = "open_loop", value_parser = seconds)]
    duration: f64,
    /// How often each step is repeated; fewer than 6 give no intervals.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Connections; by default one for each call in flight, at most 16.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: Option<u32>,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    #[command(flatten)]
    show: Show,
}

#[derive(Args, Debug)]
pub(super) struct Compare {
    /// Calls of a round.
    #[arg(default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    calls: u64,
    /// Calls in flight at once.
    #[arg(default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    at_once: u16,
    #[command(flatten)]
    called: Called,
    /// The service's own address, to call it without the gateway.
    #[arg(long, value_name = "HOST:PORT", requires = "target")]
    straight: Option<String>,
    /// How often each way is measured; fewer than 6 give no verdict.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    #[command(flatten)]
    show: Show,
}

/// Runs a command to its end.
pub(super) fn run(command: Measure) -> ExitCode {
    let done = match command {
        Measure::LoadTest(arguments) => arguments.run(),
        Measure::Compare(arguments) => arguments.run(),
        Measure::Verify(arguments) => arguments.run(),
        Measure::Advise(arguments) => arguments.run().map(|()| true),
        Measure::Report(arguments) => arguments.run().map(|()| true),
        Measure::Stage { part } => stage::play(&part.into()).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl From<StagePart> for stage::Part {
    fn from(part: StagePart) -> stage::Part {
        match part {
            StagePart::Services => stage::Part::Services,
            StagePart::Gateway { config } => stage::Part::Gateway(config),
        }
    }
}

impl Advise {
    fn run(self) -> io::Result<()> {
        let span = Duration::from_secs_f64(self.duration);
        let source = self.from.map_or(advise::Source::Admin(self.admin, span), advise::Source::File);
        advise::run(&source, self.json)
    }
}

impl Verify {
    fn run(self) -> io::Result<bool> {
        let hold = Duration::from_secs_f64(self.hold);
        verify::run(&verify::Options { only: self.only, hold, output: self.show.output() })
    }
}

impl Report {
    fn run(self) -> io::Result<()> {
        let Report { rows, parts, verify, gateway, peers, commit, toolchain, out } = self;
        report::write(&report::Sources { rows, parts, verify, gateway, peers, commit, toolchain }, &out)
    }
}

impl LoadTest {
    fn run(self) -> io::Result<bool> {
        let target = self.called.one()?;
        load_test::run(&load_test::Options {
            target: target.map(|target| (target, self.called.sides())),
            open: self.open_loop.then(|| (self.rate, Duration::from_secs_f64(self.duration))),
            rounds: self.rounds.into(),
            connections: self.connections.map(|count| count as usize),
            threads: self.threads.into(),
            output: self.show.output(),
        })
    }
}

impl Compare {
    fn run(self) -> io::Result<bool> {
        let mut ways = Vec::new();
        for (address, grpc, json) in [(&self.called.target, 0, 2), (&self.straight, 1, 3)] {
            let Some(address) = address.as_deref().map(resolve).transpose()? else { continue };
            let requests = [(grpc, self.called.grpc()?), (json, self.called.json()?)];
            let given =
                requests.into_iter().filter_map(|(way, request)| Some((compare::TARGETS[way], request?)));
            ways.extend(given.map(|(way, request)| (way, Target { address, request })));
        }
        if self.called.target.is_some() && ways.is_empty() {
            return Err(io::Error::other("--target needs --method, --http or both"));
        }
        compare::run(&compare::Options {
            calls: self.calls,
            at_once: self.at_once.into(),
            targets: (!ways.is_empty()).then(|| (ways, self.called.sides())),
            rounds: self.rounds.into(),
            threads: self.threads.into(),
            output: self.show.output(),
        })
    }
}

impl Show {
    fn output(self) -> Output {
        Output { json: self.json, html: self.html }
    }
}

impl Called {
    /// The one call that is asked for.
    fn one(&self) -> io::Result<Option<Target>> {
        let Some(target) = &self.target else { return Ok(None) };
        let request = match (self.grpc()?, self.json()?) {
            (Some(request), None) | (None, Some(request)) => request,
            _ => return Err(io::Error::other("--target needs either --method or --http")),
        };
        Ok(Some(Target { address: resolve(target)?, request }))
    }

    fn grpc(&self) -> io::Result<Option<Request>> {
        let Some(path) = self.method.clone() else { return Ok(None) };
        let mut headers = Vec::new();
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| io::Error::other(format!("--header {header:?} has no colon")))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Request::Grpc { path, message: file(self.message_file.as_ref())?, headers }))
    }

    fn json(&self) -> io::Result<Option<Request>> {
        let Some(http) = &self.http else { return Ok(None) };
        let wrong = || io::Error::other(format!("--http {http:?} is not a method and a path"));
        let (method, path) = http.split_once(' ').ok_or_else(wrong)?;
        let method = method.parse().map_err(|_| wrong())?;
        Ok(Some(Request::Json { method, path: path.to_owned(), body: file(self.body_file.as_ref())? }))
    }

    fn sides(&self) -> Vec<Side> {
        let admin = self.admin.map(|admin| Side::metrics("gateway", admin));
        let gateway = admin.or(self.pid.map(|id| Side::process("gateway", id)));
        gateway.into_iter().chain(self.service_pid.map(|id| Side::process("service", id))).collect()
    }
}

fn file(path: Option<&PathBuf>) -> io::Result<Bytes> {
    let Some(path) = path else { return Ok(Bytes::new()) };
    let read = std::fs::read(path);
    read.map(Bytes::from).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn resolve(target: &str) -> io::Result<SocketAddr> {
    let wrong = |error: io::Error| io::Error::other(format!("{target}: {error}"));
    let mut addresses = target.to_socket_addrs().map_err(wrong)?;
    addresses.next().ok_or_else(|| wrong(io::Error::other("has no address")))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number is needed".to_owned())?;
    if (0.1..=10_000_000.0).contains(&rate) { Ok(rate) } else { Err("must be 0.1 to 10,000,000".to_owned()) }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    if (0.1..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("must be 0.1 to 86,400".to_owned()) }
}

fn hold(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    if (0.0..=60.0).contains(&seconds) { Ok(seconds) } else { Err("must be 0 to 60".to_owned()) }
}
