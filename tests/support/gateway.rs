//! The gateway's side of a test: its configuration, how it starts, and what it has counted.

use super::within;
use ringway::supervisor::Gateway;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The I/O back-ends of a gateway.
pub const BACKENDS: [&str; 2] = ["io_uring", "epoll"];

/// A gateway of this configuration, which serves when this returns.
pub fn start(config: &str) -> Gateway {
    let config = ringway::config::parse(config, Path::new("test.toml"));
    let config = config.unwrap_or_else(|errors| panic!("the test's configuration:\n{errors}"));
    Gateway::start(config).unwrap_or_else(|error| panic!("{error}"))
}

/// A gateway of `gateway_config`, and where clients connect.
pub fn before(backends: &[SocketAddr], io_backend: &str, extra: &str) -> (Gateway, SocketAddr) {
    let gateway = start(&gateway_config(backends, io_backend, extra));
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// The sum of all samples of a family on the metrics page.
pub fn metric(gateway: &Gateway, family: &str) -> u64 {
    sum_of(&gateway.metrics(), family)
}

/// The sum of all samples of a family on this page.
pub fn sum_of(page: &str, family: &str) -> u64 {
    let samples = page.lines().filter_map(|line| line.strip_prefix(family)).filter_map(|rest| {
        let (labels, value) = rest.rsplit_once(' ')?;
        let whole_name = labels.is_empty() || labels.starts_with('{');
        whole_name.then(|| value.parse::<u64>().unwrap_or_else(|_| panic!("{family}{rest}")))
    });
    let samples: Vec<u64> = samples.collect();
    assert!(!samples.is_empty(), "no {family} on the page:\n{page}");
    samples.iter().sum()
}

/// Waits until a family has this sum, at most ten seconds: a page has to be asked again and again.
pub async fn metric_becomes(gateway: &Gateway, family: &str, wanted: u64) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let look = async {
        while metric(gateway, family) != wanted {
            looks.tick().await;
        }
    };
    within(Duration::from_secs(10), &format!("{family} becomes {wanted}"), look).await;
}

/// The status line of an answer of the admin address.
pub async fn asked(admin: SocketAddr, path: &str) -> String {
    let work = async {
        let mut stream = TcpStream::connect(admin).await.expect("the admin address listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer.lines().next().unwrap_or_default().to_owned()
    };
    within(Duration::from_secs(5), path, work).await
}

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
