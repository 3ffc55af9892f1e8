//! `x-forwarded-client-cert`: what services are told of a caller's certificate, as Envoy writes it.

use std::fmt::Write as _;

use super::peer::{Peer, TlsPeer};
use crate::config::{CertDetails, ForwardCert};

/// The field.
pub const NAME: &[u8] = b"x-forwarded-client-cert";

/// Whether a field of the peer's own may pass.
pub fn passes(how: ForwardCert, is_trusted: bool, peer: &Peer) -> bool {
    match how {
        ForwardCert::Sanitize | ForwardCert::SanitizeSet => false,
        ForwardCert::ForwardOnly | ForwardCert::AppendForward => peer.certificate().is_some(),
        ForwardCert::AlwaysForwardOnly => is_trusted,
    }
}

/// The element for a peer's certificate; `None` if it has shown none.
pub fn element(details: CertDetails, peer: &Peer) -> Option<String> {
    let TlsPeer { certificate, local_uris, .. } = peer.tls.as_ref()?;
    let certificate = certificate.as_ref()?;
    let mut text = String::new();
    // Writing to a String cannot fail.
    for uri in local_uris.iter() {
        let _ = write!(text, "By={};", quoted(uri));
    }
    let _ = write!(text, "Hash={}", certificate.sha256_hex());
    if details.cert {
        text.push_str(";Cert=\"");
        for byte in certificate.pem().bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    text.push(char::from(byte))
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text.push('"');
    }
    if details.subject {
        let subject = certificate.subject.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(text, ";Subject=\"{subject}\"");
    }
    if details.uri {
        certificate.uris.iter().for_each(|uri| text.extend([";URI=", &quoted(uri)]));
    }
    if details.dns {
        certificate.dns_names.iter().for_each(|name| text.extend([";DNS=", &quoted(name)]));
    }
    let is_visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    text.bytes().all(is_visible).then_some(text)
}

/// A value, in quotes if it would end early without.
fn quoted(value: &str) -> String {
    match value.contains([',', ';', '=', '"', ' ']) {
        true => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        false => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::peer::Certificate;

    fn peer() -> Peer {
        let certificate = Certificate {
            uris: vec!["spiffe://prod/ns/a".to_owned(), "spiffe://prod/x,URI=spiffe://prod/admin".to_owned()],
            dns_names: vec!["a.prod".to_owned()],
            subject: "CN=a \"b\",O=Example".to_owned(),
            sha256: [0xab; 32],
            der: vec![1, 2, 3],
        };
        let local_uris = ["spiffe://prod/gateway".to_owned()].into();
        Peer { tls: Some(TlsPeer { server_name: None, certificate: Some(certificate.into()), local_uris }) }
    }

    #[test]
    fn an_element_says_what_is_asked_for_and_nobody_breaks_out_of_it() {
        let hash = "ab".repeat(32);
        let all = CertDetails { subject: true, uri: true, dns: true, cert: false };
        assert_eq!(
            element(all, &peer()).expect("an element"),
            format!(
                "By=spiffe://prod/gateway;Hash={hash};Subject=\"CN=a \\\"b\\\",O=Example\";URI=spiffe://prod/ns/a;\
                 URI=\"spiffe://prod/x,URI=spiffe://prod/admin\";DNS=a.prod"
            )
        );
        let none = element(CertDetails::default(), &peer()).expect("an element");
        assert_eq!(none, format!("By=spiffe://prod/gateway;Hash={hash}"));
        let cert =
            element(CertDetails { cert: true, ..CertDetails::default() }, &peer()).expect("an element");
        assert!(cert.contains(";Cert=\"-----BEGIN%20CERTIFICATE-----%0AAQID%0A"), "{cert}");
        assert_eq!(element(all, &Peer::plaintext()), None);
        assert_eq!(element(all, &Peer { tls: Some(TlsPeer::default()) }), None);
    }

    #[test]
    fn a_peers_own_word_passes_as_the_operator_says() {
        for (how, trusted, certified, neither) in [
            (ForwardCert::Sanitize, false, false, false),
            (ForwardCert::SanitizeSet, false, false, false),
            (ForwardCert::ForwardOnly, false, true, false),
            (ForwardCert::AppendForward, false, true, false),
            (ForwardCert::AlwaysForwardOnly, true, false, false),
        ] {
            assert_eq!(passes(how, true, &Peer::plaintext()), trusted, "{how:?}");
            assert_eq!(passes(how, false, &peer()), certified, "{how:?}");
            assert_eq!(passes(how, false, &Peer::plaintext()), neither, "{how:?}");
        }
    }
}
