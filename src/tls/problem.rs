//! [`Problem`]: why TLS cannot be set up. [`SessionError`]: why a connection ends.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::{CertificateError, Error};

use crate::metrics::TlsError;

/// A file that cannot be used, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file; empty where no single one is wrong.
    pub file: PathBuf,
    /// The reason.
    pub reason: String,
}

impl Problem {
    pub(super) fn new(file: &Path, reason: impl fmt::Display) -> Problem {
        Problem { file: file.to_owned(), reason: reason.to_string() }
    }

    /// A problem of no single file.
    pub(super) fn general(reason: impl fmt::Display) -> Problem {
        Problem::new(Path::new(""), reason)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}: ", self.file.display())?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Problem {}

/// The reason why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SessionError {
    /// Its kind, for the metrics.
    pub kind: TlsError,
    /// The reason in words.
    pub detail: String,
}

impl SessionError {
    /// A reason of ours.
    pub fn new(kind: TlsError, detail: impl Into<String>) -> SessionError {
        SessionError { kind, detail: detail.into() }
    }

    /// A reason of the library's.
    pub(super) fn of(error: &Error) -> SessionError {
        let kind = match error {
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::NoCertificatesPresented => TlsError::CertificateRequired,
            Error::NoApplicationProtocol => TlsError::NoApplicationProtocol,
            Error::PeerIncompatible(_) => TlsError::NoSharedParameters,
            Error::AlertReceived(_) => TlsError::PeerAlert,
            Error::General(reason) if reason == NO_CERTIFICATE => TlsError::UnrecognizedName,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => TlsError::Malformed,
            _ => TlsError::Other,
        };
        SessionError::new(kind, error.to_string())
    }
}

/// The library's words for a name that has no certificate; `tests.rs` checks them.
const NO_CERTIFICATE: &str = "no server certificate chain resolved";

fn of_certificate(error: &CertificateError) -> TlsError {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsError::CertificateExpired,
        CertificateError::UnknownIssuer => TlsError::CertificateUnknownCa,
        CertificateError::Revoked => TlsError::CertificateRevoked,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsError::CertificateName
        }
        _ => TlsError::CertificateRefused,
    }
}
