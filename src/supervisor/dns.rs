//! Host names of endpoints, and the addresses they lead to now.
//!
//! Each name is looked up again when its answer expires, on a thread that is no worker's. The last good answer holds
//! for as long as lookups fail.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::error::StartError;
use super::guard;
use super::shared_state::SharedState;

use crate::admin::Unresolved;
use crate::config::{Config, Dns, Endpoint, EndpointAddress};
use crate::metrics::render::NameCounts;
use crate::tls::Hosts;

/// Takes a new answer for a name. False: no gateway wants it any more.
pub(super) type Renamed = Arc<dyn Fn(&str, Answer) -> bool + Send + Sync>;

/// Counts of lookups, and the names that do not resolve.
#[derive(Debug, Default)]
pub(super) struct Counts {
    lookups: AtomicU64,
    failures: AtomicU64,
    changes: AtomicU64,
    names: Mutex<BTreeMap<String, LastLookup>>,
}

/// The result of the last lookup of a name.
#[derive(Debug, Default)]
struct LastLookup {
    /// Why it failed, and when.
    failure: Option<(String, Instant)>,
    /// An earlier lookup succeeded, and its addresses are in use.
    was_found: bool,
}

impl Counts {
    /// A cluster has other endpoints.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Why the last lookup of a name failed; `None` if it did not, or if nobody looked it up.
    pub(super) fn unresolved(&self, host: &str) -> Option<Unresolved> {
        let names = self.names.lock();
        let last = names.get(host)?;
        let (reason, at) = last.failure.as_ref()?;
        Some(Unresolved { reason: reason.clone(), was_found: last.was_found, ago: at.elapsed() })
    }

    /// Counts a lookup, and keeps its result.
    fn looked_up<T>(&self, host: &str, result: &io::Result<T>) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        let mut names = self.names.lock();
        let last = names.entry(host.to_owned()).or_default();
        last.was_found |= result.is_ok();
        last.failure = result.as_ref().err().map(|error| (error.to_string(), Instant::now()));
    }

    pub(super) fn get(&self) -> NameCounts {
        let [lookups, failures, changes] =
            [&self.lookups, &self.failures, &self.changes].map(|count| count.load(Ordering::Relaxed));
        NameCounts { lookups, failures, changes }
    }
}

/// The addresses of a name, and the time until which they are good.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    addresses: Vec<IpAddr>,
    until: Instant,
}

/// All names of a configuration.
pub(super) struct DnsResolver {
    handle: Handle,
    counts: Arc<Counts>,
    dns: Dns,
    known: BTreeMap<String, Known>,
}

/// The last answer for a name, and the task that keeps it.
struct Known {
    answer: Answer,
    /// The task that asks for it again.
    task: Option<AbortHandle>,
}

impl DnsResolver {
    /// The names of the first configuration, and their addresses; `handle` is of the thread that asks.
    pub(super) fn first(handle: &Handle, config: &Config) -> Result<DnsResolver, StartError> {
        let (counts, dns) = (Arc::<Counts>::default(), config.dns.clone());
        let mut resolver = DnsResolver { handle: handle.clone(), counts, dns, known: BTreeMap::new() };
        let answers = ask(handle, &config.dns, &resolver.counts, &resolver.missing(config));
        let answers = match config.dns.required {
            true => all_found(answers)?,
            false => found_or_awaited(config, answers),
        };
        resolver.insert(answers);
        Ok(resolver)
    }

    /// Counts of lookups and their results.
    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The names in a configuration that have no addresses yet.
    pub(super) fn missing(&self, config: &Config) -> Vec<String> {
        let mut missing: Vec<String> =
            hosts(config).filter(|host| !self.known.contains_key(*host)).map(str::to_owned).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Adds these names.
    pub(super) fn insert(&mut self, answers: BTreeMap<String, Answer>) {
        for (host, answer) in answers {
            self.known.entry(host).or_insert(Known { answer, task: None });
        }
    }

    /// Sets the answer for a known name; false if it does not differ.
    pub(super) fn update(&mut self, host: &str, answer: Answer) -> bool {
        let Some(known) = self.known.get_mut(host) else { return false };
        let same = |known: &[IpAddr]| {
            known.len() == answer.addresses.len() && known.iter().all(|it| answer.addresses.contains(it))
        };
        let is_new = !same(&known.answer.addresses);
        known.answer = answer;
        is_new
    }

    /// Keeps asking for the names of this configuration, and for no others.
    pub(super) fn keep(&mut self, config: &Config, renamed: &Renamed) {
        self.known.retain(|host, known| {
            let kept = hosts(config).any(|wanted| wanted == host);
            if !kept && let Some(task) = &known.task {
                task.abort();
            }
            kept
        });
        self.counts.names.lock().retain(|host, _| self.known.contains_key(host));
        let changed = self.dns != config.dns;
        self.dns.clone_from(&config.dns);
        for (host, known) in &mut self.known {
            if let Some(task) = known.task.take_if(|_| changed) {
                task.abort();
            }
            if known.task.is_none() {
                let name =
                    Name { host: host.clone(), dns: self.dns.clone(), counts: Arc::clone(&self.counts) };
                let due = if changed { Instant::now() } else { known.answer.until };
                let renamed = Arc::clone(renamed);
                let task = self.handle.spawn(async move {
                    guard::keep_on("names", || name.clone().keep(due, Arc::clone(&renamed))).await;
                });
                known.task = Some(task.abort_handle());
            }
        }
    }

    /// The addresses of all endpoints of each cluster. Earlier addresses of a cluster come first, in their order. So
    /// the order in an answer does not matter.
    pub(super) fn addresses(
        &self,
        config: &Config,
        before: Option<&SharedState>,
    ) -> Vec<Vec<EndpointAddress>> {
        let of_cluster = |cluster: &crate::config::Cluster| {
            let mut found: Vec<EndpointAddress> = Vec::new();
            for address in cluster.endpoints.iter().flat_map(|endpoint| self.addresses_of(endpoint)) {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            let before = before.map_or(&[][..], |before| before.addresses_of(&cluster.name));
            let place = |address: &EndpointAddress| before.iter().position(|known| known == address);
            found.sort_by_key(|address| place(address).unwrap_or(usize::MAX));
            found
        };
        config.clusters.iter().map(of_cluster).collect()
    }

    /// The addresses of one endpoint as they are now.
    fn addresses_of(&self, endpoint: &Endpoint) -> Vec<EndpointAddress> {
        match endpoint {
            Endpoint::Unix(path) => vec![EndpointAddress::Unix(*path)],
            Endpoint::Tcp { host, port } => {
                let literal = host.parse().ok();
                let known = self.known.get(host).map(|known| &known.answer.addresses[..]);
                let all = literal.as_ref().map_or(known.unwrap_or_default(), std::slice::from_ref);
                all.iter().map(|ip| SocketAddr::new(*ip, *port).into()).collect()
            }
        }
    }

    /// For each cluster with TLS, the host of each address: that of the first endpoint that leads there.
    pub(super) fn hosts(&self, config: &Config) -> Hosts {
        let of_cluster = |cluster: &crate::config::Cluster| {
            let mut found = BTreeMap::new();
            for endpoint in cluster.endpoints.iter().filter(|_| cluster.tls.is_some()) {
                let Some(host) = endpoint.host().filter(|host| self.known.contains_key(*host)) else {
                    continue;
                };
                for address in self.addresses_of(endpoint) {
                    found.entry(address).or_insert_with(|| host.to_owned());
                }
            }
            Arc::new(found)
        };
        config.clusters.iter().map(of_cluster).collect()
    }
}

impl Drop for DnsResolver {
    fn drop(&mut self) {
        self.known.values().filter_map(|known| known.task.as_ref()).for_each(AbortHandle::abort);
    }
}

/// The host names among the endpoints.
fn hosts(config: &Config) -> impl Iterator<Item = &str> {
    let endpoints = config.clusters.iter().flat_map(|cluster| &cluster.endpoints);
    endpoints.filter_map(Endpoint::host).filter(|host| host.parse::<IpAddr>().is_err())
}

/// The answers, if every name has one.
///
/// # Errors
/// The first name without an address.
pub(super) fn all_found(answers: Answers) -> Result<BTreeMap<String, Answer>, StartError> {
    let found = |(host, answer): (String, io::Result<Answer>)| match answer {
        Ok(answer) => Ok((host, answer)),
        Err(error) => Err(StartError::Resolve(host, error)),
    };
    answers.into_iter().map(found).collect()
}

/// The answers that a gateway can begin with: a name without one has no address for now, and is asked for again.
fn found_or_awaited(config: &Config, answers: Answers) -> BTreeMap<String, Answer> {
    let answer_for_now = |(host, answer): (String, io::Result<Answer>)| {
        let answer = answer.unwrap_or_else(|error| {
            for cluster in clusters_at(config, &host) {
                tracing::warn!(cluster, name = host, %error, "the name does not resolve; it is asked for again");
            }
            Answer { addresses: Vec::new(), until: Instant::now() + config.dns.min_refresh_rate }
        });
        (host, answer)
    };
    answers.into_iter().map(answer_for_now).collect()
}

/// The names of the clusters with an endpoint at this host.
fn clusters_at<'a>(config: &'a Config, host: &'a str) -> impl Iterator<Item = &'a str> {
    let is_there =
        move |cluster: &&crate::config::Cluster| cluster.endpoints.iter().any(|at| at.host() == Some(host));
    config.clusters.iter().filter(is_there).map(|cluster| cluster.name.as_str())
}

/// The result of each question.
pub(super) type Answers = BTreeMap<String, io::Result<Answer>>;

/// The names of a configuration that do not resolve now, each with the reason. Takes `dns.timeout` at most.
pub(super) fn unresolved(handle: &Handle, config: &Config) -> Vec<(String, String)> {
    let mut names: Vec<String> = hosts(config).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    let answers = ask(handle, &config.dns, &Arc::default(), &names).into_iter();
    answers.filter_map(|(host, answer)| Some((host, answer.err()?.to_string()))).collect()
}

/// Looks these names up, all at once, and waits for the answers, for `dns.timeout` at most. Not to be called by the
/// thread whose handle this is.
pub(super) fn ask(handle: &Handle, dns: &Dns, counts: &Arc<Counts>, hosts: &[String]) -> Answers {
    let (tell, told) = mpsc::channel();
    for host in hosts {
        let name = Name { host: host.clone(), dns: dns.clone(), counts: Arc::clone(counts) };
        let tell = tell.clone();
        handle.spawn(async move {
            let answer = name.ask().await;
            let _ = tell.send((name.host, answer));
        });
    }
    drop(tell);
    let mut answers: Answers = told.into_iter().collect();
    // A task that panicked has told nothing.
    for host in hosts {
        answers.entry(host.clone()).or_insert_with(|| Err(timed_out()));
    }
    answers
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no name server has answered in time (dns.timeout)")
}

/// A host name that is looked up again and again.
#[derive(Clone)]
struct Name {
    host: String,
    dns: Dns,
    counts: Arc<Counts>,
}

impl Name {
    /// Looks it up each time that its answer expires.
    async fn keep(self, mut due: Instant, renamed: Renamed) {
        let mut failures = 0_u32;
        loop {
            tokio::time::sleep_until(due.into()).await;
            match self.ask().await {
                Ok(answer) => {
                    if failures > 0 {
                        tracing::info!(name = self.host, failures, "DNS lookup succeeded again");
                    }
                    (failures, due) = (0, answer.until);
                    if !renamed(&self.host, answer) {
                        return;
                    }
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(name = self.host, %error, "DNS lookup failed; the last known addresses are kept");
                    }
                    let wait = self.dns.min_refresh_rate.saturating_mul(1 << failures.min(16));
                    due = Instant::now() + wait.min(self.dns.refresh_rate);
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    async fn ask(&self) -> io::Result<Answer> {
        let answer = tokio::time::timeout(self.dns.timeout, self.look_up()).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out()));
        self.counts.looked_up(&self.host, &answer);
        answer
    }

    async fn look_up(&self) -> io::Result<Answer> {
        let found =
            resolver(&self.dns)?.lookup_ip(self.host.as_str()).await.map_err(|error| reason(&error))?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(self.dns.max_addresses as usize);
        if addresses.is_empty() {
            return Err(io::Error::other("it has no address"));
        }
        let now = Instant::now();
        let wait = found.valid_until().saturating_duration_since(now);
        let wait = wait.clamp(self.dns.min_refresh_rate, self.dns.refresh_rate);
        Ok(Answer { addresses, until: now + wait })
    }
}

/// Why a name has no address, in words: the library's own are for programmers.
fn reason(error: &NetError) -> io::Error {
    if error.is_nx_domain() {
        return io::Error::other("there is no such name");
    }
    if error.is_no_records_found() {
        return io::Error::other("it has no address");
    }
    match error {
        NetError::Timeout => timed_out(),
        NetError::NoConnections => io::Error::other("no name server can be reached"),
        NetError::Io(error) => io::Error::new(error.kind(), format!("asking a name server failed: {error}")),
        other => io::Error::other(other.to_string()),
    }
}

/// Made for each question: the files of the system may have changed.
fn resolver(dns: &Dns) -> io::Result<TokioResolver> {
    let ours = ResolverConfig::from_name_servers(dns.servers.iter().map(name_server).collect());
    let (config, mut options) = match read_system_conf() {
        Ok((_, options)) if !dns.servers.is_empty() => (ours, options),
        Ok(system) => system,
        // As the C library does where it finds no file.
        Err(_) if dns.servers.is_empty() => {
            let local = NameServerConfig::udp_and_tcp(std::net::Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_name_servers(vec![local]), Default::default())
        }
        Err(_) => (ours, Default::default()),
    };
    options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    options.timeout = options.timeout.min(dns.timeout.max(Duration::from_millis(1)));
    let provider = TokioRuntimeProvider::default();
    let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
    builder.build().map_err(io::Error::other)
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(port).into();
    NameServerConfig::new(address.ip(), true, connections)
}
