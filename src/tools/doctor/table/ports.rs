//! Connections to upstreams, local ports, and what tracks them.

use super::super::check::{Check, Measure, Reading, Severity, Test, Want, leave, sysctl};
use super::super::host::Host;

pub(super) const CHECKS: &[Check] = &[
    sysctl(
        "net.ipv4.tcp_slow_start_after_idle",
        Severity::Warning,
        Want::OneOf(&["0"]),
        "0",
        "1",
        "0",
        "With 1 a pooled connection that was idle for one retransmission timeout begins again with a small congestion \
         window, so the first large call after a pause needs several round trips more.",
        "A burst after a pause may meet a network that has filled up meanwhile.",
        Measure::Bulk,
    ),
    sysctl(
        "net.ipv4.ip_local_port_range",
        Severity::Note,
        Want::Judged(port_range),
        "10240 65535",
        "32768 60999",
        "at least 28000 ports, none of them listened on",
        "Ports for connections to upstreams. A pool needs few; load generators and HTTP/1 clients on the same host need \
         many. A listener's port within the range may be taken when the gateway starts.",
        "A wider range meets more services' fixed ports: list those in net.ipv4.ip_local_reserved_ports.",
        Measure::Shown("`ss -s`; `ringway_upstream_connect_failures_total` on `/metrics`."),
    ),
    sysctl(
        "net.ipv4.tcp_tw_reuse",
        Severity::Note,
        Want::OneOf(&["1", "2"]),
        "1",
        "2",
        "1, or 2 for loopback only",
        "A new outgoing connection may take the port of one that ended a second ago. Safe with TCP timestamps.",
        "Nothing that was measured.",
        Measure::Shown("`ss -s` shows timewait sockets; connects that fail with EADDRNOTAVAIL."),
    ),
    Check {
        id: "congestion_control",
        severity: Severity::Note,
        test: Test::Read(congestion_control),
        target: "bbr only with net.core.default_qdisc = fq",
        why: "bbr spreads a connection's packets over time. Without the fq qdisc TCP does that with a timer for each \
              connection, which costs CPU; on loopback and within a rack it adds latency to small calls. Towards clients \
              far away it is worth it.",
        cost: "cubic fills queues on lossy, long paths.",
        measure: Measure::Tail,
        fix: "sysctl -w net.core.default_qdisc=fq, then restart the interface; or \
              sysctl -w net.ipv4.tcp_congestion_control=cubic",
        undo: "Set the old value again; both hold for new connections only.",
    },
    Check {
        id: "conntrack_room",
        severity: Severity::Error,
        test: Test::Read(conntrack_room),
        target: "at most 80 % used",
        why: "When the table is full, packets of new connections are dropped.",
        cost: "About 300 bytes for each entry.",
        measure: Measure::Connects,
        fix: "sysctl -w net.netfilter.nf_conntrack_max=1048576, or see conntrack",
        undo: "Set the old value again.",
    },
    Check {
        id: "conntrack",
        severity: Severity::Note,
        test: Test::Read(conntrack),
        target: "not loaded, or no tracking of the gateway's ports",
        why: "Each packet of each connection is looked up in a table that all CPUs share.",
        cost: "Rules that need the state of a connection do not see the gateway's.",
        measure: Measure::Cpu,
        fix: "nft add table inet ringway; nft 'add chain inet ringway pre { type filter hook prerouting priority raw; }'; \
              nft add rule inet ringway pre tcp dport {} notrack",
        undo: "`nft delete table inet ringway`",
    },
    leave(
        "net.ipv4.tcp_fin_timeout",
        "Bounds FIN-WAIT-2 of orphaned sockets, not TIME-WAIT as is often said.",
    ),
    leave(
        "net.ipv4.tcp_max_tw_buckets",
        "Above it TIME-WAIT ends early, which can corrupt a new connection.",
    ),
    leave("net.ipv4.tcp_timestamps", "tcp_tw_reuse and round-trip times need them."),
    leave(
        "net.ipv4.tcp_keepalive_time",
        "Ringway sets keepalive for each of its sockets: 30 s, then three probes 10 s apart.",
    ),
];

fn port_range(host: &Host) -> Reading {
    let Some(text) = host.sysctl("net.ipv4.ip_local_port_range") else { return Reading::Absent };
    let mut ends = text.split_ascii_whitespace().filter_map(|word| word.parse::<u16>().ok());
    let (Some(first), Some(last)) = (ends.next(), ends.next()) else { return Reading::Absent };
    let reserved =
        host.sysctl("net.ipv4.ip_local_reserved_ports").map(crate::supervisor::placement::cpu_list);
    let reserved = reserved.unwrap_or_default();
    let clash = host
        .facts
        .wanted
        .ports
        .iter()
        .find(|port| (first..=last).contains(port) && !reserved.contains(&usize::from(**port)));
    match clash {
        Some(port) => Reading::off(format!("{first} {last}, and {port} is listened on")),
        None => Reading::judge(last.saturating_sub(first) >= 28_000, format!("{first} {last}")),
    }
}

fn congestion_control(host: &Host) -> Reading {
    let Some(control) = host.sysctl("net.ipv4.tcp_congestion_control") else { return Reading::Absent };
    let qdisc = host.sysctl("net.core.default_qdisc").unwrap_or("unknown");
    Reading::judge(control != "bbr" || qdisc == "fq", format!("{control}, qdisc {qdisc}"))
}

fn conntrack_counts(host: &Host) -> Option<(u64, u64)> {
    let folder = "proc/sys/net/netfilter";
    Some((
        host.number(&format!("{folder}/nf_conntrack_count"))?,
        host.number(&format!("{folder}/nf_conntrack_max"))?,
    ))
}

fn conntrack_room(host: &Host) -> Reading {
    match conntrack_counts(host) {
        None => Reading::Absent,
        Some((count, max)) => Reading::judge(count * 10 <= max * 8, format!("{count} of {max}")),
    }
}

fn conntrack(host: &Host) -> Reading {
    match conntrack_counts(host) {
        // The module is there and tracks nothing: no rule asks for it.
        None | Some((0, _)) => Reading::Absent,
        Some((count, _)) => {
            let ports = host.facts.wanted.ports.first().map_or(String::new(), ToString::to_string);
            Reading::off_at(format!("{count} connections tracked"), ports)
        }
    }
}
