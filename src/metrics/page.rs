//! The text format of Prometheus: families, samples, escaped labels.

use std::fmt::{self, Write as _};

/// The page as far as it is written.
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    /// Begins a family; its samples must follow at once.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a sample of the family that was begun last.
    pub(super) fn sample(&mut self, name: &str, labels: &dyn fmt::Display, value: impl fmt::Display) {
        self.text.push_str(name);
        let before = self.text.len();
        self.write(format_args!("{{{labels}}}"));
        if self.text.len() == before + "{}".len() {
            self.text.truncate(before);
        }
        self.write(format_args!(" {value}\n"));
    }

    pub(super) fn write(&mut self, what: fmt::Arguments<'_>) {
        self.text.write_fmt(what).expect("a String takes every write, and nothing shown here fails");
    }
}

/// Microseconds, shown in seconds with all six digits: no rounding.
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A label's value with backslash, quote and line feed escaped, as the format wants.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\\' => "\\\\",
                b'"' => "\\\"",
                _ => "\\n",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}
