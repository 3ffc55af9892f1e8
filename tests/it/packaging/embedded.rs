//! The program without a command, as somebody starts it who has just built it: what it prints is tried.

use crate::support::http1::Http1;
use crate::support::raw::RawClient;
use crate::support::within;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

/// Killed if the test ends before it does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Starts it, and waits for the last line of its greeting; all lines.
async fn greeted() -> (Running, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    // Its usual ports may be others' here.
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env_remove("RINGWAY_CONFIG").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program was built for this test");
    let said = BufReader::new(child.stdout.take().expect("it was asked for"));
    let (tell, mut told) = mpsc::unbounded_channel();
    std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let mut lines: Vec<String> = Vec::new();
    let greeting = async {
        while let Some(line) = told.recv().await {
            let last = line.contains("/metrics");
            lines.push(line);
            if last {
                return;
            }
        }
        panic!("it has ended: {lines:?}");
    };
    within(Duration::from_secs(20), "the greeting", greeting).await;
    (Running(child), lines)
}

/// Where `curl` would go, and what it would ask for.
fn target(line: &str) -> Option<(SocketAddr, String)> {
    let (_, url) = line.trim().strip_prefix("curl -s")?.split_once("http://")?;
    let url = url.split(['\'', ' ']).next()?;
    let (address, path) = url.split_once('/')?;
    Some((address.parse().ok()?, format!("/{path}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_prints_works_and_all_four_services_answer() {
    let (mut running, lines) = greeted().await;
    let commands: Vec<_> = lines.iter().filter_map(|line| target(line)).collect();
    assert_eq!(commands.len(), 3, "{lines:?}");
    for (address, path) in &commands {
        let answer = Http1::connect(*address).await.ask(&format!("GET {path}"), &[], b"").await;
        assert_eq!((answer.status, answer.body.is_empty()), (200, false), "{path}: {answer:?}");
    }

    let gateway = commands[0].0;
    let mut json = Http1::connect(gateway).await;
    for (path, status) in [
        ("/v1/auth/accounts/nobody", 404),
        ("/v1/chats", 200),
        ("/v1/employees", 200),
        ("/v1/universities", 200),
        ("/v1/nothing", 404),
    ] {
        let answer = json.ask(&format!("GET {path}"), &[], b"").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.json().is_object(), "{path}: {answer:?}");
    }
    let mut grpc = RawClient::connect(gateway).await;
    for method in [
        "auth.v1.AuthService/GetAccount",
        "chat.v1.ChatService/ListChats",
        "employee.v1.EmployeeService/ListEmployees",
        "structure.v1.StructureService/ListUniversities",
    ] {
        let reply = grpc.call(&format!("/ringway.demo.{method}"), &[], b"").await;
        let wanted = if method.starts_with("auth") { ["3", "5"] } else { ["0", "0"] };
        assert!(reply.grpc_status().is_some_and(|status| wanted.contains(&status)), "{method}: {reply:?}");
    }

    let counted = Http1::connect(commands[2].0).await.ask("GET /metrics", &[], b"").await;
    for cluster in ["auth", "chat", "employee", "structure"] {
        let line = format!("cluster=\"{cluster}\"");
        assert!(counted.text().lines().any(|it| it.starts_with("ringway_calls_total") && it.contains(&line)));
    }
    let kill = Command::new("kill").arg("-TERM").arg(running.0.id().to_string()).status();
    assert!(kill.expect("there is a kill command").success());
    let ended = tokio::task::spawn_blocking(move || running.0.wait());
    let status = within(Duration::from_secs(10), "it ends", ended).await.expect("no panic");
    assert_eq!(status.expect("a child of ours").code(), Some(0));
}

#[test]
fn the_addresses_are_for_the_demo_alone() {
    for command in ["run", "check", "doctor"] {
        let mut ringway = Command::new(env!("CARGO_BIN_EXE_ringway"));
        let output = ringway.args(["--listen", "127.0.0.1:0", command]).output().expect("it was built");
        assert_eq!(output.status.code(), Some(2), "{command}: {output:?}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("--help").output().expect("it was built");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("[default: 127.0.0.1:8080]") && help.contains("[default: 127.0.0.1:9901]"),
        "{help}"
    );
}
