//! Features of the kernel that tests need, and that some hosts lack.

use std::fmt::Display;

use io_uring::IoUring;

/// Says that a test is skipped because this host has no such ring. Where `RINGWAY_REQUIRE` contains `ring`, as on a
/// machine that is to run all tests, the test fails.
pub(super) fn skip(why: impl Display) {
    let what = format!("SKIPPED: no ring as this test needs it ({why})");
    eprintln!("{what}");
    let required = std::env::var("RINGWAY_REQUIRE").unwrap_or_default();
    assert!(!required.contains("ring"), "{what}, and RINGWAY_REQUIRE={required}");
}

/// Whether a feature is there that not every ring has. It is required of none: a host that `has_ring` fails no test
/// for it.
pub(super) fn skip_option(has_ring: bool, why: impl Display) {
    match has_ring {
        true => eprintln!("SKIPPED: the ring has no such option ({why})"),
        false => skip(why),
    }
}

/// A small ring, if there are any here.
pub(super) fn ring() -> Option<IoUring> {
    IoUring::new(8).map_err(skip).ok()
}
