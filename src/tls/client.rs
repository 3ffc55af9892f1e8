//! [`ClientContext`]: TLS towards the endpoints of one cluster, as one set of files makes it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types;
use rustls::{ClientConfig, SignatureScheme};

use super::certificate::{self, CertificateInfo, Origin};
use super::problem::Problem;
use super::{params, verify};
use crate::config::ClusterTls;

/// The name of a service: it is asked for, and has to be one of the certificate's.
pub type ServerName = pki_types::ServerName<'static>;

/// Certificates, keys and rules of a cluster. Connections that have begun keep theirs.
pub struct ClientContext {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
    sni: Option<ServerName>,
    certificates: Vec<CertificateInfo>,
    origin: Origin<ClusterTls>,
}

impl ClientContext {
    /// Reads all files that the settings name.
    ///
    /// # Errors
    /// The file that cannot be used, and the reason.
    pub(super) fn load(origin: Origin<ClusterTls>) -> Result<ClientContext, Problem> {
        let settings = &origin.settings;
        let provider = params::provider(&settings.params);
        let verifier =
            verify::of_services(&settings.validation, settings.auto_sni_san_validation, &provider)?;
        let own = settings.certificate.as_ref().map(|own| certificate::certified_key(own, &provider));
        let own = own.transpose()?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&params::versions(&settings.params))
            .map_err(Problem::general)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier));
        let (mut config, certificates) = match own {
            None => (builder.with_no_client_auth(), Vec::new()),
            Some((key, info)) => (builder.with_client_cert_resolver(Arc::new(Own(key))), vec![info]),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = match settings.max_session_keys {
            0 => Resumption::disabled(),
            sessions => Resumption::in_memory_sessions(sessions as usize * SERVERS),
        };
        let sni = settings.sni.as_deref().map(name_of).transpose()?;
        Ok(ClientContext { config: Arc::new(config), verifier, sni, certificates, origin })
    }

    /// Reads the files as they are now, for one connection of the control side.
    ///
    /// # Errors
    /// The file that cannot be used, and the reason.
    pub fn read(settings: &ClusterTls) -> Result<ClientContext, Problem> {
        ClientContext::load(Origin::of(settings, settings.files())?)
    }

    /// The library's settings for a server that speaks this protocol.
    pub fn config_for(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }

    /// The name to ask for at an endpoint that is configured by this host.
    ///
    /// # Errors
    /// When the host is no name that a certificate can have.
    pub fn name(&self, host: &str) -> Result<ServerName, Problem> {
        self.sni.clone().map_or_else(|| name_of(host), Ok)
    }

    /// The library's settings, for clients of the control side.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Its own certificate, if it has one.
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    /// The settings that it is made of.
    pub(super) fn origin(&self) -> &Origin<ClusterTls> {
        &self.origin
    }

    /// The verifier of services' certificates.
    pub(super) fn verifier(&self) -> &dyn ServerCertVerifier {
        &*self.verifier
    }
}

/// Names whose sessions are kept.
const SERVERS: usize = 64;

fn name_of(host: &str) -> Result<ServerName, Problem> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(pki_types::ServerName::IpAddress(address.into()));
    }
    let name = pki_types::ServerName::try_from(host.to_owned());
    name.map_err(|_| {
        Problem::general(format_args!("{host:?} is no name that a certificate can have: set sni"))
    })
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientContext").field("sni", &self.sni).finish_non_exhaustive()
    }
}

/// The gateway's own certificate.
#[derive(Debug)]
struct Own(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
