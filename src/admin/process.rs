//! Linux' figures of this process and its threads, and the `process_…` families every Prometheus client shows.
//!
//! A figure that cannot be read is left out: a page without it is better than no page.

use std::fs;
use std::time::Duration;

use crate::alloc;
use crate::metrics::Page;

/// CPU time of the whole process so far.
pub(super) fn cpu() -> Option<Duration> {
    cpu_time(&fs::read_to_string("/proc/self/stat").ok()?, ticks_per_second())
}

/// Where the time of a thread went so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadTimes {
    /// On a core.
    pub(super) ran: Duration,
    /// It could have run and had no core; none where Linux does not tell.
    pub(super) waited: Option<Duration>,
    /// Ticks on a core in its own code, and in the kernel's.
    ticks: [u64; 2],
}

impl ThreadTimes {
    /// Of the time on a core since `before`, the share in the thread's own code. The kernel counts whole ticks, so it is
    /// none where there were none.
    pub(super) fn own_share_since(&self, before: &ThreadTimes) -> Option<f64> {
        let [own, kernel] = [0, 1].map(|at| self.ticks[at].saturating_sub(before.ticks[at]) as f64);
        (own + kernel > 0.0).then(|| own / (own + kernel))
    }
}

/// Where the time of one of its threads went so far.
pub(super) fn thread_times(thread: u32) -> Option<ThreadTimes> {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).ok();
    let stat = read("stat")?;
    let ticks = [stat_field(&stat, 14)?, stat_field(&stat, 15)?];
    // In nanoseconds, where the kernel keeps them; in ticks of a hundredth of a second otherwise.
    let nanos: Option<(u64, u64)> = read("schedstat").and_then(|text| {
        let mut numbers = text.split(' ').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    Some(match nanos {
        Some((ran, waited)) => {
            ThreadTimes { ran: Duration::from_nanos(ran), waited: Some(Duration::from_nanos(waited)), ticks }
        }
        None => ThreadTimes { ran: cpu_time(&stat, ticks_per_second())?, waited: None, ticks },
    })
}

/// Memory it holds.
pub(super) fn resident_bytes() -> Option<u64> {
    bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:").map(|bytes| bytes as u64)
}

/// Appends what `/proc` says of this process to a page of metrics.
pub(super) fn write(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let system = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = ticks_per_second();

    let cpu = cpu_time(&stat, ticks).map(|cpu| cpu.as_secs_f64());
    let start = stat_field(&stat, 22).zip(boot_time(&system));
    let start = start.map(|(after_boot, boot)| boot as f64 + after_boot as f64 / ticks);
    let live = alloc::live();
    for (name, kind, help, value) in [
        (
            "ringway_heap_live_allocations",
            "gauge",
            "Heap allocations of the whole process that are not freed.",
            live.map(|live| live.blocks as f64),
        ),
        (
            "ringway_heap_live_bytes",
            "gauge",
            "Bytes of heap allocations of the whole process that are not freed, as asked for.",
            live.map(|live| live.bytes as f64),
        ),
        ("process_cpu_seconds_total", "counter", "User and system CPU time spent in seconds.", cpu),
        ("process_open_fds", "gauge", "Number of open file descriptors.", open_files()),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", files_max(&limits)),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            bytes(&status, "VmRSS:"),
        ),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", bytes(&status, "VmSize:")),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since the Unix epoch in seconds.",
            start,
        ),
    ] {
        if let Some(value) = value {
            page.family(name, kind, help);
            page.sample(name, &"", value);
        }
    }
}

/// A field of `/proc/self/stat`, numbered from 1 as in proc(5). The second field is a name that may
/// hold blanks and brackets, so counting begins after its last bracket.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    Some(stat_field(stat, 14)? + stat_field(stat, 15)?)
}

fn cpu_time(stat: &str, ticks_per_second: f64) -> Option<Duration> {
    cpu_ticks(stat).map(|ticks| Duration::from_secs_f64(ticks as f64 / ticks_per_second))
}

/// 100 on every architecture we build for; the kernel says so in the auxiliary vector.
fn ticks_per_second() -> f64 {
    fs::read("/proc/self/auxv").ok().and_then(|auxv| clock_ticks(&auxv)).unwrap_or(100) as f64
}

/// The `AT_CLKTCK` entry: pairs of machine words, key and value.
fn clock_ticks(auxv: &[u8]) -> Option<usize> {
    const AT_CLKTCK: usize = 17;
    let words = auxv.chunks_exact(size_of::<usize>());
    let words: Vec<usize> = words.filter_map(|word| word.try_into().ok().map(usize::from_ne_bytes)).collect();
    words.chunks_exact(2).find(|pair| pair[0] == AT_CLKTCK).map(|pair| pair[1]).filter(|&ticks| ticks > 0)
}

/// A line of `/proc/self/status` like `VmRSS:   1234 kB`.
fn bytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kibibytes * 1024) as f64)
}

/// Moments are seconds since 1970 here: the line `btime 1700000000` of `/proc/stat`.
fn boot_time(system: &str) -> Option<u64> {
    system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn files_max(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|max| max as f64)
}

/// Open files of the process; the directory shows one more, as reading it opens one.
fn open_files() -> Option<f64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    Some(entries.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Format;

    fn value(page: &str, name: &str) -> f64 {
        let begin = format!("{name} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("no {name} in:\n{page}")).parse().unwrap()
    }

    #[test]
    fn this_process_has_plausible_figures() {
        let mut page = Page::new(Format::Text);
        write(&mut page);
        let page = page.finish();
        assert!(value(&page, "process_cpu_seconds_total") >= 0.0);
        assert!(value(&page, "process_open_fds") >= 3.0);
        assert!(value(&page, "process_max_fds") >= value(&page, "process_open_fds"));
        let resident = value(&page, "process_resident_memory_bytes");
        assert!(resident > 100_000.0 && resident < value(&page, "process_virtual_memory_bytes"));
        // Later than 2020, and not far in the future.
        assert!((1_577_836_800.0..4e9).contains(&value(&page, "process_start_time_seconds")));
    }

    #[test]
    fn a_threads_time_is_part_of_the_processes() {
        let link = fs::read_link("/proc/thread-self").unwrap();
        let own = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // The kernel adds up what a thread uses from time to time.
        let used = (0..1_000_000).map(|_| thread_times(own).unwrap().ran).find(|ran| !ran.is_zero());
        let (thread, process) = (used.unwrap(), cpu().unwrap());
        assert!(thread <= process + Duration::from_millis(20), "{thread:?} {process:?}");
        assert_eq!(thread_times(u32::MAX), None);
    }

    #[test]
    fn a_threads_time_is_its_own_or_the_kernels() {
        let times = |ticks| ThreadTimes { ticks, ..ThreadTimes::default() };
        assert_eq!(times([30, 10]).own_share_since(&times([0, 0])), Some(0.75));
        assert_eq!(times([30, 10]).own_share_since(&times([29, 10])), Some(1.0));
        assert_eq!(times([30, 10]).own_share_since(&times([30, 10])), None);
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 10 0 0 0 150 50 0 0 20 0 1 0 9900 1 2";
        assert_eq!((cpu_ticks(stat), stat_field(stat, 22)), (Some(200), Some(9900)));
        assert_eq!((cpu_ticks(""), stat_field("7 (a) S", 22)), (None, None));
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        assert_eq!(bytes("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12_288.0));
        assert_eq!(bytes("VmRSS:\t  many\n", "VmRSS:"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 17\n"), Some(17));
        assert_eq!(
            files_max("Max open files            1024                 4096                 files\n"),
            Some(1024.0)
        );
        assert_eq!(
            files_max("Max open files            unlimited            unlimited            files\n"),
            None
        );
        assert_eq!(clock_ticks(&[0; 32]), None);
    }
}
