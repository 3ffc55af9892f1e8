//! Hosts made of files: cgroups of both versions, threads of a core, memory nodes.

use super::*;

/// A directory that looks like `/`, there until the value is dropped.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Root {
        let root = std::env::temp_dir().join(format!("ringway-placement-{}-{name}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Root(root)
    }

    fn put(&self, path: &str, text: &str) -> &Root {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Eight CPUs: CPU n and n + 4 are one core, cores 0 and 1 are on memory node 0.
    fn with_topology(name: &str) -> Root {
        let root = Root::new(name);
        for cpu in 0..8 {
            let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            root.put(&path, &format!("{},{}\n", cpu % 4, cpu % 4 + 4));
        }
        root.put("sys/devices/system/node/node0/cpulist", "0-1,4-5\n");
        root.put("sys/devices/system/node/node1/cpulist", "2-3,6-7\n");
        root
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_quota_is_rounded_up_to_whole_cores() {
    for (text, expected) in [
        ("max 100000\n", usize::MAX),
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("10000 100000\n", 1),
        ("-1 100000", usize::MAX),
        ("junk", usize::MAX),
        ("1 0", usize::MAX),
    ] {
        assert_eq!(whole(parse_quota(text)), expected, "{text:?}");
    }
}

#[test]
fn the_tightest_level_of_the_cgroup_counts() {
    let root = Root::new("levels");
    root.put("proc/self/cgroup", "0::/a/b\n");
    root.put("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    root.put("sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
    assert_eq!(quota(&root.0), Some(1.5));
    root.put("sys/fs/cgroup/a/cpu.max", "max 100000\n");
    assert_eq!(quota(&root.0), Some(8.0));
}

#[test]
fn the_first_version_of_cgroups_has_quotas_too() {
    let root = Root::new("version-1");
    root.put("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/x\n0::/\n");
    root.put("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n");
    root.put("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
    assert_eq!(quota(&root.0), Some(0.5));
    root.put("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
    assert_eq!(quota(&root.0), None);
}

#[test]
fn a_container_that_sees_only_its_own_group_finds_its_quota_at_the_mount() {
    let root = Root::new("container");
    root.put("proc/self/cgroup", "0::/kubepods/pod7/c1\n").put("sys/fs/cgroup/cpu.max", "300000 100000\n");
    assert_eq!(quota(&root.0), Some(3.0));
}

#[test]
fn each_policy_takes_its_cpus() {
    let root = Root::with_topology("policies");
    let all: Vec<usize> = (0..8).collect();
    for (policy, allowed, expected) in [
        (CpuPolicy::All, &all[..], &[0, 1, 2, 3, 4, 5, 6, 7][..]),
        (CpuPolicy::All, &[0, 4, 1, 5], &[0, 1, 4, 5]),
        (CpuPolicy::PhysicalCores, &all, &[0, 1, 2, 3]),
        (CpuPolicy::PhysicalCores, &[4, 5, 0], &[4, 5]),
        (CpuPolicy::NumaNode(0), &all, &[0, 1, 4, 5]),
        (CpuPolicy::NumaNode(1), &[1, 2, 7], &[2, 7]),
    ] {
        assert_eq!(choose(&root.0, policy, allowed).as_deref(), Ok(expected), "{policy:?} {allowed:?}");
    }
}

#[test]
fn a_policy_that_leaves_nothing_is_refused() {
    let root = Root::with_topology("nothing");
    for (policy, allowed, word) in [
        (CpuPolicy::NumaNode(7), &[0, 1][..], "no such node"),
        (CpuPolicy::NumaNode(1), &[0, 1], "none of its CPUs"),
    ] {
        let error = place(&root.0, Workers::Auto, policy, allowed).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn auto_is_bounded_by_policy_and_quota_and_a_number_is_not() {
    let root = Root::with_topology("auto");
    let all: Vec<usize> = (0..8).collect();
    let count = |workers, policy| place(&root.0, workers, policy, &all).unwrap().len();
    assert_eq!(count(Workers::Auto, CpuPolicy::All), 8);
    assert_eq!(count(Workers::Auto, CpuPolicy::PhysicalCores), 4);
    assert_eq!(count(Workers::Count(5), CpuPolicy::PhysicalCores), 5);
    root.put("proc/self/cgroup", "0::/\n").put("sys/fs/cgroup/cpu.max", "250000 100000\n");
    assert_eq!(count(Workers::Auto, CpuPolicy::All), 3);
    let placed = place(&root.0, Workers::Count(5), CpuPolicy::PhysicalCores, &all).unwrap();
    assert_eq!(placed, [Some(0), Some(1), Some(2), Some(3), Some(0)]);
}

#[test]
fn a_host_that_tells_nothing_has_one_worker_that_is_not_pinned() {
    let root = Root::new("silent");
    assert_eq!(place(&root.0, Workers::Auto, CpuPolicy::PhysicalCores, &[]), Ok(vec![None]));
}

#[test]
fn this_host_has_cores() {
    assert_eq!(cores(Workers::Count(5), CpuPolicy::All).unwrap().len(), 5);
    assert!(!cores(Workers::Auto, CpuPolicy::All).unwrap().is_empty());
}

/// An interface of this device, with one interrupt for each CPU in `targets`, from number 40.
fn put_interface(root: &Root, name: &str, device: &str, targets: &[usize]) {
    root.put(&format!("sys/devices/{device}/vendor"), "0x1af4\n");
    fs::create_dir_all(root.0.join("sys/class/net").join(name)).unwrap();
    let link = root.0.join(format!("sys/class/net/{name}/device"));
    std::os::unix::fs::symlink(format!("../../../devices/{device}"), link).unwrap();
    let mut text = "           CPU0       CPU1\n  8:  0  0  IO-APIC  8-edge  rtc0\n".to_owned();
    for (queue, cpu) in targets.iter().enumerate() {
        let number = 40 + queue;
        text += &format!(" {number}:  7  7  PCI-MSIX-0000:00:03.0  {queue}-edge  {device}-input.{queue}\n");
        root.put(&format!("proc/irq/{number}/effective_affinity_list"), &format!("{cpu}\n"));
        root.put(&format!("proc/irq/{number}/smp_affinity_list"), "0-7\n");
    }
    root.put("proc/interrupts", &text);
}

fn placed(root: &Root, workers: Workers, policy: CpuPolicy, allowed: &[usize]) -> Vec<usize> {
    place(&root.0, workers, policy, allowed).unwrap().into_iter().flatten().collect()
}

#[test]
fn cpus_that_take_the_packets_of_all_are_used_last() {
    let root = Root::with_topology("one-queue");
    put_interface(&root, "eth0", "virtio2", &[0]);
    let all: Vec<usize> = (0..8).collect();
    assert_eq!(interrupts::cpus(&root.0).into_iter().collect::<Vec<_>>(), [0]);
    assert_eq!(placed(&root, Workers::Count(3), CpuPolicy::PhysicalCores, &all), [1, 2, 3]);
    assert_eq!(placed(&root, Workers::Count(2), CpuPolicy::NumaNode(0), &all), [1, 4]);
    // With as many workers as CPUs there is nothing to leave out.
    assert_eq!(placed(&root, Workers::Auto, CpuPolicy::PhysicalCores, &all), [0, 1, 2, 3]);
    // A quota leaves CPUs over, too.
    root.put("proc/self/cgroup", "0::/\n").put("sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_eq!(placed(&root, Workers::Auto, CpuPolicy::PhysicalCores, &all), [1, 2]);
}

#[test]
fn workers_go_where_each_has_a_queue_of_its_own() {
    let root = Root::with_topology("a-queue-each");
    put_interface(&root, "eth0", "virtio2", &[2, 3]);
    let all: Vec<usize> = (0..8).collect();
    assert_eq!(placed(&root, Workers::Count(2), CpuPolicy::PhysicalCores, &all), [2, 3]);
    assert_eq!(placed(&root, Workers::Count(1), CpuPolicy::All, &all), [2]);
    assert_eq!(placed(&root, Workers::Count(3), CpuPolicy::PhysicalCores, &all), [0, 1, 2]);
}

#[test]
fn an_interrupt_goes_where_the_kernel_says_that_it_does() {
    let root = Root::with_topology("targets");
    put_interface(&root, "eth0", "virtio2", &[5]);
    fs::remove_file(root.0.join("proc/irq/40/effective_affinity_list")).unwrap();
    root.put("proc/irq/40/smp_affinity_list", "6-7\n");
    assert_eq!(interrupts::cpus(&root.0).into_iter().collect::<Vec<_>>(), [6, 7]);
    // Other devices' interrupts are of no interest, whatever they are called.
    root.put(
        "proc/interrupts",
        " 41:  7  7  PCI-MSIX  1-edge  virtio22-input.0\n 42: 7 7 PCI-MSIX 1-edge nvme0q1\n",
    );
    assert!(interrupts::cpus(&root.0).is_empty());
}
