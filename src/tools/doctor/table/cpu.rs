//! Clocks, sleep states, neighbours and memory.

use super::super::check::{Check, Measure, Reading, Severity, Test, Want, leave, sysctl, tell};
use super::super::host::Host;
use crate::supervisor::placement::cpu_list;

const CPUS: &str = "sys/devices/system/cpu/";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "governor",
        severity: Severity::Warning,
        test: Test::Read(|host| frequency(host, "/cpufreq/scaling_governor", "performance")),
        target: "performance",
        why: "Other governors raise the frequency only after load has come; the first calls of a burst pay for it.",
        cost: "Power.",
        measure: Measure::Tail,
        fix: "cpupower frequency-set -g performance",
        undo: "`cpupower frequency-set -g schedutil`",
    },
    Check {
        id: "energy_preference",
        severity: Severity::Note,
        test: Test::Read(|host| frequency(host, "/cpufreq/energy_performance_preference", "performance")),
        target: "performance",
        why: "Tells the processor itself what the governor tells the kernel.",
        cost: "Power.",
        measure: Measure::Tail,
        fix: "for f in /sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference; do echo performance > $f; done",
        undo: "The same with `balance_performance`.",
    },
    Check {
        id: "sleep_states",
        severity: Severity::Note,
        test: Test::Read(sleep_states),
        target: "none that takes longer than 10 us to wake from",
        why: "A worker that waits for packets sleeps; from a deep state it takes up to hundreds of microseconds to wake. \
              Matters while the load is light.",
        cost: "Power, and sometimes turbo for the other cores.",
        measure: Measure::Tail,
        fix: "cpupower idle-set -D 10",
        undo: "`cpupower idle-set -E`",
    },
    Check {
        id: "smt",
        severity: Severity::Note,
        test: Test::Read(smt),
        target: "not more workers than cores",
        why: "Two workers on the threads of one core share its caches and units: more calls in all, each slower. Which \
              is better depends on the load.",
        cost: "With one worker a core, fewer calls in all.",
        measure: Measure::Tail,
        fix: "cpu_policy = \"physical_cores\" in the configuration, if a measurement says so",
        undo: "`cpu_policy = \"all\"`",
    },
    Check {
        id: "numa",
        severity: Severity::Note,
        test: Test::Read(numa),
        target: "workers on the memory node of the network interface",
        why: "A worker on another node reaches each packet through the link between the nodes.",
        cost: "The other node's CPUs are not used by the gateway.",
        measure: Measure::Cpu,
        fix: "cpu_policy = \"numa_node:{}\" in the configuration",
        undo: "`cpu_policy = \"all\"`",
    },
    sysctl(
        "kernel.numa_balancing",
        Severity::Warning,
        Want::Judged(numa_balancing),
        "0",
        "1",
        "0 on hosts with several memory nodes",
        "Looks for pages on the wrong node by taking them away and waiting for faults. Workers are pinned and allocate \
         on their own node, so it finds nothing and costs faults.",
        "Other programs of the host that are not pinned lose it.",
        Measure::Cpu,
    ),
    Check {
        id: "transparent_hugepages",
        severity: Severity::Note,
        test: Test::Read(hugepages),
        target: "madvise or never",
        why: "With `always` idle connections hold more memory, and the kernel may stop a worker to compact some.",
        cost: "Other programs of the host that profit have to ask for it.",
        measure: Measure::Memory,
        fix: "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        undo: "`echo always > /sys/kernel/mm/transparent_hugepage/enabled`",
    },
    sysctl(
        "vm.swappiness",
        Severity::Warning,
        Want::Judged(swappiness),
        "10",
        "60",
        "10 or less where there is swap",
        "A page of a worker that was swapped out stops it for milliseconds when it is needed.",
        "Less memory for the page cache.",
        Measure::Tail,
    ),
    Check {
        id: "clocksource",
        severity: Severity::Warning,
        test: Test::Read(clocksource),
        target: "tsc, or the hypervisor's or architecture's own",
        why: "With hpet or acpi_pm each look at the clock is a system call and an access to a slow device.",
        cost: "Nothing, unless the kernel had a reason to distrust the TSC: see dmesg.",
        measure: Measure::Cpu,
        fix: "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        undo: "Write the old name there.",
    },
    tell(
        "mitigations",
        mitigations,
        "Belongs beside every benchmark: the dearer a system call, the more io_uring gains. Never turned off for speed.",
    ),
    Check {
        id: "isolated_cpus",
        severity: Severity::Note,
        test: Test::Read(isolated),
        target: "none, or CPUs that the workers use, on hosts of four CPUs and more",
        why: "isolcpus=managed_irq,domain with nohz_full and rcu_nocbs keeps the kernel off the workers' cores. CPUs that \
              are kept free for nobody are lost, and on a small host the rest of it needs them.",
        cost: "Everything else shares the CPUs that are left.",
        measure: Measure::Tail,
        fix: "AllowedCPUs= of the unit names the isolated CPUs, or boot without isolcpus",
        undo: "Boot with the old command line.",
    },
    Check {
        id: "preemption",
        severity: Severity::Note,
        test: Test::Read(preemption),
        target: "none, voluntary or lazy",
        why: "With full preemption whatever wakes up on a worker's CPU interrupts it in the kernel, too: latency for \
              others, paid by the worker's calls.",
        cost: "Other programs on these CPUs wait a little longer.",
        measure: Measure::Cpu,
        fix: "boot with preempt=lazy, or preempt=none; echo lazy > /sys/kernel/debug/sched/preempt",
        undo: "`echo full > /sys/kernel/debug/sched/preempt`",
    },
    Check {
        id: "halt_poll",
        severity: Severity::Note,
        test: Test::Read(halt_poll),
        target: "guest_halt_poll_ns above 0 where the guest itself polls before it halts",
        why: "A virtual CPU that halts at once leaves to the host and comes back for each packet while the load is light. \
              cpuidle_haltpoll lets it look around first, if it is given time.",
        cost: "CPU time of the host while the guest is idle.",
        measure: Measure::Tail,
        fix: "echo 200000 > /sys/module/haltpoll/parameters/guest_halt_poll_ns",
        undo: "`echo 0 > /sys/module/haltpoll/parameters/guest_halt_poll_ns`",
    },
    leave("kernel.watchdog", "Costs one timer a second for each CPU, and finds locked up kernels."),
];

/// The first CPU whose file says something else.
fn frequency(host: &Host, end: &str, wanted: &str) -> Reading {
    let begin = format!("{CPUS}cpu");
    let mut all = host.each(&begin, end).peekable();
    if all.peek().is_none() {
        return Reading::Absent;
    }
    match all.find(|(_, value)| *value != wanted) {
        None => Reading::Good(wanted.to_owned()),
        Some((cpu, value)) => Reading::off(format!("{value} (CPU {cpu})")),
    }
}

fn sleep_states(host: &Host) -> Reading {
    const LONGEST_MICROS: u64 = 10;
    let begin = format!("{CPUS}cpu0/cpuidle/state");
    let deepest = host
        .each(&begin, "/latency")
        .filter(|(state, _)| host.text(&format!("{begin}{state}/disable")) != Some("1"))
        .filter_map(|(state, latency)| {
            Some((latency.parse::<u64>().ok()?, host.text(&format!("{begin}{state}/name"))?))
        })
        .max();
    let limit = host.facts.latency_limit.and_then(|micros| u64::try_from(micros).ok());
    match deepest {
        None => Reading::Absent,
        Some((micros, name)) if micros <= LONGEST_MICROS => Reading::Good(format!("{name}, {micros} us")),
        Some((_, name)) if limit.is_some_and(|limit| limit <= LONGEST_MICROS) => {
            Reading::Good(format!("{name} is held off by /dev/cpu_dma_latency"))
        }
        Some((micros, name)) => Reading::off(format!("{name}, {micros} us")),
    }
}

fn smt(host: &Host) -> Reading {
    let cpus = host.cpus();
    let cores: std::collections::BTreeSet<&str> = cpus
        .iter()
        .filter_map(|cpu| host.text(&format!("{CPUS}cpu{cpu}/topology/thread_siblings_list")))
        .collect();
    if cores.is_empty() || host.text("sys/devices/system/cpu/smt/active") == Some("0") {
        return Reading::Absent;
    }
    Reading::judge(
        host.workers() <= cores.len(),
        format!("{} workers on {} cores", host.workers(), cores.len()),
    )
}

fn nodes(host: &Host) -> Vec<(&str, Vec<usize>)> {
    host.each("sys/devices/system/node/node", "/cpulist").map(|(node, list)| (node, cpu_list(list))).collect()
}

fn numa(host: &Host) -> Reading {
    let nodes = nodes(host);
    if nodes.len() < 2 {
        return Reading::Absent;
    }
    let near = host.each("sys/class/net/", "/device/numa_node").find(|(_, node)| !node.starts_with('-'));
    let Some((nic, near)) = near else { return Reading::Absent };
    let cpus = host.cpus();
    let far: Vec<&str> = nodes
        .iter()
        .filter(|(node, members)| *node != near && members.iter().any(|cpu| cpus.contains(cpu)))
        .map(|(node, _)| *node)
        .collect();
    if far.is_empty() {
        return Reading::Good(format!("all on node {near}, with {nic}"));
    }
    Reading::off_at(format!("{nic} is on node {near}, CPUs on {} too", far.join(" ")), near)
}

fn numa_balancing(host: &Host) -> Reading {
    let value = host.sysctl("kernel.numa_balancing").unwrap_or("0");
    if nodes(host).len() < 2 { Reading::Absent } else { Reading::judge(value == "0", value) }
}

fn hugepages(host: &Host) -> Reading {
    let Some(text) = host.text("sys/kernel/mm/transparent_hugepage/enabled") else { return Reading::Absent };
    let chosen = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    chosen.map_or(Reading::Absent, |chosen| Reading::judge(chosen != "always", chosen))
}

fn swappiness(host: &Host) -> Reading {
    let Some(value) = host.sysctl("vm.swappiness") else { return Reading::Absent };
    // The first line names the columns.
    let has_swap = host.text("proc/swaps").is_some_and(|text| text.lines().count() > 1);
    let is_good = !has_swap || value.parse::<u64>().is_ok_and(|value| value <= 10);
    Reading::judge(is_good, if has_swap { value.to_owned() } else { format!("{value}, no swap") })
}

fn clocksource(host: &Host) -> Reading {
    let Some(name) = host.text("sys/devices/system/clocksource/clocksource0/current_clocksource") else {
        return Reading::Absent;
    };
    Reading::judge(!matches!(name, "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies" | "pit"), name)
}

fn isolated(host: &Host) -> Reading {
    let Some(list) = host.text("sys/devices/system/cpu/isolated").filter(|list| !list.is_empty()) else {
        return Reading::Absent;
    };
    let (isolated, ours) = (cpu_list(list), host.cpus());
    let online = host.text("sys/devices/system/cpu/online").map_or(ours.len(), |list| cpu_list(list).len());
    if online < 4 {
        Reading::off(format!("{list} of {online} CPUs"))
    } else if ours.iter().any(|cpu| isolated.contains(cpu)) {
        Reading::Good(list.to_owned())
    } else {
        Reading::off(format!("{list}, and none of them is for this process"))
    }
}

/// The choice among several stands in brackets.
fn preemption(host: &Host) -> Reading {
    let Some(text) = host.text("sys/kernel/debug/sched/preempt") else { return Reading::Absent };
    let chosen = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('(')?.strip_suffix(')'));
    chosen.map_or(Reading::Absent, |chosen| Reading::judge(chosen != "full", chosen))
}

fn halt_poll(host: &Host) -> Reading {
    if host.text("sys/devices/system/cpu/cpuidle/current_driver") != Some("haltpoll") {
        return Reading::Absent;
    }
    match host.number("sys/module/haltpoll/parameters/guest_halt_poll_ns") {
        Some(nanos) => Reading::judge(nanos > 0, format!("{} us", nanos / 1000)),
        None => Reading::Absent,
    }
}

fn mitigations(host: &Host) -> Option<String> {
    let begin = "sys/devices/system/cpu/vulnerabilities/";
    let affected = host.each(begin, "").filter(|(_, state)| !state.starts_with("Not affected"));
    let affected: Vec<String> = affected.map(|(name, state)| format!("{name}: {state}")).collect();
    host.each(begin, "").next()?;
    Some(if affected.is_empty() { "none needed".to_owned() } else { affected.join("; ") })
}
