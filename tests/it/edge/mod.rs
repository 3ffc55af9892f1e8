//! The edge: who called, and who may call.

mod access;
mod authz;
mod connections;
mod forwarding;
mod jwks;
mod limits;
mod proxy_protocol;
mod routes;
mod tokens;
mod unix_clients;

use crate::support::gateway::GatewayBuilder;
use crate::support::service::Service;
use ringway::supervisor::Gateway;
use std::net::SocketAddr;

/// A gateway in front of the service, with these keys of its listener.
fn behind(listener: &str, service: &Service, backend: &str) -> (Gateway, SocketAddr) {
    let gateway = GatewayBuilder::new(&[service.address()], backend).listener(listener).start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// A gateway whose only route has these keys, with these tables at the end.
fn routed(service: &Service, backend: &str, route: &str, tables: &str) -> (Gateway, SocketAddr) {
    let gateway = GatewayBuilder::new(&[service.address()], backend).route(route).extra(tables).start();
    let address = gateway.listeners()[0];
    (gateway, address)
}
