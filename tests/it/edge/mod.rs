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

use crate::support::gateway::{self, gateway_config};
use crate::support::service::Service;
use ringway::supervisor::Gateway;
use std::net::SocketAddr;

/// A gateway in front of the service, with these keys of its listener.
fn behind(listener: &str, service: &Service, backend: &str) -> (Gateway, SocketAddr) {
    let config = gateway_config(&[service.address()], backend, "");
    let config = config.replacen(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n",
        &format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n{listener}\n"),
        1,
    );
    let gateway = gateway::start(&config);
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// A gateway whose only route has these keys, with these tables at the end.
fn routed(service: &Service, backend: &str, route: &str, tables: &str) -> (Gateway, SocketAddr) {
    let config = gateway_config(&[service.address()], backend, "");
    let config = config.replacen("timeout = \"30s\"\n", &format!("timeout = \"30s\"\n{route}\n"), 1);
    let gateway = gateway::start(&format!("{config}\n{tables}"));
    let address = gateway.listeners()[0];
    (gateway, address)
}
