//! The program as somebody meets it who has a service and no configuration.

use crate::support::gateway::asked;
use crate::support::http1::Http1;
use crate::support::library::{Library, Scratch};
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

fn ringway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).env_remove("RINGWAY_CONFIG").env_remove("RINGWAY_LOG");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A gateway that was started with these arguments. Killed if the test ends before it does.
struct Running {
    child: Child,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Starts it with a log in JSON, and waits until it serves.
async fn start(arguments: &[&str]) -> Running {
    let mut command = ringway(arguments);
    command.args(["--set", "admin.address=127.0.0.1:0", "--log-format", "json"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program was built for this test");
    let log = BufReader::new(child.stderr.take().expect("it was asked for"));
    let (tell, mut told) = mpsc::unbounded_channel();
    std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let mut lines = Vec::new();
    let ready = async {
        while let Some(line) = told.recv().await {
            let event: serde_json::Value = serde_json::from_str(&line).expect("each line is JSON");
            if event["message"] == "ready" {
                return event;
            }
            lines.push(line);
        }
        panic!("it has ended: {lines:?}");
    };
    let event = within(Duration::from_secs(20), "the gateway is ready", ready).await;
    let text = |key: &str| event[key].as_str().expect("text").to_owned();
    assert_eq!(text("dashboard"), format!("http://{}/", text("admin")));
    let listener = text("listeners").trim_matches(['[', ']']).parse().expect("an address");
    Running { child, listener, admin: text("admin").parse().expect("an address") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_needs_no_file() {
    let service = Service::start(|_, _| Act::Answer).await;
    let to = service.address().to_string();
    let running = start(&["run", "--to", &to, "--listen", "127.0.0.1:0", "--set", "workers=1"]).await;
    let mut client = RawClient::connect(running.listener).await;
    let reply = client.call(EMPTY_CALL, &[], b"").await;
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
    assert_eq!(asked(running.admin, "/ready").await, "HTTP/1.1 200 OK");
    // A caller that sends JSON hears why it is not served.
    let mut http1 = Http1::connect(running.listener).await;
    let answer =
        http1.ask(&format!("POST {EMPTY_CALL}"), &[("content-type", "application/json")], b"{}").await;
    assert_eq!(answer.status, 404);
    let message = answer.json()["message"].to_string();
    assert!(message.contains("JSON is off") && message.contains("[transcoding]"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_reflection_is_served_as_json() {
    let library = Library::start();
    let to = library.address().to_string();
    let running = start(&["run", "--to", &to, "--listen", "127.0.0.1:0", "--reflection"]).await;
    let mapped = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let mut http1 = Http1::connect(running.listener).await;
            let answer = http1.ask("GET /v1/shelves/a/books/b", &[], b"").await;
            if answer.status != 503 {
                return answer;
            }
        }
    };
    let answer = within(Duration::from_secs(20), "the service tells its methods", mapped).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn init_writes_a_file_that_check_takes_and_overwrites_none() {
    let scratch = Scratch::new();
    let path = scratch.0.join("r.toml");
    let path = path.to_str().expect("a path in UTF-8");
    let written = ringway(&["init", path, "--to", "10.0.0.7:50051"]).output().expect("it runs");
    assert!(written.status.success(), "{}", said(&written));
    assert!(said(&written).contains(&format!("ringway run {path}")), "{}", said(&written));
    let checked = ringway(&["check", path]).output().expect("it runs");
    assert!(checked.status.success(), "{}", said(&checked));
    let text = fs::read_to_string(path).expect("it is there");
    assert!(
        text.contains("endpoints = [\"10.0.0.7:50051\"]") && text.contains("\n#workers = \"auto\""),
        "{text}"
    );

    let again = ringway(&["init", path]).output().expect("it runs");
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("is there already (--force overwrites it)"), "{}", said(&again));
    assert_eq!(fs::read_to_string(path).expect("it is there"), text);
    let forced = ringway(&["init", path, "--force"]).output().expect("it runs");
    assert!(forced.status.success(), "{}", said(&forced));
    let wrong = ringway(&["init", "-", "--to", "10.0.0.7"]).output().expect("it runs");
    assert!(said(&wrong).contains("add the port"), "{}", said(&wrong));
}

#[test]
fn commands_that_print_print_what_they_say() {
    let print = |arguments: &[&str]| {
        let output = ringway(arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let schema: serde_json::Value = serde_json::from_str(&print(&["schema"])).expect("JSON");
    assert_eq!(schema["properties"]["workers"]["default"], "auto");
    for (shell, word) in
        [("bash", "_ringway()"), ("zsh", "#compdef ringway"), ("fish", "complete -c ringway")]
    {
        let script = print(&["completions", shell]);
        assert!(script.contains(word) && script.contains("check"), "{shell}: {script}");
    }
    let page = print(&["man"]);
    for word in [".TH ringway", "RINGWAY RUN", "reflection", "RINGWAY CHECK"] {
        assert!(page.contains(word), "no {word} in {page}");
    }
    for command in [&[][..], &["run"], &["check"], &["init"], &["top"], &["tap"], &["doctor"], &["load-test"]]
    {
        let help = print(&[command, &["--help"]].concat());
        let is_wide = |line: &&str| line.chars().count() > 100;
        assert_eq!(help.lines().find(is_wide), None, "{command:?}");
    }
    let help = print(&["--help"]);
    assert!(help.contains("  init ") && !help.contains("report"), "{help}");
}

#[test]
fn a_command_without_a_file_says_what_it_wants() {
    for (arguments, words) in [
        (&["run"][..], "ringway run --to 127.0.0.1:50051"),
        (&["check"], "ringway check FILE"),
        (&["run", "--to", "127.0.0.1:1", "r.toml"], "cannot be used with"),
        (&["run", "--reflection"], "--to <ADDRESS>"),
        (&["run", "--reflection", "r.toml"], "cannot be used with"),
        (&["run", "--listen", "127.0.0.1:1", "r.toml"], "cannot be used with"),
        (&["run", "--admin", "127.0.0.1:1", "r.toml"], "cannot be used with"),
        (&["run", "--to", "127.0.0.1:1", "--listen", "localhost:1"], "such as 127.0.0.1:8080"),
    ] {
        for config in [None, Some("")] {
            let mut command = ringway(arguments);
            if let Some(config) = config {
                command.env("RINGWAY_CONFIG", config);
            }
            let output = command.output();
            let output = output.expect("it runs");
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
        }
    }
    let forgotten = ringway(&["good.toml"]).output().expect("it runs");
    assert!(said(&forgotten).contains("ringway run good.toml"), "{}", said(&forgotten));
    let misspelt = ringway(&["chekc"]).output().expect("it runs");
    assert!(!said(&misspelt).contains("ringway run"), "{}", said(&misspelt));
}

/// No file has a line and a column here, so the option is named. It is a line of the log, as all that `run` says.
#[test]
fn a_wrong_option_is_named_with_the_way_out() {
    let to = ["run", "--to", "127.0.0.1:1", "--listen"];
    for (arguments, words, hint) in [
        (
            &["run", "--to", "50051"][..],
            " ERROR --to 50051: must be ",
            "(add the host: 127.0.0.1 is this one)",
        ),
        (&["run", "--to", ":50051"], " ERROR --to :50051: must be ", "write 127.0.0.1 before the colon"),
        (&[&to[..], &["unix:run"]].concat(), " ERROR --listen unix:run: must be ", "behind three slashes"),
        (
            &[&to[..], &["127.0.0.1:9901"]].concat(),
            " ERROR --listen 127.0.0.1:9901: already taken by admin.address",
            "own",
        ),
        (&["run", "--to", "h:1", "--set", "workers=0"], " ERROR --set workers=0: workers: must be ", "1024"),
    ] {
        let output = ringway(arguments).output().expect("it runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(words) && said.contains(hint), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
    }
    let json = ringway(&["run", "--to", "x", "--log-format", "json"]).output().expect("it runs");
    let line: serde_json::Value = serde_json::from_str(&said(&json)).expect("a line of JSON");
    assert_eq!(line["level"], "ERROR", "{line}");
}

/// A file of minimal settings in a folder, with `rest` at its end.
fn file(folder: &Path, listener: &str, rest: &str) -> String {
    let path = folder.join("r.toml");
    let text = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"{listener}\"\n[[routes]]\ncluster = \"a\"\n{rest}"
    );
    fs::write(&path, text).expect("the test's folder");
    path.to_str().expect("a path in UTF-8").to_owned()
}

const CLUSTER: &str = "[[clusters]]\nname = \"a\"\nendpoints = [\"127.0.0.1:1\"]\n";

#[test]
fn a_port_that_is_taken_is_told_by_check_and_at_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let scratch = Scratch::new();
    let path = file(&scratch.0, &address.to_string(), CLUSTER);
    let now = format!("port {} is taken now, by a running gateway or by another process", address.port());
    let checked = ringway(&["check", &path]).output().expect("it runs");
    assert!(checked.status.success() && said(&checked).contains(&now), "{}", said(&checked));
    let words = format!("port {} is taken by another process", address.port());
    let run = ringway(&["run", &path]).output().expect("it runs");
    assert_eq!(run.status.code(), Some(1));
    assert!(said(&run).contains(&words), "{}", said(&run));
}

/// The second gateway of a port says so; before, both were ready and each had half of the clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_do_not_share_a_port_by_mistake() {
    let first = start(&["run", "--to", "127.0.0.1:1", "--listen", "127.0.0.1:0"]).await;
    let listen = first.listener.to_string();
    let second = ["run", "--to", "127.0.0.1:1", "--listen", &listen, "--set", "admin.address=127.0.0.1:0"];
    let output = ringway(&second).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is taken by another process"), "{}", said(&output));
}

#[test]
fn check_warns_of_what_works_and_was_hardly_meant() {
    let scratch = Scratch::new();
    let proto = "syntax = \"proto3\"; package p; service Echo { rpc Say(M) returns (M); } message M {}";
    fs::write(scratch.0.join("p.proto"), proto).expect("the test's folder");
    let path = file(
        &scratch.0,
        "127.0.0.1:0",
        "match.service = \"p.Ecco\"\n[[clusters]]\nname = \"a\"\nendpoints = [\"nowhere.invalid:1\"]\n\
         [[clusters]]\nname = \"b\"\nendpoints = [\"127.0.0.1:1\", \"unix:///no/such/folder/echo.sock\", \"unix:///dev/null\", \
         \"unix:///run/circle.sock\"]\n[[listeners]]\naddress = \"unix:///run/circle.sock\"\n\
         [access_log]\npath = \"/no/such/folder/access.log\"\n[transcoding]\nprotos = [\"p.proto\"]\n\
         [dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"500ms\"\n",
    );
    let checked = ringway(&["check", &path]).output().expect("it runs");
    let text = said(&checked);
    assert!(checked.status.success(), "{text}");
    for words in [
        "warning: routes.match.service = \"p.Ecco\": no such service in the descriptors (did you mean \"p.Echo\"?)",
        "warning: clusters \"b\": no route leads to it",
        "warning: clusters \"b\": the endpoint unix:///run/circle.sock is this gateway's own listener",
        "there is no folder /no/such/folder",
        "warning: clusters \"b\": unix:///no/such/folder/echo.sock: there is no folder /no/such/folder",
        "warning: clusters \"b\": unix:///dev/null: it is not a socket",
        "warning: clusters \"a\": the name nowhere.invalid does not resolve now: ",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(!text.contains("Error {") && !text.contains("Some("), "for programmers: {text}");
}
