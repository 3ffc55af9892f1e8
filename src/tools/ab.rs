//! Two builds of the end-to-end bench in turn, and what differs between them.
//!
//! Each round runs both once, the one that begins changing every time; what counts is the ratio of the two runs of a
//! round, as a slow minute of the machine falls on both.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::interval::Interval;
use super::show::{self, Cell, Document, Table, Tone, units};

/// A figure of a point of the bench: where it stands in its JSON, and whether less of it is better.
const FIGURES: [(&str, &str, bool); 5] = [
    ("gateway CPU per call", "/sides/gateway/cpu_us_per_call/median", true),
    ("calls/s", "/calls_per_second/median", false),
    ("p50", "/latency_us/p50", true),
    ("p99", "/latency_us/p99", true),
    ("allocations per call", "/allocations_per_call", true),
];

/// Runs both benches `rounds` times in turn with these arguments.
///
/// # Errors
/// When one of them fails or says something else than its JSON.
pub fn run(new: &Path, old: &Path, arguments: &[String], rounds: usize) -> io::Result<Document> {
    let bar = show::progress(2 * rounds as u64, "a/b");
    let (mut news, mut olds) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for turn in 0..2 {
            let (binary, results) = if (round + turn) % 2 == 0 { (old, &mut olds) } else { (new, &mut news) };
            results.push(bench(binary, arguments)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(document(&news, &olds))
}

fn bench(binary: &Path, arguments: &[String]) -> io::Result<Value> {
    let mut command = Command::new(binary);
    command.args(["--bench", "--json"]).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{} ended with {}", binary.display(), output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

/// What the rounds say: the ratio of each figure of each point, new over old.
fn document(news: &[Value], olds: &[Value]) -> Document {
    let mut table = Table::new("", &["point", "figure", ">new / old", ">95 % interval", "verdict"]);
    let mut rows = Vec::new();
    for (point, figure, less_is_better, ratios) in ratios(news, olds) {
        let Some(interval) = Interval::of(&ratios) else { continue };
        let (verdict, tone) = judge(&interval, less_is_better);
        let ends = interval.ends.map_or("-".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
        rows.push(json!({
            "point": point, "figure": figure, "ratio": interval.median, "interval_95": interval.ends,
            "verdict": verdict,
        }));
        table.rows.push(vec![
            point.into(),
            figure.into(),
            units::digits(interval.median).into(),
            ends.into(),
            Cell::new(verdict, tone),
        ]);
    }
    Document {
        title: "New against old, by the ratio of the two runs of each round".to_owned(),
        facts: vec![format!("{} rounds, interleaved", news.len().min(olds.len()))],
        tables: vec![table],
        json: json!({ "rounds": news.len().min(olds.len()), "rows": rows }),
        ..Document::default()
    }
}

fn judge(ratio: &Interval, less_is_better: bool) -> (&'static str, Tone) {
    match ratio.ends {
        None => ("too few rounds for a verdict", Tone::Dim),
        Some((low, high)) if low <= 1.0 && 1.0 <= high => ("no difference", Tone::Plain),
        Some((low, _)) if (low > 1.0) == less_is_better => ("worse", Tone::Bad),
        Some(_) => ("better", Tone::Good),
    }
}

/// Point, figure, whether less is better, and the ratio of each round, in the order of the points.
fn ratios(news: &[Value], olds: &[Value]) -> Vec<(String, &'static str, bool, Vec<f64>)> {
    let by_name = |run: &Value| -> BTreeMap<String, Value> {
        let points = run["points"].as_array().cloned().unwrap_or_default();
        points.into_iter().filter_map(|point| Some((point["name"].as_str()?.to_owned(), point))).collect()
    };
    let pairs: Vec<_> = news.iter().map(by_name).zip(olds.iter().map(by_name)).collect();
    let first = news.first().and_then(|run| run["points"].as_array()).cloned().unwrap_or_default();
    let mut all = Vec::new();
    for name in first.iter().filter_map(|point| point["name"].as_str()) {
        for (figure, path, less_is_better) in FIGURES {
            let ratio = |(new, old): &(BTreeMap<String, Value>, BTreeMap<String, Value>)| {
                let figure = |run: &BTreeMap<String, Value>| run.get(name)?.pointer(path)?.as_f64();
                let (new, old) = (figure(new)?, figure(old)?);
                (old > 0.0).then_some(new / old)
            };
            let ratios: Vec<f64> = pairs.iter().filter_map(ratio).collect();
            if !ratios.is_empty() {
                all.push((name.to_owned(), figure, less_is_better, ratios));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cpu: f64, rate: f64) -> Value {
        json!({ "points": [{
            "name": "epoll/16",
            "sides": { "gateway": { "cpu_us_per_call": { "median": cpu } } },
            "calls_per_second": { "median": rate },
        }]})
    }

    /// What is said of the two figures when the new build's are these, round by round, and the old one's 10 and 1000.
    fn verdicts(cpu: [f64; 6], rate: [f64; 6]) -> Vec<String> {
        let news: Vec<Value> = cpu.into_iter().zip(rate).map(|(cpu, rate)| run(cpu, rate)).collect();
        let olds = vec![run(10.0, 1000.0); 6];
        let rows = document(&news, &olds).json["rows"].clone();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| format!("{} {}", row["figure"], row["verdict"]).replace('"', "")).collect()
    }

    #[test]
    fn a_verdict_needs_every_round_on_one_side() {
        let around = [9.0, 11.0, 10.0, 10.5, 9.5, 10.2];
        let more = [10.3, 11.0, 10.1, 10.5, 10.2, 12.0];
        let rates = |of: [f64; 6]| of.map(|n| n * 100.0);
        assert_eq!(
            verdicts(around, rates(around)),
            ["gateway CPU per call no difference", "calls/s no difference"]
        );
        assert_eq!(verdicts(more, rates(more)), ["gateway CPU per call worse", "calls/s better"]);
        let less = more.map(|n| 20.0 - n);
        assert_eq!(verdicts(less, rates(less)), ["gateway CPU per call better", "calls/s worse"]);
    }

    #[test]
    fn few_rounds_and_unknown_points_say_nothing() {
        let few = document(&[run(1.0, 1.0)], &[run(9.0, 1.0)]);
        assert_eq!(few.json["rows"][0]["verdict"], "too few rounds for a verdict");
        assert_eq!(document(&[run(1.0, 1.0)], &[json!({})]).json["rows"], json!([]));
    }
}
