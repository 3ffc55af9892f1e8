//! Listeners that a reload adds, removes and changes: each connection keeps what it began with, and none of another
//! listener is touched.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::callers::open_call;
use crate::support::gateway::{self, BACKENDS, GatewayBuilder, metric, metric_becomes};
use crate::support::interop_server::InteropServer;
use crate::support::pki::{Authority, Folder, names};
use crate::support::raw::{self, EMPTY_CALL, RawClient, RawReply};
use crate::support::tunnel::{client_config, connect};
use crate::support::within;
use ringway::config;
use ringway::supervisor::{Gateway, ReloadError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) const LISTENER: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";

pub(super) fn reload(gateway: &mut Gateway, text: &str) -> Result<String, ReloadError> {
    let config = config::parse(text, Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    gateway.reload(config).map(|reloaded| reloaded.to_string())
}

/// The configuration with these listeners in place of its only one.
pub(super) fn with(server: &InteropServer, backend: &str, listeners: &str) -> String {
    placed(&GatewayBuilder::new(&[server.address()], backend), listeners)
}

fn placed(config: &GatewayBuilder, listeners: &str) -> String {
    let text = config.text();
    assert!(text.contains(LISTENER));
    text.replace(LISTENER, listeners)
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("it is bound")
}

fn at(address: SocketAddr, keys: &str) -> String {
    format!("[[listeners]]\naddress = \"{address}\"\n{keys}\n")
}

pub(super) fn check(reply: &RawReply) {
    assert_eq!((reply.grpc_status(), reply.error.is_none()), (Some("0"), true), "{reply:?}");
}

/// Calls on new connections until one fits: a worker takes another configuration at its next turn.
async fn until(what: &str, fits: impl AsyncFn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    // The kernel spreads connections over both workers.
    let mut in_a_row = 0;
    let look = async {
        while in_a_row < 12 {
            looks.tick().await;
            in_a_row = if fits().await { in_a_row + 1 } else { 0 };
        }
    };
    within(Duration::from_secs(15), what, look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_is_added_and_removed_and_its_calls_end_in_peace() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let other = free();
        let (one, two) = (with(&server, backend, LISTENER), at(other, ""));
        let both = with(&server, backend, &format!("{two}{LISTENER}"));
        let mut gateway = gateway::start(&one);
        let first = gateway.listeners()[0];
        let mut steady = RawClient::connect(first).await;
        let mut long = open_call(&mut steady, &server).await;

        let said = reload(&mut gateway, &both).expect("it is taken");
        assert!(said.ends_with("; listeners: 1 added"), "{said}");
        assert_eq!(gateway.listeners(), [other, first], "{backend}");
        for _ in 0..8 {
            check(&RawClient::connect(other).await.call(EMPTY_CALL, &[], b"").await);
        }
        let mut leaving = RawClient::connect(other).await;
        let mut begun = open_call(&mut leaving, &server).await;
        let mut idle = RawClient::connect(other).await;
        check(&idle.call(EMPTY_CALL, &[], b"").await);
        // This one may still wait to be accepted when its listener goes.
        let mut waiting = RawClient::connect(other).await;
        let mut late = waiting.open(EMPTY_CALL, &[]).await;

        let said = reload(&mut gateway, &one).expect("it is taken");
        assert!(said.ends_with("; listeners: 1 removed"), "{said}");
        assert_eq!(gateway.listeners(), [first], "{backend}");
        let refused = TcpStream::connect(other).await.expect_err("it is closed");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{backend}");
        for call in [&mut begun, &mut late] {
            call.send(raw::message(0, b""), true);
        }
        check(&begun.reply().await);
        let late = late.reply().await;
        assert!(late.was_told_unseen() || late.grpc_status() == Some("0"), "{backend}: {late:?}");
        leaving.closed().await;
        idle.closed().await;
        waiting.closed().await;

        // The port is free, also for another listener of this gateway.
        reload(&mut gateway, &both).expect("it is taken");
        check(&RawClient::connect(other).await.call(EMPTY_CALL, &[], b"").await);

        // The connection of the listener that stays has not been touched.
        long.send(raw::message(0, b""), true);
        check(&long.reply().await);
        check(&steady.call(EMPTY_CALL, &[], b"").await);
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_removed_listener_is_cut_at_drain_timeout() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let other = free();
        let short = |listeners: &str| {
            let config = GatewayBuilder::new(&[server.address()], backend).set("drain_timeout", "200ms");
            placed(&config, listeners)
        };
        let mut gateway = gateway::start(&short(&format!("{LISTENER}{}", at(other, ""))));
        let mut steady = RawClient::connect(gateway.listeners()[0]).await;
        let mut stays = open_call(&mut steady, &server).await;
        let mut leaving = RawClient::connect(other).await;
        let call = open_call(&mut leaving, &server).await;
        reload(&mut gateway, &short(LISTENER)).expect("it is taken");
        let reply = call.reply().await;
        assert_eq!(reply.grpc_status(), Some("14"), "{backend}: {reply:?}");
        assert_eq!(metric(&gateway, "ringway_calls_cut_total"), 1, "{backend}");
        stays.send(raw::message(0, b""), true);
        check(&stays.reply().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_had_is_named_and_changes_nothing() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (taken, other) = (taken.local_addr().expect("it is bound"), (free(), taken));
        let mut gateway = gateway::start(&with(&server, backend, LISTENER));
        let listeners = format!("{LISTENER}{}{}", at(other.0, ""), at(taken, ""));
        let config = GatewayBuilder::new(&[server.address()], backend).set("routes.timeout", "29s");
        let text = placed(&config, &listeners);
        let line = text.lines().position(|line| line.contains(&taken.to_string())).expect("it is there") + 1;
        let refused = reload(&mut gateway, &text).expect_err("the port is taken").to_string();
        assert!(refused.starts_with(&format!("test.toml:{line}:11: cannot listen on {taken}")), "{refused}");
        assert!(TcpStream::connect(other.0).await.is_err(), "{backend}: nothing stays open");
        assert!(gateway.view().config.effective.toml().contains("timeout = \"30s\""), "{backend}");
        check(&RawClient::connect(gateway.listeners()[0]).await.call(EMPTY_CALL, &[], b"").await);
        drop(other.1);
        reload(&mut gateway, &text).expect("the port is free");
        check(&RawClient::connect(taken).await.call(EMPTY_CALL, &[], b"").await);
    }
}

/// The answer to a preflight.
async fn preflight(address: SocketAddr) -> String {
    let request = "OPTIONS /grpc.testing.TestService/EmptyCall HTTP/1.1\r\nhost: x\r\norigin: https://a.example\r\n\
                   access-control-request-method: POST\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    // A connection that is refused for its number is reset.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_a_listener_hold_for_new_connections() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let mut gateway = gateway::start(&with(&server, backend, LISTENER));
        let address = gateway.listeners()[0];
        let mut steady = RawClient::connect(address).await;
        let mut long = open_call(&mut steady, &server).await;

        let cors = format!("{LISTENER}[listeners.cors]\nallow_origins = [\"https://a.example\"]\n");
        let said = reload(&mut gateway, &with(&server, backend, &cors)).expect("it is taken");
        assert!(said.ends_with("; listeners: 1 changed"), "{said}");
        assert_eq!(gateway.listeners(), [address]);
        until("CORS", async || preflight(address).await.contains("access-control-allow-origin")).await;

        // Limits: of the head, and of connections.
        let limits = format!("{LISTENER}http2.max_headers_count = 8\nbacklog = 16\n");
        reload(&mut gateway, &with(&server, backend, &limits)).expect("it is taken");
        let many: Vec<(String, String)> = (0..9).map(|at| (format!("x-{at}"), "1".to_owned())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
        let status = async |client: &mut RawClient| {
            let reply = client.call(EMPTY_CALL, &many, b"").await;
            reply.grpc_status().map(str::to_owned)
        };
        until("a limit", async || {
            status(&mut RawClient::connect(address).await).await.as_deref() == Some("8")
        })
        .await;
        assert_eq!(status(&mut steady).await.as_deref(), Some("0"), "{backend}: it keeps what it began with");

        let few = format!("{LISTENER}max_connections = 1\n");
        reload(&mut gateway, &with(&server, backend, &few)).expect("it is taken");
        let held = [RawClient::try_connect(address).await, RawClient::try_connect(address).await];
        until("connections are refused", async || preflight(address).await.is_empty()).await;
        drop(held);

        // The PROXY protocol is demanded of new connections alone.
        let proxy = format!("{LISTENER}[listeners.proxy_protocol]\n");
        reload(&mut gateway, &with(&server, backend, &proxy)).expect("it is taken");
        until("the PROXY protocol", async || preflight(address).await.is_empty()).await;
        long.send(raw::message(0, b""), true);
        check(&long.reply().await);
        check(&steady.call(EMPTY_CALL, &[], b"").await);
        reload(&mut gateway, &with(&server, backend, LISTENER)).expect("it is taken");
        until("plain again", async || preflight(address).await.starts_with("HTTP/1.1 ")).await;
        metric_becomes(&gateway, "ringway_connections_active", 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_comes_and_goes_and_each_listener_has_its_own() {
    const NAMES: [&str; 2] = ["one.example.org", "two.example.org"];
    for backend in BACKENDS {
        let (folder, ca) = (Folder::new("listeners"), Authority::new("root"));
        let tables = NAMES.map(|name| {
            let identity = ca.issue(&names(&[name]));
            let files = ["crt", "key"].map(|end| folder.path().join(format!("{name}.{end}")));
            std::fs::write(&files[0], &identity.chain).expect("a file");
            std::fs::write(&files[1], &identity.key).expect("a file");
            let [chain, key] = files;
            format!(
                "[listeners.tls]\n[[listeners.tls.tls_certificates]]\ncertificate_chain = {chain:?}\nprivate_key = {key:?}\n"
            )
        });
        let server = InteropServer::start();
        let mut gateway = gateway::start(&with(&server, backend, LISTENER));
        let first = gateway.listeners()[0];
        let mut plain = RawClient::connect(first).await;
        check(&plain.call(EMPTY_CALL, &[], b"").await);
        let client = Arc::new(client_config(&ca.pem(), &["h2"], None));
        let greets =
            async |address: SocketAddr, name: &'static str| connect(address, &client, name).await.is_ok();

        // One more listener before the first: each has the certificate of its own table, whatever its position.
        let second = free();
        let secure = format!("{}{LISTENER}{}", at(second, &tables[1]), tables[0]);
        reload(&mut gateway, &with(&server, backend, &secure)).expect("it is taken");
        until("TLS", async || greets(first, NAMES[0]).await && greets(second, NAMES[1]).await).await;
        assert!(!greets(first, NAMES[1]).await && !greets(second, NAMES[0]).await, "{backend}");
        check(&plain.call(EMPTY_CALL, &[], b"").await);

        let swapped = format!("{LISTENER}{}{}", tables[1], at(second, &tables[0]));
        reload(&mut gateway, &with(&server, backend, &swapped)).expect("it is taken");
        until("the other certificate", async || {
            greets(first, NAMES[1]).await && greets(second, NAMES[0]).await
        })
        .await;
        reload(&mut gateway, &with(&server, backend, LISTENER)).expect("it is taken");
        until("plaintext", async || {
            let mut client = RawClient::connect(first).await;
            client.try_call(EMPTY_CALL, b"").await.is_some_and(|reply| reply.grpc_status() == Some("0"))
        })
        .await;
        check(&plain.call(EMPTY_CALL, &[], b"").await);
    }
}
