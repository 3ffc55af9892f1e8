//! [`ServerContext`]: TLS towards the clients of one listener, as one set of files makes it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::certificate::{self, CertificateInfo, Origin};
use super::key_log::KeyLog;
use super::problem::Problem;
use super::{params, tickets, verify};
use crate::config::{ListenerTls, ValidationContext};

/// Certificates, keys and rules of a listener. Connections that have begun keep theirs.
pub struct ServerContext {
    config: Arc<ServerConfig>,
    names: Arc<Names>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    certificates: Vec<CertificateInfo>,
    origin: Origin<ListenerTls>,
}

impl ServerContext {
    /// Reads all files that the settings name.
    ///
    /// # Errors
    /// The file that cannot be used, and the reason.
    pub(super) fn load(origin: Origin<ListenerTls>) -> Result<ServerContext, Problem> {
        let settings = &origin.settings;
        let provider = params::provider(&settings.params);
        let mut keys = Vec::new();
        for certificate in &settings.certificates {
            keys.push(certificate::certified_key(certificate, &provider)?);
        }
        let names = Arc::new(Names::new(&keys, settings.require_sni));
        let none = ValidationContext::default();
        let rules = settings.validation.as_ref().unwrap_or(&none);
        let verifier = verify::of_clients(rules, settings.require_client_certificate, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&params::versions(&settings.params))
            .map_err(Problem::general)?
            .with_client_cert_verifier(verifier.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth));
        let mut config = builder.with_cert_resolver(Arc::clone(&names) as _);
        config.alpn_protocols =
            settings.alpn_protocols.iter().map(|name| name.clone().into_bytes()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if settings.resumes {
            config.ticketer = match &settings.session_ticket_keys[..] {
                [] => tickets::own(settings.session_timeout)?,
                files => tickets::from_files(files, settings.session_timeout, &fingerprint(settings)?)?,
            };
        } else {
            config.send_tls13_tickets = 0;
        }
        if let Some(path) = &settings.key_log {
            config.key_log = Arc::new(KeyLog::open(path)?);
        }
        Ok(ServerContext {
            config: Arc::new(config),
            names,
            verifier,
            certificates: keys.into_iter().map(|(_, info)| info).collect(),
            origin,
        })
    }

    /// Its certificates, in the order of the configuration.
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    /// Handshakes that one worker goes on with in one turn of its loop.
    pub fn max_handshakes_per_turn(&self) -> u32 {
        self.origin.settings.max_handshakes_per_turn
    }

    /// The settings that it is made of.
    pub(super) fn origin(&self) -> &Origin<ListenerTls> {
        &self.origin
    }

    /// The library's settings.
    pub(super) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The verifier of clients' certificates, if any are asked for.
    pub(super) fn verifier(&self) -> Option<&dyn ClientCertVerifier> {
        self.verifier.as_deref()
    }

    /// The URI names of the certificate that serves a name.
    pub(super) fn local_uris(&self, name: Option<&str>) -> Arc<[String]> {
        let group = self.names.group(name);
        group.first().map(|choice| Arc::clone(&choice.uris)).unwrap_or_default()
    }
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerContext").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

/// A digest of the rules by which a client is let in: tickets of other rules are worth nothing.
fn fingerprint(settings: &ListenerTls) -> Result<Vec<u8>, Problem> {
    let mut all =
        format!("{:?} {:?} {:?}", settings.require_client_certificate, settings.require_sni, settings.params);
    if let Some(rules) = &settings.validation {
        all += &format!("{:?} {:?} {:?}", rules.system_root_certs, rules.names, rules.hashes);
        for file in rules.trusted_ca.iter().chain(&rules.crl) {
            all += &format!(" {:?}", certificate::sha256(&certificate::read(file)?));
        }
    }
    Ok(certificate::sha256(all.as_bytes()).to_vec())
}

/// A certificate that may serve a name.
#[derive(Debug)]
struct Choice {
    key: Arc<CertifiedKey>,
    is_rsa: bool,
    uris: Arc<[String]>,
}

/// The certificates by the names that they serve.
#[derive(Debug)]
struct Names {
    /// Those for clients that ask for no name, or for an unknown one.
    default: Vec<Arc<Choice>>,
    /// By the whole name; of wildcards, by what follows the `*.`.
    exact: HashMap<String, Vec<Arc<Choice>>>,
    wildcard: HashMap<String, Vec<Arc<Choice>>>,
    is_required: bool,
}

impl Names {
    fn new(keys: &[(Arc<CertifiedKey>, CertificateInfo)], is_required: bool) -> Names {
        let choice = |(key, info): &(Arc<CertifiedKey>, CertificateInfo)| {
            Arc::new(Choice { key: Arc::clone(key), is_rsa: info.is_rsa, uris: info.uris.as_slice().into() })
        };
        let choices: Vec<_> = keys.iter().map(choice).collect();
        let mut names =
            Names { default: Vec::new(), exact: HashMap::new(), wildcard: HashMap::new(), is_required };
        for (choice, (_, info)) in choices.iter().zip(keys) {
            for name in &info.dns_names {
                let group = match name.strip_prefix("*.") {
                    Some(rest) => names.wildcard.entry(rest.to_owned()),
                    None => names.exact.entry(name.clone()),
                };
                group.or_default().push(Arc::clone(choice));
            }
        }
        let first = keys.first().and_then(|(_, info)| info.dns_names.first());
        let of_first = first.and_then(|name| names.named(name));
        names.default = of_first.map_or_else(|| choices.iter().take(1).cloned().collect(), <[_]>::to_vec);
        // An ECDSA key signs at a fraction of an RSA key's cost.
        let groups = names.exact.values_mut().chain(names.wildcard.values_mut());
        groups.chain([&mut names.default]).for_each(|group| group.sort_by_key(|choice| choice.is_rsa));
        names
    }

    /// The certificates of a name, in lower case.
    fn named(&self, name: &str) -> Option<&[Arc<Choice>]> {
        let wildcard =
            || self.wildcard.get(name.strip_prefix("*.").or_else(|| name.split_once('.').map(|it| it.1))?);
        self.exact.get(name).or_else(wildcard).map(Vec::as_slice)
    }

    /// The certificates for a client that asks for this name. Empty if it is refused.
    fn group(&self, name: Option<&str>) -> &[Arc<Choice>] {
        match name.and_then(|name| self.named(name)) {
            Some(group) => group,
            None if self.is_required => &[],
            None => &self.default,
        }
    }
}

thread_local! {
    /// The name that the ClientHello asked for which this thread has read last. The library keeps it to itself.
    static ASKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes the name that the last ClientHello asked for.
pub(super) fn take_asked_name() -> Option<String> {
    ASKED.take()
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let group = self.group(name.as_deref());
        let signs = |choice: &&Arc<Choice>| choice.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let choice = group.iter().find(signs).or_else(|| group.first());
        ASKED.set(name);
        choice.map(|choice| Arc::clone(&choice.key))
    }
}
