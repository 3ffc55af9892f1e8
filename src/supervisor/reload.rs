//! A new configuration for a gateway that runs: all of it on all workers, or nothing.
//!
//! Everything that can fail is done first, aside. Then each worker gets what the new configuration makes of it and takes
//! it over between two turns: calls that have begun keep the old one to their end, and a cluster whose settings stay
//! the same keeps its connections and all it has learnt.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::health::Checks;
use super::{Gateway, StartError, resolve};
use crate::admin::{Source as _, World};
use crate::config::Config;
use crate::metrics::Layout;
use crate::worker;

/// Room for endpoints comes in steps of this many.
const ENDPOINTS: usize = 16;

/// Why a new configuration was not taken.
#[derive(Debug)]
pub enum ReloadError {
    /// These keys take effect only when the gateway starts.
    NeedsRestart(Vec<&'static str>),
    /// It would not start with it.
    Start(StartError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::NeedsRestart(keys) => {
                write!(f, "a change of {} takes a restart", keys.join(", "))
            }
            ReloadError::Start(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReloadError {}

/// What changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Routes that there are now.
    pub routes: usize,
    /// Clusters that there are now.
    pub clusters: usize,
    /// Those among them that are new or have other settings.
    pub clusters_changed: usize,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reloaded { routes, clusters, clusters_changed } = self;
        write!(f, "{routes} routes, {clusters} clusters, of which {clusters_changed} are new or changed")
    }
}

/// The room that shards have: for endpoints more than there are, because a name may get another address.
pub(super) fn layout(config: &Config, addresses: &[Vec<SocketAddr>]) -> Layout {
    let endpoints = addresses.iter().map(|addresses| addresses.len().next_multiple_of(ENDPOINTS));
    worker::layout(config).with_endpoints(endpoints)
}

impl Gateway {
    /// Takes over another configuration, on all workers, without losing a call.
    ///
    /// # Errors
    /// Why it was not taken. Nothing has changed then.
    pub fn reload(&mut self, mut config: Config) -> Result<Reloaded, ReloadError> {
        let before = self.state.world();
        self.check(&config)?;
        // A port of 0 is settled.
        config.listeners.clone_from(&before.config.listeners);
        let addresses = resolve::endpoints(&config).map_err(ReloadError::Start)?;
        let config = Arc::new(config);
        let transcoding =
            config.transcoding != before.config.transcoding || addresses != self.shared.addresses;
        let apis = if transcoding {
            let opened = super::apis::open(&config, &addresses, self.state.apis());
            Some(opened.map_err(|problems| ReloadError::Start(StartError::Transcoding(problems)))?)
        } else {
            None
        };
        let layout = layout(&config, &addresses);
        let shards: Vec<_> = before.shards.iter().map(|shard| shard.next(&before.layout, &layout)).collect();
        let shared = self.shared.next(&config, addresses, self.workers.len(), self.clock.now());
        let is_new = |shares: &&Arc<_>| !self.shared.shares.iter().any(|known| Arc::ptr_eq(known, shares));
        let reloaded = Reloaded {
            routes: config.routes.len(),
            clusters: config.clusters.len(),
            clusters_changed: shared.shares.iter().filter(is_new).count(),
        };
        let failed = |error| ReloadError::Start(StartError::System(error));
        let checks = Checks::start(&shared, &self.clock).map_err(failed)?;
        let series_base = self.tellers.learn(&layout);
        for (number, (worker, shard)) in self.workers.iter().zip(&shards).enumerate() {
            worker.control.apply(shared.scheme(number, shard, series_base));
        }
        self.checks = checks;
        if let Some(apis) = apis {
            let bells = super::bells(&self.workers).map_err(failed)?;
            // It would go on to tell of the old configuration's descriptors.
            self.descriptors = None;
            self.state.set_apis(apis.as_ref().map(|apis| Arc::clone(&apis.status)));
            bells.transcode(apis.as_ref().map(|apis| &apis.api));
            self.descriptors = super::watch(apis, bells).map_err(failed)?;
        }
        self.drain_timeout = config.drain_timeout;
        self.state.set_world(World {
            config,
            shares: shared.shares.clone(),
            layout,
            shards,
            workers: before.workers.clone(),
            backend: before.backend,
            flags: before.flags,
        });
        self.shared = shared;
        // They take it over when they hear the bell.
        self.tell(|_| ());
        Ok(reloaded)
    }

    /// Finds what only a restart can change.
    fn check(&self, config: &Config) -> Result<(), ReloadError> {
        let before = &self.asked;
        let mut keys = Vec::new();
        let same: [(&str, bool); 7] = [
            ("workers", before.workers == config.workers),
            ("cpu_policy", before.cpu_policy == config.cpu_policy),
            ("io", before.io == config.io),
            ("admin", before.admin == config.admin),
            ("listeners", before.listeners == config.listeners),
            ("access_log", before.access_log == config.access_log),
            ("tracing", before.tracing == config.tracing),
        ];
        keys.extend(same.iter().filter(|(_, same)| !same).map(|(key, _)| *key));
        if keys.is_empty() { Ok(()) } else { Err(ReloadError::NeedsRestart(keys)) }
    }
}
