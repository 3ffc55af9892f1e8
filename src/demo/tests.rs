//! The demo as a client sees it: every service responds, says the right things are wrong, and streams.
//!
//! Each test starts a demo of its own, so that none sees what another did, and has to end within `TEST_TIME`.

mod auth_tests;
mod chat_tests;
mod employee_tests;
mod structure_tests;

use std::collections::HashMap;
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

use super::proto::chat;
use super::proto::chat::chat_service_client::ChatServiceClient;
use super::{Demo, FILE_DESCRIPTOR_SET, start};

const TEST_TIME: Duration = Duration::from_secs(20);

/// Runs one test against a fresh demo.
fn with_demo<F: Future<Output = ()>>(test: impl FnOnce(Clients) -> F) {
    let demo = start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clients = Clients::connect(&demo).await;
        tokio::time::timeout(TEST_TIME, test(clients)).await.expect("the test ends in time");
    });
}

struct Clients {
    channels: HashMap<&'static str, Channel>,
}

impl Clients {
    async fn connect(demo: &Demo) -> Self {
        let mut channels = HashMap::new();
        for service in &demo.services {
            let endpoint = Channel::from_shared(format!("http://{}", service.address)).unwrap();
            channels.insert(service.name, endpoint.connect().await.unwrap());
        }
        Self { channels }
    }

    fn channel(&self, name: &str) -> Channel {
        self.channels[name].clone()
    }
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.err().map_or(Code::Ok, |status| status.code())
}

#[test]
fn every_service_is_healthy_and_describes_itself() {
    with_demo(|clients| async move {
        let names = [
            ("auth", "ringway.demo.auth.v1.AuthService"),
            ("chat", "ringway.demo.chat.v1.ChatService"),
            ("employee", "ringway.demo.employee.v1.EmployeeService"),
            ("structure", "ringway.demo.structure.v1.StructureService"),
        ];
        for (name, full_name) in names {
            for service in ["", full_name] {
                let request = HealthCheckRequest { service: service.into() };
                let answer = HealthClient::new(clients.channel(name)).check(request).await.unwrap();
                assert_eq!(answer.into_inner().status, 1, "{name} serves {service:?}");
            }
            assert_eq!(
                listed(clients.channel(name)).await,
                ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", full_name]
            );
            assert!(describes_v1alpha(clients.channel(name), full_name).await);
        }
    });
}

/// The services that reflection lists, sorted.
async fn listed(channel: Channel) -> Vec<String> {
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers =
        ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(request)).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    names
}

async fn describes_v1alpha(channel: Channel, symbol: &str) -> bool {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(symbol.into())),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::once(request)).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    matches!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(_)))
}

#[test]
fn the_descriptor_set_keeps_the_http_rules() {
    for template in ["/v1/employees:batchUpdate", "/v1/{name=universities/*/branches/*}", "/v1/auth/register"]
    {
        let bytes = template.as_bytes();
        assert!(FILE_DESCRIPTOR_SET.windows(bytes.len()).any(|window| window == bytes), "{template}");
    }
}

#[test]
fn a_dropped_demo_closes_its_ports_although_a_stream_is_open() {
    let demo = start().unwrap();
    let address = demo.service("chat").unwrap().address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut events = subscribe(&mut ChatServiceClient::new(channel), 0, 0).await;
        assert!(events.message().await.unwrap().is_some());
        drop(demo);
        let ended =
            tokio::time::timeout(TEST_TIME, async { while let Ok(Some(_)) = events.message().await {} });
        ended.await.expect("the stream ends");
    });
    assert!(std::net::TcpStream::connect(address).is_err());
}

/// The events in chat-1.
async fn subscribe(
    client: &mut ChatServiceClient<Channel>,
    after: i64,
    events_max: u32,
) -> Streaming<chat::ChatEvent> {
    let request = chat::SubscribeRequest { chat_id: "chat-1".into(), after_message_id: after, events_max };
    client.subscribe(request).await.unwrap().into_inner()
}
