//! Arguments, logs, signals and exit codes: what stands between a person and the gateway.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{self, Config};
use crate::demo::{self, Demo};
use crate::supervisor::{Ended, Gateway};
use crate::tools::doctor;

/// An API gateway for gRPC services on Linux: one worker per core, each on its own io_uring.
///
/// Without a command it starts four demo services and the gateway in front of them.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", env = "RINGWAY_CONFIG")]
        config: PathBuf,
    },
    /// Check a configuration: exit code 0, or 1 with file:line:column of every mistake.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE", env = "RINGWAY_CONFIG")]
        config: PathBuf,
    },
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
    start_logging();
    match arguments.command {
        Some(Command::Check { config }) => check(&config),
        Some(Command::Doctor { sysctl: true, .. }) => {
            print!("{}", doctor::conf());
            ExitCode::SUCCESS
        }
        Some(Command::Doctor { live, admin, config, json, all, root, .. }) => {
            let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            examine(&doctor::Options { root, live, admin, config, json, all, colour })
        }
        Some(Command::Run { config }) => match config::load(&config) {
            Ok(config) => run(config, |gateway| {
                tracing::info!(
                    listeners = ?gateway.listeners(),
                    admin = %gateway.admin(),
                    workers = gateway.workers(),
                    backend = gateway.rung().backend(),
                    flags = gateway.rung().flags(),
                    "ready"
                );
            }),
            Err(errors) => refuse(&errors),
        },
        None => match std::env::var_os("RINGWAY_CONFIG") {
            Some(path) => match config::load(Path::new(&path)) {
                Ok(config) => run(config, |_| ()),
                Err(errors) => refuse(&errors),
            },
            None => run_demo(),
        },
    }
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RINGWAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn check(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(config) => {
            let Config { listeners, routes, clusters, .. } = config;
            println!(
                "{}: good ({} listeners, {} routes, {} clusters)",
                path.display(),
                listeners.len(),
                routes.len(),
                clusters.len()
            );
            ExitCode::SUCCESS
        }
        Err(errors) => refuse(&errors),
    }
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

fn refuse(errors: &config::Errors) -> ExitCode {
    let _ = write!(io::stderr(), "{errors}");
    let _ = writeln!(io::stderr());
    ExitCode::FAILURE
}

/// Runs until a signal asks for the end, then drains.
fn run(config: Config, started: impl FnOnce(&Gateway)) -> ExitCode {
    let mut signals = match Signals::new([SIGTERM, SIGINT, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen for signals: {error}"), 1),
    };
    let gateway = match Gateway::start(config) {
        Ok(gateway) => gateway,
        Err(error) => return fail(&error.to_string(), error.exit_code()),
    };
    started(&gateway);
    let mut lost = false;
    while !asked_to_end(&mut signals) && !lost {
        lost = gateway.wait_for_loss(Duration::from_millis(50));
    }
    if lost {
        tracing::error!("a worker has ended unexpectedly; draining the others");
    } else {
        tracing::info!("draining");
    }
    gateway.drain();
    let Ended { calls_cut, workers_lost } = gateway.join();
    tracing::info!(calls_cut, "ended");
    if workers_lost > 0 || lost { ExitCode::from(70) } else { ExitCode::SUCCESS }
}

/// Whether a signal asks for the end. SIGHUP does not: it is kept from ending the process.
fn asked_to_end(signals: &mut Signals) -> bool {
    let mut end = false;
    for signal in signals.pending() {
        if signal == SIGHUP {
            tracing::warn!(
                "SIGHUP: this version cannot reload its configuration; restart to apply a new one"
            );
        } else {
            end = true;
        }
    }
    end
}

fn fail(message: &str, code: u8) -> ExitCode {
    tracing::error!("{message}");
    ExitCode::from(code)
}

/// The embedded default: four services of a university, and the gateway in front of them.
fn run_demo() -> ExitCode {
    let demo = match demo::start() {
        Ok(demo) => demo,
        Err(error) => return fail(&format!("cannot start the demo services: {error}"), 1),
    };
    let config = match config::parse(&demo_config(&demo), Path::new("(embedded default)")) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    run(config, |gateway| {
        let _ = greet(gateway, &demo, &mut io::stdout());
    })
}

fn demo_config(demo: &Demo) -> String {
    let mut text = String::from(
        "drain_timeout = \"5s\"\n[admin]\naddress = \"127.0.0.1:9901\"\n[[listeners]]\naddress = \"127.0.0.1:8080\"\n",
    );
    for service in &demo.services {
        for name in &service.grpc_services {
            let cluster = service.name;
            text += &format!("[[routes]]\nmatch = {{ service = \"{name}\" }}\ncluster = \"{cluster}\"\n");
        }
    }
    for service in &demo.services {
        let (name, address) = (service.name, service.address);
        text += &format!("[[clusters]]\nname = \"{name}\"\nendpoints = [\"{address}\"]\n");
    }
    text
}

fn greet(gateway: &Gateway, demo: &Demo, out: &mut impl Write) -> io::Result<()> {
    let listeners = gateway.listeners();
    writeln!(out, "Ringway {}", env!("CARGO_PKG_VERSION"))?;
    for address in &listeners {
        writeln!(out, "  gateway   {address}   gRPC over HTTP/2, cleartext")?;
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
    writeln!(out, "\nTry, in another terminal (https://github.com/fullstorydev/grpcurl):\n")?;
    let call = |method: &str, json: &str| {
        format!("  grpcurl -plaintext -import-path proto -proto {json} {gateway_address} {method}")
    };
    let employee = "ringway/demo/employee/v1/employee.proto -d '{\"employee_id\":\"1\"}'";
    writeln!(out, "{}", call("ringway.demo.employee.v1.EmployeeService/GetEmployee", employee))?;
    let chat = "ringway/demo/chat/v1/chat.proto -d '{\"chat_id\":\"chat-1\",\"events_max\":2}'";
    writeln!(out, "{}", call("ringway.demo.chat.v1.ChatService/Subscribe", chat))?;
    writeln!(out, "  curl -s http://{}/metrics | grep ringway_calls_total", gateway.admin())?;
    out.flush()
}
