//! `ringway verify`: the eight promises of the first report, each measured over real sockets.
//!
//! A check asks a [`Subject`], which is nothing but addresses and the service behind them, so it can be tried on
//! something that keeps no promise: see `tests/verify.rs`.

mod checks;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::service::Service;
use super::show::{self, Cell, Document, Output, Table, Tone};
use crate::config;
use crate::supervisor::Gateway;

pub use checks::CHECKS;

/// The subject of a check.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where clients of the gateway connect.
    pub gateway: SocketAddr,
    /// Where it shows its metrics.
    pub admin: SocketAddr,
    /// The service behind the gateway.
    pub service: &'a Service,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The measured value, in words.
    pub measured: String,
    /// Whether that is good enough.
    pub passed: bool,
    /// The figure behind it.
    pub figure: f64,
}

/// A check, with its requirement and its measurement.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// The requirement.
    pub required: &'static str,
    /// How it is measured.
    pub how: &'static str,
    /// The gateway's configuration for the check.
    pub setup: Setup,
    /// Measures it.
    pub run: fn(&Subject<'_>) -> io::Result<Finding>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The configuration of a check's gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// No retries, no breaker.
    Plain,
    /// Retries, and the budget that is on by default.
    Retries,
    /// A breaker that opens soon and stays open for a second.
    Breaker,
}

impl Setup {
    fn config(self, service: SocketAddr) -> String {
        // A check makes calls fail that others count. So a feature that would take this for an outage is on only in the
        // check that measures it.
        let (attempts, breaker) = match self {
            Setup::Plain => (1, "enabled = false"),
            Setup::Retries => (3, "enabled = false"),
            Setup::Breaker => (
                1,
                "max_requests = 5\ninterval = \"10s\"\ntimeout = \"1s\"\nmin_requests = 20\nfailure_ratio = 0.5\n\
                 ramp = \"100ms\"",
            ),
        };
        format!(
            "drain_timeout = \"1s\"\n[admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [[routes]]\nmatch = {{ prefix = \"/\" }}\ncluster = \"service\"\ntimeout = \"30s\"\n\
             [[clusters]]\nname = \"service\"\nendpoints = [\"{service}\"]\n\
             [clusters.retry]\nmax_attempts = {attempts}\ninitial_backoff = \"1ms\"\nmax_backoff = \"2ms\"\n\
             [clusters.breaker]\n{breaker}\n[clusters.outlier_detection]\nenabled = false\n"
        )
    }

    /// Starts a gateway before `service`.
    ///
    /// # Errors
    /// When it cannot be configured or started.
    pub fn start(self, service: &Service) -> io::Result<Gateway> {
        let text = self.config(service.address());
        let config = config::parse(&text, Path::new("(verify)"))
            .map_err(|errors| io::Error::other(errors.to_string()))?;
        Gateway::start(config).map_err(io::Error::other)
    }
}

/// Options of the checks.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The one check, by its name; all if there is none.
    pub only: Option<String>,
    /// How long the service waits with each answer.
    pub hold: Duration,
    /// How it is shown.
    pub output: Output,
}

/// Runs the checks against embedded services; false if one has failed.
///
/// # Errors
/// When there is no check of the name, a gateway cannot be started, or the result cannot be written.
pub fn run(options: &Options) -> io::Result<bool> {
    let wanted = |check: &Check| options.only.as_deref().is_none_or(|only| check.name == only);
    let count = CHECKS.iter().filter(|check| wanted(check)).count();
    if count == 0 {
        let names = CHECKS.map(|check| check.name).join(", ");
        return Err(io::Error::other(format!("there is no such check; there are {names}")));
    }
    let bar = show::progress(count as u64, "verify");
    let mut findings = Vec::new();
    for setup in [Setup::Plain, Setup::Retries, Setup::Breaker] {
        let mine = |check: &Check| check.setup == setup && wanted(check);
        if !CHECKS.iter().any(mine) {
            continue;
        }
        let service = Service::start()?;
        service.set_wait(options.hold);
        let gateway = setup.start(&service)?;
        let subject = Subject { gateway: gateway.listeners()[0], admin: gateway.admin(), service: &service };
        for (number, check) in CHECKS.iter().enumerate().filter(|(_, check)| mine(check)) {
            bar.set_message(check.name);
            let finding = (check.run)(&subject).unwrap_or_else(|error| Finding {
                measured: format!("could not be measured: {error}"),
                passed: false,
                figure: f64::NAN,
            });
            findings.push((number, finding));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    findings.sort_by_key(|(number, _)| *number);
    document(&findings).write(&options.output)?;
    Ok(findings.iter().all(|(_, finding)| finding.passed))
}

/// The table of checks, by their numbers, and what each has found.
fn document(findings: &[(usize, Finding)]) -> Document {
    let mut table = Table::new("", &["check", "required", "measured", "verdict", "how"]);
    let mut json: Vec<Value> = Vec::new();
    for (number, finding) in findings {
        let check = &CHECKS[*number];
        let (verdict, tone) = if finding.passed { ("PASS", Tone::Good) } else { ("FAIL", Tone::Bad) };
        table.rows.push(vec![
            check.name.into(),
            check.required.into(),
            finding.measured.as_str().into(),
            Cell::new(verdict, tone),
            Cell::new(check.how, Tone::Dim),
        ]);
        json.push(json!({
            "check": check.name, "required": check.required, "measured": finding.measured,
            "figure": finding.figure, "passed": finding.passed, "how": check.how,
        }));
    }
    let passed = findings.iter().filter(|(_, finding)| finding.passed).count();
    Document {
        title: "Verify".to_owned(),
        facts: vec!["a gateway and a service of this process, over real sockets".to_owned()],
        tables: vec![table],
        conclusions: vec![format!("{passed} of {} passed", findings.len())],
        plots: Vec::new(),
        json: json!({ "checks": json, "passed": passed == findings.len() }),
    }
}
