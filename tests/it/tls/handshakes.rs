//! Handshakes that are slow, that are many, and that end early; tickets between workers.
#![allow(clippy::disallowed_methods, reason = "a test measures how long something takes")]

use super::{NAME, Site, check, config};
use crate::support::gateway::{self, BACKENDS, metric, sum_of};
use crate::support::interop_server::InteropServer;
use crate::support::pki::names;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::tunnel::{Tunnel, client_config, connect};
use crate::support::within;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const WAIT_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_never_ends_is_cut() {
    let site = Site::new();
    for backend in BACKENDS {
        let listener = format!("handshake_timeout = \"1s\"\n{}", site.listener(""));
        let gateway = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, &listener, ""));
        let begun = Instant::now();
        let mut streams = Vec::new();
        for number in 0..100_u8 {
            let mut stream = TcpStream::connect(gateway.listeners()[0]).await.expect("it listens");
            // A part of a record's head, of a record, or nothing.
            let part = [&[][..], &[22, 3], &[22, 3, 1, 2, 0, 1, 0]][usize::from(number % 3)];
            stream.write_all(part).await.expect("it takes it");
            streams.push(stream);
        }
        for mut stream in streams {
            let end = within(WAIT_MAX, "the end", stream.read(&mut [0; 16])).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{backend}: {end:?}");
        }
        let took = begun.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&took), "{backend}: {took:?}");
        assert_eq!(metric(&gateway, "ringway_handshake_timeouts_total"), 100, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_in_single_bytes_is_a_hello() {
    let site = Site::new();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&config(&[server.address()], backend, &site.listener(""), ""));
        let slow = super::bytes::single_bytes(gateway.listeners()[0]).await;
        let tunnel = Tunnel::to_tls(slow, client_config(&site.ca.pem(), &["h2"], None), NAME).await;
        let mut client = RawClient::connect(tunnel.address).await;
        for _ in 0..5 {
            check(&client.call(EMPTY_CALL, &[], &[]).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_reaches_no_service() {
    let site = Site::new();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let rules = format!("require_client_certificate = true\n{}", site.clients(""));
        let gateway = gateway::start(&config(&[server.address()], backend, &site.listener(&rules), ""));
        let stranger = crate::support::pki::Authority::new("other").issue(&names(&["x"]));
        for identity in [None, Some(&stranger)] {
            let client = Arc::new(client_config(&site.ca.pem(), &["h2"], identity));
            // With TLS 1.3 the client is done before the gateway has seen its certificate.
            let end = async {
                let mut stream = connect(gateway.listeners()[0], &client, NAME).await?;
                stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
                stream.read(&mut [0; 16]).await
            };
            let end = within(WAIT_MAX, "the end", end).await;
            assert!(end.as_ref().is_err(), "{backend}: {end:?}");
        }
        gateway::metric_becomes(&gateway, "ringway_tls_errors_total", 2).await;
        let page = gateway.metrics();
        for reason in ["certificate_required", "certificate_unknown_ca"] {
            assert_eq!(
                sum_of(&page, &format!("ringway_tls_errors_total{{reason=\"{reason}\"}}")),
                1,
                "{reason}"
            );
        }
        assert_eq!(metric(&gateway, "ringway_calls_started_total"), 0, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_at_every_worker() {
    let site = Site::new();
    for backend in BACKENDS {
        let gateway = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, &site.listener(""), ""));
        let client = Arc::new(client_config(&site.ca.pem(), &["h2"], None));
        let mut resumed = 0;
        for _ in 0..200 {
            let mut stream = connect(gateway.listeners()[0], &client, NAME).await.expect("it listens");
            // Tickets come after the handshake.
            stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .await
                .expect("it takes it");
            stream.read_exact(&mut [0; 9]).await.expect("its settings");
            let kind = stream.get_ref().1.handshake_kind();
            resumed += u64::from(kind == Some(rustls::HandshakeKind::Resumed));
        }
        assert_eq!(resumed, 199, "{backend}");
        let page = gateway.metrics();
        assert_eq!(sum_of(&page, "ringway_tls_handshakes_total{handshake=\"tls1.3_resumed\"}"), 199);
    }
}

/// Calls of one connection go on while many others shake hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_handshakes_fail_no_call() {
    let site = Site::new();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&config(&[server.address()], backend, &site.listener(""), ""));
        let settings = client_config(&site.ca.pem(), &["h2"], None);
        let tunnel = Tunnel::to_tls(gateway.listeners()[0], settings.clone(), NAME).await;
        let mut client = RawClient::connect(tunnel.address).await;
        let (address, mut storm) = (gateway.listeners()[0], JoinSet::new());
        for _ in 0..8 {
            let mut settings = settings.clone();
            settings.resumption = rustls::client::Resumption::disabled();
            let settings = Arc::new(settings);
            storm.spawn(async move {
                for _ in 0..50 {
                    connect(address, &settings, NAME).await.expect("it shakes hands");
                }
            });
        }
        let mut calls = 0;
        while !storm.is_empty() {
            tokio::select! {
                ended = storm.join_next() => ended.expect("there are some").expect("no panic"),
                reply = client.call(EMPTY_CALL, &[], &[]) => {
                    check(&reply);
                    calls += 1;
                }
            }
        }
        assert!(calls > 10, "{backend}: {calls}");
        gateway::metric_becomes(&gateway, "ringway_tls_handshakes_total", 401).await;
    }
}
