//! Features of the kernel that tests need, and that some hosts lack.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;

use io_uring::IoUring;

/// Says that a test is skipped because this host has no such ring. Where `RINGWAY_REQUIRE` contains `ring`, as on a
/// machine that is to run all tests, the test fails.
pub(super) fn skip(why: impl Display) {
    let what = format!("no ring as this test needs it ({why})");
    let required = std::env::var("RINGWAY_REQUIRE").unwrap_or_default();
    assert!(!required.contains("ring"), "{what}, and RINGWAY_REQUIRE={required}");
    note(&what);
}

/// Adds the test to the list that `RINGWAY_SKIPPED` names, which `./check.sh` prints.
fn note(what: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED: {}: {what}\n", thread.name().unwrap_or("a test"));
    eprint!("{line}");
    if let Ok(path) = std::env::var("RINGWAY_SKIPPED") {
        let list = OpenOptions::new().create(true).append(true).open(path);
        list.and_then(|mut list| list.write_all(line.as_bytes())).expect("the list of skipped tests");
    }
}

/// Whether a feature is there that not every ring has. It is required of none: a host that `has_ring` fails no test
/// for it.
pub(super) fn skip_option(has_ring: bool, why: impl Display) {
    match has_ring {
        true => note(&format!("the ring has no such option ({why})")),
        false => skip(why),
    }
}

/// A small ring, if there are any here.
pub(super) fn ring() -> Option<IoUring> {
    IoUring::new(8).map_err(skip).ok()
}
