//! Verification of the other side's certificate: the library checks chain, dates, purpose and revocation; the operator's
//! rules about names and hashes come on top.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::certificate;
use super::problem::Problem;
use crate::config::{SanKind, SanMatcher, ValidationContext};

/// The operator's rules about certificates.
#[derive(Debug)]
struct Rules {
    names: Vec<SanMatcher>,
    hashes: Vec<[u8; 32]>,
}

impl Rules {
    fn of(context: &ValidationContext) -> Rules {
        Rules { names: context.names.clone(), hashes: context.hashes.clone() }
    }

    fn check(&self, der: &CertificateDer<'_>) -> Result<(), Error> {
        let refused = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if !self.hashes.is_empty() && !self.hashes.contains(&certificate::sha256(der)) {
            return Err(refused());
        }
        if self.names.is_empty() {
            return Ok(());
        }
        let proven =
            certificate::proven(der).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let fits = |rule: &SanMatcher| {
            proven.uris.iter().any(|uri| rule.takes(SanKind::Uri, uri))
                || proven.dns_names.iter().any(|name| rule.takes(SanKind::Dns, name))
        };
        if self.names.iter().any(fits) { Ok(()) } else { Err(refused()) }
    }
}

/// The authorities that are trusted, if there are any.
fn roots(context: &ValidationContext) -> Result<Option<Arc<RootCertStore>>, Problem> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &context.trusted_ca {
        for der in certificate::certificates(file)? {
            roots
                .add(der)
                .map_err(|error| Problem::new(file, format_args!("has no valid authority: {error}")))?;
        }
    }
    if context.system_root_certs {
        // A certificate of the system that cannot be used is not ours to complain about, unless none can be.
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Problem::general("the system has no certificates of authorities"));
        }
    }
    Ok((!roots.is_empty()).then(|| Arc::new(roots)))
}

/// The verifier of clients' certificates, if any are asked for.
pub(super) fn of_clients(
    context: &ValidationContext,
    is_required: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Problem> {
    let Some(roots) = roots(context)? else { return Ok(None) };
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    if !is_required {
        builder = builder.allow_unauthenticated();
    }
    if context.system_root_certs {
        // There are so many that the list would not help a client to choose.
        builder = builder.clear_root_hint_subjects();
    }
    if let Some(file) = &context.crl {
        builder = builder.with_crls(certificate::revocations(file)?).allow_unknown_revocation_status();
    }
    let inner =
        builder.build().map_err(|error| Problem::general(format_args!("validation_context: {error}")))?;
    Ok(Some(Arc::new(ClientRules { inner, rules: Rules::of(context) })))
}

/// The verifier of services' certificates. `checks_name`: the name that was asked for has to be one of the certificate's.
pub(super) fn of_services(
    context: &ValidationContext,
    checks_name: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Problem> {
    let roots = roots(context)?.ok_or_else(|| Problem::general("validation_context trusts nobody"))?;
    let mut builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    if let Some(file) = &context.crl {
        builder = builder.with_crls(certificate::revocations(file)?).allow_unknown_revocation_status();
    }
    let inner =
        builder.build().map_err(|error| Problem::general(format_args!("validation_context: {error}")))?;
    Ok(Arc::new(ServiceRules { inner, checks_name, rules: Rules::of(context) }))
}

/// The methods of a verifier that its `inner` one does alone: both traits of the library have them.
macro_rules! inner_checks_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.inner.supported_verify_schemes()
        }
    };
}

#[derive(Debug)]
struct ClientRules {
    inner: Arc<dyn ClientCertVerifier>,
    rules: Rules,
}

impl ClientCertVerifier for ClientRules {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        self.rules.check(end_entity)?;
        Ok(verified)
    }

    inner_checks_signatures!();
}

#[derive(Debug)]
struct ServiceRules {
    inner: Arc<WebPkiServerVerifier>,
    checks_name: bool,
    rules: Rules,
}

impl ServerCertVerifier for ServiceRules {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = match verified {
            // The library looks at the name last, when chain, dates and revocation are found to be right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => ServerCertVerified::assertion(),
            verified => verified?,
        };
        self.rules.check(end_entity)?;
        Ok(verified)
    }

    inner_checks_signatures!();
}
