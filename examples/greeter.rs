//! The quick start's service in Rust with tonic, and a client of it: see `examples/quickstart/README.md`.
//!
//! ```sh
//! cargo run --example greeter                                  # serves on 127.0.0.1:50051
//! cargo run --example greeter -- call 127.0.0.1:8080 Ada       # calls through the gateway
//! ```

use std::error::Error;
use std::pin::Pin;

use proto::greeter_client::GreeterClient;
use proto::greeter_server::{Greeter, GreeterServer};
use proto::{CountDownRequest, CountDownResponse, SayHelloRequest, SayHelloResponse};
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

mod proto {
    #![allow(
        clippy::all,
        clippy::too_many_lines,
        unreachable_pub,
        unused_qualifications,
        reason = "written by tonic-prost-build"
    )]
    include!(concat!(env!("OUT_DIR"), "/greeter.v1.rs"));
}

/// The answer of server reflection, from which the gateway learns how JSON becomes messages.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/greeter.protoset"));

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => serve("127.0.0.1:50051").await,
        ["call", gateway, name] => call(gateway, name).await,
        [address] => serve(address).await,
        _ => Err("usage: greeter [ADDRESS] | greeter call GATEWAY NAME".into()),
    }
}

async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let incoming = TcpIncoming::bind(address.parse()?)?.with_nodelay(Some(true));
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    println!("greeter serves on {}", incoming.local_addr()?);
    tonic::transport::Server::builder()
        .add_service(GreeterServer::new(Service))
        .add_service(reflection.build_v1()?)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

struct Service;

#[tonic::async_trait]
impl Greeter for Service {
    async fn say_hello(
        &self,
        request: Request<SayHelloRequest>,
    ) -> Result<Response<SayHelloResponse>, Status> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("name must not be empty"));
        }
        Ok(Response::new(SayHelloResponse { message: format!("Hello, {name}!") }))
    }

    type CountDownStream = Pin<Box<dyn Stream<Item = Result<CountDownResponse, Status>> + Send>>;

    async fn count_down(
        &self,
        request: Request<CountDownRequest>,
    ) -> Result<Response<Self::CountDownStream>, Status> {
        let from = request.into_inner().from;
        if !(1..=100).contains(&from) {
            return Err(Status::out_of_range("from must be 1 to 100"));
        }
        let answers = (1..=from).rev().map(|left| Ok(CountDownResponse { left }));
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }
}

async fn call(gateway: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let mut client = GreeterClient::connect(format!("http://{gateway}")).await?;
    let reply = client.say_hello(SayHelloRequest { name: name.to_owned() }).await?;
    println!("{}", reply.into_inner().message);
    let mut answers = client.count_down(CountDownRequest { from: 3 }).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        println!("{}", answer.left);
    }
    Ok(())
}
