//! Compiles `proto/` without `protoc`: the demo's messages and services as Rust, and one descriptor set.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");

    let mut files = Vec::new();
    find_protos(Path::new("proto/ringway"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(&files)?;

    // The encoded set keeps the google.api.http options, which prost's own descriptor types would lose. It goes out
    // over reflection, so it carries no comments.
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    fs::write(
        out.join("ringway.demo.protoset"),
        compiler.encode_file_descriptor_set(),
    )?;

    // The generated code does carry the comments, as its documentation.
    compiler.include_source_info(true);
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn find_protos(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
