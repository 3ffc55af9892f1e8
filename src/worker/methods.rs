//! What is configured for single methods, found by their path.

use rustc_hash::FxHashMap;

use super::patience::Timeouts;
use crate::config::Config;

/// The timeouts of every route, and of methods that have their own.
#[derive(Debug)]
pub(super) struct Methods {
    routes: Vec<Timeouts>,
    /// Few clusters name methods; where none does, nothing is looked up.
    special: FxHashMap<String, std::time::Duration>,
}

impl Methods {
    pub(super) fn new(config: &Config) -> Methods {
        let routes = config.routes.iter().map(|route| Timeouts {
            answer: route.timeout,
            whole: route.max_stream_duration,
            idle: route.idle_timeout,
        });
        let methods = config.clusters.iter().flat_map(|cluster| &cluster.methods);
        let special = methods.filter_map(|method| Some((method.path.clone(), method.timeout?)));
        Methods { routes: routes.collect(), special: special.collect() }
    }

    /// How long a call of this route to this path may take.
    pub(super) fn timeouts(&self, route: usize, path: &str) -> Timeouts {
        let mut timeouts = self.routes[route];
        if !self.special.is_empty()
            && let Some(own) = self.special.get(path)
        {
            timeouts.answer = Some(*own);
        }
        timeouts
    }
}
