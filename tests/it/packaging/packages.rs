//! Packages: what is in them, and that two builds have the same bytes. `tests/packages.sh` starts the gateway in them.
//!
//! A small program stands in for the gateway, so that nothing has to be built.

use crate::support::library::Scratch;
use crate::support::tools::tool;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The commit that stands in names, and its time.
const COMMIT: (&str, &str) = ("0123abcd", "1700000000");
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "~20231114.0123abcd");

/// Runs a script of packages, with a folder of its own for each name.
fn package(script: &str, program: &Path, output: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(Path::new("scripts").join(script));
    command.current_dir(ROOT).arg("--binary").arg(program).arg("--output").arg(output).args(more);
    command.env("RINGWAY_COMMIT", COMMIT.0).env("SOURCE_DATE_EPOCH", COMMIT.1);
    command.output().expect("a shell runs it")
}

/// The package that a script makes. Made again, with other times and modes in force, it has the same bytes.
fn made_twice(script: &str, program: &Path, scratch: &Scratch) -> PathBuf {
    let paths = ["a", "b"].map(|name| {
        let output = package(script, program, &scratch.0.join(name), &[]);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).expect("a path");
        PathBuf::from(said.trim_end())
    });
    let [first, again] = paths.each_ref().map(|path| fs::read(path).expect("the package"));
    assert!(first == again, "{} and {} differ", paths[0].display(), paths[1].display());
    let [first, _] = paths;
    first
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The names in an archive and what `tar` says of each: its mode and owner.
fn listed(tar: &mut Command) -> BTreeMap<String, String> {
    let said = run(tar.env("TZ", "UTC"));
    let line = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [mode, owner, _, date, time, name] = words[..] else { panic!("{line}") };
        assert_eq!((date, time), ("2023-11-14", "22:13"), "{name} has a time of its own");
        (name.trim_start_matches("./").to_owned(), format!("{mode} {owner}"))
    };
    said.lines().map(line).collect()
}

/// A program that says nothing, linked like the gateway that it stands in for.
fn stand_in(scratch: &Scratch, flags: &[&str]) -> Option<PathBuf> {
    tool("readelf")?;
    let (source, program) = (scratch.0.join("main.c"), scratch.0.join("program"));
    fs::write(&source, "int main(void) { return 0; }\n").expect("the test's folder");
    run(tool("cc")?.args(flags).arg("-o").arg(&program).arg(&source));
    Some(program)
}

#[test]
fn the_debian_package_has_all_that_a_service_needs() {
    let scratch = Scratch::new();
    let Some(program) = stand_in(&scratch, &[]) else { return };
    if tool("dpkg-deb").is_none() {
        return;
    }
    let package = made_twice("package-deb.sh", &program, &scratch);
    let name = package.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(name.starts_with(&format!("ringway_{VERSION}-1_")), "{name}");

    let all =
        listed(Command::new("sh").arg("-c").arg("dpkg-deb --fsys-tarfile \"$0\" | tar -tv").arg(&package));
    let expected = [
        ("usr/bin/ringway", "-rwxr-xr-x root/root"),
        ("etc/ringway/ringway.toml", "-rw-r----- root/root"),
        ("usr/lib/systemd/system/ringway.service", "-rw-r--r-- root/root"),
        ("usr/lib/systemd/system/ringway.service.d/limits.conf", "-rw-r--r-- root/root"),
        ("usr/share/bash-completion/completions/ringway", "-rw-r--r-- root/root"),
        ("usr/share/zsh/vendor-completions/_ringway", "-rw-r--r-- root/root"),
        ("usr/share/fish/vendor_completions.d/ringway.fish", "-rw-r--r-- root/root"),
        ("usr/share/man/man1/ringway.1.gz", "-rw-r--r-- root/root"),
        ("usr/share/ringway/tuning/99-ringway.conf", "-rw-r--r-- root/root"),
        ("usr/share/ringway/tuning/irq.sh", "-rwxr-xr-x root/root"),
        ("usr/share/doc/ringway/copyright", "-rw-r--r-- root/root"),
    ];
    for (file, told) in expected {
        assert_eq!(all.get(file).map(String::as_str), Some(told), "{file}");
    }

    let folder = scratch.0.join("unpacked");
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(&package).arg(&folder));
    let read = |path: &str| fs::read_to_string(folder.join(path)).expect("a file of the package");
    assert_eq!(read("DEBIAN/conffiles"), "/etc/ringway/ringway.toml\n");
    let control = read("DEBIAN/control");
    assert!(control.contains("\nDepends: adduser, libc6 (>= 2."), "{control}");
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").arg("-n").arg(folder.join("DEBIAN").join(script)));
    }
    let unit = read("usr/lib/systemd/system/ringway.service");
    let has = |line: &str| unit.lines().any(|each| each == line);
    assert!(has("ExecStart=/usr/bin/ringway run --config /etc/ringway/ringway.toml"), "{unit}");
    assert!(has("User=ringway") && has("Group=ringway") && !unit.contains("DynamicUser"), "{unit}");
    assert!(!unit.contains("/usr/local"), "{unit}");
    let config = read("etc/ringway/ringway.toml");
    ringway::config::parse(&config, Path::new("ringway.toml")).expect("one that the gateway takes");
}

#[test]
fn the_static_archive_has_checksums_of_all_that_is_in_it() {
    let scratch = Scratch::new();
    let Some(program) = stand_in(&scratch, &["-static"]) else { return };
    let package = made_twice("package-static.sh", &program, &scratch);
    run(Command::new("sha256sum")
        .arg("--check")
        .arg(package.with_extension("gz.sha256"))
        .current_dir(package.parent().expect("a folder")));
    let all = listed(Command::new("tar").arg("-tvzf").arg(&package));
    let files = all.values().filter(|told| told.starts_with('-')).count();
    assert!(all.values().all(|told| told.ends_with(" 0/0")), "{all:?}");

    run(Command::new("tar").arg("-xzf").arg(&package).arg("-C").arg(&scratch.0));
    let folder = package.file_name().and_then(|name| name.to_str()).expect("a name");
    let folder = scratch.0.join(folder.strip_suffix(".tar.gz").expect("its ending"));
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&folder));
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).expect("the checksums");
    assert_eq!(sums.lines().count() + 1, files, "each file but the list itself:\n{sums}\n{all:?}");
}

#[test]
fn the_image_is_what_its_digests_say() {
    let scratch = Scratch::new();
    let Some(program) = stand_in(&scratch, &["-static"]) else { return };
    let image = made_twice("package-image.sh", &program, &scratch);
    let Some(mut unpack) = tool("python3") else { return };
    let root = scratch.0.join("root");
    unpack.arg(Path::new(ROOT).join("tests/support/unpack_image.py")).arg(&image).arg(&root);
    let command = run(&mut unpack);
    assert_eq!(
        command.lines().collect::<Vec<_>>(),
        ["65532:65532", "/usr/local/bin/ringway", "run", "--config", "/etc/ringway/ringway.toml"]
    );
    assert_eq!(
        fs::read(root.join("usr/local/bin/ringway")).expect("the program"),
        fs::read(&program).expect("the stand-in")
    );
    let passwd = fs::read_to_string(root.join("etc/passwd")).expect("its only user");
    assert!(passwd.starts_with("ringway:x:65532:65532:"), "{passwd}");
    // The same image in the words of Docker's own archive.
    run(Command::new("tar").arg("-xf").arg(&image).arg("-C").arg(&scratch.0).arg("./manifest.json"));
    let docker = fs::read_to_string(scratch.0.join("manifest.json")).expect("it was unpacked");
    let docker: serde_json::Value = serde_json::from_str(&docker).expect("it is JSON");
    assert_eq!(docker[0]["RepoTags"][0], format!("ringway:{}", VERSION.replace('~', "-")));
    let layers = docker[0]["Layers"].as_array().expect("a list of layers");
    let config = docker[0]["Config"].as_str().expect("a path");
    let paths = layers.iter().map(|layer| layer.as_str().expect("a path")).chain([config]);
    for path in paths {
        run(Command::new("tar").arg("-tf").arg(&image).arg(format!("./{path}")));
    }
}

#[test]
fn roots_are_in_the_image_if_asked_for() {
    let scratch = Scratch::new();
    let Some(program) = stand_in(&scratch, &["-static"]) else { return };
    let roots = scratch.0.join("roots.pem");
    fs::write(&roots, "roots").expect("the test's folder");
    let roots = roots.to_str().expect("a path of ours");
    let output = package("package-image.sh", &program, &scratch.0.join("a"), &["--ca-certificates", roots]);
    assert!(output.status.success(), "{output:?}");
    let Some(mut unpack) = tool("python3") else { return };
    let root = scratch.0.join("root");
    let image = String::from_utf8(output.stdout).expect("a path");
    run(unpack.arg(Path::new(ROOT).join("tests/support/unpack_image.py")).arg(image.trim_end()).arg(&root));
    assert_eq!(
        fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).expect("the roots"),
        "roots"
    );
}

#[test]
fn a_program_that_loads_libraries_is_no_static_one() {
    let scratch = Scratch::new();
    let Some(program) = stand_in(&scratch, &[]) else { return };
    for script in ["package-static.sh", "package-image.sh"] {
        let output = package(script, &program, &scratch.0, &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{script}: {told}");
        assert!(told.contains("-Ctarget-feature=+crt-static"), "{script}: {told}");
    }
}

#[test]
fn wrong_options_of_the_scripts_are_named() {
    let scratch = Scratch::new();
    let none = Path::new("/no/such/program");
    for script in ["package-deb.sh", "package-static.sh", "package-image.sh"] {
        let cases = [
            (vec!["--profile", "debug"], "--profile is dist or release"),
            (vec!["--fast"], "--fast is no option"),
            (vec!["--profile"], "--profile has no value"),
            (vec![], "/no/such/program is not a program"),
        ];
        for (options, said) in cases {
            let output = package(script, none, &scratch.0, &options);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{script} {options:?}: {told}");
            assert!(told.contains(said), "{script} {options:?}: {told}");
        }
        let help = run(Command::new(Path::new("scripts").join(script)).arg("--help").current_dir(ROOT));
        assert!(help.contains(script) && help.contains("--binary FILE"), "{help}");
    }
}
