//! Socket buffers. Ringway sets none itself, so that the kernel sizes them.

use super::super::check::{Check, Measure, Reading, Severity, Test, Want, leave, sysctl};
use super::super::host::{Host, field};

pub(super) const CHECKS: &[Check] = &[
    sysctl(
        "net.ipv4.tcp_moderate_rcvbuf",
        Severity::Warning,
        Want::OneOf(&["1"]),
        "1",
        "1",
        "1",
        "Lets a receive buffer grow with what a connection needs.",
        "Memory for fast connections.",
        Measure::Bulk,
    ),
    sysctl(
        "net.ipv4.tcp_rmem",
        Severity::Warning,
        Want::LastAtLeast(4 << 20),
        "4096 131072 33554432",
        "4096 131072 33554432",
        "a maximum of 4 MiB or more",
        "The last number bounds what one connection may have in flight towards us: bandwidth times round trip.",
        "One connection may hold that much memory.",
        Measure::Bulk,
    ),
    sysctl(
        "net.ipv4.tcp_wmem",
        Severity::Warning,
        Want::LastAtLeast(4 << 20),
        "4096 16384 4194304",
        "4096 16384 4194304",
        "a maximum of 4 MiB or more",
        "The last number bounds what one connection may have in flight from us.",
        "One connection may hold that much memory.",
        Measure::Bulk,
    ),
    Check {
        id: "tcp_memory",
        severity: Severity::Error,
        test: Test::Read(tcp_memory),
        target: "below 80 % of the second number of net.ipv4.tcp_mem",
        why: "Above it the kernel shrinks the windows of all connections of the host.",
        cost: "Memory.",
        measure: Measure::Shown("`/proc/net/sockstat`, in pages."),
        fix: "find who holds it with ss -tm; raise net.ipv4.tcp_mem; lower listeners.max_connections",
        undo: "Set the old values again.",
    },
    sysctl(
        "net.ipv4.tcp_notsent_lowat",
        Severity::Note,
        Want::AtMost(131_072),
        "131072",
        "4294967295",
        "131072 or less",
        "Bytes of a connection that wait in the kernel and are not sent yet. Few of them, and a small answer is not \
         stuck behind a large one, and a cancelled one is not sent at all.",
        "More wake-ups for large messages.",
        Measure::Tail,
    ),
    leave("net.core.rmem_max", "Bounds SO_RCVBUF, which Ringway does not set; tcp_rmem is what counts."),
    leave("net.core.wmem_max", "Bounds SO_SNDBUF, which Ringway does not set; tcp_wmem is what counts."),
    leave("net.ipv4.tcp_limit_output_bytes", "Bytes that one connection may have queued at the interface."),
    leave("net.ipv4.tcp_autocorking", "Ringway gathers a turn's bytes into one send itself."),
];

fn tcp_memory(host: &Host) -> Reading {
    let used = || {
        let line = field(host.text("proc/net/sockstat")?, "TCP")?;
        let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "mem");
        words.nth(1)?.parse::<u64>().ok()
    };
    let pressure = || host.sysctl("net.ipv4.tcp_mem")?.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    match (used(), pressure()) {
        (Some(used), Some(pressure)) => {
            Reading::judge(used * 10 <= pressure * 8, format!("{used} of {pressure} pages"))
        }
        _ => Reading::Absent,
    }
}
