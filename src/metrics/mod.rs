//! Everything the gateway counts, and the page that shows it.
//!
//! A core writes only its own [`Shard`]; the admin thread reads all of them, adds them up
//! ([`merge`]) and writes the page ([`render`]). Nothing here does I/O, reads a clock or locks.
//! Read [`shard`] next: it is the list of what is counted.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::config::Codes;

/// Defines a block of counters and gauges and, from the same lines, the table that the page is
/// written from. A field that is not on the page cannot be written down.
macro_rules! block {
    (
        $(#[$note:meta])* $block:ident { $($field:ident: $kind:ident $name:literal $help:literal,)+ }
        $(by label { $($many:ident: $many_name:literal $label:literal $values:path, $spread:ident, $many_help:literal,)+ })?
    ) => {
        $(#[$note])*
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct $block {
            $(#[doc = $help] pub $field: crate::metrics::$kind,)+
            $($(#[doc = $many_help] pub $many: crate::metrics::ByLabel<{ $values.len() }>,)+)?
        }

        impl $block {
            /// Each field as the page shows it, in the order they are declared.
            pub const TABLE: &'static [crate::metrics::Row<Self>] = &[$(crate::metrics::Row {
                field: stringify!($field),
                name: $name,
                kind: crate::metrics::Kind::$kind,
                help: $help,
                read: |block| block.$field.get(),
            },)+];

            /// Each field that is split by a label, in the order they are declared.
            pub const BY_LABEL: &'static [crate::metrics::LabelledRow<Self>] = &[
                $($(crate::metrics::LabelledRow {
                    name: $many_name,
                    label: $label,
                    values: &$values,
                    spread: crate::metrics::PerWorker::$spread,
                    help: $many_help,
                    read: |block| block.$many.all(),
                },)+)?
            ];
        }
    };
}

mod address;
mod bounds;
mod buckets;
mod endpoint;
mod exemplar;
mod histogram;
pub mod labels;
pub mod line;
mod merge;
mod page;
pub mod record;
pub mod render;
mod shard;
pub mod tap;
pub mod texts;
mod timeouts;

pub use self::labels::{Denial, PROTOCOLS, ProtocolError, TlsError};
pub use bounds::{BOUNDS_MAX, BadBounds, Bounds, DEFAULT_BOUNDS_MICROS};
pub use endpoint::{ConnectError, EndpointSlot, EndpointState, EndpointView};
pub use exemplar::{Exemplar, ExemplarSlot};
pub use histogram::{Histogram, RELATIVE_ERROR, Snapshot};
pub use merge::{CallTotals, call_totals, cluster_total};
pub use page::{Format, Page};
pub use render::{AccessLogCounts, GatewayInfo, RingCounts, TraceCounts};
pub use shard::{CallBlock, ClusterBlock, Ending, Shard, WorkerBlock};
pub use timeouts::{METHODS_SHOWN_MAX, TimeoutSlot};

/// A number that only grows. One core adds, others only read; so a load and a store are enough,
/// and no bus lock is paid. Two writers would lose counts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`. Only the owning core may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The value now, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many of something there are now. One writer, as [`Counter`]; it never goes below zero.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds 1. Only the owning core may call this.
    #[inline]
    pub fn raise(&self) {
        self.set(self.get().saturating_add(1));
    }

    /// Subtracts 1; at zero it stays at zero. Only the owning core may call this.
    #[inline]
    pub fn lower(&self) {
        self.set(self.get().saturating_sub(1));
    }

    /// Exactly `n`. Only the owning core may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value now, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters of one family, by the values of a label.
#[derive(Debug)]
pub struct ByLabel<const N: usize>([Counter; N]);

impl<const N: usize> Default for ByLabel<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::new()))
    }
}

impl<const N: usize> ByLabel<N> {
    /// Adds one to the counter of the label's n-th value. Only the owning core may call this.
    #[inline]
    pub fn add(&self, value: usize) {
        // There is no other value; but a count in the wrong place is better than none.
        self.0[value.min(N - 1)].add(1);
    }

    /// All of them, by the order of the label's values.
    pub fn all(&self) -> &[Counter] {
        &self.0
    }

    /// The sum of all, from any thread.
    pub fn get(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// The type of a family, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// The word in a `# TYPE` line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A field of a block, as the page shows it.
#[derive(Debug)]
pub struct Row<B: 'static> {
    /// The field's name in the source, for the tests that look for who writes it.
    pub field: &'static str,
    /// The family's full name.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// A sentence for the operator.
    pub help: &'static str,
    /// Reads the field.
    pub read: fn(&B) -> u64,
}

/// A field of a block that is split by a label: always a counter.
#[derive(Debug)]
pub struct LabelledRow<B: 'static> {
    /// The family's full name.
    pub name: &'static str,
    /// The label.
    pub label: &'static str,
    /// All values it may have.
    pub values: &'static [&'static str],
    /// Whether the page shows each worker.
    pub spread: PerWorker,
    /// A sentence for the operator.
    pub help: &'static str,
    /// Reads the field, by the order of the values.
    pub read: fn(&B) -> &[Counter],
}

/// How the counts of several workers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerWorker {
    /// A series for each worker.
    Each,
    /// Their sum.
    Sum,
}

/// The labels a call is counted under. All are empty for calls that found no route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallLabels {
    /// The route's name.
    pub route: String,
    /// The cluster the call was for.
    pub cluster: String,
    /// The path of the method, if the configuration has a table for it. A path that a client makes up is no label.
    pub method: String,
}

/// Which clusters and calls a shard has room for; the same for every shard of one config.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The clusters' names; `Shard::clusters` has the same order.
    pub clusters: Vec<String>,
    /// The labels of calls; `Shard::calls` has the same order. The last ones are empty, for calls that found no route
    /// or were refused before.
    pub calls: Vec<CallLabels>,
    /// Endpoints of each cluster that there is room for; `Shard::endpoints` has the same order.
    pub endpoints: Vec<usize>,
    /// Methods of each cluster whose timeouts there is room for; `Shard::timeouts` has the same order.
    pub timeouts: Vec<usize>,
    /// The bounds of durations on the page.
    pub bounds: Arc<Bounds>,
    /// Whether there is room for the traces of calls that fell into each bucket.
    pub exemplars: bool,
}

impl Layout {
    /// A layout for these clusters and these pairs of route and cluster. Adds the last, empty
    /// entry for calls without a route: do not pass one.
    pub fn new(clusters: Vec<String>, mut calls: Vec<CallLabels>) -> Self {
        calls.push(CallLabels::default());
        let (endpoints, timeouts) = (vec![0; clusters.len()], vec![0; clusters.len()]);
        Self { clusters, calls, endpoints, timeouts, bounds: bounds::default(), exemplars: false }
    }

    /// This layout, with room for the timeouts of so many methods of each cluster.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: impl IntoIterator<Item = usize>) -> Self {
        for (room, wanted) in self.timeouts.iter_mut().zip(timeouts) {
            *room = wanted;
        }
        self
    }

    /// This layout, with these bounds of durations.
    #[must_use]
    pub fn with_bounds(self, bounds: Arc<Bounds>) -> Self {
        Self { bounds, ..self }
    }

    /// This layout, with room for exemplars.
    #[must_use]
    pub fn with_exemplars(self, exemplars: bool) -> Self {
        Self { exemplars, ..self }
    }

    /// This layout, with room for so many endpoints of each cluster.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: impl IntoIterator<Item = usize>) -> Self {
        for (room, wanted) in self.endpoints.iter_mut().zip(endpoints) {
            *room = wanted;
        }
        self
    }
}

/// The names of the gRPC status codes 0 to 16, as the label `grpc_status` shows them.
pub const GRPC_STATUS_NAMES: [&str; 17] = Codes::NAMES;

/// Codes for which the service or the gateway is to blame, and not the caller: UNKNOWN, DEADLINE_EXCEEDED,
/// RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
pub const BLAMED: [usize; 6] = [2, 4, 8, 13, 14, 15];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_stops_at_zero() {
        let gauge = Gauge::default();
        gauge.lower();
        assert_eq!(gauge.get(), 0);
        gauge.raise();
        gauge.raise();
        gauge.lower();
        assert_eq!(gauge.get(), 1);
        gauge.set(7);
        assert_eq!(gauge.get(), 7);
    }

    #[test]
    fn a_layout_ends_with_the_calls_that_found_no_route() {
        let call = CallLabels { route: "a".into(), cluster: "b".into(), ..CallLabels::default() };
        let layout = Layout::new(vec!["b".into()], vec![call.clone()]);
        assert_eq!(layout.calls, [call, CallLabels::default()]);
    }

    #[test]
    fn every_table_follows_the_naming_rules() {
        let workers = WorkerBlock::TABLE.iter().map(|row| (row.name, row.kind, row.help));
        let clusters = ClusterBlock::TABLE.iter().map(|row| (row.name, row.kind, row.help));
        let many = WorkerBlock::BY_LABEL.iter().map(|row| (row.name, Kind::Counter, row.help));
        let mut seen = std::collections::HashSet::new();
        for (name, kind, help) in workers.chain(clusters).chain(many) {
            assert!(name.starts_with("ringway_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
            assert!(seen.insert(name), "{name} twice");
        }
        for row in ClusterBlock::TABLE {
            assert!(row.name.starts_with("ringway_upstream_"), "{}", row.name);
        }
    }

    #[test]
    fn every_row_reads_its_own_field() {
        let block = ClusterBlock::default();
        block.calls.add(3);
        block.calls_active.raise();
        let read = |field: &str| {
            let row = ClusterBlock::TABLE.iter().find(|row| row.field == field).unwrap();
            (row.read)(&block)
        };
        assert_eq!((read("calls"), read("calls_active"), read("replays")), (3, 1, 0));
    }
}
