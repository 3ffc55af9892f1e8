//! A service that says how it is.

use std::net::SocketAddr;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus::Serving;
use tonic_health::server::{HealthReporter, health_reporter};

/// A service with nothing but `grpc.health.v1`, which says that `a.A` serves, and its switch.
pub async fn health_service() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let incoming = TcpIncoming::from(listener);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    reporter.set_service_status("a.A", Serving).await;
    (address, reporter)
}
