//! Connections and handshakes of one client address, and callers of plain HTTP that are sent to `https`.

use std::net::SocketAddr;

use super::behind;
use crate::support::gateway::{BACKENDS, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use tokio::net::TcpSocket;

/// A connection from this address of the machine.
async fn from(source: &str, address: SocketAddr) -> Http1 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("an address of loopback");
    Http1::over(socket.connect(address).await.expect("it listens"))
}

async fn is_served(client: &mut Http1) -> bool {
    client.say("GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await;
    !client.is_closed().await && client.answer().await.status == 404
}

#[tokio::test]
async fn an_address_has_so_many_connections_over_all_workers() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = behind("max_connections_per_address = 3\n", &service, backend);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = from("127.0.0.1", address).await;
            assert!(is_served(&mut client).await, "{backend}");
            clients.push(client);
        }
        assert!(!is_served(&mut from("127.0.0.1", address).await).await, "{backend}");
        assert!(is_served(&mut from("127.0.0.2", address).await).await, "{backend}");
        assert_eq!(metric(&gateway, "ringway_connections_denied_total"), 1, "{backend}");
        drop(clients);
        metric_becomes(&gateway, "ringway_connections_active", 0).await;
        assert!(is_served(&mut from("127.0.0.1", address).await).await, "{backend}");

        let trusted = "max_connections_per_address = 1\ntrusted_cidrs = [\"127.0.0.0/8\"]\n";
        let (_gateway, address) = behind(trusted, &service, backend);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(from("127.0.0.1", address).await);
            assert!(is_served(clients.last_mut().expect("just pushed")).await, "{backend}");
        }
    }
}

#[tokio::test]
async fn an_address_has_so_many_handshakes_under_way() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = behind("max_handshakes_per_address = 2\n", &service, backend);
        let mut silent = [from("127.0.0.1", address).await, from("127.0.0.1", address).await];
        metric_becomes(&gateway, "ringway_connections_active", 2).await;
        let mut third = from("127.0.0.1", address).await;
        assert!(third.is_closed().await, "{backend}");
        for client in &mut silent {
            assert!(is_served(client).await, "{backend}");
        }
        // They have said what they speak, and stay.
        let mut next = [from("127.0.0.1", address).await, from("127.0.0.1", address).await];
        for client in next.iter_mut().chain(&mut silent) {
            assert!(is_served(client).await, "{backend}");
        }
        let page = gateway.metrics();
        let counted = "ringway_connections_denied_total{reason=\"handshakes_per_address\"} 1";
        assert!(page.contains(counted), "{backend}");
    }
}

#[tokio::test]
async fn callers_of_plain_http_are_sent_to_https_and_others_refused() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        for (port, written) in [(8443, ":8443"), (443, "")] {
            let (_gateway, address) = behind(&format!("https_redirect_port = {port}\n"), &service, backend);
            let mut client = Http1::connect(address).await;
            for (line, path) in
                [("GET /a/b?c=d%20e", "/a/b?c=d%20e"), ("POST /v1/things", "/v1/things"), ("GET /", "/")]
            {
                let answer = client.ask(line, &[], b"").await;
                // The host that it asked for, and not its port.
                let wanted = format!("https://ringway{written}{path}");
                assert_eq!((answer.status, answer.field("location")), (308, Some(&*wanted)), "{backend}");
            }
            let mut client = RawClient::connect(address).await;
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("12"), "{backend}: {reply:?}");
        }
        assert_eq!(service.count(), 0, "{backend}");
    }
}
