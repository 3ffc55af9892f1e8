//! How many workers, and on which cores.

use std::fs;
use std::path::{Path, PathBuf};

use core_affinity::CoreId;

use crate::config::Workers;

/// The core of each worker; `None` where the host does not tell its cores.
///
/// `auto` is one worker for each core that this process may run on (affinity and cpuset), but not more than its cgroup's
/// quota allows: workers over the quota would be stopped in the middle of their calls.
pub(super) fn cores(workers: Workers) -> Vec<Option<CoreId>> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let count = match workers {
        Workers::Count(count) => count as usize,
        Workers::Auto => allowed.len().min(quota(Path::new("/")).unwrap_or(usize::MAX)),
    };
    (0..count.max(1)).map(|number| allowed.get(number % allowed.len().max(1)).copied()).collect()
}

/// Whole cores that the cgroup's CPU quota amounts to, rounded up; none without a quota. `root` is `/`, but for tests.
fn quota(root: &Path) -> Option<usize> {
    let memberships = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    // cgroup v2 has one line, `0::/path`; every level above may have its own quota.
    let path = memberships.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mount = root.join("sys/fs/cgroup");
    let mut folder: PathBuf = mount.join(path);
    let mut cores = None;
    while folder.starts_with(&mount) {
        let own = fs::read_to_string(folder.join("cpu.max")).ok().and_then(|text| parse_quota(&text));
        cores = match (cores, own) {
            (Some(one), Some(other)) => Some(std::cmp::min(one, other)),
            (one, other) => one.or(other),
        };
        if !folder.pop() {
            break;
        }
    }
    cores
}

/// `cpu.max`: quota and period in microseconds, or `max` for no quota.
fn parse_quota(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    if period == 0 {
        return None;
    }
    usize::try_from(quota.div_ceil(period).max(1)).ok()
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
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_whole_cores() {
        for (text, expected) in [
            ("max 100000\n", None),
            ("200000 100000\n", Some(2)),
            ("250000 100000\n", Some(3)),
            ("10000 100000\n", Some(1)),
            ("junk", None),
            ("1 0", None),
        ] {
            assert_eq!(parse_quota(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_tightest_level_of_the_cgroup_counts() {
        let root = std::env::temp_dir().join(format!("ringway-placement-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("can be made");
            fs::write(path, text).expect("can be written");
        };
        put("proc/self/cgroup", "0::/a/b\n");
        put("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
        put("sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
        assert_eq!(quota(&root), Some(2));
        put("sys/fs/cgroup/a/cpu.max", "max 100000\n");
        assert_eq!(quota(&root), Some(8));
        fs::remove_dir_all(&root).expect("was made here");
    }

    #[test]
    fn a_thread_knows_its_number() {
        let number = own_thread().expect("Linux tells");
        assert!(Path::new(&format!("/proc/self/task/{number}")).exists());
        assert_ne!(std::thread::spawn(own_thread).join().unwrap(), Some(number));
    }

    #[test]
    fn a_fixed_number_of_workers_shares_the_cores() {
        assert_eq!(cores(Workers::Count(5)).len(), 5);
        assert!(!cores(Workers::Auto).is_empty());
    }
}
