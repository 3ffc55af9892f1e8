//! The number of workers, and their CPUs.
//!
//! `auto` is one worker for each CPU that is left by affinity, cpuset and `cpu_policy`, but not more than the cgroup's
//! quota allows: workers over the quota would be stopped in the middle of their calls. Where CPUs are left over, the
//! interrupts of the network interfaces decide which: see [`interrupts::order`].

mod cpu_list;
pub(crate) mod interrupts;

use std::fs;
use std::path::{Path, PathBuf};

use core_affinity::CoreId;

pub(crate) use self::cpu_list::cpu_list;
use crate::config::{CpuPolicy, Workers};

/// The core of each worker; `None` where the host does not tell its cores.
///
/// # Errors
/// When the policy leaves no CPU.
pub(super) fn cores(workers: Workers, policy: CpuPolicy) -> Result<Vec<Option<CoreId>>, String> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let allowed: Vec<usize> = allowed.into_iter().map(|core| core.id).collect();
    place(Path::new("/"), workers, policy, &allowed)
        .map(|cpus| cpus.into_iter().map(|cpu| cpu.map(|id| CoreId { id })).collect())
}

/// The CPU of each worker. `root` is `/`, but for tests; `allowed` are the CPUs this process may use.
fn place(
    root: &Path,
    workers: Workers,
    policy: CpuPolicy,
    allowed: &[usize],
) -> Result<Vec<Option<usize>>, String> {
    let chosen = choose(root, policy, allowed)?;
    let count = match workers {
        Workers::Count(count) => count as usize,
        Workers::Auto => chosen.len().min(whole(quota(root))),
    };
    let chosen = interrupts::order(&chosen, count, &interrupts::cpus(root));
    Ok((0..count.max(1)).map(|number| chosen.get(number % chosen.len().max(1)).copied()).collect())
}

/// The allowed CPUs that a policy wants, in the order in which workers take them, interrupts left aside.
fn choose(root: &Path, policy: CpuPolicy, allowed: &[usize]) -> Result<Vec<usize>, String> {
    match policy {
        CpuPolicy::All => {
            // Of each core one CPU first: fewer workers than CPUs then share as few cores as can be.
            let mut chosen = one_per_core(root, allowed);
            chosen.extend(allowed.iter().filter(|cpu| !chosen.contains(cpu)).collect::<Vec<_>>());
            Ok(chosen)
        }
        CpuPolicy::PhysicalCores => Ok(one_per_core(root, allowed)),
        CpuPolicy::NumaNode(node) => {
            let path = root.join(format!("sys/devices/system/node/node{node}/cpulist"));
            let Ok(text) = fs::read_to_string(path) else {
                return Err(format!("cpu_policy is \"numa_node:{node}\", and this host has no such node"));
            };
            let members = cpu_list(&text);
            let chosen: Vec<usize> = allowed.iter().copied().filter(|cpu| members.contains(cpu)).collect();
            if chosen.is_empty() {
                return Err(format!(
                    "cpu_policy is \"numa_node:{node}\", and this process may use none of its CPUs ({})",
                    text.trim()
                ));
            }
            Ok(chosen)
        }
    }
}

/// The first allowed CPU of each core. Where the host does not tell, each CPU is a core.
fn one_per_core(root: &Path, allowed: &[usize]) -> Vec<usize> {
    let mut taken: Vec<usize> = Vec::new();
    let mut chosen = Vec::new();
    for &cpu in allowed {
        if taken.contains(&cpu) {
            continue;
        }
        chosen.push(cpu);
        let siblings = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        taken.extend(fs::read_to_string(root.join(siblings)).map_or(vec![cpu], |text| cpu_list(&text)));
    }
    chosen
}

/// A quota rounded up to whole CPUs.
fn whole(quota: Option<f64>) -> usize {
    quota.map_or(usize::MAX, |cpus| (cpus.ceil() as usize).max(1))
}

/// CPUs that the cgroup's quota amounts to; none without a quota. Every level above may have its own.
pub(crate) fn quota(root: &Path) -> Option<f64> {
    let own = |(mount, folder): (PathBuf, PathBuf)| {
        let levels = folder.ancestors().take_while(|level| level.starts_with(&mount)).map(level_quota);
        levels.flatten().min_by(f64::total_cmp)
    };
    groups(root).into_iter().filter_map(own).min_by(f64::total_cmp)
}

/// A file of this process's own cgroup, in the version of cgroups that has it.
pub(crate) fn cgroup_file(root: &Path, name: &str) -> Option<String> {
    groups(root).into_iter().find_map(|(_, folder)| fs::read_to_string(folder.join(name)).ok())
}

/// Where cgroups are mounted that rule CPU time, and this process's own in each.
fn groups(root: &Path) -> Vec<(PathBuf, PathBuf)> {
    let memberships = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in memberships.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let mount = match controllers {
            // Version 2 has one line, `0::/path`.
            "" => root.join("sys/fs/cgroup"),
            _ if controllers.split(',').any(|name| name == "cpu") => root.join("sys/fs/cgroup/cpu"),
            _ => continue,
        };
        let mut folder = mount.join(path.trim_start_matches('/'));
        // In a container the path may be the host's, which is not to be seen here: then the mount is our own group.
        if !folder.starts_with(&mount) || !folder.is_dir() {
            folder.clone_from(&mount);
        }
        groups.push((mount, folder));
    }
    groups
}

fn level_quota(folder: &Path) -> Option<f64> {
    if let Ok(text) = fs::read_to_string(folder.join("cpu.max")) {
        return parse_quota(&text);
    }
    let quota = fs::read_to_string(folder.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(folder.join("cpu.cfs_period_us")).ok()?;
    parse_quota(&format!("{} {}", quota.trim(), period.trim()))
}

/// `cpu.max`: quota and period in microseconds; `max`, or -1 in version 1, for no quota.
fn parse_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u32, u32) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| f64::from(quota) / f64::from(period))
}

/// The NUMA node of a core.
pub(super) fn numa_node(core: usize) -> Option<usize> {
    let entries = fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).ok()?;
    entries.flatten().find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok())
}

/// The number that Linux gives to the thread that asks.
pub(super) fn own_thread() -> Option<u32> {
    fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests;
