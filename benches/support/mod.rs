//! Helpers of the criterion benches: rows with their allocations, and the table at the end.
#![allow(dead_code, reason = "no bench uses all of it")]
#![allow(unreachable_pub, reason = "a bench binary has no public side")]

use criterion::{BenchmarkId, Criterion, Throughput};
use ringway::config::{self, Config};
use ringway::tools::show::{Table, units};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

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
pub struct Bound {
    pub row: &'static str,
    /// At most so many nanoseconds.
    pub nanos: Option<f64>,
    /// At most so many allocations.
    pub allocations: Option<f64>,
}

/// Of what `n` threads would do if none were in another's way, at least so much.
const SCALING_MIN: f64 = 0.9;

/// Turns, so many and so long each, in which a single thread and `n` of them take their rounds. Other load of the
/// machine then falls on both, and not on one of criterion's rows.
const TURNS: usize = 25;
const TURN: Duration = Duration::from_millis(10);

/// The rows of a table, each a bench of criterion.
pub struct Rows<'a> {
    criterion: &'a mut Criterion,
    group: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    /// Where criterion keeps what it measures.
    folder: PathBuf,
    threads: usize,
    /// The nanoseconds and the allocations of the original; none for a row that it does not have.
    original: Option<(f64, &'static str)>,
    allocations: f64,
    bytes: f64,
    /// Of what its threads would do if none were in another's way, so much; only of a row of many, in a bench.
    scaling: Option<f64>,
}

/// How often an operation is repeated to see what it allocates; one that takes long, less often.
const REPEATS: u32 = 64;
const REPEATS_SPAN: Duration = Duration::from_millis(200);

impl<'a> Rows<'a> {
    pub fn new(criterion: &'a mut Criterion, group: &'static str) -> Rows<'a> {
        Rows { criterion, group, rows: Vec::new() }
    }

    /// A row of the original: its name, its nanoseconds, its allocations.
    pub fn row<O>(&mut self, name: &str, nanos: f64, allocations: &'static str, op: impl FnMut() -> O) {
        self.add(name, Some((nanos, allocations)), op);
    }

    /// A row that only we have.
    pub fn extra<O>(&mut self, name: &str, op: impl FnMut() -> O) {
        self.add(name, None, op);
    }

    fn add<O>(&mut self, name: &str, original: Option<(f64, &'static str)>, mut op: impl FnMut() -> O) {
        let mut group = self.criterion.benchmark_group(self.group);
        group.bench_function(name, |bencher| bencher.iter(&mut op));
        group.finish();
        let (allocations, bytes) = allocated(&mut op);
        let folder = folder(self.group, name);
        let name = name.to_owned();
        self.rows.push(Row { name, folder, threads: 1, original, allocations, bytes, scaling: None });
    }

    /// A row of one operation by 1, 2, 4, ... threads up to one for each core; `make` gives each thread its own.
    pub fn threads<F: FnMut()>(
        &mut self,
        name: &str,
        nanos: f64,
        allocations: &'static str,
        make: impl Fn() -> F + Sync,
    ) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut counts: Vec<usize> =
            std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < cores).collect();
        counts.push(cores);
        let allocated = allocated(&mut make());
        for threads in counts {
            let mut group = self.criterion.benchmark_group(format!("{}/{name}", self.group));
            group.throughput(Throughput::Elements(threads as u64));
            group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
                bencher.iter_custom(|repeats| together(threads, repeats, &make));
            });
            group.finish();
            self.rows.push(Row {
                name: format!("{name}, {threads} thread{}", if threads == 1 { "" } else { "s" }),
                folder: folder(&format!("{}/{name}", self.group), &threads.to_string()),
                threads,
                original: (threads == cores).then_some((nanos, allocations)),
                allocations: allocated.0,
                bytes: allocated.1,
                scaling: (threads > 1 && is_timed()).then(|| scaling(threads, &make)),
            });
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
                ">original ns/op",
                ">original allocs",
                ">times as fast",
            ],
        );
        let mut kept = Vec::new();
        for row in &self.rows {
            let nanos = measured(&row.folder);
            let number = |number: Option<f64>| number.map_or("-".to_owned(), units::digits);
            let rate = nanos.map(|nanos| row.threads as f64 * 1e9 / nanos);
            // The original's concurrent rows are wall time per operation of all threads.
            let ratio =
                row.original.zip(nanos).map(|((theirs, _), ours)| theirs / (ours / row.threads as f64));
            table.rows.push(vec![
                row.name.as_str().into(),
                number(nanos).into(),
                number(rate).into(),
                units::digits(row.bytes).into(),
                units::digits(row.allocations).into(),
                number(row.original.map(|(nanos, _)| nanos)).into(),
                row.original.map_or("-", |(_, allocations)| allocations).into(),
                number(ratio).into(),
            ]);
            kept.push(json!({
                "row": row.name, "threads": row.threads, "ns": nanos, "ops_per_second": rate,
                "bytes": row.bytes, "allocations": row.allocations,
                "original_ns": row.original.map(|(nanos, _)| nanos), "original_allocations": row.original.map(|(_, a)| a),
            }));
        }
        print!("{}", table.text(false));
        if self.rows.iter().all(|row| measured(&row.folder).is_some()) {
            let path = criterion_folder().join(format!("{}.json", self.group));
            std::fs::write(&path, format!("{:#}", Value::from(kept))).expect("criterion has made the folder");
        }
    }
}

impl Rows<'_> {
    /// Holds the rows to what they have to reach, and ends the program with 1 where one does not. Allocations are held
    /// in any case, times only where this run has measured them.
    pub fn hold(&self, bounds: &[Bound]) {
        let timed = is_timed();
        let mut missed = Vec::new();
        for bound in bounds {
            let Some(row) = self.rows.iter().find(|row| row.name == bound.row) else {
                missed.push(format!("{}: there is no such row", bound.row));
                continue;
            };
            if bound.allocations.is_some_and(|most| row.allocations > most) {
                missed.push(format!("{}: {} allocations", row.name, units::digits(row.allocations)));
            }
            if let (true, Some(most), Some(nanos)) = (timed, bound.nanos, measured(&row.folder))
                && nanos > most
            {
                missed.push(format!(
                    "{}: {} ns, {} are allowed",
                    row.name,
                    units::digits(nanos),
                    units::digits(most)
                ));
            }
        }
        if timed {
            missed.extend(self.scaling());
        }
        for miss in &missed {
            eprintln!("MISSED {miss}");
        }
        if !missed.is_empty() {
            std::process::exit(1);
        }
    }

    /// The rows of many threads that do less together than they should.
    fn scaling(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for row in &self.rows {
            let Some(share) = row.scaling else { continue };
            let words =
                format!("{}: {} of what as many threads alone would do", row.name, units::digits(share));
            println!("{words}");
            if share < SCALING_MIN {
                missed.push(words);
            }
        }
        missed
    }
}

/// Whether times are measured, and not only looked whether all of it works.
fn is_timed() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// The fastest turn of a single thread, as a share of the fastest turn of so many threads. All do equally many
/// operations, so ideally it is 1.
fn scaling<F: FnMut()>(threads: usize, make: &(impl Fn() -> F + Sync)) -> f64 {
    let mut repeats = 1000;
    while together(1, repeats, make) < TURN {
        repeats *= 2;
    }
    let (mut one, mut many) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        one = one.min(together(1, repeats, make));
        many = many.min(together(threads, repeats, make));
    }
    one.as_secs_f64() / many.as_secs_f64()
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

/// How long the slowest of `threads` takes for `repeats` operations, all begun at once.
fn together<F: FnMut()>(threads: usize, repeats: u64, make: &(impl Fn() -> F + Sync)) -> Duration {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let run = || {
            let mut op = make();
            barrier.wait();
            let began = Instant::now();
            for _ in 0..repeats {
                op();
            }
            began.elapsed()
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        all.into_iter()
            .map(|thread| thread.join().expect("an operation does not panic"))
            .max()
            .unwrap_or_default()
    })
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
