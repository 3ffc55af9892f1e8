//! Where a worker allocates, for a test that found that it allocates too much.

use std::backtrace::Backtrace;
use std::collections::BTreeMap;

/// Frames of a site that are shown.
const FRAMES: usize = 6;

/// Prints the sites of these samples, and how many are of each.
pub fn print(samples: &[Backtrace]) {
    let mut sites = BTreeMap::<String, usize>::new();
    for sample in samples {
        *sites.entry(site(sample)).or_default() += 1;
    }
    let mut sites: Vec<_> = sites.into_iter().collect();
    sites.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (site, count) in sites {
        println!("{count} of {}:\n{site}", samples.len());
    }
}

/// The innermost frames of a sample that are neither the standard library's nor the allocator's.
fn site(sample: &Backtrace) -> String {
    let text = sample.to_string();
    let mut lines = text.lines().peekable();
    let mut shown = String::new();
    let mut frames = 0;
    while let Some(line) = lines.next() {
        let place = lines.next_if(|line| line.trim_start().starts_with("at ")).unwrap_or_default().trim();
        let is_machinery = place.contains("/library/") || place.contains("src/alloc.rs");
        if frames < FRAMES && !place.is_empty() && !is_machinery {
            frames += 1;
            let name = line.split_once(": ").map_or(line, |(_, name)| name);
            shown += &format!("    {name} {place}\n");
        }
    }
    shown
}
