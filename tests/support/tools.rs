//! Programs that are on some machines only, and the fate of a test that needs one.
//!
//! Without the program the test says that it is skipped, in the list that `RINGWAY_SKIPPED` names too, which
//! `./check.sh` prints. Where `RINGWAY_REQUIRE` contains `tools`, as on a machine that is to run all tests, it fails.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A command of this program, if it is installed.
pub fn tool(program: &str) -> Option<Command> {
    let probe = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if let Err(error) = probe {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let line = format!("SKIPPED: {test}: {program} is not installed ({error})\n");
        eprint!("{line}");
        let required = std::env::var("RINGWAY_REQUIRE").unwrap_or_default();
        assert!(!required.contains("tools"), "{line}, and RINGWAY_REQUIRE={required}");
        if let Ok(path) = std::env::var("RINGWAY_SKIPPED") {
            let list = OpenOptions::new().create(true).append(true).open(path);
            list.and_then(|mut list| list.write_all(line.as_bytes())).expect("the list of skipped tests");
        }
        return None;
    }
    Some(Command::new(program))
}
