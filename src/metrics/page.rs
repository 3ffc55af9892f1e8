//! The text formats of Prometheus and OpenMetrics: families, samples, escaped labels, exemplars.

use std::fmt::{self, Write as _};

use super::Exemplar;

/// A format of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0: counters are declared without `_total`, buckets may have exemplars, and the page has an end.
    OpenMetrics,
}

impl Format {
    /// The format's media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page as far as it is written.
#[derive(Debug)]
pub struct Page {
    text: String,
    format: Format,
}

impl Page {
    /// An empty page.
    pub fn new(format: Format) -> Page {
        Page { text: String::with_capacity(16 << 10), format }
    }

    /// Begins a family; its samples must follow at once.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let name = match self.format {
            Format::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a sample of the family that was begun last.
    pub fn sample(&mut self, name: &str, labels: &dyn fmt::Display, value: impl fmt::Display) {
        self.sample_with(name, labels, value, None);
    }

    /// Writes a sample, with a call that stands for it if the format has room for that.
    pub(super) fn sample_with(
        &mut self,
        name: &str,
        labels: &dyn fmt::Display,
        value: impl fmt::Display,
        exemplar: Option<Exemplar>,
    ) {
        self.text.push_str(name);
        let before = self.text.len();
        self.write(format_args!("{{{labels}}}"));
        if self.text.len() == before + "{}".len() {
            self.text.truncate(before);
        }
        self.write(format_args!(" {value}"));
        if let Some(Exemplar { trace_id, micros, unix_us }) = exemplar
            && self.format == Format::OpenMetrics
        {
            let (took, at) = (Seconds(micros), Seconds(unix_us));
            self.write(format_args!(" # {{trace_id=\"{trace_id:032x}\"}} {took} {at}"));
        }
        self.text.push('\n');
    }

    fn write(&mut self, what: fmt::Arguments<'_>) {
        self.text.write_fmt(what).expect("a String takes every write, and nothing shown here fails");
    }

    /// The page's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Microseconds, shown in seconds with all six digits: no rounding.
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A bound in microseconds, shown in seconds as both formats write it: `0.005`, `1.0`.
pub(super) fn bound(micros: u64) -> String {
    let text = Seconds(micros).to_string();
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_both_formats_want_them() {
        for (micros, text) in [
            (1, "0.000001"),
            (100, "0.0001"),
            (5_000, "0.005"),
            (1_000_000, "1.0"),
            (2_500_000, "2.5"),
            (60_000_000, "60.0"),
        ] {
            assert_eq!(bound(micros), text);
        }
    }

    #[test]
    fn openmetrics_has_exemplars_and_an_end() {
        let exemplar = Exemplar { trace_id: 0xabc, micros: 4_300, unix_us: 1_700_000_000_250_000 };
        let page = |format| {
            let mut page = Page::new(format);
            page.family("a_total", "counter", "A.");
            page.sample("a_total", &"", 1);
            page.family("b", "histogram", "B.");
            page.sample_with("b_bucket", &"le=\"0.005\"", 2, Some(exemplar));
            page.finish()
        };
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n# HELP b B.\n# TYPE b histogram\nb_bucket{le=\"0.005\"} 2\n";
        assert_eq!(page(Format::Text), text);
        let open = "# HELP a A.\n# TYPE a counter\na_total 1\n# HELP b B.\n# TYPE b histogram\n\
                    b_bucket{le=\"0.005\"} 2 # {trace_id=\"00000000000000000000000000000abc\"} 0.004300 1700000000.250000\n\
                    # EOF\n";
        assert_eq!(page(Format::OpenMetrics), open);
    }
}
