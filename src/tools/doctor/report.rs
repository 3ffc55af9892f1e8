//! The report of a diagnosis, for people and for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::check::{Check, Reading, Severity};

/// The columns of a terminal that a line takes at most.
const WIDTH: usize = 100;

/// A row of the table, and its reading.
#[derive(Debug)]
pub(super) struct Found {
    /// The group's name.
    pub(super) group: &'static str,
    /// The row.
    pub(super) check: &'static Check,
    /// The row's reading.
    pub(super) reading: Reading,
}

impl Found {
    /// Whether it is not as it should be.
    pub(super) fn is_finding(&self) -> bool {
        matches!(self.reading, Reading::Off { .. })
    }

    fn value(&self) -> &str {
        match &self.reading {
            Reading::Absent => "",
            Reading::Good(value) | Reading::Off { value, .. } => value,
        }
    }

    fn fix(&self) -> String {
        match &self.reading {
            Reading::Off { place, .. } => self.check.fix(place),
            Reading::Absent | Reading::Good(_) => String::new(),
        }
    }

    fn word(&self) -> &'static str {
        if self.is_finding() { self.check.severity.word() } else { "ok" }
    }
}

fn count(found: &[Found], severity: Severity) -> usize {
    found.iter().filter(|found| found.is_finding() && found.check.severity == severity).count()
}

/// Writes one JSON object: the counts, and each row that could be read.
pub(super) fn json(found: &[Found], out: &mut impl Write) -> io::Result<()> {
    let rows = found.iter().map(|found| {
        json!({
            "id": found.check.id,
            "group": found.group,
            "severity": found.word(),
            "value": found.value(),
            "target": found.check.target,
            "why": found.check.why,
            "cost": found.check.cost,
            "measure": found.check.measure.text(),
            "fix": found.fix(),
            "undo": found.check.undo(),
        })
    });
    let report = json!({
        "errors": count(found, Severity::Error),
        "warnings": count(found, Severity::Warning),
        "notes": count(found, Severity::Note),
        "checks": rows.collect::<Vec<Value>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

/// A table by groups; what is fine is left out unless `all` is asked for.
pub(super) fn text(found: &[Found], all: bool, colour: bool, out: &mut impl Write) -> io::Result<()> {
    let shown: Vec<&Found> = found.iter().filter(|found| all || found.is_finding()).collect();
    let width = shown.iter().map(|found| found.check.id.len()).max().unwrap_or(0);
    let mut group = "";
    for found in shown {
        if found.group != group {
            group = found.group;
            writeln!(out, "{}", painted(group, BOLD, colour))?;
        }
        let (check, word) = (found.check, found.word());
        let paint = match (found.is_finding(), check.severity) {
            (false, _) => GREEN,
            (true, Severity::Error) => RED,
            (true, Severity::Warning) => YELLOW,
            (true, Severity::Note) => BLUE,
        };
        let head = format!("  {}  {:<width$}  ", painted(&format!("{word:<7}"), paint, colour), check.id);
        write_wrapped(out, &head, 2 + 7 + 2 + width + 2, found.value())?;
        if found.is_finding() {
            write_wrapped(out, &format!("{:11}wanted: ", ""), 19, check.target)?;
            write_wrapped(out, &" ".repeat(11), 11, check.why)?;
            let head = format!("{:11}{} ", "", painted("fix:", BOLD, colour));
            write_wrapped(out, &head, 16, &found.fix())?;
        }
    }
    let counts = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
        let count = count(found, severity);
        format!("{count} {}{}", severity.word(), if count == 1 { "" } else { "s" })
    });
    writeln!(out, "{}, in {} settings that can be read here", counts.join(", "), found.len())
}

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";

fn painted(text: &str, paint: &str, colour: bool) -> String {
    if colour { format!("\x1b[{paint}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Writes a text behind a head that takes so many columns. The lines that follow stand below its first word.
fn write_wrapped(out: &mut impl Write, head: &str, columns: usize, text: &str) -> io::Result<()> {
    let mut lines = wrapped(text, WIDTH.saturating_sub(columns)).into_iter();
    writeln!(out, "{}", format!("{head}{}", lines.next().unwrap_or_default()).trim_end())?;
    lines.try_for_each(|line| writeln!(out, "{:columns$}{line}", ""))
}

/// Lines of at most so many characters, but for longer words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_ascii_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
