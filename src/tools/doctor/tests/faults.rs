//! Faults, each alone on a host that is good otherwise.

use super::*;
use crate::net::ethtool::Nic;

/// The finding that is expected, what its fix says, and the files that differ.
type Fault = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const STATUS: &str = "proc/self/status";
const EIGHT_CPUS: (&str, &str) = (STATUS, "Cpus_allowed_list:\t0-7\n");

const FAULTS: &[Fault] = &[
    ("kernel", "6.1", &[("proc/sys/kernel/osrelease", "5.15.0-91-generic")]),
    ("io_uring_disabled", "io_uring_group", &[("proc/sys/kernel/io_uring_disabled", "2")]),
    (
        "io_uring_disabled",
        "io_uring_group",
        &[("proc/sys/kernel/io_uring_disabled", "1"), ("proc/sys/kernel/io_uring_group", "99")],
    ),
    (
        "nofile",
        "LimitNOFILE",
        &[(
            "proc/self/limits",
            "Max open files            1024                 4096                 files\n",
        )],
    ),
    ("fs.nr_open", "1048576", &[("proc/sys/fs/nr_open", "65536")]),
    ("fs.file-max", "sysctl -w fs.file-max", &[("proc/sys/fs/file-max", "100000")]),
    ("cpu_quota", "limits.cpu", &[("sys/fs/cgroup/ringway/cpu.max", "150000 100000")]),
    ("net.core.somaxconn", "16384", &[("proc/sys/net/core/somaxconn", "128")]),
    ("net.ipv4.tcp_abort_on_overflow", "=\"0\"", &[("proc/sys/net/ipv4/tcp_abort_on_overflow", "1")]),
    ("net.ipv4.tcp_migrate_req", "=\"1\"", &[("proc/sys/net/ipv4/tcp_migrate_req", "0")]),
    ("net.ipv4.tcp_syncookies", "=\"1\"", &[("proc/sys/net/ipv4/tcp_syncookies", "0")]),
    ("net.ipv4.tcp_slow_start_after_idle", "=\"0\"", &[("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1")]),
    (
        "net.ipv4.ip_local_port_range",
        "10240 65535",
        &[("proc/sys/net/ipv4/ip_local_port_range", "50000\t60999")],
    ),
    (
        "net.ipv4.ip_local_port_range",
        "10240 65535",
        &[("proc/sys/net/ipv4/ip_local_port_range", "1024\t65535")],
    ),
    ("net.ipv4.tcp_tw_reuse", "=\"1\"", &[("proc/sys/net/ipv4/tcp_tw_reuse", "0")]),
    ("congestion_control", "fq", &[("proc/sys/net/core/default_qdisc", "pfifo_fast")]),
    ("conntrack", "dport 8080 notrack", &[("proc/sys/net/netfilter/nf_conntrack_count", "900")]),
    ("net.ipv4.tcp_moderate_rcvbuf", "=\"1\"", &[("proc/sys/net/ipv4/tcp_moderate_rcvbuf", "0")]),
    ("net.ipv4.tcp_rmem", "33554432", &[("proc/sys/net/ipv4/tcp_rmem", "4096\t87380\t1048576")]),
    ("net.ipv4.tcp_wmem", "4194304", &[("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t65536")]),
    ("tcp_memory", "tcp_mem", &[("proc/net/sockstat", "TCP: inuse 5 orphan 0 tw 0 alloc 9 mem 19000\n")]),
    ("net.ipv4.tcp_notsent_lowat", "131072", &[("proc/sys/net/ipv4/tcp_notsent_lowat", "4294967295")]),
    ("net.core.netdev_max_backlog", "16384", &[("proc/sys/net/core/netdev_max_backlog", "1000")]),
    ("irq_affinity", "irq.sh --apply eth0", &[("proc/irq/31/effective_affinity_list", "0")]),
    ("rfs", "rps.sh --apply eth0", &[("sys/class/net/eth0/queues/rx-0/rps_cpus", "3")]),
    (
        "xps",
        "xps.sh --apply eth0",
        &[("sys/class/net/eth0/queues/tx-0/xps_cpus", "0"), ("sys/class/net/eth0/queues/tx-1/xps_cpus", "0")],
    ),
    ("net.core.busy_poll", "=\"0\"", &[("proc/sys/net/core/busy_poll", "50")]),
    ("net.core.busy_read", "=\"0\"", &[("proc/sys/net/core/busy_read", "50")]),
    ("governor", "cpupower", &[("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave")]),
    (
        "energy_preference",
        "echo performance",
        &[("sys/devices/system/cpu/cpu1/cpufreq/energy_performance_preference", "balance_power")],
    ),
    ("sleep_states", "cpupower idle-set", &[("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "0")]),
    (
        "smt",
        "physical_cores",
        &[
            ("sys/devices/system/cpu/smt/active", "1"),
            ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1"),
            ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1"),
        ],
    ),
    (
        "numa",
        "numa_node:0",
        &[
            EIGHT_CPUS,
            ("sys/devices/system/node/node0/cpulist", "0-3"),
            ("sys/devices/system/node/node1/cpulist", "4-7"),
        ],
    ),
    (
        "kernel.numa_balancing",
        "=\"0\"",
        &[("sys/devices/system/node/node1/cpulist", "4-7"), ("proc/sys/kernel/numa_balancing", "1")],
    ),
    (
        "transparent_hugepages",
        "madvise",
        &[("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")],
    ),
    (
        "vm.swappiness",
        "=\"10\"",
        &[("proc/swaps", "Filename Type\n/dev/sda2 partition\n"), ("proc/sys/vm/swappiness", "60")],
    ),
    (
        "deferred_interrupts",
        "echo 0 > /sys/class/net/eth0/gro_flush_timeout",
        &[
            ("sys/class/net/eth0/napi_defer_hard_irqs", "2"),
            ("sys/class/net/eth0/gro_flush_timeout", "200000"),
        ],
    ),
    ("isolated_cpus", "AllowedCPUs", &[("sys/devices/system/cpu/isolated", "1")]),
    (
        "isolated_cpus",
        "AllowedCPUs",
        &[("sys/devices/system/cpu/isolated", "2-3"), ("sys/devices/system/cpu/online", "0-7")],
    ),
    ("preemption", "preempt=lazy", &[("sys/kernel/debug/sched/preempt", "none voluntary (full) lazy")]),
    (
        "halt_poll",
        "echo 200000",
        &[
            ("sys/devices/system/cpu/cpuidle/current_driver", "haltpoll"),
            ("sys/module/haltpoll/parameters/guest_halt_poll_ns", "0"),
        ],
    ),
    (
        "clocksource",
        "echo tsc",
        &[("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")],
    ),
];

#[test]
fn each_fault_gives_its_finding_and_no_other() {
    for (expected, fix, files) in FAULTS {
        let fake = Fake::good("fault");
        for (path, text) in *files {
            fake.put(path, text);
        }
        let found = examine(&fake.look());
        let found: Vec<_> = found.iter().filter(|found| found.is_finding()).collect();
        let names: Vec<&str> = found.iter().map(|found| found.check.id).collect();
        assert_eq!(names, [*expected], "{files:?}");
        let Reading::Off { place, .. } = &found[0].reading else { unreachable!("only findings are left") };
        let told = found[0].check.fix(place);
        assert!(told.contains(fix), "{expected}: {told:?} does not say {fix:?}");
    }
}

#[test]
fn faults_that_hide_or_bring_others_are_told_together() {
    type Pair = (&'static [&'static str], &'static [(&'static str, &'static str)]);
    let pairs: &[Pair] = &[
        (
            &["net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies"],
            &[("proc/sys/net/ipv4/tcp_max_syn_backlog", "2048"), ("proc/sys/net/ipv4/tcp_syncookies", "0")],
        ),
        (
            &["kernel", "memlock"],
            &[
                ("proc/sys/kernel/osrelease", "5.10.0"),
                (
                    "proc/self/limits",
                    "Max locked memory         65536                65536                bytes\n",
                ),
            ],
        ),
        (&["conntrack_room", "conntrack"], &[("proc/sys/net/netfilter/nf_conntrack_count", "65000")]),
    ];
    for (expected, files) in pairs {
        let fake = Fake::good("pair");
        for (path, text) in *files {
            fake.put(path, text);
        }
        assert_eq!(&findings(&fake.look()), expected);
    }
}

#[test]
fn what_looks_like_a_fault_and_is_none_is_let_pass() {
    let harmless: &[&[(&str, &str)]] = &[
        // Syncookies take over where the queue is short.
        &[("proc/sys/net/ipv4/tcp_max_syn_backlog", "128")],
        // Nothing can be swapped.
        &[("proc/sys/vm/swappiness", "60")],
        // A listener's port is reserved.
        &[
            ("proc/sys/net/ipv4/ip_local_port_range", "1024 65535"),
            ("proc/sys/net/ipv4/ip_local_reserved_ports", "8080,9900-9910"),
        ],
        // The group is ours, or we may do anything.
        &[("proc/sys/kernel/io_uring_disabled", "1"), ("proc/sys/kernel/io_uring_group", "8")],
        &[
            ("proc/sys/kernel/io_uring_disabled", "1"),
            (STATUS, "CapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-1\n"),
        ],
        // Whole CPUs.
        &[("sys/fs/cgroup/ringway/cpu.max", "200000 100000")],
        // A filter that lets io_uring pass.
        &[(STATUS, "Seccomp:\t2\nCpus_allowed_list:\t0-1\n")],
        // A single memory node.
        &[("proc/sys/kernel/numa_balancing", "1")],
        // A hypervisor's clock.
        &[("sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock")],
        // An interface that stands on no node.
        &[
            ("sys/class/net/eth0/device/numa_node", "-1"),
            ("sys/devices/system/node/node1/cpulist", "4-7"),
            EIGHT_CPUS,
        ],
        // CPUs that are ours.
        &[("sys/devices/system/cpu/isolated", "1-7"), ("sys/devices/system/cpu/online", "0-7")],
        &[("sys/kernel/debug/sched/preempt", "none voluntary full (lazy)")],
        // The processor's own driver.
        &[
            ("sys/devices/system/cpu/cpuidle/current_driver", "intel_idle"),
            ("sys/module/haltpoll/parameters/guest_halt_poll_ns", "0"),
        ],
        // Only one of the two holds nothing back.
        &[("sys/class/net/eth0/napi_defer_hard_irqs", "2"), ("sys/class/net/eth0/gro_flush_timeout", "0")],
        // No time was squeezed.
        &[("proc/sys/net/core/netdev_budget", "300")],
    ];
    for files in harmless {
        let fake = Fake::good("harmless");
        for (path, text) in *files {
            fake.put(path, text);
        }
        assert_eq!(findings(&fake.look()), [""; 0], "{files:?}");
    }
}

#[test]
fn an_interface_with_one_queue_wants_rps() {
    let fake = Fake::good("one-queue");
    fs::remove_dir_all(fake.0.join("sys/class/net/eth0/queues/rx-1")).unwrap();
    assert_eq!(findings(&fake.look()), ["rps"]);
}

#[test]
fn what_drivers_say_is_judged() {
    let fake = Fake::good("drivers");
    let good = Nic {
        queues: Some((2, 8)),
        ring: Some((1024, 2048)),
        coalescing: Some((true, 8)),
        gro: Some(true),
        lro: Some(false),
        segmentation: Some(true),
    };
    for (expected, fix, nic) in [
        (None, "", good),
        (Some("nic_queues"), "ethtool -L eth0 combined 2", Nic { queues: Some((1, 8)), ..good }),
        (None, "", Nic { queues: Some((1, 1)), ..good }),
        (Some("nic_ring"), "ethtool -G eth0 rx 1024", Nic { ring: Some((256, 2048)), ..good }),
        (Some("gro"), "ethtool -K eth0 gro on", Nic { gro: Some(false), ..good }),
        (Some("lro"), "ethtool -K eth0 lro off", Nic { lro: Some(true), ..good }),
        (Some("segmentation"), "ethtool -K eth0 tso on gso on", Nic { segmentation: Some(false), ..good }),
        (
            Some("coalescing"),
            "ethtool -C eth0 adaptive-rx on",
            Nic { coalescing: Some((false, 250)), ..good },
        ),
        (None, "", Nic { coalescing: Some((false, 20)), ..good }),
    ] {
        let mut host = fake.look();
        host.facts.nics.insert("eth0".to_owned(), nic);
        let found = examine(&host);
        let found: Vec<_> = found.iter().filter(|found| found.is_finding()).collect();
        assert_eq!(found.iter().map(|found| found.check.id).collect::<Vec<_>>(), Vec::from_iter(expected));
        if let [found] = found[..]
            && let Reading::Off { place, .. } = &found.reading
        {
            assert_eq!(found.check.fix(place), fix);
        }
    }
}

#[test]
fn a_latency_that_somebody_asked_for_keeps_cpus_awake() {
    let fake = Fake::good("awake");
    fake.put("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "0");
    let mut host = fake.look();
    host.facts.latency_limit = Some(0);
    assert_eq!(findings(&host), [""; 0]);
    host.facts.latency_limit = Some(2_000_000_000);
    assert_eq!(findings(&host), ["sleep_states"]);
}

const NETSTAT: &str =
    "TcpExt: ListenOverflows ListenDrops TCPBacklogDrop TCPRcvQDrop PruneCalled\nTcpExt: 5 5 0 0 0\n";
const SNMP: &str = "Tcp: OutSegs RetransSegs\nTcp: 1000 10\n";
const SOFTNET: &str = "00000005 00000000 00000003\n00000005 00000001 00000000\n";
const WORKER: &str = "Cpus_allowed_list:\t1\nnonvoluntary_ctxt_switches:\t5\n";
const THREAD: &str = "proc/77/task/78";

/// A host whose counters stood like this at the first reading, and so at the second.
fn watched(name: &str, changes: &[(&str, &str)]) -> Host {
    let fake = Fake::good(name);
    let thread = |file: &str| format!("{THREAD}/{file}");
    for (path, text) in [
        ("proc/net/netstat".to_owned(), NETSTAT),
        ("proc/net/snmp".to_owned(), SNMP),
        ("proc/net/softnet_stat".to_owned(), SOFTNET),
        ("proc/pressure/cpu".to_owned(), "some avg10=1.00 avg60=0.00 total=1\n"),
        ("sys/fs/cgroup/ringway/cpu.stat".to_owned(), "usage_usec 5\nnr_throttled 7\n"),
        ("proc/77/comm".to_owned(), "ringway\n"),
        (thread("comm"), "worker-0\n"),
        (thread("status"), WORKER),
        (thread("schedstat"), "100 200 3\n"),
    ] {
        fake.put(&path, text);
    }
    let mut host = fake.look();
    host.read_counters(&fake.0);
    for (path, text) in changes {
        fake.put(path, text);
    }
    host.read_counters(&fake.0);
    host
}

#[test]
fn counters_that_stand_still_are_no_finding() {
    let host = watched("still", &[]);
    assert_eq!(findings(&host), [""; 0]);
    let told = examine(&host);
    let listen = told.iter().find(|found| found.check.id == "listen_overflows").unwrap();
    assert_eq!(listen.reading, Reading::Good("0 connections, 10 since boot".to_owned()));
}

#[test]
fn each_counter_that_grows_gives_its_finding() {
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["softnet_drops"],
            "proc/net/softnet_stat",
            "00000009 00000000 00000003\n0000000f 0000000a 00000000\n",
        ),
        (&["listen_overflows"], "proc/net/netstat", "TcpExt: ListenOverflows ListenDrops\nTcpExt: 6 6\n"),
        (
            &["socket_drops"],
            "proc/net/netstat",
            "TcpExt: ListenOverflows ListenDrops TCPRcvQDrop\nTcpExt: 5 5 1\n",
        ),
        (&["retransmissions"], "proc/net/snmp", "Tcp: OutSegs RetransSegs\nTcp: 1500 110\n"),
        (&["throttled"], "sys/fs/cgroup/ringway/cpu.stat", "nr_throttled 8\n"),
        (&["cpu_pressure"], "proc/pressure/cpu", "some avg10=35.10 avg60=0.00 total=1\n"),
        (
            &["workers_pinned"],
            "proc/77/task/78/status",
            "Cpus_allowed_list:\t0-1\nnonvoluntary_ctxt_switches:\t5\n",
        ),
        (
            &["workers_preempted"],
            "proc/77/task/78/status",
            "Cpus_allowed_list:\t1\nnonvoluntary_ctxt_switches:\t500\n",
        ),
        (&["workers_waiting"], "proc/77/task/78/schedstat", "100 90000000 3\n"),
        (
            &["softnet_squeeze"],
            "proc/net/softnet_stat",
            "00000009 00000000 00000004\n00000009 00000001 00000000\n",
        ),
    ];
    for (expected, path, text) in cases {
        assert_eq!(&findings(&watched("grown", &[(path, text)])), expected, "{path}");
    }
}

#[test]
fn a_squeezed_host_with_a_small_budget_is_told_of_it() {
    let squeezed = ("proc/net/softnet_stat", "00000009 00000000 00000004\n00000009 00000001 00000000\n");
    let mut host = watched("squeezed", &[squeezed]);
    assert_eq!(findings(&host), ["softnet_squeeze"]);
    for (key, small) in [("netdev_budget", "300"), ("netdev_budget_usecs", "2000")] {
        let fake = Fake::good("budget");
        fake.put(&format!("proc/sys/net/core/{key}"), small);
        fake.put("proc/net/netstat", NETSTAT);
        fake.put("proc/net/softnet_stat", SOFTNET);
        host = fake.look();
        host.read_counters(&fake.0);
        fake.put(squeezed.0, squeezed.1);
        host.read_counters(&fake.0);
        assert_eq!(findings(&host), [&format!("net.core.{key}"), "softnet_squeeze"]);
    }
}

#[test]
fn a_ring_that_has_overflowed_is_told_of() {
    let fake = Fake::good("overflow");
    for (path, text) in [
        ("proc/net/netstat", NETSTAT),
        ("proc/77/comm", "ringway\n"),
        ("proc/77/fdinfo/5", "SqTail:\t9\nCqOverflowList:\n"),
        ("proc/77/fdinfo/6", "SqTail:\t9\nCqOverflowList:\n"),
        ("proc/77/fdinfo/7", "pos:\t0\n"),
    ] {
        fake.put(path, text);
    }
    fs::create_dir_all(fake.0.join("proc/77/fd")).unwrap();
    for (descriptor, what) in [("5", "anon_inode:[io_uring]"), ("6", "anon_inode:[io_uring]"), ("7", "/x")] {
        std::os::unix::fs::symlink(what, fake.0.join("proc/77/fd").join(descriptor)).unwrap();
    }
    let read = || {
        let mut host = fake.look();
        host.read_counters(&fake.0);
        host.read_counters(&fake.0);
        host
    };
    assert_eq!(findings(&read()), [""; 0]);
    fake.put("proc/77/fdinfo/6", "SqTail:\t9\nCqOverflowList:\n  user_data=7, res=1, flags=0\n");
    let found = examine(&read());
    let overflow = found.iter().find(|found| found.check.id == "ring_overflows").unwrap();
    assert_eq!(overflow.reading, Reading::off("1 of 2 rings"));
}

#[test]
fn a_gateway_that_polls_wants_interrupts_to_be_deferred() {
    let fake = Fake::good("polls");
    let mut host = fake.look();
    host.facts.wanted.io.busy_poll = Some(Duration::from_micros(50));
    assert_eq!(findings(&host), [""; 0], "the host does not tell");
    fake.put("sys/class/net/eth0/napi_defer_hard_irqs", "0");
    fake.put("sys/class/net/eth0/gro_flush_timeout", "0");
    let mut host = fake.look();
    assert_eq!(findings(&host), [""; 0]);
    host.facts.wanted.io.busy_poll = Some(Duration::from_micros(50));
    assert_eq!(findings(&host), ["deferred_interrupts"]);
}

#[test]
fn a_gateways_page_is_judged() {
    let fake = Fake::good("page");
    let good = "ringway_io_backend{backend=\"io_uring\"} 1\nringway_panics_total{worker=\"0\"} 0\n\
                ringway_accept_errors_total{worker=\"0\"} 0\nprocess_open_fds 10\nprocess_max_fds 100\n";
    for (expected, line) in [
        (None, ""),
        (Some("gateway_backend"), "ringway_io_backend{backend=\"epoll\",reason=\"seccomp\"} 1\n"),
        (Some("gateway_panics"), "ringway_panics_total{worker=\"1\"} 2\n"),
        (Some("gateway_refusals"), "ringway_connections_refused_total{worker=\"1\"} 2\n"),
        (Some("gateway_files"), "process_open_fds 90\n"),
        (None, "ringway_connections_accepted_total 90\nringway_connections_local_total 0\n"),
        (None, "ringway_connections_accepted_total 900\nringway_connections_local_total 450\n"),
        (
            Some("gateway_local"),
            "ringway_connections_accepted_total 900\nringway_connections_local_total 400\n",
        ),
    ] {
        let mut host = fake.look();
        host.facts.nics.insert("eth0".to_owned(), Nic { queues: Some((2, 2)), ..Nic::default() });
        host.facts.page = Some(format!("{line}{good}"));
        assert_eq!(findings(&host), Vec::from_iter(expected), "{line}");
    }
}
