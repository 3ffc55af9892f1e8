//! The state of the gateway that the admin thread shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::apis::Status;
use super::certificates;
use super::dns;
use super::files::Files;
use super::notice::Waker;
use super::series::Series;
use super::telemetry_sinks::Counts;
use crate::admin::{GatewayView, Hooks, Source, Unresolved};
use crate::metrics::line::Headers;
use crate::metrics::render::{self, GatewayInfo, ReloadCounts, RingCounts};
use crate::metrics::tap::Tap;
use crate::metrics::{CallLabels, Format, Page};
use crate::net::ring::{self, RingTails, RingUnavailable};
use crate::time::Moment;
use crate::transcode::api::Api;
use crate::worker::Clock;

/// Read by the admin thread, written by the supervisor.
pub(super) struct State {
    view: Mutex<Arc<GatewayView>>,
    shown: Shown,
    told: Mutex<Counts>,
    dns: Arc<dns::Counts>,
    certificates: Arc<certificates::Status>,
    /// The status of the API for JSON, if that is configured.
    apis: Mutex<Option<Arc<Status>>>,
    ready: AtomicBool,
    reloads: AtomicU64,
    reload_failures: AtomicU64,
    reload_failed_last: AtomicBool,
    /// An operator asked to drain.
    drain_wanted: AtomicBool,
    rings: Mutex<Vec<Ring>>,
}

/// Values that stay as they were at the start.
pub(super) struct Shown {
    /// The reason why there is no ring.
    pub(super) refusal: Option<RingUnavailable>,
    pub(super) hooks: Hooks,
    /// Each worker's side of the tap, shown where that is allowed.
    pub(super) taps: Vec<Arc<Tap>>,
    pub(super) series: Arc<Series>,
    pub(super) clock: Clock,
    /// All files that are watched.
    pub(super) files: Files,
    /// Wakes the thread that waits for the gateway's end, when an operator asks to drain.
    pub(super) waker: Waker,
}

/// A worker's ring, and what it has done so far.
#[derive(Clone, Copy, Default)]
struct Ring {
    descriptor: Option<i32>,
    seen: RingTails,
    sqes: u64,
    cqes: u64,
}

impl State {
    pub(super) fn new(
        view: GatewayView,
        shown: Shown,
        apis: Option<Arc<Status>>,
        told: Counts,
        (dns, certificates): (Arc<dns::Counts>, Arc<certificates::Status>),
    ) -> State {
        let rings = Mutex::new(vec![Ring::default(); view.shards.len()]);
        let (ready, drain_wanted) = Default::default();
        let (reloads, reload_failures, reload_failed_last) = Default::default();
        State {
            view: Mutex::new(Arc::new(view)),
            shown,
            apis: Mutex::new(apis),
            told: Mutex::new(told),
            dns,
            certificates,
            ready,
            reloads,
            reload_failures,
            reload_failed_last,
            drain_wanted,
            rings,
        }
    }

    /// Counts a reload.
    pub(super) fn reload_ended(&self, taken: bool) {
        let count = if taken { &self.reloads } else { &self.reload_failures };
        count.fetch_add(1, Ordering::Relaxed);
        self.reload_failed_last.store(!taken, Ordering::Relaxed);
    }

    /// Shows another configuration.
    pub(super) fn set_view(&self, view: GatewayView) {
        *self.view.lock() = Arc::new(view);
    }

    /// Shows the counts of other sinks.
    pub(super) fn set_told(&self, told: Counts) {
        *self.told.lock() = told;
    }

    /// Shows another API, or none.
    pub(super) fn set_apis(&self, apis: Option<Arc<Status>>) {
        *self.apis.lock() = apis;
    }

    /// The API that is shown.
    pub(super) fn apis(&self) -> Option<Arc<Status>> {
        self.apis.lock().clone()
    }

    /// Wakes the thread that waits for the gateway's end.
    pub(super) fn waker(&self) -> Waker {
        self.shown.waker.clone()
    }

    /// Whether an operator asked to drain.
    pub(super) fn drain_wanted(&self) -> bool {
        self.drain_wanted.load(Ordering::Acquire)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    pub(super) fn set_ring(&self, worker: usize, descriptor: Option<i32>) {
        self.rings.lock()[worker].descriptor = descriptor;
    }

    /// Adds the rings' progress since the last look. The kernel's own counts wrap at 2^32, which a busy ring reaches in
    /// hours, so looks have to be more frequent.
    pub(super) fn sample_rings(&self) -> Vec<RingCounts> {
        let mut rings = self.rings.lock();
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

    fn metrics(&self, format: Format) -> Page {
        let view = self.view();
        let certificates = self.certificates.rows();
        let told = self.told.lock().clone();
        let info = GatewayInfo {
            version: env!("CARGO_PKG_VERSION"),
            backend: view.backend,
            backend_reason: self.shown.refusal.as_ref().map(|refusal| refusal.reason.as_str()),
            ready: self.ready(),
            workers: view.shards.len(),
            access_log: told.access_log(),
            traces: told.traces(),
            reloads: ReloadCounts {
                taken: self.reloads.load(Ordering::Relaxed),
                refused: self.reload_failures.load(Ordering::Relaxed),
                refused_last: self.reload_failed_last.load(Ordering::Relaxed),
                keys_waiting: view.waiting.len(),
                files_missing: self.shown.files.missing(),
            },
            names: self.dns.get(),
            control_panics: super::guard::panics(),
            transcoding: self.apis().map(|apis| apis.info()),
            shares: &view.shares,
            certificates: certificates.as_deref().map(|rows| self.certificates.info(rows)),
        };
        render::page(&info, &view.layout, &view.shards, &self.sample_rings(), format)
    }

    fn api(&self) -> Option<Arc<Api>> {
        self.apis()?.api()
    }

    fn openapi(&self) -> Option<Arc<str>> {
        self.apis().map(|apis| apis.openapi())
    }

    fn view(&self) -> Arc<GatewayView> {
        Arc::clone(&self.view.lock())
    }

    fn rings(&self) -> Vec<RingCounts> {
        self.sample_rings()
    }

    fn taps(&self) -> &[Arc<Tap>] {
        match self.view.lock().config.admin.tap {
            true => &self.shown.taps,
            false => &[],
        }
    }

    fn labels(&self, series: u32, look: &mut dyn FnMut(&CallLabels)) {
        self.shown.series.with(series, look);
    }

    fn log_headers(&self, number: u32) -> Arc<Headers> {
        self.shown.series.headers(number)
    }

    fn unresolved(&self, host: &str) -> Option<Unresolved> {
        self.dns.unresolved(host)
    }

    fn now(&self) -> Moment {
        self.shown.clock.now()
    }

    fn drain(&self) {
        self.set_ready(false);
        self.drain_wanted.store(true, Ordering::Release);
        self.shown.waker.wake();
    }

    fn panicked(&self) {
        super::guard::count();
    }

    fn hooks(&self) -> &Hooks {
        &self.shown.hooks
    }
}
