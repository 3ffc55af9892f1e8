//! A call on its way to its route.

use super::Call;
use crate::policy::failure::Failure;
use crate::policy::route::Found;
use crate::upstream::{Cluster, Method};
use crate::worker::call::headers;
use crate::worker::call::known::Finding;
use crate::worker::config::WorkerConfig;

impl Call {
    /// The findings of this head, if it came before, and nothing but itself decides them.
    pub(in crate::worker::call) fn known(&self, config: &WorkerConfig) -> Option<Finding> {
        if self.client.settings().forwarding.is_on() { None } else { config.known.find(&self.head) }
    }

    /// Keeps what was found in a head of gRPC, unless its client has a part in that.
    pub(in crate::worker::call) fn keep_known(&self, config: &WorkerConfig, finding: Finding) {
        if !finding.headers.is_of_proxy && !self.client.settings().forwarding.is_on() {
            config.known.keep(&self.head, finding);
        }
    }

    /// Keeps the request as it came, for decoding changes it and routes may ask for it.
    pub(in crate::worker::call) fn keep_request(&self, config: &WorkerConfig) {
        config.keep_request(&self.head);
    }

    /// Finds the route, with this draw.
    pub(in crate::worker::call) fn find_route(
        &self,
        config: &WorkerConfig,
        draw: u32,
    ) -> Result<Found, Failure> {
        config.find(&self.head, draw).ok_or(Failure::NoRoute)
    }

    /// Notes the route that was found, and the series that counts the call.
    pub(in crate::worker::call) fn routed(&mut self, config: &WorkerConfig, series: usize) {
        self.series = series;
        self.telemetry.routed(config.logged(series), &self.head, self.responder.timer());
    }

    /// The cluster's settings of the method that is called, by the path that the service gets. It may be in the
    /// head already.
    pub(in crate::worker::call) fn method<'c>(
        &self,
        config: &WorkerConfig,
        cluster: &'c Cluster,
        finding: Finding,
    ) -> Result<&'c Method, Failure> {
        let path = headers::path(&self.head);
        if finding.is_rewritten {
            return Ok(cluster.method(path));
        }
        let made = config.rewritten(finding.route, path)?;
        Ok(cluster.method(made.as_ref().map_or(path, |made| &made[..])))
    }
}
