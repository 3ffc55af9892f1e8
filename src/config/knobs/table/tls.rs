//! Rows: TLS towards clients, and towards clusters.

use std::time::Duration;

use super::super::knob::Knob;
use super::super::row::{count, flag, list, other, table, tables, time, word};
use super::values::{CERTIFICATE_HASH, FILE, GROUP, PEM_FILE, SAN, SUITE, VERSIONS};

#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub(super) const LISTENER_ROWS: &[Knob] = &[
    table("listeners.tls", "TLS towards clients (Envoy's words); without this table the port takes plaintext. See [TLS.md](TLS.md)."),
    list("listeners.tls.alpn_protocols", "\"h2\" or \"http/1.1\"", 0, 2,
        "Protocols that are offered by ALPN, the preferred one first; by default both, and nothing for an empty list. A client without ALPN is told by its first bytes; one that offers others alone is refused."),
    word("listeners.tls.tls_minimum_protocol_version", "TLSv1_2", &VERSIONS,
        "The lowest version."),
    word("listeners.tls.tls_maximum_protocol_version", "TLSv1_3", &VERSIONS,
        "The highest version."),
    list("listeners.tls.cipher_suites", SUITE, 0, 16,
        "Cipher suites of TLS 1.2 and 1.3, the preferred one first; by default all that there are."),
    list("listeners.tls.ecdh_curves", GROUP, 0, 8,
        "Groups of the key exchange, the preferred one first; by default all that there are, X25519MLKEM768 first."),
    other("listeners.tls.strict_transport_security", "a value such as \"max-age=31536000; includeSubDomains\"",
        "Answers to pages and other callers of plain HTTP, gRPC-Web and Connect have this as `strict-transport-security` (RFC 6797). Browsers keep to `https` for so many seconds."),
    flag("listeners.tls.require_sni", false,
        "Whether a client has to ask for a name that a certificate has; else those that do not get the first certificate."),
    flag("listeners.tls.require_client_certificate", false,
        "Whether a client has to show a certificate. Without it a client may, where the `validation_context` trusts anybody."),
    list("listeners.tls.session_ticket_keys", "the path of a file of 80 random bytes", 0, 16,
        "Keys of session tickets, for several gateways that resume one another's sessions: the first seals, all open. By default keys of this process, new ones every half of `session_timeout`."),
    flag("listeners.tls.disable_stateless_session_resumption", false,
        "Whether no session tickets are given. By default true where `require_client_certificate` is."),
    time("listeners.tls.session_timeout", Duration::from_secs(43_200), Duration::from_secs(1), Duration::from_secs(7 * 86_400),
        "How long a ticket is good."),
    count("listeners.tls.max_handshakes_per_turn", 4, 1, 1024,
        "Handshakes that a worker goes on with in one turn of its loop; others wait for the next, oldest first. One takes 0.1 to 0.3 ms."),
    other("listeners.tls.key_log", FILE,
        "Where the keys of connections are written, for Wireshark; whoever reads the file can read what they carry. `SSLKEYLOGFILE` alone does nothing."),
    tables("listeners.tls.tls_certificates", 1, 256,
        "A certificate: it serves the DNS names it has; the first one also those that no other has."),
    other("listeners.tls.tls_certificates.certificate_chain", PEM_FILE,
        "The certificate, and those between it and the root; needed. A file that changes is read anew, as all files of TLS."),
    other("listeners.tls.tls_certificates.private_key", PEM_FILE,
        "Its key; needed."),
    other("listeners.tls.tls_certificates.ocsp_staple", FILE,
        "A response of OCSP in DER, which is sent as it is."),
    table("listeners.tls.validation_context", "Which certificates of clients are taken."),
    other("listeners.tls.validation_context.trusted_ca", PEM_FILE,
        "The authorities of clients."),
    flag("listeners.tls.validation_context.system_root_certs", false,
        "Whether the system's authorities may vouch for clients."),
    other("listeners.tls.validation_context.crl", PEM_FILE,
        "Lists of revoked certificates; a certificate of an authority without a list is taken."),
    list("listeners.tls.validation_context.verify_certificate_hash", CERTIFICATE_HASH, 0, 64,
        "If set, only certificates with one of these are taken."),
    tables("listeners.tls.validation_context.match_typed_subject_alt_names", 0, 64,
        "If there are any, one of them has to fit a name of the certificate."),
    word("listeners.tls.validation_context.match_typed_subject_alt_names.san_type", "URI", &["URI", "DNS"],
        "Which names it is about."),
    other("listeners.tls.validation_context.match_typed_subject_alt_names.exact", SAN,
        "The whole name. One of `exact`, `prefix` and `suffix` is needed."),
    other("listeners.tls.validation_context.match_typed_subject_alt_names.prefix", SAN,
        "Its beginning, such as \"spiffe://prod.example.org/\"."),
    other("listeners.tls.validation_context.match_typed_subject_alt_names.suffix", SAN,
        "Its end, such as \".example.org\"."),
];

/// Rows: TLS towards a server that a URI names.
#[rustfmt::skip] // see above
macro_rules! uri_rows {
    ($table:literal, $about:literal) => {
        &[
            table($table, $about),
            other(concat!($table, ".sni"), "a host name",
                "The name to ask for, which the certificate has to have; by default the host."),
            other(concat!($table, ".trusted_ca"), PEM_FILE,
                "The authorities of that server; by default those of the system. Files are read at each connect."),
            other(concat!($table, ".certificate_chain"), PEM_FILE,
                "The gateway's own certificate, if that server asks for one."),
            other(concat!($table, ".private_key"), PEM_FILE,
                "Its key."),
        ]
    };
}

pub(super) const TRACING_ROWS: &[Knob] =
    uri_rows!("tracing.tls", "TLS towards the collector, for an endpoint of `https`; none of it is needed.");

pub(super) const JWKS_ROWS: &[Knob] = uri_rows!(
    "jwt_providers.remote_jwks.tls",
    "TLS towards the issuer, for a URI of `https`; none of it is needed."
);

#[rustfmt::skip] // see above
pub(super) const CLUSTER_ROWS: &[Knob] = &[
    table("clusters.tls", "TLS towards the cluster's endpoints (Envoy's words), for calls, health checks and reflection; without this table they are spoken to in plaintext. See [TLS.md](TLS.md)."),
    other("clusters.tls.sni", "a host name",
        "The name to ask for, which the certificate has to have; by default the endpoint's host."),
    flag("clusters.tls.auto_sni_san_validation", true,
        "Whether the certificate has to have that name. Turn it off for services that are known by other names alone, such as SPIFFE IDs in `match_typed_subject_alt_names`."),
    count("clusters.tls.max_session_keys", 1, 0, 64,
        "Sessions of a name that are kept to be resumed; 0 for none."),
    word("clusters.tls.tls_minimum_protocol_version", "TLSv1_2", &VERSIONS,
        "The lowest version."),
    word("clusters.tls.tls_maximum_protocol_version", "TLSv1_3", &VERSIONS,
        "The highest version."),
    list("clusters.tls.cipher_suites", SUITE, 0, 16,
        "Cipher suites of TLS 1.2 and 1.3, the preferred one first; by default all that there are."),
    list("clusters.tls.ecdh_curves", GROUP, 0, 8,
        "Groups of the key exchange, the preferred one first; by default all that there are."),
    tables("clusters.tls.tls_certificates", 0, 1,
        "The gateway's own certificate, for services that ask for one."),
    other("clusters.tls.tls_certificates.certificate_chain", PEM_FILE,
        "The certificate, and those between it and the root; needed."),
    other("clusters.tls.tls_certificates.private_key", PEM_FILE,
        "Its key; needed."),
    other("clusters.tls.tls_certificates.ocsp_staple", FILE,
        "A response of OCSP in DER, which is sent as it is."),
    table("clusters.tls.validation_context", "Which certificates of services are taken."),
    other("clusters.tls.validation_context.trusted_ca", PEM_FILE,
        "The authorities of the services; by default those of the system."),
    flag("clusters.tls.validation_context.system_root_certs", false,
        "Whether the system's authorities may vouch for them; by default only where `trusted_ca` is not set."),
    other("clusters.tls.validation_context.crl", PEM_FILE,
        "Lists of revoked certificates; a certificate of an authority without a list is taken."),
    list("clusters.tls.validation_context.verify_certificate_hash", CERTIFICATE_HASH, 0, 64,
        "If set, only certificates with one of these are taken."),
    tables("clusters.tls.validation_context.match_typed_subject_alt_names", 0, 64,
        "If there are any, one of them has to fit a name of the certificate."),
    word("clusters.tls.validation_context.match_typed_subject_alt_names.san_type", "URI", &["URI", "DNS"],
        "Which names it is about."),
    other("clusters.tls.validation_context.match_typed_subject_alt_names.exact", SAN,
        "The whole name. One of `exact`, `prefix` and `suffix` is needed."),
    other("clusters.tls.validation_context.match_typed_subject_alt_names.prefix", SAN,
        "Its beginning, such as \"spiffe://prod.example.org/\"."),
    other("clusters.tls.validation_context.match_typed_subject_alt_names.suffix", SAN,
        "Its end, such as \".example.org\"."),
];
