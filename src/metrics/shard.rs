//! The counts of one core. To count something new, add a line here; the page follows.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::labels::{self, PROTOCOLS};
use super::{
    Bounds, Counter, EndpointSlot, Exemplar, ExemplarSlot, GRPC_STATUS_NAMES, Histogram, Layout, TimeoutSlot,
};
use crate::policy::failure::Failure;

/// All counts of one core. That core writes, anybody may read.
///
/// Each block is a piece of memory of its own, aligned to two cache lines because x86 fetches lines in pairs: what one
/// core writes never lies beside what another one writes. A shard for another configuration takes over the blocks of
/// what is in both, so counting goes on.
#[derive(Debug)]
pub struct Shard {
    /// The core itself: its connections and its loop.
    pub worker: Arc<WorkerBlock>,
    /// A block for each of `Layout::clusters`.
    pub clusters: Box<[Arc<ClusterBlock>]>,
    /// A block for each of `Layout::calls`.
    pub calls: Box<[Arc<CallBlock>]>,
    /// For each of `Layout::clusters`, room for its endpoints.
    pub endpoints: Box<[Arc<[EndpointSlot]>]>,
    /// For each of `Layout::clusters`, room for the timeouts that follow the latency of its methods.
    pub timeouts: Box<[Arc<[TimeoutSlot]>]>,
}

impl Shard {
    /// A shard of zeros.
    ///
    /// # Panics
    /// When the layout has no calls at all: [`Layout::new`] always adds the last one.
    pub fn new(layout: &Layout) -> Arc<Self> {
        let nothing = Layout { calls: Vec::new(), ..Layout::new(Vec::new(), Vec::new()) };
        let (clusters, calls, endpoints, timeouts) = Default::default();
        Shard { worker: Arc::default(), clusters, calls, endpoints, timeouts }.next(&nothing, layout)
    }

    /// The shard of the same core for another layout. `layout` is that of this one.
    ///
    /// # Panics
    /// When the next layout has no calls at all.
    pub fn next(&self, layout: &Layout, next: &Layout) -> Arc<Self> {
        assert!(!next.calls.is_empty(), "a layout ends with the calls that found no route");
        let endpoints = next.endpoints.iter().map(|&count| slots(count));
        let timeouts = next.timeouts.iter().map(|&count| slots(count));
        // Durations that were counted by other bounds cannot be counted on.
        let known: &[_] = if layout.bounds == next.bounds { &self.calls } else { &[] };
        let calls = taken_over(&layout.calls, known, &next.calls, || CallBlock::new(&next.bounds));
        if next.exemplars {
            calls.iter().for_each(|block| block.keep_exemplars());
        }
        Arc::new(Self {
            worker: Arc::clone(&self.worker),
            clusters: taken_over(&layout.clusters, &self.clusters, &next.clusters, ClusterBlock::default),
            calls,
            // These hold present states, which the owners of the endpoints will publish anew.
            endpoints: endpoints.collect(),
            timeouts: timeouts.collect(),
        })
    }

    /// Where calls are counted that found no route or were refused before one.
    pub fn unrouted(&self) -> &CallBlock {
        self.calls.last().expect("`new` refuses a layout without calls")
    }
}

fn slots<S: Default>(count: usize) -> Arc<[S]> {
    (0..count).map(|_| S::default()).collect()
}

/// The blocks for `next`: those of `labels` where they are the same, each at most once, and new ones.
fn taken_over<L: Eq + Hash, B>(
    labels: &[L],
    blocks: &[Arc<B>],
    next: &[L],
    new: impl Fn() -> B,
) -> Box<[Arc<B>]> {
    let mut known: HashMap<&L, Vec<&Arc<B>>> = HashMap::new();
    for (label, block) in labels.iter().zip(blocks).rev() {
        known.entry(label).or_default().push(block);
    }
    let take = |label| match known.get_mut(label).and_then(Vec::pop) {
        Some(block) => Arc::clone(block),
        None => Arc::new(new()),
    };
    next.iter().map(take).collect()
}

/// How the calls of one route to one cluster ended.
#[derive(Debug)]
#[repr(align(128))]
pub struct CallBlock {
    /// Ended calls by the caller's protocol and gRPC status code.
    pub by_code: [[Counter; GRPC_STATUS_NAMES.len()]; PROTOCOLS.len()],
    /// How long calls of one message each way took, from the head's arrival to the last byte of the response.
    pub unary: Histogram,
    /// How long all others took, streams.
    pub streams: Histogram,
    /// The traces of calls that fell into each bucket, by [`Bounds::micros`] and the rest. There is room from the first
    /// layout on that has exemplars.
    exemplars: OnceLock<Box<[ExemplarSlot]>>,
    bounds: Arc<Bounds>,
}

/// The end of a call.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The caller's protocol: its place in [`PROTOCOLS`].
    pub protocol: u8,
    /// Its gRPC status code. One above 16 counts as 2, UNKNOWN, as gRPC reads it.
    pub code: u8,
    /// More than a message went one way.
    pub is_stream: bool,
    /// How long it took.
    pub took: Duration,
}

impl CallBlock {
    /// A block of zeros.
    pub fn new(bounds: &Arc<Bounds>) -> CallBlock {
        CallBlock {
            by_code: Default::default(),
            unary: Histogram::new(Arc::clone(bounds)),
            streams: Histogram::new(Arc::clone(bounds)),
            exemplars: OnceLock::new(),
            bounds: Arc::clone(bounds),
        }
    }

    /// Counts one call that is over.
    #[inline]
    pub fn ended(&self, Ending { protocol, code, is_stream, took }: Ending) {
        let by_code = &self.by_code[usize::from(protocol).min(PROTOCOLS.len() - 1)];
        by_code.get(usize::from(code)).unwrap_or(&by_code[UNKNOWN]).add(1);
        if is_stream { &self.streams } else { &self.unary }.record(took);
    }

    /// Makes room for exemplars, where there is none.
    fn keep_exemplars(&self) {
        let room = || (0..=self.bounds.micros().len()).map(|_| ExemplarSlot::default()).collect();
        self.exemplars.get_or_init(room);
    }

    /// The exemplar of each bucket; empty where none are kept.
    pub fn exemplars(&self) -> &[ExemplarSlot] {
        self.exemplars.get().map_or(&[], |slots| slots)
    }

    /// Lets a unary call that is traced stand for its bucket. Only the owning core may call this.
    pub fn set_exemplar(&self, trace_id: u128, took: Duration, unix_us: u64) {
        let micros = u64::try_from(took.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        if let Some(slot) = self.exemplars().get(self.bounds.place_of(micros)) {
            slot.set(Exemplar { trace_id, micros, unix_us });
        }
    }

    /// Ended calls by gRPC status code, over all protocols.
    pub fn codes(&self) -> [u64; GRPC_STATUS_NAMES.len()] {
        std::array::from_fn(|code| self.by_code.iter().map(|by_code| by_code[code].get()).sum())
    }
}

/// The gRPC status code UNKNOWN.
const UNKNOWN: usize = 2;

block! {
    /// A core's counts of itself and its clients. On the page with `worker="N"`.
    WorkerBlock {
        connections_accepted: Counter "ringway_connections_accepted_total"
            "Client connections that this worker has begun to serve.",
        connections_active: Gauge "ringway_connections_active"
            "Client connections open now.",
        connections_local: Counter "ringway_connections_local_total"
            "Client connections whose packets arrived at the CPU of the worker that serves them.",
        connections_refused: Counter "ringway_connections_refused_total"
            "Client connections closed at once because the limit of connections was reached.",
        connections_handed: Counter "ringway_connections_handed_total"
            "Client connections accepted here and handed to a worker that had fewer.",
        handshake_timeouts: Counter "ringway_handshake_timeouts_total"
            "Client connections closed because they did not begin to speak HTTP in time.",
        idle_timeouts: Counter "ringway_idle_timeouts_total"
            "Client connections closed because they carried no call for too long.",
        connections_aged: Counter "ringway_connections_aged_total"
            "Client connections asked to end because they reached max_connection_age.",
        client_keepalive_timeouts: Counter "ringway_client_keepalive_timeouts_total"
            "Client connections closed because the client did not answer a ping in time.",
        write_timeouts: Counter "ringway_write_timeouts_total"
            "Client connections closed because the client did not take its bytes in time.",
        streams_malformed: Counter "ringway_streams_malformed_total"
            "Streams reset because the client sent a malformed request on them; its other streams went on.",
        streams_refused: Counter "ringway_streams_refused_total"
            "Streams refused because the client had max_concurrent_streams open.",
        streams_stalled: Counter "ringway_streams_stalled_total"
            "Streams reset because the client took less than min_rate of their bytes for write_timeout.",
        priority_frames: Counter "ringway_priority_frames_total"
            "PRIORITY frames of clients; they change nothing.",
        late_frames: Counter "ringway_late_frames_total"
            "Frames of clients for streams that they could not know to be over.",
        calls_started: Counter "ringway_calls_started_total"
            "Calls whose head arrived.",
        calls_active: Gauge "ringway_calls_active"
            "Calls that have begun and are not over.",
        buffered_bytes: Gauge "ringway_buffered_bytes"
            "Bytes of unfinished JSON requests that are held now.",
        rate_limited: Counter "ringway_rate_limited_total"
            "Calls refused by the rate limit of their route.",
        mirrored: Counter "ringway_mirrored_total"
            "Calls that were copied to a mirror.",
        mirrors_failed: Counter "ringway_mirrors_failed_total"
            "Copies to mirrors that got no answer.",
        mirrors_dropped: Counter "ringway_mirrors_dropped_total"
            "Copies of streams that were given up because their mirror was too slow.",
        rbac_denied: Counter "ringway_rbac_denied_total"
            "Calls refused by the rules of their route.",
        rbac_shadow_denied: Counter "ringway_rbac_shadow_denied_total"
            "Calls that the shadow rules of their route would have refused.",
        overload_active_calls: Counter "ringway_overload_active_calls_refused_total"
            "Calls refused because the worker had max_active_calls.",
        overload_buffered: Counter "ringway_overload_buffered_bytes_refused_total"
            "Calls refused because the worker held max_buffered_bytes.",
        overload_loop_delay: Counter "ringway_overload_loop_delay_refused_total"
            "Calls refused because the worker was late by more than max_loop_delay for long.",
        calls_cut: Counter "ringway_calls_cut_total"
            "Calls cut because they were not over when the time to drain was.",
        client_resets: Counter "ringway_client_resets_total"
            "Calls the client gave up, by a reset or by closing its connection.",
        options_answered: Counter "ringway_options_answered_total"
            "OPTIONS requests that the gateway answered itself, preflights of CORS among them; they count as no calls.",
        turns: Counter "ringway_turns_total"
            "Turns of the event loop; each enters the kernel once.",
        sends: Counter "ringway_sends_total"
            "Send operations finished, to clients and to services.",
        receives: Counter "ringway_receives_total"
            "Receive operations finished, from clients and from services.",
        bytes_received: Counter "ringway_received_bytes_total"
            "Bytes received, from clients and from services.",
        bytes_sent: Counter "ringway_sent_bytes_total"
            "Bytes sent, to clients and to services.",
        access_log_dropped: Counter "ringway_access_log_dropped_total"
            "Calls left out of the access log because its writer was behind.",
        access_log_suppressed: Counter "ringway_access_log_suppressed_total"
            "Calls left out of the access log on standard error because there were more than stderr_lines_per_second.",
        tap_dropped: Counter "ringway_tap_dropped_total"
            "Calls left out of what an operator watches live because the reader was behind.",
        spans_dropped: Counter "ringway_spans_dropped_total"
            "Spans left out of traces because their exporter was behind.",
        accept_errors: Counter "ringway_accept_errors_total"
            "Accepts that failed, for example because no file descriptor was left.",
        allocations: Counter "ringway_allocations_total"
            "Heap allocations of the worker's thread.",
    }
    by label {
        panics: "ringway_panics_total" "task" labels::TASKS, Each,
            "Panics caught, by what they ended; each one is a bug.",
        protocol_errors: "ringway_protocol_errors_total" "error" labels::PROTOCOL_ERRORS, Each,
            "Client connections closed because the client broke the rules of HTTP/2 or HTTP/1.1, by how.",
        floods: "ringway_floods_total" "flood" labels::FLOODS, Each,
            "Client connections closed because the client did something more often than is allowed, by what.",
        jwt_failures: "ringway_jwt_failures_total" "problem" labels::JWT_PROBLEMS, Each,
            "Calls refused because their token was not good, by why.",
        ext_authz: "ringway_ext_authz_total" "result" labels::EXT_AUTHZ, Each,
            "Questions to authorization services, by what came of them.",
        connections_denied: "ringway_connections_denied_total" "reason" labels::DENIALS, Sum,
            "Client connections closed at once for their address, by why.",
        tls_handshakes: "ringway_tls_handshakes_total" "handshake" labels::TLS_HANDSHAKES, Sum,
            "Handshakes of clients that are done, by version and whether an earlier session went on.",
        tls_errors: "ringway_tls_errors_total" "reason" labels::TLS_ERRORS, Sum,
            "Client connections that ended over TLS, or for want of it, by why.",
        failures: "ringway_failures_total" "failure" Failure::NAMES, Sum,
            "Calls that the gateway and not the service ended, by why.",
    }
}

block! {
    /// A core's counts of one cluster. On the page with `cluster="…"`, summed over cores.
    ClusterBlock {
        connections_opened: Counter "ringway_upstream_connections_opened_total"
            "Connections to the cluster's endpoints that were established.",
        connections_active: Gauge "ringway_upstream_connections_active"
            "Connections to the cluster's endpoints open now.",
        connect_failures: Counter "ringway_upstream_connect_failures_total"
            "Attempts to connect that failed, and connections that a service ended at once, before any call.",
        connect_timeouts: Counter "ringway_upstream_connect_timeouts_total"
            "Attempts to connect that took longer than connect_timeout.",
        calls: Counter "ringway_upstream_calls_total"
            "Attempts sent to an endpoint; a call replayed counts each time.",
        calls_active: Gauge "ringway_upstream_calls_active"
            "Attempts sent and not over.",
        replays: Counter "ringway_upstream_replays_total"
            "Calls sent once more because the first attempt provably reached no application.",
        retries: Counter "ringway_upstream_retries_total"
            "Calls sent once more by the retry policy.",
        hedges: Counter "ringway_upstream_hedges_total"
            "Attempts beyond the first of a call that the hedging policy sent.",
        retry_budget_exhausted: Counter "ringway_upstream_retry_budget_exhausted_total"
            "Calls not sent again because the retry budget or its throttle was used up.",
        breaker_refused: Counter "ringway_upstream_breaker_refused_total"
            "Attempts refused by a breaker.",
        connections_refused: Counter "ringway_upstream_connections_refused_total"
            "Connects not begun because max_connections were open.",
        pending_active: Gauge "ringway_upstream_pending_active"
            "Calls waiting now for a connection with room.",
        pending_overflow: Counter "ringway_upstream_pending_overflow_total"
            "Calls refused because max_pending_requests were already waiting.",
        pending_failed: Counter "ringway_upstream_pending_failed_total"
            "Calls that waited for a connection, and none came about.",
        limit_refused: Counter "ringway_upstream_limit_refused_total"
            "Calls refused because max_requests were already in flight.",
        goaways: Counter "ringway_upstream_goaways_total"
            "GOAWAY frames received from endpoints.",
        too_many_pings: Counter "ringway_upstream_too_many_pings_total"
            "GOAWAY frames of endpoints that find keepalive pings too frequent; they are pinged half as often from then on.",
        protocol_errors: Counter "ringway_upstream_protocol_errors_total"
            "Connections ended because the endpoint broke the rules of HTTP/2.",
        streams_malformed: Counter "ringway_upstream_streams_malformed_total"
            "Streams reset because the endpoint sent a malformed answer on them; others went on.",
        late_frames: Counter "ringway_upstream_late_frames_total"
            "Frames of endpoints for streams that are over; they are ignored.",
        held_resets: Counter "ringway_upstream_held_resets_total"
            "Resets of calls that were held back for a moment, because some services end a connection over early ones.",
        keepalive_timeouts: Counter "ringway_upstream_keepalive_timeouts_total"
            "Connections given up because a keepalive ping got no answer in time.",
        resets: Counter "ringway_upstream_resets_total"
            "Attempts that an endpoint reset.",
        tls_failures: Counter "ringway_upstream_tls_failures_total"
            "Attempts to connect that failed in the TLS handshake; the log says why.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_begin_on_their_own_pair_of_cache_lines() {
        let shard = Shard::new(&Layout::new(vec!["a".into(), "b".into()], vec![]));
        assert_eq!((shard.clusters.len(), shard.calls.len()), (2, 1));
        assert_eq!((&raw const *shard.worker).addr() % 128, 0);
        assert_eq!((&raw const *shard.clusters[1]).addr() % 128, 0);
        assert_eq!((&raw const *shard.calls[0]).addr() % 128, 0);
        assert_eq!(size_of::<ClusterBlock>() % 128, 0);
    }

    #[test]
    fn counting_goes_on_where_labels_stay() {
        let layout = Layout::new(vec!["a".into(), "b".into(), "a".into()], vec![]);
        let shard = Shard::new(&layout);
        for (block, n) in shard.clusters.iter().zip(1..) {
            block.calls.add(n);
        }
        shard.worker.sends.add(7);
        let next = Layout::new(vec!["c".into(), "a".into(), "a".into(), "a".into()], vec![]);
        let after = shard.next(&layout, &next);
        let counts: Vec<u64> = after.clusters.iter().map(|block| block.calls.get()).collect();
        assert_eq!(counts, [0, 1, 3, 0]);
        assert_eq!(after.worker.sends.get(), 7);
        assert!(Arc::ptr_eq(&shard.calls[0], &after.calls[0]), "calls without a route are in every layout");
    }

    fn ending(code: u8, is_stream: bool) -> Ending {
        Ending { protocol: 1, code, is_stream, took: Duration::from_micros(5) }
    }

    #[test]
    fn a_call_counts_once_under_its_code() {
        let shard = Shard::new(&Layout::new(vec![], vec![]));
        for (code, counted) in [(0, 0), (2, 2), (16, 16), (17, 2), (255, 2)] {
            let before = shard.unrouted().by_code[1][counted].get();
            shard.unrouted().ended(ending(code, false));
            assert_eq!(shard.unrouted().by_code[1][counted].get(), before + 1, "code {code}");
        }
        assert_eq!(shard.unrouted().codes().iter().sum::<u64>(), 5);
        shard.unrouted().ended(ending(0, true));
        let [unary, streams] = [&shard.unrouted().unary, &shard.unrouted().streams];
        assert_eq!([unary, streams].map(|histogram| histogram.snapshot().count()), [5, 1]);
    }

    #[test]
    fn an_exemplar_stands_for_its_bucket() {
        let bounds = Bounds::new(&[1, 2].map(Duration::from_millis)).unwrap();
        let block = CallBlock::new(&bounds);
        block.keep_exemplars();
        for (trace_id, micros) in [(7, 1000), (8, 1001), (9, 2001), (10, 5000)] {
            block.set_exemplar(trace_id, Duration::from_micros(micros), 3);
        }
        let kept: Vec<_> = block.exemplars().iter().map(|slot| slot.get().unwrap().trace_id).collect();
        assert_eq!(kept, [7, 8, 10]);
        CallBlock::new(&bounds).set_exemplar(1, Duration::ZERO, 1);
    }

    #[test]
    fn exemplars_that_come_later_cost_no_count() {
        let layout = Layout::new(vec![], vec![]);
        let shard = Shard::new(&layout);
        shard.unrouted().ended(ending(0, false));
        let next = layout.clone().with_exemplars(true);
        let with = shard.next(&layout, &next);
        assert_eq!(with.unrouted().codes().iter().sum::<u64>(), 1);
        assert!(!with.unrouted().exemplars().is_empty());
        let without = with.next(&next, &layout);
        assert_eq!(without.unrouted().codes().iter().sum::<u64>(), 1);
    }

    #[test]
    fn other_bounds_begin_anew() {
        let layout = Layout::new(vec![], vec![]);
        let shard = Shard::new(&layout);
        shard.unrouted().ended(ending(0, false));
        let bounds = Bounds::new(&[Duration::from_millis(5)]).unwrap();
        let other = shard.next(&layout, &layout.clone().with_bounds(bounds));
        assert_eq!(other.unrouted().codes()[0], 0);
        assert_eq!(shard.next(&layout, &layout).unrouted().codes()[0], 1);
    }
}
