//! The quick start in `examples/quickstart`, as its reader goes through it: the service in Rust, the gateway, and every
//! curl line with the answer that stands below it.

use crate::support::tools::tool;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart");

/// A process that is ended with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Starts a process and reads what it says until a line has an address after `mark`.
fn start(command: &mut Command, mark: &str, from_stdout: bool) -> (Running, SocketAddr) {
    let pipe = if from_stdout { command.stdout(Stdio::piped()) } else { command.stderr(Stdio::piped()) };
    let mut running = Running(pipe.spawn().expect("it was built"));
    let output: Box<dyn std::io::Read + Send> = if from_stdout {
        Box::new(running.0.stdout.take().expect("it was asked for"))
    } else {
        Box::new(running.0.stderr.take().expect("it was asked for"))
    };
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let address = lines.by_ref().find_map(|line| {
        let address = line.split_once(mark).and_then(|(_, rest)| rest.split([',', ']']).next()?.parse().ok());
        said.push(line);
        address
    });
    let address = address.unwrap_or_else(|| panic!("it never said {mark:?}:\n{}", said.join("\n")));
    // Ends with the process; until then nothing must fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (running, address)
}

/// The example, which `cargo test` builds; a single test may be run without it.
fn greeter() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a program");
    let folder = test.parent().and_then(Path::parent).expect("deps, in the folder of the profile");
    let program = folder.join("examples/greeter");
    if !program.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--locked", "--example", "greeter", "--manifest-path"]);
        let status = command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).status();
        assert!(status.expect("cargo runs this test").success());
    }
    program
}

/// A gateway of one of the quick start's configurations, but for the addresses; it lies where that one does.
fn gateway(config: &str, service: SocketAddr) -> (Running, SocketAddr) {
    let text = std::fs::read_to_string(Path::new(FOLDER).join(config)).expect("the quick start has it");
    gateway_of(config, &text, service)
}

fn gateway_of(name: &str, text: &str, service: SocketAddr) -> (Running, SocketAddr) {
    let text = text
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9901", "127.0.0.1:0")
        .replace("127.0.0.1:50051", &service.to_string());
    let path = std::env::temp_dir().join(format!("ringway-quickstart-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("the folder for temporary files takes one");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let checked = command.args(["check", "--config"]).arg(&path).output().expect("it was built");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["run", "--config"]).arg(&path).env_remove("RINGWAY_LOG");
    let started = start(&mut command, "listeners=[", false);
    let _ = std::fs::remove_file(&path);
    started
}

/// The curl lines of the quick start, each with the answer below it.
fn examples() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(Path::new(FOLDER).join("README.md")).expect("the quick start");
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("# {"), found.last_mut()) {
            (Some(rest), Some((_, answer))) => *answer += &format!("{{{rest}\n"),
            _ if line.starts_with("curl ") => found.push((line.to_owned(), String::new())),
            _ => {}
        }
    }
    found
}

fn check_json(gateway: SocketAddr) {
    if tool("curl").is_none() {
        return;
    }
    let examples = examples();
    assert_eq!(examples.len(), 5, "{examples:?}");
    for (line, wanted) in examples {
        let line = line.replace("127.0.0.1:8080", &gateway.to_string()).replace("curl ", "curl -m 10 ");
        let output = Command::new("sh").args(["-c", &line]).output().expect("there is a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), wanted.trim_end(), "{line}");
    }
}

fn check_grpc(gateway: SocketAddr) {
    let output = Command::new(greeter()).args(["call", &gateway.to_string(), "Ada"]).output();
    let output = output.expect("it was built");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello, Ada!\n3\n2\n1\n", "{output:?}");
}

#[test]
fn the_service_in_rust_tells_its_messages_by_reflection() {
    let (_service, address) = start(Command::new(greeter()).arg("127.0.0.1:0"), "serves on ", true);
    let (_gateway, gateway) = gateway("tonic.toml", address);
    check_json(gateway);
    check_grpc(gateway);
}

#[test]
fn a_proto_file_tells_the_same() {
    let (_service, address) = start(Command::new(greeter()).arg("127.0.0.1:0"), "serves on ", true);
    let text =
        std::fs::read_to_string(Path::new(FOLDER).join("python.toml")).expect("the quick start has it");
    let sets = "descriptor_sets = [\"python/build/greeter.protoset\"]";
    assert!(text.contains(sets));
    // Paths begin at the file, which lies elsewhere here.
    let protos = format!("protos = [\"{FOLDER}/greeter.proto\"]\nproto_paths = [\"{FOLDER}\"]");
    let (_gateway, gateway) = gateway_of("proto.toml", &text.replace(sets, &protos), address);
    check_json(gateway);
    check_grpc(gateway);
}
