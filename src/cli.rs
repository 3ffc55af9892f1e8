//! Arguments, logs, signals and exit codes: what stands between a person and the gateway.

mod certificates;
mod measure;
mod run;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing_subscriber::EnvFilter;

use crate::admin::{Hooks, LogLevel};
use crate::config::{self, Config};
use crate::demo::{self, Demo};
use crate::supervisor::{Gateway, host};
use crate::tools::doctor;
use crate::transcode::api::Api;
use crate::transcode::problem::{self, Problem};

/// Which program this is: its release, its commit, its compiler, and how it was built; build.rs says the last three.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("RINGWAY_COMMIT"),
    ", ",
    env!("RINGWAY_COMPILER"),
    ", ",
    env!("RINGWAY_BUILD"),
    ")"
);

/// An API gateway for gRPC services on Linux: one worker per core, each on its own io_uring.
///
/// Without a command it starts four demo services and the gateway in front of them.
#[derive(Debug, Parser)]
#[command(name = "ringway", version = VERSION, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    demo: DemoAddresses,
}

/// Where the gateway of the demo is.
#[derive(Debug, Args)]
struct DemoAddresses {
    /// Where the demo's gateway listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the demo's gateway has its pages for operators.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", env = "RINGWAY_CONFIG")]
        config: PathBuf,
    },
    /// Check a configuration, its descriptors, and what it asks of this host: exit code 0, or 1 with the place of every
    /// mistake.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE", env = "RINGWAY_CONFIG")]
        config: PathBuf,
    },
    #[command(flatten)]
    Measure(Box<measure::Measure>),
    /// Can this host run the gateway well? Exit code 0, 1 with errors or warnings, 2 if it cannot tell.
    Doctor {
        /// Watch counters for a moment, too.
        #[arg(long)]
        live: bool,
        /// The admin address of a running gateway, whose metrics are read.
        #[arg(long, value_name = "ADDRESS")]
        admin: Option<SocketAddr>,
        /// The configuration the host is to serve.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Report as JSON.
        #[arg(long)]
        json: bool,
        /// Report what is fine, too.
        #[arg(long)]
        all: bool,
        /// Print the sysctl file that mends most of it, and look at nothing.
        #[arg(long)]
        sysctl: bool,
        /// Look at a host's files below another directory.
        #[arg(long, value_name = "DIRECTORY", default_value = "/", hide = true)]
        root: PathBuf,
    },
}

/// Runs the program to its end.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let hooks = Hooks { log_level: Some(start_logging()), reload: None };
    match arguments.command {
        Some(Command::Check { config }) => check(&config),
        Some(Command::Measure(command)) => measure::run(*command),
        Some(Command::Doctor { sysctl: true, .. }) => {
            print!("{}", doctor::conf());
            ExitCode::SUCCESS
        }
        Some(Command::Doctor { live, admin, config, json, all, root, .. }) => {
            let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            examine(&doctor::Options { root, live, admin, config, json, all, colour })
        }
        Some(Command::Run { config }) => run_file(&config, hooks),
        None => match std::env::var_os("RINGWAY_CONFIG") {
            Some(path) => run_file(Path::new(&path), hooks),
            None => run_demo(&arguments.demo, hooks),
        },
    }
}

/// The gateway of a file.
fn run_file(path: &Path, hooks: Hooks) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    run::run(config, Some(path), hooks, |gateway| {
        tracing::info!(
            listeners = ?gateway.listeners(),
            admin = %gateway.admin(),
            workers = gateway.workers(),
            backend = gateway.rung().backend(),
            flags = gateway.rung().flags(),
            "ready"
        );
    })
}

/// Logs to stderr; what is returned changes how much.
fn start_logging() -> LogLevel {
    let filter = EnvFilter::try_from_env("RINGWAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(filter)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    let get = handle.clone();
    subscriber.init();
    LogLevel {
        get: Box::new(move || get.with_current(ToString::to_string).unwrap_or_default()),
        set: Box::new(move |wanted| {
            let level = log_level(wanted)?;
            handle.reload(EnvFilter::new(level.to_string())).map_err(|error| error.to_string())?;
            tracing::info!(%level, "log level changed");
            Ok(())
        }),
    }
}

/// A level by its name, if this build can log so much.
fn log_level(text: &str) -> Result<LevelFilter, String> {
    // `LevelFilter` parses more than names, such as an empty text. An operator hardly meant that.
    let named = text.bytes().all(|byte| byte.is_ascii_alphabetic()) && !text.is_empty();
    let level: Option<LevelFilter> = text.parse().ok().filter(|_| named);
    let level =
        level.ok_or_else(|| format!("{text:?} is not one of off, error, warn, info, debug, trace"))?;
    if level > STATIC_MAX_LEVEL {
        return Err(format!(
            "this build logs no more than {STATIC_MAX_LEVEL}: {level} needs one without --release"
        ));
    }
    Ok(level)
}

fn check(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    if let Err(errors) = config::refuse(path, &host::refusals(&config)) {
        return refuse(&errors);
    }
    match certificates::examine(&config) {
        Ok(warnings) => warnings.iter().for_each(|warning| eprintln!("{}: TLS: {warning}", path.display())),
        Err(problem) => return refuse(&format_args!("{}: TLS: {problem}", path.display())),
    }
    let Config { listeners, routes, clusters, transcoding, directory, .. } = config;
    let loaded = problem::guarded("transcoding", || Api::load(&transcoding, &directory, &[]));
    let api = match loaded.unwrap_or_else(|defect| Err(vec![defect])) {
        Ok(api) => api,
        Err(problems) => return refuse(&list(path, &problems)),
    };
    if !api.refused().is_empty() {
        eprintln!("{}", list(path, api.refused()));
        eprintln!(
            "what is wrong there is left out, all else is served (transcoding.on_bad_rule = \"fail\" refuses it)"
        );
    }
    let served = match transcoding.is_configured() {
        true => format!(
            ", {} services, {} methods, {} rules",
            api.services().len(),
            api.methods().len(),
            api.rules().len()
        ),
        false => String::new(),
    };
    println!(
        "{}: good ({} listeners, {} routes, {} clusters{served})",
        path.display(),
        listeners.len(),
        routes.len(),
        clusters.len()
    );
    if !transcoding.reflection.is_empty() {
        println!("what server reflection answers is checked when the gateway runs");
    }
    ExitCode::SUCCESS
}

/// Problems, one a line.
fn list(path: &Path, problems: &[Problem]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}: {problem}", path.display())).collect();
    lines.join("\n")
}

fn examine(options: &doctor::Options) -> ExitCode {
    match doctor::run(options, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(unable) => {
            let _ = writeln!(io::stderr(), "{unable}");
            ExitCode::from(2)
        }
    }
}

fn refuse(errors: &impl Display) -> ExitCode {
    let _ = write!(io::stderr(), "{errors}");
    let _ = writeln!(io::stderr());
    ExitCode::FAILURE
}

/// The embedded default: four services of a university, and the gateway in front of them.
fn run_demo(addresses: &DemoAddresses, hooks: Hooks) -> ExitCode {
    let demo = match demo::start() {
        Ok(demo) => demo,
        Err(error) => return run::fail(&format!("cannot start the demo services: {error}"), 1),
    };
    let config = match config::parse(
        &demo.config(&addresses.listen.to_string(), &addresses.admin.to_string()),
        Path::new("(embedded default)"),
    ) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    run::run(config, None, hooks, |gateway| {
        let _ = greet(gateway, &demo, &mut io::stdout());
    })
}

fn greet(gateway: &Gateway, demo: &Demo, out: &mut impl Write) -> io::Result<()> {
    let listeners = gateway.listeners();
    writeln!(out, "Ringway {}", env!("CARGO_PKG_VERSION"))?;
    for address in &listeners {
        writeln!(out, "  gateway   {address}   gRPC, gRPC-Web and JSON, cleartext")?;
    }
    writeln!(out, "  admin     {}", gateway.admin())?;
    let (rung, workers) = (gateway.rung(), gateway.workers());
    writeln!(out, "  workers   {workers}, on {} ({})", rung.backend(), rung.flags())?;
    for service in &demo.services {
        writeln!(
            out,
            "  service   {:<10} {}   {}",
            service.name,
            service.address,
            service.grpc_services.join(" ")
        )?;
    }
    let gateway_address = listeners.first().map_or_else(String::new, ToString::to_string);
    writeln!(out, "\nTry, in another terminal:\n")?;
    writeln!(out, "  curl -s http://{gateway_address}/v1/employees/1")?;
    writeln!(out, "  curl -sN 'http://{gateway_address}/v1/chats/chat-1/events?events_max=2'")?;
    writeln!(out, "  curl -s http://{}/metrics | grep ringway_calls_total", gateway.admin())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_level_is_one_that_this_build_has() {
        for (text, level) in
            [("info", LevelFilter::INFO), ("WARN", LevelFilter::WARN), ("off", LevelFilter::OFF)]
        {
            assert_eq!(log_level(text), Ok(level), "{text}");
        }
        assert_eq!(log_level("debug").is_ok(), LevelFilter::DEBUG <= STATIC_MAX_LEVEL);
        for text in ["", "verbose", "info,h2=trace"] {
            assert!(log_level(text).is_err(), "{text}");
        }
    }
}
