//! Counters that grow while the gateway runs. A count since boot says little, so each is read twice.

use super::super::check::{Check, Measure, Reading, Severity, Test};
use super::super::host::{Host, WINDOW, field};

const LIVE: Measure = Measure::Shown("`ringway doctor --live` under load.");
const NONE: &str = "Nothing.";

pub(super) const CHECKS: &[Check] = &[
    watch(
        "softnet_drops",
        Severity::Warning,
        |host| softnet(host, 1),
        "none",
        "Packets dropped because a CPU's queue was full.",
        "raise net.core.netdev_max_backlog, spread packets over more CPUs (nic_queues, irq_affinity, rps)",
    ),
    watch(
        "softnet_squeeze",
        Severity::Note,
        |host| softnet(host, 2),
        "none",
        "Rounds that ended with packets left over.",
        "raise net.core.netdev_budget, spread packets over more CPUs (nic_queues, irq_affinity, rps)",
    ),
    watch(
        "listen_overflows",
        Severity::Warning,
        |host| grown(host, "connections", |host| netstat(host, &["ListenOverflows", "ListenDrops"])),
        "none",
        "Connections dropped because a listener's queue was full.",
        "raise net.core.somaxconn and listeners.backlog; if ringway_turns_total stands still, a worker is stuck",
    ),
    watch(
        "socket_drops",
        Severity::Warning,
        |host| {
            grown(host, "packets", |host| netstat(host, &["TCPBacklogDrop", "TCPRcvQDrop", "PruneCalled"]))
        },
        "none",
        "Packets dropped because a socket, or TCP as a whole, had no memory left.",
        "raise net.ipv4.tcp_rmem and net.ipv4.tcp_mem",
    ),
    watch(
        "retransmissions",
        Severity::Note,
        retransmissions,
        "below 1 % of segments",
        "Segments sent again: packets are lost on the way or dropped at an end.",
        "look for drops with ethtool -S and ringway doctor --live on both ends",
    ),
    watch(
        "throttled",
        Severity::Error,
        |host| {
            grown(host, "periods", |host| {
                let line =
                    host.text("cpu.stat")?.lines().find_map(|line| line.strip_prefix("nr_throttled "))?;
                line.trim().parse().ok()
            })
        },
        "never",
        "The cgroup had used up its quota and all workers were stopped.",
        "raise or remove the CPU limit, or set workers below it",
    ),
    watch(
        "cpu_pressure",
        Severity::Note,
        pressure,
        "some avg10 below 20",
        "The share of time in which something was ready to run and had no CPU.",
        "see who else runs: top -H; give the gateway CPUs of its own",
    ),
    watch(
        "workers_pinned",
        Severity::Warning,
        pinned,
        "each worker on one CPU",
        "A worker that wanders loses its caches, and leaves the CPU its packets arrive at.",
        "allow sched_setaffinity to the gateway, and CPUs to its cpuset",
    ),
    watch(
        "workers_preempted",
        Severity::Note,
        preempted,
        "below 100 a second",
        "Something else took a worker's CPU away while it had work.",
        "keep other programs off the workers' CPUs (taskset, AllowedCPUs=, isolcpus)",
    ),
    watch(
        "workers_waiting",
        Severity::Warning,
        waiting,
        "below 10 % of the time",
        "Workers were ready to run and did not get their CPU: all their calls waited.",
        "keep other programs off the workers' CPUs, or use fewer workers",
    ),
    watch(
        "ring_overflows",
        Severity::Warning,
        overflows,
        "none",
        "Completions that did not fit into a worker's ring; the kernel keeps them aside, slowly.",
        "raise io.entries",
    ),
    page(
        "gateway_backend",
        Severity::Warning,
        backend,
        "io_uring",
        "The back-end that the running gateway says it uses, and why.",
        "see its reason, and io_uring_disabled and seccomp above; restart the gateway afterwards",
    ),
    page(
        "gateway_refusals",
        Severity::Warning,
        |host| total(host, &["ringway_connections_refused_total", "ringway_accept_errors_total"]),
        "none",
        "Connections that the gateway closed at once, since its start.",
        "raise listeners.max_connections and the limit on open files (nofile)",
    ),
    page(
        "gateway_panics",
        Severity::Error,
        |host| total(host, &["ringway_panics_total"]),
        "none",
        "Each is a bug. The gateway goes on; one connection did not.",
        "report it with the log's lines",
    ),
    page(
        "gateway_local",
        Severity::Note,
        local,
        "at least half of the connections, where each worker has a queue of the interface",
        "Connections whose packets arrive at the CPU of the worker that serves them (SO_INCOMING_CPU). The others' go from \
         one CPU's cache to another's.",
        "interrupts of queue i to the CPU of worker i (irq_affinity), and as many queues as workers (nic_queues)",
    ),
    page(
        "gateway_files",
        Severity::Warning,
        files,
        "below 80 % of process_max_fds",
        "Descriptors in use of those allowed.",
        "see nofile",
    ),
];

const fn watch(
    id: &'static str,
    severity: Severity,
    read: fn(&Host) -> Reading,
    target: &'static str,
    why: &'static str,
    fix: &'static str,
) -> Check {
    Check { id, severity, test: Test::Watch(read), target, why, cost: NONE, measure: LIVE, fix, undo: "" }
}

/// A row about a running gateway's metrics.
const fn page(
    id: &'static str,
    severity: Severity,
    read: fn(&Host) -> Reading,
    target: &'static str,
    why: &'static str,
    fix: &'static str,
) -> Check {
    let measure = Measure::Shown("`ringway doctor --live --admin ADDRESS`.");
    Check { id, severity, test: Test::Read(read), target, why, cost: NONE, measure, fix, undo: "" }
}

/// Off if a count has grown since the first reading.
fn grown(host: &Host, what: &str, count: impl Fn(&Host) -> Option<u64>) -> Reading {
    let (Some(before), Some(now)) = (host.before().and_then(|host| count(&host)), count(host)) else {
        return Reading::Absent;
    };
    let more = now.saturating_sub(before);
    Reading::judge(more == 0, format!("{more} {what}, {now} since boot"))
}

/// A column of `/proc/net/softnet_stat`, in hexadecimal, added up over all CPUs.
pub(super) fn softnet(host: &Host, column: usize) -> Reading {
    let what = if column == 1 { "packets" } else { "rounds" };
    grown(host, what, |host| {
        let words =
            host.text("proc/net/softnet_stat")?.lines().map(|line| line.split_ascii_whitespace().nth(column));
        Some(words.filter_map(|word| u64::from_str_radix(word?, 16).ok()).sum())
    })
}

/// A counter of `/proc/net/netstat` or `/proc/net/snmp`: a line of names, then a line of values.
fn counter(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let names = lines.next()?.split_ascii_whitespace();
    let values = lines.next()?.split_ascii_whitespace();
    names.zip(values).find(|(each, _)| *each == name)?.1.parse().ok()
}

fn netstat(host: &Host, names: &[&str]) -> Option<u64> {
    let text = host.text("proc/net/netstat")?;
    Some(names.iter().filter_map(|name| counter(text, "TcpExt", name)).sum())
}

fn retransmissions(host: &Host) -> Reading {
    let read = |host: &Host| {
        let text = host.text("proc/net/snmp")?;
        Some((counter(text, "Tcp", "RetransSegs")?, counter(text, "Tcp", "OutSegs")?))
    };
    let (Some(before), Some(now)) = (host.before().and_then(|host| read(&host)), read(host)) else {
        return Reading::Absent;
    };
    let (again, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
    // A handful of segments is no basis for a share.
    Reading::judge(again * 100 <= all || again < 10, format!("{again} of {all} segments"))
}

fn pressure(host: &Host) -> Reading {
    let share = || {
        let line = host.text("proc/pressure/cpu")?.lines().find(|line| line.starts_with("some"))?;
        let text = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
        text.parse::<f64>().ok()
    };
    share().map_or(Reading::Absent, |share| Reading::judge(share < 20.0, format!("{share} %")))
}

/// Sums `read` over the workers of all running gateways; `None` if there are none.
fn over_workers(host: &Host, file: &str, read: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let numbers = host.each("proc/", "/comm").filter(|(_, name)| name.starts_with("worker-"));
    let values: Vec<u64> =
        numbers.filter_map(|(thread, _)| read(host.text(&format!("proc/{thread}/{file}"))?)).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

fn pinned(host: &Host) -> Reading {
    let several = |text: &str| {
        let list = field(text, "Cpus_allowed_list")?;
        Some(u64::from(crate::supervisor::placement::cpu_list(list).len() > 1))
    };
    match over_workers(host, "status", several) {
        Some(0) => Reading::Good("yes".to_owned()),
        // With one CPU there is nothing to choose.
        Some(loose) => Reading::judge(host.cpus().len() < 2, format!("{loose} may wander")),
        None => Reading::Absent,
    }
}

fn preempted(host: &Host) -> Reading {
    let read = |host: &Host| {
        over_workers(host, "status", |text| field(text, "nonvoluntary_ctxt_switches")?.parse().ok())
    };
    let (Some(before), Some(now)) = (host.before().and_then(|host| read(&host)), read(host)) else {
        return Reading::Absent;
    };
    let per_second = now.saturating_sub(before) as f64 / WINDOW.as_secs_f64();
    Reading::judge(per_second < 100.0, format!("{per_second:.0} a second"))
}

fn waiting(host: &Host) -> Reading {
    // Nanoseconds on a CPU, nanoseconds ready and waiting for one, time slices.
    let read = |host: &Host| {
        over_workers(host, "schedstat", |text| text.split_ascii_whitespace().nth(1)?.parse().ok())
    };
    let (Some(before), Some(now)) = (host.before().and_then(|host| read(&host)), read(host)) else {
        return Reading::Absent;
    };
    let share = now.saturating_sub(before) as f64 / WINDOW.as_nanos() as f64;
    Reading::judge(share < 0.1, format!("{:.1} %", share * 100.0))
}

fn overflows(host: &Host) -> Reading {
    let rings: Vec<bool> = host
        .each("proc/", "")
        .filter(|(path, text)| path.contains("/fdinfo/") && text.contains("CqOverflowList:"))
        // An entry of the list is a line below its heading, indented.
        .map(|(_, text)| {
            let mut below = text.lines().skip_while(|line| !line.starts_with("CqOverflowList:")).skip(1);
            below.next().is_some_and(|line| line.trim_start().starts_with("user_data="))
        })
        .collect();
    let full = rings.iter().filter(|full| **full).count();
    if rings.is_empty() {
        Reading::Absent
    } else {
        Reading::judge(full == 0, format!("{full} of {} rings", rings.len()))
    }
}

/// The samples of a family: labels and value.
fn samples<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let (series, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let labels = if series.is_empty() { "" } else { series.strip_prefix('{')?.strip_suffix('}')? };
        Some((labels, value.parse().ok()?))
    })
}

fn backend(host: &Host) -> Reading {
    let Some(page) = &host.facts.page else { return Reading::Absent };
    match samples(page, "ringway_io_backend").next() {
        Some((labels, _)) => Reading::judge(labels.contains("backend=\"io_uring\""), labels),
        None => Reading::Absent,
    }
}

fn total(host: &Host, names: &[&str]) -> Reading {
    let Some(page) = &host.facts.page else { return Reading::Absent };
    let sum: f64 = names.iter().flat_map(|name| samples(page, name)).map(|(_, value)| value).sum();
    Reading::judge(sum == 0.0, format!("{sum}"))
}

fn local(host: &Host) -> Reading {
    /// Fewer are no basis for a share.
    const CONNECTIONS_MIN: f64 = 100.0;
    let Some(page) = &host.facts.page else { return Reading::Absent };
    let sum = |name| samples(page, name).map(|(_, value)| value).sum::<f64>();
    let (local, all) = (sum("ringway_connections_local_total"), sum("ringway_connections_accepted_total"));
    let queues = host.facts.nics.values().filter_map(|nic| nic.queues).map(|(used, _)| used as usize).max();
    let spread = host.workers() > 1 && queues.is_some_and(|queues| queues >= host.workers());
    if all < CONNECTIONS_MIN {
        return Reading::Absent;
    }
    Reading::judge(!spread || local >= all / 2.0, format!("{:.0} % of {all}", 100.0 * local / all))
}

fn files(host: &Host) -> Reading {
    let Some(page) = &host.facts.page else { return Reading::Absent };
    let read = |name| samples(page, name).next().map(|(_, value)| value);
    match (read("process_open_fds"), read("process_max_fds")) {
        (Some(open), Some(max)) => Reading::judge(open < max * 0.8, format!("{open} of {max}")),
        _ => Reading::Absent,
    }
}
