//! Builds: the program that is shipped takes the recorded profile, with the compiler and the dependencies it was recorded
//! with. No other build needs anything, and each program says which one it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A compiler of this version and a Cargo that says what it was called with. They are gone with the value.
struct Toolchain(PathBuf);

/// Tells the dependencies as Cargo does.
const TREE: &str = concat!("exec env -u RUSTC -u RUSTFLAGS ", env!("CARGO"), " \"$@\"");

impl Toolchain {
    fn new(name: &str, version: &str, tree: &str) -> Toolchain {
        let folder = std::env::temp_dir().join(format!("ringway-builds-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder for temporary files takes one");
        fs::write(folder.join("version"), version).expect("a folder of ours");
        let toolchain = Toolchain(folder);
        toolchain.program("rustc", "[ \"$*\" = -vV ] && cat \"$(dirname \"$0\")/version\"");
        let says = "printf '%s\\n' \"$@\"; printf '%s' \"$CARGO_ENCODED_RUSTFLAGS\" | tr '\\037' '\\n'; echo";
        toolchain.program("cargo", &format!("if [ \"$1\" = tree ]; then\n{tree}\nfi\n{says}"));
        toolchain
    }

    /// Another process writes it: while this one did, a child of another test could hold the file, and it could not be
    /// run (ETXTBSY).
    fn program(&self, name: &str, does: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"]);
        let status = shell.arg(self.0.join(name)).arg(does).status().expect("a shell runs it");
        assert!(status.success());
    }

    fn dist(&self, flags: &str) -> Output {
        let mut command = Command::new("scripts/dist.sh");
        command.current_dir(ROOT).arg("--offline").env_remove("CARGO_TARGET_DIR").env("RUSTFLAGS", flags);
        command.env("RUSTC", self.0.join("rustc")).env("CARGO", self.0.join("cargo"));
        command.output().expect("a shell runs it")
    }
}

impl Drop for Toolchain {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn recorded_with() -> String {
    fs::read_to_string(Path::new(ROOT).join("build/pgo/compiler.txt")).expect("what it was recorded with")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn what_is_shipped_is_laid_out_by_the_recorded_profile() {
    let output = Toolchain::new("same", &recorded_with(), TREE).dist("-Cone -Ctwo");
    assert!(output.status.success(), "{output:?}");
    let said: Vec<&str> = text(&output.stdout).lines().collect();
    let host = recorded_with().lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned));
    let host = host.expect("rustc -vV says it");
    let options =
        ["build", "--locked", "--profile", "dist", "--bin", "ringway", "--target", &host, "--offline"];
    assert_eq!(said[..options.len()], options);
    let [profile, rest @ .., program] = &said[options.len()..] else { panic!("{said:?}") };
    let profile = profile.strip_prefix("-Cprofile-use=").expect("the first flag");
    assert_eq!(
        &fs::read(profile).expect("it is there")[..8],
        b"\xfflprofi\x81",
        "an indexed profile of LLVM"
    );
    assert_eq!(rest, ["-Cllvm-args=-no-pgo-warn-mismatch", "-Cone", "-Ctwo"]);
    assert_eq!(*program, format!("{ROOT}/target/{host}/dist/ringway"));
}

#[test]
fn another_compiler_is_refused() {
    let other = recorded_with().replace("rustc 1", "rustc 9").replace("release: 1", "release: 9");
    let output = Toolchain::new("other", &other, TREE).dist("");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let told = text(&output.stderr);
    assert!(told.contains("recorded with rustc 1") && told.contains("this is rustc 9"), "{told}");
    assert!(told.contains("RUSTUP_TOOLCHAIN=1."), "{told}");
}

#[test]
fn other_dependencies_are_refused() {
    let tree = "echo 'another v1.2.3 (/some/where) std'; exit 0";
    let output = Toolchain::new("dependencies", &recorded_with(), tree).dist("");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let told = text(&output.stderr);
    assert!(told.contains("other dependencies") && told.contains("record.sh records anew"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("< ")), "{told}");
}

#[test]
fn no_other_build_is_told_anything() {
    for path in [".cargo/config.toml", ".cargo/config"] {
        assert!(!Path::new(ROOT).join(path).exists(), "{path} changes how everyone builds");
    }
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).expect("it is there");
    assert!(!manifest.contains("rustc-wrapper"));
}

#[test]
fn a_program_says_which_one_it_is() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("--version").output().expect("it was built");
    let said = text(&output.stdout).trim_end();
    let (release, rest) = said.split_once(" (commit ").expect(said);
    assert_eq!(release, concat!("ringway ", env!("CARGO_PKG_VERSION")));
    let (commit, rest) = rest.split_once(", ").expect(said);
    let (compiler, build) = rest.rsplit_once(", ").expect(said);

    let program = Path::new(env!("CARGO_BIN_EXE_ringway"));
    let folder = program.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a name");
    let expected = if folder == "debug" { "dev" } else { folder };
    assert_eq!(build.trim_end_matches(')').trim_end_matches("+pgo"), expected);
    assert!(compiler.starts_with("rustc "), "{said}");

    let git = Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(ROOT).output();
    let head = git.ok().filter(|_| Path::new(ROOT).join(".git").exists());
    let head = head.map_or("unknown".to_owned(), |output| text(&output.stdout).trim().to_owned());
    assert_eq!(commit, std::env::var("RINGWAY_COMMIT").unwrap_or(head));
}
