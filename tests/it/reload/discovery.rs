//! Host names of endpoints that lead elsewhere while the gateway runs, or nowhere.
//!
//! Method: a name server of the test's own, asked over UDP, whose answers the test sets; the services are on 127.0.0.1,
//! 127.0.0.2 and so on, all on one port.
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::gateway::{self, BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::interop_server::InteropServer;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;
use ringway::config;
use ringway::supervisor::{Gateway, StartError};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The name server's answer for every name.
#[derive(Clone, Debug)]
enum Say {
    /// These addresses, for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// There is no such name.
    NoSuchName,
    /// Nothing at all.
    Nothing,
}

/// A name server.
struct NameServer {
    address: SocketAddr,
    say: Arc<Mutex<Say>>,
    /// The names that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl NameServer {
    async fn start(say: Say) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (say, asked) = (Arc::new(Mutex::new(say)), Arc::<Mutex<Vec<String>>>::default());
        let (ours, noted) = (Arc::clone(&say), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let say = ours.lock().expect("no test panics while it holds this").clone();
                let (name, answer) = answer(&query[..length], &say);
                noted.lock().expect("no test panics while it holds this").push(name);
                if let Some(answer) = answer {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        NameServer { address, say, asked, task }
    }

    fn set(&self, say: Say) {
        *self.say.lock().expect("no test panics while it holds this") = say;
    }

    /// How often a name was asked for, or one that begins so.
    fn count(&self, name: &str) -> usize {
        let asked = self.asked.lock().expect("no test panics while it holds this");
        asked.iter().filter(|asked| asked.to_ascii_lowercase().starts_with(name)).count()
    }

    /// Waits until a name was asked for so many more times.
    async fn is_asked(&self, name: &str, more: usize) {
        let (wanted, mut looks) = (self.count(name) + more, tokio::time::interval(Duration::from_millis(2)));
        let look = async {
            while self.count(name) < wanted {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(10), "the name is asked for", look).await;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The name in a question, and what is answered (RFC 1035 section 4).
fn answer(query: &[u8], say: &Say) -> (String, Option<Vec<u8>>) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    let is_a = query[at + 1..at + 3] == [0, 1];
    let (addresses, ttl, code) = match say {
        Say::Addresses(all, ttl) if is_a => (&all[..], *ttl, 0),
        Say::Addresses(..) => (&[][..], 0, 0),
        Say::NoSuchName => (&[][..], 0, 3),
        Say::Nothing => return (labels.join("."), None),
    };
    let count = u8::try_from(addresses.len()).expect("few addresses");
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(&query[12..at + 5]);
    for address in addresses {
        answer.extend([0xC0, 12, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    (labels.join("."), Some(answer))
}

/// This host's addresses 127.0.0.`n`.
fn hosts(numbers: &[u8]) -> Vec<Ipv4Addr> {
    numbers.iter().map(|n| Ipv4Addr::new(127, 0, 0, *n)).collect()
}

/// A configuration whose endpoint is a name.
fn config(names: &NameServer, backend: &str, name: &str, port: u16, extra: &str) -> String {
    builder(names, backend, name, port).extra(extra).text()
}

fn builder(names: &NameServer, backend: &str, name: &str, port: u16) -> GatewayBuilder {
    GatewayBuilder::new(&[], backend)
        .set_toml("dns.servers", format!("[\"{}\"]", names.address))
        .set("dns.refresh_rate", "2s")
        .set("dns.min_refresh_rate", "20ms")
        .set("dns.timeout", "300ms")
        .set_toml("clusters.endpoints", format!("[\"{name}:{port}\"]"))
}

fn parsed(text: &str) -> config::Config {
    config::parse(text, Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Services on one port of several of this host's addresses.
async fn services(numbers: &[u8]) -> (Vec<Service>, u16) {
    let mut port = 0;
    let mut services = Vec::new();
    for number in numbers {
        let address = SocketAddr::from(([127, 0, 0, *number], port));
        let service = Service::start_at(address, |_, _| Act::Answer).await;
        port = service.address().port();
        services.push(service);
    }
    (services, port)
}

/// The endpoints of the only cluster, as operators see them.
async fn endpoints(gateway: &Gateway) -> Vec<serde_json::Value> {
    let mut page = gateway::page(gateway.admin(), "/clusters").await;
    serde_json::from_value(page["clusters"][0]["endpoints"].take()).expect("a list")
}

/// Connections enough that each of two workers has some.
async fn clients(gateway: &Gateway) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(RawClient::connect(gateway.listeners()[0]).await);
    }
    clients
}

/// Calls until all of these services have had some in one round, and only they.
async fn are_used(clients: &mut [RawClient], all: &[Service], used: &[usize]) {
    let counts = || all.iter().map(Service::count).collect::<Vec<_>>();
    let work = async {
        loop {
            let before = counts();
            for at in 0..clients.len() * 6 {
                let reply = clients[at % clients.len()].call(EMPTY_CALL, &[], b"").await;
                assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
            }
            let now = counts();
            if (0..all.len()).all(|at| (before[at] < now[at]) == used.contains(&at)) {
                return;
            }
        }
    };
    within(Duration::from_secs(10), &format!("{used:?} are used"), work).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_elsewhere_moves_its_calls_there() {
    for backend in BACKENDS {
        let (services, port) = services(&[1, 2, 3]).await;
        let names = NameServer::start(Say::Addresses(hosts(&[1]), 0)).await;
        let gateway = gateway::start(&config(&names, backend, "echo.test", port, ""));
        let mut clients = clients(&gateway).await;
        are_used(&mut clients, &services, &[0]).await;
        let opened = || metric(&gateway, "ringway_upstream_connections_opened_total");
        let changes = || metric(&gateway, "ringway_dns_changes_total");

        // A further address; then another order, which is nothing new; then others.
        names.set(Say::Addresses(hosts(&[2, 1]), 0));
        metric_becomes(&gateway, "ringway_dns_changes_total", 1).await;
        are_used(&mut clients, &services, &[0, 1]).await;
        let before = opened();
        names.set(Say::Addresses(hosts(&[1, 2]), 0));
        names.is_asked("echo.test", 3).await;
        are_used(&mut clients, &services, &[0, 1]).await;
        assert_eq!((changes(), opened()), (1, before), "{backend}");
        names.set(Say::Addresses(hosts(&[3, 2]), 0));
        metric_becomes(&gateway, "ringway_dns_changes_total", 2).await;
        are_used(&mut clients, &services, &[1, 2]).await;
        // The one that stayed kept its connections, and of the one that went none is left.
        let stayed = services[1].connections();
        names.set(Say::Addresses(hosts(&[2]), 0));
        metric_becomes(&gateway, "ringway_dns_changes_total", 3).await;
        are_used(&mut clients, &services, &[1]).await;
        assert_eq!(services[1].connections(), stayed, "{backend}");
        metric_becomes(&gateway, "ringway_upstream_connections_active", stayed as u64).await;
        assert_eq!(metric(&gateway, "ringway_dns_failures_total"), 0, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_a_host_that_goes_end_in_peace() {
    for backend in BACKENDS {
        let server = InteropServer::start_at(SocketAddr::from(([127, 0, 0, 1], 0)));
        let port = server.address().port();
        let other = Service::start_at(SocketAddr::from(([127, 0, 0, 2], port)), |_, _| Act::Answer).await;
        let names = NameServer::start(Say::Addresses(hosts(&[1]), 0)).await;
        let gateway = gateway::start(&config(&names, backend, "echo.test", port, ""));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let mut call = crate::support::callers::open_call(&mut client, &server).await;
        names.set(Say::Addresses(hosts(&[2]), 0));
        metric_becomes(&gateway, "ringway_dns_changes_total", 1).await;
        are_used(&mut clients(&gateway).await, std::slice::from_ref(&other), &[0]).await;
        assert_eq!(server.calls().len(), 1, "{backend}: it got no more");
        let active = metric(&gateway, "ringway_upstream_connections_active");
        call.send(raw::message(0, b""), true);
        assert_eq!(call.reply().await.grpc_status(), Some("0"), "{backend}");
        // Its connection ends with it.
        metric_becomes(&gateway, "ringway_upstream_connections_active", active - 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_answer_holds_while_a_name_leads_nowhere() {
    let (services, port) = services(&[1, 2]).await;
    let names = NameServer::start(Say::Addresses(hosts(&[1]), 0)).await;
    let gateway = gateway::start(&config(&names, "io_uring", "echo.test", port, ""));
    let mut clients = clients(&gateway).await;
    for say in [Say::NoSuchName, Say::Nothing, Say::Addresses(Vec::new(), 0)] {
        let failures = metric(&gateway, "ringway_dns_failures_total");
        names.set(say.clone());
        let failed = async {
            while metric(&gateway, "ringway_dns_failures_total") < failures + 2 {
                are_used(&mut clients, &services, &[0]).await;
            }
        };
        within(Duration::from_secs(10), "it fails", failed).await;
        let [name, address] = &endpoints(&gateway).await[..] else { panic!("{say:?}") };
        assert_eq!(name["state"], "unresolved", "{say:?}: {name}");
        let error = name["last_error"].as_str().unwrap_or_default();
        assert!(error.ends_with("; the last known addresses are kept"), "{say:?}: {error}");
        assert_eq!(address["state"], "connected", "{say:?}: {address}");
        // Asked again soon, for it cannot take as long as what is good.
        names.set(Say::Addresses(hosts(&[1]), 0));
        names.is_asked("echo.test", 2).await;
    }
    assert_eq!(metric(&gateway, "ringway_dns_changes_total"), 0);
    names.set(Say::Addresses(hosts(&[2]), 0));
    metric_becomes(&gateway, "ringway_dns_changes_total", 1).await;
    are_used(&mut clients, &services, &[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_holds_for_its_time_to_live() {
    let (_services, port) = services(&[1]).await;
    for (ttl, least, most) in [(0, 10, 200), (1, 1, 4), (3_600, 1, 2)] {
        let names = NameServer::start(Say::Addresses(hosts(&[1]), ttl)).await;
        let began = Instant::now();
        let _gateway = gateway::start(&config(&names, "epoll", "echo.test", port, ""));
        while began.elapsed() < Duration::from_millis(1_500) {
            names.is_asked("echo.test", 0).await;
            tokio::task::yield_now().await;
        }
        let asked = names.count("echo.test");
        println!("TTL {ttl} s: asked {asked} times");
        assert!((least..=most).contains(&asked), "TTL {ttl} s: asked {asked} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_waits_for_new_names_alone() {
    let (services, port) = services(&[1, 2]).await;
    let names = NameServer::start(Say::Addresses(hosts(&[1]), 3_600)).await;
    let text = |name: &str, extra: &str| config(&names, "io_uring", name, port, extra);
    let mut gateway = gateway::start(&text("echo.test", ""));
    let mut clients = clients(&gateway).await;
    let mut reload = |text: &str| gateway.reload(parsed(text)).map(|it| it.clusters_changed);

    // The name that is known is not asked for, and it is nothing that it leads nowhere now.
    names.set(Say::Nothing);
    let (began, asked) = (Instant::now(), names.count("echo.test"));
    assert_eq!(reload(&text("echo.test", "max_requests = 9\n")).expect("it is taken"), 1);
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    assert_eq!(names.count("echo.test"), asked);
    are_used(&mut clients, &services, &[0]).await;

    // A new name that leads nowhere refuses the whole; not for long.
    let began = Instant::now();
    let refused = reload(&text("other.test", "max_requests = 8\n")).expect_err("it leads nowhere");
    assert!(refused.to_string().contains("cannot resolve the endpoint other.test"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    are_used(&mut clients, &services, &[0]).await;
    names.set(Say::Addresses(hosts(&[2]), 3_600));
    assert_eq!(reload(&text("other.test", "max_requests = 8\n")).expect("it is taken"), 1);
    are_used(&mut clients, &services, &[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_system_says_goes_first_and_a_name_may_be_required_to_resolve() {
    let (services, port) = services(&[1]).await;
    let names = NameServer::start(Say::NoSuchName).await;
    let gateway = gateway::start(&config(&names, "epoll", "localhost", port, ""));
    are_used(&mut clients(&gateway).await, &services, &[0]).await;
    assert_eq!(names.count("localhost"), 0, "/etc/hosts has it");
    let required = builder(&names, "epoll", "nowhere.test", port).set("dns.required", true);
    let failed = Gateway::start(parsed(&required.text()));
    assert!(matches!(&failed, Err(StartError::Resolve(name, _)) if name == "nowhere.test"), "{failed:?}");
    let told = failed.expect_err("it failed").to_string();
    assert!(told.ends_with("cannot resolve the endpoint nowhere.test: there is no such name"), "{told}");
}

/// A service that is not there yet, or a name server that is late, must not keep the others of a gateway from being served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_resolve_at_the_start_is_asked_for_again() {
    for backend in BACKENDS {
        let (services, port) = services(&[1]).await;
        let names = NameServer::start(Say::NoSuchName).await;
        let gateway = gateway::start(&config(&names, backend, "echo.test", port, ""));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let reply = client.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("14"), "{backend}: {reply:?}");
        assert!(metric(&gateway, "ringway_dns_failures_total") > 0, "{backend}");
        let [name] = &endpoints(&gateway).await[..] else { panic!("{backend}") };
        assert_eq!(name["address"], format!("echo.test:{port}"), "{backend}");
        assert_eq!(name["state"], "unresolved", "{backend}: {name}");
        assert_eq!(name["last_error"], "DNS lookup failed: there is no such name", "{backend}: {name}");
        names.set(Say::Addresses(hosts(&[1]), 60));
        let found = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            while client.call(EMPTY_CALL, &[], b"").await.grpc_status() != Some("0") {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(20), "the service is found", found).await;
        assert!(services[0].count() > 0, "{backend}");
        let connected = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            while endpoints(&gateway).await.iter().map(|row| row["state"].clone()).ne(["connected"]) {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(20), "the endpoint is connected, and no name is left", connected).await;
    }
}
