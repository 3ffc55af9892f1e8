//! The PROXY protocol before HTTP/2 and HTTP/1.1, cut anywhere; and addresses that may not connect.

use std::time::Duration;

use super::behind;
use crate::support::gateway::{self, BACKENDS, gateway_config, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::raw::{EMPTY_CALL, RawClient, exchange, half_said, message};
use crate::support::service::{Act, Service};
use crate::support::within;
use crate::tls::{self, NAME, Site};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

const TELL: &str = "use_remote_address = true\n[listeners.proxy_protocol]\n";
const LINE: &[u8] = b"PROXY TCP4 6.6.6.6 10.0.0.1 4711 80\r\n";

fn binary() -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x15".to_vec();
    bytes.extend([6, 6, 6, 6, 10, 0, 0, 1, 0x12, 0x67, 0, 80]);
    bytes.extend(b"\x02\0\x06h.test"); // a TLV
    bytes
}

async fn service() -> Service {
    Service::start(|_, _| Act::Answer).await
}

/// A call over HTTP/1.1 whose header of the PROXY protocol comes in two pieces.
async fn call(client: &mut Http1) -> u16 {
    let headers = [("content-type", "application/grpc-web+proto")];
    client.ask(&format!("POST {EMPTY_CALL}"), &headers, &message(0, b"")).await.status
}

#[tokio::test]
async fn a_header_cut_at_every_byte_names_the_caller() {
    for backend in BACKENDS {
        let service = service().await;
        let (gateway, address) = behind(TELL, &service, backend);
        for header in [LINE, &binary()] {
            let mut begun = Vec::new();
            for cut in 1..header.len() {
                let mut client = Http1::connect(address).await;
                client.say(&header[..cut]).await;
                begun.push((cut, client));
            }
            // All first pieces have been sent, and the gateway has had time for most of them.
            for (cut, client) in &mut begun {
                client.say(&header[*cut..]).await;
                let before = service.count();
                assert_eq!(call(client).await, 200, "cut at {cut}");
                assert_eq!(
                    service.asked()[before].header("x-forwarded-for"),
                    Some("6.6.6.6"),
                    "cut at {cut}"
                );
            }
        }
        assert_eq!(metric(&gateway, "ringway_protocol_errors_total"), 0);
    }
}

#[tokio::test]
async fn what_is_no_header_is_closed_and_counted() {
    for backend in BACKENDS {
        let service = service().await;
        let (gateway, address) = behind(TELL, &service, backend);
        let bad: [&[u8]; 5] = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 6.6.6.6 10.0.0.1 4711\r\n",
            b"PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        ];
        for bytes in bad {
            assert!(exchange(address, bytes).await.is_empty(), "{bytes:?}");
        }
        metric_becomes(&gateway, "ringway_protocol_errors_total", bad.len() as u64).await;
        assert!(gateway.metrics().contains("error=\"proxy_protocol\""), "by its name");
        assert_eq!(service.count(), 0);
    }
}

#[tokio::test]
async fn silence_is_closed_in_time() {
    let service = service().await;
    let (gateway, address) = behind(&format!("{TELL}timeout = \"100ms\"\n"), &service, "io_uring");
    let _silent = half_said(address, b"").await;
    let _half = half_said(address, &LINE[..10]).await;
    metric_becomes(&gateway, "ringway_handshake_timeouts_total", 2).await;
    metric_becomes(&gateway, "ringway_connections_active", 0).await;
}

#[tokio::test]
async fn only_trusted_peers_may_speak_for_others() {
    let service = service().await;
    for (settings, with, without) in [
        ("", Some("6.6.6.6"), None),
        ("allow_requests_without_proxy_protocol = true", Some("6.6.6.6"), Some("127.0.0.1")),
        ("trusted_cidrs = [\"127.0.0.1\"]", Some("6.6.6.6"), None),
        ("trusted_cidrs = [\"10.0.0.0/8\"]", None, None),
        (
            "trusted_cidrs = [\"10.0.0.0/8\"]\nallow_requests_without_proxy_protocol = true",
            None,
            Some("127.0.0.1"),
        ),
    ] {
        let (_gateway, address) = behind(&format!("{TELL}{settings}\n"), &service, "epoll");
        for (header, wanted) in [(LINE, with), (&b""[..], without)] {
            let mut client = Http1::connect(address).await;
            client.say(header).await;
            match wanted {
                Some(wanted) => {
                    assert_eq!(call(&mut client).await, 200, "{settings}");
                    let asked = service.asked().pop().expect("the service was asked");
                    assert_eq!(asked.header("x-forwarded-for"), Some(wanted), "{settings}");
                }
                None => {
                    client.say(b"GET / HTTP/1.1\r\n\r\n").await;
                    assert!(client.is_closed().await, "{settings}");
                }
            }
        }
    }
}

#[tokio::test]
async fn addresses_may_connect_or_not() {
    let service = service().await;
    let proxied = "[listeners.proxy_protocol]\nallow_requests_without_proxy_protocol = true\n";
    for (lists, own, behind_proxy) in [
        ("allow_cidrs = [\"127.0.0.0/8\"]\n", true, false),
        ("deny_cidrs = [\"127.0.0.1\"]\n", false, true),
        ("allow_cidrs = [\"0.0.0.0/0\"]\ndeny_cidrs = [\"6.0.0.0/8\"]\n", true, false),
    ] {
        let (gateway, address) = behind(&format!("{lists}{proxied}"), &service, "io_uring");
        for (header, admitted) in [(&b""[..], own), (LINE, behind_proxy)] {
            let mut client = Http1::connect(address).await;
            client.say(header).await;
            if admitted {
                assert_eq!(call(&mut client).await, 200, "{lists}");
            } else {
                client.say(b"GET / HTTP/1.1\r\n\r\n").await;
                assert!(client.is_closed().await, "{lists}");
            }
        }
        metric_becomes(&gateway, "ringway_connections_denied_total", 1).await;
    }
}

/// The first bytes of the next connection.
async fn first_bytes(listener: &TcpListener, count: usize) -> Vec<u8> {
    let accept = async {
        let (mut stream, _) = listener.accept().await.expect("a loopback port");
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).await.expect("so many come");
        bytes
    };
    within(Duration::from_secs(5), "a connection", accept).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_cluster_may_begin_with_a_header() {
    let local: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0PRI * HTTP/2.0";
    for backend in BACKENDS {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        // Reflection is asked by the control side, on a channel of its own.
        let extra = "proxy_protocol = \"v2\"\n[transcoding]\nreflection = [\"interop\"]\n";
        let config = gateway_config(&[address], backend, extra);
        let starting = tokio::task::spawn_blocking(move || gateway::start(&config));
        assert_eq!(first_bytes(&listener, local.len()).await, local, "{backend}: the control side");
        let gateway = starting.await.expect("it starts");
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let _call = client.open(EMPTY_CALL, &[]).await;
        assert_eq!(first_bytes(&listener, local.len()).await, local, "{backend}: a worker");

        // Before a gateway that demands the header, and speaks TLS behind it.
        let (service, site) = (Service::start(|_, _| Act::Answer).await, Site::new());
        let inner = site.listener("[listeners.proxy_protocol]\n");
        let inner = gateway::start(&tls::config(&[service.address()], backend, &inner, ""));
        for (proxied, status) in [("v2", "0"), ("none", "14")] {
            let trusted = format!(
                "proxy_protocol = \"{proxied}\"\n[clusters.retry]\nmax_attempts = 1\n[clusters.tls]\nsni = \"{NAME}\"\n\
                 [clusters.tls.validation_context]\ntrusted_ca = {:?}\n",
                site.path("ca.pem")
            );
            let outer = gateway::start(&gateway_config(&[inner.listeners()[0]], backend, &trusted));
            let mut client = RawClient::connect(outer.listeners()[0]).await;
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some(status), "{backend} {proxied}: {reply:?}");
        }
        assert_eq!(service.count(), 1, "{backend}");
    }
}

#[tokio::test]
async fn a_header_that_ends_at_any_byte_names_nobody() {
    for backend in BACKENDS {
        let service = service().await;
        let (gateway, address) = behind(TELL, &service, backend);
        for header in [LINE, &binary()] {
            for cut in 0..header.len() {
                // It is closed where this drops it.
                drop(half_said(address, &header[..cut]).await);
            }
        }
        metric_becomes(&gateway, "ringway_connections_active", 0).await;
        assert_eq!((service.count(), metric(&gateway, "ringway_panics_total")), (0, 0), "{backend}");
        let mut client = Http1::connect(address).await;
        client.say(LINE).await;
        assert_eq!(call(&mut client).await, 200, "{backend}: others are served");
    }
}
