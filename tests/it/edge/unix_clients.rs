//! Clients of a Unix socket: they are served as all others are, and have no address.

use std::path::Path;

use super::forwarding::{all, service};
use crate::support::gateway::{BACKENDS, GatewayBuilder, metric};
use crate::support::http1::Http1;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::Service;
use crate::support::unix::{UnixDoor, free_path};
use ringway::supervisor::Gateway;

/// A gateway in front of the service, which listens at the path with these keys of its listener.
fn at(path: &Path, keys: &str, service: &Service, backend: &str) -> Gateway {
    let config = GatewayBuilder::new(&[service.address()], backend);
    config.set("listeners.address", format!("unix://{}", path.display())).listener(keys).start()
}

async fn status(client: &mut RawClient, headers: &[(&str, &str)]) -> Option<String> {
    let reply = client.call(EMPTY_CALL, headers, b"").await;
    reply.grpc_status().map(str::to_owned)
}

#[tokio::test]
async fn nothing_says_who_called_and_nobody_is_trusted() {
    const KEYS: &str =
        "use_remote_address = true\nforwarded = true\ntrusted_cidrs = [\"0.0.0.0/0\", \"::/0\"]";
    for backend in BACKENDS {
        let (service, path) = (service().await, free_path());
        let gateway = at(&path, KEYS, &service, backend);
        let door = UnixDoor::start(&path).await;
        let mut client = RawClient::connect(door.address()).await;
        let forged = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https")];
        assert_eq!(status(&mut client, &forged).await.as_deref(), Some("0"), "{backend}");
        let asked = service.asked().pop().expect("the service was asked");
        assert_eq!(all(&asked, "x-forwarded-for"), Vec::<&str>::new());
        assert_eq!(all(&asked, "x-forwarded-proto"), ["http"]);
        assert!(all(&asked, "forwarded")[0].starts_with("for=unknown;"), "{:?}", all(&asked, "forwarded"));
        assert_eq!(gateway.addresses()[0].to_string(), format!("unix://{}", path.display()));
    }
}

#[tokio::test]
async fn the_proxy_protocol_gives_an_address() {
    const KEYS: &str =
        "use_remote_address = true\nmax_connections_per_address = 1\n[listeners.proxy_protocol]";
    for backend in BACKENDS {
        let (service, path) = (service().await, free_path());
        let gateway = at(&path, KEYS, &service, backend);
        let door = UnixDoor::start(&path).await;
        let mut client = Http1::connect(door.address()).await;
        client.say("PROXY TCP4 6.6.6.6 10.0.0.1 4711 80\r\n").await;
        let headers = [("content-type", "application/grpc-web+proto")];
        let body = crate::support::raw::message(0, b"");
        let answer = client.ask(&format!("POST {EMPTY_CALL}"), &headers, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(service.asked()[0].header("x-forwarded-for"), Some("6.6.6.6"));
        // One more of the address is one too many; one of nobody is not counted.
        let mut second = Http1::connect(door.address()).await;
        second.say("PROXY TCP4 6.6.6.6 10.0.0.1 4712 80\r\n").await;
        assert!(second.is_closed().await, "{backend}");
        for _ in 0..3 {
            let mut unknown = Http1::connect(door.address()).await;
            unknown.say("PROXY UNKNOWN\r\n").await;
            let answer = unknown.ask(&format!("POST {EMPTY_CALL}"), &headers, &body).await;
            assert_eq!(answer.status, 200, "{backend}: {answer:?}");
        }
        assert_eq!(metric(&gateway, "ringway_connections_denied_total"), 1, "{backend}");
    }
}

#[tokio::test]
async fn lists_of_addresses_do_not_hold_them() {
    const ALL: &str = "[\"0.0.0.0/0\", \"::/0\"]";
    for backend in BACKENDS {
        let service = service().await;
        for (list, passes) in [("deny_cidrs", true), ("allow_cidrs", false)] {
            let path = free_path();
            let gateway = at(&path, &format!("{list} = {ALL}"), &service, backend);
            let door = UnixDoor::start(&path).await;
            if passes {
                let mut client = RawClient::connect(door.address()).await;
                assert_eq!(status(&mut client, &[]).await.as_deref(), Some("0"), "{backend}");
                continue;
            }
            let mut client = Http1::connect(door.address()).await;
            assert!(client.is_closed().await, "{backend}");
            assert_eq!(metric(&gateway, "ringway_connections_denied_total"), 1, "{backend}");
        }
    }
}
