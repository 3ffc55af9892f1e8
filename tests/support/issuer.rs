//! An issuer of tokens that signs whatever a test says.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// An issuer with a key on P-256 and one of RSA.
pub struct Issuer {
    ec: Vec<u8>,
    pub id: &'static str,
    rsa: aws_lc_rs::rsa::KeyPair,
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Unix time in seconds.
#[allow(clippy::disallowed_methods, reason = "tokens have the time of the day in them")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

impl Issuer {
    pub fn new(id: &'static str) -> Issuer {
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
        Issuer { ec: ec.expect("a key").as_ref().to_vec(), id, rsa }
    }

    fn ec_pair(&self) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.ec).expect("our own key")
    }

    /// The public key on P-256, without its point's form.
    pub fn ec_public(&self) -> Vec<u8> {
        self.ec_pair().public_key().as_ref()[1..].to_vec()
    }

    pub fn rsa_modulus(&self) -> Vec<u8> {
        let modulus: Vec<u8> = self.rsa.public_key().modulus().big_endian_without_leading_zero().to_vec();
        modulus
    }

    /// Both public keys, as entries of a JWKS. The RSA key is pinned to RS256, and its id is the other's with `-rsa`.
    pub fn keys(&self) -> String {
        let point = self.ec_public();
        format!(
            r#"{{"kty":"EC","crv":"P-256","kid":"{id}","x":"{}","y":"{}"}},
               {{"kty":"RSA","kid":"{id}-rsa","alg":"RS256","n":"{}","e":"AQAB"}}"#,
            base64(&point[..32]),
            base64(&point[32..]),
            base64(self.rsa_modulus()),
            id = self.id,
        )
    }

    pub fn jwks(&self) -> String {
        format!("{{\"keys\":[{}]}}", self.keys())
    }

    /// A token with a signature by the key on P-256.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        self.sign_text(&format!("{}.{}", base64(header), base64(payload)))
    }

    /// Any text with such a signature.
    pub fn sign_text(&self, text: &str) -> String {
        let signature = self.ec_pair().sign(&SystemRandom::new(), text.as_bytes()).expect("it signs");
        format!("{text}.{}", base64(signature))
    }

    /// A signature in the form that X.509 has, and JWTs have not.
    pub fn sign_asn1(&self, header: &str, payload: &str) -> String {
        let text = format!("{}.{}", base64(header), base64(payload));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.ec).expect("our own key");
        let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).expect("it signs");
        format!("{text}.{}", base64(signature))
    }

    /// A token with a signature by the RSA key, in the padding of PS256 or of RS256.
    pub fn sign_rsa(&self, header: &str, payload: &str, is_pss: bool) -> String {
        let text = format!("{}.{}", base64(header), base64(payload));
        let encoding: &'static dyn RsaEncoding = if is_pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let pair: &RsaKeyPair = &self.rsa;
        pair.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("it signs");
        format!("{text}.{}", base64(signature))
    }

    /// A header that names the key on P-256.
    pub fn header(&self) -> String {
        format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{}"}}"#, self.id)
    }

    /// A good token for `orders`, with these claims more.
    pub fn token(&self, claims: &str) -> String {
        self.sign(&self.header(), &payload(claims))
    }
}

/// The claims of a good token for `orders` that is good for an hour, with these more: `,"a":1`.
pub fn payload(claims: &str) -> String {
    let expires = now() + 3600;
    format!(r#"{{"iss":"https://idp.test/","aud":"orders","sub":"ann","exp":{expires}{claims}}}"#)
}

/// A file that is there until the value is dropped.
pub struct TempFile(PathBuf);

impl TempFile {
    pub fn new(text: &str) -> TempFile {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-edge-{}-{number}", std::process::id()));
        std::fs::write(&path, text).expect("the folder for temporary files can be written");
        TempFile(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path of ASCII")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
