//! Lists of CPUs, as the kernel writes them.

/// A list of CPUs as the kernel writes it: `0-3,8`. Parts that are no numbers are left out.
pub(crate) fn cpu_list(text: &str) -> Vec<usize> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    });
    ranges.flatten().collect()
}
