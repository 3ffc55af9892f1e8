//! Arguments, logs, signals and exit codes: what stands between a person and the gateway.

mod certificates;
mod check;
mod logging;
mod measure;
mod refuse;
mod run;
mod source;
mod watch;
mod write;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use self::logging::LogFormat;
use self::refuse::refuse;
use self::source::{FileArguments, Origin, ServiceArguments};
use crate::admin::Hooks;
use crate::config;
use crate::demo::{self, Demo};
use crate::supervisor::Gateway;
use crate::tools::doctor;

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
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = source::address)]
    listen: SocketAddr,
    /// Where the demo's gateway has its pages for operators.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = source::address)]
    admin: SocketAddr,
    /// The form of the log.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway: `ringway run FILE`, or `ringway run --to ADDRESS` without a file.
    Run {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        service: ServiceArguments,
        /// The form of the log.
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        log_format: LogFormat,
    },
    /// Check a configuration, its descriptors, and what it asks of this host: exit code 0, or 1 with the place of every
    /// mistake.
    Check {
        #[command(flatten)]
        file: FileArguments,
    },
    /// Write a commented configuration to begin with.
    Init(write::Init),
    /// Print the JSON schema of a configuration, from which editors complete keys.
    Schema,
    /// Print the script with which a shell completes the arguments.
    Completions {
        /// The shell.
        shell: write::Shell,
    },
    /// Print the manual page.
    Man,
    /// Show the figures of a running gateway, live; once, as text, where the output is no terminal.
    Top(watch::Top),
    /// Show the calls that pass a running gateway, live; never what is in them.
    Tap(Box<watch::Tap>),
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
    let arguments = Arguments::try_parse().unwrap_or_else(|error| with_hint(error).exit());
    let log_format = match &arguments.command {
        Some(Command::Run { log_format, .. }) => *log_format,
        _ => arguments.demo.log_format,
    };
    let hooks = Hooks { log_level: Some(logging::start(log_format)), reload: None };
    match arguments.command {
        Some(Command::Check { file }) => match file.path() {
            Some(path) => check::check(&path, file.set()),
            None => which_file("ringway check FILE"),
        },
        Some(Command::Top(arguments)) => watch::top(&arguments),
        Some(Command::Tap(arguments)) => watch::tap(*arguments),
        Some(Command::Measure(command)) => measure::run(*command),
        Some(Command::Doctor { sysctl: true, .. }) => {
            print!("{}", doctor::conf());
            ExitCode::SUCCESS
        }
        Some(Command::Doctor { live, admin, config, json, all, root, .. }) => {
            let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            examine(&doctor::Options { root, live, admin, config, json, all, colour })
        }
        Some(Command::Init(arguments)) => write::init(&arguments),
        Some(Command::Schema) => write::schema(),
        Some(Command::Completions { shell }) => write::completions(shell, &mut Arguments::command()),
        Some(Command::Man) => write::manual(Arguments::command()),
        Some(Command::Run { file, service, .. }) => match Origin::of(&file, &service) {
            Some(origin) => run_configuration(&origin, hooks),
            None => which_file("ringway run FILE, or ringway run --to 127.0.0.1:50051"),
        },
        None => match source::from_environment() {
            Some(path) => run_configuration(&Origin::file(path, &[]), hooks),
            None => run_demo(&arguments.demo, hooks),
        },
    }
}

/// Adds the way out for a file in the place of a command.
fn with_hint(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && (word.ends_with(".toml") || Path::new(word).is_file())
    {
        let hint = format!("to run the gateway of a file: ringway run {word}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

/// A command that was told no file.
fn which_file(usage: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "which configuration? {usage} (ringway init writes one to begin with)");
    ExitCode::from(2)
}

/// The gateway of a file, or of a service's address.
fn run_configuration(origin: &Origin, hooks: Hooks) -> ExitCode {
    let config = match origin.load() {
        Ok(config) => config,
        Err(errors) => {
            errors.iter().for_each(|error| tracing::error!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    run::run(config, Some(origin), hooks, |gateway| {
        tracing::info!(
            dashboard = format!("http://{}/", gateway.admin()),
            listeners = ?gateway.addresses(),
            admin = %gateway.admin(),
            workers = gateway.workers(),
            backend = gateway.backend().name(),
            flags = gateway.backend().flags(),
            "ready"
        );
    })
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
    let listeners = gateway.addresses();
    writeln!(out, "Ringway {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  dashboard http://{}/", gateway.admin())?;
    for address in &listeners {
        writeln!(out, "  gateway   {address}   gRPC, gRPC-Web and JSON, cleartext")?;
    }
    let (backend, workers) = (gateway.backend(), gateway.workers());
    writeln!(out, "  workers   {workers}, on {} ({})", backend.name(), backend.flags())?;
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
