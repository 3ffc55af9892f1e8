//! Reads `[listeners.tls]`, `[clusters.tls]`, and TLS towards servers that a URI names.

use std::path::PathBuf;

use super::forms::{self, Hint};
use super::reader::{Table, Value};
use super::tls::{
    CIPHER_SUITES, CIPHER_SUITES_1_3, ClusterTls, GROUPS, ListenerTls, SanKind, SanMatcher, StringMatcher,
    TlsCertificate, TlsParams, TlsVersion, ValidationContext,
};

/// Reads TLS towards clients, if there is any.
pub(super) fn listener(listener: &Table<'_>) -> Option<ListenerTls> {
    let table = listener.table_if_set("tls")?;
    let validation = table.table_if_set("validation_context").map(|table| validation(&table));
    let requires = table.flag("require_client_certificate");
    let trusts =
        validation.as_ref().is_some_and(|rules| rules.trusted_ca.is_some() || rules.system_root_certs);
    if requires && !trusts {
        let hint = "name the authorities of clients in trusted_ca of its [validation_context]".to_owned();
        table.refuse("require_client_certificate", "needs certificates to trust", Some(hint));
    }
    let certificates: Vec<_> = table.tables("tls_certificates").iter().map(certificate).collect();
    let protocols = table.list("alpn_protocols", protocol);
    Some(ListenerTls {
        alpn_protocols: match table.value("alpn_protocols") {
            Some(_) => protocols.into_iter().map(|(protocol, _)| protocol).collect(),
            None => PROTOCOLS.map(str::to_owned).to_vec(),
        },
        params: params(&table),
        strict_transport_security: table.text("strict_transport_security", forms::hsts).map(|(text, _)| text),
        require_sni: table.flag("require_sni"),
        require_client_certificate: requires,
        session_ticket_keys: paths(&table, "session_ticket_keys"),
        resumes: match table.value("disable_stateless_session_resumption") {
            Some(_) => !table.flag("disable_stateless_session_resumption"),
            // A ticket outlives what was checked when it was given.
            None => !requires,
        },
        session_timeout: table.time("session_timeout"),
        max_handshakes_per_turn: table.count("max_handshakes_per_turn"),
        key_log: path(&table, "key_log"),
        certificates: certificates.into_iter().flatten().collect(),
        validation,
    })
}

/// Reads TLS towards a cluster, if there is any.
pub(super) fn cluster(cluster: &Table<'_>) -> Option<ClusterTls> {
    let table = cluster.table_if_set("tls")?;
    let context = table.table("validation_context");
    let mut rules = validation(&context);
    if rules.trusted_ca.is_none() && context.value("system_root_certs").is_none() {
        rules.system_root_certs = true;
    }
    if rules.trusted_ca.is_none() && !rules.system_root_certs {
        let hint = "name the services' authorities in trusted_ca".to_owned();
        table.refuse("validation_context", "trusts nobody", Some(hint));
    }
    Some(ClusterTls {
        sni: table.text("sni", forms::server_name).map(|(name, _)| name),
        auto_sni_san_validation: table.flag("auto_sni_san_validation"),
        max_session_keys: table.count("max_session_keys"),
        params: params(&table),
        certificate: table.tables("tls_certificates").iter().find_map(certificate),
        validation: rules,
    })
}

/// Reads TLS towards a server that a URI names; there is some where that says `https`.
pub(super) fn of_uri(parent: &Table<'_>, is_secure: bool) -> Option<ClusterTls> {
    if !is_secure {
        if parent.value("tls").is_some() {
            let hint = "write https:// before the host".to_owned();
            parent.refuse("tls", "is for an address of https", Some(hint));
        }
        return None;
    }
    let table = parent.table("tls");
    let trusted_ca = path(&table, "trusted_ca");
    let certificate = match (path(&table, "certificate_chain"), path(&table, "private_key")) {
        (Some(certificate_chain), Some(private_key)) => {
            Some(TlsCertificate { certificate_chain, private_key, ocsp_staple: None })
        }
        (None, None) => None,
        (Some(_), None) => {
            table.refuse("private_key", "missing: a certificate needs its key", None);
            None
        }
        (None, Some(_)) => {
            table.refuse("certificate_chain", "missing: a key needs its certificate", None);
            None
        }
    };
    Some(ClusterTls {
        sni: table.text("sni", forms::server_name).map(|(name, _)| name),
        auto_sni_san_validation: true,
        max_session_keys: 0,
        params: TlsParams {
            minimum: TlsVersion::V1_2,
            maximum: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
            ecdh_curves: Vec::new(),
        },
        certificate,
        validation: ValidationContext {
            system_root_certs: trusted_ca.is_none(),
            trusted_ca,
            names: Vec::new(),
            crl: None,
            hashes: Vec::new(),
        },
    })
}

const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

fn protocol(text: &str) -> Result<String, Hint> {
    if PROTOCOLS.contains(&text) { Ok(text.to_owned()) } else { Err(None) }
}

fn params(table: &Table<'_>) -> TlsParams {
    let version = |name| if table.word(name) == "TLSv1_2" { TlsVersion::V1_2 } else { TlsVersion::V1_3 };
    let params = TlsParams {
        minimum: version("tls_minimum_protocol_version"),
        maximum: version("tls_maximum_protocol_version"),
        cipher_suites: one_of(table, "cipher_suites", &CIPHER_SUITES),
        ecdh_curves: one_of(table, "ecdh_curves", &GROUPS),
    };
    if params.maximum < params.minimum
        && let Some(value) = table.value("tls_maximum_protocol_version")
    {
        value.refuse("must not be below tls_minimum_protocol_version", None);
    }
    if let Some(value) = table.value("cipher_suites") {
        check_suites(&params, &value);
    }
    params
}

/// Each version that is allowed needs a suite.
fn check_suites(params: &TlsParams, value: &Value<'_>) {
    let has = |known: &[&str]| params.cipher_suites.iter().any(|name| known.contains(&name.as_str()));
    if params.cipher_suites.is_empty() {
        return;
    }
    let (newer, older) = CIPHER_SUITES.split_at(CIPHER_SUITES_1_3);
    if params.maximum == TlsVersion::V1_3 && !has(newer) {
        value.refuse("has none for TLS 1.3", Some("add one, or set tls_maximum_protocol_version".to_owned()));
    }
    if params.minimum == TlsVersion::V1_2 && !has(older) {
        value.refuse("has none for TLS 1.2", Some("add one, or set tls_minimum_protocol_version".to_owned()));
    }
}

fn one_of(table: &Table<'_>, name: &str, known: &[&str]) -> Vec<String> {
    let check = |text: &str| if known.contains(&text) { Ok(text.to_owned()) } else { Err(None) };
    table.list(name, check).into_iter().map(|(name, _)| name).collect()
}

fn certificate(table: &Table<'_>) -> Option<TlsCertificate> {
    let needed = |name| table.needed(name, forms::file).map(|(path, _)| table.folder().join(path));
    let (certificate_chain, private_key) = (needed("certificate_chain"), needed("private_key"));
    Some(TlsCertificate {
        certificate_chain: certificate_chain?,
        private_key: private_key?,
        ocsp_staple: path(table, "ocsp_staple"),
    })
}

fn validation(table: &Table<'_>) -> ValidationContext {
    let hashes = table.list("verify_certificate_hash", sha256);
    ValidationContext {
        trusted_ca: path(table, "trusted_ca"),
        system_root_certs: table.flag("system_root_certs"),
        names: table.tables("match_typed_subject_alt_names").iter().filter_map(matcher).collect(),
        crl: path(table, "crl"),
        hashes: hashes.into_iter().map(|(hash, _)| hash).collect(),
    }
}

fn matcher(table: &Table<'_>) -> Option<SanMatcher> {
    let kind = if table.word("san_type") == "DNS" { SanKind::Dns } else { SanKind::Uri };
    let text = |name| table.text(name, forms::san).map(|(text, _)| text);
    let all = [
        text("exact").map(StringMatcher::Exact),
        text("prefix").map(StringMatcher::Prefix),
        text("suffix").map(StringMatcher::Suffix),
    ];
    let mut set = all.into_iter().flatten();
    let Some(matcher) = set.next() else {
        table.refuse("exact", "missing: one of exact, prefix and suffix is needed", None);
        return None;
    };
    if set.next().is_some() {
        table.refuse("exact", "only one of exact, prefix and suffix can be set", None);
    }
    Some(SanMatcher { kind, matcher })
}

fn path(table: &Table<'_>, name: &str) -> Option<PathBuf> {
    table.text(name, forms::file).map(|(path, _)| table.folder().join(path))
}

fn paths(table: &Table<'_>, name: &str) -> Vec<PathBuf> {
    table.list(name, forms::file).into_iter().map(|(path, _)| table.folder().join(path)).collect()
}

/// 64 hexadecimal digits, with or without colons between the bytes.
fn sha256(text: &str) -> Result<[u8; 32], Hint> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    match (rest, bytes.map(<[u8; 32]>::try_from)) {
        ([], Some(Ok(hash))) => Ok(hash),
        _ => Err(Some("`openssl x509 -noout -fingerprint -sha256 -in tls.crt` prints it")),
    }
}
