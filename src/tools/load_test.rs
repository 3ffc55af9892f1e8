//! `ringway load-test`: four steps from light to stress, or an open loop at one rate.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::compare;
use super::load::{self, Case, Load, Pace, Target, rows};
use super::show::{self, Document, Output};
use super::stage::Stage;
use super::usage::{self, Side};

/// A step: its name, its calls, and how many of them are in flight at once.
pub const STEPS: [(&str, u64, usize); 4] =
    [("light", 100, 5), ("medium", 500, 20), ("heavy", 1000, 50), ("stress", 2000, 100)];

/// Options of a load test.
#[derive(Clone, Debug)]
pub struct Options {
    /// The target of the calls, and the processes that are watched; the embedded demo if there is none.
    pub target: Option<(Target, Vec<Side>)>,
    /// An open loop at this rate for so long, in place of the steps.
    pub open: Option<(f64, Duration)>,
    /// How often each step is repeated.
    pub rounds: usize,
    /// Connections, in place of as many as are useful.
    pub connections: Option<usize>,
    /// Threads of the generator.
    pub threads: usize,
    /// How it is shown.
    pub output: Output,
}

/// Runs it; false if a result is invalid or a call failed.
///
/// # Errors
/// When the target cannot be called at all, or the result cannot be written.
pub fn run(options: &Options) -> io::Result<bool> {
    let stage = if options.target.is_none() { Some(Stage::start()?) } else { None };
    let (target, sides, what) = match (&options.target, &stage) {
        (Some((target, sides)), _) => (target.clone(), sides.clone(), target.address.to_string()),
        (None, Some(stage)) => (stage.grpc(), stage.sides.clone(), stage.describe()),
        (None, None) => unreachable!("without a target there is a stage"),
    };
    reachable(target.address)?;
    let loads: Vec<(String, Load)> = match options.open {
        Some((rate, span)) => {
            let pace = Pace::Schedule { rate, span };
            vec![(format!("{rate} calls/s"), Load::new(target, pace))]
        }
        None => STEPS
            .iter()
            .map(|&(name, calls, at_once)| {
                (name.to_owned(), Load::new(target.clone(), Pace::Calls { calls, at_once }))
            })
            .collect(),
    };
    let (cases, loads) = measure(options, loads, &sides)?;
    let document = document(options, &cases, &loads, &what);
    document.write(&options.output)?;
    Ok(cases.iter().all(|case| case.invalid().is_none() && case.tally().errors() == 0))
}

/// How long a target may take to accept a connection before anything is measured.
const REACHED_WITHIN: Duration = Duration::from_secs(5);

/// Makes one connection: to load a port that refuses says nothing.
fn reachable(address: SocketAddr) -> io::Result<()> {
    let reached = TcpStream::connect_timeout(&address, REACHED_WITHIN);
    reached
        .map(drop)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {address}: {error}")))
}

/// All loads once in each round, so that a slow minute of the machine falls on all of them.
fn measure(
    options: &Options,
    loads: Vec<(String, Load)>,
    sides: &[Side],
) -> io::Result<(Vec<Case>, Vec<Load>)> {
    let mut cases: Vec<Case> = loads.iter().map(|(name, _)| Case::new(name)).collect();
    let mut loads: Vec<Load> = loads.into_iter().map(|(_, load)| load).collect();
    let rounds = if options.open.is_some() { 1 } else { options.rounds };
    let length: u64 = loads.iter().map(|load| load.length() * rounds as u64).sum();
    let bar = show::progress(length, "load-test");
    for load in &mut loads {
        load.connections = options.connections.unwrap_or(load.connections).max(1);
        load.threads = options.threads;
    }
    let mut done = 0;
    for _ in 0..rounds {
        for (case, load) in cases.iter_mut().zip(&loads) {
            bar.set_message(case.name.clone());
            case.rounds.push(load::run(load, sides, |at| bar.set_position(done + at))?);
            done += load.length();
        }
    }
    bar.finish_and_clear();
    Ok((cases, loads))
}

fn document(options: &Options, cases: &[Case], loads: &[Load], what: &str) -> Document {
    let mut table = rows::table("", &["step", ">calls", ">at once", ">connections"]);
    for (case, load) in cases.iter().zip(loads) {
        let (calls, at_once) = match load.pace {
            Pace::Calls { calls, at_once } => {
                (format!("{calls} x {}", case.rounds.len()), at_once.to_string())
            }
            _ => (case.tally().calls().to_string(), "open loop".to_owned()),
        };
        let admitted = case.rounds.iter().map(|round| round.admitted).min().unwrap_or(0);
        let mut row =
            vec![case.name.as_str().into(), calls.into(), at_once.into(), admitted.to_string().into()];
        row.extend(rows::row(case));
        table.rows.push(row);
    }
    let mut facts = vec![format!("against {what}")];
    facts.push(match options.open {
        Some(_) => {
            "open loop: a call's latency counts from when it was to begin, so no stall is left out".to_owned()
        }
        None => {
            "closed loop: a stall is counted once for each call in flight; --open-loop leaves nothing out"
                .to_owned()
        }
    });
    if options.target.is_none() {
        facts
            .push("gateway, services and generator share this machine, each a process of its own".to_owned());
    }
    let mut conclusions =
        vec!["CPU is microseconds per call; ± is half the 95 % interval of the median".to_owned()];
    conclusions.extend(cases.windows(2).map(|pair| compare::conclude(&pair[1], &pair[0])));
    conclusions.push(rows::memory(cases));
    let json = json!({
        "against": what,
        "open_loop": options.open.is_some(),
        "generator_memory_bytes": usage::memory_of_this_process(),
        "conclusions": conclusions,
        "steps": cases.iter().map(Case::json).collect::<Vec<_>>(),
    });
    Document {
        title: "Load test".to_owned(),
        facts,
        tables: vec![table],
        conclusions,
        plots: rows::plots(cases),
        json,
    }
}
