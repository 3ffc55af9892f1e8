//! Reads a page of metrics in Prometheus' text format, from a gateway or a file.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a gateway may take for its page.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line: a name, its labels and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name as it is on the page, `_bucket` and the like included.
    pub name: String,
    /// The labels, sorted by name.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty if it has none of this name, which in Prometheus is the same.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A page of metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// All samples, in the order of the page.
    pub samples: Vec<Sample>,
}

/// A line that is not in the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not a metric: {text}")]
pub struct Malformed {
    /// Its number, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

impl Page {
    /// Reads text format 0.0.4. The crate `prometheus-parse` passes over lines that it cannot read; this names the first.
    ///
    /// # Errors
    /// The first line that is neither a comment nor a sample.
    pub fn parse(text: &str) -> Result<Page, Malformed> {
        let mut samples = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = || Malformed { line: number + 1, text: line.to_owned() };
            samples.push(sample(line).ok_or_else(malformed)?);
        }
        Ok(Page { samples })
    }

    /// All samples of this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of all samples of this name; `None` where there are none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.sum_where(name, |_| true)
    }

    /// The sum of those samples of this name that `wanted` says yes to; `None` where there are none.
    pub fn sum_where(&self, name: &str, wanted: impl Fn(&Sample) -> bool) -> Option<f64> {
        self.named(name).filter(|sample| wanted(sample)).map(|sample| sample.value).reduce(|a, b| a + b)
    }
}

/// The page of the gateway whose admin address this is.
///
/// # Errors
/// When it cannot be fetched or read.
pub fn fetch(admin: SocketAddr) -> io::Result<Page> {
    let text = get(admin, "/metrics")?;
    Page::parse(&text).map_err(|malformed| io::Error::other(format!("http://{admin}/metrics: {malformed}")))
}

/// Asks for `path` over HTTP/1.0, which ends the body with the connection and cuts it into no chunks.
pub(super) fn get(admin: SocketAddr, path: &str) -> io::Result<String> {
    body(admin, path).map_err(|error| unreachable(admin, path, &error))
}

/// Says which address did not give a page, and why that may be.
pub(super) fn unreachable(admin: SocketAddr, path: &str, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => " (is a gateway running? --admin ADDRESS is where its pages are)",
        _ => "",
    };
    io::Error::other(format!("http://{admin}{path}: {error}{hint}"))
}

fn body(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("it responds with {status:?}, so it may be no admin address")));
    }
    Ok(body.to_owned())
}

/// `name{a="b",c="d"} 1.5 [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        value => value.parse().ok()?,
    };
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        labels.insert(name.trim().to_owned(), value);
        rest = &after[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_samples() {
        type Labels = &'static [(&'static str, &'static str)];
        let table: [(&str, &str, Labels, f64); 7] = [
            ("a 1", "a", &[], 1.0),
            ("a{} 2.5", "a", &[], 2.5),
            ("a{x=\"y\"} +Inf", "a", &[("x", "y")], f64::INFINITY),
            ("a{x=\"y\",z=\"1 2\",} 3 1700000000", "a", &[("x", "y"), ("z", "1 2")], 3.0),
            ("a_bucket{le=\"+Inf\"} 4", "a_bucket", &[("le", "+Inf")], 4.0),
            (r#"a{x="q\"b\\n\n}"} 5"#, "a", &[("x", "q\"b\\n\n}")], 5.0),
            ("a{x=\"\"} 1e3", "a", &[("x", "")], 1000.0),
        ];
        for (line, name, labels, value) in table {
            let sample = sample(line).unwrap_or_else(|| panic!("{line}"));
            let wanted: Vec<_> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!((sample.name.as_str(), sample.value), (name, value), "{line}");
            assert_eq!(sample.labels.into_iter().collect::<Vec<_>>(), wanted, "{line}");
        }
    }

    #[test]
    fn what_is_no_page_is_refused_by_line() {
        for line in ["a", "{} 1", "a{x=\"y\" 1", "a{x} 1", "a one", "a{x=\"y"] {
            let page = format!("# HELP a b\n\nok 1\n{line}\n");
            assert_eq!(Page::parse(&page), Err(Malformed { line: 4, text: line.to_owned() }), "{line}");
        }
    }

    #[test]
    fn samples_are_added_up() {
        let page = Page::parse("a{w=\"0\"} 1\na{w=\"1\"} 2\nab 4\n").unwrap();
        assert_eq!(page.sum("a"), Some(3.0));
        assert_eq!(page.sum("b"), None);
        assert_eq!(page.sum_where("a", |sample| sample.label("w") == "1"), Some(2.0));
        assert_eq!(page.sum_where("a", |sample| sample.label("v") == "1"), None);
    }

    #[test]
    fn the_gateways_own_page_can_be_read() {
        use crate::metrics::render::ReloadCounts;
        use crate::metrics::{CallLabels, Ending, GatewayInfo, Layout, Shard, render};
        let labels = CallLabels { route: "service:a\"b".into(), cluster: "c".into(), method: String::new() };
        let layout = Layout::new(vec!["c".into()], vec![labels]);
        let shard = Shard::new(&layout);
        shard.calls[0].ended(Ending {
            protocol: 0,
            code: 0,
            is_stream: false,
            took: Duration::from_micros(100),
        });
        let info = GatewayInfo {
            certificates: None,
            version: "1",
            backend: "epoll",
            backend_reason: None,
            ready: true,
            workers: 1,
            access_log: None,
            traces: None,
            reloads: ReloadCounts::default(),
            names: Default::default(),
            control_panics: 0,
            shares: &[],
            transcoding: None,
        };
        let page = Page::parse(&render::text(&info, &layout, &[shard], &[])).unwrap();
        let mine = |sample: &Sample| sample.label("route") == "service:a\"b";
        assert_eq!(page.sum_where("ringway_calls_total", mine), Some(1.0));
    }
}
