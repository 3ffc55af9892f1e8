//! The accept path: from a client's SYN to a worker's accept.

use super::super::check::{Check, Measure, Reading, Severity, Want, leave, sysctl};
use super::super::host::Host;

pub(super) const CHECKS: &[Check] = &[
    sysctl(
        "net.core.somaxconn",
        Severity::Warning,
        Want::Judged(somaxconn),
        "16384",
        "4096",
        "listeners.backlog or more (4096 unless set)",
        "The kernel cuts each listener's backlog down to it. What overflows is dropped and sent again after a second. \
         The file leaves room: raise listeners.backlog with it.",
        "Memory only for connections that really wait.",
        Measure::Connects,
    ),
    sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        Severity::Warning,
        Want::Judged(syn_backlog),
        "16384",
        "4096",
        "16384 where syncookies are off",
        "Bounds half-open connections. With syncookies the length of the listen queue does that, so it counts only \
         without them.",
        "300 bytes for each half-open connection.",
        Measure::Connects,
    ),
    sysctl(
        "net.ipv4.tcp_syncookies",
        Severity::Warning,
        Want::OneOf(&["1", "2"]),
        "1",
        "1",
        "1",
        "When the queue of half-open connections is full, a cookie takes the place of an entry, so a flood of SYNs does \
         not lock clients out.",
        "Connections made from a cookie lose some TCP options.",
        Measure::Connects,
    ),
    sysctl(
        "net.ipv4.tcp_abort_on_overflow",
        Severity::Warning,
        Want::OneOf(&["0"]),
        "0",
        "0",
        "0",
        "With 1 a full accept queue answers RST, and a short burst becomes errors that clients see.",
        "Clients wait for a retransmission instead.",
        Measure::Connects,
    ),
    sysctl(
        "net.ipv4.tcp_migrate_req",
        Severity::Warning,
        Want::OneOf(&["1"]),
        "1",
        "0",
        "1",
        "Each worker listens with a socket of its own on the same port. When one is closed, at a drain or a restart, \
         connections in its queue move to the others instead of being reset (Linux 5.14).",
        "Nothing.",
        Measure::Shown(
            "restart the gateway during `ringway load-test` with new connections: no call may fail.",
        ),
    ),
    leave(
        "net.ipv4.tcp_fastopen",
        "Saves a round trip for new connections; gRPC connections live long, and middleboxes drop such SYNs.",
    ),
    leave(
        "net.ipv4.tcp_synack_retries",
        "How often a SYN-ACK is sent again. Lowering it cuts off slow clients.",
    ),
];

fn somaxconn(host: &Host) -> Reading {
    let Some(value) = host.sysctl("net.core.somaxconn") else { return Reading::Absent };
    let wanted = u64::from(host.facts.wanted.backlog);
    let is_good = value.parse::<u64>().is_ok_and(|value| value >= wanted);
    Reading::judge(is_good, if is_good { value.to_owned() } else { format!("{value} (backlog is {wanted})") })
}

fn syn_backlog(host: &Host) -> Reading {
    let Some(value) = host.sysctl("net.ipv4.tcp_max_syn_backlog") else { return Reading::Absent };
    let cookies = host.sysctl("net.ipv4.tcp_syncookies").is_some_and(|value| value != "0");
    Reading::judge(cookies || value.parse::<u64>().is_ok_and(|value| value >= 16_384), value)
}
