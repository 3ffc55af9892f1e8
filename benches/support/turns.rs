//! Several operations timed in turn, so that what else runs on the machine, and how fast the machine is, is alike for all
//! of them. Only what they are to each other is asked.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use core_affinity::CoreId;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The length of a turn: shorter than a scheduler's slice, so that others leave some turns alone.
const TURN: Duration = Duration::from_millis(2);
/// Turns of each operation, or as many as fit into the span.
const TURNS: usize = 200;
const SPAN: Duration = Duration::from_secs(4);
/// The turn that counts, of those of an operation from the fastest on: the middle of the fastest fifth.
const QUIET: f64 = 0.1;

/// Does an operation so often, and says how long that took.
pub type Run<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// The operation as this thread does it.
pub fn alone<'a, O>(mut op: impl FnMut() -> O + 'a) -> Run<'a> {
    Box::new(move |repeats| {
        let began = Instant::now();
        for _ in 0..repeats {
            black_box(op());
        }
        began.elapsed()
    })
}

/// The operation as a thread on each of these cores does it; each thread gets its own from `make`.
pub fn together<'a, F: FnMut()>(cores: &'a [CoreId], make: impl Fn() -> F + Sync + 'a) -> Run<'a> {
    Box::new(move |repeats| at_once(cores, repeats, &make))
}

/// The nanoseconds of an operation of each, where `group` neighbours do one thing as often as their first needs for a turn.
pub fn in_turn<const N: usize>(group: usize, mut runs: [Run<'_>; N]) -> [f64; N] {
    let mut repeats = [1; N];
    for first in (0..N).step_by(group) {
        while runs[first](repeats[first]) < TURN {
            repeats[first] *= 2;
        }
        let enough = repeats[first];
        repeats[first..first + group].fill(enough);
    }
    let mut turns: [Vec<Duration>; N] = [const { Vec::new() }; N];
    let began = Instant::now();
    for turn in 0..TURNS {
        if turn > 0 && began.elapsed() > SPAN {
            break;
        }
        for ((run, repeats), turns) in runs.iter_mut().zip(repeats).zip(&mut turns) {
            turns.push(run(repeats));
        }
    }
    let mut nanos = [0.0; N];
    for ((nanos, mut turns), repeats) in nanos.iter_mut().zip(turns).zip(repeats) {
        turns.sort_unstable();
        let quiet = turns[(turns.len() as f64 * QUIET) as usize];
        *nanos = quiet.as_nanos() as f64 / repeats as f64;
    }
    nanos
}

/// From the begin of the first thread to the end of the last one. A thread that the scheduler holds back counts, for else
/// threads that ran one after the other would pass for threads that are not in each other's way.
pub fn at_once<F: FnMut()>(cores: &[CoreId], repeats: u64, make: &(impl Fn() -> F + Sync)) -> Duration {
    let ready = AtomicUsize::new(0);
    let run = |core: CoreId| {
        core_affinity::set_for_current(core);
        let mut op = make();
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < cores.len() {
            std::hint::spin_loop();
        }
        let began = Instant::now();
        for _ in 0..repeats {
            op();
        }
        (began, Instant::now())
    };
    let times: Vec<_> = thread::scope(|scope| {
        let run = &run;
        let all: Vec<_> = cores.iter().map(|core| scope.spawn(move || run(*core))).collect();
        all.into_iter().map(|thread| thread.join().expect("an operation does not panic")).collect()
    });
    let began = times.iter().map(|(began, _)| *began).min().expect("there is a core");
    times.iter().map(|(_, ended)| *ended - began).max().expect("there is a core")
}

/// A CPU of each core that this process may use, and no more than its quota amounts to: two threads of one core share it.
pub fn cores() -> Vec<CoreId> {
    let mut seen = Vec::new();
    let mut cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.retain(|core| {
        let path = format!("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", core.id);
        let siblings = fs::read_to_string(path).unwrap_or_else(|_| core.id.to_string());
        let is_new = !seen.contains(&siblings);
        seen.push(siblings);
        is_new
    });
    if cores.is_empty() {
        cores.push(CoreId { id: 0 });
    }
    cores.truncate(thread::available_parallelism().map_or(1, usize::from));
    cores
}
