//! The gateway's side of a test: its configuration, how it starts, and what it has counted.

use super::within;
use ringway::config::knobs;
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
    let mut last = metric(gateway, family);
    let look = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while last != wanted {
            looks.tick().await;
            last = metric(gateway, family);
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(10), look).await;
    assert!(done.is_ok(), "{family} is {last} after ten seconds, not {wanted}");
}

/// The status line of an answer of the admin address.
pub async fn asked(admin: SocketAddr, path: &str) -> String {
    response(admin, path).await.lines().next().unwrap_or_default().to_owned()
}

/// A page of the admin address, as JSON.
pub async fn page(admin: SocketAddr, path: &str) -> serde_json::Value {
    let response = response(admin, &format!("{path}?format=json")).await;
    let (_, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {response}"))
}

async fn response(admin: SocketAddr, path: &str) -> String {
    let work = async {
        let mut stream = TcpStream::connect(admin).await.expect("the admin address listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    };
    within(Duration::from_secs(5), path, work).await
}

/// A configuration that sends every call to `backends`, on free ports of this machine.
///
/// `io_backend` is "io_uring" or "epoll"; the gateway fails where it cannot have that one. `extra` is TOML that goes
/// at the end, inside the only cluster's table: first its keys, then whatever tables follow.
pub fn gateway_config(backends: &[SocketAddr], io_backend: &str, extra: &str) -> String {
    GatewayBuilder::new(backends, io_backend).extra(extra).text()
}

/// A configuration like [`gateway_config`]'s, of which a test changes single keys.
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    /// Keys with their tables, and their values as TOML.
    values: Vec<(&'static str, String)>,
    /// What follows the keys of the listener, what stands before the route and follows its keys, and the cluster's.
    listener: String,
    routes: String,
    route: String,
    extra: String,
}

/// Tables of which a file may have several, last in it.
const LISTS: [&str; 3] = ["listeners", "routes", "clusters"];

impl GatewayBuilder {
    /// Sends every call to `backends`.
    pub fn new(backends: &[SocketAddr], io_backend: &str) -> Self {
        let endpoints: Vec<String> = backends.iter().map(|backend| format!("\"{backend}\"")).collect();
        let [listener, routes, route, extra] = [const { String::new() }; 4];
        let empty = Self { values: Vec::new(), listener, routes, route, extra };
        empty
            .set("workers", 2)
            .set("drain_timeout", "5s")
            .set("io.backend", io_backend)
            .set("io.on_unavailable", "fail")
            .set("admin.address", "127.0.0.1:0")
            .set("listeners.address", "127.0.0.1:0")
            .set_toml("routes.match", "{ prefix = \"/\" }")
            .set("routes.cluster", "interop")
            .set("routes.timeout", "30s")
            .set("clusters.name", "interop")
            .set_toml("clusters.endpoints", format!("[{}]", endpoints.join(", ")))
    }

    /// Sets a key: a string, a number or a flag. Its table is part of it: `listeners.http2.max_frame_size`.
    pub fn set(self, key: &str, value: impl Value) -> Self {
        self.set_toml(key, value.toml())
    }

    /// Sets a key to a value in TOML. A key that the gateway does not know fails the test.
    pub fn set_toml(mut self, key: &str, value: impl Into<String>) -> Self {
        let knob = knobs::find(key).unwrap_or_else(|| panic!("the gateway has no key {key}"));
        match self.values.iter_mut().find(|(set, _)| *set == knob.key) {
            Some((_, old)) => *old = value.into(),
            None => self.values.push((knob.key, value.into())),
        }
        self
    }

    /// Leaves out a key that was set.
    pub fn unset(mut self, key: &str) -> Self {
        let before = self.values.len();
        self.values.retain(|(set, _)| *set != key);
        assert_eq!(self.values.len() + 1, before, "{key} is not set");
        self
    }

    /// TOML that follows the keys of the listener: further keys, its tables, other listeners.
    pub fn listener(mut self, text: &str) -> Self {
        self.listener += text;
        self.listener.push('\n');
        self
    }

    /// TOML of other routes, which stand before the one that takes every call.
    pub fn routes_before(mut self, text: &str) -> Self {
        self.routes += text;
        self.routes.push('\n');
        self
    }

    /// TOML that follows the keys of the route: further keys, its tables, other routes.
    pub fn route(mut self, text: &str) -> Self {
        self.route += text;
        self.route.push('\n');
        self
    }

    /// TOML at the end, inside the only cluster's table: first its keys, then whatever tables follow.
    pub fn extra(mut self, text: &str) -> Self {
        self.extra += text;
        self.extra.push('\n');
        self
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut tables: Vec<&str> = Vec::new();
        for table in self.values.iter().filter_map(|(key, _)| key.split_once('.')).map(|(table, _)| table) {
            if !tables.contains(&table) && !LISTS.contains(&table) {
                tables.push(table);
            }
        }
        let mut text = format!("\n{}", self.keys_of(""));
        for table in tables {
            text += &format!("\n[{table}]\n{}", self.keys_of(table));
        }
        text += &format!("\n[[listeners]]\n{}{}\n", self.keys_of("listeners"), self.listener);
        text += &format!("{}[[routes]]\n{}{}\n", self.routes, self.keys_of("routes"), self.route);
        text + &format!("[[clusters]]\n{}{}", self.keys_of("clusters"), self.extra)
    }

    /// The keys of a table, each on a line.
    fn keys_of(&self, table: &str) -> String {
        let mut lines = String::new();
        for (key, value) in &self.values {
            let name = match key.split_once('.') {
                Some((first, name)) if first == table => name,
                None if table.is_empty() => key,
                _ => continue,
            };
            writeln!(lines, "{name} = {value}").expect("writing to a String cannot fail");
        }
        lines
    }

    /// A gateway of it, which serves when this returns.
    pub fn start(&self) -> Gateway {
        start(&self.text())
    }
}

/// A value of a key.
pub trait Value {
    /// The value as TOML.
    fn toml(&self) -> String;
}

impl Value for &str {
    fn toml(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for String {
    fn toml(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for i32 {
    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Value for usize {
    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    fn toml(&self) -> String {
        self.to_string()
    }
}
