//! The commands that look at a running gateway.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::source;
use crate::tools::{tap, top};

#[derive(Args, Debug)]
pub(super) struct Top {
    /// The admin address of a running gateway.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = source::address)]
    admin: SocketAddr,
    /// The time between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// Look once.
    #[arg(long)]
    once: bool,
    /// Print JSON, an object for each look.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Tap {
    /// The admin address of a running gateway.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = source::address)]
    admin: SocketAddr,
    /// Only paths, or gRPC methods, that begin so.
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only calls that end with this gRPC status.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only calls that do not end with OK.
    #[arg(long)]
    errors: bool,
    /// Only calls of this route.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Only calls to this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Only callers that speak this: grpc, grpc-web, json or connect.
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Only clients whose address begins so.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Only calls that take this long or longer.
    #[arg(long, value_name = "MILLISECONDS")]
    slower_than: Option<f64>,
    /// This share of all calls, such as 0.01.
    #[arg(long, value_name = "SHARE")]
    sample: Option<f64>,
    /// End after so many calls.
    #[arg(long, value_name = "CALLS")]
    count: Option<u64>,
    /// End after this time.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<f64>,
    /// Print lines of JSON, as the access log has them.
    #[arg(long)]
    json: bool,
}

pub(super) fn top(arguments: &Top) -> ExitCode {
    let Top { admin, once, json, .. } = *arguments;
    let interval = Duration::from_secs_f64(arguments.interval);
    ended(top::run(&top::Options { admin, interval, once, json }))
}

pub(super) fn tap(arguments: Tap) -> ExitCode {
    let filters = [
        ("path", arguments.path),
        ("status", arguments.status),
        ("errors", arguments.errors.then(|| "1".to_owned())),
        ("route", arguments.route),
        ("cluster", arguments.cluster),
        ("protocol", arguments.protocol),
        ("client", arguments.client),
        ("min_ms", arguments.slower_than.map(|millis| millis.to_string())),
        ("sample", arguments.sample.map(|share| share.to_string())),
    ];
    let options = tap::Options {
        filters: filters.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        count: arguments.count,
        duration: arguments.duration.map(Duration::from_secs_f64),
        json: arguments.json,
    };
    ended(tap::run(arguments.admin, &options))
}

/// A reader that has gone, such as `head`, is no failure.
fn ended(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    if (0.1..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("must be 0.1 to 86,400".to_owned()) }
}
