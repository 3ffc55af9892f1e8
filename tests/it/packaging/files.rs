//! The files in `tuning/` work: the unit, the profile, the container file, the scripts.

use crate::support::tools::tool;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn in_tuning(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(in_tuning(path)).expect("a file of tuning/")
}

/// System calls that `strace -f` saw on both back-ends, from the gateway's start to the end of a drain. Those of
/// following a configuration file are added.
const SYSCALLS: &str = "access accept4 arch_prctl bind brk close connect epoll_create1 epoll_ctl epoll_wait eventfd2 \
    execve exit exit_group fcntl fstat futex getdents64 getrandom getsockname getsockopt gettid inotify_add_watch \
    inotify_init1 io_uring_enter io_uring_register io_uring_setup ioctl listen lseek madvise mmap mprotect munmap \
    newfstatat open openat poll prctl pread64 prlimit64 read readlink recvfrom rseq rt_sigaction rt_sigprocmask \
    rt_sigreturn sched_getaffinity sched_setaffinity sendto set_robust_list set_tid_address setsockopt shutdown \
    sigaltstack socket socketpair statx sysinfo timerfd_create timerfd_settime uname write writev";

#[test]
fn the_seccomp_profile_allows_what_the_gateway_calls_and_no_more_than_it_should() {
    let profile: serde_json::Value = serde_json::from_str(&text("seccomp.json")).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().unwrap();
    let freely = |rule: &&serde_json::Value| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null();
    let allowed: Vec<&str> = rules
        .iter()
        .filter(freely)
        .flat_map(|rule| rule["names"].as_array().unwrap())
        .map(|name| name.as_str().unwrap())
        .collect();
    for call in SYSCALLS.split_ascii_whitespace() {
        assert!(allowed.contains(&call), "{call} is not allowed");
    }
    let never = [
        "bpf",
        "clone",
        "clone3",
        "kexec_load",
        "keyctl",
        "mount",
        "perf_event_open",
        "ptrace",
        "reboot",
        "setns",
        "unshare",
    ];
    for call in never {
        assert!(!allowed.contains(&call), "{call} is allowed");
    }
    let mut once = allowed.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), allowed.len(), "a call is listed twice");
}

#[test]
fn the_unit_is_hardened_and_leaves_io_uring_and_pinning_alone() {
    let unit = text("ringway.service");
    let filters: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    assert_eq!(filters, ["@system-service", "~@privileged"]);
    for line in ["DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="] {
        assert!(unit.lines().any(|each| each == line), "{line}");
    }
    let default_drain = 30;
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s')).unwrap();
    assert!(stop.parse::<u32>().unwrap() > default_drain, "systemd would cut a drain");
    let Some(mut analyze) = tool("systemd-analyze") else { return };
    analyze.args(["security", "--offline=true", "--threshold=30"]).arg(in_tuning("ringway.service"));
    let output = analyze.output().expect("it is installed");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "more exposed than 3.0:\n{told}");
}

#[test]
fn the_limits_are_what_the_doctor_asks_for() {
    let limits = text("ringway.service.d/limits.conf");
    assert!(limits.lines().any(|line| line == "LimitNOFILE=1048576"));
    assert!(limits.lines().any(|line| line == "LimitMEMLOCK=64M"));
}

#[test]
fn the_container_runs_without_root_what_the_unit_runs() {
    let file = text("Containerfile");
    assert!(file.contains("USER 65532:65532"));
    assert!(file.contains("ENTRYPOINT [\"/usr/local/bin/ringway\"]"));
    let ignored = text("Containerfile.dockerignore");
    let copied =
        file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    for line in copied {
        let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
        words.pop();
        for word in words {
            let word = word.trim_end_matches('*');
            assert!(
                ignored.lines().any(|line| line == format!("!{word}")),
                "{word} is not in the build's context"
            );
        }
    }
}

/// A directory that looks like `/`, with one interface, there until the value is dropped.
struct Root(PathBuf);

impl Root {
    fn new(name: &str, cpus: &str, rx: usize, tx: usize) -> Root {
        let root =
            Root(std::env::temp_dir().join(format!("ringway-packaging-{}-{name}", std::process::id())));
        root.put("sys/devices/system/cpu/online", cpus);
        root.put("proc/sys/net/core/rps_sock_flow_entries", "0");
        for queue in 0..rx {
            root.put(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "0");
            root.put(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_flow_cnt"), "0");
        }
        for queue in 0..tx {
            root.put(&format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"), "0");
        }
        root
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder of the made-up root");
        fs::write(path, format!("{text}\n")).expect("a file of the made-up root");
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).expect("a file of the made-up root").trim().to_owned()
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        Command::new("bash")
            .arg(in_tuning(script))
            .args(arguments)
            .env("ROOT", &self.0)
            .output()
            .expect("bash runs")
    }

    /// Runs a script that must succeed, and returns what it printed.
    fn told(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(script, arguments);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn rps_spreads_one_queue_over_all_cpus_and_back() {
    let root = Root::new("rps", "0-3,32-35", 1, 1);
    let mask = "sys/class/net/eth0/queues/rx-0/rps_cpus";
    let told = root.told("rps.sh", &["eth0"]);
    assert!(told.contains("echo f,0000000f > /sys/class/net/eth0/queues/rx-0/rps_cpus\n"), "{told}");
    assert_eq!(root.get(mask), "0", "it was only to be told");
    assert_eq!(root.told("rps.sh", &["--apply", "eth0"]), told);
    assert_eq!(root.get(mask), "f,0000000f");
    assert_eq!(root.get("sys/class/net/eth0/queues/rx-0/rps_flow_cnt"), "32768");
    assert_eq!(root.get("proc/sys/net/core/rps_sock_flow_entries"), "32768");
    root.told("rps.sh", &["--undo", "eth0"]);
    assert_eq!(
        (root.get(mask), root.get("proc/sys/net/core/rps_sock_flow_entries")),
        ("0".into(), "0".into())
    );
}

#[test]
fn rps_is_refused_where_there_are_queues_enough() {
    let root = Root::new("rps-refused", "0-1", 2, 2);
    assert_eq!(root.told("rps.sh", &["--apply", "eth0"]), "");
    assert_eq!(root.get("sys/class/net/eth0/queues/rx-0/rps_cpus"), "0");
}

#[test]
fn xps_gives_each_cpu_a_queue_and_back() {
    let root = Root::new("xps", "0-3", 2, 2);
    root.told("xps.sh", &["--apply", "eth0"]);
    let masks = || [0, 1].map(|queue| root.get(&format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus")));
    assert_eq!(masks(), ["5", "a"]);
    root.told("xps.sh", &["--undo", "eth0"]);
    assert_eq!(masks(), ["0", "0"]);
}

#[test]
fn interrupts_of_a_queue_go_to_its_cpu_and_back() {
    let root = Root::new("irq", "0-1", 2, 2);
    let lines = [
        (7, "PCI-MSI 0-edge eth0"),
        (8, "PCI-MSI 1-edge eth0-TxRx-0"),
        (9, "PCI-MSI 2-edge eth0-TxRx-1"),
        (10, "PCI-MSI 3-edge eth0-TxRx-2"),
        (11, "PCI-MSI 1-edge eth01-TxRx-1"),
    ];
    let table: String = lines.iter().map(|(number, rest)| format!(" {number}:  5  0 {rest}\n")).collect();
    root.put("proc/interrupts", &format!("   CPU0 CPU1\n{table}"));
    for (number, _) in lines {
        root.put(&format!("proc/irq/{number}/smp_affinity_list"), "0-1");
    }
    let lists = || lines.map(|(number, _)| root.get(&format!("proc/irq/{number}/smp_affinity_list")));
    root.told("irq.sh", &["eth0"]);
    assert_eq!(lists(), ["0-1"; 5], "it was only to be told");
    root.told("irq.sh", &["--apply", "eth0"]);
    assert_eq!(lists(), ["0-1", "0", "1", "0", "0-1"]);
    root.told("irq.sh", &["--undo", "eth0"]);
    assert_eq!(lists(), ["0-1"; 5]);
    assert_eq!(root.run("irq.sh", &["eth9"]).status.code(), Some(1));
    assert_eq!(root.run("irq.sh", &[]).status.code(), Some(2));
}
