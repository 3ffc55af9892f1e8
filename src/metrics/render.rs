//! The page that Prometheus scrapes: text format 0.0.4, or OpenMetrics.
//!
//! The tables in [`shard`](super::shard) say which families it has; the code here only writes them. Figures of
//! the process itself (`process_…`) need the system and are added by `admin::process`.

mod calls;
mod guards;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::EndpointAddress;
use crate::policy::shared_cluster::SharedClusterState;

use self::calls::grouped;
pub use self::tls::{CertificateRow, CertificatesInfo};
use super::page::{Escaped, Format, Page, Seconds};
use super::{
    ClusterBlock, EndpointSlot, EndpointView, Kind, Layout, PerWorker, Shard, TimeoutSlot, WorkerBlock,
    cluster_total,
};

/// Values of the page that concern the gateway as a whole.
#[derive(Clone, Copy, Debug)]
pub struct GatewayInfo<'a> {
    /// The gateway's version.
    pub version: &'a str,
    /// The I/O back-end all workers use: `io_uring` or `epoll`.
    pub backend: &'a str,
    /// Why it is not the one preferred, if it is not.
    pub backend_reason: Option<&'a str>,
    /// Whether new calls are welcome; false while draining.
    pub ready: bool,
    /// How many workers there are.
    pub workers: usize,
    /// Counts of the access log's writer, if there is one.
    pub access_log: Option<AccessLogCounts>,
    /// Counts of the exporter of traces, if there is one.
    pub traces: Option<TraceCounts>,
    /// The API that is served as JSON, if that is configured.
    pub transcoding: Option<TranscodingInfo>,
    /// Counts of changed configurations.
    pub reloads: ReloadCounts,
    /// Counts of host name lookups.
    pub names: NameCounts,
    /// Panics on threads that are no worker's.
    pub control_panics: u64,
    /// The state of each cluster that the workers share.
    pub shares: &'a [Arc<SharedClusterState>],
    /// The certificates of TLS, if there is any.
    pub certificates: Option<CertificatesInfo<'a>>,
}

/// Counts of the access log's writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLogCounts {
    /// Lines that were written.
    pub written: u64,
    /// Lines that are lost because writing failed.
    pub failed: u64,
}

/// Counts of the exporter of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Spans that the collector took.
    pub exported: u64,
    /// Spans that are lost because it did not.
    pub failed: u64,
}

/// Counts of the configurations that were read while the gateway ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReloadCounts {
    /// Configurations that are, or were, in use.
    pub taken: u64,
    /// Configurations that were wrong.
    pub refused: u64,
    /// Whether the last configuration was wrong.
    pub refused_last: bool,
    /// Keys whose values in the file wait for a restart.
    pub keys_waiting: usize,
    /// Files of the configuration that are missing.
    pub files_missing: usize,
}

/// Counts of host name lookups.
#[derive(Clone, Copy, Debug, Default)]
pub struct NameCounts {
    /// How often a name was asked for.
    pub lookups: u64,
    /// How often that failed.
    pub failures: u64,
    /// How often a cluster got other endpoints by it.
    pub changes: u64,
}

/// The API that is served as JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct TranscodingInfo {
    /// Methods of the API in use.
    pub methods: u64,
    /// Its rules.
    pub rules: u64,
    /// How often descriptors were read and taken, the first time included.
    pub loads: u64,
    /// How often they were read and not taken.
    pub failures: u64,
    /// How often an upstream answered when it was asked for its descriptors.
    pub answers: u64,
    /// How often it did not.
    pub unanswered: u64,
    /// Whether the last ones that were read are in use.
    pub is_good: bool,
    /// Rules, methods and files that are left out of the API in use.
    pub refused: u64,
}

/// Counts of one worker's ring, from memory shared with the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingCounts {
    /// The worker's number.
    pub worker: usize,
    /// Submission queue entries the kernel has taken.
    pub sqes: u64,
    /// Completion queue entries taken from the kernel.
    pub cqes: u64,
}

/// Writes the page. The position of a shard in `shards` is its worker's number.
///
/// Entries of the layout with equal labels are one series, their sum: a page with a series twice
/// would be refused as a whole.
pub fn page(
    gateway: &GatewayInfo<'_>,
    layout: &Layout,
    shards: &[Arc<Shard>],
    rings: &[RingCounts],
    format: Format,
) -> Page {
    let mut page = Page::new(format);
    info(&mut page, gateway);
    workers(&mut page, shards, gateway.control_panics);
    if gateway.backend == IO_URING {
        ring_enters(&mut page, shards);
    }
    if !rings.is_empty() {
        ring_entries(&mut page, rings);
    }
    names(&mut page, &gateway.names);
    if let Some(info) = &gateway.certificates {
        tls::write(&mut page, info);
    }
    clusters(&mut page, layout, shards);
    endpoints(&mut page, layout, shards);
    timeouts(&mut page, layout, shards);
    guards::write(&mut page, gateway.shares);
    calls::write(&mut page, layout, shards);
    page
}

/// The page in text format 0.0.4; see [`page`].
pub fn text(
    gateway: &GatewayInfo<'_>,
    layout: &Layout,
    shards: &[Arc<Shard>],
    rings: &[RingCounts],
) -> String {
    page(gateway, layout, shards, rings, Format::Text).finish()
}

fn names(page: &mut Page, counts: &NameCounts) {
    for (name, help, count) in [
        ("ringway_dns_lookups_total", "Lookups of host names of endpoints.", counts.lookups),
        (
            "ringway_dns_failures_total",
            "Lookups of host names that failed; the last good answer holds.",
            counts.failures,
        ),
        (
            "ringway_dns_changes_total",
            "Times that a cluster got other endpoints by a lookup of a host name.",
            counts.changes,
        ),
    ] {
        page.family(name, "counter", help);
        page.sample(name, &"", count);
    }
}

/// The name of the back-end that has rings.
const IO_URING: &str = "io_uring";

fn info(page: &mut Page, gateway: &GatewayInfo<'_>) {
    page.family("ringway_build_info", "gauge", "Always 1; the label says which version runs.");
    page.sample("ringway_build_info", &format_args!("version=\"{}\"", Escaped(gateway.version)), 1);

    page.family(
        "ringway_io_backend",
        "gauge",
        "Always 1; the label says which I/O back-end all workers use.",
    );
    let backend = Escaped(gateway.backend);
    match gateway.backend_reason {
        None => page.sample("ringway_io_backend", &format_args!("backend=\"{backend}\""), 1),
        Some(reason) => {
            let reason = Escaped(reason);
            page.sample("ringway_io_backend", &format_args!("backend=\"{backend}\",reason=\"{reason}\""), 1);
        }
    }
    page.family("ringway_ready", "gauge", "1 while new calls are welcome, 0 while draining.");
    page.sample("ringway_ready", &"", u64::from(gateway.ready));
    page.family("ringway_workers", "gauge", "Workers, one per core used.");
    page.sample("ringway_workers", &"", gateway.workers as u64);
    if let Some(counts) = gateway.access_log {
        page.family("ringway_access_log_lines_total", "counter", "Lines of the access log written.");
        page.sample("ringway_access_log_lines_total", &"", counts.written);
        page.family(
            "ringway_access_log_failed_total",
            "counter",
            "Lines of the access log lost because writing failed.",
        );
        page.sample("ringway_access_log_failed_total", &"", counts.failed);
    }
    if let Some(counts) = gateway.traces {
        page.family("ringway_spans_exported_total", "counter", "Spans that the collector took.");
        page.sample("ringway_spans_exported_total", &"", counts.exported);
        let failed = "Spans lost because the collector was not there or refused the export.";
        page.family("ringway_spans_failed_total", "counter", failed);
        page.sample("ringway_spans_failed_total", &"", counts.failed);
    }
    let reloads = "Configurations read while the gateway ran; one in error changed nothing.";
    let good = "1 if the configuration that was read last is in use, 0 if it was refused.";
    page.family("ringway_config_reloads_total", "counter", reloads);
    page.sample("ringway_config_reloads_total", &"result=\"ok\"", gateway.reloads.taken);
    page.sample("ringway_config_reloads_total", &"result=\"error\"", gateway.reloads.refused);
    page.family("ringway_config_good", "gauge", good);
    page.sample("ringway_config_good", &"", u64::from(!gateway.reloads.refused_last));
    let waiting = "Keys whose values in the file wait for a restart; /config/waiting names them.";
    page.family("ringway_config_keys_waiting", "gauge", waiting);
    page.sample("ringway_config_keys_waiting", &"", gateway.reloads.keys_waiting as u64);
    let missing = "Files of the configuration that are missing; what was read before stays in use.";
    page.family("ringway_config_files_missing", "gauge", missing);
    page.sample("ringway_config_files_missing", &"", gateway.reloads.files_missing as u64);
    if let Some(info) = &gateway.transcoding {
        transcoding(page, info);
    }
}

fn transcoding(page: &mut Page, info: &TranscodingInfo) {
    let methods = "Methods that are served as JSON.";
    let rules = "Rules that map HTTP requests to methods.";
    let loads = "Loads of the descriptors for JSON; one that failed left the API as it was.";
    let asked = "Questions for an upstream's descriptors; one that failed left those known before.";
    let good = "1 if the descriptors that were read last are in use, 0 if they were refused.";
    page.family("ringway_transcoding_methods", "gauge", methods);
    page.sample("ringway_transcoding_methods", &"", info.methods);
    page.family("ringway_transcoding_rules", "gauge", rules);
    page.sample("ringway_transcoding_rules", &"", info.rules);
    page.family("ringway_transcoding_loads_total", "counter", loads);
    page.sample("ringway_transcoding_loads_total", &"result=\"ok\"", info.loads);
    page.sample("ringway_transcoding_loads_total", &"result=\"error\"", info.failures);
    page.family("ringway_transcoding_reflections_total", "counter", asked);
    page.sample("ringway_transcoding_reflections_total", &"result=\"ok\"", info.answers);
    page.sample("ringway_transcoding_reflections_total", &"result=\"error\"", info.unanswered);
    let refused =
        "Rules, methods and files that are left out of the API in use; log and `ringway check` name them.";
    page.family("ringway_transcoding_refused", "gauge", refused);
    page.sample("ringway_transcoding_refused", &"", info.refused);
    page.family("ringway_transcoding_descriptors_good", "gauge", good);
    page.sample("ringway_transcoding_descriptors_good", &"", u64::from(info.is_good));
}

fn workers(page: &mut Page, shards: &[Arc<Shard>], control_panics: u64) {
    for row in WorkerBlock::TABLE {
        page.family(row.name, row.kind.word(), row.help);
        for (worker, shard) in shards.iter().enumerate() {
            page.sample(row.name, &format_args!("worker=\"{worker}\""), (row.read)(&shard.worker));
        }
    }
    for row in WorkerBlock::BY_LABEL {
        page.family(row.name, "counter", row.help);
        match row.spread {
            PerWorker::Each => shards.iter().enumerate().for_each(|(worker, shard)| {
                for (value, count) in row.values.iter().zip((row.read)(&shard.worker)) {
                    let labels = format_args!("worker=\"{worker}\",{}=\"{value}\"", row.label);
                    page.sample(row.name, &labels, count.get());
                }
            }),
            PerWorker::Sum => {
                for (at, value) in row.values.iter().enumerate() {
                    let sum = shards.iter().map(|shard| (row.read)(&shard.worker)[at].get()).sum::<u64>();
                    page.sample(row.name, &format_args!("{}=\"{value}\"", row.label), sum);
                }
            }
        }
        if row.name == "ringway_panics_total" {
            page.sample(row.name, &"worker=\"control\",task=\"control\"", control_panics);
        }
    }
}

fn ring_enters(page: &mut Page, shards: &[Arc<Shard>]) {
    page.family("ringway_ring_enters_total", "counter", "Calls of io_uring_enter, one per turn of the loop.");
    for (worker, shard) in shards.iter().enumerate() {
        page.sample(
            "ringway_ring_enters_total",
            &format_args!("worker=\"{worker}\""),
            shard.worker.turns.get(),
        );
    }
}

fn ring_entries(page: &mut Page, rings: &[RingCounts]) {
    let rings: BTreeMap<_, _> = rings.iter().map(|ring| (ring.worker, ring)).collect();
    page.family("ringway_ring_sqes_total", "counter", "Submission queue entries the kernel has taken.");
    for (worker, ring) in &rings {
        page.sample("ringway_ring_sqes_total", &format_args!("worker=\"{worker}\""), ring.sqes);
    }
    page.family("ringway_ring_cqes_total", "counter", "Completion queue entries taken from the kernel.");
    for (worker, ring) in &rings {
        page.sample("ringway_ring_cqes_total", &format_args!("worker=\"{worker}\""), ring.cqes);
    }
}

fn clusters(page: &mut Page, layout: &Layout, shards: &[Arc<Shard>]) {
    let groups = grouped(layout.clusters.iter().map(|name| format!("cluster=\"{}\"", Escaped(name))));
    for row in ClusterBlock::TABLE {
        page.family(row.name, row.kind.word(), row.help);
        for group in &groups {
            page.sample(row.name, &group.labels, cluster_total(shards, &group.members, row.read));
        }
    }
}

/// A family of the page with a row for each endpoint, summed over cores.
type EndpointRow = (&'static str, Kind, &'static str, fn(&EndpointView) -> u64);

#[rustfmt::skip]
const ENDPOINT_ROWS: [EndpointRow; 4] = [
    ("ringway_endpoint_connections_active", Kind::Gauge,
        "Connections to the endpoint open now.", |view| view.connections),
    ("ringway_endpoint_calls_active", Kind::Gauge,
        "Attempts sent to the endpoint and not over.", |view| view.calls_active),
    ("ringway_endpoint_calls_total", Kind::Counter,
        "Attempts sent to the endpoint; published every 100 ms.", |view| view.calls),
    ("ringway_endpoint_connect_failures_total", Kind::Counter,
        "Attempts to connect to the endpoint that failed.", |view| view.connect_failures),
];

fn endpoints(page: &mut Page, layout: &Layout, shards: &[Arc<Shard>]) {
    let mut totals: BTreeMap<(&str, EndpointAddress), [u64; ENDPOINT_ROWS.len()]> = BTreeMap::new();
    for shard in shards {
        for (cluster, slots) in layout.clusters.iter().zip(&shard.endpoints) {
            for view in slots.iter().filter_map(EndpointSlot::read) {
                let total = totals.entry((cluster, view.address)).or_default();
                for (sum, row) in total.iter_mut().zip(&ENDPOINT_ROWS) {
                    *sum += (row.3)(&view);
                }
            }
        }
    }
    if totals.is_empty() {
        return;
    }
    for (at, (name, kind, help, _)) in ENDPOINT_ROWS.iter().enumerate() {
        page.family(name, kind.word(), help);
        for ((cluster, address), total) in &totals {
            let labels = format_args!("cluster=\"{}\",endpoint=\"{address}\"", Escaped(cluster));
            page.sample(name, &labels, total[at]);
        }
    }
}

/// The timeouts that follow latencies. Each core has its own; the longest is shown.
fn timeouts(page: &mut Page, layout: &Layout, shards: &[Arc<Shard>]) {
    let mut longest: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for shard in shards {
        for (cluster, slots) in layout.clusters.iter().zip(&shard.timeouts) {
            for (method, micros) in slots.iter().filter_map(TimeoutSlot::read) {
                let known = longest.entry((cluster, method)).or_default();
                *known = micros.max(*known);
            }
        }
    }
    if longest.is_empty() {
        return;
    }
    let name = "ringway_adaptive_timeout_seconds";
    page.family(
        name,
        "gauge",
        "The timeout that follows the latency of the method, the longest of all workers.",
    );
    for ((cluster, method), micros) in longest {
        let labels = format_args!("cluster=\"{}\",method=\"{}\"", Escaped(cluster), Escaped(method));
        page.sample(name, &labels, Seconds(micros));
    }
}

#[cfg(test)]
mod tests;
