//! Cases as rows of a table, so that every command shows the same figures in the same order.

use super::case::Case;
use crate::tools::interval::Interval;
use crate::tools::show::plot::Bar;
use crate::tools::show::{Cell, Plot, Table, Tone, units};
use crate::tools::usage;

/// The columns of [`row`], after those of the command itself.
pub const COLUMNS: [&str; 12] = [
    ">calls/s",
    ">p50",
    ">p90",
    ">p99",
    ">p99.9",
    ">max",
    ">errors",
    ">bytes out/in",
    ">gateway CPU us",
    ">service CPU us",
    ">generator CPU us",
    "valid",
];

/// An empty table with these columns before the common ones.
pub fn table(title: &str, own: &[&'static str]) -> Table {
    Table::new(title, &[own, &COLUMNS].concat())
}

/// The cells of a case under [`COLUMNS`]. CPU is microseconds per call.
pub fn row(case: &Case) -> Vec<Cell> {
    if let Some(reason) = &case.absent {
        let mut cells = vec![Cell::new(reason, Tone::Dim)];
        cells.resize(COLUMNS.len(), Cell::default());
        // The reason is wider than a figure, and there is room in the last column.
        cells.swap(0, COLUMNS.len() - 1);
        return cells;
    }
    let tally = case.tally();
    let calls = tally.calls().max(1) as f64;
    // A quantile means something only if calls lie above it.
    let quantile = |q: f64| {
        let known = (1.0 - q) * calls >= 1.0;
        Cell::from(if known { units::time(tally.quantile(q)) } else { "-".to_owned() })
    };
    let figure = |interval: Option<Interval>| {
        Cell::from(interval.map_or("-".to_owned(), |interval| units::interval(&interval)))
    };
    let errors = match tally.errors() {
        0 => Cell::from("0"),
        _ => Cell::new(format!("{} ({})", units::percent(tally.error_rate()), case.errors()), Tone::Bad),
    };
    let wire = format!("{:.0}/{:.0}", tally.sent as f64 / calls, tally.received as f64 / calls);
    let valid = match case.invalid() {
        None => Cell::new("yes", Tone::Good),
        Some(reason) => Cell::new(format!("INVALID: {reason}"), Tone::Bad),
    };
    vec![
        figure(case.rate()),
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        units::time(tally.max()).into(),
        errors,
        wire.into(),
        figure(case.cpu_micros("gateway")),
        figure(case.cpu_micros("service")),
        figure(case.generator_micros()),
        valid,
    ]
}

/// The most memory that was seen of each side, in a sentence.
pub fn memory(cases: &[Case]) -> String {
    let most = |side| cases.iter().filter_map(|case| case.memory(side)).max();
    let sides = ["gateway", "service"].map(|side| (side, most(side)));
    let all = sides.into_iter().chain([("generator", usage::memory_of_this_process())]);
    let words = all.map(|(side, bytes)| {
        format!("{side} {}", bytes.map_or("not known".to_owned(), |bytes| units::bytes(bytes as f64)))
    });
    format!("memory: {}", words.collect::<Vec<_>>().join(", "))
}

/// Plots of throughput and latency.
pub fn plots(cases: &[Case]) -> Vec<Plot> {
    let measured = || cases.iter().filter(|case| case.absent.is_none());
    let bar = |case: &Case, interval: Option<Interval>| {
        let Interval { median, ends } = interval?;
        Some(Bar { name: case.name.clone(), value: median, ends })
    };
    vec![
        Plot::Latency {
            title: "Latency by percentile".to_owned(),
            lines: measured().map(|case| (case.name.clone(), case.curve())).collect(),
        },
        Plot::Bars {
            title: "Calls per second, with 95 % intervals".to_owned(),
            bars: measured().filter_map(|case| bar(case, case.rate())).collect(),
        },
        Plot::Bars {
            title: "CPU of the gateway, microseconds per call".to_owned(),
            bars: measured().filter_map(|case| bar(case, case.cpu_micros("gateway"))).collect(),
        },
    ]
}
