//! `ringway verify`: eight promises of the gateway, each measured over real sockets.
//!
//! A check asks a [`Subject`], which is nothing but addresses and the service behind them, so it can be tried on
//! something that keeps no promise: see `tests/alone/verify.rs`.

mod check;
mod checks;

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::service::Service;
use super::show::{self, Cell, Document, Output, Table, Tone};

pub use check::{Check, Finding, Setup, Subject};
pub use checks::CHECKS;

/// Options of the checks.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The one check, by its name; all if there is none.
    pub only: Option<String>,
    /// How long the service waits with each response.
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
