//! Two builds of the end-to-end bench in turn, and what differs between them.
//!
//! Each round runs both once, the one that begins changing every time; what counts is the ratio of the two runs of a
//! round, as a slow minute of the machine falls on both. A verdict is given on each figure over all points, at a
//! confidence that holds for all figures together: of fifty points and figures, two or three of two equal builds would
//! differ by chance alone.

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

/// How often two equal builds may be told apart by any of the figures.
const WRONG_MAX: f64 = 0.05;
/// The name of all points together.
const ALL: &str = "all points";

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

/// The document of the rounds: the ratio of each figure, new over old. It is given over all points with a verdict, and
/// of each point.
fn document(news: &[Value], olds: &[Value]) -> Document {
    let mut table = Table::new("", &["point", "figure", ">new / old", ">interval", "verdict"]);
    let (mut rows, mut different) = (Vec::new(), Vec::new());
    let points = ratios(news, olds);
    let pooled = FIGURES.iter().filter_map(|(figure, _, less_is_better)| {
        Some((ALL.to_owned(), *figure, *less_is_better, over_all(&points, figure)?))
    });
    for (point, figure, less_is_better, ratios) in pooled.collect::<Vec<_>>().into_iter().chain(points) {
        let is_pooled = point == ALL;
        let missing = if is_pooled { WRONG_MAX / FIGURES.len() as f64 } else { WRONG_MAX };
        let Some(interval) = Interval::missing(&ratios, missing) else { continue };
        let (verdict, tone) = if is_pooled { judge(&interval, less_is_better) } else { ("", Tone::Plain) };
        if matches!(verdict, "better" | "worse") {
            different.push(format!("{figure} {verdict} (x {:.3})", interval.median));
        }
        let ends = interval.ends.map_or("-".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
        rows.push(json!({
            "point": point, "figure": figure, "ratio": interval.median, "interval": interval.ends,
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
    let undecided = rows.iter().any(|row| row["verdict"] == TOO_FEW) || rows.is_empty();
    let conclusion = match (&different[..], undecided) {
        ([], true) => TOO_FEW.to_owned(),
        ([], false) => "no difference".to_owned(),
        (different, _) => different.join(", "),
    };
    Document {
        title: "New against old, by the ratio of the two runs of each round".to_owned(),
        facts: vec![
            format!("{} rounds, interleaved", news.len().min(olds.len())),
            "intervals over all points hold together with 95 %, those of single points each".to_owned(),
        ],
        tables: vec![table],
        json: json!({ "rounds": news.len().min(olds.len()), "rows": rows, "conclusion": conclusion }),
        conclusions: vec![conclusion],
        ..Document::default()
    }
}

const TOO_FEW: &str = "too few rounds for a verdict";

fn judge(ratio: &Interval, less_is_better: bool) -> (&'static str, Tone) {
    match ratio.ends {
        None => (TOO_FEW, Tone::Dim),
        Some((low, high)) if low <= 1.0 && 1.0 <= high => ("no difference", Tone::Plain),
        Some((low, _)) if (low > 1.0) == less_is_better => ("worse", Tone::Bad),
        Some(_) => ("better", Tone::Good),
    }
}

/// The ratios of all rounds of a figure of a point.
type Ratios = (String, &'static str, bool, Vec<f64>);

/// The ratio of a figure in each round, over all points: their geometric mean.
fn over_all(points: &[Ratios], figure: &str) -> Option<Vec<f64>> {
    let mine: Vec<&Vec<f64>> =
        points.iter().filter(|(_, name, ..)| *name == figure).map(|(.., ratios)| ratios).collect();
    let rounds = mine.iter().map(|ratios| ratios.len()).min()?;
    let mean = |round: usize| mine.iter().map(|ratios| ratios[round].ln()).sum::<f64>() / mine.len() as f64;
    Some((0..rounds).map(|round| mean(round).exp()).collect())
}

/// Point, figure, whether less is better, and the ratio of each round, in the order of the points.
fn ratios(news: &[Value], olds: &[Value]) -> Vec<Ratios> {
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
                (old > 0.0 && new > 0.0).then_some(new / old)
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
    use crate::random::Random;

    fn run(cpu: f64, rate: f64) -> Value {
        let point = |name: &str| {
            json!({
                "name": name,
                "sides": { "gateway": { "cpu_us_per_call": { "median": cpu } } },
                "calls_per_second": { "median": rate },
            })
        };
        json!({ "points": [point("io_uring/16"), point("epoll/16")] })
    }

    /// The conclusion when the new build's figures are these, round by round, and the old one's 10 and 1000.
    fn conclusion(cpu: &[f64], rate: &[f64]) -> String {
        let news: Vec<Value> = cpu.iter().zip(rate).map(|(cpu, rate)| run(*cpu, *rate)).collect();
        let olds = vec![run(10.0, 1000.0); cpu.len()];
        document(&news, &olds).json["conclusion"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_verdict_needs_every_round_on_one_side() {
        let around = [9.0, 11.0, 10.0, 10.5, 9.5, 10.2, 9.9, 10.1];
        let more = [10.3, 11.0, 10.1, 10.5, 10.2, 12.0, 10.2, 10.9];
        let rates = |of: [f64; 8]| of.map(|n| n * 100.0);
        assert_eq!(conclusion(&around, &rates(around)), "no difference");
        assert_eq!(conclusion(&more, &rates(around)), "gateway CPU per call worse (x 1.040)");
        let less = more.map(|n| 20.0 - n);
        let both = conclusion(&less, &rates(more));
        assert!(both.starts_with("gateway CPU per call better") && both.contains("calls/s better"), "{both}");
    }

    #[test]
    fn few_rounds_and_unknown_points_say_nothing() {
        assert_eq!(conclusion(&[1.0; 7], &[1.0; 7]), TOO_FEW);
        assert_eq!(document(&[run(1.0, 1.0)], &[json!({})]).json["conclusion"], TOO_FEW);
    }

    /// Method: two equal builds on a machine whose speed changes from run to run, compared five hundred times.
    #[test]
    fn equal_builds_are_seldom_told_apart() {
        let mut random = Random::seeded(3);
        let mut runs = || -> Vec<Value> {
            let mut speed = || random.between(0.7, 1.3);
            (0..9).map(|_| run(10.0 * speed(), 1000.0 * speed())).collect()
        };
        let wrong =
            (0..500).filter(|_| document(&runs(), &runs()).json["conclusion"] != "no difference").count();
        assert!(wrong < 25, "{wrong} of 500");
    }
}
