//! The table of checks, by group. Each file has its rows first and how they are read below.

mod accept;
mod buffers;
mod cpu;
mod live;
mod packets;
mod ports;
mod ring;

use super::check::{Check, Group};

/// All there is to check, in the order of the report.
pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "io_uring and limits",
        about: "Without these the gateway runs on epoll, runs out of descriptors, or is stopped in mid-call.",
        checks: ring::CHECKS,
    },
    Group {
        name: "Accepting connections",
        about: "Queues between a client's SYN and the worker that accepts it.",
        checks: accept::CHECKS,
    },
    Group {
        name: "Connections and ports",
        about: "Long-lived connections to upstreams, and what else touches them.",
        checks: ports::CHECKS,
    },
    Group {
        name: "Socket buffers",
        about: "The kernel sizes buffers by itself; these are the bounds within which it does.",
        checks: buffers::CHECKS,
    },
    Group {
        name: "Packets and network interfaces",
        about: "How packets get from the interface to the CPU of the worker that wants them.",
        checks: packets::CHECKS,
    },
    Group {
        name: "CPU and memory",
        about: "Other work of the workers' cores, and how long they take to wake up.",
        checks: cpu::CHECKS,
    },
    Group {
        name: "While it runs",
        about: "Read twice by `ringway doctor --live`; only what grew in between counts.",
        checks: live::CHECKS,
    },
];

/// All rows.
pub(super) fn checks() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().flat_map(|group| group.checks)
}
