//! Asks endpoints how they are, by `grpc.health.v1`: once for all workers, on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::shared::Shared;
use crate::config::HealthChecks;
use crate::policy::health::{Judge, SharedHealth};
use crate::policy::shares::Shares;
use crate::worker::Clock;

/// The thread that asks. Dropping it ends it.
pub(super) struct Checks {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One endpoint that is asked.
struct Patient {
    settings: HealthChecks,
    address: SocketAddr,
    /// Its position in the cluster.
    index: usize,
    shares: Arc<Shares>,
    health: Arc<SharedHealth>,
    clock: Clock,
}

impl Checks {
    /// Begins to ask, if any cluster wants that.
    pub(super) fn start(shared: &Shared, clock: &Clock) -> io::Result<Option<Checks>> {
        let patients = patients(shared, clock);
        if patients.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let body = move || {
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                patients.into_iter().for_each(|patient| drop(tasks.spawn(patient.run())));
                let _ = stopped.await; // an error is the end, too
            });
        };
        let thread = thread::Builder::new().name("health".to_owned()).spawn(body)?;
        Ok(Some(Checks { stop: Some(stop), thread: Some(thread) }))
    }
}

fn patients(shared: &Shared, clock: &Clock) -> Vec<Patient> {
    let mut patients = Vec::new();
    for (at, cluster) in shared.config.clusters.iter().enumerate() {
        let shares = &shared.shares[at];
        let Some((settings, health)) = cluster.health_checks.as_ref().zip(shares.health.as_ref()) else {
            continue;
        };
        for (index, address) in shared.addresses[at].iter().enumerate() {
            let (settings, address, shares, health) =
                (settings.clone(), *address, Arc::clone(shares), Arc::clone(health));
            patients.push(Patient { settings, address, index, shares, health, clock: clock.clone() });
        }
    }
    patients
}

impl Patient {
    async fn run(self) {
        let Ok(endpoint) = Endpoint::from_shared(format!("http://{}", self.address)) else { return };
        let channel = endpoint.connect_timeout(self.settings.timeout).connect_lazy();
        let mut judge = Judge::new(&self.settings);
        let mut turns = tokio::time::interval(self.settings.interval);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let well = self.ask(channel.clone()).await;
            let Some(fit) = judge.tell(well) else { continue };
            let (cluster, endpoint) = (&self.shares.cluster, self.address);
            tracing::info!(cluster, %endpoint, fit, "an endpoint's health has changed");
            self.health.set_fit(self.index, fit);
            if fit {
                self.shares.outliers.welcome(self.index, self.clock.now());
            }
        }
    }

    async fn ask(&self, channel: Channel) -> bool {
        let mut request = Request::new(HealthCheckRequest { service: self.settings.service.clone() });
        request.set_timeout(self.settings.timeout.max(Duration::from_millis(1)));
        let mut client = HealthClient::new(channel);
        match tokio::time::timeout(self.settings.timeout, client.check(request)).await {
            Ok(Ok(answer)) => answer.into_inner().status() == ServingStatus::Serving,
            // One that has no such service answers at least (gRFC A17).
            Ok(Err(status)) => status.code() == Code::Unimplemented,
            Err(_) => false,
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").finish_non_exhaustive()
    }
}
