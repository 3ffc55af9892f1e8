//! Versions, cipher suites and groups: from words to what the library takes.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::record_keys;
use crate::config::{TlsParams, TlsVersion};

/// The library with only those suites and groups that the operator allows.
pub(super) fn provider(params: &TlsParams) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let mut suites = record_keys::suites(&provider.cipher_suites);
    if !params.cipher_suites.is_empty() {
        suites =
            chosen(&params.cipher_suites, &record_keys::suites(aws_lc_rs::ALL_CIPHER_SUITES), suite_name);
    }
    suites.retain(|suite| allows(params, suite.version()));
    provider.cipher_suites = suites;
    if !params.ecdh_curves.is_empty() {
        provider.kx_groups =
            chosen(&params.ecdh_curves, aws_lc_rs::ALL_KX_GROUPS, |group| group_name(*group));
    }
    Arc::new(provider)
}

/// The versions that the operator allows.
pub(super) fn versions(params: &TlsParams) -> Vec<&'static SupportedProtocolVersion> {
    let all = [&rustls::version::TLS13, &rustls::version::TLS12];
    all.into_iter().filter(|version| allows(params, version)).collect()
}

fn allows(params: &TlsParams, version: &SupportedProtocolVersion) -> bool {
    let version =
        if version.version == rustls::ProtocolVersion::TLSv1_3 { TlsVersion::V1_3 } else { TlsVersion::V1_2 };
    (params.minimum..=params.maximum).contains(&version)
}

/// Those of `all` that have one of these names, in the order of the names.
fn chosen<T: Copy>(names: &[String], all: &[T], name_of: impl Fn(&T) -> String) -> Vec<T> {
    let find = |name: &String| all.iter().find(|known| name_of(known) == *name).copied();
    names.iter().filter_map(find).collect()
}

/// IANA's name of a suite. The library writes `TLS13_` where IANA writes `TLS_`.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn group_name(group: &dyn SupportedKxGroup) -> String {
    match group.name() {
        rustls::NamedGroup::secp256r1 => "P-256".to_owned(),
        rustls::NamedGroup::secp384r1 => "P-384".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CIPHER_SUITES, GROUPS};

    fn params(suites: &[&str], groups: &[&str]) -> TlsParams {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        TlsParams {
            minimum: TlsVersion::V1_2,
            maximum: TlsVersion::V1_3,
            cipher_suites: owned(suites),
            ecdh_curves: owned(groups),
        }
    }

    #[test]
    fn every_word_of_the_configuration_is_known_to_the_library() {
        let provider = provider(&params(&CIPHER_SUITES, &GROUPS));
        assert_eq!(provider.cipher_suites.len(), CIPHER_SUITES.len());
        assert_eq!(provider.kx_groups.len(), GROUPS.len());
        let one = super::provider(&params(&CIPHER_SUITES[1..2], &GROUPS[1..2]));
        assert_eq!(suite_name(&one.cipher_suites[0]), "TLS_AES_128_GCM_SHA256");
        assert_eq!(group_name(one.kx_groups[0]), "X25519");
    }

    #[test]
    fn versions_bound_the_suites() {
        let newest = TlsParams { minimum: TlsVersion::V1_3, ..params(&[], &[]) };
        assert_eq!((provider(&newest).cipher_suites.len(), versions(&newest).len()), (3, 1));
        let older = TlsParams { maximum: TlsVersion::V1_2, ..params(&[], &[]) };
        assert_eq!((provider(&older).cipher_suites.len(), versions(&older).len()), (6, 1));
    }
}
