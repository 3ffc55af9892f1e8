//! A thing that was measured in several rounds, and what may be said of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::round::Round;
use super::tally::{Ending, Tally};
use crate::tools::interval::Interval;

/// Rounds of one load.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Its name in tables.
    pub name: String,
    /// Its rounds, in the order they were made.
    pub rounds: Vec<Round>,
    /// Why it could not be measured at all.
    pub absent: Option<String>,
}

/// If more than this share of the rounds are invalid, so is the case.
const INVALID_MAX: f64 = 0.25;

impl Case {
    /// A case without rounds.
    pub fn new(name: impl Into<String>) -> Case {
        Case { name: name.into(), rounds: Vec::new(), absent: None }
    }

    /// All calls of all rounds.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for round in &self.rounds {
            tally.merge(&round.tally);
        }
        tally
    }

    /// A figure over the rounds; `None` where a round does not have it.
    pub fn figure(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<Interval> {
        Interval::of(&self.rounds.iter().map(of).collect::<Option<Vec<f64>>>()?)
    }

    /// Calls per second.
    pub fn rate(&self) -> Option<Interval> {
        self.figure(|round| Some(round.rate()))
    }

    /// A quantile of the latency, in milliseconds.
    pub fn quantile(&self, q: f64) -> Option<Interval> {
        self.figure(|round| Some(round.tally.quantile(q).as_secs_f64() * 1e3))
    }

    /// CPU microseconds per call of a side.
    pub fn cpu_micros(&self, side: &str) -> Option<Interval> {
        self.figure(|round| round.cpu_micros(side))
    }

    /// CPU microseconds per call of the generator.
    pub fn generator_micros(&self) -> Option<Interval> {
        self.figure(|round| Some(round.generator.ran.as_secs_f64() * 1e6 / round.tally.calls().max(1) as f64))
    }

    /// The share of the time that the generator computed.
    pub fn busy(&self) -> Option<Interval> {
        self.figure(|round| Some(round.busy()))
    }

    /// The most memory that was seen of a side, in bytes.
    pub fn memory(&self, side: &str) -> Option<u64> {
        let sides = self.rounds.iter().flat_map(|round| &round.sides);
        sides.filter(|(name, ..)| *name == side).filter_map(|(_, _, memory)| *memory).max()
    }

    /// Why nothing may be concluded from it.
    pub fn invalid(&self) -> Option<String> {
        let reasons: Vec<String> = self.rounds.iter().filter_map(Round::invalid).collect();
        let refused = self.rounds.iter().find(|round| round.admitted < round.connections);
        if let Some(refused) = refused {
            return refused.invalid();
        }
        if reasons.len() as f64 <= INVALID_MAX * self.rounds.len() as f64 {
            return None;
        }
        let (bad, all) = (reasons.len(), self.rounds.len());
        reasons.into_iter().next().map(|reason| format!("{reason} ({bad} of {all} rounds)"))
    }

    /// The most frequent ends that are no success, in words.
    pub fn errors(&self) -> String {
        let tally = self.tally();
        let mut bad: Vec<(&Ending, &u64)> =
            tally.endings.iter().filter(|(ending, _)| !ending.is_ok()).collect();
        bad.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words = bad.iter().take(3).map(|(ending, count)| format!("{ending} {count}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        if let Some(reason) = &self.absent {
            return json!({ "name": self.name, "absent": reason });
        }
        let tally = self.tally();
        let endings: serde_json::Map<String, Value> =
            tally.endings.iter().map(|(ending, count)| (ending.to_string(), json!(count))).collect();
        let micros = |q: f64| tally.quantile(q).as_secs_f64() * 1e6;
        let sides = self.rounds.first().map_or(Vec::new(), |round| round.sides.clone());
        let sides: serde_json::Map<String, Value> = sides
            .iter()
            .map(|(name, ..)| {
                let figures =
                    json!({ "cpu_us_per_call": interval(self.cpu_micros(name)), "memory_bytes": self.memory(name) });
                ((*name).to_owned(), figures)
            })
            .collect();
        json!({
            "name": self.name,
            "rounds": self.rounds.len(),
            "calls": tally.calls(),
            "calls_per_second": interval(self.rate()),
            "latency_us": {
                "p50": micros(0.5), "p90": micros(0.9), "p99": micros(0.99), "p99_9": micros(0.999),
                "max": tally.max().as_secs_f64() * 1e6,
            },
            "p50_ms": interval(self.quantile(0.5)),
            "p99_ms": interval(self.quantile(0.99)),
            "error_rate": tally.error_rate(),
            "endings": endings,
            "bytes_sent": tally.sent,
            "bytes_received": tally.received,
            "connections": self.rounds.last().map(|round| round.connections),
            "admitted": self.rounds.last().map(|round| round.admitted),
            "sides": sides,
            "generator": {
                "cpu_us_per_call": interval(self.generator_micros()), "busy": interval(self.busy()),
                "threads": self.rounds.last().map(|round| round.threads),
                "lag_us": self.rounds.iter().map(|round| round.lag).max().unwrap_or(Duration::ZERO).as_secs_f64() * 1e6,
            },
            "invalid": self.invalid(),
        })
    }

    /// Points for a plot of latency by percentile.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let tally = self.tally();
        let all = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999];
        let known = all.iter().filter(|q| (1.0 - **q) * tally.calls() as f64 >= 1.0);
        known.map(|&q| (q, tally.quantile(q).as_secs_f64() * 1e3)).collect()
    }
}

fn interval(interval: Option<Interval>) -> Value {
    interval
        .map_or(Value::Null, |interval| json!({ "median": interval.median, "interval_95": interval.ends }))
}
