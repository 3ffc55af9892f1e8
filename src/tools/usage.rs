//! CPU time and memory of threads and processes, read from `/proc`, and of gateways elsewhere from their metrics.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::path::Path;
use std::time::Duration;

use super::scrape;

/// CPU time of somebody, from some beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Time on a core, in the kernel or not.
    pub ran: Duration,
    /// Time that it could have run and had no core. Zero where nobody knows.
    pub waited: Duration,
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu { ran: self.ran.saturating_sub(before.ran), waited: self.waited.saturating_sub(before.waited) }
    }
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu { ran: self.ran + other.ran, waited: self.waited + other.waited }
    }
}

/// A party to a load, and the source of its usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The side's name in tables: gateway, service.
    pub name: &'static str,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Threads(BTreeSet<u32>),
    Process(u32),
    Metrics(SocketAddr),
}

/// The usage of a side so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time.
    pub cpu: Cpu,
    /// Resident memory in bytes; `None` for threads, which have none of their own.
    pub memory: Option<u64>,
}

impl Side {
    /// Threads of this process.
    pub fn threads(name: &'static str, threads: BTreeSet<u32>) -> Side {
        Side { name, source: Source::Threads(threads) }
    }

    /// A process on this machine.
    pub fn process(name: &'static str, id: u32) -> Side {
        Side { name, source: Source::Process(id) }
    }

    /// A gateway that shows its own usage on the metrics page at this address.
    pub fn metrics(name: &'static str, admin: SocketAddr) -> Side {
        Side { name, source: Source::Metrics(admin) }
    }

    /// The side's usage so far; `None` when the side is not there.
    pub fn usage(&self) -> Option<Usage> {
        match &self.source {
            Source::Threads(threads) => {
                let cpu = threads.iter().filter_map(|id| cpu(&format!("/proc/self/task/{id}")));
                Some(Usage { cpu: cpu.fold(Cpu::default(), Add::add), memory: None })
            }
            Source::Process(id) => {
                let tasks = fs::read_dir(format!("/proc/{id}/task")).ok()?;
                let cpu = tasks.filter_map(|task| cpu(task.ok()?.path().to_str()?));
                Some(Usage { cpu: cpu.fold(Cpu::default(), Add::add), memory: memory(&id.to_string()) })
            }
            Source::Metrics(admin) => {
                let page = scrape::fetch(*admin).ok()?;
                let ran = Duration::try_from_secs_f64(page.sum("process_cpu_seconds_total")?).ok()?;
                let memory = page.sum("process_resident_memory_bytes").map(|bytes| bytes as u64);
                Some(Usage { cpu: Cpu { ran, waited: Duration::ZERO }, memory })
            }
        }
    }
}

/// The threads of this process whose names begin so.
pub fn threads_named(prefix: &str) -> BTreeSet<u32> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return BTreeSet::new() };
    let id = |path: &Path| path.file_name()?.to_str()?.parse().ok();
    let tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    let named =
        tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(prefix)));
    named.filter_map(|task| id(&task)).collect()
}

/// The CPU time of the calling thread so far.
pub fn this_thread() -> Cpu {
    cpu("/proc/thread-self").unwrap_or_default()
}

/// Resident memory of this process, in bytes.
pub fn memory_of_this_process() -> Option<u64> {
    memory("self")
}

/// The usage of a task. `schedstat` is in nanoseconds; a kernel without it has ticks of 10 ms in `stat`.
fn cpu(task: &str) -> Option<Cpu> {
    if let Ok(text) = fs::read_to_string(format!("{task}/schedstat")) {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let (Some(Ok(ran)), Some(Ok(waited))) = (numbers.next(), numbers.next()) else { return None };
        return Some(Cpu { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(waited) });
    }
    let stat = fs::read_to_string(format!("{task}/stat")).ok()?;
    // The name, in brackets, may hold blanks; user and system time are fields 14 and 15 of proc(5).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Cpu { ran: Duration::from_millis(ticks * 10), waited: Duration::ZERO })
}

fn memory(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_seen_to() {
        let before = this_thread();
        let mut sum = 0_u64;
        while this_thread().ran < before.ran + Duration::from_millis(20) {
            sum = (0..10_000).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        std::hint::black_box(sum);
        let me = Side::process("tests", std::process::id()).usage().expect("this process is there");
        assert!(me.cpu.ran >= Duration::from_millis(20), "{me:?}");
        assert!(me.memory > Some(100_000), "{me:?}");
    }

    #[test]
    fn threads_are_found_by_their_names() {
        let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name("usage-test-1".into());
        let thread = thread.spawn(move || stopped.recv()).expect("a thread");
        // A thread names itself once it runs.
        while threads_named("usage-test").is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(threads_named("usage-test").len(), 1);
        assert!(threads_named("no such thread").is_empty());
        assert!(Side::threads("test", threads_named("usage-test")).usage().is_some());
        drop(stop);
        assert!(thread.join().expect("it only waits").is_err());
    }

    #[test]
    fn who_is_not_there_has_no_usage() {
        assert_eq!(Side::process("nobody", u32::MAX).usage(), None);
        assert_eq!(cpu("/proc/self/task/none"), None);
    }
}
