//! Who called, and who may connect: what a listener believes and tells.

use std::net::IpAddr;
use std::time::Duration;

use super::addresses::Addresses;

/// A listener's trust in addresses that callers state, and the fields it adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Peers that may say who called.
    pub trusted_cidrs: Addresses,
    /// Addresses at the end of `x-forwarded-for` that trusted proxies wrote. 0 for those in `trusted_cidrs`.
    pub xff_num_trusted_hops: u32,
    /// Whether services are told who called.
    pub use_remote_address: bool,
    /// Whether they are told in `forwarded`, too.
    pub forwarded: bool,
    /// Whether each call has an `x-request-id` of the gateway's or of a trusted peer.
    pub generate_request_id: bool,
    /// The treatment of `x-forwarded-client-cert`.
    pub forward_client_cert_details: ForwardCert,
    /// Its facts about the caller's certificate, besides the hash.
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
    /// Peers that may send it. Empty for all.
    pub trusted_cidrs: Addresses,
    /// Whether a connection may begin without it.
    pub allow_requests_without_proxy_protocol: bool,
    /// The time for it.
    pub timeout: Duration,
}

/// Addresses that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Addresses that may. Empty for all.
    pub allow_cidrs: Addresses,
    /// Addresses that may not, whatever `allow_cidrs` says.
    pub deny_cidrs: Addresses,
    /// Connections of one client address, over all workers; 0 for any number.
    pub max_connections_per_address: u32,
    /// Of them, those that have not said yet what they speak; 0 for any number.
    pub max_handshakes_per_address: u32,
}

impl Admission {
    /// Whether the address may connect.
    pub fn admits(&self, address: IpAddr) -> bool {
        (self.allow_cidrs.is_empty() || self.allow_cidrs.contains(address))
            && !self.deny_cidrs.contains(address)
    }
}
