//! Certificates: from PEM files, and what stands in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::problem::Problem;
use crate::config::TlsCertificate;
use crate::policy::peer::Certificate;

/// The largest file that is read. Real ones have a few KiB; lists of authorities some 200.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Facts about a certificate of ours, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The file that it comes from.
    pub file: PathBuf,
    /// The seconds since 1970 from which on it is valid.
    pub not_before: i64,
    /// The seconds since 1970 at which it expires.
    pub not_after: i64,
    /// Whether its key is an RSA key, with which a handshake costs several times as much.
    pub is_rsa: bool,
    /// Whether each certificate of the file is issued by the next.
    pub is_in_order: bool,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its URI names.
    pub uris: Vec<String>,
}

/// The settings that a context is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin<S> {
    /// The settings.
    pub(super) settings: S,
    /// A digest of all files that they name.
    digest: [u8; 32],
}

impl<S: Clone> Origin<S> {
    /// Reads the files that these settings name.
    pub(super) fn of(settings: &S, files: Vec<PathBuf>) -> Result<Origin<S>, Problem> {
        let mut all = Vec::new();
        for file in files {
            all.extend(sha256(&read(&file)?));
        }
        Ok(Origin { settings: settings.clone(), digest: sha256(&all) })
    }
}

/// The content of a file.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    let failed = |error| Problem::new(file, format_args!("cannot be read: {error}"));
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > FILE_BYTES_MAX {
        return Err(Problem::new(file, "is too large"));
    }
    fs::read(file).map_err(failed)
}

/// All certificates of a PEM file; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if all.is_empty() => {
            let hint = match PrivateKeyDer::from_pem_slice(&bytes) {
                Ok(_) => " (it has a private key: are certificate_chain and private_key swapped?)",
                Err(_) => "",
            };
            Err(Problem::new(file, format_args!("has no certificate in PEM{hint}")))
        }
        Ok(all) => Ok(all),
        Err(error) => Err(Problem::new(file, format_args!("is not PEM: {error}"))),
    }
}

/// All lists of revoked certificates of a PEM file.
pub(super) fn revocations(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let bytes = read(file)?;
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if all.is_empty() => Err(Problem::new(file, "has no list of revoked certificates in PEM")),
        Ok(all) => Ok(all),
        Err(error) => Err(Problem::new(file, format_args!("is not PEM: {error}"))),
    }
}

/// A certificate of ours with its key, and the facts about it.
pub(super) fn certified_key(
    settings: &TlsCertificate,
    provider: &CryptoProvider,
) -> Result<(Arc<CertifiedKey>, CertificateInfo), Problem> {
    let (chain_file, key_file) = (&settings.certificate_chain, &settings.private_key);
    let chain = certificates(chain_file)?;
    let info = info(chain_file, &chain[0])?;
    let pem = read(key_file)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let hint = match CertificateDer::from_pem_slice(&pem) {
            Ok(_) => " (it has a certificate: private_key names the file of its key)",
            Err(_) => "",
        };
        Problem::new(key_file, format_args!("has no private key in PEM: {error}{hint}"))
    })?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| Problem::new(key_file, format_args!("is no key that can be used: {error}")))?;
    let is_rsa = key.algorithm() == SignatureAlgorithm::RSA;
    let is_in_order = is_in_order(&chain);
    let mut certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| {
        Problem::new(key_file, format_args!("is not the key of the certificate in {}", chain_file.display()))
    })?;
    if let Some(file) = &settings.ocsp_staple {
        certified.ocsp = Some(read(file)?);
    }
    Ok((Arc::new(certified), CertificateInfo { is_rsa, is_in_order, ..info }))
}

fn info(file: &Path, der: &CertificateDer<'_>) -> Result<CertificateInfo, Problem> {
    let parsed = parse(der).map_err(|reason| Problem::new(file, reason))?;
    let validity = parsed.validity();
    let (uris, dns_names) = names(&parsed);
    Ok(CertificateInfo {
        file: file.to_owned(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        is_rsa: false,
        is_in_order: true,
        dns_names,
        uris,
    })
}

/// Whether each certificate names the next as its issuer.
fn is_in_order(chain: &[CertificateDer<'_>]) -> bool {
    chain.windows(2).all(|pair| match (parse(&pair[0]), parse(&pair[1])) {
        (Ok(issued), Ok(issuer)) => issued.issuer() == issuer.subject(),
        _ => false,
    })
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, String> {
    let parsed = X509Certificate::from_der(der);
    parsed.map(|(_, parsed)| parsed).map_err(|error| format!("is no valid certificate: {error}"))
}

/// The URI names and the DNS names of a certificate.
fn names(parsed: &X509Certificate<'_>) -> (Vec<String>, Vec<String>) {
    let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return (uris, dns_names) };
    for name in &extension.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => dns_names.push(name.to_ascii_lowercase()),
            _ => {}
        }
    }
    (uris, dns_names)
}

/// The facts that a verified certificate proves.
pub(super) fn proven(der: &CertificateDer<'_>) -> Result<Certificate, String> {
    let parsed = parse(der)?;
    let (uris, dns_names) = names(&parsed);
    Ok(Certificate {
        uris,
        dns_names,
        subject: parsed.subject().to_string(),
        sha256: sha256(der),
        der: der.to_vec(),
    })
}

/// The SHA-256 of a certificate's DER form.
pub(super) fn sha256(der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}
