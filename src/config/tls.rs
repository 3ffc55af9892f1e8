//! TLS in both directions, as checked types. Files are named here and read by whoever starts the gateway.

use std::path::PathBuf;
use std::time::Duration;

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Protocols that are offered by ALPN, the preferred one first; by default both, and nothing for an empty list.
    pub alpn_protocols: Vec<String>,
    /// Versions, cipher suites and groups.
    pub params: TlsParams,
    /// Answers to pages and other callers of plain HTTP, gRPC-Web and Connect have this as `strict-transport-security`
    /// (RFC 6797). `None` where it is not set.
    pub strict_transport_security: Option<String>,
    /// Whether a client has to ask for a name that a certificate has; else those that do not get the first certificate.
    pub require_sni: bool,
    /// Whether a client has to show a certificate.
    pub require_client_certificate: bool,
    /// Keys of session tickets, for several gateways that resume one another's sessions: the first seals, all open.
    pub session_ticket_keys: Vec<PathBuf>,
    /// Whether sessions may be resumed.
    pub resumes: bool,
    /// How long a ticket is good.
    pub session_timeout: Duration,
    /// Handshakes that a worker goes on with in one turn of its loop; others wait for the next, oldest first.
    pub max_handshakes_per_turn: u32,
    /// Where the keys of connections are written, for Wireshark; whoever reads the file can read what they carry.
    /// `None` where it is not set.
    pub key_log: Option<PathBuf>,
    /// A certificate: it serves the DNS names it has; the first one also those that no other has.
    pub certificates: Vec<TlsCertificate>,
    /// Which certificates of clients are taken. `None` where it is not set.
    pub validation: Option<ValidationContext>,
}

/// TLS towards a cluster's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// The name to ask for, which the certificate has to have; by default the endpoint's host.
    pub sni: Option<String>,
    /// Whether the certificate has to have that name.
    pub auto_sni_san_validation: bool,
    /// Sessions of a name that are kept to be resumed; 0 for none.
    pub max_session_keys: u32,
    /// Versions, cipher suites and groups.
    pub params: TlsParams,
    /// The gateway's own certificate, for services that ask for one. `None` where it is not set.
    pub certificate: Option<TlsCertificate>,
    /// Which certificates of services are taken.
    pub validation: ValidationContext,
}

/// Versions, cipher suites and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsParams {
    /// The lowest version.
    pub minimum: TlsVersion,
    /// The highest version.
    pub maximum: TlsVersion,
    /// Cipher suites of TLS 1.2 and 1.3, the preferred one first; by default all that there are.
    pub cipher_suites: Vec<String>,
    /// Groups of the key exchange, the preferred one first; by default all that there are, X25519MLKEM768 first.
    pub ecdh_curves: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCertificate {
    /// The certificate, and those between it and the root.
    pub certificate_chain: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// A response of OCSP in DER, which is sent as it is. `None` where it is not set.
    pub ocsp_staple: Option<PathBuf>,
}

/// The rules for the other side's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidationContext {
    /// The certificates of authorities, in PEM.
    pub trusted_ca: Option<PathBuf>,
    /// Whether the system's authorities are trusted.
    pub system_root_certs: bool,
    /// If there are any, one of them has to fit a name of the certificate.
    pub names: Vec<SanMatcher>,
    /// Lists of revoked certificates; a certificate of an authority without a list is taken. `None` where it is not
    /// set.
    pub crl: Option<PathBuf>,
    /// If set, only certificates with one of these are taken.
    pub hashes: Vec<[u8; 32]>,
}

/// A condition on a name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanMatcher {
    /// Which names it is about.
    pub kind: SanKind,
    /// The condition.
    pub matcher: StringMatcher,
}

/// The kind of a name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanKind {
    /// A URI, such as a SPIFFE ID.
    Uri,
    /// A DNS name.
    Dns,
}

/// A condition on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatcher {
    /// It is this text.
    Exact(String),
    /// It begins with this text.
    Prefix(String),
    /// It ends with this text.
    Suffix(String),
}

impl SanMatcher {
    /// Whether a name of this kind meets the condition.
    pub fn takes(&self, kind: SanKind, name: &str) -> bool {
        self.kind == kind
            && match &self.matcher {
                StringMatcher::Exact(text) => name == text,
                StringMatcher::Prefix(text) => name.starts_with(text),
                StringMatcher::Suffix(text) => name.ends_with(text),
            }
    }
}

impl ListenerTls {
    /// All files that are named.
    pub fn files(&self) -> Vec<PathBuf> {
        let certificates = self.certificates.iter().flat_map(TlsCertificate::files);
        let validation = self.validation.iter().flat_map(ValidationContext::files);
        certificates.chain(validation).chain(self.session_ticket_keys.iter().cloned()).collect()
    }
}

impl ClusterTls {
    /// All files that are named.
    pub fn files(&self) -> Vec<PathBuf> {
        let certificate = self.certificate.iter().flat_map(TlsCertificate::files);
        certificate.chain(self.validation.files()).collect()
    }
}

impl TlsCertificate {
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let needed = [self.certificate_chain.clone(), self.private_key.clone()];
        needed.into_iter().chain(self.ocsp_staple.clone())
    }
}

impl ValidationContext {
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.trusted_ca.iter().chain(&self.crl).cloned().collect::<Vec<_>>().into_iter()
    }
}

/// The cipher suites that there are, by IANA's names.
pub const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The suites of TLS 1.3 come first.
pub(super) const CIPHER_SUITES_1_3: usize = 3;

/// The groups that there are.
pub const GROUPS: [&str; 4] = ["X25519MLKEM768", "X25519", "P-256", "P-384"];
