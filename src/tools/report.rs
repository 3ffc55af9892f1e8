//! `ringway report`: everything that was measured, in one page of Markdown, with where and how.
//!
//! It gathers and measures nothing itself: the benches leave their results in `target/criterion` and `target/ringway`,
//! and `scripts/report.sh` runs the measurements. The page says which ones are missing.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::show::{Table, units};

/// Where the results are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `report.json` of `benches/report.rs`.
    pub rows: Option<PathBuf>,
    /// `parts.json` of `benches/parts.rs`.
    pub parts: Option<PathBuf>,
    /// `ringway verify --json`.
    pub verify: Option<PathBuf>,
    /// `cargo bench --bench gateway -- --json`.
    pub gateway: Option<PathBuf>,
    /// The peers' table in Markdown, as the measuring tools print it.
    pub peers: Option<PathBuf>,
    /// The commit that was measured.
    pub commit: Option<String>,
    /// The compiler it was built with.
    pub toolchain: Option<String>,
}

/// Writes the page.
///
/// # Errors
/// When a file that was named cannot be read.
pub fn write(sources: &Sources, out: &Path) -> io::Result<()> {
    let mut page = "# Measured\n\nWritten by `scripts/report.sh`; every figure can be had again with the command beside it.\n\n".to_owned();
    let gateway_bench = sources.gateway.as_deref().map(parsed).transpose()?.unwrap_or_default();
    page += &machine(sources, &gateway_bench["rings"]);
    section(&mut page, "The eleven rows", "cargo bench --bench report", &sources.rows, rows)?;
    section(&mut page, "The eight promises", "ringway verify", &sources.verify, verify)?;
    section(&mut page, "The parts of the hot path", "cargo bench --bench parts", &sources.parts, parts)?;
    section(&mut page, "A call, end to end", "cargo bench --bench gateway", &sources.gateway, gateway)?;
    page += "\n## Peers\n\n";
    page += &match &sources.peers {
        Some(path) => read(path)?,
        None => {
            "Not measured: after `benches/peers/setup.sh`, `scripts/report.sh` puts a table of peers here.\n"
                .to_owned()
        }
    };
    fs::write(out, page)
}

fn section(
    page: &mut String,
    title: &str,
    command: &str,
    source: &Option<PathBuf>,
    show: fn(&Value) -> String,
) -> io::Result<()> {
    let _ = write!(page, "\n## {title}\n\n`{command}`\n\n");
    *page += &match source {
        Some(path) => show(&parsed(path)?),
        None => "Not measured.\n".to_owned(),
    };
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn parsed(path: &Path) -> io::Result<Value> {
    let wrong = |error| io::Error::other(format!("{}: {error}", path.display()));
    serde_json::from_str(&read(path)?).map_err(wrong)
}

/// How this program was built.
fn build() -> &'static str {
    if cfg!(debug_assertions) { "dev (figures of a dev build mean little)" } else { env!("RINGWAY_BUILD") }
}

/// The machine and the software of the measurement. `rings`: the back-ends of the end-to-end bench, with their flags.
fn machine(sources: &Sources, rings: &Value) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": not known");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kib: f64 = kib.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let flags =
        list(rings).iter().map(|ring| format!("{}: {}", text(&ring["backend"]), text(&ring["flags"])));
    let flags: Vec<String> = flags.collect();
    let known = |what: &Option<String>| what.clone().unwrap_or_else(|| "not known".to_owned());
    let mut table = Table::new("", &["", "measured on"]);
    for (name, value) in [
        ("commit", known(&sources.commit)),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("build", format!("{}, {}", build(), std::env::consts::ARCH)),
        ("compiler", known(&sources.toolchain)),
        ("allocator", "mimalloc, counted".to_owned()),
        ("ring flags", if flags.is_empty() { "not known".to_owned() } else { flags.join("; ") }),
        ("processor", format!("{}, {cores} cores", model.trim_start_matches([':', '\t', ' ']))),
        ("memory", units::bytes(kib * 1024.0)),
        ("kernel", kernel.trim().to_owned()),
    ] {
        table.rows.push(vec![name.into(), value.into()]);
    }
    table.markdown()
}

fn number(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), units::digits)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn rows(json: &Value) -> String {
    let columns = [
        "row",
        ">ns/op",
        ">ops/s",
        ">B/op",
        ">allocs/op",
        ">original's work here, ns/op",
        ">times as fast",
        ">original on an Apple M1 Pro, ns/op",
        ">its allocs/op",
    ];
    let mut table = Table::new("", &columns);
    // A row with one thread stands before those with more of the same name, which have the original's figures.
    let of_original = |row: &&Value| row["original_ns"].is_number() || text(&row["row"]).ends_with(" thread");
    for row in list(json).iter().filter(of_original) {
        let figures = ["ns", "ops_per_second", "bytes", "allocations", "baseline_ns", "times", "original_ns"];
        let figures = figures.map(|key| number(&row[key]).into());
        let name = std::iter::once(text(&row["row"]).into());
        table.rows.push(name.chain(figures).chain([text(&row["original_allocations"]).into()]).collect());
    }
    let others: Vec<&Value> = list(json).iter().filter(|row| !of_original(row)).collect();
    let mut text = table.markdown()
        + "\nThe original's work is done here as it does it (`benches/support/original.rs`), timed in turn with ours; of the \
           rows with many threads it is what each of them waits for an operation. Its own figures are its true ones, from \
           its own benchmark output on ten cores of an Apple M1 Pro, another machine than this; of the rows with many \
           threads they are of ten threads. Operations a second are of all threads together. What each row does is \
           written beside it in `benches/report.rs`.\n";
    text += &remarks(list(json));
    if !others.is_empty() {
        text += "\nBeside them, what has no counterpart there:\n\n";
        text += &plain_rows(others.into_iter());
    }
    text
}

/// How rows of many threads scale, and why some rows are slower than the original.
fn remarks(rows: &[Value]) -> String {
    let mut lines = String::new();
    for row in rows {
        let threads = row["threads"].as_f64().unwrap_or(1.0);
        let all = |share: &Value| share.as_f64().map(|share| units::digits(share * threads));
        if let Some((ours, theirs)) = all(&row["scaling"]).zip(all(&row["baseline_scaling"])) {
            let name = text(&row["row"]);
            let _ = writeln!(lines, "- {name}: {ours} times what one does; the original's {theirs} times.");
        }
        if let (Some(because), Some(times)) = (row["because"].as_str(), row["times"].as_f64()) {
            let (name, times) = (text(&row["row"]), units::digits(times));
            let _ = writeln!(lines, "- {name}, {times} times as fast: {because}.");
        }
    }
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn parts(json: &Value) -> String {
    plain_rows(list(json).iter())
}

fn plain_rows<'a>(rows: impl Iterator<Item = &'a Value>) -> String {
    let mut table = Table::new("", &["", ">ns/op", ">ops/s", ">B/op", ">allocs/op"]);
    for row in rows {
        let figures = ["ns", "ops_per_second", "bytes", "allocations"].map(|key| number(&row[key]).into());
        table.rows.push(std::iter::once(text(&row["row"]).into()).chain(figures).collect());
    }
    table.markdown()
}

fn verify(json: &Value) -> String {
    let mut table = Table::new("", &["check", "required", "measured", "verdict"]);
    for check in list(&json["checks"]) {
        let verdict = if check["passed"] == true { "PASS" } else { "FAIL" };
        let cells =
            [text(&check["check"]), text(&check["required"]), text(&check["measured"]), verdict.to_owned()];
        table.rows.push(cells.map(Into::into).to_vec());
    }
    table.markdown()
}

fn gateway(json: &Value) -> String {
    let columns = [
        "back-end/connections",
        ">calls/s",
        ">p50 us",
        ">p99 us",
        ">p99.9 us",
        ">gateway CPU us",
        ">turns",
        ">SQEs",
        ">allocs",
        "valid",
    ];
    let mut table = Table::new("", &columns);
    for point in list(&json["points"]) {
        let valid = point["invalid"].as_str().map_or("yes".to_owned(), |reason| format!("INVALID: {reason}"));
        let mut cells = vec![text(&point["name"]).into()];
        for path in [
            "/calls_per_second/median",
            "/latency_us/p50",
            "/latency_us/p99",
            "/latency_us/p99_9",
            "/sides/gateway/cpu_us_per_call/median",
            "/enters_per_call",
            "/sqes_per_call",
            "/allocations_per_call",
        ] {
            cells.push(number(point.pointer(path).unwrap_or(&Value::Null)).into());
        }
        cells.push(valid.into());
        table.rows.push(cells);
    }
    table.markdown()
        + "\nFigures are for each call. A turn of the loop is one `io_uring_enter` or `epoll_wait`. Benches are built \
           without the recorded profile, so the gateway costs more here than the program that is shipped.\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_stand_beside_the_originals() {
        let row = json!({ "row": "client retrieval", "threads": 2, "ns": 10.0, "ops_per_second": 2e8, "bytes": 0.0,
            "allocations": 0.0, "baseline_ns": 25.0, "times": 2.5, "scaling": 0.95, "baseline_scaling": 0.25,
            "original_ns": 14.5, "original_allocations": "0", "because": "of this" });
        let own = json!({ "row": "our own", "threads": 1, "ns": 5.0, "ops_per_second": 2e8 });
        let text = rows(&json!([own, row]));
        let ours = "| client retrieval | 10.0 | 200,000,000 | 0.00 | 0.00 | 25.0 | 2.50 | 14.5 | 0 |";
        let (at, own) = (text.find(ours), text.find("| our own | 5.00 | 200,000,000 | - | - |"));
        assert!(at.is_some() && at < own, "{text}");
        let scaling = "- client retrieval: 1.90 times what one does; the original's 0.50 times.";
        assert!(text.contains(scaling), "{text}");
        assert!(text.contains("- client retrieval, 2.50 times as fast: of this."), "{text}");
        assert!(text.contains("Apple M1 Pro"), "{text}");
    }

    #[test]
    fn what_failed_or_is_invalid_is_not_hidden() {
        let checks = json!({ "checks": [
            { "check": "a", "required": "< 1", "measured": "0", "passed": true },
            { "check": "b", "required": "< 1", "measured": "2", "passed": false },
        ]});
        let text = verify(&checks);
        assert!(text.contains("| a | < 1 | 0 | PASS |") && text.contains("| b | < 1 | 2 | FAIL |"), "{text}");
        let points =
            json!({ "points": [{ "name": "epoll/1", "invalid": "64 of 1024 connections admitted" }] });
        let text = gateway(&points);
        assert!(text.contains("| epoll/1 | - |") && text.contains("INVALID: 64 of 1024"), "{text}");
    }

    #[test]
    fn the_machine_and_the_build_are_named() {
        let rings = json!([{ "backend": "io_uring", "flags": "DEFER_TASKRUN" }]);
        let (commit, toolchain) = (Some("abc".to_owned()), Some("rustc 1".to_owned()));
        let text = machine(&Sources { commit, toolchain, ..Sources::default() }, &rings);
        for name in
            ["| commit | abc |", "kernel", "processor", "memory", "| compiler | rustc 1 |", "| build |"]
        {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(text.contains("| ring flags | io_uring: DEFER_TASKRUN |"), "{text}");
    }
}
