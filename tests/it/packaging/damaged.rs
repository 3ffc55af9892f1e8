//! Configurations that are damaged, as `ringway check` takes them: exit code 0 or 1, never a panic, and soon. Files that
//! they name are there, so that what an edit leaves whole is looked at in full.
//!
//! By default few are tried; `RINGWAY_MUTATIONS=10000` tries so many.
#![allow(clippy::disallowed_methods, reason = "a test measures how long a check takes")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::edits::{Dice, edit};
use crate::support::library::Scratch;

/// A process is timed by the clock, beside whatever else the machine does. Builds for tests are slow.
const AT_MOST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// A copy of the full example, beside all that it names.
fn example(scratch: &Scratch) -> PathBuf {
    let folder = scratch.0.join("examples");
    fs::create_dir(&folder).expect("a folder for temporary files");
    for entry in fs::read_dir("examples").expect("it is there").filter_map(Result::ok) {
        if entry.path().is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("a folder for temporary files");
        }
    }
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    symlink(protos, scratch.0.join("proto")).expect("a folder for temporary files");
    folder.join("ringway.toml")
}

/// The exit code of `check`, and how long it took.
fn checked(path: &Path, round: usize) -> (i32, Duration) {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("check").arg(path).output();
    let (output, took) = (output.expect("it was built for this test"), began.elapsed());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "round {round}: {said}");
    assert!(took < AT_MOST, "round {round}: {took:?}");
    let code = output.status.code().unwrap_or_else(|| panic!("round {round}: {:?}", output.status));
    assert!(code <= 1, "round {round}: exit code {code}: {said}");
    (code, took)
}

#[test]
fn a_damaged_configuration_is_good_or_refused() {
    let scratch = Scratch::new();
    let path = example(&scratch);
    let text = fs::read(&path).expect("it was copied");
    assert_eq!(checked(&path, 0).0, 0, "the example is good");
    let rounds = std::env::var("RINGWAY_MUTATIONS").map_or(40, |rounds| rounds.parse().expect("a number"));
    let (mut dice, mut good, mut longest) = (Dice(11), 0, Duration::ZERO);
    for round in 1..=rounds {
        let mut bytes = text.clone();
        edit(&mut bytes, &mut dice);
        fs::write(&path, &bytes).expect("a folder for temporary files");
        let (code, took) = checked(&path, round);
        good += usize::from(code == 0);
        longest = longest.max(took);
    }
    println!("{rounds} configurations, {good} of them good, {longest:?} at most");
    // Of many, both are seen: edits that do no harm, and edits that do.
    assert!(good < rounds, "{good} of {rounds} were good");
    assert!(rounds < 1_000 || (rounds / 20..rounds / 6 * 5).contains(&good), "{good} of {rounds} were good");
}
