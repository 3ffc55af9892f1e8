//! `/tap`, `ringway tap` and `ringway top`: a gateway watched live.

use crate::support::gateway::{GatewayBuilder, gateway_config, metric_becomes, start};
use crate::support::http1::Http1;
use crate::support::interop_server::InteropServer;
use crate::support::raw::{EMPTY_CALL, RawClient};
use ringway::supervisor::Gateway;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Lines of a tap as they come; it is open when this returns.
fn tap(gateway: &Gateway, query: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(gateway.admin()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes its options");
    let mut reader = BufReader::new(stream);
    write!(reader.get_mut(), "GET /tap?{query} HTTP/1.0\r\nhost: a\r\n\r\n").expect("it reads");
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).expect("it answers") > 0, "no answer");
    }
    reader
}

fn next(reader: &mut BufReader<TcpStream>) -> Value {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line comes");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_shows_the_calls_that_are_wanted_and_never_what_is_in_them() {
    let server = InteropServer::start();
    let log = "[access_log]\nrequest_headers = [\"x-tenant\"]\n";
    let gateway = start(&format!("{}{log}", gateway_config(&[server.address()], "io_uring", "")));
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    client.call(EMPTY_CALL, &[], b"").await;
    let mut reader = tokio::task::block_in_place(|| tap(&gateway, "errors=1&seconds=50"));
    client.call(EMPTY_CALL, &[], b"").await;
    client.call("/no.Such/Call", &[("x-tenant", "blue")], b"a secret").await;
    let line = tokio::task::block_in_place(|| next(&mut reader));
    assert_eq!((&line["path"], &line["grpc_status"]), (&"/no.Such/Call".into(), &"UNIMPLEMENTED".into()));
    assert_eq!(line["request_headers"]["x-tenant"], "blue");
    assert!(line["upstream_us"].as_u64() > Some(0), "{line}");
    assert!(!line.to_string().contains("secret"), "{line}");

    // One watches at a time, and the next one may when that one has gone.
    let second = Http1::connect(gateway.admin()).await.ask("GET /tap", &[], b"").await;
    assert_eq!(second.status, 409, "{second:?}");
    drop(reader);
    let again = async {
        while Http1::connect(gateway.admin()).await.ask("GET /tap?seconds=0.1", &[], b"").await.status == 409
        {
        }
    };
    crate::support::within(Duration::from_secs(10), "the tap is free again", again).await;
    let wrong = Http1::connect(gateway.admin()).await.ask("GET /tap?paths=/a", &[], b"").await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_ends_by_itself_and_says_what_it_saw() {
    let server = InteropServer::start();
    let gateway = start(&gateway_config(&[server.address()], "epoll", ""));
    let mut reader = tokio::task::block_in_place(|| tap(&gateway, "seconds=0.5"));
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    for _ in 0..5 {
        client.call(EMPTY_CALL, &[], b"").await;
    }
    let lines: Vec<Value> = tokio::task::block_in_place(|| (0..6).map(|_| next(&mut reader)).collect());
    assert!(lines[..5].iter().all(|line| line["grpc_status"] == "OK"), "{lines:?}");
    assert_eq!((&lines[5]["seen"], &lines[5]["dropped"]), (&5.into(), &0.into()), "{lines:?}");
}

#[tokio::test]
async fn the_operator_may_forbid_it() {
    let server = InteropServer::start();
    let gateway = GatewayBuilder::new(&[server.address()], "epoll").set("admin.tap", false).start();
    let answer = Http1::connect(gateway.admin()).await.ask("GET /tap", &[], b"").await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_show_a_gateway() {
    let server = InteropServer::start();
    let gateway = start(&gateway_config(&[server.address()], "epoll", ""));
    let admin = gateway.admin().to_string();
    let program = || Command::new(env!("CARGO_BIN_EXE_ringway"));
    let mut watching =
        program().args(["tap", "--admin", &admin, "--count", "1"]).stdout(Stdio::piped()).spawn();
    let watching = watching.as_mut().expect("it starts");
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    // Until it watches there is nothing to see.
    let ended = async {
        while watching.try_wait().expect("it is a child").is_none() {
            client.call(EMPTY_CALL, &[], b"").await;
        }
    };
    crate::support::within(Duration::from_secs(20), "it shows a call", ended).await;
    let mut shown = String::new();
    let mut stdout = BufReader::new(watching.stdout.take().expect("it is a pipe"));
    stdout.read_to_string(&mut shown).expect("it is text");
    assert!(shown.starts_with("time          status ") && shown.contains(" OK "), "{shown}");
    assert!(shown.contains(EMPTY_CALL), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");

    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    let admin = &admin;
    let top = |json: bool| {
        let mut command = program();
        command.args(["top", "--once", "--interval", "0.2", "--admin", admin]).args(json.then_some("--json"));
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    let text = tokio::task::block_in_place(|| top(false));
    assert!(text.contains("interop") && text.contains("calls/s") && !text.contains('\x1b'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let json: Value = serde_json::from_str(&tokio::task::block_in_place(|| top(true))).expect("it is JSON");
    assert_eq!(json["clusters"][0]["cluster"], "interop", "{json}");
}
