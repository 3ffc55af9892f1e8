//! `ringway doctor` as scripts use it: the exit code says what was found.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("doctor").args(arguments).env_remove("RINGWAY_CONFIG").output().expect("the program starts")
}

/// A directory that looks like a host with one thing to say.
fn host(name: &str, path: &str, text: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file in the root")).expect("the folder for tests takes one");
    fs::write(path, text).expect("the folder for tests takes a file");
    root
}

#[test]
fn the_exit_code_is_0_for_a_good_host_1_with_findings_and_2_where_it_cannot_tell() {
    let good = host("doctor-good", "proc/sys/net/core/somaxconn", "65535");
    let noted = host("doctor-noted", "proc/sys/net/core/busy_poll", "50");
    let warned = host("doctor-warned", "proc/sys/net/core/somaxconn", "128");
    let broken = host("doctor-broken", "proc/sys/kernel/io_uring_disabled", "2");
    for (root, code, word) in [
        (&good, 0, "0 errors, 0 warnings, 0 notes"),
        // Notes are for people.
        (&noted, 0, "1 note"),
        (&warned, 1, "1 warning"),
        (&broken, 1, "1 error"),
    ] {
        let output = doctor(&["--root", root.to_str().expect("a path in UTF-8")]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(word), "{word} is not in {text}");
        let output = doctor(&["--json", "--root", root.to_str().expect("a path in UTF-8")]);
        assert_eq!(output.status.code(), Some(code));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("it is JSON");
    }
    // A port that nobody listens on: it was ours, and is closed.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("a free port").to_string();
    let root = good.to_str().expect("a path in UTF-8");
    for arguments in [
        &["--root", root, "--config", "/nowhere/ringway.toml"][..],
        &["--root", root, "--admin", &nobody],
        &["--no-such-option"],
    ] {
        let output = doctor(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}
