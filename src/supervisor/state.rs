//! What the admin thread shows of the gateway.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use super::access;
use super::apis::Status;
use crate::admin::{Hooks, Source, World};
use crate::metrics::render::{self, GatewayInfo, RingCounts};
use crate::net::ring::{self, Refusal, RingTails};

/// Read by the admin thread, written by the supervisor.
pub(super) struct State {
    world: Arc<World>,
    refusal: Option<Refusal>,
    hooks: Hooks,
    access_log: Option<Arc<access::Shared>>,
    /// What is served as JSON, if that is configured.
    apis: Option<Arc<Status>>,
    ready: AtomicBool,
    /// An operator asked for it.
    drain_wanted: AtomicBool,
    rings: Mutex<Vec<Ring>>,
}

/// One worker's ring, and what it has done so far.
#[derive(Clone, Copy, Default)]
struct Ring {
    descriptor: Option<i32>,
    seen: RingTails,
    sqes: u64,
    cqes: u64,
}

impl State {
    pub(super) fn new(
        world: World,
        refusal: Option<Refusal>,
        hooks: Hooks,
        apis: Option<Arc<Status>>,
        access_log: Option<Arc<access::Shared>>,
    ) -> State {
        let rings = Mutex::new(vec![Ring::default(); world.shards.len()]);
        let (ready, drain_wanted) = Default::default();
        State { world: Arc::new(world), refusal, hooks, apis, access_log, ready, drain_wanted, rings }
    }

    /// Whether an operator asked to drain.
    pub(super) fn drain_wanted(&self) -> bool {
        self.drain_wanted.load(Ordering::Acquire)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    pub(super) fn set_ring(&self, worker: usize, descriptor: Option<i32>) {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)[worker].descriptor = descriptor;
    }

    /// Adds what the rings have done since the last look. The kernel's own counts wrap at 2^32, which a busy ring
    /// reaches in hours, so someone has to look more often.
    pub(super) fn sample_rings(&self) -> Vec<RingCounts> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Vec::new();
        for (worker, ring) in rings.iter_mut().enumerate() {
            let Some(descriptor) = ring.descriptor else { continue };
            if let Some(now) = ring::tails(descriptor) {
                ring.sqes += u64::from(now.sqes.wrapping_sub(ring.seen.sqes));
                ring.cqes += u64::from(now.cqes.wrapping_sub(ring.seen.cqes));
                ring.seen = now;
            }
            counts.push(RingCounts { worker, sqes: ring.sqes, cqes: ring.cqes });
        }
        counts
    }
}

impl Source for State {
    fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn metrics(&self) -> String {
        let info = GatewayInfo {
            version: env!("CARGO_PKG_VERSION"),
            backend: self.world.backend,
            backend_reason: self.refusal.as_ref().map(|refusal| refusal.reason.as_str()),
            ready: self.ready(),
            workers: self.world.shards.len(),
            access_log: self.access_log.as_ref().map(|log| log.counts()),
            transcoding: self.apis.as_ref().map(|apis| apis.info()),
            shares: &self.world.shares,
        };
        render::text(&info, &self.world.layout, &self.world.shards, &self.sample_rings())
    }

    fn openapi(&self) -> Option<Arc<str>> {
        self.apis.as_ref().map(|apis| apis.openapi())
    }

    fn world(&self) -> Arc<World> {
        Arc::clone(&self.world)
    }

    fn rings(&self) -> Vec<RingCounts> {
        self.sample_rings()
    }

    fn drain(&self) {
        self.set_ready(false);
        self.drain_wanted.store(true, Ordering::Release);
    }

    fn hooks(&self) -> &Hooks {
        &self.hooks
    }
}
