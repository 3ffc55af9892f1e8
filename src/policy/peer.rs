//! [`Peer`]: what a connection proves of its other end. Rules about callers, and headers that name them, read it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The proven facts about a peer. They are made once for each connection, when its handshake is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The facts of TLS; `None` for a connection without it.
    pub tls: Option<TlsPeer>,
}

/// The facts that a TLS handshake has proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPeer {
    /// The name that the peer asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// The verified certificate of the peer, if it has shown one.
    pub certificate: Option<Box<Certificate>>,
    /// The URI names of our own certificate on this connection.
    pub local_uris: Arc<[String]>,
}

/// A verified certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Its URI names, such as SPIFFE IDs.
    pub uris: Vec<String>,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its subject, such as `O=Example, CN=web`.
    pub subject: String,
    /// The SHA-256 of its DER form.
    pub sha256: [u8; 32],
    /// The certificate as it came, in DER.
    pub der: Vec<u8>,
}

impl Peer {
    /// The peer of a connection without TLS, of which nothing is proven.
    pub const fn plaintext() -> Peer {
        Peer { tls: None }
    }

    /// The scheme of requests on the connection.
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The verified certificate, if there is one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.tls.as_ref()?.certificate.as_deref()
    }
}

impl Certificate {
    /// The certificate in PEM.
    pub fn pem(&self) -> String {
        const LINE: usize = 64;
        let encoded = STANDARD.encode(&self.der);
        let mut pem = String::with_capacity(encoded.len() + encoded.len() / LINE + 60);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// The SHA-256 in lower-case hexadecimal digits.
    pub fn sha256_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
        self.sha256.iter().flat_map(digits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_written_in_lines() {
        let certificate = Certificate { der: vec![0xab; 50], sha256: [0x1f; 32], ..Certificate::default() };
        let pem = certificate.pem();
        let lines: Vec<&str> = pem.lines().collect();
        assert_eq!(lines.iter().map(|line| line.len()).collect::<Vec<_>>(), [27, 64, 4, 25]);
        assert_eq!(STANDARD.decode(lines[1..3].concat()).expect("base64"), certificate.der);
        assert_eq!(certificate.sha256_hex(), "1f".repeat(32));
    }

    #[test]
    fn the_scheme_tells_tls() {
        let plain = Peer::plaintext();
        assert_eq!((plain.scheme(), plain.certificate()), ("http", None));
        let secure = Peer { tls: Some(TlsPeer::default()) };
        assert_eq!((secure.scheme(), secure.certificate()), ("https", None));
    }
}
