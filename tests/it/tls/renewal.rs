//! Certificates that change while the gateway runs.
#![allow(clippy::disallowed_methods, reason = "a test measures how long something takes")]

use super::{NAME, Site, config};
use crate::support::callers::Callers;
use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::interop_server::InteropServer;
use crate::support::pki::{Authority, Identity, names};
use crate::support::tunnel::{Tunnel, client_config, connect};
use crate::support::within;
use ringway::supervisor::Gateway;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A file that has changed is looked at twice.
const NEW_WITHIN: Duration = Duration::from_millis(2_500);

/// The certificate that new connections get, in DER.
async fn served(gateway: &Gateway, ca: &str) -> Vec<u8> {
    let mut settings = client_config(ca, &["h2"], None);
    settings.resumption = rustls::client::Resumption::disabled();
    let stream = connect(gateway.listeners()[0], &Arc::new(settings), NAME).await.expect("it shakes hands");
    stream.get_ref().1.peer_certificates().expect("it has one")[0].to_vec()
}

fn der(identity: &Identity) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(identity.chain.as_bytes()).expect("PEM").to_vec()
}

/// Waits until new connections get this certificate, at every worker: the kernel spreads connections over both.
async fn becomes(gateway: &Gateway, site: &Site, identity: &Identity) -> Duration {
    let (wanted, begun) = (der(identity), Instant::now());
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let mut in_a_row = 0;
    let look = async {
        while in_a_row < 12 {
            looks.tick().await;
            in_a_row = if served(gateway, &site.ca.pem()).await == wanted { in_a_row + 1 } else { 0 };
        }
    };
    within(Duration::from_secs(15), "another certificate", look).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_certificates_are_served_at_once_and_no_call_fails() {
    for backend in BACKENDS {
        let site = Site::new();
        let server = InteropServer::start();
        let gateway = gateway::start(&config(&[server.address()], backend, &site.listener(""), ""));
        let client = client_config(&site.ca.pem(), &["h2"], None);
        let tunnel = Tunnel::to_tls(gateway.listeners()[0], client, NAME).await;
        // They dial again after some calls, so that both old and new connections carry calls.
        let callers = Callers::with_pauses(tunnel.address, 3, 20, Duration::from_millis(5));
        let issue = || site.ca.issue(&names(&[NAME]));

        let in_place = issue();
        site.install("server", &in_place);
        let took = becomes(&gateway, &site, &in_place).await;
        assert!(took < NEW_WITHIN + Duration::from_secs(1), "{backend}: {took:?}");

        let renamed = issue();
        site.install("new", &renamed);
        for end in ["crt", "key"] {
            let (from, to) = (site.path(&format!("new.{end}")), site.path(&format!("server.{end}")));
            std::fs::rename(from, to).expect("it is there");
        }
        becomes(&gateway, &site, &renamed).await;

        // One file is ahead of the other for a while.
        let first = issue();
        std::fs::write(site.path("server.crt"), &first.chain).expect("it is there");
        gateway::metric_becomes(&gateway, "ringway_certificate_good", 0).await;
        assert_eq!(served(&gateway, &site.ca.pem()).await, der(&renamed), "the old one stays");
        std::fs::write(site.path("server.key"), &first.key).expect("it is there");
        becomes(&gateway, &site, &first).await;
        assert_eq!(metric(&gateway, "ringway_certificate_good"), 1);

        // Half a file, and none.
        std::fs::write(site.path("server.crt"), &first.chain[..100]).expect("it is there");
        gateway::metric_becomes(&gateway, "ringway_certificate_good", 0).await;
        std::fs::remove_file(site.path("server.crt")).expect("it is there");
        callers.progress(100).await;
        assert_eq!(served(&gateway, &site.ca.pem()).await, der(&first));
        let last = issue();
        site.install("server", &last);
        becomes(&gateway, &site, &last).await;
        assert_eq!(metric(&gateway, "ringway_certificate_good"), 1);
        let page = gateway.metrics();
        assert!(page.contains("ringway_certificate_not_after_seconds{listener=\"127.0.0.1:"), "{page}");
        callers.progress(20).await;
        callers.stop().await;
        assert_eq!(metric(&gateway, "ringway_tls_errors_total"), 0, "{backend}");
    }
}

/// As Kubernetes changes a mounted secret: the files are links to a folder that is a link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_secret_is_followed() {
    let site = Site::new();
    let version = |number: u32, identity: &Identity| {
        let folder = site.folder.path().join(format!("..{number}"));
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("server.crt"), &identity.chain).expect("a file");
        std::fs::write(folder.join("server.key"), &identity.key).expect("a file");
        symlink(folder.file_name().expect("it has one"), site.folder.path().join("..next")).expect("a link");
        std::fs::rename(site.folder.path().join("..next"), site.folder.path().join("..data"))
            .expect("a link");
    };
    let first = site.ca.issue(&names(&[NAME]));
    version(1, &first);
    for name in ["server.crt", "server.key"] {
        std::fs::remove_file(site.path(name)).expect("it is there");
        symlink(format!("..data/{name}"), site.path(name)).expect("a link");
    }
    let gateway = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], "epoll", &site.listener(""), ""));
    assert_eq!(served(&gateway, &site.ca.pem()).await, der(&first));
    let second = site.ca.issue(&names(&[NAME]));
    version(2, &second);
    becomes(&gateway, &site, &second).await;
}

/// A client whose certificate is revoked, or whose authority is no longer trusted, gets no further connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::items_after_statements, reason = "names beside their use")]
async fn other_rules_hold_for_sessions_that_would_go_on() {
    let site = Site::new();
    site.folder.write("revoked.pem", site.ca.revoke(&[]));
    let rules = format!(
        "require_client_certificate = true\ndisable_stateless_session_resumption = false\n{}",
        site.clients(&format!("crl = \"{}\"", site.path("revoked.pem")))
    );
    let gateway =
        gateway::start(&config(&[([127, 0, 0, 1], 9).into()], "io_uring", &site.listener(&rules), ""));
    let identity = site.ca.issue(&names(&["spiffe://example.org/web"]));
    let client = Arc::new(client_config(&site.ca.pem(), &["h2"], Some(&identity)));
    let kind = || async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = connect(gateway.listeners()[0], &client, NAME).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
        stream.read_exact(&mut [0; 9]).await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.handshake_kind())
    };
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(kind().await.expect("it is taken"), Some(Full));
    assert_eq!(kind().await.expect("it is taken"), Some(Resumed));
    site.folder.write("revoked.pem", site.ca.revoke(&[identity.serial]));
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let refused = async {
        while kind().await.is_ok() {
            looks.tick().await;
        }
    };
    within(Duration::from_secs(15), "a refusal", refused).await;
    assert!(gateway.metrics().contains("ringway_tls_errors_total{reason=\"certificate_revoked\"} 1"));
    // Another authority in the file.
    site.folder.write("ca.pem", Authority::new("next").pem());
    site.folder.write("revoked.pem", site.ca.revoke(&[]));
    let line = "ringway_tls_errors_total{reason=\"certificate_unknown_ca\"} ";
    let refused = async {
        while gateway::sum_of(&gateway.metrics(), line.trim_end()) == 0 {
            assert!(kind().await.is_err(), "it is revoked, or unknown");
            looks.tick().await;
        }
    };
    within(Duration::from_secs(15), "a refusal", refused).await;
}
