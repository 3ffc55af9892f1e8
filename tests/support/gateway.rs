//! The gateway's side of a test: its configuration.

use std::fmt::Write;
use std::net::SocketAddr;

/// A configuration that sends every call to `backends`, on free ports of this machine.
///
/// `io_backend` is "io_uring" or "epoll"; the gateway fails where it cannot have that one. `extra` is TOML that goes
/// at the end, inside the only cluster's table: first its keys, then whatever tables follow.
pub fn gateway_config(backends: &[SocketAddr], io_backend: &str, extra: &str) -> String {
    let mut endpoints = String::new();
    for (at, backend) in backends.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(endpoints, "{comma}\"{backend}\"").expect("writing to a String cannot fail");
    }
    format!(
        r#"
workers = 2
drain_timeout = "5s"

[io]
backend = "{io_backend}"
on_unavailable = "fail"

[admin]
address = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[[routes]]
match = {{ prefix = "/" }}
cluster = "interop"
timeout = "30s"

[[clusters]]
name = "interop"
endpoints = [{endpoints}]
{extra}
"#
    )
}
