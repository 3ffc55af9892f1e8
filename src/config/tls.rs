//! TLS in both directions, as checked types. Files are named here and read by whoever starts the gateway.

use std::path::PathBuf;
use std::time::Duration;

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The protocols that are offered by ALPN, the preferred one first.
    pub alpn_protocols: Vec<String>,
    /// Versions, cipher suites and groups.
    pub params: TlsParams,
    /// The `strict-transport-security` of answers to callers that are not of gRPC.
    pub strict_transport_security: Option<String>,
    /// Whether a client has to ask for a name that a certificate has.
    pub require_sni: bool,
    /// Whether a client has to show a certificate; else it may, if there is a `trusted_ca`.
    pub require_client_certificate: bool,
    /// The keys of session tickets: the first seals, all open. Empty for keys of this process.
    pub session_ticket_keys: Vec<PathBuf>,
    /// Whether sessions may be resumed.
    pub resumes: bool,
    /// The life of a session ticket.
    pub session_timeout: Duration,
    /// Handshakes that one worker goes on with in one turn of its loop.
    pub max_handshakes_per_turn: u32,
    /// The file that the keys of connections are written to, for a look into captured packets.
    pub key_log: Option<PathBuf>,
    /// The certificates; at least one. The first is for clients that ask for no name, or for an unknown one.
    pub certificates: Vec<TlsCertificate>,
    /// The rules for certificates of clients.
    pub validation: Option<ValidationContext>,
}

/// TLS towards a cluster's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// The name to ask for; else the endpoint's host.
    pub sni: Option<String>,
    /// Whether the name that is asked for must be one of the certificate's.
    pub auto_sni_san_validation: bool,
    /// Sessions of each endpoint that are kept to be resumed.
    pub max_session_keys: u32,
    /// Versions, cipher suites and groups.
    pub params: TlsParams,
    /// The gateway's own certificate, if services ask for one.
    pub certificate: Option<TlsCertificate>,
    /// The rules for the services' certificates.
    pub validation: ValidationContext,
}

/// Versions, cipher suites and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsParams {
    /// The lowest version.
    pub minimum: TlsVersion,
    /// The highest version.
    pub maximum: TlsVersion,
    /// IANA's names of cipher suites, the preferred one first; empty for the library's own.
    pub cipher_suites: Vec<String>,
    /// Names of groups for the key exchange, the preferred one first; empty for the library's own.
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
    /// The certificate and those between it and the root, in PEM.
    pub certificate_chain: PathBuf,
    /// The private key, in PEM.
    pub private_key: PathBuf,
    /// A response of OCSP in DER, sent as it is.
    pub ocsp_staple: Option<PathBuf>,
}

/// The rules for the other side's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidationContext {
    /// The certificates of authorities, in PEM.
    pub trusted_ca: Option<PathBuf>,
    /// Whether the system's authorities are trusted.
    pub system_root_certs: bool,
    /// One of these has to fit a name of the certificate; empty for any.
    pub names: Vec<SanMatcher>,
    /// Lists of revoked certificates, in PEM.
    pub crl: Option<PathBuf>,
    /// The certificate has one of these SHA-256 hashes; empty for any.
    pub hashes: Vec<[u8; 32]>,
}

/// A condition on a name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanMatcher {
    /// The kind of the name.
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
