//! Programs that are on some machines only, and what becomes of a test that needs one.
//!
//! Without the program the test says that it is skipped. Where `RINGWAY_REQUIRE` contains `tools`, as on a machine that
//! is to run all tests, it fails.

use std::process::{Command, Stdio};

/// A command of this program, if it is installed.
pub fn tool(program: &str) -> Option<Command> {
    let probe = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if let Err(error) = probe {
        let what = format!("SKIPPED: {program} is not installed ({error})");
        eprintln!("{what}");
        let required = std::env::var("RINGWAY_REQUIRE").unwrap_or_default();
        assert!(!required.contains("tools"), "{what}, and RINGWAY_REQUIRE={required}");
        return None;
    }
    Some(Command::new(program))
}
