//! Compiles `proto/` without `protoc`: the demo's messages and services as Rust with one descriptor set, and the
//! messages and services that the tests and the quick start speak.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=profile/release.profdata");
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
    Ok(())
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
