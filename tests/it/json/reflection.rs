//! Server reflection: asked of services that have it, that have the old one only, and that have none; and what a gateway
//! makes of services that change, go, and never answer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test measures how long a change takes")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::gateway::{self, BACKENDS, gateway_config, metric};
use crate::support::http1::Http1Answer;
use crate::support::library::{Scratch, numbered};
use crate::support::process::Process;
use crate::support::web::{Caller, Version};
use crate::support::within;
use ringway::config::parse;
use ringway::demo::{self, FILE_DESCRIPTOR_SET};
use ringway::supervisor::Gateway;
use ringway::supervisor::reflection::{ReflectionError, ServerDescriptors, ask};
use ringway::transcode::api::{Api, Reflected};
use ringway::transcode::rules::{Captures, Found};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::{ServerReflection, ServerReflectionServer};
use tonic_reflection::pb::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};
use tonic_reflection::server::Builder;

const REST: &str = "[transcoding]\nreflection = [\"echo\"]\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
    [[routes]]\ncluster = \"echo\"\n[[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn api(told: ServerDescriptors) -> Api {
    let ServerDescriptors { files, untold } = told;
    let settings = parse(REST, Path::new("r.toml")).unwrap().transcoding;
    let reflected = [Reflected { origin: "reflection of cluster \"echo\"".to_owned(), files, untold }];
    Api::load(&settings, Path::new(""), &reflected).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn the_services_of_the_demo_tell_their_rules() {
    let demo = demo::start().unwrap();
    let rules = [
        ("auth", "ringway.demo.auth.v1.AuthService"),
        ("chat", "ringway.demo.chat.v1.ChatService"),
        ("employee", "ringway.demo.employee.v1.EmployeeService"),
        ("structure", "ringway.demo.structure.v1.StructureService"),
    ];
    for (name, service) in rules {
        let files = block_on(ask(demo.service(name).unwrap().address)).unwrap();
        let api = api(files);
        let names: Vec<&str> = api.services().iter().map(|service| service.full_name()).collect();
        assert!(names.contains(&service) && names.contains(&"grpc.health.v1.Health"), "{names:?}");
        assert!(names.iter().all(|name| !name.starts_with("grpc.reflection.")), "{names:?}");
        assert!(api.rules().iter().any(|rule| !rule.is_auto), "{name} has rules of its own");
    }
    let api = api(block_on(ask(demo.service("employee").unwrap().address)).unwrap());
    let mut captures = Captures::default();
    let Found::Rule(rule) = api.find("GET", "/v1/employees/7", &mut captures) else { panic!("a rule") };
    let path = api.methods()[api.rules()[rule].method].path.as_str();
    assert_eq!(path, "/ringway.demo.employee.v1.EmployeeService/GetEmployee");
    // Several services answer with one file.
    let two: Vec<Reflected> = ["auth", "chat"]
        .iter()
        .map(|name| Reflected {
            origin: (*name).to_owned(),
            files: block_on(ask(demo.service(name).unwrap().address)).unwrap().files,
            untold: Vec::new(),
        })
        .collect();
    let settings = parse(REST, Path::new("r.toml")).unwrap().transcoding;
    assert!(Api::load(&settings, Path::new(""), &two).is_ok());
}

/// Serves one version of reflection, or none, until the future is dropped.
async fn with_server<T>(version: &str, asked: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    let builder = Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let mut server = Server::builder().add_service(health);
    server = match version {
        "v1" => server.add_service(builder.build_v1().unwrap()),
        "v1alpha" => server.add_service(builder.build_v1alpha().unwrap()),
        _ => server,
    };
    tokio::select! {
        answer = asked(address) => answer,
        ended = server.serve_with_incoming(incoming) => panic!("{ended:?}"),
    }
}

#[test]
fn the_old_version_is_asked_where_the_new_one_is_not() {
    block_on(async {
        let new = with_server("v1", ask).await.unwrap();
        let old = with_server("v1alpha", ask).await.unwrap();
        assert_eq!(new, old);
        assert!(new.files.len() >= 4 && new.untold.is_empty(), "{} files", new.files.len());
        assert_eq!(with_server("none", ask).await, Err(ReflectionError::NotOffered));
    });
}

/// Method: a gateway, as a program of its own, asks a service that has no reflection three times.
#[test]
fn a_service_without_reflection_is_told_once_and_with_the_mend() {
    let log = block_on(with_server("none", async |address| {
        let reflection = "[transcoding]\nreflection = [\"interop\"]\n";
        let mut process = Process::start(&gateway_config(&[address], "epoll", reflection)).await;
        let mut looks = tokio::time::interval(LOOK);
        let asked = async {
            while process.metric("ringway_transcoding_reflections_total").await < 3 {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(60), "it is asked three times", asked).await;
        process.signal("TERM");
        process.log().await
    }));
    let told: Vec<&String> = log.iter().filter(|line| line.contains("server reflection")).collect();
    let [line] = told[..] else { panic!("{log:?}") };
    for part in ["cluster=interop", "switch that on in the service", "transcoding.protos", "docs/CLIENTS.md"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn who_does_not_answer_is_given_up() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(ask(address).await, Err(ReflectionError::TimedOut));
        drop(listener);
        let refused = ask(address).await.unwrap_err();
        assert!(refused.to_string().starts_with("cannot connect: Connection refused"), "{refused}");
    });
}

/// A service that has nothing but reflection, on a thread of its own.
struct Reflecting {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reflecting {
    /// Serves the library, of which one path has this number.
    fn start(address: SocketAddr, scratch: &Scratch, number: u32) -> Self {
        let files: &'static [u8] = numbered(scratch, number).leak();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            block_on(async {
                let service = Builder::configure().register_encoded_file_descriptor_set(files);
                let incoming = TcpIncoming::bind(address).unwrap();
                tell.send(incoming.local_addr().unwrap()).unwrap();
                let server = Server::builder().add_service(service.build_v1().unwrap());
                tokio::select! {
                    ended = server.serve_with_incoming(incoming) => panic!("{ended:?}"),
                    _ = stopped => {}
                }
            });
        });
        Self { address: told.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Reflecting {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn config(upstream: SocketAddr, backend: &str, more: &str) -> String {
    let tables =
        "[transcoding]\nreflection = [\"interop\"]\nreflection_interval = \"1s\"\n".to_owned() + more;
    gateway_config(&[upstream], backend, &tables)
}

/// The answers of all workers to a call of this number's path, asked on several connections.
fn answers(gateway: &Gateway, number: u32) -> Vec<Http1Answer> {
    block_on(async {
        let mut answers = Vec::new();
        for _ in 0..8 {
            let mut caller = Caller::connect(Version::Http1, gateway.listeners()[0]).await;
            let (line, soon) = (format!("REPORT /v1/reports/{number}"), ("x-request-timeout", "20ms"));
            answers.push(caller.ask(&line, &[soon], b"").await);
        }
        answers
    })
}

fn is_unmapped(answer: &Http1Answer) -> bool {
    answer.text().contains("no method is mapped to this path")
}

/// Whether this number's path is mapped.
fn is_mapped(gateway: &Gateway, number: u32) -> bool {
    let answers = answers(gateway, number);
    assert!(answers.iter().all(|answer| matches!(answer.status, 404 | 501 | 503 | 504)), "{answers:?}");
    !answers.iter().any(is_unmapped)
}

/// Waits until `done`, at most so long.
fn becomes(what: &str, at_most: Duration, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < at_most, "{what}: not after {at_most:?}");
        block_on(async { tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK).tick().await });
    }
}

fn asked(gateway: &Gateway, result: &str) -> u64 {
    let name = format!("ringway_transcoding_reflections_total{{result=\"{result}\"}} ");
    let page = gateway.metrics();
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

const LOOK: Duration = Duration::from_millis(20);
const ANY: &str = "127.0.0.1:0";
/// An upstream that is gone is asked again after a second.
const A_WHILE: Duration = Duration::from_secs(10);

#[test]
fn what_services_say_anew_is_taken_over_and_what_they_said_is_kept() {
    for backend in BACKENDS {
        let scratch = Scratch::new();
        let service = Reflecting::start(ANY.parse().unwrap(), &scratch, 1);
        let address = service.address;
        let gateway = gateway::start(&config(address, backend, ""));
        assert!(is_mapped(&gateway, 1) && !is_mapped(&gateway, 2));
        assert_eq!(asked(&gateway, "error"), 0);

        // It goes: what it said stays, and the failure is counted.
        drop(service);
        becomes("failures are counted", A_WHILE, || asked(&gateway, "error") >= 2);
        assert!(is_mapped(&gateway, 1));
        assert_eq!(metric(&gateway, "ringway_transcoding_descriptors_good"), 1);

        // It comes back as another version.
        let _service = Reflecting::start(address, &scratch, 2);
        becomes("the new version", A_WHILE, || is_mapped(&gateway, 2));
        assert!(!is_mapped(&gateway, 1));
        let answered = asked(&gateway, "ok");
        becomes("it is asked again", A_WHILE, || asked(&gateway, "ok") > answered);
    }
}

/// A caller who comes before the service is not told that there is no such path.
#[test]
fn before_a_service_has_said_anything_callers_are_asked_to_wait() {
    for backend in BACKENDS {
        let scratch = Scratch::new();
        let service = Reflecting::start(ANY.parse().unwrap(), &scratch, 1);
        let address = service.address;
        drop(service);
        let gateway = gateway::start(&config(address, backend, ""));
        for answer in answers(&gateway, 1) {
            assert_eq!((answer.status, is_unmapped(&answer)), (503, true), "{answer:?}");
            assert_eq!(answer.field("retry-after"), Some("1"), "{answer:?}");
        }
        let _service = Reflecting::start(address, &scratch, 1);
        becomes("it is mapped", A_WHILE, || is_mapped(&gateway, 1));
        assert!(answers(&gateway, 2).iter().all(|answer| answer.status == 404));
    }
}

/// A new configuration does not forget what services said that are away.
#[test]
fn a_reload_keeps_what_services_said() {
    for backend in BACKENDS {
        let scratch = Scratch::new();
        let service = Reflecting::start(ANY.parse().unwrap(), &scratch, 1);
        let mut gateway = gateway::start(&config(service.address, backend, ""));
        let address = service.address;
        drop(service);
        let other = Reflecting::start(ANY.parse().unwrap(), &scratch, 2);
        let elsewhere = other.address;
        drop(other);
        // Another setting, and then another address; nobody is at either.
        for (address, more) in [(address, "ignore_unknown_fields = true\n"), (elsewhere, "")] {
            let next = parse(&config(address, backend, more), Path::new("test.toml")).unwrap();
            let before = asked(&gateway, "error");
            gateway.reload(next).unwrap_or_else(|error| panic!("{error}"));
            assert!(is_mapped(&gateway, 1), "{address} {more}");
            becomes("it is asked", A_WHILE, || asked(&gateway, "error") > before + 1);
            assert!(is_mapped(&gateway, 1), "{address} {more}");
        }
        let _other = Reflecting::start(elsewhere, &scratch, 2);
        becomes("the new service", A_WHILE, || is_mapped(&gateway, 2));
        assert!(!is_mapped(&gateway, 1));
    }
}

/// A service that takes connections and says nothing does not delay a changed file.
#[test]
fn a_service_that_never_answers_delays_no_file() {
    let scratch = Scratch::new();
    let hole = std::net::TcpListener::bind(ANY).unwrap();
    let path = scratch.0.join("api.protoset");
    fs::write(&path, numbered(&scratch, 1)).unwrap();
    let more = format!("descriptor_sets = [{path:?}]\n");
    let gateway = gateway::start(&config(hole.local_addr().unwrap(), "io_uring", &more));
    assert!(is_mapped(&gateway, 1), "the file is enough to start with");
    let mut changes = Vec::new();
    for number in 2..8 {
        fs::write(&path, numbered(&scratch, number)).unwrap();
        let began = Instant::now();
        becomes("the file is taken over", A_WHILE, || is_mapped(&gateway, number));
        changes.push(began.elapsed());
    }
    changes.sort();
    println!("the changes took {changes:?}");
    // Files are looked at every two seconds.
    assert!(changes[2] <= Duration::from_secs(3), "{changes:?}");
    becomes("the silence is counted", Duration::from_secs(10), || asked(&gateway, "error") >= 2);
}

/// A service that lists what it does not describe, ends its stream over it, does not know what its own files import by the
/// names that they use, and knows a file by another name.
pub(crate) struct Odd;

impl Odd {
    /// The file of this name, whose message has this field of this type.
    fn file(name: &str, import: &[&str], message: &str, kind: Option<&str>) -> Vec<u8> {
        use prost_types::field_descriptor_proto::{Label, Type};
        use prost_types::{
            DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
            ServiceDescriptorProto,
        };
        let field = FieldDescriptorProto {
            name: Some("it".to_owned()),
            number: Some(1),
            label: Some(Label::Optional.into()),
            r#type: Some(if kind.is_some() { Type::Message } else { Type::Int32 }.into()),
            type_name: kind.map(str::to_owned),
            ..Default::default()
        };
        let method = MethodDescriptorProto {
            name: Some("M".to_owned()),
            input_type: Some(format!(".odd.{message}")),
            output_type: Some(format!(".odd.{message}")),
            ..Default::default()
        };
        let service =
            ServiceDescriptorProto { name: Some("S".to_owned()), method: vec![method], options: None };
        let file = FileDescriptorProto {
            name: Some(name.to_owned()),
            package: Some("odd".to_owned()),
            dependency: import.iter().map(|import| (*import).to_owned()).collect(),
            message_type: vec![DescriptorProto {
                name: Some(message.to_owned()),
                field: vec![field],
                ..Default::default()
            }],
            service: if message == "Asked" { vec![service] } else { Vec::new() },
            syntax: Some("proto3".to_owned()),
            ..Default::default()
        };
        prost::Message::encode_to_vec(&file)
    }

    fn answer(question: MessageRequest) -> Result<MessageResponse, tonic::Status> {
        let files = |file| {
            MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: vec![file],
            })
        };
        let missing = || {
            let (error_code, error_message) = (5, "no such thing".to_owned());
            MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message })
        };
        Ok(match question {
            MessageRequest::ListServices(_) => MessageResponse::ListServicesResponse(ListServiceResponse {
                service: ["odd.Gone", "odd.Broken", "odd.S"]
                    .map(|name| ServiceResponse { name: name.to_owned() })
                    .to_vec(),
            }),
            MessageRequest::FileContainingSymbol(name) => match &*name {
                "odd.S" => files(Self::file("asked.proto", &["a/one.proto"], "Asked", Some(".odd.One"))),
                "odd.Two" => files(Self::file("two.proto", &[], "Two", None)),
                "odd.Broken" => return Err(tonic::Status::internal("it breaks")),
                _ => missing(),
            },
            // It goes by another name here, and imports what is known by another one, too.
            MessageRequest::FileByFilename(name) if name == "a/one.proto" => {
                files(Self::file("one.proto", &["a/two.proto"], "One", Some(".odd.Two")))
            }
            _ => missing(),
        })
    }
}

#[tonic::async_trait]
impl ServerReflection for Odd {
    type ServerReflectionInfoStream = ReceiverStream<Result<ServerReflectionResponse, tonic::Status>>;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<tonic::Streaming<ServerReflectionRequest>>,
    ) -> Result<tonic::Response<Self::ServerReflectionInfoStream>, tonic::Status> {
        let mut questions = request.into_inner();
        let (tell, told) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(asked)) = questions.message().await {
                let answer = Odd::answer(asked.message_request.unwrap()).map(|answer| {
                    ServerReflectionResponse { message_response: Some(answer), ..Default::default() }
                });
                let is_end = answer.is_err();
                if tell.send(answer).await.is_err() || is_end {
                    return;
                }
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(told)))
    }
}

#[test]
fn what_a_service_cannot_describe_is_told_and_the_rest_is_served() {
    block_on(async {
        let incoming = TcpIncoming::bind(ANY.parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let server = Server::builder().add_service(ServerReflectionServer::new(Odd));
        let told = tokio::select! {
            told = ask(address) => told.unwrap(),
            ended = server.serve_with_incoming(incoming) => panic!("{ended:?}"),
        };
        assert_eq!(
            told.untold,
            [
                "the service odd.Gone is listed and not described: it answers NotFound: no such thing",
                "the service odd.Broken is listed and not described: it answers Internal: it breaks",
            ]
        );
        let api = api(told);
        let paths: Vec<&str> = api.methods().iter().map(|method| method.path.as_str()).collect();
        assert_eq!(paths, ["/odd.S/M"], "{:#?}", api.refused());
        assert_eq!(api.refused().len(), 2, "{:#?}", api.refused());
    });
}
