//! A configuration that changes while the gateway runs: nothing is lost, and a bad one changes nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::support::callers::{Callers, open_call};
use crate::support::gateway::{self, BACKENDS, GatewayBuilder, gateway_config, metric, metric_becomes};
use crate::support::interop_server::InteropServer;
use crate::support::open_loop::OpenLoop;
use crate::support::process::Process;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use ringway::config;
use ringway::supervisor::{Gateway, ReloadError};
use tokio::net::TcpStream;

/// Reloads under load; each gives all workers another configuration.
const RELOADS: usize = 200;

/// A route before the one there was, for a service that nobody calls.
const NOT_THERE: &str = "[[routes]]\nmatch = { service = \"not.There\" }\ncluster = \"interop\"";

/// The configuration with these listeners in place of its only one.
fn with(config: &GatewayBuilder, listeners: &str) -> String {
    let (text, usual) = (config.text(), "[[listeners]]\naddress = \"127.0.0.1:0\"\n");
    assert!(text.contains(usual));
    text.replace(usual, listeners)
}

fn reload(gateway: &mut Gateway, text: &str) -> Result<String, ReloadError> {
    let config = config::parse(text, Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    gateway.reload(config).map(|reloaded| reloaded.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_load_lose_no_call() {
    let _alone = crate::alone();
    for backend in BACKENDS {
        let servers = [InteropServer::start(), InteropServer::start()];
        let plain = gateway_config(&[servers[0].address()], backend, "");
        // Other settings, another endpoint, another route before the one there was.
        let other = GatewayBuilder::new(&[servers[1].address()], backend)
            .set("clusters.max_requests", 500)
            .routes_before(NOT_THERE)
            .text();
        let mut gateway = gateway::start(&plain);
        let callers = Callers::start(gateway.listeners()[0], 4, 1_000_000);
        callers.progress(100).await;
        let mut after = 0;
        for round in 0..RELOADS {
            reload(&mut gateway, if round % 2 == 0 { &other } else { &plain }).expect("it is taken");
            if round % 10 == 9 {
                callers.progress(20).await;
                after = servers.iter().map(|server| server.calls().len()).sum();
            }
        }
        assert!(after > 0);
        callers.progress(100).await;
        assert_eq!(callers.stop().await, 4, "{backend}: no client was told to dial again");
        assert!(servers.iter().all(|server| !server.calls().is_empty()), "{backend}: both were used");
        // Connections of clusters that are gone are closed, and counting went on.
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        let total = servers.iter().map(|server| server.calls().len() as u64).sum::<u64>();
        assert_eq!(metric(&gateway, "ringway_upstream_calls_total"), total, "{backend}");
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0, "{backend}");
    }
}

/// Limits that no call reaches while a busy machine stands still for seconds; a worker that is late refuses none.
fn patient(max_requests: &str) -> String {
    format!(
        "connect_timeout = \"20s\"\nmax_pending_requests = 9000\nmax_requests = {max_requests}\n\
         [overload]\nmax_loop_delay = \"0s\"\n"
    )
}

/// Gives a process another file, and tells it to read that. Gives its answer.
async fn reload_once(process: &Process, text: &str) -> String {
    let next = process.config().with_extension("next");
    std::fs::write(&next, text).expect("the test's file");
    std::fs::rename(&next, process.config()).expect("the test's file");
    process.posted("/config/reload").await
}

/// Tells a process `RELOADS` times to read its file again, each time one of these.
async fn reload_process(process: &Process, texts: [&str; 2]) {
    for round in 0..RELOADS {
        let answer = reload_once(process, texts[round % 2]).await;
        // Where the process is slow it has found the changed file by itself before it was told.
        assert!(answer.contains(" 1 clusters, of which "), "{round}: {answer}");
    }
}

/// Method: a process is told two hundred times to read its file again, each time another one: first under a load that does
/// not wait, and then three times without. Without calls, what it holds is what reloads have left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_of_a_process_cost_no_call_and_no_memory() {
    let _alone = crate::alone();
    const CALLS_PER_SECOND: u32 = 1_000;
    let services = [Service::start(|_, _| Act::Answer).await, Service::start(|_, _| Act::Answer).await];
    let plain = gateway_config(&[services[0].address()], "io_uring", &patient("9000"));
    let other = GatewayBuilder::new(&[services[1].address()], "io_uring")
        .extra(&patient("9001"))
        .routes_before(NOT_THERE)
        .text();
    let process = Process::start(&plain).await;
    let load = OpenLoop::start(process.listener, CALLS_PER_SECOND, Duration::from_secs(20)).await;
    load.go_on(Duration::from_millis(500)).await;
    reload_process(&process, [&other, &plain]).await;
    load.go_on(Duration::from_millis(500)).await;
    let outcomes = load.stop().await;
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_ok()).collect();
    assert!(failed.is_empty(), "{} of {} calls failed: {:?}", failed.len(), outcomes.len(), failed[0]);
    assert!(services.iter().all(|service| service.count() > 0), "both were used");
    assert_eq!(services.iter().map(Service::count).sum::<usize>(), outcomes.len(), "none was sent twice");

    let mut live = Vec::new();
    for _ in 0..3 {
        reload_process(&process, [&other, &plain]).await;
        live.push(process.metric("ringway_heap_live_bytes").await);
    }
    println!("{} calls; live after each {RELOADS} reloads: {live:?} bytes", outcomes.len());
    // Less than 100 bytes for each reload, above the most that there was: a configuration that goes late is no growth.
    let before = live[0].max(live[1]);
    assert!(live[2] <= before + 100 * RELOADS as u64, "memory grows: {live:?}");
}

#[tokio::test]
async fn a_cluster_that_stays_keeps_its_connections_and_one_that_goes_closes_them() {
    let _alone = crate::alone();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let plain = GatewayBuilder::new(&[server.address()], backend);
        let mut gateway = plain.start();
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
        let opened = metric(&gateway, "ringway_upstream_connections_opened_total");

        let new = "[[routes]]\nname = \"new\"\nmatch = { service = \"grpc.testing.TestService\" }\ncluster = \"interop\"\n";
        let more_routes = plain.routes_before(new).text();
        let said = reload(&mut gateway, &more_routes).expect("it is taken");
        assert_eq!(said, "2 routes, 1 clusters, of which 0 are new or changed");
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
        assert_eq!(metric(&gateway, "ringway_upstream_connections_opened_total"), opened);
        assert!(gateway.metrics().contains("ringway_calls_total{route=\"new\""));

        // Limits and timeouts are nothing to a connection.
        let limits = "max_requests = 7\nmax_connections = 9\nconnect_timeout = \"3s\"\n";
        reload(&mut gateway, &gateway_config(&[server.address()], backend, limits)).expect("it is taken");
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
        assert_eq!(metric(&gateway, "ringway_upstream_connections_opened_total"), opened, "{backend}");

        // A cluster with other windows is made anew; a call in flight keeps the old one.
        let mut call = open_call(&mut client, &server).await;
        let windows = "[clusters.pool]\ninitial_stream_window_size = \"2MiB\"\n";
        reload(&mut gateway, &gateway_config(&[server.address()], backend, windows)).expect("it is taken");
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
        assert_eq!(metric(&gateway, "ringway_upstream_connections_opened_total"), opened + 1, "{backend}");
        call.send(raw::message(0, b""), true);
        assert_eq!(call.reply().await.grpc_status(), Some("0"), "{backend}");
        metric_becomes(&gateway, "ringway_upstream_connections_active", 1).await;
    }
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("it is bound")
}

/// Method: a process is told two hundred times to read its file again, under a load of 1,000 calls a second on a listener
/// that stays. Each time another listener gets other settings, one more is added or removed, and they change places in the
/// file. Clients of the listener that changes keep their connections. On the one that comes and goes a client connects and
/// opens a call each time, which has to end well although its listener is removed; a GOAWAY may tell it that the call was
/// not looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_listener_reloads_under_load_fail_no_call() {
    let _alone = crate::alone();
    const CALLS_PER_SECOND: u32 = 1_000;
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let config = GatewayBuilder::new(&[service.address()], backend).extra(&patient("9000"));
        // A call that is held open on purpose is not cut, however slow the machine is.
        let config = config.set("drain_timeout", "60s");
        let (steady, [changing, coming]) = ("[[listeners]]\naddress = \"127.0.0.1:0\"\n", [free(), free()]);
        let listener =
            |address: SocketAddr, keys: &str| format!("[[listeners]]\naddress = \"{address}\"\n{keys}");
        let few = listener(changing, "max_connections = 1000\nbacklog = 100\n");
        let many =
            listener(changing, "max_connections = 2000\nbacklog = 200\nhttp2.max_headers_count = 50\n");
        let texts = [
            with(&config, &format!("{}{many}{steady}", listener(coming, ""))),
            with(&config, &format!("{steady}{few}")),
        ];
        let process = Process::start(&texts[1]).await;
        let load = OpenLoop::start(process.listener, CALLS_PER_SECOND, Duration::from_secs(20)).await;
        let stays = Callers::start(changing, 2, 1_000_000);
        let (mut leaving, mut ended, mut unseen) = (None, 0, 0);
        for round in 0..RELOADS {
            load.go_on(Duration::from_millis(25)).await;
            let answer = reload_once(&process, &texts[round % 2]).await;
            assert!(answer.contains(" 1 clusters, of which 0 "), "{backend} {round}: {answer}");
            leaving = match leaving.take() {
                None => {
                    let mut client = RawClient::connect(coming).await;
                    let call = client.open(EMPTY_CALL, &[]).await;
                    Some((client, call))
                }
                Some((client, mut call)) => {
                    call.send(raw::message(0, b""), true);
                    let reply: raw::RawReply = call.reply().await;
                    let is_unseen = reply.was_told_unseen();
                    assert!(is_unseen || reply.grpc_status() == Some("0"), "{backend} {round}: {reply:?}");
                    unseen += usize::from(is_unseen);
                    client.closed().await;
                    assert!(TcpStream::connect(coming).await.is_err(), "{backend} {round}: it is closed");
                    ended += 1;
                    None
                }
            };
        }
        assert_eq!((ended, leaving.is_none()), (RELOADS / 2, true));
        load.go_on(Duration::from_millis(500)).await;
        let outcomes = load.stop().await;
        assert_eq!(stays.stop().await, 2, "{backend}: no client of another listener was sent away");
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_ok()).collect();
        println!(
            "{backend}: {RELOADS} reloads, {} calls, {} failed; of {ended} on listeners that went {unseen} unseen",
            outcomes.len(),
            failed.len()
        );
        assert!(failed.is_empty(), "{backend}: {} of {}: {:?}", failed.len(), outcomes.len(), failed[0]);
        assert_eq!(process.metric("ringway_panics_total").await, 0, "{backend}");
        assert_eq!(process.metric("ringway_accept_errors_total").await, 0, "{backend}");
        assert_eq!(process.metric("ringway_connections_refused_total").await, 0, "{backend}");
    }
}

#[tokio::test]
async fn the_program_takes_a_changed_file_a_signal_and_a_request() {
    let _alone = crate::alone();
    let server = InteropServer::start();
    let config = GatewayBuilder::new(&[server.address()], "io_uring");
    let methods = std::env::temp_dir().join(format!("ringway-test-{}-methods.json", std::process::id()));
    let said = |timeout: &str| {
        let json = format!("{{\"methodConfig\": [{{\"name\": [{{}}], \"timeout\": \"{timeout}\"}}]}}");
        std::fs::write(&methods, json).expect("the test's file");
    };
    said("7s");
    let config = config.set("clusters.service_config", methods.display().to_string());
    let mut process = Process::start(&config.text()).await;

    // A changed file is found without being told.
    let named = |name: &str| config.clone().set("routes.name", name).text();
    std::fs::write(process.config(), named("by-file")).expect("the test's file");
    process.says("new configuration").await;
    assert!(process.page("/routes").await.contains("by-file"));

    // A configuration with an error changes nothing, and the log names the error and its place.
    std::fs::write(process.config(), "workers = \"x\"\n").expect("the test's file");
    let line = process.says("the configuration is not taken").await;
    assert!(line.contains(":1:"), "{line}");
    assert!(process.page("/routes").await.contains("by-file"));
    let metrics = process.page("/metrics").await;
    assert!(metrics.contains("\nringway_config_good 0\n"), "{metrics}");

    // A file renamed over, and a signal.
    let beside = process.config().with_extension("new");
    std::fs::write(&beside, named("by-signal")).expect("the test's file");
    std::fs::rename(&beside, process.config()).expect("the test's file");
    process.signal("HUP");
    process.says("new configuration").await;
    assert!(process.page("/routes").await.contains("by-signal"));
    assert!(process.page("/metrics").await.contains("\nringway_config_good 1\n"));

    // So is one whose contents are part of it; and one that is wrong is not taken.
    said("8s");
    process.says("of which 1 are new or changed").await;
    said("for ever");
    process.says("the configuration is not taken").await;
    said("8s");
    process.says("of which 0 are new or changed").await;

    // An operator who asks is told.
    let answer = process.posted("/config/reload").await;
    assert!(answer.contains("1 routes, 1 clusters, of which 0 are new or changed"), "{answer}");
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
    std::fs::remove_file(&methods).expect("the test's file");
}
