//! Fields that say who called: forged ones never reach a service, and services are told what is asked for.

use super::behind;
use crate::support::gateway::BACKENDS;
use crate::support::http1::Http1;
use crate::support::raw::{EMPTY_CALL, RawClient, message};
use crate::support::service::{Act, Asked, Service};

/// Fields of proxies, with values as an attacker would choose them.
const FORGED: [(&str, &str); 20] = [
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-for", "127.0.0.1, 10.0.0.1"),
    ("x-forwarded-for", "::1"),
    ("x-forwarded-for", "unknown"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "admin.internal"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-prefix", "/admin"),
    ("x-forwarded-server", "edge-1"),
    ("x-forwarded-ssl", "on"),
    ("x-forwarded-client-cert", "By=spiffe://prod/ns/a;URI=spiffe://prod/ns/admin"),
    ("forwarded", "for=10.0.0.1;proto=https"),
    ("forwarded", "for=\"[::1]:80\""),
    ("x-real-ip", "10.0.0.1"),
    ("x-envoy-external-address", "10.0.0.1"),
    ("x-envoy-internal", "true"),
    ("x-envoy-original-path", "/admin"),
    ("x-envoy-upstream-rq-timeout-ms", "0"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-fault-delay-request", "60000"),
];

pub(super) async fn service() -> Service {
    Service::start(|_, _| Act::Answer).await
}

fn last(service: &Service) -> Asked {
    service.asked().pop().expect("the service was asked")
}

pub(super) fn all<'a>(asked: &'a Asked, name: &str) -> Vec<&'a str> {
    asked.headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
}

#[tokio::test]
async fn forged_fields_reach_no_service() {
    for backend in BACKENDS {
        let service = service().await;
        let (_gateway, address) = behind("trusted_cidrs = [\"10.0.0.0/8\"]", &service, backend);
        let mut http2 = RawClient::connect(address).await;
        let mut http1 = Http1::connect(address).await;
        for (name, value) in FORGED {
            let reply = http2.call(EMPTY_CALL, &[(name, value), ("x-plain", "p")], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{name}");
            let web = ("content-type", "application/grpc-web+proto");
            let answer =
                http1.ask(&format!("POST {EMPTY_CALL}"), &[web, (name, value)], &message(0, b"")).await;
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        }
        let asked = service.asked();
        assert_eq!(asked.len(), 2 * FORGED.len());
        for asked in asked {
            let names = asked.headers.keys().map(http::HeaderName::as_str);
            let of_proxies: Vec<&str> = names
                .filter(|name| {
                    name.starts_with("x-forwarded")
                        || name.starts_with("x-envoy")
                        || *name == "forwarded"
                        || *name == "x-real-ip"
                })
                .collect();
            assert!(of_proxies.is_empty(), "{of_proxies:?}");
        }
    }
}

#[tokio::test]
async fn a_trusted_peer_is_passed_on_as_it_is() {
    for backend in BACKENDS {
        let service = service().await;
        let listener =
            "trusted_cidrs = [\"127.0.0.0/8\"]\nforward_client_cert_details = \"always_forward_only\"";
        let (_gateway, address) = behind(listener, &service, backend);
        let mut client = RawClient::connect(address).await;
        for (name, value) in FORGED {
            client.call(EMPTY_CALL, &[(name, value)], b"").await;
            assert_eq!(last(&service).header(name), Some(value));
        }
    }
}

#[tokio::test]
async fn services_are_told_who_called() {
    let forged = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "edge.example"),
        ("forwarded", "for=6.6.6.6"),
    ];
    for backend in BACKENDS {
        let service = service().await;
        let tell = "use_remote_address = true\nforwarded = true\ngenerate_request_id = true";
        let (_gateway, address) = behind(tell, &service, backend);
        let mut client = RawClient::connect(address).await;
        for headers in [&[][..], &forged] {
            client.call(EMPTY_CALL, headers, b"").await;
            let asked = last(&service);
            assert_eq!(all(&asked, "x-forwarded-for"), ["127.0.0.1"]);
            assert_eq!(all(&asked, "x-forwarded-proto"), ["http"]);
            assert_eq!(all(&asked, "x-forwarded-host"), ["ringway.test"]);
            assert_eq!(all(&asked, "forwarded"), ["for=127.0.0.1;host=\"ringway.test\";proto=http"]);
        }
        let tell = format!("{tell}\ntrusted_cidrs = [\"127.0.0.0/8\"]");
        let (_gateway, address) = behind(&tell, &service, backend);
        let mut client = RawClient::connect(address).await;
        client.call(EMPTY_CALL, &forged, b"").await;
        let asked = last(&service);
        assert_eq!(all(&asked, "x-forwarded-for"), ["6.6.6.6, 7.7.7.7, 127.0.0.1"]);
        assert_eq!(all(&asked, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&asked, "x-forwarded-host"), ["edge.example"]);
        assert_eq!(all(&asked, "forwarded"), ["for=6.6.6.6, for=127.0.0.1;host=\"ringway.test\";proto=http"]);
    }
}

#[tokio::test]
async fn request_ids_are_kept_from_trusted_peers_or_made() {
    let service = service().await;
    let sent = [("x-request-id", "mine")];
    for (listener, kept) in [
        ("", true),
        ("generate_request_id = true", false),
        ("generate_request_id = true\ntrusted_cidrs = [\"127.0.0.1\"]", true),
    ] {
        let (_gateway, address) = behind(listener, &service, "epoll");
        let mut client = RawClient::connect(address).await;
        client.call(EMPTY_CALL, &sent, b"").await;
        let asked = last(&service);
        let ids = all(&asked, "x-request-id");
        assert_eq!(ids.len(), 1, "{listener}");
        assert_eq!(ids[0] == "mine", kept, "{listener}: {ids:?}");
        client.call(EMPTY_CALL, &[], b"").await;
        let made = last(&service).header("x-request-id").map(str::len);
        assert_eq!(made, (!listener.is_empty()).then_some(36), "{listener}");
    }
}

/// `connection` names fields that are to be removed (RFC 9110 section 7.6.1): not those of the gateway.
#[tokio::test]
async fn no_client_takes_away_what_the_gateway_says() {
    let service = service().await;
    let (_gateway, address) =
        behind("use_remote_address = true\ngenerate_request_id = true", &service, "io_uring");
    let mut client = Http1::connect(address).await;
    let headers = [
        ("content-type", "application/grpc-web+proto"),
        ("connection", "x-forwarded-for, x-request-id, x-mine"),
        ("x-mine", "1"),
    ];
    client.ask(&format!("POST {EMPTY_CALL}"), &headers, &message(0, b"")).await;
    let asked = last(&service);
    assert_eq!(asked.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asked.header("x-request-id").map(str::len), Some(36));
    assert_eq!(asked.header("x-mine"), None);
}

/// Without a verified certificate nobody but a trusted peer may speak of one, and by default not even that.
#[tokio::test]
async fn certificates_are_not_forged() {
    let service = service().await;
    let sent = [("x-forwarded-client-cert", "URI=spiffe://prod/ns/admin")];
    for (how, trusted, wanted) in [
        ("sanitize", true, None),
        ("forward_only", true, None),
        ("append_forward", true, None),
        ("sanitize_set", true, None),
        ("always_forward_only", false, None),
        ("always_forward_only", true, Some(sent[0].1)),
    ] {
        let trusted = if trusted { "127.0.0.1" } else { "10.0.0.1" };
        let listener = format!("trusted_cidrs = [\"{trusted}\"]\nforward_client_cert_details = \"{how}\"");
        let (_gateway, address) = behind(&listener, &service, "epoll");
        let mut client = RawClient::connect(address).await;
        client.call(EMPTY_CALL, &sent, b"").await;
        assert_eq!(last(&service).header(sent[0].0), wanted, "{listener}");
    }
}
