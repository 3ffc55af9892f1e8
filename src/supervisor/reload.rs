//! A new configuration for a gateway that runs: all of it on all workers, or nothing.
//!
//! Steps that can fail come first, aside. Then each worker gets its part of the new configuration, and takes it over
//! between two turns. Calls that have begun keep the old one to their end. Each part of a cluster whose settings do not
//! change keeps its learnt state. Connections stay if they would be made just so again.

use std::sync::Arc;
use std::{fmt, mem};

use thiserror::Error;

use super::active_config;
use super::apis::{Status, Watcher};
use super::shared_state::Found;
use super::telemetry_sinks::Changes;
use super::{Gateway, ListenerChanges, StartError, dns, listeners, telemetry_sinks};
use crate::admin::Source as _;
use crate::config::{self, Config, EndpointAddress, Waiting};
use crate::tls::Contexts;
use crate::transcode::api::Api;

/// The reason why a new configuration was refused.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The gateway would not start with it.
    #[error("{0}")]
    Start(StartError),
    /// Nor with this key, which stands at this place of the file.
    #[error("{0}: {1}")]
    Key(String, StartError),
}

/// The changes of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Routes that there are now.
    pub routes: usize,
    /// Clusters that there are now.
    pub clusters: usize,
    /// Clusters among them that are new or have other settings.
    pub clusters_changed: usize,
    /// How listeners differ from those before.
    pub listeners: ListenerChanges,
    /// Keys whose values in the file wait for a restart; the values in use stay.
    pub waiting: Arc<[Waiting]>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reloaded { routes, clusters, clusters_changed, listeners, waiting } = self;
        write!(f, "{routes} routes, {clusters} clusters, of which {clusters_changed} are new or changed")?;
        if *listeners != ListenerChanges::default() {
            write!(f, "; {listeners}")?;
        }
        waiting.iter().try_for_each(|key| write!(f, "; {key}"))
    }
}

impl Gateway {
    /// Applies another configuration to all workers, without losing a call. Waits for new names, for `dns.timeout` at
    /// most; known names keep their addresses.
    ///
    /// # Errors
    /// The reason of the refusal. Nothing has changed then.
    pub fn reload(&mut self, mut config: Config) -> Result<Reloaded, ReloadError> {
        let before = self.state.view();
        config::loops(&config).iter().for_each(|circle| tracing::warn!("{circle}"));
        let waiting: Arc<[Waiting]> = config.keep_what_started(&self.asked).into();

        // Steps that can fail, and steps that wait for others.
        let (missing, counts) = {
            let dns = &self.active.lock().dns;
            (dns.missing(&config), Arc::clone(dns.counts()))
        };
        let answers = dns::ask(self.background.handle(), &config.dns, &counts, &missing);
        let answers = dns::all_found(answers).map_err(ReloadError::Start)?;
        let addresses = {
            let mut active = self.active.lock();
            active.dns.insert(answers);
            active.dns.addresses(&config, Some(&active.shared))
        };
        let before_tls = Arc::clone(&self.active.lock().shared.tls);
        let contexts = Contexts::load(&config, Some(&before_tls));
        let contexts = Arc::new(contexts.map_err(|problem| ReloadError::Start(StartError::Tls(problem)))?);
        let descriptors = match is_same_api(&config, &before.config) {
            true => None,
            false => Some(self.open_apis(&Arc::new(config.clone()), addresses, &contexts)?),
        };
        let sinks = self.prepare_sinks(&before.config, &config)?;
        // Clients may connect to these from now on, so they come last.
        let opened = listeners::open(&mut config, &self.listeners, self.workers.len());
        let placed = |(number, error)| ReloadError::Key(config.places.listener(number).to_owned(), error);
        let opened = opened.map_err(placed)?;
        let config = Arc::new(config);

        // From here on nothing fails.
        let mut active = self.active.lock();
        let addresses = active.dns.addresses(&config, Some(&active.shared));
        active.series_base = self.sinks.register(&active_config::layout(&config, &addresses));
        if let Some((api, status, watcher)) = descriptors {
            // The watcher before ends first.
            active.descriptors = None;
            active.state.set_apis(status);
            self.notifiers.transcode(api.as_ref());
            active.descriptors = watcher;
        }
        active.waiting = Arc::clone(&waiting);
        let (identities, listening) = (opened.identities(), (addresses, Arc::clone(&contexts)));
        let changes = active.apply(&config, listening, (identities, opened.sockets));
        active.certificates.set(&config);
        active.certificates.status.set(&config, &contexts, true);
        active.dns.keep(&config, &active_config::on_renamed(&self.active));
        drop(active);
        if let Some(changes) = sinks {
            self.change_sinks(&config, changes);
        }
        listeners::wait_until_closed(&mem::replace(&mut self.listeners, opened.running));
        self.drain_timeout = config.drain_timeout;
        waiting.iter().for_each(|key| tracing::warn!("{key}"));
        let (routes, clusters) = (config.routes.len(), config.clusters.len());
        let (clusters_changed, listeners) = (changes.clusters, changes.listeners);
        Ok(Reloaded { routes, clusters, clusters_changed, listeners, waiting })
    }

    /// Opens the sinks of the access log and of traces, if they are to change.
    fn prepare_sinks(&self, before: &Config, config: &Config) -> Result<Option<Changes>, ReloadError> {
        if !telemetry_sinks::differ(before, config) {
            return Ok(None);
        }
        let placed = |error| match error {
            StartError::AccessLog(..) => ReloadError::Key(config.places.access_log().to_owned(), error),
            other => ReloadError::Start(other),
        };
        self.sinks.prepare(config).map(Some).map_err(placed)
    }

    /// Lets all workers use other sinks. Lines of the access log of before are written then.
    fn change_sinks(&mut self, config: &Config, changes: Changes) {
        self.sinks.change(changes);
        self.state.set_told(self.sinks.counts());
        self.notifiers.tell_each(|worker, control| control.observe(self.sinks.config(config, worker)));
    }

    /// Reads all descriptors, and begins to watch them.
    fn open_apis(
        &self,
        config: &Arc<Config>,
        addresses: Vec<Vec<EndpointAddress>>,
        tls: &Arc<Contexts>,
    ) -> Result<NewApi, ReloadError> {
        let hosts = self.active.lock().dns.hosts(config);
        let found = Found { addresses, hosts, tls: Arc::clone(tls), listeners: Vec::new() };
        let opened = super::apis::open(config, &|cluster| found.targets(config, cluster), self.state.apis());
        let opened = opened.map_err(|problems| ReloadError::Start(StartError::Transcoding(problems)))?;
        let (api, status) = opened.as_ref().map(|it| (Arc::clone(&it.api), Arc::clone(&it.status))).unzip();
        let watcher = super::watch(opened, &self.files, Arc::clone(&self.notifiers));
        let watcher = watcher.map_err(|error| ReloadError::Start(StartError::System(error)))?;
        Ok((api, status, watcher))
    }
}

/// The API for JSON from now on, its status, and the watcher of its descriptors.
type NewApi = (Option<Arc<Api>>, Option<Arc<Status>>, Option<Watcher>);

/// Whether descriptors have the sources of before.
fn is_same_api(config: &Config, before: &Config) -> bool {
    let asked = |config: &Config| -> Vec<String> {
        let clusters = config.transcoding.reflection.iter().map(|at| config.clusters[*at].name.clone());
        clusters.collect()
    };
    // Clusters are known there by their position, too.
    config.transcoding == before.transcoding
        && asked(config) == asked(before)
        && config.directory == before.directory
}
