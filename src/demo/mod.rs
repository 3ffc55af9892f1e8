//! Four small services of a university, for trying the gateway, for its tests and for its measurements.
//!
//! They run in this process, on one thread of their own, each on its own port, and keep everything in memory: what
//! they know at the start is always the same, and it is gone when [`Demo`] is dropped. Each also serves
//! `grpc.health.v1` and server reflection (`v1` and `v1alpha`). They are never on the way of a request through the
//! gateway other than as its upstreams.
//!
//! The methods are described in `proto/ringway/demo/`. Read [`employee`] next for what a service looks like.

mod auth;
mod chat;
mod employee;
pub mod proto;
mod shared;
mod structure;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::{fmt, io};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server as reflection;

use auth::Auth;
use chat::Chats;
use employee::Employees;
use proto::auth::auth_service_server;
use proto::chat::chat_service_server;
use proto::employee::employee_service_server;
use proto::structure::structure_service_server;
use structure::Structure;

use crate::background::BackgroundThread;

/// Every file of `proto/` and what it imports, as an encoded `google.protobuf.FileDescriptorSet` with the
/// `google.api.http` options in it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ringway.demo.protoset"));

/// The running services. Dropping it cuts every call, closes the ports and joins the thread.
pub struct Demo {
    /// The services, and where each runs.
    pub services: Vec<Service>,
    _thread: BackgroundThread<oneshot::Sender<()>>,
}

/// A running service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name of its cluster, such as "auth".
    pub name: &'static str,
    /// The gRPC services it is there for, such as "ringway.demo.auth.v1.AuthService".
    pub grpc_services: Vec<&'static str>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Starts the four services, each on a free loopback port. When this returns, all of them listen.
pub fn start() -> io::Result<Demo> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut services = Vec::new();
    let mut servers = JoinSet::new();
    {
        // The sockets and tasks made here belong to the runtime, which begins to turn on its own thread below.
        let _entered = runtime.enter();
        let mut serve = |name, full_name, routes| -> io::Result<()> {
            let (service, task) = listen(name, full_name, routes)?;
            services.push(service);
            servers.spawn(task);
            Ok(())
        };
        serve("auth", auth_service_server::SERVICE_NAME, Routes::new(Auth::served()))?;
        serve("chat", chat_service_server::SERVICE_NAME, Routes::new(Chats::served()))?;
        serve("employee", employee_service_server::SERVICE_NAME, Routes::new(Employees::served()))?;
        serve("structure", structure_service_server::SERVICE_NAME, Routes::new(Structure::served()))?;
    }

    let (stop, stopped) = oneshot::channel();
    let body = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = stopped => {}
                Some(ended) = servers.join_next() => tracing::error!(?ended, "a demo service ended by itself"),
            }
        });
        // Streams may be open for ever, so nothing is waited for: the runtime goes, and every call with it.
        drop(servers);
        runtime.shutdown_background();
    };
    Ok(Demo { services, _thread: BackgroundThread::start("demo", stop, body)? })
}

impl Demo {
    /// The service of that cluster name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The configuration of a gateway before these services, with one listener.
    pub fn config(&self, listener: &str, admin: &str) -> String {
        let mut text = format!(
            "drain_timeout = \"5s\"\n[admin]\naddress = \"{admin}\"\n[[listeners]]\naddress = \"{listener}\"\n"
        );
        // Pages served at the usual port for trying things may call; those of the wide web may not.
        text += "[listeners.cors]\nallow_origins = [\"http://localhost:8081\", \"http://127.0.0.1:8081\"]\n";
        for service in &self.services {
            for name in &service.grpc_services {
                let cluster = service.name;
                text += &format!("[[routes]]\nmatch = {{ service = \"{name}\" }}\ncluster = \"{cluster}\"\n");
            }
        }
        let names: Vec<String> = self.services.iter().map(|service| format!("{:?}", service.name)).collect();
        text += &format!("[transcoding]\nreflection = [{}]\n", names.join(", "));
        for service in &self.services {
            let (name, address) = (service.name, service.address);
            text += &format!("[[clusters]]\nname = \"{name}\"\nendpoints = [\"{address}\"]\n");
        }
        text
    }
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Binds a free port and returns who listens there, with the task that serves it.
fn listen(
    name: &'static str,
    full_name: &'static str,
    routes: Routes,
) -> io::Result<(Service, impl Future<Output = Result<(), tonic::transport::Error>> + use<>)> {
    let incoming = TcpIncoming::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.with_nodelay(Some(true));
    let address = incoming.local_addr()?;
    let health = HealthReporter::new();
    let reflection = || {
        reflection::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(full_name)
            .with_service_name(HEALTH)
    };
    let routes = routes
        .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())))
        .add_service(reflection().with_service_name(REFLECTION_V1).build_v1().map_err(io::Error::other)?)
        .add_service(
            reflection().with_service_name(REFLECTION_V1ALPHA).build_v1alpha().map_err(io::Error::other)?,
        );

    let task = async move {
        health.set_service_status(full_name, ServingStatus::Serving).await;
        Server::builder().add_routes(routes).serve_with_incoming(incoming).await
    };
    Ok((Service { name, grpc_services: vec![full_name], address }, task))
}

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION_V1: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";
