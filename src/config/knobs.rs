//! The configuration's keys: each with its bounds, its default and one sentence.
//!
//! The parser takes bounds and defaults from here. `docs/CONFIG.md`, the comments of `examples/` and the docs of the
//! fields in [`config`](super) are written from here, so they cannot disagree.
//! The rows are in `knobs/table/`, and the kinds of values in [`knobs::knob`](self::knob).

mod knob;
mod row;
mod table;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

pub use knob::{Kind, Knob};
pub use table::KNOBS;

/// The row of a key.
pub fn find(key: &str) -> Option<&'static Knob> {
    // Every key of a file is looked for several times.
    static BY_KEY: LazyLock<HashMap<&str, &Knob>> =
        LazyLock::new(|| KNOBS.iter().rev().map(|knob| (knob.key, knob)).collect());
    BY_KEY.get(key).copied()
}

/// The keys of one table that this version takes, without the table's name. `""` is the top.
pub fn keys_in(table: &str) -> impl Iterator<Item = &'static str> {
    KNOBS
        .iter()
        .filter(move |knob| knob.table() == table && !matches!(knob.kind, Kind::Later { .. }))
        .map(Knob::name)
}

/// The text of `docs/CONFIG.md`.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    section(&mut out, "");
    for knob in KNOBS {
        if matches!(knob.kind, Kind::Table | Kind::Tables { .. }) {
            section(&mut out, knob.key);
        }
    }
    for (number, knob) in KNOBS.iter().filter(|knob| matches!(knob.kind, Kind::Later { .. })).enumerate() {
        if number == 0 {
            out.push_str(LATER);
        }
        if let Kind::Later { instead } = knob.kind {
            // Writing to a String cannot fail; so in `section`.
            let _ = writeln!(out, "| `{}` | {} | {instead} |", knob.key, knob.about);
        }
    }
    out
}

/// A table of the file: its heading, its sentence and its keys.
fn section(out: &mut String, table: &str) {
    let _ = match find(table).map(|knob| (knob.kind, knob.about)) {
        Some((Kind::Tables { min, max }, about)) => {
            writeln!(out, "\n## `[[{table}]]`\n\n{about} {min} to {max} of them.\n")
        }
        Some((_, about)) => writeln!(out, "\n## `[{table}]`\n\n{about}\n"),
        None => writeln!(out, "\n## The top of the file\n"),
    };
    out.push_str("| key | takes | default | what it does |\n|---|---|---|---|\n");
    for knob in KNOBS.iter().filter(|knob| knob.table() == table) {
        if matches!(knob.kind, Kind::Table | Kind::Tables { .. } | Kind::Later { .. }) {
            continue;
        }
        let default = knob.default().map_or(String::new(), |text| format!("`{text}`"));
        let start = if knob.is_at_start { AT_START } else { "" };
        let (name, wanted, about) = (knob.name(), knob.wanted(), knob.about);
        let _ = writeln!(out, "| `{name}` | {wanted} | {default} | {about}{start} |");
    }
}

/// Added to the sentence of a key that only a start applies.
const AT_START: &str = " A reload keeps the value in use.";

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from src/config/knobs/table/ by `UPDATE=1 cargo test --lib config`. -->

One TOML file: `ringway run FILE`, or the one that `RINGWAY_CONFIG` names. `ringway init` writes one to begin with, and
`ringway check FILE` reports every error with its line, column and a hint. `examples/minimal.toml` is the shortest file that
works; `examples/ringway.toml` sets every key there is. `ringway schema` prints a JSON schema, from which editors complete
keys.

`--set key=value` goes before the file: `--set drain_timeout=10s`, `--set clusters.echo.timeout=2s`,
`--set listeners.0.address=0.0.0.0:80`. One of several tables is chosen by its name, or by its number from 0.

Strings may name variables of the environment: `\"${HOST}:${PORT:-8080}\"`. A variable that is not set and has no default
after `:-` is an error. `workers = \"${WORKERS}\"` is read as a number, `endpoints = \"${BACKENDS}\"` as a list with commas;
`$${` stands for `${` itself.

Durations are a number and a unit: `\"10us\"`, `\"250ms\"`, `\"1.5s\"`, `\"1m\"`, `\"1h\"`. Sizes are whole numbers of bytes, or a
string with a unit: `\"64KiB\"`, `\"1MiB\"`, `\"1GiB\"`. A key that is not listed here is an error.
";

const LATER: &str = "
## Not yet

These keys are known and refused, so that no file promises more than this version does.

| key | what it will do | until then |
|---|---|---|
";
