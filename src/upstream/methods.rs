//! Settings of the single methods of a cluster, found by their path.
//!
//! For a method, the configuration goes before the gRPC service config, and both before the cluster's own settings. The
//! tables are built once: a path that a client makes up adds no row.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::config;
use crate::config::{MethodName, ServiceConfig};
use crate::policy::breaker::{LocalBreaker, SharedBreaker};
use crate::policy::shared_cluster::SharedClusterState;
use crate::time::Moment;

/// The settings of a method.
#[derive(Debug)]
pub struct Method {
    /// Its place among the methods of the cluster that the configuration names, from 1; 0 for all others.
    pub place: usize,
    /// The timeout until the head of the response, in place of the route's.
    pub timeout: Option<Duration>,
    /// The timeout of the whole call.
    pub whole: Option<Duration>,
    /// It takes one message and answers with one.
    pub unary: bool,
    /// A second execution does no harm.
    pub idempotent: bool,
    /// The retry policy.
    pub retry: config::Retry,
    /// The hedging policy, which only an idempotent method has; `retry` is unused then.
    pub hedging: Option<config::Hedging>,
    /// The method's own breaker, beside that of the cluster.
    pub(super) breaker: Option<Rc<LocalBreaker>>,
}

/// All methods of a cluster.
#[derive(Debug)]
pub(super) struct Methods {
    /// By path. Few clusters name methods; for those that do not, nothing is looked up.
    named: FxHashMap<String, Method>,
    /// By the name of their service.
    services: FxHashMap<String, Method>,
    others: Method,
}

impl Methods {
    /// `before` holds the methods as the previous configuration had them.
    pub(super) fn new(
        settings: &config::Cluster,
        shares: &SharedClusterState,
        worker: usize,
        before: Option<&Methods>,
    ) -> Methods {
        let nothing = ServiceConfig::default();
        let service_config = settings.service_config.as_ref().unwrap_or(&nothing);
        let method = |path: &str| {
            let said = service_config.find(path);
            Method {
                place: 0,
                timeout: settings.timeout,
                whole: said.and_then(|said| said.timeout),
                unary: false,
                idempotent: false,
                retry: said.and_then(|said| said.retry.clone()).unwrap_or_else(|| settings.retry.clone()),
                // A method without a table of its own is not idempotent.
                hedging: None,
                breaker: None,
            }
        };
        let mut methods =
            Methods { named: FxHashMap::default(), services: FxHashMap::default(), others: method("") };
        for name in service_config.methods.iter().flat_map(|method| &method.names) {
            match name {
                MethodName::Default => {}
                MethodName::Service(service) => {
                    methods.services.insert(service.clone(), method(&format!("/{service}/")));
                }
                MethodName::Method(path) => {
                    methods.named.insert(path.clone(), method(path));
                }
            }
        }
        for (at, own) in settings.methods.iter().enumerate() {
            let mut method = method(&own.path);
            method.place = at + 1;
            method.timeout = own.timeout.or(method.timeout);
            method.unary = own.unary;
            method.idempotent = own.idempotent;
            let said = || service_config.find(&own.path).and_then(|said| said.hedging.clone());
            method.hedging = own.hedging.clone().or_else(said).filter(|_| own.idempotent);
            methods.named.insert(own.path.clone(), method);
        }
        for (path, shared) in &shares.method_breakers {
            if let Some(method) = methods.named.get_mut(path) {
                let known = before.and_then(|before| before.named.get(path)?.breaker.as_ref());
                method.breaker = Some(breaker(known, shared, worker));
            }
        }
        methods
    }

    pub(super) fn find(&self, path: &[u8]) -> &Method {
        if self.named.is_empty() && self.services.is_empty() {
            return &self.others;
        }
        let Ok(path) = str::from_utf8(path) else { return &self.others };
        if let Some(method) = self.named.get(path) {
            return method;
        }
        let service =
            path.strip_prefix('/').and_then(|rest| rest.split_once('/')).map(|(service, _)| service);
        service.and_then(|service| self.services.get(service)).unwrap_or(&self.others)
    }

    /// To be called on the worker's tick.
    pub(super) fn tick(&self, now: Moment) {
        for breaker in self.named.values().filter_map(|method| method.breaker.as_ref()) {
            breaker.tick(now);
        }
    }

    /// Whether all breakers of methods are closed.
    pub(super) fn are_closed(&self) -> bool {
        self.named.values().filter_map(|method| method.breaker.as_ref()).all(|breaker| breaker.is_closed())
    }
}

/// A worker's side of a breaker: the one that is known, if it is of the same.
pub(super) fn breaker(
    known: Option<&Rc<LocalBreaker>>,
    shared: &Arc<SharedBreaker>,
    worker: usize,
) -> Rc<LocalBreaker> {
    match known.filter(|known| Arc::ptr_eq(known.shared(), shared)) {
        Some(known) => Rc::clone(known),
        None => Rc::new(LocalBreaker::new(Arc::clone(shared), worker)),
    }
}
