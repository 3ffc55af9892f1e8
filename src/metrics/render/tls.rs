//! The certificates on the page.

use super::super::page::{Escaped, Page};

/// The certificates in use.
#[derive(Clone, Copy, Debug)]
pub struct CertificatesInfo<'a> {
    /// Whether the files that were read last are in use.
    pub is_good: bool,
    /// Each certificate.
    pub rows: &'a [CertificateRow],
}

/// A certificate of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// The kind of its owner: `listener` or `cluster`.
    pub kind: &'static str,
    /// The owner's address or name.
    pub owner: String,
    /// The file that it comes from.
    pub file: String,
    /// The seconds since 1970 at which it expires.
    pub not_after: i64,
}

pub(super) fn write(page: &mut Page, info: &CertificatesInfo<'_>) {
    let good =
        "1 if the certificates, keys and lists of TLS that were read last are in use, 0 if one was refused.";
    page.family("ringway_certificate_good", "gauge", good);
    page.sample("ringway_certificate_good", &"", u64::from(info.is_good));
    let expires = "When a certificate of the gateway expires, in seconds since 1970.";
    page.family("ringway_certificate_not_after_seconds", "gauge", expires);
    for row in info.rows {
        let (owner, file) = (Escaped(&row.owner), Escaped(&row.file));
        let labels = format_args!("{}=\"{owner}\",file=\"{file}\"", row.kind);
        page.sample("ringway_certificate_not_after_seconds", &labels, row.not_after.max(0).unsigned_abs());
    }
}
