//! Who called, and who may connect: what a listener believes and tells.

use std::net::IpAddr;
use std::time::Duration;

use super::addresses::Addresses;

/// A listener's trust in addresses that callers state, and the fields it adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Peers that may say who called.
    pub trusted_cidrs: Addresses,
    /// How many addresses at the end of `x-forwarded-for` trusted proxies wrote: the first of these is the caller.
    pub xff_num_trusted_hops: u32,
    /// Whether services are told who called: the caller's address is added to `x-forwarded-for`, and
    /// `x-forwarded-proto` and `x-forwarded-host` are set unless a trusted peer has.
    pub use_remote_address: bool,
    /// Whether services are told who called in `forwarded` (RFC 7239), too, and trusted peers without `x-forwarded-for`
    /// are believed in it.
    pub forwarded: bool,
    /// Whether each call gets a new `x-request-id`, but for those that trusted peers send.
    pub generate_request_id: bool,
    /// The treatment of `x-forwarded-client-cert`: removed; passed if the peer has a verified certificate; given one
    /// element more for that certificate; removed and set to it; passed if the peer is trusted (Envoy's words).
    pub forward_client_cert_details: ForwardCert,
    /// Parts of an element that is added to `x-forwarded-client-cert`, besides `By` and `Hash`.
    pub set_current_client_cert_details: CertDetails,
}

/// The treatment of `x-forwarded-client-cert` (Envoy's words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardCert {
    /// It is removed.
    #[default]
    Sanitize,
    /// It passes if the peer has a verified certificate.
    ForwardOnly,
    /// It gets an element more if the peer has a verified certificate, and is removed if not.
    AppendForward,
    /// It is removed, and set if the peer has a verified certificate.
    SanitizeSet,
    /// It passes if the peer is trusted.
    AlwaysForwardOnly,
}

/// Parts of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertDetails {
    /// Its subject.
    pub subject: bool,
    /// Its URI names.
    pub uri: bool,
    /// Its DNS names.
    pub dns: bool,
    /// All of it, in PEM.
    pub cert: bool,
}

impl Forwarding {
    /// Whether a head has to be looked at although it says nothing of who called.
    pub fn is_on(&self) -> bool {
        let sets_cert =
            matches!(self.forward_client_cert_details, ForwardCert::AppendForward | ForwardCert::SanitizeSet);
        self.use_remote_address || self.generate_request_id || sets_cert
    }
}

/// The PROXY protocol towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Peers that may send it; empty for all.
    pub trusted_cidrs: Addresses,
    /// Whether a connection may begin without it.
    pub allow_requests_without_proxy_protocol: bool,
    /// How long a connection may take to the end of its header; then it is closed.
    pub timeout: Duration,
}

/// Addresses that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Addresses that may connect; empty for all.
    pub allow_cidrs: Addresses,
    /// Addresses that may not connect, whatever `allow_cidrs` says.
    pub deny_cidrs: Addresses,
    /// Connections of one client address (of IPv6: one /64), over all workers; more are closed at once.
    pub max_connections_per_address: u32,
    /// Connections of one client address that have not finished their TLS handshake or, in plaintext, not begun to
    /// speak HTTP.
    pub max_handshakes_per_address: u32,
}

impl Admission {
    /// Whether the address may connect. `None`: a client of a Unix socket has none.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        (self.allow_cidrs.is_empty() || self.allow_cidrs.holds(address)) && !self.deny_cidrs.holds(address)
    }
}
