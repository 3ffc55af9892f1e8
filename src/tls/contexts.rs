//! [`Contexts`]: all of TLS that one configuration has, as the files are now.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::certificate::Origin;
use super::client::{ClientContext, ServerName};
use super::problem::Problem;
use super::server::ServerContext;
use super::session::Session;
use crate::config::{Cluster, ClusterTls, Config, EndpointAddress, Listener};

/// For each cluster, the hosts by which its endpoints' addresses are configured.
pub type Hosts = Vec<Arc<BTreeMap<EndpointAddress, String>>>;

/// TLS towards one cluster: its context, and the names of its endpoints.
#[derive(Clone, Debug)]
pub struct ClusterContext {
    /// Certificates, keys and rules.
    pub context: Arc<ClientContext>,
    /// The hosts by which the endpoints are configured.
    pub hosts: Arc<BTreeMap<EndpointAddress, String>>,
}

impl ClusterContext {
    /// The session of a new connection to an endpoint.
    ///
    /// # Errors
    /// When the endpoint's host is no name that a certificate can have.
    pub fn session(&self, address: EndpointAddress) -> Result<Session, Problem> {
        self.with_host(address, |host| self.context.session(host))
    }

    /// The name to ask for at an endpoint.
    ///
    /// # Errors
    /// When its host is no name that a certificate can have.
    pub fn name(&self, address: EndpointAddress) -> Result<ServerName, Problem> {
        self.with_host(address, |host| self.context.name(host))
    }

    fn with_host<T>(&self, address: EndpointAddress, ask: impl FnOnce(&str) -> T) -> T {
        match (self.hosts.get(&address), address) {
            (Some(host), _) => ask(host),
            (None, EndpointAddress::Ip(address)) => ask(&address.ip().to_string()),
            // As gRPC names the authority of a Unix socket.
            (None, EndpointAddress::Unix(_)) => ask("localhost"),
        }
    }
}

/// The contexts of all listeners and clusters, by their positions in the configuration.
#[derive(Default)]
pub struct Contexts {
    /// Of each listener that has TLS.
    pub listeners: Vec<Option<Arc<ServerContext>>>,
    /// Of each cluster that has TLS.
    pub clusters: Vec<Option<Arc<ClientContext>>>,
}

impl Contexts {
    /// Reads all files that the configuration names for TLS. A context of `before` whose settings and files are as they
    /// were goes on: sessions of its clients can be resumed.
    ///
    /// # Errors
    /// The first file that cannot be used, and the reason.
    pub fn load(config: &Config, before: Option<&Contexts>) -> Result<Contexts, Problem> {
        let listener = |listener: &Listener| server(before, listener).transpose();
        let cluster = |cluster: &Cluster| client(before, cluster).transpose();
        let listeners: Result<_, _> = config.listeners.iter().map(listener).collect();
        let clusters: Result<_, _> = config.clusters.iter().map(cluster).collect();
        // They are read again at each connect, but what is wrong with them is told now.
        of_uris(config).try_for_each(|settings| ClientContext::read(settings).map(drop))?;
        Ok(Contexts { listeners: listeners?, clusters: clusters? })
    }

    /// Reads all files of the same configuration again. A context with a file that cannot be used stays as it was;
    /// these problems are returned, too.
    #[must_use]
    pub fn renew(&self, config: &Config) -> (Contexts, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut renewed = Contexts::default();
        for (number, listener) in config.listeners.iter().enumerate() {
            let next = kept(server(Some(self), listener), self.listener(number), &mut problems);
            renewed.listeners.push(next);
        }
        for (number, cluster) in config.clusters.iter().enumerate() {
            let next = kept(client(Some(self), cluster), self.cluster(number), &mut problems);
            renewed.clusters.push(next);
        }
        (renewed, problems)
    }

    /// The context of a listener; `None` for plaintext.
    pub fn listener(&self, number: usize) -> Option<&Arc<ServerContext>> {
        self.listeners.get(number)?.as_ref()
    }

    /// The context of a cluster; `None` for plaintext.
    pub fn cluster(&self, number: usize) -> Option<&Arc<ClientContext>> {
        self.clusters.get(number)?.as_ref()
    }
}

fn kept<T>(
    next: Option<Result<Arc<T>, Problem>>,
    before: Option<&Arc<T>>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<T>> {
    match next? {
        Ok(next) => Some(next),
        Err(problem) => {
            problems.push(problem);
            before.map(Arc::clone)
        }
    }
}

fn server(before: Option<&Contexts>, listener: &Listener) -> Option<Result<Arc<ServerContext>, Problem>> {
    let settings = listener.tls.as_ref()?;
    let all = before.map_or(&[][..], |before| &before.listeners);
    let known = all.iter().flatten().find(|known| known.origin().settings == *settings);
    Some(Origin::of(settings, settings.files()).and_then(|origin| match known {
        Some(known) if *known.origin() == origin => Ok(Arc::clone(known)),
        _ => ServerContext::load(origin).map(Arc::new),
    }))
}

fn client(before: Option<&Contexts>, cluster: &Cluster) -> Option<Result<Arc<ClientContext>, Problem>> {
    let settings = cluster.tls.as_ref()?;
    let all = before.map_or(&[][..], |before| &before.clusters);
    let known = all.iter().flatten().find(|known| known.origin().settings == *settings);
    Some(Origin::of(settings, settings.files()).and_then(|origin| match known {
        Some(known) if *known.origin() == origin => Ok(Arc::clone(known)),
        _ => ClientContext::load(origin).map(Arc::new),
    }))
}

/// TLS towards servers that a URI names: the collector of spans, and issuers that publish keys.
fn of_uris(config: &Config) -> impl Iterator<Item = &ClusterTls> {
    let collector = config.tracing.iter().filter_map(|tracing| tracing.tls.as_ref());
    let remote = config.jwt_providers.iter().filter_map(|provider| provider.remote_jwks.as_ref());
    collector.chain(remote.filter_map(|remote| remote.tls.as_ref()))
}

/// All files that a configuration names for TLS.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let listeners = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let clusters = config.clusters.iter().filter_map(|cluster| cluster.tls.as_ref());
    let mut files: Vec<PathBuf> = listeners
        .flat_map(|tls| tls.files())
        .chain(clusters.chain(of_uris(config)).flat_map(|tls| tls.files()))
        .collect();
    files.sort();
    files.dedup();
    files
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts")
            .field("listeners", &self.listeners.len())
            .field("clusters", &self.clusters.len())
            .finish()
    }
}
