//! Can this host run the gateway well? Each finding with its value, what is wanted, why, and what mends it.
//!
//! [`host`] takes a snapshot, `table/` judges it row by row, [`report`] says what was found. The sysctl file and the
//! guide in `tuning/` are written from the same rows by [`guide`].
#![allow(clippy::disallowed_methods, reason = "a tool of its own process: it watches counters for a moment")]

mod check;
mod guide;
mod host;
mod report;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub use self::guide::{conf, settings};

use self::check::{Reading, Severity};
use self::host::{Facts, Host, WINDOW, Wanted};
use self::report::Found;
use crate::config::{self, Errors};
use crate::net::ethtool::Nic;
use crate::net::ring;

/// How long the admin address may take.
const ADMIN_WAIT: Duration = Duration::from_secs(2);

/// The largest page of metrics that is read.
const PAGE_BYTES_MAX: u64 = 64 << 20;

/// Options of a diagnosis: the sources to look at, and the form of the report.
#[derive(Clone, Debug)]
pub struct Options {
    /// `/`, but for tests.
    pub root: PathBuf,
    /// Whether to watch counters for a moment.
    pub live: bool,
    /// The admin address of a running gateway, to read its metrics.
    pub admin: Option<SocketAddr>,
    /// The configuration the host is to serve.
    pub config: Option<PathBuf>,
    /// Tell it as JSON.
    pub json: bool,
    /// Tell what is fine, too.
    pub all: bool,
    /// Use colours.
    pub colour: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Errors),
    /// The gateway's metrics cannot be read.
    #[error("cannot read http://{0}/metrics: {1}")]
    Admin(SocketAddr, io::Error),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Write(io::Error),
}

/// Looks at the host and tells what it found. True if there is neither an error nor a warning.
///
/// # Errors
/// When something that was asked for cannot be read.
pub fn run(options: &Options, out: &mut impl Write) -> Result<bool, Unable> {
    let found = examine(&look(options)?);
    let written = if options.json {
        report::json(&found, out)
    } else {
        report::text(&found, options.all, options.colour, out)
    };
    written.map_err(Unable::Write)?;
    Ok(!found.iter().any(|found| found.is_finding() && found.check.severity != Severity::Note))
}

/// Takes the snapshot.
fn look(options: &Options) -> Result<Host, Unable> {
    let wanted = match &options.config {
        Some(path) => Wanted::of(&config::load(path).map_err(Unable::Config)?),
        None => Wanted::default(),
    };
    let page = match options.admin {
        Some(address) => Some(metrics(address).map_err(|error| Unable::Admin(address, error))?),
        None => None,
    };
    let mut host = Host::read(&options.root, guide::sysctls());
    let Facts { nics, quota, .. } = std::mem::take(&mut host.facts);
    host.facts = Facts { nics, quota, wanted, page, ..Facts::default() };
    if options.root == Path::new("/") {
        host.facts.ring = Some(ring::probe(&host.facts.wanted.io));
        host.facts.latency_limit = latency_limit();
        for (name, nic) in &mut host.facts.nics {
            *nic = Nic::read(name);
        }
    }
    if options.live {
        host.read_counters(&options.root);
        thread::sleep(WINDOW);
        host.read_counters(&options.root);
    }
    Ok(host)
}

/// Judges every row of the table.
fn examine(host: &Host) -> Vec<Found> {
    let rows = table::GROUPS.iter().flat_map(|group| group.checks.iter().map(|check| (group.name, check)));
    rows.map(|(group, check)| Found { group, check, reading: check.read(host) })
        .filter(|found| found.reading != Reading::Absent)
        .collect()
}

/// Only root may read it; its four bytes are the machine's own integer.
fn latency_limit() -> Option<i32> {
    let mut bytes = [0; 4];
    File::open("/dev/cpu_dma_latency").ok()?.read_exact(&mut bytes).ok()?;
    Some(i32::from_ne_bytes(bytes))
}

/// The body of `/metrics`.
fn metrics(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ADMIN_WAIT)?;
    stream.set_read_timeout(Some(ADMIN_WAIT))?;
    stream.set_write_timeout(Some(ADMIN_WAIT))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    match head.split_ascii_whitespace().nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned())),
    }
}
