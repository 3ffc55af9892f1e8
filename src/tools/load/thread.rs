//! The threads of the generator: each connects and warms up, all begin together, and what they measured is added up.
#![allow(clippy::disallowed_methods, reason = "a load generator measures time")]

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::{JoinSet, LocalSet};

use super::line::LoadConnection;
use super::plan::{Load, Pace, Request, STREAMS_MAX, Target};
use super::round::Round;
use super::tally::{Ending, Tally};
use super::traffic::Traffic;
use super::{closed, open, pace};
use crate::tools::usage::{self, Cpu, Side};

/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// Makes a load, and watches `sides` while it lasts. `told` hears how far it is, in units of [`Load::length`].
///
/// # Errors
/// When threads cannot be had, or the target's path or header fields are none.
pub fn run(load: &Load, sides: &[Side], told: impl Fn(u64)) -> io::Result<Round> {
    run_between(load, sides, told, || ())
}

/// Makes a load in the calling thread's name, without watching anybody.
///
/// # Errors
/// See [`run`].
pub fn run_alone(load: &Load) -> io::Result<Round> {
    run(load, &[], |_| ())
}

/// Runs a load as [`run`] does. `mark` is called twice: when all is ready to begin, and when all has ended.
///
/// # Errors
/// See [`run`].
pub fn run_between(
    load: &Load,
    sides: &[Side],
    told: impl Fn(u64),
    mut mark: impl FnMut(),
) -> io::Result<Round> {
    let threads = load.threads.clamp(1, load.connections.max(1));
    // Two meetings: all are ready, and all begin.
    let barrier = Arc::new(Barrier::new(threads + 1));
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut parts = Vec::new();
    for number in 0..threads {
        let part = Part::new(load, number, threads)?;
        let (barrier, begun, ended) = (Arc::clone(&barrier), Arc::clone(&begun), Arc::clone(&ended));
        let caller = thread::current();
        let body = move || {
            let measured = catch_unwind(AssertUnwindSafe(|| part.run(&barrier, &begun)));
            ended.fetch_add(1, Ordering::Release);
            caller.unpark();
            measured
        };
        parts.push(thread::Builder::new().name(format!("load-{number}")).spawn(body)?);
    }
    barrier.wait();
    mark();
    let before: Vec<_> = sides.iter().map(|side| side.usage().unwrap_or_default()).collect();
    barrier.wait();
    let began = Instant::now();
    while ended.load(Ordering::Acquire) < threads {
        told(match load.pace {
            Pace::Calls { .. } => begun.load(Ordering::Relaxed).min(load.length()),
            _ => u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).min(load.length()),
        });
        thread::park_timeout(TELL);
    }
    let mut round = Round {
        connections: load.connections,
        admitted: 0,
        took: Duration::ZERO,
        tally: Tally::default(),
        lag: Duration::ZERO,
        generator: Cpu::default(),
        threads,
        sides: Vec::new(),
    };
    for (side, before) in sides.iter().zip(before) {
        let after = side.usage().unwrap_or_default();
        round.sides.push((side.name, after.cpu - before.cpu, after.memory));
    }
    mark();
    for part in parts {
        let measured = part.join().and_then(|measured| measured);
        round.add(measured.map_err(|_| io::Error::other("a thread of the generator panicked"))??);
    }
    Ok(round)
}

/// Makes one call, to see how it ends.
///
/// # Errors
/// When the target's path or header fields are none.
pub fn probe(target: &Target, patience: Duration) -> io::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = LoadConnection::new(target, &Rc::default(), patience)?;
    Ok(LocalSet::new().block_on(&runtime, line.call()))
}

impl Round {
    fn add(&mut self, part: Measured) {
        self.admitted += part.admitted;
        self.took = self.took.max(part.took);
        self.tally.merge(&part.tally);
        self.lag = self.lag.max(part.lag);
        self.generator = self.generator + part.cpu;
    }
}

/// The measurements of one thread.
struct Measured {
    admitted: usize,
    took: Duration,
    tally: Tally,
    lag: Duration,
    cpu: Cpu,
}

/// A thread's part of a load.
struct Part {
    target: Target,
    pace: Pace,
    patience: Duration,
    connections: usize,
    lanes: usize,
    warm_up: u64,
    threads: usize,
}

impl Part {
    fn new(load: &Load, number: usize, threads: usize) -> io::Result<Part> {
        // An error here is one of the caller; found before any thread waits for the others.
        LoadConnection::new(&load.target, &Rc::default(), load.patience)?;
        let share = |all: usize| all / threads + usize::from(number < all % threads);
        Ok(Part {
            target: load.target.clone(),
            pace: load.pace,
            patience: load.patience,
            connections: share(load.connections.max(1)),
            lanes: share(load.lanes()),
            warm_up: load.warm_up / threads as u64,
            threads,
        })
    }

    fn run(self, barrier: &Barrier, begun: &Arc<AtomicU64>) -> io::Result<Measured> {
        let (runtime, local) =
            (tokio::runtime::Builder::new_current_thread().enable_all().build(), LocalSet::new());
        let ready = runtime.and_then(|runtime| {
            let traffic = Rc::new(Traffic::default());
            let lines: io::Result<Vec<_>> = (0..self.connections)
                .map(|_| LoadConnection::new(&self.target, &traffic, self.patience))
                .collect();
            let lines = lines?;
            local.block_on(&runtime, self.warm_up(&lines));
            Ok((runtime, traffic, lines))
        });
        // The others wait for this thread twice, whether it is ready or has failed.
        barrier.wait();
        barrier.wait();
        let (runtime, traffic, lines) = ready?;
        self.measure(&runtime, &local, &traffic, &lines, begun)
    }

    /// Opens the connections, and makes the calls that are not counted.
    async fn warm_up(&self, lines: &[Rc<LoadConnection>]) {
        let mut first = JoinSet::new();
        for line in lines.iter().map(Rc::clone) {
            first.spawn_local(async move { line.call().await });
        }
        first.join_all().await;
        let rest = self.warm_up.saturating_sub(lines.len() as u64);
        if rest > 0 && lines.iter().all(|line| line.answered()) {
            let at_once = self.lanes.min(lines.len() * 4).min(usize::try_from(rest).unwrap_or(usize::MAX));
            let lanes: Vec<_> = lines.iter().cycle().take(at_once).cloned().collect();
            closed::run(&lanes, closed::End::Calls(rest), &Arc::default(), &Rc::default()).await;
        }
    }

    fn measure(
        &self,
        runtime: &Runtime,
        local: &LocalSet,
        traffic: &Rc<Traffic>,
        lines: &[Rc<LoadConnection>],
        begun: &Arc<AtomicU64>,
    ) -> io::Result<Measured> {
        let (sent, received) = (traffic.sent.get(), traffic.received.get());
        let tally = Rc::new(RefCell::new(Tally::default()));
        let cpu_before = usage::this_thread();
        let began = Instant::now();
        let lanes = || -> Vec<_> { lines.iter().cycle().take(self.lanes).cloned().collect() };
        let mut lag = Duration::ZERO;
        match self.pace {
            Pace::Calls { calls, .. } => {
                local.block_on(runtime, closed::run(&lanes(), closed::End::Calls(calls), begun, &tally));
            }
            Pace::Span { span, .. } => {
                local.block_on(runtime, closed::run(&lanes(), closed::End::At(began + span), begun, &tally));
            }
            Pace::Schedule { rate, span } => {
                let moments = pace::moments(rate / self.threads as f64, span, began)?;
                let streams = match self.target.request {
                    Request::Grpc { .. } => STREAMS_MAX,
                    Request::Json { .. } => 1,
                };
                lag =
                    open::worst(&local.block_on(runtime, open::run(lines, streams, moments, begun, &tally)));
            }
        }
        let took = began.elapsed();
        let cpu = usage::this_thread() - cpu_before;
        let mut tally = tally.take();
        tally.sent = traffic.sent.get() - sent;
        tally.received = traffic.received.get() - received;
        let admitted = lines.iter().filter(|line| line.answered()).count();
        Ok(Measured { admitted, took, tally, lag, cpu })
    }
}
