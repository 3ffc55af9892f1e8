//! TLS of the control side: towards the collector of spans, and towards issuers that publish their keys.

use super::{NAME, Site, config};
use crate::support::collector::Collector;
use crate::support::gateway::{self, metric_becomes};
use crate::support::idp::Idp;
use crate::support::issuer::Issuer;
use crate::support::pki::{Authority, names};
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::tunnel::{Tunnel, server_config};
use crate::support::within;
use std::time::Duration;

/// Keys of a `tls` table: who is trusted, and which name is asked for.
fn trusting(site: &Site, ca: &str, name: &str) -> String {
    format!("trusted_ca = {:?}\nsni = \"{name}\"\n", site.path(ca))
}

/// Waits until so many connections have come.
async fn dialled(tunnel: &Tunnel, count: u64) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let look = async {
        while tunnel.connections() < count {
            looks.tick().await;
        }
    };
    within(Duration::from_secs(20), "a connection", look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_over_tls_from_the_issuer_alone() {
    let site = Site::new();
    site.folder.write("other.pem", Authority::new("other").pem());
    let issuer = Issuer::new("k1");
    let authorization = format!("Bearer {}", issuer.token(""));
    for (ca, name, is_right) in
        [("ca.pem", NAME, true), ("ca.pem", "evil.test", false), ("other.pem", NAME, false)]
    {
        let (service, idp) =
            (Service::start(|_, _| Act::Answer).await, Idp::start(Some(issuer.jwks())).await);
        let identity = site.ca.issue(&names(&[NAME]));
        let far = Tunnel::from_tls(idp.address(), server_config(&identity, &["http/1.1"], None)).await;
        let provider = format!(
            "[[jwt_providers]]\nname = \"idp\"\nissuer = \"https://idp.test/\"\n[jwt_providers.remote_jwks]\n\
             uri = \"https://{}/keys\"\n[jwt_providers.remote_jwks.tls]\n{}",
            far.address,
            trusting(&site, ca, name)
        );
        let text = config(&[service.address()], "epoll", "", &provider);
        let text =
            text.replacen("timeout = \"30s\"\n", "timeout = \"30s\"\njwt.requires_any = [\"idp\"]\n", 1);
        let gateway = gateway::start(&text);
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        // An issuer that is not the right one is asked again after a second: by then the first try is over.
        dialled(&far, if is_right { 1 } else { 2 }).await;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let calls = async {
            loop {
                let reply = client.call(EMPTY_CALL, &[("authorization", &authorization)], b"").await;
                if !is_right || reply.grpc_status() == Some("0") {
                    return reply.grpc_status().map(str::to_owned);
                }
                looks.tick().await;
            }
        };
        let status = within(Duration::from_secs(15), "an answer", calls).await;
        assert_eq!(status.as_deref(), Some(if is_right { "0" } else { "14" }), "{ca} {name}");
        assert_eq!(
            (idp.asked(), service.count()),
            (usize::from(is_right), usize::from(is_right)),
            "{ca} {name}"
        );
    }
}

/// The collector asks for a certificate, as many do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_go_over_tls_to_the_collector_alone() {
    let site = Site::new();
    site.folder.write("other.pem", Authority::new("other").pem());
    site.install("own", &site.ca.issue(&names(&["spiffe://example.org/gateway"])));
    for (ca, name, is_right) in
        [("ca.pem", NAME, true), ("ca.pem", "evil.test", false), ("other.pem", NAME, false)]
    {
        let (service, collector) = (Service::start(|_, _| Act::Answer).await, Collector::start().await);
        let identity = site.ca.issue(&names(&[NAME]));
        let asks = server_config(&identity, &["h2"], Some(&site.ca.pem()));
        let far = Tunnel::from_tls(collector.address(), asks).await;
        let tracing = format!(
            "[tracing]\nendpoint = \"https://{}\"\ninterval = \"10ms\"\nsample = 1.0\n[tracing.tls]\n{}\
             certificate_chain = {:?}\nprivate_key = {:?}\n",
            far.address,
            trusting(&site, ca, name),
            site.path("own.crt"),
            site.path("own.key")
        );
        let gateway = gateway::start(&config(&[service.address()], "io_uring", "", &tracing));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
        if is_right {
            assert_eq!(collector.wait_for(2).await.len(), 2, "a call and its attempt");
            metric_becomes(&gateway, "ringway_spans_exported_total", 2).await;
        } else {
            metric_becomes(&gateway, "ringway_spans_failed_total", 2).await;
            assert!(collector.spans().is_empty() && far.connections() > 0, "{ca} {name}");
        }
    }
}
