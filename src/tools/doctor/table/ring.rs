//! Requirements of io_uring and the workers.

use super::super::check::{Check, Measure, Reading, Severity, Test, Want, sysctl, tell};
use super::super::host::Host;
use crate::net::ring::IoBackend;

const BACKEND: Measure =
    Measure::Shown("`ringway_io_backend` on `/metrics`; `ringway load-test` on both back-ends.");
const NONE: &str = "Nothing.";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "kernel",
        severity: Severity::Warning,
        test: Test::Read(kernel),
        target: "6.1 or newer",
        why: "From 6.1 completions run only when the worker asks for them (DEFER_TASKRUN); below, all workers use epoll.",
        cost: "A new kernel.",
        measure: Measure::Cpu,
        fix: "boot a kernel of 6.1 or newer",
        undo: "Boot the old kernel.",
    },
    Check {
        id: "io_uring_disabled",
        severity: Severity::Error,
        test: Test::Read(disabled),
        target: "0, or 1 with io_uring_group one of ours",
        why: "With 2, and with 1 outside of the group, the kernel refuses every ring: the gateway runs on epoll.",
        cost: "io_uring widens what a taken-over process can reach in the kernel. 1 with a group of the gateway's own \
               keeps it to the gateway.",
        measure: BACKEND,
        fix: "sysctl -w kernel.io_uring_disabled=0; or: groupadd --system io_uring, sysctl -w \
              kernel.io_uring_group=$(getent group io_uring | cut -d: -f3) kernel.io_uring_disabled=1, and \
              SupplementaryGroups=io_uring in the unit",
        undo: "`sysctl -w kernel.io_uring_disabled=2`; the gateway falls back to epoll at its next start.",
    },
    Check {
        id: "io_uring_setup",
        severity: Severity::Error,
        test: Test::Read(setup),
        target: "a ring can be made",
        why: "The real ring was tried here, with the configuration's size.",
        cost: NONE,
        measure: BACKEND,
        fix: "see io_uring_disabled, seccomp and memlock; in a container, start it with \
              --security-opt seccomp=tuning/seccomp.json",
        undo: "Start the container without the profile.",
    },
    Check {
        id: "io_uring_flags",
        severity: Severity::Warning,
        test: Test::Read(flags),
        target: "SINGLE_ISSUER|DEFER_TASKRUN",
        why: "A weaker ring interrupts the worker, or wakes it too often.",
        cost: NONE,
        measure: Measure::Cpu,
        fix: "boot a kernel of 6.1 or newer",
        undo: "Boot the old kernel.",
    },
    Check {
        id: "seccomp",
        severity: Severity::Error,
        test: Test::Read(seccomp),
        target: "no filter, or one that allows io_uring",
        why: "The default profiles of Docker and containerd forbid io_uring_setup, io_uring_enter and \
              io_uring_register.",
        cost: "The container can make rings. A filter cannot see what is submitted on one.",
        measure: BACKEND,
        fix: "docker run --security-opt seccomp=tuning/seccomp.json; Kubernetes: seccompProfile of type Localhost",
        undo: "Leave the option out; the gateway falls back to epoll.",
    },
    Check {
        id: "memlock",
        severity: Severity::Warning,
        test: Test::Read(memlock),
        target: "64 MiB, on kernels below 5.12",
        why: "Old kernels count a ring's memory as locked; the ring then fails with ENOMEM.",
        cost: "The process may lock that much memory.",
        measure: BACKEND,
        fix: "LimitMEMLOCK=64M in the unit, or ulimit -l 65536",
        undo: "Remove the line.",
    },
    Check {
        id: "nofile",
        severity: Severity::Warning,
        test: Test::Read(nofile),
        target: "two for each connection the workers may hold and 1024 more; 524288 is enough",
        why: "Each call in flight may need a connection to a client and one to an upstream. The gateway raises the soft \
              limit to the hard one at start; at the hard one it refuses connections.",
        cost: NONE,
        measure: Measure::Shown("`process_max_fds` and `process_open_fds` on `/metrics`."),
        fix: "LimitNOFILE=1048576 in the unit (tuning/ringway.service.d/limits.conf), or lower listeners.max_connections",
        undo: "Remove the line.",
    },
    sysctl(
        "fs.nr_open",
        Severity::Warning,
        Want::AtLeast(1_048_576),
        "1048576",
        "1048576",
        "1048576 or more",
        "No hard limit on open files can be above it.",
        NONE,
        Measure::Shown("`process_max_fds` on `/metrics`."),
    ),
    sysctl(
        "fs.file-max",
        Severity::Warning,
        Want::AtLeast(1_048_576),
        "9223372036854775807",
        "9223372036854775807",
        "1048576 or more",
        "Open files of the whole host; above it accepts fail with ENFILE.",
        NONE,
        Measure::Shown("`ringway_accept_errors_total` on `/metrics`; `/proc/sys/fs/file-nr`."),
    ),
    Check {
        id: "cpu_quota",
        severity: Severity::Warning,
        test: Test::Read(quota),
        target: "none, or a whole number of CPUs",
        why: "A worker that has used up its cgroup's quota is stopped until the period is over, in the middle of its \
              calls. `workers = \"auto\"` rounds the quota up.",
        cost: "Whole CPUs are reserved.",
        measure: Measure::Tail,
        fix: "Kubernetes: the same whole number in requests.cpu and limits.cpu, or no limit; systemd: CPUQuota= empty, \
              AllowedCPUs= instead",
        undo: "Put the quota back.",
    },
    Check {
        id: "worker_cpus",
        severity: Severity::Warning,
        test: Test::Read(worker_cpus),
        target: "not more workers than CPUs",
        why: "Two workers on one CPU take turns; each call then waits for the other worker's.",
        cost: NONE,
        measure: Measure::Tail,
        fix: "workers = \"auto\" in the configuration",
        undo: "Set the number again.",
    },
    tell(
        "cpus",
        |host| Some(format!("{} of this process", host.cpus().len())),
        "CPUs that affinity and cpuset leave us.",
    ),
    tell(
        "iowait",
        |host| (host.kernel()? < (6, 15)).then(|| "waits on a ring are shown as iowait".to_owned()),
        "Before 6.15 an idle gateway on io_uring may look like 100 % iowait. It is idle.",
    ),
];

fn kernel(host: &Host) -> Reading {
    match (host.kernel(), host.text("proc/sys/kernel/osrelease")) {
        (Some(version), Some(text)) => Reading::judge(version >= (6, 1), text),
        _ => Reading::Absent,
    }
}

fn disabled(host: &Host) -> Reading {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let Some(value) = host.number("proc/sys/kernel/io_uring_disabled") else { return Reading::Absent };
    let group = host.text("proc/sys/kernel/io_uring_group").unwrap_or("-1");
    let ours =
        |name| host.status(name).is_some_and(|groups| groups.split_ascii_whitespace().any(|id| id == group));
    let capable = host.status("CapEff").and_then(|caps| u64::from_str_radix(caps, 16).ok()).unwrap_or(0);
    match value {
        0 => Reading::Good("0".to_owned()),
        1 if capable & CAP_SYS_ADMIN != 0 => Reading::Good("1, and we have CAP_SYS_ADMIN".to_owned()),
        1 if ours("Groups") || ours("Gid") => Reading::Good(format!("1, and group {group} is ours")),
        1 => Reading::off(format!("1, and group {group} is not ours")),
        other => Reading::off(other.to_string()),
    }
}

fn setup(host: &Host) -> Reading {
    match &host.facts.ring {
        None => Reading::Absent,
        Some(Ok(_)) => Reading::Good("works".to_owned()),
        Some(Err(refusal)) => Reading::off(refusal.reason.clone()),
    }
}

fn flags(host: &Host) -> Reading {
    match host.facts.ring {
        Some(Ok(backend)) => Reading::judge(backend <= IoBackend::DeferTaskrun, backend.flags()),
        _ => Reading::Absent,
    }
}

fn seccomp(host: &Host) -> Reading {
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    let refused = matches!(&host.facts.ring, Some(Err(refusal)) if matches!(refusal.errno, EPERM | ENOSYS));
    match host.status("Seccomp") {
        None => Reading::Absent,
        Some("0") => Reading::Good("no filter".to_owned()),
        Some(_) if refused && disabled(host) != Reading::off("2") => {
            Reading::off("a filter refuses io_uring_setup")
        }
        Some(_) => Reading::Good("a filter".to_owned()),
    }
}

fn memlock(host: &Host) -> Reading {
    let (Some((_, hard)), Some(kernel)) = (host.limit("Max locked memory"), host.kernel()) else {
        return Reading::Absent;
    };
    Reading::judge(kernel >= (5, 12) || hard >= 64 << 20, count(hard))
}

fn nofile(host: &Host) -> Reading {
    // systemd's limit for a unit that sets none. An operator that needs more has measured it.
    const MOST: u64 = 1 << 19;
    let Some((_, hard)) = host.limit("Max open files") else { return Reading::Absent };
    let wanted = (2 * host.facts.wanted.connections * host.workers() as u64 + 1024).min(MOST);
    Reading::judge(hard >= wanted, format!("{} (wanted {wanted})", count(hard)))
}

fn count(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

fn quota(host: &Host) -> Reading {
    match host.facts.quota {
        None => Reading::Good("none".to_owned()),
        Some(cpus) => {
            Reading::judge(cpus >= 1.0 && (cpus - cpus.round()).abs() < 0.01, format!("{cpus:.2} CPUs"))
        }
    }
}

fn worker_cpus(host: &Host) -> Reading {
    let (workers, cpus) = (host.workers(), host.cpus().len());
    if cpus == 0 {
        Reading::Absent
    } else {
        Reading::judge(workers <= cpus, format!("{workers} workers, {cpus} CPUs"))
    }
}
