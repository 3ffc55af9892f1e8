//! Helpers of the criterion benches: rows with their allocations, and the table at the end.
#![allow(dead_code, reason = "no bench uses all of it")]
#![allow(unreachable_pub, reason = "a bench binary has no public side")]

pub mod original;
pub mod turns;

use criterion::{BenchmarkId, Criterion, Throughput};
use ringway::config::{self, Config};
use ringway::tools::show::{Table, units};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use turns::{Run, alone, at_once, in_turn, together};

pub const SERVICES: [&str; 4] = ["auth", "chat", "employee", "structure"];

/// A configuration of a route and a cluster for each of the demo's services.
pub fn four_clusters() -> Config {
    let mut text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n".to_owned();
    for service in SERVICES {
        let mut name = service.to_owned();
        name[..1].make_ascii_uppercase();
        let _ = write!(
            text,
            "[[routes]]\nmatch = {{ service = \"ringway.demo.{service}.v1.{name}Service\" }}\ncluster = \"{service}\"\n\
             [[clusters]]\nname = \"{service}\"\nendpoints = [\"127.0.0.1:50051\"]\n"
        );
    }
    config::parse(&text, Path::new("bench.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Where criterion keeps its results.
pub fn criterion_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).join("criterion")
}

/// Criterion, with a second to warm up and two to measure: all rows of a bench take about a minute.
pub fn criterion() -> Criterion {
    let criterion =
        Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    criterion.configure_from_args().output_directory(&criterion_folder())
}

/// The bounds of a row.
#[derive(Default)]
pub struct Bound {
    pub row: &'static str,
    /// At most so many nanoseconds; only for what is promised in time, on any machine.
    pub nanos: Option<f64>,
    /// At most so many allocations.
    pub allocations: Option<f64>,
    /// At least so many times as fast as the original's work on this machine, timed in turn with it.
    pub times: Option<f64>,
}

/// Of what `n` threads would do if none were in another's way, at least so much.
const SCALING_MIN: f64 = 0.9;

/// The rows of a table, each a bench of criterion.
pub struct Rows<'a> {
    criterion: &'a mut Criterion,
    group: &'static str,
    rows: Vec<Row>,
}

/// The original's side of a row.
pub struct Original<'a> {
    /// Its nanoseconds and its allocations on an Apple M1 Pro with ten cores, if its report has such a row.
    pub known: Option<(f64, &'static str)>,
    /// Its work, to be done on this machine.
    pub work: Run<'a>,
    /// Why we are slower, where we are.
    pub because: Option<&'static str>,
}

#[derive(Default)]
struct Row {
    name: String,
    /// Where criterion keeps what it measures.
    folder: PathBuf,
    threads: usize,
    /// The nanoseconds and the allocations of the original, there; none for a row that it does not have.
    original: Option<(f64, &'static str)>,
    allocations: f64,
    bytes: f64,
    because: Option<&'static str>,
    /// Nanoseconds of the original's work here, and how many times as fast ours is; only in a bench.
    baseline: Option<f64>,
    times: Option<f64>,
    /// Of what its threads would do if none were in another's way, so much, and the original's; only of a row of many.
    scaling: Option<(f64, f64)>,
}

/// How often an operation is repeated to see what it allocates; one that takes long, less often.
const REPEATS: u32 = 64;
const REPEATS_SPAN: Duration = Duration::from_millis(200);

impl<'a> Rows<'a> {
    pub fn new(criterion: &'a mut Criterion, group: &'static str) -> Rows<'a> {
        Rows { criterion, group, rows: Vec::new() }
    }

    /// A row that has a counterpart in the original.
    pub fn row<O>(&mut self, name: &str, original: Original<'_>, mut op: impl FnMut() -> O) {
        self.add(name, &mut op);
        let row = self.rows.last_mut().expect("it was added");
        row.original = original.known;
        row.because = original.because;
        if is_timed() {
            let [ours, theirs] = in_turn(1, [alone(op), original.work]);
            row.baseline = Some(theirs);
            row.times = Some(theirs / ours);
        }
    }

    /// A row that only we have.
    pub fn extra<O>(&mut self, name: &str, mut op: impl FnMut() -> O) {
        self.add(name, &mut op);
    }

    fn add<O>(&mut self, name: &str, mut op: impl FnMut() -> O) {
        let mut group = self.criterion.benchmark_group(self.group);
        group.bench_function(name, |bencher| bencher.iter(&mut op));
        group.finish();
        let (allocations, bytes) = allocated(&mut op);
        let folder = folder(self.group, name);
        self.rows.push(Row {
            name: name.to_owned(),
            folder,
            threads: 1,
            allocations,
            bytes,
            ..Row::default()
        });
    }

    /// An operation by 1, 2, 4, ... threads up to one for each core, each with what `make` gives it; and the
    /// original's, in turn with them. `original`: its nanoseconds and allocations on its machine.
    pub fn threads<F: FnMut(), G: FnMut()>(
        &mut self,
        name: &str,
        original: (f64, &'static str),
        make: impl Fn() -> F + Sync,
        theirs: impl Fn() -> G + Sync,
    ) {
        let cores = turns::cores();
        let mut counts: Vec<usize> =
            std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < cores.len()).collect();
        counts.push(cores.len());
        let allocated = allocated(&mut make());
        for threads in counts {
            let all = &cores[..threads];
            let mut group = self.criterion.benchmark_group(format!("{}/{name}", self.group));
            group.throughput(Throughput::Elements(threads as u64));
            group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
                bencher.iter_custom(|repeats| at_once(all, repeats, &make));
            });
            group.finish();
            let mut row = Row {
                name: format!("{name}, {threads} thread{}", if threads == 1 { "" } else { "s" }),
                folder: folder(&format!("{}/{name}", self.group), &threads.to_string()),
                threads,
                original: (threads == cores.len()).then_some(original),
                allocations: allocated.0,
                bytes: allocated.1,
                ..Row::default()
            };
            if is_timed() {
                let one = &cores[..1];
                let [our_one, our_all, their_one, their_all] = in_turn(
                    2,
                    [
                        together(one, &make),
                        together(all, &make),
                        together(one, &theirs),
                        together(all, &theirs),
                    ],
                );
                row.baseline = Some(their_all);
                row.times = Some(their_all / our_all);
                row.scaling = (threads > 1).then_some((our_one / our_all, their_one / their_all));
            }
            self.rows.push(row);
        }
    }

    /// Prints the table, and keeps it for `ringway report`. Without measured times only what was allocated is known.
    pub fn show(&self) {
        let mut table = Table::new(
            format!("\n{}: one thread's time, and what all threads do together in a second", self.group),
            &[
                "row",
                ">ns/op",
                ">ops/s",
                ">B/op",
                ">allocs/op",
                ">original's work here, ns/op",
                ">times as fast",
                ">original on an Apple M1 Pro, ns/op",
                ">its allocs",
            ],
        );
        let mut kept = Vec::new();
        for row in &self.rows {
            let nanos = measured(&row.folder);
            let number = |number: Option<f64>| number.map_or("-".to_owned(), units::digits);
            let rate = nanos.map(|nanos| row.threads as f64 * 1e9 / nanos);
            table.rows.push(vec![
                row.name.as_str().into(),
                number(nanos).into(),
                number(rate).into(),
                units::digits(row.bytes).into(),
                units::digits(row.allocations).into(),
                number(row.baseline).into(),
                number(row.times).into(),
                number(row.original.map(|(nanos, _)| nanos)).into(),
                row.original.map_or("-", |(_, allocations)| allocations).into(),
            ]);
            kept.push(json!({
                "row": row.name, "threads": row.threads, "ns": nanos, "ops_per_second": rate,
                "bytes": row.bytes, "allocations": row.allocations,
                "original_ns": row.original.map(|(nanos, _)| nanos), "original_allocations": row.original.map(|(_, a)| a),
                "baseline_ns": row.baseline, "times": row.times, "because": row.because,
                "scaling": row.scaling.map(|(ours, _)| ours), "baseline_scaling": row.scaling.map(|(_, theirs)| theirs),
            }));
        }
        print!("{}", table.text(false));
        for row in &self.rows {
            if let (Some(because), Some(times)) = (row.because, row.times) {
                println!("{}, {} times as fast: {because}", row.name, units::digits(times));
            }
        }
        if self.rows.iter().all(|row| measured(&row.folder).is_some()) {
            let path = criterion_folder().join(format!("{}.json", self.group));
            std::fs::write(&path, format!("{:#}", Value::from(kept))).expect("criterion has made the folder");
        }
    }

    /// Holds the rows to what they have to reach, and ends the program with 1 where one does not. Allocations are held
    /// in any case, times only where this run has measured them.
    pub fn hold(&self, bounds: &[Bound]) {
        let mut missed = Vec::new();
        for bound in bounds {
            match self.rows.iter().find(|row| row.name == bound.row) {
                Some(row) => missed.extend(row.misses(bound)),
                None => missed.push(format!("{}: there is no such row", bound.row)),
            }
        }
        missed.extend(self.rows.iter().filter_map(Row::scales_badly));
        for miss in &missed {
            eprintln!("MISSED {miss}");
        }
        if !missed.is_empty() {
            std::process::exit(1);
        }
    }
}

impl Row {
    /// The bounds that it does not reach.
    fn misses(&self, bound: &Bound) -> Vec<String> {
        let mut missed = Vec::new();
        if bound.allocations.is_some_and(|most| self.allocations > most) {
            missed.push(format!("{}: {} allocations", self.name, units::digits(self.allocations)));
        }
        let nanos = measured(&self.folder).filter(|_| is_timed());
        if let Some((nanos, most)) = nanos.zip(bound.nanos).filter(|(nanos, most)| nanos > most) {
            let [nanos, most] = [nanos, most].map(units::digits);
            missed.push(format!("{}: {nanos} ns, {most} are allowed", self.name));
        }
        if bound.times.is_some() && self.times.is_none() && is_timed() {
            missed.push(format!("{}: there is nothing to compare it with", self.name));
        }
        if let Some((times, least)) = self.times.zip(bound.times).filter(|(times, least)| times < least) {
            let [times, least] = [times, least].map(units::digits);
            missed.push(format!("{}: {times} times as fast as the original's work, not {least}", self.name));
        }
        missed
    }

    /// Whether its threads do less together than they should. Those of the original are in each other's way: if they do as
    /// much as one or more, the threads did not run at once, and ours prove nothing.
    fn scales_badly(&self) -> Option<String> {
        let (ours, theirs) = self.scaling?;
        let threads = self.threads as f64;
        let words = format!(
            "{}: {} times what one does; the original's: {}",
            self.name,
            units::digits(ours * threads),
            units::digits(theirs * threads)
        );
        println!("{words}");
        (ours < SCALING_MIN || theirs * threads >= 1.0).then_some(words)
    }
}

/// Whether times are measured, and not only looked whether all of it works.
fn is_timed() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Allocations and bytes of one operation, once it has what it needs.
fn allocated<O>(op: &mut impl FnMut() -> O) -> (f64, f64) {
    black_box(op());
    let counts = || (ringway::alloc::allocations_of_this_thread(), ringway::alloc::bytes_of_this_thread());
    let (before, began) = (counts(), Instant::now());
    let mut repeats = 0;
    while repeats < REPEATS && began.elapsed() < REPEATS_SPAN {
        black_box(op());
        repeats += 1;
    }
    let after = counts();
    let each = |before: u64, after: u64| (after - before) as f64 / f64::from(repeats);
    (each(before.0, after.0), each(before.1, after.1))
}

/// The folder of a bench: criterion replaces what a file's name may not have.
fn folder(group: &str, name: &str) -> PathBuf {
    let safe = |text: &str| text.replace(|c| "?\"/\\*<>:|^".contains(c), "_");
    criterion_folder().join(safe(group)).join(safe(name))
}

/// The median that criterion has found, in nanoseconds.
fn measured(folder: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(folder.join("new/estimates.json")).ok()?;
    serde_json::from_str::<Value>(&text).ok()?["median"]["point_estimate"].as_f64()
}
