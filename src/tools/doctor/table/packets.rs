//! From the interface to the worker's CPU.

use super::super::check::{Check, Measure, Reading, Severity, Test, Want, sysctl};
use super::super::host::Host;
use crate::net::ethtool::Nic;
use crate::supervisor::placement::interrupts;

pub(super) const CHECKS: &[Check] = &[
    sysctl(
        "net.core.netdev_max_backlog",
        Severity::Warning,
        Want::AtLeast(8192),
        "16384",
        "1000",
        "8192 or more",
        "Packets that wait for one CPU after RPS, and all packets on loopback. What overflows is dropped and sent again.",
        "Packets wait longer instead of being dropped, when a CPU is overloaded for long.",
        Measure::Shown("the second column of `/proc/net/softnet_stat`, or `ringway doctor --live`."),
    ),
    sysctl(
        "net.core.netdev_budget",
        Severity::Warning,
        Want::Judged(budget),
        "600",
        "300",
        "600 where time_squeeze grows",
        "Packets one CPU takes in a round before it lets others run. Judged by `--live`: what helps is only to be seen \
         while packets arrive.",
        "The worker on that CPU waits longer for its turn.",
        Measure::Shown("the third column of `/proc/net/softnet_stat`, or `ringway doctor --live`."),
    ),
    sysctl(
        "net.core.netdev_budget_usecs",
        Severity::Warning,
        Want::Judged(budget_micros),
        "8000",
        "8000",
        "8000 where time_squeeze grows",
        "The time of such a round. Kernels of 1000 Hz begin with 2000.",
        "The worker on that CPU waits longer for its turn.",
        Measure::Shown("as net.core.netdev_budget."),
    ),
    Check {
        id: "nic_queues",
        severity: Severity::Warning,
        test: Test::Read(nic_queues),
        target: "as many as workers, or all there are",
        why: "Each pair of queues has an interrupt and a CPU of its own. With fewer, some CPUs take packets for all.",
        cost: "Buffers for each queue.",
        measure: Measure::Tail,
        fix: "ethtool -L {}",
        undo: "`ethtool -L IF combined OLD`",
    },
    Check {
        id: "irq_affinity",
        severity: Severity::Warning,
        test: Test::Read(irq_affinity),
        target: "interrupts of queues on different CPUs",
        why: "When the interrupts of several queues go to one CPU, it takes the packets of all.",
        cost: "irqbalance must leave them alone.",
        measure: Measure::Tail,
        fix: "tuning/irq.sh --apply {}",
        undo: "`tuning/irq.sh --undo IF`, and start irqbalance again.",
    },
    Check {
        id: "rps",
        severity: Severity::Warning,
        test: Test::Read(rps),
        target: "on, where an interface has one queue and the host several CPUs",
        why: "One queue means one CPU for all packets. RPS hands them on to the others by connection.",
        cost: "An interrupt between CPUs for each batch of packets; with as many queues as CPUs it only costs.",
        measure: Measure::Tail,
        fix: "tuning/rps.sh --apply {}",
        undo: "`tuning/rps.sh --undo IF`",
    },
    Check {
        id: "rfs",
        severity: Severity::Note,
        test: Test::Read(rfs),
        target: "net.core.rps_sock_flow_entries = 32768 where RPS is on",
        why: "Sends a connection's packets to the CPU of the worker that reads it, instead of to one by hash.",
        cost: "A table of 32768 entries.",
        measure: Measure::Cpu,
        fix: "tuning/rps.sh --apply {}",
        undo: "`tuning/rps.sh --undo IF`",
    },
    Check {
        id: "xps",
        severity: Severity::Note,
        test: Test::Read(xps),
        target: "each transmit queue with CPUs of its own, where there are several",
        why: "Two CPUs that send through one queue take turns at its lock.",
        cost: "Nothing.",
        measure: Measure::Cpu,
        fix: "tuning/xps.sh --apply {}",
        undo: "`tuning/xps.sh --undo IF`",
    },
    Check {
        id: "nic_ring",
        severity: Severity::Note,
        test: Test::Read(nic_ring),
        target: "at least half of what is possible",
        why: "A burst that is longer than the receive ring is dropped by the interface.",
        cost: "Memory, and colder caches.",
        measure: Measure::Shown("`ethtool -S IF | grep -E 'miss|no_buf|drop'`"),
        fix: "ethtool -G {}",
        undo: "`ethtool -G IF rx OLD`",
    },
    Check {
        id: "gro",
        severity: Severity::Warning,
        test: Test::Read(|host| offload(host, |nic| nic.gro, true, "GRO")),
        target: "on",
        why: "Packets of a connection that arrive together go through TCP once.",
        cost: "Nothing; interfaces merge only what is there already.",
        measure: Measure::Cpu,
        fix: "ethtool -K {} gro on",
        undo: "`ethtool -K IF gro off`",
    },
    Check {
        id: "lro",
        severity: Severity::Warning,
        test: Test::Read(|host| offload(host, |nic| nic.lro, false, "LRO")),
        target: "off",
        why: "Merges packets and loses what they said: breaks forwarding and bridges. GRO does it right.",
        cost: "Nothing, with GRO on.",
        measure: Measure::Cpu,
        fix: "ethtool -K {} lro off",
        undo: "`ethtool -K IF lro on`",
    },
    Check {
        id: "segmentation",
        severity: Severity::Warning,
        test: Test::Read(|host| offload(host, |nic| nic.segmentation, true, "TSO and GSO")),
        target: "on",
        why: "A large send goes through TCP once and is cut into packets at the end.",
        cost: "Nothing.",
        measure: Measure::Bulk,
        fix: "ethtool -K {} tso on gso on",
        undo: "`ethtool -K IF tso off gso off`",
    },
    Check {
        id: "coalescing",
        severity: Severity::Note,
        test: Test::Read(coalescing),
        target: "adaptive, or at most 50 us",
        why: "How long an interface gathers packets before it interrupts: each call waits for so long, twice. Adaptive \
              is right for throughput; for latency `ethtool -C IF adaptive-rx off rx-usecs 8` to 20.",
        cost: "More interrupts, with less than adaptive.",
        measure: Measure::Tail,
        fix: "ethtool -C {} adaptive-rx on",
        undo: "`ethtool -C IF adaptive-rx off rx-usecs OLD`",
    },
    Check {
        id: "deferred_interrupts",
        severity: Severity::Note,
        test: Test::Read(deferred),
        target: "napi_defer_hard_irqs = 2 and gro_flush_timeout = 200000 with io.busy_poll; both 0 without",
        why: "With both set, an interface that is polled leaves its interrupts off while the poller comes back in time. \
              Without a poller, packets wait for the timeout.",
        cost: "Up to 200 us for a packet that comes when nobody polls.",
        measure: Measure::Tail,
        fix: "{}",
        undo: "`echo 0` into both files",
    },
    sysctl(
        "net.core.busy_poll",
        Severity::Note,
        Want::OneOf(&["0"]),
        "0",
        "0",
        "0",
        "Acts on poll and select, which workers on io_uring do not call; other programs of the host then spin. Ringway \
         has io.busy_poll for its own sockets.",
        "Nothing.",
        Measure::Cpu,
    ),
    sysctl(
        "net.core.busy_read",
        Severity::Note,
        Want::OneOf(&["0"]),
        "0",
        "0",
        "0",
        "As busy_poll, for all sockets of the host.",
        "Nothing.",
        Measure::Cpu,
    ),
];

fn budget(host: &Host) -> Reading {
    where_squeezed(host, "net.core.netdev_budget", 600)
}

fn budget_micros(host: &Host) -> Reading {
    where_squeezed(host, "net.core.netdev_budget_usecs", 8000)
}

fn where_squeezed(host: &Host, key: &str, least: u64) -> Reading {
    let Some(value) = host.sysctl(key) else { return Reading::Absent };
    let squeezed = matches!(super::live::softnet(host, 2), Reading::Off { .. });
    Reading::judge(!squeezed || value.parse::<u64>().is_ok_and(|value| value >= least), value)
}

/// The first interface that is off, or all as they are.
fn each_nic(host: &Host, judge: impl Fn(&str, &Nic) -> Reading) -> Reading {
    let mut good = Vec::new();
    for (name, nic) in &host.facts.nics {
        match judge(name, nic) {
            Reading::Absent => {}
            Reading::Good(value) => good.push(format!("{name}: {value}")),
            Reading::Off { value, place } => return Reading::off_at(format!("{name}: {value}"), place),
        }
    }
    if good.is_empty() { Reading::Absent } else { Reading::Good(good.join(", ")) }
}

fn nic_queues(host: &Host) -> Reading {
    each_nic(host, |name, nic| {
        let Some((used, possible)) = nic.queues else { return Reading::Absent };
        let wanted = u32::try_from(host.workers()).unwrap_or(u32::MAX).min(possible);
        if used >= wanted {
            return Reading::Good(used.to_string());
        }
        Reading::off_at(
            format!("{used} of {possible}, {} workers", host.workers()),
            format!("{name} combined {wanted}"),
        )
    })
}

/// The numbers of an interface's interrupts for queues.
fn queue_interrupts(host: &Host, nic: &str) -> Vec<usize> {
    let device = host.text(&format!("sys/class/net/{nic}/device"));
    interrupts::of_queues(host.text("proc/interrupts").unwrap_or_default(), nic, device)
}

fn irq_affinity(host: &Host) -> Reading {
    each_nic(host, |name, _| {
        let numbers = queue_interrupts(host, name);
        let targets: Vec<&str> = numbers
            .iter()
            .filter_map(|number| {
                host.text(&format!("proc/irq/{number}/effective_affinity_list"))
                    .filter(|list| !list.is_empty())
                    .or_else(|| host.text(&format!("proc/irq/{number}/smp_affinity_list")))
            })
            .collect();
        // A pair of queues may well share a CPU; more than that is a queue that has it by accident.
        if targets.len() < 3 || host.cpus().len() < 2 {
            return Reading::Absent;
        }
        let value = format!("{} interrupts on CPUs {}", targets.len(), unique(&targets).join(" "));
        if unique(&targets).len() > 1 { Reading::Good(value) } else { Reading::off_at(value, name) }
    })
}

fn unique<'a>(all: &[&'a str]) -> Vec<&'a str> {
    let mut unique = all.to_vec();
    unique.sort_unstable();
    unique.dedup();
    unique
}

fn is_set(mask: &str) -> bool {
    mask.chars().any(|c| c.is_ascii_hexdigit() && c != '0')
}

fn receive_masks<'a>(host: &'a Host, name: &str) -> Vec<&'a str> {
    let folder = format!("sys/class/net/{name}/queues/rx-");
    host.each(&folder, "/rps_cpus").map(|(_, mask)| mask).collect()
}

fn rps(host: &Host) -> Reading {
    each_nic(host, |name, _| {
        let masks = receive_masks(host, name);
        if masks.len() != 1 || host.cpus().len() < 2 {
            return Reading::Absent;
        }
        if is_set(masks[0]) {
            Reading::Good(masks[0].to_owned())
        } else {
            Reading::off_at("off, one queue", name)
        }
    })
}

fn rfs(host: &Host) -> Reading {
    each_nic(host, |name, _| {
        let entries = host.number("proc/sys/net/core/rps_sock_flow_entries").unwrap_or(0);
        if !receive_masks(host, name).into_iter().any(is_set) {
            return Reading::Absent;
        }
        let value = entries.to_string();
        if entries > 0 { Reading::Good(value) } else { Reading::off_at(value, name) }
    })
}

fn xps(host: &Host) -> Reading {
    each_nic(host, |name, _| {
        let folder = format!("sys/class/net/{name}/queues/tx-");
        let set: Vec<bool> = host.each(&folder, "/xps_cpus").map(|(_, mask)| is_set(mask)).collect();
        if set.len() < 2 {
            return Reading::Absent;
        }
        let value = format!("{} of {} queues", set.iter().filter(|set| **set).count(), set.len());
        if set.contains(&true) { Reading::Good(value) } else { Reading::off_at(value, name) }
    })
}

fn nic_ring(host: &Host) -> Reading {
    each_nic(host, |name, nic| {
        let Some((used, possible)) = nic.ring.filter(|(_, possible)| *possible > 0) else {
            return Reading::Absent;
        };
        let value = format!("{used} of {possible}");
        if used >= possible / 2 {
            return Reading::Good(value);
        }
        Reading::off_at(value, format!("{name} rx {}", possible / 2))
    })
}

fn offload(host: &Host, of: fn(&Nic) -> Option<bool>, wanted: bool, what: &str) -> Reading {
    each_nic(host, |name, nic| match of(nic) {
        None => Reading::Absent,
        Some(on) if on == wanted => Reading::Good(if on { "on" } else { "off" }.to_owned()),
        Some(on) => Reading::off_at(format!("{what} {}", if on { "on" } else { "off" }), name),
    })
}

fn coalescing(host: &Host) -> Reading {
    const LONGEST_MICROS: u32 = 50;
    each_nic(host, |name, nic| match nic.coalescing {
        None => Reading::Absent,
        Some((true, micros)) => Reading::Good(format!("{micros} us, adaptive")),
        Some((false, micros)) if micros <= LONGEST_MICROS => Reading::Good(format!("{micros} us")),
        Some((false, micros)) => Reading::off_at(format!("{micros} us"), name),
    })
}

fn deferred(host: &Host) -> Reading {
    each_nic(host, |name, _| {
        let read = |file: &str| host.number(&format!("sys/class/net/{name}/{file}"));
        let (Some(rounds), Some(nanos)) = (read("napi_defer_hard_irqs"), read("gro_flush_timeout")) else {
            return Reading::Absent;
        };
        let (wanted, fix): (bool, &[(&str, u32)]) = match host.facts.wanted.io.busy_poll {
            Some(_) => {
                (rounds > 0 && nanos > 0, &[("napi_defer_hard_irqs", 2), ("gro_flush_timeout", 200_000)])
            }
            None => (rounds == 0 || nanos == 0, &[("napi_defer_hard_irqs", 0), ("gro_flush_timeout", 0)]),
        };
        let value = format!("{rounds} rounds, {} us", nanos / 1000);
        if wanted {
            return Reading::Good(value);
        }
        let lines = fix.iter().map(|(file, value)| format!("echo {value} > /sys/class/net/{name}/{file}"));
        Reading::off_at(value, lines.collect::<Vec<_>>().join("; "))
    })
}
