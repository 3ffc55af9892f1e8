//! TLS towards services.

use super::{Site, config, status};
use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::interop_client as cases;
use crate::support::interop_server::InteropServer;
use crate::support::pki::{Authority, Leaf, names};
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::tunnel::{Tunnel, server_config};
use crate::support::within;
use std::time::Duration;

const CASE_MAX: Duration = Duration::from_secs(20);

fn tls(site: &Site, keys: &str, rules: &str) -> String {
    format!(
        "[clusters.tls]\n{keys}\n[clusters.tls.validation_context]\ntrusted_ca = \"{}\"\n{rules}",
        site.path("ca.pem")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cases_of_grpc_pass_over_tls_to_the_service() {
    let site = Site::new();
    let service = site.ca.issue(&names(&["orders.example.org"]));
    let own = site.ca.issue(&names(&["spiffe://example.org/gateway"]));
    site.install("own", &own);
    for backend in BACKENDS {
        let server = InteropServer::start();
        let settings = server_config(&service, &["h2"], Some(&site.ca.pem()));
        let far = Tunnel::from_tls(server.address(), settings).await;
        let keys = format!(
            "sni = \"orders.example.org\"\ntls_certificates = [{{ certificate_chain = \"{}\", private_key = \"{}\" }}]",
            site.path("own.crt"),
            site.path("own.key")
        );
        let gateway = gateway::start(&config(&[far.address], backend, "", &tls(&site, &keys, "")));
        let channel = within(CASE_MAX, "connect", cases::connect(gateway.listeners()[0])).await;
        let channel = &channel;
        within(CASE_MAX, "empty_unary", cases::empty_unary(channel)).await;
        within(CASE_MAX, "large_unary", cases::large_unary(channel)).await;
        within(CASE_MAX, "client_streaming", cases::client_streaming(channel)).await;
        within(CASE_MAX, "server_streaming", cases::server_streaming(channel)).await;
        within(CASE_MAX, "ping_pong", cases::ping_pong(channel)).await;
        within(CASE_MAX, "cancel", cases::cancel_after_begin(channel, &server)).await;
        within(CASE_MAX, "concurrent", cases::concurrent_large_unary(channel, 40)).await;
        assert_eq!(metric(&gateway, "ringway_upstream_tls_failures_total"), 0, "{backend}");
        let page = gateway.metrics();
        assert!(page.contains("ringway_certificate_not_after_seconds{cluster=\"interop\""), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_the_right_one_gets_no_call() {
    let site = Site::new();
    let right = site.ca.issue(&names(&["orders.example.org", "spiffe://prod.example.org/orders"]));
    let expired = site.ca.issue(&Leaf { valid: (-200, -100), ..names(&["orders.example.org"]) });
    let other = Authority::new("other").issue(&names(&["orders.example.org"]));
    let sni = "sni = \"orders.example.org\"";
    let by_id = "auto_sni_san_validation = false";
    let id =
        |id: &str| format!("match_typed_subject_alt_names = [{{ san_type = \"URI\", exact = \"{id}\" }}]");
    let (orders, stock) = (id("spiffe://prod.example.org/orders"), id("spiffe://prod.example.org/stock"));
    let mutual = Some(site.ca.pem());
    for (what, identity, alpn, ca, keys, rules, is_taken) in [
        ("right", Some(&right), &["h2"][..], None, sni, "", true),
        ("the right SPIFFE ID", Some(&right), &["h2"], None, by_id, &*orders, true),
        ("a wrong name", Some(&right), &["h2"], None, "sni = \"stock.example.org\"", "", false),
        ("an address", Some(&right), &["h2"], None, "", "", false),
        ("a wrong SPIFFE ID", Some(&right), &["h2"], None, by_id, &stock, false),
        ("expired", Some(&expired), &["h2"], None, sni, "", false),
        ("another authority", Some(&other), &["h2"], None, sni, "", false),
        ("no h2", Some(&right), &["http/1.1"], None, sni, "", false),
        ("no ALPN", Some(&right), &[], None, sni, "", false),
        ("plaintext", None, &[], None, sni, "", false),
        ("it asks for a certificate", Some(&right), &["h2"], mutual.as_deref(), sni, "", false),
    ] {
        let server = InteropServer::start();
        let far = match identity {
            Some(identity) => {
                Some(Tunnel::from_tls(server.address(), server_config(identity, alpn, ca)).await)
            }
            None => None,
        };
        let address = far.as_ref().map_or(server.address(), |far| far.address);
        let cluster =
            format!("breaker.enabled = false\nconnect_timeout = \"2s\"\n{}", tls(&site, keys, rules));
        let gateway = gateway::start(&config(&[address], "io_uring", "", &cluster));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        let reply = client.call(EMPTY_CALL, &[], &[]).await;
        assert_eq!(status(&reply), Some(if is_taken { "0" } else { "14" }), "{what}: {reply:?}");
        let failures = metric(&gateway, "ringway_upstream_tls_failures_total");
        assert_eq!(failures > 0, !is_taken, "{what}: {failures}");
        assert_eq!(server.calls().len(), usize::from(is_taken), "{what}");
    }
}

/// A service that asks for a certificate gets the one that is in the file now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_certificate_changes_with_its_file() {
    let site = Site::new();
    let service = site.ca.issue(&names(&["orders.example.org"]));
    site.install("own", &Authority::new("other").issue(&names(&["spiffe://example.org/gateway"])));
    for backend in BACKENDS {
        let server = InteropServer::start();
        let far =
            Tunnel::from_tls(server.address(), server_config(&service, &["h2"], Some(&site.ca.pem()))).await;
        let keys = format!(
            "sni = \"orders.example.org\"\ntls_certificates = [{{ certificate_chain = {:?}, private_key = {:?} }}]",
            site.path("own.crt"),
            site.path("own.key")
        );
        let cluster =
            format!("breaker.enabled = false\noutlier_detection.enabled = false\n{}", tls(&site, &keys, ""));
        let gateway = gateway::start(&config(&[far.address], backend, "", &cluster));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        assert_eq!(status(&client.call(EMPTY_CALL, &[], &[]).await), Some("14"), "{backend}: of a stranger");
        assert_eq!(server.calls().len(), 0, "{backend}");
        site.install("own", &site.ca.issue(&names(&["spiffe://example.org/gateway"])));
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        let calls = async {
            while status(&client.call(EMPTY_CALL, &[], &[]).await) != Some("0") {
                looks.tick().await;
            }
        };
        within(CASE_MAX, "a call that is taken", calls).await;
        assert!(metric(&gateway, "ringway_upstream_tls_failures_total") > 0, "{backend}");
        site.install("own", &Authority::new("other").issue(&names(&["spiffe://example.org/gateway"])));
    }
}
