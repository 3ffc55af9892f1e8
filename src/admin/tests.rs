//! Over real sockets, with a client of a few lines. Every read has a deadline, so that a fault is a
//! failed test and not a hanging one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener as Listener, TcpStream as Stream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::config::Waiting;
use crate::metrics::line::Headers;
use crate::metrics::tap::Tap;
use crate::metrics::{
    CallLabels, ConnectError, Ending, EndpointState, EndpointView, Format, Layout, Page, RingCounts, Shard,
};
use crate::policy::shared_cluster::SharedClusterState;
use crate::time::Moment;
use crate::transcode::api::Api;

/// No read takes longer than this unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Gateway {
    ready: AtomicBool,
    panics: AtomicBool,
    panicked: AtomicUsize,
    huge: AtomicBool,
    hooks: Hooks,
    view: Arc<GatewayView>,
    taps: Vec<Arc<Tap>>,
}

impl Default for Gateway {
    fn default() -> Gateway {
        let (ready, panics, panicked, huge) = Default::default();
        Gateway {
            ready,
            panics,
            panicked,
            huge,
            hooks: Hooks::default(),
            view: Arc::new(view()),
            taps: vec![Arc::default()],
        }
    }
}

/// Two workers, a few routes, two clusters, and some counts.
pub(super) fn view() -> GatewayView {
    let config = r#"
        [[listeners]]
        address = "127.0.0.1:8080"
        deny_cidrs = ["10.9.0.0/16"]
        [[routes]]
        match = { path = "/a.A/Get", headers = { x-canary = "1" } }
        weighted_clusters = [{ name = "one", weight = 9 }, { name = "two", weight = 1 }]
        [[routes]]
        match = { service = "a.A", host = "*.example.com" }
        cluster = "one"
        [[routes]]
        match = { prefix = "/b" }
        cluster = "two"
        timeout = "0s"
        [routes.rbac]
        action = "DENY"
        policies = [{ name = "inside", permissions = ["path:/bc/*"], principals = ["remote_ip:10.0.0.0/8"] }]
        [[clusters]]
        name = "one"
        endpoints = ["10.0.0.1:1", "10.0.0.2:1"]
        [[clusters]]
        name = "two"
        endpoints = ["10.0.0.3:1", "nowhere.example:50051"]
        [admin]
        allowed_hosts = ["gateway.example.com"]
    "#;
    let config = Arc::new(crate::config::parse(config, std::path::Path::new("test.toml")).unwrap());
    let call = |route: &str, cluster: &str| CallLabels {
        route: route.into(),
        cluster: cluster.into(),
        method: String::new(),
    };
    let layout = Layout::new(vec!["one".into(), "two".into()], vec![call("a", "one"), call("b", "two")]);
    let layout = layout.with_endpoints([4, 4]);
    let shards: Vec<_> = (0..2).map(|_| Shard::new(&layout)).collect();
    for (shard, state) in shards.iter().zip([EndpointState::Connected, EndpointState::Backoff]) {
        shard.worker.connections_active.raise();
        shard.worker.calls_started.add(2);
        shard.worker.turns.add(3);
        let ending =
            |code, took| Ending { protocol: 0, code, is_stream: false, took: Duration::from_micros(took) };
        shard.calls[0].ended(ending(0, 300));
        shard.calls[1].ended(ending(14, 20_000));
        shard.endpoints[0][0].publish(&EndpointView {
            address: SocketAddr::from(([10, 0, 0, 1], 1)).into(),
            state,
            connections: 1,
            calls_active: 2,
            calls: 3,
            connect_failures: 4,
            retry_in: Duration::from_millis(50),
            last_error: Some((ConnectError::Refused, Moment::from_nanos(5_000_000_000))),
        });
    }
    let place = Place { core: Some(3), numa_node: Some(0), thread: None };
    let shares = config
        .clusters
        .iter()
        .map(|cluster| SharedClusterState::new(cluster, cluster.endpoints.len(), 2))
        .collect();
    GatewayView {
        config,
        waiting: waiting(),
        layout,
        shares,
        shards,
        workers: vec![place, Place::default()],
        backend: "io_uring",
        flags: "none",
    }
}

/// A key that waits for a restart.
fn waiting() -> Arc<[Waiting]> {
    let text = |text: &str| Some(text.to_owned());
    let place = "test.toml:3:11".to_owned();
    Arc::new([Waiting { key: "workers", place, found: text("4"), in_use: text("2") }])
}

/// More than the sockets take of a client that reads nothing.
const HUGE: usize = 16 << 20;

impl Source for Gateway {
    fn api(&self) -> Option<Arc<Api>> {
        None
    }

    fn openapi(&self) -> Option<Arc<str>> {
        None
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn metrics(&self, format: Format) -> Page {
        assert!(!self.panics.load(Ordering::Relaxed), "asked to panic");
        if self.huge.load(Ordering::Relaxed) {
            let mut page = Page::new(format);
            page.family("huge", "gauge", &"#".repeat(HUGE));
            return page;
        }
        let mut page = Page::new(format);
        page.family("a_total", "counter", "A.");
        page.sample("a_total", &"", 1);
        page
    }

    fn view(&self) -> Arc<GatewayView> {
        Arc::clone(&self.view)
    }

    fn taps(&self) -> &[Arc<Tap>] {
        &self.taps
    }

    fn labels(&self, series: u32, look: &mut dyn FnMut(&CallLabels)) {
        look(&self.view.layout.calls[series as usize]);
    }

    fn log_headers(&self, _: u32) -> Arc<Headers> {
        Arc::default()
    }

    fn unresolved(&self, host: &str) -> Option<Unresolved> {
        let reason = "there is no such name".to_owned();
        (host == "nowhere.example").then(|| Unresolved {
            reason,
            was_found: false,
            ago: Duration::from_secs(7),
        })
    }

    fn now(&self) -> Moment {
        Moment::from_nanos(125_000_000_000)
    }

    fn rings(&self) -> Vec<RingCounts> {
        vec![RingCounts { worker: 0, sqes: 5, cqes: 6 }]
    }

    fn drain(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    fn panicked(&self) {
        self.panicked.fetch_add(1, Ordering::Relaxed);
    }

    fn hooks(&self) -> &Hooks {
        &self.hooks
    }
}

fn start(limits: Limits) -> (Admin, Arc<Gateway>) {
    start_gateway(limits, Gateway::default())
}

pub(super) fn start_gateway(limits: Limits, gateway: Gateway) -> (Admin, Arc<Gateway>) {
    let gateway = Arc::new(Gateway { ready: AtomicBool::new(true), ..gateway });
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (Admin::start_with(listener, Arc::clone(&gateway) as Arc<dyn Source>, limits).unwrap(), gateway)
}

pub(super) fn connect(admin: &Admin) -> BufReader<Stream> {
    let stream = Stream::connect(admin.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

pub(super) struct Received {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let begin = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&begin))
    }
}

pub(super) fn ask(connection: &mut BufReader<Stream>, method: &str, path: &str) -> io::Result<Received> {
    ask_with(connection, method, path, "")
}

/// Each of `headers` ends its line.
pub(super) fn ask_with(
    connection: &mut BufReader<Stream>,
    method: &str,
    path: &str,
    headers: &str,
) -> io::Result<Received> {
    let host = if headers.starts_with("host:") { "" } else { "host: a\r\n" };
    write!(connection.get_mut(), "{method} {path} HTTP/1.1\r\n{host}{headers}\r\n")?;
    reply(connection, method != "HEAD")
}

fn reply(connection: &mut BufReader<Stream>, with_body: bool) -> io::Result<Received> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Received { status, head, body: String::new() };
    if with_body {
        let length = reply.header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        reply.body = String::from_utf8(body).unwrap();
    }
    Ok(reply)
}

fn is_closed(connection: &mut BufReader<Stream>) -> bool {
    let mut rest = Vec::new();
    match connection.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// Whether a server keeps its connection with this port of a client. The client does not see it before it has read all.
fn is_kept(client: u16) -> bool {
    const ESTABLISHED: &str = "01";
    let (table, port) = (std::fs::read_to_string("/proc/net/tcp").unwrap(), format!(":{client:04X}"));
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|remote| remote.ends_with(&port)) && fields.next() == Some(ESTABLISHED)
    })
}

#[test]
fn each_path_answers_on_one_connection() {
    let (admin, _gateway) = start(Limits::DEFAULT);
    let mut connection = connect(&admin);
    for (method, path, status, kind, body) in [
        ("GET", "/ready", 200, "text/plain; charset=utf-8", "ready\n"),
        ("GET", "/live", 200, "text/plain; charset=utf-8", "live\n"),
        ("GET", "/live?x=1", 200, "text/plain; charset=utf-8", "live\n"),
        ("HEAD", "/live", 200, "text/plain; charset=utf-8", ""),
        (
            "GET",
            "/nothing",
            404,
            "application/json",
            "{\"code\":5,\"message\":\"no such path; there are / /ready /live /metrics /workers /clusters /calls /breakers \
             /routes /config /config/waiting /openapi /openapi.json /tap /history /drain\"}\n",
        ),
        ("POST", "/ready", 405, "application/json", "{\"code\":12,\"message\":\"only GET, HEAD here\"}\n"),
    ] {
        let reply = ask(&mut connection, method, path).unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{method} {path}");
        assert_eq!(reply.header("content-type"), Some(kind), "{method} {path}");
        let allow = (status == 405).then_some("GET, HEAD");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
}

#[test]
fn head_says_how_long_the_page_is_and_leaves_it_out() {
    let (admin, _gateway) = start(Limits::DEFAULT);
    let mut connection = connect(&admin);
    let head = ask(&mut connection, "HEAD", "/ready").unwrap();
    assert_eq!(head.header("content-length"), Some("6"));
    assert_eq!(ask(&mut connection, "GET", "/ready").unwrap().body, "ready\n");
}

#[test]
fn ready_fails_while_draining_and_live_does_not() {
    let (admin, gateway) = start(Limits::DEFAULT);
    let mut connection = connect(&admin);
    gateway.ready.store(false, Ordering::Relaxed);
    let reply = ask(&mut connection, "GET", "/ready").unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (503, "draining\n"));
    assert_eq!(ask(&mut connection, "GET", "/live").unwrap().status, 200);
}

#[test]
fn the_metrics_page_is_the_gateways_with_the_process_added() {
    let (admin, _gateway) = start(Limits::DEFAULT);
    let reply = ask(&mut connect(&admin), "GET", "/metrics").unwrap();
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(reply.body.starts_with("# HELP a_total A.\n"), "{}", reply.body);
    assert!(reply.body.contains("\nprocess_resident_memory_bytes "), "{}", reply.body);
    assert!(reply.body.ends_with('\n'));
}

#[test]
fn a_panic_in_the_source_ends_one_connection() {
    let (admin, gateway) = start(Limits::DEFAULT);
    gateway.panics.store(true, Ordering::Relaxed);
    let mut unlucky = connect(&admin);
    assert!(ask(&mut unlucky, "GET", "/metrics").is_err());
    gateway.panics.store(false, Ordering::Relaxed);
    while gateway.panicked.load(Ordering::Relaxed) != 1 {
        std::thread::yield_now();
    }
    assert_eq!(ask(&mut connect(&admin), "GET", "/metrics").unwrap().status, 200);
}

#[test]
fn a_head_that_does_not_come_or_is_not_http_closes_the_connection() {
    let (admin, _gateway) = start(Limits { head_wait: Duration::from_millis(50), ..Limits::DEFAULT });
    assert!(is_closed(&mut connect(&admin)), "silent from the start");
    let mut halfway = connect(&admin);
    halfway.get_mut().write_all(b"GET /ready HTTP/1.1\r\nhost:").unwrap();
    assert!(is_closed(&mut halfway), "half a head");
    let mut idle = connect(&admin);
    assert_eq!(ask(&mut idle, "GET", "/live").unwrap().status, 200);
    assert!(is_closed(&mut idle), "idle after an answer");
    let mut other = connect(&admin);
    other.get_mut().write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n").unwrap();
    assert!(is_closed(&mut other), "not HTTP");
}

#[test]
fn a_connection_does_not_live_for_ever() {
    let limits = Limits { lifetime: Duration::from_millis(50), ..Limits::DEFAULT };
    let (admin, _gateway) = start(limits);
    assert!(is_closed(&mut connect(&admin)));
}

/// Method: a client asks for a page larger than the sockets' buffers and reads none of it. Its connection ends once its
/// time is over.
#[test]
fn a_client_that_does_not_read_is_cut() {
    // Long enough for a busy machine to make the page.
    let (lifetime, grace) = (Duration::from_secs(3), Duration::from_millis(200));
    let (admin, gateway) = start(Limits { lifetime, grace, ..Limits::DEFAULT });
    gateway.huge.store(true, Ordering::Relaxed);
    let mut lazy = connect(&admin);
    write!(lazy.get_mut(), "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut head = String::new();
    lazy.read_line(&mut head).unwrap();
    assert!(head.contains(" 200 "), "{head}");
    // Each of these others lives as long.
    let port = lazy.get_ref().local_addr().unwrap().port();
    for _ in 0..10 {
        if !is_kept(port) {
            break;
        }
        assert!(is_closed(&mut connect(&admin)));
    }
    assert!(!is_kept(port));
    let mut page = Vec::new();
    let _ = lazy.read_to_end(&mut page);
    assert!(page.len() < HUGE, "its page was cut short");
}

/// Method: the second of two places asks, and then the first one. So the second one has asked nothing for longest when a
/// third connection comes, and the first one when a fourth does.
#[test]
fn a_new_connection_takes_the_place_of_the_one_that_asked_longest_ago() {
    let (admin, _gateway) = start(Limits { connections_max: 2, ..Limits::DEFAULT });
    let (mut first, mut second) = (connect(&admin), connect(&admin));
    assert_eq!(ask(&mut second, "GET", "/live").unwrap().status, 200);
    assert_eq!(ask(&mut first, "GET", "/live").unwrap().status, 200);
    let mut third = connect(&admin);
    assert_eq!(ask(&mut third, "GET", "/live").unwrap().status, 200);
    assert!(is_closed(&mut second));
    let mut fourth = connect(&admin);
    assert_eq!(ask(&mut fourth, "GET", "/live").unwrap().status, 200);
    assert!(is_closed(&mut first));
    assert_eq!(ask(&mut third, "GET", "/live").unwrap().status, 200);
}

/// Row 56: connections that say nothing, and some that ask for pages and do not read them, make no probe wait.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test of elapsed time reads the clock")]
fn ready_never_waits_for_those_who_keep_their_connections() {
    let (admin, gateway) = start(Limits::DEFAULT);
    gateway.huge.store(true, Ordering::Relaxed);
    let mut idle: Vec<_> = (0..200).map(|_| connect(&admin)).collect();
    for lazy in idle.iter_mut().skip(150) {
        write!(lazy.get_mut(), "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    }
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(ask(&mut connect(&admin), "GET", "/ready").unwrap().status, 200);
    }
    // A head may take 5 s, and a connection lives for 55.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test of elapsed time reads the clock")]
fn drop_ends_the_thread_at_once_and_frees_the_port() {
    let (admin, gateway) = start(Limits::DEFAULT);
    let mut open = connect(&admin);
    assert_eq!(ask(&mut open, "GET", "/live").unwrap().status, 200);
    let address = admin.address();
    let begun = Instant::now();
    drop(admin);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(is_closed(&mut open));
    assert!(Stream::connect(address).is_err());
    assert_eq!(Arc::strong_count(&gateway), 1);
}

mod dashboard;
mod pages;
