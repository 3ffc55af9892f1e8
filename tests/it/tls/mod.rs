//! TLS towards clients and services: real gateways on both back-ends, and the library's own ends of connections as
//! peers.

mod bytes;
mod calls;
mod control;
mod handshakes;
mod renewal;
mod upstream;

use crate::support::pki::{Authority, Folder, Identity, names};

/// An authority, a certificate of a gateway, and the files of both.
pub(crate) struct Site {
    folder: Folder,
    ca: Authority,
}

pub(crate) const NAME: &str = "api.example.org";

impl Site {
    pub(crate) fn new() -> Site {
        let (folder, ca) = (Folder::new("site"), Authority::new("root"));
        let site = Site { folder, ca };
        site.folder.write("ca.pem", site.ca.pem());
        site.install("server", &site.ca.issue(&names(&[NAME])));
        site
    }

    fn install(&self, name: &str, identity: &Identity) {
        self.folder.write(&format!("{name}.crt"), &identity.chain);
        self.folder.write(&format!("{name}.key"), &identity.key);
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path of letters").to_owned()
    }

    /// A listener's keys of TLS, with more of them; `more` may end with tables.
    pub(crate) fn listener(&self, more: &str) -> String {
        let (keys, tables) = more.split_at(more.find("[[").or_else(|| more.find('[')).unwrap_or(more.len()));
        format!(
            "[listeners.tls]\n{keys}\n[[listeners.tls.tls_certificates]]\ncertificate_chain = \"{}\"\n\
             private_key = \"{}\"\n{tables}",
            self.path("server.crt"),
            self.path("server.key")
        )
    }

    /// Its authority.
    pub(crate) fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// The rules for clients' certificates of this site's authority.
    fn clients(&self, more: &str) -> String {
        format!("[listeners.tls.validation_context]\ntrusted_ca = \"{}\"\n{more}", self.path("ca.pem"))
    }
}

/// A configuration with this text in its listener.
pub(crate) fn config(
    backends: &[std::net::SocketAddr],
    io_backend: &str,
    listener: &str,
    cluster: &str,
) -> String {
    let config = crate::support::gateway::GatewayBuilder::new(backends, io_backend);
    config.listener(listener).extra(cluster).text()
}

/// Panics if a call has failed.
fn check(reply: &crate::support::raw::RawReply) {
    assert_eq!(status(reply), Some("0"), "{reply:?}");
}

fn status(reply: &crate::support::raw::RawReply) -> Option<&str> {
    let trailers = reply.trailers.as_ref().unwrap_or(&reply.headers);
    trailers.get("grpc-status").and_then(|status| status.to_str().ok())
}
