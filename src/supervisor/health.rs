//! Active health checks of endpoints, by `grpc.health.v1`: once for all workers, on a thread that is none of theirs.
//!
//! A reload does not disturb the checks of an endpoint that stays, with the settings of before.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::channel::Target;
use super::guard;
use super::shared_state::SharedState;
use crate::config::HealthChecks;
use crate::policy::health::{Fitness, Judge};
use crate::policy::outlier::Host;
use crate::worker::Clock;

/// The endpoints that are asked. Dropping it ends the checks.
pub(super) struct Checks {
    handle: Handle,
    clock: Clock,
    asked: Vec<(Patient, AbortHandle)>,
}

/// An endpoint whose health is asked for.
#[derive(Clone)]
struct Patient {
    cluster: String,
    settings: HealthChecks,
    target: Target,
    health: Arc<Fitness>,
    /// Where bad responses are counted.
    failures: Arc<AtomicU64>,
    host: Arc<Host>,
}

impl Checks {
    /// Checks without endpoints; `handle` is of the thread that will ask.
    pub(super) fn new(handle: &Handle, clock: &Clock) -> Checks {
        Checks { handle: handle.clone(), clock: clock.clone(), asked: Vec::new() }
    }

    /// Checks the endpoints of those clusters that have health checks, and no others.
    pub(super) fn set(&mut self, shared: &SharedState) {
        let mut before = std::mem::take(&mut self.asked);
        for patient in patients(shared) {
            let known = before.iter().position(|(known, _)| known.is(&patient));
            let asked = known.map(|at| before.swap_remove(at)).unwrap_or_else(|| {
                let (asked, clock) = (patient.clone(), self.clock.clone());
                let task = self.handle.spawn(async move {
                    guard::keep_on("health checks", || asked.clone().run(clock.clone())).await;
                });
                (patient, task.abort_handle())
            });
            self.asked.push(asked);
        }
        before.iter().for_each(|(_, task)| task.abort());
    }
}

fn patients(shared: &SharedState) -> Vec<Patient> {
    let mut patients = Vec::new();
    for (at, cluster) in shared.config.clusters.iter().enumerate() {
        let shares = &shared.shares[at];
        let Some((settings, health)) = cluster.health_checks.as_ref().zip(shares.health.as_ref()) else {
            continue;
        };
        for (index, target) in shared.targets(at).into_iter().enumerate() {
            patients.push(Patient {
                cluster: cluster.name.clone(),
                settings: settings.clone(),
                target,
                health: Arc::clone(health.of(index)),
                failures: Arc::clone(health.failures()),
                host: Arc::clone(shares.outliers.host(index)),
            });
        }
    }
    patients
}

impl Patient {
    /// Whether the other endpoint is checked just so.
    fn is(&self, other: &Patient) -> bool {
        self.cluster == other.cluster
            && self.settings == other.settings
            && self.target.is(&other.target)
            && Arc::ptr_eq(&self.health, &other.health)
            && Arc::ptr_eq(&self.host, &other.host)
    }

    async fn run(self, clock: Clock) {
        let channel = self.target.lazy(|endpoint| endpoint.connect_timeout(self.settings.timeout));
        let Ok(channel) = channel else { return };
        let mut judge = Judge::new(&self.settings, self.health.is_healthy());
        let mut turns = tokio::time::interval(self.settings.interval);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let well = self.ask(channel.clone()).await;
            self.failures.fetch_add(u64::from(!well), Ordering::Relaxed);
            let Some(healthy) = judge.record(well) else { continue };
            let (cluster, endpoint) = (&self.cluster, self.target.address);
            tracing::info!(cluster, %endpoint, healthy, "an endpoint's health has changed");
            self.health.set(healthy);
            if healthy {
                self.host.welcome(clock.now());
            }
        }
    }

    async fn ask(&self, channel: Channel) -> bool {
        let mut request = Request::new(HealthCheckRequest { service: self.settings.service.clone() });
        request.set_timeout(self.settings.timeout.max(Duration::from_millis(1)));
        let mut client = HealthClient::new(channel);
        match tokio::time::timeout(self.settings.timeout, client.check(request)).await {
            Ok(Ok(answer)) => answer.into_inner().status() == ServingStatus::Serving,
            // An endpoint without such a service responds at least (gRFC A17).
            Ok(Err(status)) => status.code() == Code::Unimplemented,
            Err(_) => false,
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.asked.iter().for_each(|(_, task)| task.abort());
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("asked", &self.asked.len()).finish_non_exhaustive()
    }
}
