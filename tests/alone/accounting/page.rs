//! The gateway's page as numbers, and what must hold of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringway::admin::GatewayView;
use ringway::metrics::{
    ClusterBlock, DEFAULT_BOUNDS_MICROS, EndpointSlot, GRPC_STATUS_NAMES, Kind, PROTOCOLS, PerWorker, Shard,
    WorkerBlock, call_totals,
};
use ringway::supervisor::Gateway;
use ringway::tools::scrape::{Page, Sample};

use super::callers::Ends;

/// Labels of a series.
pub type Labels = Vec<(&'static str, String)>;

/// The series with this label.
pub fn series(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Numbers(Page);

impl Numbers {
    pub fn read(gateway: &Gateway) -> Numbers {
        Numbers(Page::parse(&gateway.metrics()).expect("the gateway's own page"))
    }

    /// All series of a family.
    pub fn sum(&self, family: &str) -> u64 {
        self.of(family, &Labels::new())
    }

    /// Those with these labels.
    pub fn of(&self, family: &str, labels: &Labels) -> u64 {
        let has = |sample: &Sample| labels.iter().all(|(name, value)| sample.label(name) == value);
        self.0.sum_where(family, has).unwrap_or_else(|| panic!("no {family} {labels:?}")) as u64
    }
}

impl Numbers {
    /// Ended calls, by the name of their route and their status as a number.
    pub fn calls_by_route_and_status(&self) -> Ends {
        let mut ends = Ends::new();
        for sample in self.0.named("ringway_calls_total").filter(|sample| sample.value > 0.0) {
            let status = GRPC_STATUS_NAMES.iter().position(|name| *name == sample.label("grpc_status"));
            let status = status.expect("it is one of them").to_string();
            *ends.entry((sample.label("route").to_owned(), status)).or_default() += sample.value as u64;
        }
        ends
    }

    /// Whether it says the same of calls as another one.
    pub fn same_calls(&self, other: &Numbers) -> bool {
        let told = |numbers: &Numbers| {
            let about = |sample: &Sample| {
                ["ringway_calls", "ringway_upstream", "ringway_endpoint"]
                    .iter()
                    .any(|name| sample.name.starts_with(name))
            };
            numbers.0.samples.iter().filter(|sample| about(sample)).cloned().collect::<Vec<_>>()
        };
        told(self) == told(other)
    }

    /// I4: a histogram has all calls of its route, and its buckets never fall.
    pub fn histograms_fit(&self) {
        const FAMILY: &str = "ringway_call_duration_seconds";
        let unary = |sample: &&Sample| sample.label("grpc_type") == "unary";
        for count in self.0.named("ringway_call_duration_seconds_count").filter(unary) {
            let same = |sample: &&Sample| {
                sample.label("route") == count.label("route")
                    && sample.label("cluster") == count.label("cluster")
            };
            let calls: f64 =
                self.0.named("ringway_calls_total").filter(same).map(|sample| sample.value).sum();
            let counts = self.0.named("ringway_call_duration_seconds_count").filter(same);
            assert_eq!(calls, counts.map(|sample| sample.value).sum::<f64>(), "{count:?}");
            let bucket = format!("{FAMILY}_bucket");
            let buckets = self.0.named(&bucket).filter(same).filter(unary).map(|sample| sample.value);
            let buckets: Vec<f64> = buckets.collect();
            let bounds = DEFAULT_BOUNDS_MICROS.len();
            assert!(buckets.is_sorted() && buckets.len() > bounds, "{count:?}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&count.value), "{count:?}");
        }
    }
}

/// I6: looks at the page ten times a second, and sees that no counter falls and no gauge is negative.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Watch {
    pub fn begin(gateway: &Gateway) -> Watch {
        let (stop, admin) = (Arc::new(AtomicBool::new(false)), gateway.admin());
        let stopped = Arc::clone(&stop);
        let body = move || {
            let mut before = BTreeMap::new();
            let mut looks = 0;
            while !stopped.load(Ordering::Relaxed) {
                let page = ringway::tools::scrape::fetch(admin).expect("the admin address answers");
                for sample in page.samples {
                    let grows =
                        ["_total", "_bucket", "_count", "_sum"].iter().any(|end| sample.name.ends_with(end));
                    let known = (sample.name.clone(), sample.labels);
                    assert!(sample.value >= 0.0, "{known:?} {}", sample.value);
                    let last = before.insert(known.clone(), sample.value).unwrap_or(0.0);
                    assert!(
                        !grows || last <= sample.value,
                        "{known:?} falls from {last} to {}",
                        sample.value
                    );
                }
                looks += 1;
                std::thread::park_timeout(Duration::from_millis(100));
            }
            looks
        };
        Watch { stop, thread: std::thread::spawn(body) }
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let looks = self.thread.join().expect("no counter falls");
        assert!(looks > 5, "looked {looks} times");
    }
}

/// Families that no core counts: what they say is of the gateway as a whole, or of what its cores share.
const OF_THE_WHOLE: [&str; 23] = [
    "ringway_access_log_lines_total",
    "ringway_access_log_failed_total",
    "ringway_build_info",
    "ringway_io_backend",
    "ringway_ready",
    "ringway_workers",
    "ringway_config_reloads_total",
    "ringway_config_good",
    "ringway_config_keys_waiting",
    "ringway_config_files_missing",
    "ringway_transcoding_methods",
    "ringway_transcoding_rules",
    "ringway_transcoding_loads_total",
    "ringway_transcoding_reflections_total",
    "ringway_transcoding_descriptors_good",
    "ringway_transcoding_refused",
    "ringway_adaptive_timeout_seconds",
    "ringway_breaker_state",
    "ringway_breaker_opens_total",
    "ringway_breaker_reopens_total",
    "ringway_breaker_closes_total",
    "ringway_outlier_ejected",
    "ringway_outlier_ejections_total",
];

/// I3: every series of the page is the sum of what the shards hold.
pub fn shards_add_up(gateway: &Gateway) {
    let view = gateway.view();
    let (low, page, high) = (sums(&view), Numbers::read(gateway), sums(&view));
    let mut seen = 0;
    for sample in &page.0.samples {
        let known = (sample.name.clone(), sample.labels.clone());
        let whole = OF_THE_WHOLE.contains(&sample.name.as_str())
            || sample.labels.get("worker").is_some_and(|worker| worker == "control")
            || ["ringway_ring_", "ringway_dns_"].iter().any(|begin| sample.name.starts_with(begin));
        let Some((kind, low)) = low.get(&known) else {
            assert!(whole, "{known:?} is not in the shards");
            continue;
        };
        assert!(!whole, "{known:?} is in the shards");
        // A worker's loop turns even when there is nothing to do, so its own counters go on.
        let high = high[&known].1;
        let exact = *kind == Kind::Gauge || *low == high;
        // Sums of seconds have six digits.
        let [value, low, high] = [sample.value, *low, high].map(|n| (n * 1e6).round());
        let fits = if exact { value == low } else { (low..=high).contains(&value) };
        assert!(fits, "{known:?}: {} on the page, {low} to {high} millionths in the shards", sample.value);
        seen += 1;
    }
    let absent: Vec<_> = low
        .iter()
        .filter(|(_, (_, sum))| *sum > 0.0)
        .filter(|(known, _)| {
            !page.0.samples.iter().any(|sample| (&sample.name, &sample.labels) == (&known.0, &known.1))
        })
        .collect();
    assert!(absent.is_empty(), "in the shards and not on the page: {absent:?}");
    assert!(seen > 300, "{seen} series");
}

type Sums = BTreeMap<(String, BTreeMap<String, String>), (Kind, f64)>;

/// The expected values of all series, worked out from the shards alone.
fn sums(view: &GatewayView) -> Sums {
    let mut sums = Sums::new();
    let mut add = |name: &str, kind: Kind, labels: &[(&str, &str)], n: f64| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        sums.entry((name.to_owned(), labels)).or_insert((kind, 0.0)).1 += n;
    };
    for (worker, shard) in view.shards.iter().enumerate() {
        for row in WorkerBlock::TABLE {
            let worker = worker.to_string();
            add(row.name, row.kind, &[("worker", &worker)], (row.read)(&shard.worker) as f64);
        }
        for row in WorkerBlock::BY_LABEL {
            let worker = worker.to_string();
            for (value, count) in row.values.iter().zip((row.read)(&shard.worker)) {
                let labels = [(row.label, *value), ("worker", worker.as_str())];
                let labels = if row.spread == PerWorker::Each { &labels[..] } else { &labels[..1] };
                add(row.name, Kind::Counter, labels, count.get() as f64);
            }
        }
        for (name, block) in view.layout.clusters.iter().zip(&shard.clusters) {
            for row in ClusterBlock::TABLE {
                add(row.name, row.kind, &[("cluster", name)], (row.read)(block) as f64);
            }
        }
        for (name, slots) in view.layout.clusters.iter().zip(&shard.endpoints) {
            for view in slots.iter().filter_map(EndpointSlot::read) {
                let endpoint = view.address.to_string();
                let labels = [("cluster", name.as_str()), ("endpoint", endpoint.as_str())];
                let mut one = |name: &str, kind, n: u64| {
                    add(&format!("ringway_endpoint_{name}"), kind, &labels, n as f64)
                };
                one("connections_active", Kind::Gauge, view.connections);
                one("calls_active", Kind::Gauge, view.calls_active);
                one("calls_total", Kind::Counter, view.calls);
                one("connect_failures_total", Kind::Counter, view.connect_failures);
            }
        }
        calls(view, shard, &mut add);
    }
    sums
}

fn calls(view: &GatewayView, shard: &Arc<Shard>, add: &mut impl FnMut(&str, Kind, &[(&str, &str)], f64)) {
    const FAMILY: &str = "ringway_call_duration_seconds";
    for (at, (labels, block)) in view.layout.calls.iter().zip(&shard.calls).enumerate() {
        let labels = [("route", labels.route.as_str()), ("cluster", labels.cluster.as_str())];
        for (protocol, by_code) in PROTOCOLS.iter().zip(&block.by_code) {
            for (code, counter) in by_code.iter().enumerate() {
                let status = GRPC_STATUS_NAMES[code];
                let labels = [labels[0], labels[1], ("protocol", *protocol), ("grpc_status", status)];
                add("ringway_calls_total", Kind::Counter, &labels, counter.get() as f64);
            }
        }
        // The durations of a single shard; their sum over shards is under test.
        let own = call_totals(std::slice::from_ref(shard), &[at]);
        for (kind, durations) in [("unary", &own.unary), ("stream", &own.streams)] {
            let labels = [labels[0], labels[1], ("grpc_type", kind)];
            let bounds = DEFAULT_BOUNDS_MICROS.iter().map(|bound| format!("{:?}", *bound as f64 / 1e6));
            let at_most = durations.at_most(&view.layout.bounds);
            for (le, count) in bounds.chain(["+Inf".to_owned()]).zip(&at_most) {
                let labels = [labels[0], labels[1], labels[2], ("le", le.as_str())];
                add(&format!("{FAMILY}_bucket"), Kind::Counter, &labels, *count as f64);
            }
            let sum = durations.sum_micros() as f64 / 1e6;
            add(&format!("{FAMILY}_sum"), Kind::Counter, &labels, sum);
            add(&format!("{FAMILY}_count"), Kind::Counter, &labels, durations.count() as f64);
        }
    }
}
