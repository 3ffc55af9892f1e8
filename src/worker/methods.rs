//! What is configured for single methods, found by their path.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::patience::Timeouts;
use crate::config::Config;

/// The timeouts of every route, and of methods that have their own.
#[derive(Debug)]
pub struct Methods {
    routes: Vec<Timeouts>,
    /// By cluster. Few name methods; for those that do not, nothing is looked up.
    special: Vec<FxHashMap<String, Duration>>,
}

impl Methods {
    /// What `config` says.
    pub fn new(config: &Config) -> Methods {
        let routes = config.routes.iter().map(|route| Timeouts {
            answer: route.timeout,
            whole: route.max_stream_duration,
            idle: route.idle_timeout,
        });
        let special = config.clusters.iter().map(|cluster| {
            let methods = cluster.methods.iter();
            methods.filter_map(|method| Some((method.path.clone(), method.timeout?))).collect()
        });
        Methods { routes: routes.collect(), special: special.collect() }
    }

    /// How long a call of this route and cluster to this path may wait for its answer.
    pub fn timeout(&self, route: usize, cluster: usize, path: &str) -> Option<Duration> {
        self.timeouts(route, cluster, path).answer
    }

    /// How long a call of this route and cluster to this path may take.
    pub(super) fn timeouts(&self, route: usize, cluster: usize, path: &str) -> Timeouts {
        let mut timeouts = self.routes[route];
        let special = &self.special[cluster];
        if !special.is_empty()
            && let Some(own) = special.get(path)
        {
            timeouts.answer = Some(*own);
        }
        timeouts
    }
}
