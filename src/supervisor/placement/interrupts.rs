//! CPUs that take the interrupts of the network interfaces' queues.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::cpu_list::cpu_list;

/// The numbers of the interrupts of an interface's queues, by the text of `/proc/interrupts`. `device` is the device
/// behind the interface: a virtio interface's interrupts bear its name.
pub(crate) fn of_queues(text: &str, interface: &str, device: Option<&str>) -> Vec<usize> {
    let numbers = text.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(':')?;
        let action = rest.split_ascii_whitespace().last()?;
        let is_of = |name: &str| {
            action.match_indices(name).any(|(at, _)| {
                let after = action[at + name.len()..].chars().next();
                after.is_none_or(|c| !c.is_ascii_alphanumeric())
            })
        };
        let ours = is_of(interface) || device.is_some_and(is_of);
        let is_queue = ["input", "output", "rx", "tx", "comp", "queue"]
            .iter()
            .any(|word| action.to_ascii_lowercase().contains(word));
        (ours && is_queue).then(|| number.parse().ok())?
    });
    numbers.collect()
}

/// The CPUs that take interrupts of any interface's queues, of the host below `root`.
pub(super) fn cpus(root: &Path) -> BTreeSet<usize> {
    let Ok(text) = fs::read_to_string(root.join("proc/interrupts")) else { return BTreeSet::new() };
    let mut cpus = BTreeSet::new();
    for entry in fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten() {
        let device = fs::read_link(entry.path().join("device"));
        // Without a device it is loopback, a bridge or the like, and has no interrupts.
        let (Ok(device), Ok(interface)) = (device, entry.file_name().into_string()) else { continue };
        let device = device.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        for number in of_queues(&text, &interface, device.as_deref()) {
            cpus.extend(targets(root, number));
        }
    }
    cpus
}

/// The CPUs of an interrupt. The kernel may use fewer than it is allowed, and reports those since 4.15.
fn targets(root: &Path, number: usize) -> Vec<usize> {
    let read = |name: &str| {
        let text = fs::read_to_string(root.join(format!("proc/irq/{number}/{name}"))).ok()?;
        Some(cpu_list(&text)).filter(|cpus| !cpus.is_empty())
    };
    read("effective_affinity_list").or_else(|| read("smp_affinity_list")).unwrap_or_default()
}

/// The order in which `count` workers take the CPUs they may have, where these are more.
///
/// Interfaces with as many queues as there are workers spread their packets over them: then a worker is best where its
/// packets arrive. Fewer queues mean that a few CPUs take the packets of all workers; these are used last.
pub(super) fn order(allowed: &[usize], count: usize, interrupted: &BTreeSet<usize>) -> Vec<usize> {
    if allowed.len() <= count {
        return allowed.to_vec();
    }
    let (mut taking, mut quiet): (Vec<usize>, Vec<usize>) =
        allowed.iter().partition(|cpu| interrupted.contains(cpu));
    if taking.len() >= count {
        taking.append(&mut quiet);
        taking
    } else {
        quiet.append(&mut taking);
        quiet
    }
}
