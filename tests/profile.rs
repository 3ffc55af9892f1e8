//! How the compiler is called: only what is optimised is laid out by the profile, and only by the compiler it was made
//! with.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

const OPTIMISED: [&str; 3] = ["--crate-name", "-C", "opt-level=3"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("profile")
}

/// A compiler of this version, which says how it was called. It is gone with the value.
struct Compiler(PathBuf);

impl Compiler {
    fn new(name: &str, version: &str) -> Compiler {
        let folder = std::env::temp_dir().join(format!("ringway-profile-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder for temporary files takes one");
        fs::write(folder.join("version"), version).expect("a folder of ours");
        let compiler = Compiler(folder);
        let text = "#!/bin/sh\nif [ \"$*\" = -vV ]; then cat \"$(dirname \"$0\")/version\"; else printf '%s\\n' \"$@\"; fi\n";
        fs::write(compiler.path(), text).expect("a folder of ours");
        fs::set_permissions(compiler.path(), fs::Permissions::from_mode(0o755)).expect("a file of ours");
        compiler
    }

    fn path(&self) -> PathBuf {
        self.0.join("rustc")
    }

    /// What it is called with, when Cargo calls it with these arguments.
    fn called(&self, arguments: &[&str], setting: Option<&str>) -> Vec<String> {
        let mut command = Command::new(folder().join("rustc.sh"));
        command.arg(self.path()).args(arguments).env_remove("RINGWAY_PROFILE");
        command.envs(setting.map(|value| ("RINGWAY_PROFILE", value)));
        let output = command.output().expect("a shell runs it");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn made_with() -> String {
    fs::read_to_string(folder().join("compiler.txt")).expect("it says what the profile was made with")
}

#[test]
fn what_is_optimised_is_laid_out_by_the_profile() {
    let compiler = Compiler::new("same", &made_with());
    let called = compiler.called(&OPTIMISED, None);
    let (ours, added) = called.split_at(OPTIMISED.len());
    assert_eq!(ours, OPTIMISED);
    let profile = added.iter().find_map(|argument| argument.strip_prefix("-Cprofile-use="));
    let bytes = fs::read(profile.expect("it is named")).expect("it is there");
    assert_eq!(&bytes[..8], b"\xfflprofi\x81", "an indexed profile of LLVM");
}

#[test]
fn everything_else_is_compiled_as_ever() {
    let compiler = Compiler::new("as-ever", &made_with());
    let debug = ["--crate-name", "-C", "opt-level=0"];
    assert_eq!(compiler.called(&debug, None), debug);
    assert_eq!(compiler.called(&OPTIMISED, Some("off")), OPTIMISED);
    let other = Compiler::new("other", &made_with().replace("release: ", "release: 9"));
    assert_eq!(other.called(&OPTIMISED, None), OPTIMISED);
}

#[test]
fn a_profile_is_made_where_it_is_asked_for() {
    let compiler = Compiler::new("making", "any\n");
    let called = compiler.called(&OPTIMISED, Some("make:/some/folder"));
    assert_eq!(called[OPTIMISED.len()..], ["-Cprofile-generate=/some/folder"]);
}
