//! The admin thread's view of the gateway, and the operations that it may ask for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Waiting};
use crate::metrics::line::Headers;
use crate::metrics::tap::Tap;
use crate::metrics::{CallLabels, Format, Layout, Page, RingCounts, Shard};
use crate::policy::shared_cluster::SharedClusterState;
use crate::time::Moment;
use crate::transcode::api::Api;

/// Questions of the admin thread to the gateway. Answers must not wait for a worker.
pub trait Source: Send + Sync {
    /// Whether new calls are welcome: started, and not draining.
    fn ready(&self) -> bool;
    /// The page of `metrics::render`, without the figures of the process (`process_…`): those are added here.
    fn metrics(&self, format: Format) -> Page;
    /// The API that callers of plain HTTP have, if there is one.
    fn api(&self) -> Option<Arc<Api>>;
    /// The OpenAPI document of what is served as JSON, if that is configured.
    fn openapi(&self) -> Option<Arc<str>>;
    /// The running configuration, and where its workers count.
    fn view(&self) -> Arc<GatewayView>;
    /// Counts of each worker's ring; empty where nobody knows.
    fn rings(&self) -> Vec<RingCounts>;
    /// Each worker's side of the tap; empty where calls may not be watched.
    fn taps(&self) -> &[Arc<Tap>];
    /// Shows the labels of a series, by its number in records.
    fn labels(&self, series: u32, look: &mut dyn FnMut(&CallLabels));
    /// The names of the chosen fields of a record, by the number that it has of their list.
    fn log_headers(&self, number: u32) -> Arc<Headers>;
    /// Why the last lookup of an endpoint's host name failed; `None` if it did not.
    fn unresolved(&self, host: &str) -> Option<Unresolved>;
    /// The present moment of the workers' clock.
    fn now(&self) -> Moment;
    /// Begins to drain, as SIGTERM does.
    fn drain(&self);
    /// Counts a panic in what was asked; it has been printed already.
    fn panicked(&self);
    /// Further operations for the admin address.
    fn hooks(&self) -> &Hooks;
}

/// A gateway's configuration, and where its workers count.
#[derive(Debug)]
pub struct GatewayView {
    /// The operator's configuration.
    pub config: Arc<Config>,
    /// Keys whose values in the file wait for a restart.
    pub waiting: Arc<[Waiting]>,
    /// The layout of the shards.
    pub layout: Layout,
    /// The counts of each worker.
    pub shards: Vec<Arc<Shard>>,
    /// The state of each cluster that the workers share.
    pub shares: Vec<Arc<SharedClusterState>>,
    /// Each worker's place, in the order of `shards`.
    pub workers: Vec<Place>,
    /// The I/O back-end of all workers.
    pub backend: &'static str,
    /// Its ring's set-up flags.
    pub flags: &'static str,
}

/// A host name whose last lookup failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// Why it failed, in words.
    pub reason: String,
    /// An earlier lookup succeeded, and its addresses are in use.
    pub was_found: bool,
    /// The time since then.
    pub ago: Duration,
}

/// Where a worker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its core, where it is pinned to one.
    pub core: Option<usize>,
    /// The NUMA node of that core.
    pub numa_node: Option<usize>,
    /// Its thread, as Linux numbers them.
    pub thread: Option<u32>,
}

/// Operations that others carry out when an operator asks for them. An operation that is left out has no path.
#[derive(Default)]
pub struct Hooks {
    /// How much is logged.
    pub log_level: Option<LogLevel>,
    /// Reads the configuration again and applies it: what changed, or why nothing did.
    pub reload: Option<Reload>,
}

/// See [`Hooks::reload`].
pub type Reload = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// How much is logged, and how to change it.
pub struct LogLevel {
    /// The filter in use.
    pub get: Box<dyn Fn() -> String + Send + Sync>,
    /// Takes another one, or says why not.
    pub set: SetLevel,
}

/// See [`LogLevel::set`].
pub type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("log_level", &self.log_level.is_some())
            .field("reload", &self.reload.is_some())
            .finish()
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel").finish_non_exhaustive()
    }
}
