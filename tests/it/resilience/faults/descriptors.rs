//! Faults of descriptors and reflection.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use super::{Replies, yes_or_no};
use crate::json::reflection::Odd;
use crate::support::gateway::gateway_config;
use crate::support::http1::Http1;
use crate::support::library::Scratch;
use crate::support::process::Process;
use crate::support::raw::message;
use crate::support::speaker::{Answer, Speaker};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_reflection::pb::v1::server_reflection_server::ServerReflectionServer;

/// How `check` ends with such tables of descriptors.
fn checked(program: &Path, scratch: &Scratch, tables: &str) -> ExitStatus {
    let config = scratch.0.join("r.toml");
    let nowhere = ([127, 0, 0, 1], 1).into();
    std::fs::write(&config, gateway_config(&[nowhere], "epoll", tables)).expect("a folder");
    let done = Command::new(program).args(["check", "--config"]).arg(&config).output().expect("it runs");
    done.status
}

pub(super) fn unknown_syntax(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let scratch = Scratch::new();
        let file = FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            syntax: Some("proto4".to_owned()),
            ..FileDescriptorProto::default()
        };
        let set = scratch.0.join("a.protoset");
        std::fs::write(&set, FileDescriptorSet { file: vec![file] }.encode_to_vec()).expect("a folder");
        let tables = format!("[transcoding]\ndescriptor_sets = [{set:?}]\n");
        format!("exit {}", checked(program, &scratch, &tables).code().unwrap_or(-1))
    })
}

/// A source of many fields. A debug build gets ten times a release build's second.
pub(super) fn many_fields(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let scratch = Scratch::new();
        let fields = (1..=20_000).filter(|number| !(19_000..20_000).contains(number));
        let fields: String =
            fields.map(|number| format!("M f{number} = {number} [deprecated = true]; // Old.\n")).collect();
        let text = format!("syntax = \"proto3\";\npackage t;\nmessage M {{\n{fields}}}\n");
        let tables = sources(&scratch, &text);
        let begun = Instant::now();
        checked(program, &scratch, &tables);
        let took = begun.elapsed();
        println!("{took:?}");
        yes_or_no(took < Duration::from_secs(10), "in time", "too long")
    })
}

/// Writes a source, and returns the tables that name it.
fn sources(scratch: &Scratch, text: &str) -> String {
    let path = scratch.0.join("a.proto");
    std::fs::write(&path, text).expect("a folder");
    let folder = &scratch.0;
    let google = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    format!("[transcoding]\nprotos = [{path:?}]\nproto_paths = [{folder:?}, {google:?}]\n")
}

/// The answer to a request, where the program starts at all and knows the path.
async fn served(program: &Path, config: String, line: &str) -> Option<String> {
    let program = program.to_owned();
    let begun = tokio::spawn(async move { Process::start_program(&program, &config).await });
    // It panics where the program ends.
    let process = begun.await.ok()?;
    let mut client = Http1::connect(process.listener).await;
    let answer = client.ask(line, &[("content-type", "application/json")], b"{}").await;
    (!matches!(answer.status, 404 | 503)).then(|| answer.text().to_owned())
}

pub(super) fn half_described(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = incoming.local_addr().expect("it is bound");
        let server = Server::builder().add_service(ServerReflectionServer::new(Odd));
        let serving = tokio::spawn(server.serve_with_incoming(incoming));
        let tables = "[transcoding]\nreflection = [\"interop\"]\n";
        let answer = served(program, gateway_config(&[address], "epoll", tables), "POST /odd.S/M").await;
        serving.abort();
        yes_or_no(answer.is_some(), "served", "not served")
    })
}

pub(super) fn one_bad_rule(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let (service, scratch) = (answers(b"").await, Scratch::new());
        let text = "syntax = \"proto3\";\npackage t;\nimport \"google/api/annotations.proto\";\nmessage M {}\n\
                    service S {\n\
                    rpc Good(M) returns (M) { option (google.api.http) = { post: \"/v1/good\" body: \"*\" }; }\n\
                    rpc Bad(M) returns (M) { option (google.api.http) = { get: \"/v1/{none}\" }; }\n}\n";
        let tables = sources(&scratch, text);
        let config = gateway_config(&[service.address()], "epoll", &tables);
        let answer = served(program, config, "POST /v1/good").await;
        yes_or_no(answer.is_some(), "served", "not served")
    })
}

/// A service whose answers are this message.
async fn answers(bytes: &'static [u8]) -> Speaker {
    let head = &[("content-type", "application/grpc")];
    Speaker::start(move |_| Answer::whole(head, message(0, bytes))).await
}

pub(super) fn key_twice(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let (wire, scratch) = (b"\xc2\x03\x04\x08\x01\x10\x00\xc2\x03\x04\x08\x01\x10\x01", Scratch::new());
        let service = answers(wire).await;
        let text = "syntax = \"proto3\";\npackage t;\nmessage M { map<int32, int32> m = 56; }\n\
                    service S { rpc Get(M) returns (M); }\n";
        let tables = sources(&scratch, text);
        let config = gateway_config(&[service.address()], "epoll", &tables);
        served(program, config, "POST /t.S/Get").await.unwrap_or("none".to_owned())
    })
}
