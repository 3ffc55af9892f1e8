//! The edge: who called, and who may call.

#[path = "../support/mod.rs"]
mod support;

mod forwarding;
mod proxy_protocol;

use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use support::gateway::{self, gateway_config};
use support::service::Service;

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
