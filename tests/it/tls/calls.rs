//! Calls over TLS: gRPC's own cases, HTTP/1.1, and what the protocols agree on.

use super::{NAME, Site, config};
use crate::support::callers::open_call;
use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::http1::Http1;
use crate::support::interop_client as cases;
use crate::support::interop_server::InteropServer;
use crate::support::pki::names;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient, message};
use crate::support::service::{Act, Service};
use crate::support::tunnel::{Tunnel, client_config, connect};
use crate::support::within;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CASE_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cases_of_grpc_pass_over_tls_and_over_mutual_tls() {
    let site = Site::new();
    let identity = site.ca.issue(&names(&["spiffe://example.org/test"]));
    for backend in BACKENDS {
        for is_mutual in [false, true] {
            let server = InteropServer::start();
            let rules = format!("require_client_certificate = true\n{}", site.clients(""));
            let listener = site.listener(if is_mutual { &rules } else { "" });
            let gateway = gateway::start(&config(&[server.address()], backend, &listener, ""));
            let identity = is_mutual.then_some(&identity);
            let client = client_config(&site.ca.pem(), &["h2"], identity);
            let tunnel = Tunnel::to_tls(gateway.listeners()[0], client, NAME).await;
            let channel = within(CASE_MAX, "connect", cases::connect(tunnel.address)).await;
            let channel = &channel;
            macro_rules! run {
                ($($case:ident($($argument:expr),*);)*) => {
                    $(within(CASE_MAX, stringify!($case), cases::$case($($argument),*)).await;)*
                };
            }
            run! {
                empty_unary(channel);
                large_unary(channel);
                client_streaming(channel);
                server_streaming(channel);
                ping_pong(channel);
                empty_stream(channel);
                client_compressed_unary(channel);
                server_compressed_unary(channel);
                custom_metadata(channel);
                status_code_and_message(channel);
                special_status_message(channel);
                unimplemented_method(channel);
                unimplemented_service(channel);
                cancel_after_begin(channel, &server);
                cancel_of_server_streaming(channel, &server);
                timeout_on_sleeping_server(channel);
                concurrent_large_unary(channel, 40);
                empty_unary(channel);
            }
            assert_eq!(metric(&gateway, "ringway_tls_errors_total"), 0, "{backend}");
            assert!(metric(&gateway, "ringway_tls_handshakes_total") >= 1, "{backend}");
        }
    }
}

/// The first bytes that the gateway sends over TLS, to a client that offers these protocols and speaks HTTP/2 or not.
async fn greeting(
    gateway: &ringway::supervisor::Gateway,
    site: &Site,
    alpn: &[&str],
    is_http2: bool,
) -> std::io::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let client = Arc::new(client_config(&site.ca.pem(), alpn, None));
    let mut stream = connect(gateway.listeners()[0], &client, NAME).await?;
    let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let greeting: &[u8] = match is_http2 {
        true => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        false => b"GET /nothing HTTP/1.1\r\nhost: api.example.org\r\n\r\n",
    };
    stream.write_all(greeting).await?;
    let mut answer = vec![0; 9];
    stream.read_exact(&mut answer).await?;
    Ok((chosen, answer))
}

#[tokio::test]
async fn alpn_chooses_the_protocol_and_the_preface_does_without() {
    let site = Site::new();
    for backend in BACKENDS {
        let gateway = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, &site.listener(""), ""));
        let settings = |answer: &[u8]| answer[3] == 4;
        for (alpn, is_http2, wanted) in [
            (&["h2"][..], true, Some("h2")),
            (&["http/1.1"], false, Some("http/1.1")),
            (&["h2", "http/1.1"], true, Some("h2")),
            (&["http/1.1", "h2"], true, Some("h2")),
            (&[], true, None),
            (&[], false, None),
        ] {
            let (chosen, answer) = greeting(&gateway, &site, alpn, is_http2).await.expect("an answer");
            assert_eq!(chosen.as_deref(), wanted.map(str::as_bytes), "{alpn:?}");
            assert_eq!(settings(&answer), is_http2, "{alpn:?}: {answer:?}");
            assert_eq!(answer.starts_with(b"HTTP/1.1 "), !is_http2, "{alpn:?}: {answer:?}");
        }
        let refused = greeting(&gateway, &site, &["foo"], true).await.expect_err("there is none in common");
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
        gateway::metric_becomes(&gateway, "ringway_tls_errors_total", 1).await;
        let page = gateway.metrics();
        assert!(page.contains("ringway_tls_errors_total{reason=\"no_application_protocol\"} 1"), "{page}");
        assert!(page.contains("ringway_tls_handshakes_total{handshake=\"tls1.3\"} "), "{page}");
    }
}

#[tokio::test]
async fn whoever_speaks_something_else_is_told_and_counted() {
    let site = Site::new();
    for backend in BACKENDS {
        let secure = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, &site.listener(""), ""));
        let plain = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, "", ""));
        for (what, begins) in [
            (&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], "HTTP/1.1 400 Bad Request\r\n"),
            (b"POST /a HTTP/1.1\r\n", "HTTP/1.1 400 Bad Request\r\n"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
            (b"\0\0\0\0", ""),
        ] {
            let mut stream = tokio::net::TcpStream::connect(secure.listeners()[0]).await.expect("it listens");
            stream.write_all(what).await.expect("it takes them");
            let mut answer = String::new();
            within(CASE_MAX, "the end", stream.read_to_string(&mut answer)).await.expect("an end in order");
            assert!(answer.starts_with(begins) && answer.is_empty() == begins.is_empty(), "{answer}");
            assert!(begins.is_empty() || answer.contains("TLS"), "{answer}");
        }
        gateway::metric_becomes(&secure, "ringway_tls_errors_total", 4).await;
        assert!(secure.metrics().contains("ringway_tls_errors_total{reason=\"plaintext\"} 4"));

        let client = Arc::new(client_config(&site.ca.pem(), &["h2"], None));
        let refused = within(CASE_MAX, "a refusal", connect(plain.listeners()[0], &client, NAME)).await;
        assert!(refused.is_err());
        gateway::metric_becomes(&plain, "ringway_tls_errors_total", 1).await;
        assert!(plain.metrics().contains("ringway_tls_errors_total{reason=\"tls_on_plaintext\"} 1"));
    }
}

#[tokio::test]
async fn json_over_tls_is_answered_and_the_end_is_told_in_order() {
    let site = Site::new();
    for backend in BACKENDS {
        let gateway = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, &site.listener(""), ""));
        let client = Arc::new(client_config(&site.ca.pem(), &["http/1.1"], None));
        let mut stream = connect(gateway.listeners()[0], &client, NAME).await.expect("it listens");
        let request = "GET /nothing HTTP/1.1\r\nhost: api.example.org\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("it takes it");
        let mut answer = String::new();
        // Without close_notify this would be an error.
        within(CASE_MAX, "the end", stream.read_to_string(&mut answer)).await.expect("an end in order");
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_tls_tell_browsers_to_stay_with_it() {
    let site = Site::new();
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let value = "max-age=31536000; includeSubDomains";
        let listener = site.listener(&format!("strict_transport_security = \"{value}\"\n"));
        let gateway = gateway::start(&config(&[service.address()], backend, &listener, ""));
        let http1 = client_config(&site.ca.pem(), &["http/1.1"], None);
        let tunnel = Tunnel::to_tls(gateway.listeners()[0], http1, NAME).await;
        let mut client = Http1::connect(tunnel.address).await;
        let web = [("content-type", "application/grpc-web")];
        for (line, fields) in [("GET /nowhere", &[][..]), ("POST /grpc.testing.TestService/EmptyCall", &web)]
        {
            let answer = client.ask(line, fields, b"\0\0\0\0\0").await;
            assert_eq!(answer.field("strict-transport-security"), Some(value), "{backend} {answer:?}");
        }
        let http2 = client_config(&site.ca.pem(), &["h2"], None);
        let tunnel = Tunnel::to_tls(gateway.listeners()[0], http2, NAME).await;
        let reply = RawClient::connect(tunnel.address).await.call(EMPTY_CALL, &[], b"").await;
        assert_eq!((reply.grpc_status(), reply.field("strict-transport-security")), (Some("0"), None));
    }
}

/// Keys of connections are written down where the configuration says so, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_variable_has_keys_written_down() {
    let site = Site::new();
    for is_configured in [false, true] {
        let [by_variable, by_key] = ["variable.log", "key.log"].map(|name| site.path(name));
        let keys = if is_configured { format!("key_log = {by_key:?}\n") } else { String::new() };
        let text = config(&[([127, 0, 0, 1], 9).into()], "epoll", &site.listener(&keys), "");
        let process = Process::start_with(&text, |command| {
            command.env("SSLKEYLOGFILE", &by_variable);
        })
        .await;
        let client = Arc::new(client_config(&site.ca.pem(), &["h2"], None));
        let mut stream = connect(process.listener, &client, NAME).await.expect("it shakes hands");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it takes it");
        stream.read_exact(&mut [0; 9]).await.expect("its settings");
        assert!(!std::path::Path::new(&by_variable).exists());
        let written = std::fs::read_to_string(&by_key).unwrap_or_default();
        assert_eq!(written.contains("SERVER_TRAFFIC_SECRET_0 "), is_configured, "{written}");
    }
}

/// A gateway that drains lets a call finish, and says that nothing more comes before it closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_over_tls_ends_connections_in_order() {
    let site = Site::new();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&config(&[server.address()], backend, &site.listener(""), ""));
        let settings = client_config(&site.ca.pem(), &["h2"], None);
        let tunnel = Tunnel::to_tls(gateway.listeners()[0], settings.clone(), NAME).await;
        let mut client = RawClient::connect(tunnel.address).await;
        let mut call = open_call(&mut client, &server).await;
        let mut idle = connect(gateway.listeners()[0], &Arc::new(settings), NAME).await.expect("it listens");
        idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it takes it");
        idle.read_exact(&mut [0; 9]).await.expect("its settings");
        gateway.drain();
        let mut rest = Vec::new();
        // Without close_notify this would be an error.
        let end = within(CASE_MAX, "the end", async {
            let mut bytes = [0; 1024];
            loop {
                match idle.read(&mut bytes).await {
                    Ok(0) => return Ok(()),
                    Ok(n) => rest.extend_from_slice(&bytes[..n]),
                    Err(error) => return Err(error),
                }
                // A PING comes between the two GOAWAYs, and wants its answer.
                if let Some(at) = rest.windows(9).position(|head| head[..5] == [0, 0, 8, 6, 0]) {
                    let ping: Vec<u8> = rest.drain(..at + 17).collect();
                    let answer = [&[0, 0, 8, 6, 1, 0, 0, 0, 0], &ping[at + 9..]].concat();
                    idle.write_all(&answer).await?;
                }
            }
        });
        end.await.unwrap_or_else(|error| panic!("{backend}: {error}"));
        call.send(message(0, b""), true);
        let reply = call.reply().await;
        assert_eq!((reply.grpc_status(), reply.error.is_none()), (Some("0"), true), "{backend}: {reply:?}");
        client.closed().await;
    }
}
