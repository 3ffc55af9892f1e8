//! Server reflection: asked of services that have it, that have the old one only, and that have none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::Path;

use ringway::config;
use ringway::demo::{self, FILE_DESCRIPTOR_SET};
use ringway::supervisor::reflection::{ReflectionError, ask};
use ringway::transcode::api::{Api, Reflected};
use ringway::transcode::rules::{Captures, Found};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_reflection::server::Builder;

const REST: &str = "[transcoding]\nreflection = [\"echo\"]\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
    [[routes]]\ncluster = \"echo\"\n[[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn api(files: Vec<Vec<u8>>) -> Api {
    let settings = config::parse(REST, Path::new("r.toml")).unwrap().transcoding;
    let reflected = [Reflected { origin: "reflection of cluster \"echo\"".to_owned(), files }];
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
    // The same file comes from several services.
    let two: Vec<Reflected> = ["auth", "chat"]
        .iter()
        .map(|name| Reflected {
            origin: (*name).to_owned(),
            files: block_on(ask(demo.service(name).unwrap().address)).unwrap(),
        })
        .collect();
    let settings = config::parse(REST, Path::new("r.toml")).unwrap().transcoding;
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
        assert!(new.len() >= 4, "{} files", new.len());
        assert_eq!(with_server("none", ask).await, Err(ReflectionError::NotOffered));
    });
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
