//! A snapshot of a host: files below `/proc` and `/sys`, and facts that only a system call can tell.
//!
//! All reading happens here, once. All judgements are functions of the snapshot, so tests run them on a directory that
//! looks like a host.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use crate::config::{Backend, Config, Io, OnUnavailable, Workers};
use crate::net::ethtool::Nic;
use crate::net::ring::{IoBackend, RingUnavailable};
use crate::supervisor::placement;

/// No file that is read here is longer in good order.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files that are read besides the sysctls of the table. `*` stands for any name.
const FILES: &[&str] = &[
    "proc/interrupts",
    "proc/irq/*/effective_affinity_list",
    "proc/irq/*/smp_affinity_list",
    "proc/mounts",
    "proc/net/sockstat",
    "proc/self/limits",
    "proc/self/status",
    "proc/swaps",
    "proc/sys/kernel/osrelease",
    "proc/sys/kernel/io_uring_disabled",
    "proc/sys/kernel/io_uring_group",
    "proc/sys/net/netfilter/nf_conntrack_count",
    "proc/sys/net/netfilter/nf_conntrack_max",
    "sys/class/net/*/device/numa_node",
    "sys/class/net/*/gro_flush_timeout",
    "sys/class/net/*/napi_defer_hard_irqs",
    "sys/class/net/*/queues/*/rps_cpus",
    "sys/class/net/*/queues/*/rps_flow_cnt",
    "sys/class/net/*/queues/*/xps_cpus",
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
    "sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    "sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
    "sys/devices/system/cpu/cpu0/cpuidle/state*/*",
    "sys/devices/system/cpu/cpuidle/current_driver",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/nohz_full",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/smt/active",
    "sys/devices/system/cpu/vulnerabilities/*",
    "sys/devices/system/node/node*/cpulist",
    "sys/kernel/debug/sched/preempt",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/module/haltpoll/parameters/guest_halt_poll_ns",
];

/// How long `--live` watches the counters.
pub(super) const WINDOW: Duration = Duration::from_millis(250);

/// Counters that `--live` reads twice.
const COUNTERS: &[&str] =
    &["proc/net/netstat", "proc/net/snmp", "proc/net/softnet_stat", "proc/pressure/cpu"];

/// Of each running gateway, read twice, too.
const THREADS: &[&str] = &["comm", "status", "schedstat"];

type Files = BTreeMap<String, String>;

/// A snapshot of a host.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    files: Files,
    /// The counters of `--live` a moment earlier.
    earlier: Option<Files>,
    /// Facts that no file tells.
    pub(super) facts: Facts,
}

/// Facts about a host that no file tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The outcome of setting up the real ring here. `None` where nothing was tried.
    pub(super) ring: Option<Result<IoBackend, RingUnavailable>>,
    /// The network interfaces with hardware behind them, and what their drivers say.
    pub(super) nics: BTreeMap<String, Nic>,
    /// CPUs that the cgroup's quota amounts to.
    pub(super) quota: Option<f64>,
    /// The wake-up latency in microseconds that somebody has asked of the CPUs, with `/dev/cpu_dma_latency`.
    pub(super) latency_limit: Option<i32>,
    /// The metrics of a running gateway.
    pub(super) page: Option<String>,
    /// The demands of the configuration on the host.
    pub(super) wanted: Wanted,
}

/// The demands of a configuration on its host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// The longest queue of connections a listener asks for.
    pub(super) backlog: u32,
    /// Client connections of one worker, over all listeners.
    pub(super) connections: u64,
    /// The ports that are listened on.
    pub(super) ports: Vec<u16>,
    /// How workers talk to the kernel.
    pub(super) io: Io,
    /// Workers, where their number is fixed.
    pub(super) workers: Option<usize>,
}

impl Default for Wanted {
    /// A gateway that sets nothing but its addresses.
    fn default() -> Wanted {
        let io = Io {
            backend: Backend::Auto,
            entries: 4096,
            on_unavailable: OnUnavailable::Fallback,
            sqpoll_idle: None,
            busy_poll: None,
        };
        Wanted { backlog: 4096, connections: 65_536, ports: vec![8080, 9901], io, workers: None }
    }
}

impl Wanted {
    /// The demands of this configuration.
    pub(super) fn of(config: &Config) -> Wanted {
        let listeners = config.listeners.iter();
        let mut ports: Vec<u16> =
            listeners.clone().filter_map(|listener| Some(listener.address.tcp()?.port())).collect();
        ports.push(config.admin.address.port());
        Wanted {
            backlog: listeners.clone().map(|listener| listener.backlog).max().unwrap_or(0),
            connections: listeners.map(|listener| u64::from(listener.max_connections)).sum(),
            ports,
            io: config.io,
            workers: match config.workers {
                Workers::Auto => None,
                Workers::Count(count) => Some(count as usize),
            },
        }
    }
}

impl Host {
    /// Reads the host below `root`: its files and the sysctls named.
    pub(super) fn read<'a>(root: &Path, sysctls: impl Iterator<Item = &'a str>) -> Host {
        let mut files = Files::new();
        for pattern in FILES {
            collect(root, pattern, &mut files);
        }
        for key in sysctls {
            collect(root, &sysctl_path(key), &mut files);
        }
        let mut host = Host { files, ..Host::default() };
        host.facts.quota = placement::quota(root);
        for name in hardware(root) {
            // A virtio interface's interrupts bear the name of its device, not its own.
            if let Ok(link) = fs::read_link(root.join(format!("sys/class/net/{name}/device")))
                && let Some(device) = link.file_name().and_then(|name| name.to_str())
            {
                host.files.insert(format!("sys/class/net/{name}/device"), device.to_owned());
            }
            host.facts.nics.insert(name, Nic::default());
        }
        host
    }

    /// Reads the counters of `--live`; the second time, what was read the first time is kept beside it.
    pub(super) fn read_counters(&mut self, root: &Path) {
        let mut now = Files::new();
        for pattern in COUNTERS {
            collect(root, pattern, &mut now);
        }
        for process in names(&root.join("proc")).into_iter().filter(|name| is_number(name)) {
            if read_text(&root.join(format!("proc/{process}/comm"))).as_deref() == Some("ringway") {
                for file in THREADS {
                    collect(root, &format!("proc/{process}/task/*/{file}"), &mut now);
                }
                for ring in rings(&root.join(format!("proc/{process}/fd"))) {
                    collect(root, &format!("proc/{process}/fdinfo/{ring}"), &mut now);
                }
            }
        }
        collect_cgroup_stat(root, &mut now);
        let earlier =
            COUNTERS.first().and_then(|first| self.files.contains_key(*first).then(|| self.files.clone()));
        self.earlier = earlier;
        self.files.extend(now);
    }

    /// A file's text without the white space around it; the path is without its first slash.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|text| text.trim())
    }

    /// A file with one number in it.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// A sysctl's text.
    pub(super) fn sysctl(&self, key: &str) -> Option<&str> {
        self.text(&sysctl_path(key))
    }

    /// All files whose path begins and ends so, with what is between.
    pub(super) fn each<'a, 's>(
        &'a self,
        begin: &'s str,
        end: &'s str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a, 's> {
        let from_begin =
            self.files.range(begin.to_owned()..).take_while(move |(path, _)| path.starts_with(begin));
        from_begin
            .filter_map(move |(path, text)| Some((path.strip_prefix(begin)?.strip_suffix(end)?, text.trim())))
    }

    /// Whether counters were read twice.
    pub(super) fn is_live(&self) -> bool {
        self.earlier.is_some()
    }

    /// The host as it was when the counters were read the first time.
    pub(super) fn before(&self) -> Option<Host> {
        let files = self.earlier.clone()?;
        Some(Host { files, earlier: None, facts: Facts::default() })
    }

    /// The CPUs this process may use.
    pub(super) fn cpus(&self) -> Vec<usize> {
        let allowed = self.status("Cpus_allowed_list").or_else(|| self.text("sys/devices/system/cpu/online"));
        allowed.map(placement::cpu_list).unwrap_or_default()
    }

    /// A field of `/proc/self/status`.
    pub(super) fn status(&self, name: &str) -> Option<&str> {
        field(self.text("proc/self/status")?, name)
    }

    /// The kernel's version: major and minor.
    pub(super) fn kernel(&self) -> Option<(u32, u32)> {
        let mut parts = self.text("proc/sys/kernel/osrelease")?.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The soft and the hard limit of a resource; `u64::MAX` is none.
    pub(super) fn limit(&self, name: &str) -> Option<(u64, u64)> {
        let line = self.text("proc/self/limits")?.lines().find_map(|line| line.strip_prefix(name))?;
        let mut values = line
            .split_ascii_whitespace()
            .map(|word| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() });
        Some((values.next()??, values.next()??))
    }

    /// How many workers there will be.
    pub(super) fn workers(&self) -> usize {
        let by_quota = self.facts.quota.map_or(usize::MAX, |cpus| cpus.ceil() as usize);
        self.facts.wanted.workers.unwrap_or_else(|| self.cpus().len().min(by_quota).max(1))
    }
}

/// The value of a line `name: value`.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn sysctl_path(key: &str) -> String {
    format!("proc/sys/{}", key.replace('.', "/"))
}

/// Interfaces with a device behind them.
fn hardware(root: &Path) -> Vec<String> {
    let folder = root.join("sys/class/net");
    names(&folder).into_iter().filter(|name| folder.join(name).join("device").exists()).collect()
}

/// The descriptors of a process that are rings; it may have tens of thousands of others.
fn rings(folder: &Path) -> Vec<String> {
    let is_ring = |name: &String| {
        fs::read_link(folder.join(name)).is_ok_and(|to| to.as_os_str() == "anon_inode:[io_uring]")
    };
    names(folder).into_iter().filter(is_ring).collect()
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Reads the files that a pattern names. Files that cannot be read are left out.
fn collect(root: &Path, pattern: &str, files: &mut Files) {
    let mut found = vec![String::new()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for path in found {
            let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            match part.split_once('*') {
                None => next.push(join(part)),
                Some((begin, end)) => {
                    let fits = |name: &String| name.starts_with(begin) && name.ends_with(end);
                    next.extend(
                        names(&root.join(&path)).iter().filter(|name| fits(name)).map(|name| join(name)),
                    );
                }
            }
        }
        found = next;
    }
    for path in found {
        if let Some(text) = read_text(&root.join(&path)) {
            files.insert(path, text);
        }
    }
}

/// The throttling of our own cgroup, under one name for both versions of cgroups.
fn collect_cgroup_stat(root: &Path, files: &mut Files) {
    if let Some(text) = placement::cgroup_file(root, "cpu.stat") {
        files.insert("cpu.stat".to_owned(), text);
    }
}

fn read_text(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_defaults_are_those_of_a_configuration_that_sets_nothing() {
        let minimal = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/minimal.toml");
        assert_eq!(Wanted::of(&config::load(&minimal).unwrap()), Wanted::default());
    }

    #[test]
    fn versions_limits_and_fields_are_read() {
        let mut host = Host::default();
        let mut put = |path: &str, text: &str| host.files.insert(path.to_owned(), text.to_owned());
        put("proc/sys/kernel/osrelease", "6.18.44-fc-v657\n");
        put(
            "proc/self/limits",
            "Max locked memory         8388608              unlimited            bytes     \n",
        );
        put("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-2,5\n");
        assert_eq!(host.kernel(), Some((6, 18)));
        assert_eq!(host.limit("Max locked memory"), Some((8_388_608, u64::MAX)));
        assert_eq!(host.limit("Max open files"), None);
        assert_eq!(host.cpus(), [0, 1, 2, 5]);
    }
}
