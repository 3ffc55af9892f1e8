//! Authorities and certificates of tests, made anew each time.
#![allow(clippy::disallowed_methods, reason = "certificates have dates")]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// A folder of a test, gone when this is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder for temporary files takes one");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file; gives its path as text.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("it is our folder");
        path.to_str().expect("a path of letters").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The chain from here to below the root; empty for a root.
    chain: String,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those between it and the root.
    pub chain: String,
    pub key: String,
    pub serial: u64,
}

/// The wanted content of a certificate.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// DNS names, or URIs where there is a `://`.
    pub names: &'a [&'a str],
    /// Seconds from now.
    pub valid: (i64, i64),
    pub usages: &'a [ExtendedKeyUsagePurpose],
    pub is_rsa: bool,
    /// More of a certificate: so many further names.
    pub padding: usize,
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        Leaf {
            names: &[],
            valid: (-DAY, 90 * DAY),
            usages: &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            is_rsa: false,
            padding: 0,
        }
    }
}

/// A certificate for these names.
pub fn names<'a>(names: &'a [&'a str]) -> Leaf<'a> {
    Leaf { names, ..Leaf::default() }
}

impl Authority {
    /// A root.
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(authority(name), key).expect("it signs itself");
        Authority { issuer, chain: String::new() }
    }

    /// An authority below this one.
    pub fn below(&self, name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::signed_by(authority(name), key, &self.issuer).expect("it is signed");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Authority { issuer, chain }
    }

    /// An authority below this one, with something wrong about it.
    pub fn below_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = authority(name);
        change(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).expect("it is signed");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Authority { issuer, chain }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn issue(&self, leaf: &Leaf<'_>) -> Identity {
        let key = if leaf.is_rsa {
            KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key")
        } else {
            KeyPair::generate().expect("a key")
        };
        let (params, serial) = params(leaf);
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        Identity { chain: format!("{}{}", certificate.pem(), self.chain), key: key.serialize_pem(), serial }
    }

    /// A certificate with something about it that others do not have.
    pub fn issue_with(&self, leaf: &Leaf<'_>, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let (mut params, serial) = params(leaf);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        Identity { chain: format!("{}{}", certificate.pem(), self.chain), key: key.serialize_pem(), serial }
    }

    /// The list of these serial numbers.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let at = date(-60);
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: at,
            next_update: date(DAY),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("it is signed").pem().expect("it is written")
    }
}

/// A certificate that nobody has signed but its own key.
pub fn self_signed(leaf: &Leaf<'_>) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let (params, serial) = params(leaf);
    let certificate = params.self_signed(&key).expect("it signs itself");
    Identity { chain: certificate.pem(), key: key.serialize_pem(), serial }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn params(leaf: &Leaf<'_>) -> (CertificateParams, u64) {
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("test {serial}"));
    let name = |name: &str| {
        let text = name.to_owned().try_into().expect("names are ASCII");
        if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) }
    };
    let padding = (0..leaf.padding).map(|number| format!("padding-{number}.example.org"));
    let all = leaf.names.iter().map(|name| (*name).to_owned()).chain(padding);
    params.subject_alt_names = all.map(|text| name(&text)).collect();
    (params.not_before, params.not_after) = (date(leaf.valid.0), date(leaf.valid.1));
    params.extended_key_usages = leaf.usages.to_vec();
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    (params, serial)
}

/// The dates between which something is valid, in seconds from now.
pub fn dates(from: i64, to: i64) -> impl FnOnce(&mut CertificateParams) {
    move |params| (params.not_before, params.not_after) = (date(from), date(to))
}

/// A date in so many seconds.
fn date(seconds: i64) -> Date {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    let at = now.checked_add_signed(seconds).expect("a year of this age");
    rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at)
}

/// The dates of the library that certificates are made with.
type Date = time::OffsetDateTime;
