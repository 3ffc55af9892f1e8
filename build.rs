//! Compiles `proto/` without `protoc`: the demo's messages and services as Rust with one descriptor set, and the
//! messages and services that the tests and the quick start speak. Then says what is built, for `ringway --version`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=examples/quickstart/greeter.proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);

    // The encoded set keeps the google.api.http options, which prost's own descriptor types would lose. It goes out
    // over reflection, so it carries no comments.
    let mut demo = compile(&protos("proto/ringway")?, false)?;
    fs::write(out.join("ringway.demo.protoset"), demo.encode_file_descriptor_set())?;

    // The generated code does carry the comments, as its documentation.
    demo = compile(&protos("proto/ringway")?, true)?;
    tonic_prost_build::configure().compile_fds(demo.file_descriptor_set())?;
    tonic_prost_build::configure()
        .compile_fds(compile(&protos("proto/grpc")?, true)?.file_descriptor_set())?;
    let greeter = compile(&["examples/quickstart/greeter.proto".into()], false)?;
    fs::write(out.join("greeter.protoset"), greeter.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(greeter.file_descriptor_set())?;

    println!("cargo:rustc-env=RINGWAY_COMMIT={}", commit());
    let compiler = env::var("RUSTC").ok().and_then(|rustc| said(Command::new(rustc).arg("--version")));
    println!("cargo:rustc-env=RINGWAY_COMPILER={}", compiler.as_deref().unwrap_or("rustc unknown"));
    println!("cargo:rustc-env=RINGWAY_BUILD={}", profile(&out));
    Ok(())
}

/// The commit of this checkout, or of the environment where the sources were taken out of one.
fn commit() -> String {
    println!("cargo:rerun-if-env-changed=RINGWAY_COMMIT");
    if let Some(given) = env::var("RINGWAY_COMMIT").ok().filter(|given| !given.is_empty()) {
        return given;
    }
    let git = |arguments: &[&str]| said(Command::new("git").args(arguments));
    // A prefix means that the checkout is somebody else's, which these sources lie in.
    if git(&["rev-parse", "--show-prefix"]).as_deref() != Some("") {
        return "unknown".to_owned();
    }
    // Only what exists: Cargo takes a file that is not there for a change, at every build. HEAD changes with the branch,
    // its log with each commit; the others say it where no log is kept.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let watched = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
    let paths = watched.filter_map(|name| git(&["rev-parse", "--git-path", name]));
    for path in paths.filter(|path| Path::new(path).is_file()) {
        println!("cargo:rerun-if-changed={path}");
    }
    git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// `dev`, `release`, `dist`, or another profile's name; with `+pgo` where a recorded profile is used.
fn profile(out: &Path) -> String {
    // Cargo tells build scripts `release` for all that inherits it; its folder has the name: PROFILE/build/PACKAGE/out.
    let build = out.ancestors().find(|path| path.ends_with("build"));
    let name = build.and_then(|path| path.parent()?.file_name()?.to_str());
    let name = match name {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let recorded = flags.split('\x1f').any(|flag| flag.contains("profile-use="));
    format!("{name}{}", if recorded { "+pgo" } else { "" })
}

/// The one line that a program says, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn compile(files: &[PathBuf], comments: bool) -> Result<protox::Compiler, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto", "examples/quickstart"])?;
    compiler.include_imports(true).include_source_info(comments).open_files(files)?;
    Ok(compiler)
}

fn protos(folder: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    find_protos(Path::new(folder), &mut files)?;
    files.sort();
    Ok(files)
}

fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
