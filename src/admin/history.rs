//! Samples of the last seconds, each the difference of two looks at all counters.
//!
//! Samples are taken while an operator looks, or calls run. The first one after a pause is of all of the pause, so none is
//! missing. The workers know nothing of it. A look reads every histogram, so where there are very many it is taken less often
//! than once a second: looking never takes more than a twentieth of the time.
#![allow(clippy::disallowed_types, reason = "shared by the admin's own threads; no worker knows of it")]

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use parking_lot::{Mutex, MutexGuard};

use super::process;
use super::value::Value;
use super::view::{GatewayView, Source};
use crate::metrics::{BLAMED, CallBlock, CallLabels, GRPC_STATUS_NAMES, RingCounts, Snapshot};

/// How long samples go on after an operator has looked.
const LINGER: Duration = Duration::from_secs(60);

/// Samples that are kept: five minutes of them.
const KEPT: usize = 300;

/// Codes a call can end with.
const CODES: usize = GRPC_STATUS_NAMES.len();

/// The samples of the last minutes.
#[derive(Debug, Default)]
pub(super) struct History {
    kept: Mutex<Kept>,
    /// Told when samples are to be taken again.
    awake: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    samples: VecDeque<Sample>,
    /// The last sample by entries of the layout.
    calls: Vec<CallRates>,
    /// The number of the next sample.
    next: u64,
    /// The last look.
    before: Option<(Look, Instant)>,
    looked_at: Option<Instant>,
    /// Nobody looks and no call runs, so none is taken.
    is_asleep: bool,
}

/// All counters at one moment.
#[derive(Debug)]
pub(super) struct Look {
    view: Arc<GatewayView>,
    workers: Vec<WorkerLook>,
    clusters: Vec<ClusterLook>,
    calls: Vec<CallLook>,
    by_code: [u64; CODES],
    process_cpu: Duration,
}

/// The counts of an entry of the layout.
#[derive(Debug, Default)]
struct CallLook {
    by_code: [u64; CODES],
    /// Kept of the first entries only: a configuration may have thousands.
    durations: Option<Box<Snapshot>>,
}

/// Entries of the layout whose durations are kept.
const TIMED: usize = 256;

/// The calls of an entry of the layout in the last sample.
#[derive(Clone, Debug)]
pub(super) struct CallRates {
    pub(super) labels: CallLabels,
    pub(super) calls_per_s: f64,
    pub(super) errors_per_s: f64,
    /// Those for which the service or the gateway is to blame.
    pub(super) failures_per_s: f64,
    pub(super) latency: Latency,
}

#[derive(Debug, Default)]
struct WorkerLook {
    calls: u64,
    turns: u64,
    sqes: Option<u64>,
    bytes_received: u64,
    bytes_sent: u64,
    times: Option<process::ThreadTimes>,
    durations: Snapshot,
}

#[derive(Debug, Default)]
struct ClusterLook {
    by_code: [u64; CODES],
    durations: Snapshot,
}

/// The changes between two looks.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Counted from 0.
    pub(super) number: u64,
    /// When it ended.
    pub(super) unix_ms: u64,
    pub(super) seconds: f64,
    pub(super) workers: Vec<WorkerRates>,
    pub(super) clusters: Vec<ClusterRates>,
    /// Of all calls.
    pub(super) latency: Latency,
    /// Calls that ended, per second, by code.
    pub(super) by_code: [f64; CODES],
    pub(super) resident_bytes: u64,
    /// Cores' worth of CPU time of the whole process.
    pub(super) cores_busy: f64,
}

#[derive(Clone, Debug)]
pub(super) struct WorkerRates {
    pub(super) calls_per_s: f64,
    /// Share of the time that its thread ran; none where Linux does not tell.
    pub(super) busy: Option<f64>,
    /// Of that, the share in the gateway's own code, and in the kernel: sends, receives and enters.
    own: Option<f64>,
    kernel: Option<f64>,
    /// Share of the time that it could have run and had no core.
    waiting: Option<f64>,
    /// Turns of the loop for each call, each an enter into the kernel; none without calls.
    pub(super) enters_per_call: Option<f64>,
    pub(super) sqes_per_call: Option<f64>,
    pub(super) received_bytes_per_s: f64,
    pub(super) sent_bytes_per_s: f64,
    pub(super) latency: Latency,
    pub(super) connections: u64,
    pub(super) calls_active: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ClusterRates {
    pub(super) calls_per_s: f64,
    pub(super) errors_per_s: f64,
    /// Those for which the service or the gateway is to blame.
    pub(super) failures_per_s: f64,
    pub(super) latency: Latency,
    pub(super) connections: u64,
    pub(super) calls_active: u64,
    pub(super) pending: u64,
}

/// Percentiles of calls that ended, in microseconds; none without calls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Latency([Option<u64>; 3]);

impl Latency {
    fn of(durations: &Snapshot) -> Latency {
        Latency([0.5, 0.99, 0.999].map(|q| {
            let micros = durations.quantile(q)?.as_micros();
            u64::try_from(micros).ok()
        }))
    }

    pub(super) fn entries(self) -> [(&'static str, Value); 3] {
        let [p50, p99, p999] = self.0;
        [("p50_us", p50.into()), ("p99_us", p99.into()), ("p999_us", p999.into())]
    }
}

impl Look {
    pub(super) fn at(view: Arc<GatewayView>, rings: &[RingCounts]) -> Look {
        let mut clusters: Vec<ClusterLook> =
            view.layout.clusters.iter().map(|_| ClusterLook::default()).collect();
        let by_name: HashMap<&str, usize> =
            (0..).zip(&view.layout.clusters).map(|(at, name)| (name.as_str(), at)).collect();
        // Where the calls of each entry of the layout belong; those without a route belong to no cluster.
        let place = |call: &CallLabels| by_name.get(call.cluster.as_str()).copied();
        let places: Vec<Option<usize>> = view.layout.calls.iter().map(place).collect();
        let mut by_code = [0; CODES];
        let timed = |at: usize| (at < TIMED).then(Box::default);
        let look = |at| CallLook { durations: timed(at), ..CallLook::default() };
        let mut calls: Vec<CallLook> = (0..places.len()).map(look).collect();
        let mut workers = Vec::new();
        for (number, shard) in view.shards.iter().enumerate() {
            let mut worker = WorkerLook {
                calls: shard.worker.calls_started.get(),
                turns: shard.worker.turns.get(),
                sqes: rings.iter().find(|ring| ring.worker == number).map(|ring| ring.sqes),
                bytes_received: shard.worker.bytes_received.get(),
                bytes_sent: shard.worker.bytes_sent.get(),
                times: view.workers.get(number).and_then(|place| process::thread_times(place.thread?)),
                durations: Snapshot::default(),
            };
            for ((block, place), call) in shard.calls.iter().zip(&places).zip(&mut calls) {
                add_codes(&mut call.by_code, block);
                call.durations.iter_mut().for_each(|durations| durations.add(&block.unary));
                worker.durations.add(&block.unary);
                worker.durations.add(&block.streams);
                add_codes(&mut by_code, block);
                if let Some(cluster) = place.and_then(|place| clusters.get_mut(place)) {
                    cluster.durations.add(&block.unary);
                    add_codes(&mut cluster.by_code, block);
                }
            }
            workers.push(worker);
        }
        Look { view, workers, clusters, calls, by_code, process_cpu: process::cpu().unwrap_or_default() }
    }

    /// The rates of each entry of the layout since `before`; none where another configuration runs since then.
    fn calls_since(&self, before: &Look, took: Duration) -> Vec<CallRates> {
        if !Arc::ptr_eq(&self.view, &before.view) {
            return Vec::new();
        }
        let seconds = took.as_secs_f64().max(1e-3);
        let entries = self.view.layout.calls.iter().zip(self.calls.iter().zip(&before.calls));
        let rates = entries.map(|(labels, (now, then))| {
            let ended = rates(&now.by_code, &then.by_code, seconds);
            let durations = now.durations.as_ref().zip(then.durations.as_ref());
            CallRates {
                labels: labels.clone(),
                calls_per_s: ended.iter().sum(),
                errors_per_s: ended[1..].iter().sum(),
                failures_per_s: BLAMED.iter().map(|&code| ended[code]).sum(),
                latency: durations.map(|(now, then)| Latency::of(&now.since(then))).unwrap_or_default(),
            }
        });
        rates.collect()
    }

    fn calls(&self) -> u64 {
        self.workers.iter().map(|worker| worker.calls).sum()
    }

    /// The changes since `before`; `None` where another configuration runs since then.
    pub(super) fn since(&self, before: &Look, took: Duration, unix_ms: u64) -> Option<Sample> {
        if !Arc::ptr_eq(&self.view, &before.view) {
            return None;
        }
        let seconds = took.as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let workers =
            self.workers.iter().zip(&before.workers).zip(&self.view.shards).map(|((now, then), shard)| {
                let calls = now.calls.saturating_sub(then.calls);
                let share = |now: Duration, then| now.saturating_sub(then).as_secs_f64() / seconds;
                let busy = now.times.zip(then.times).map(|(now, then)| {
                    let waiting = now.waited.zip(then.waited).map(|(now, then)| share(now, then));
                    (share(now.ran, then.ran), now.own_share_since(&then), waiting)
                });
                let per_call = |count: u64| (calls > 0).then(|| count as f64 / calls as f64);
                WorkerRates {
                    calls_per_s: rate(now.calls, then.calls),
                    busy: busy.map(|(busy, ..)| busy),
                    own: busy.and_then(|(busy, own, _)| Some(busy * own?)),
                    kernel: busy.and_then(|(busy, own, _)| Some(busy * (1.0 - own?))),
                    waiting: busy.and_then(|(.., waiting)| waiting),
                    enters_per_call: per_call(now.turns.saturating_sub(then.turns)),
                    sqes_per_call: now
                        .sqes
                        .zip(then.sqes)
                        .and_then(|(now, then)| per_call(now.saturating_sub(then))),
                    received_bytes_per_s: rate(now.bytes_received, then.bytes_received),
                    sent_bytes_per_s: rate(now.bytes_sent, then.bytes_sent),
                    latency: Latency::of(&now.durations.since(&then.durations)),
                    connections: shard.worker.connections_active.get(),
                    calls_active: shard.worker.calls_active.get(),
                }
            });
        let clusters = self.clusters.iter().zip(&before.clusters).enumerate().map(|(at, (now, then))| {
            let ended = rates(&now.by_code, &then.by_code, seconds);
            let sum = |read: fn(&crate::metrics::ClusterBlock) -> u64| {
                self.view
                    .shards
                    .iter()
                    .filter_map(|shard| shard.clusters.get(at))
                    .map(|block| read(block))
                    .sum()
            };
            ClusterRates {
                calls_per_s: ended.iter().sum(),
                errors_per_s: ended[1..].iter().sum(),
                failures_per_s: BLAMED.iter().map(|&code| ended[code]).sum(),
                latency: Latency::of(&now.durations.since(&then.durations)),
                connections: sum(|block| block.connections_active.get()),
                calls_active: sum(|block| block.calls_active.get()),
                pending: sum(|block| block.pending_active.get()),
            }
        });
        let mut durations = Snapshot::default();
        for (now, then) in self.workers.iter().zip(&before.workers) {
            durations.merge(&now.durations.since(&then.durations));
        }
        Some(Sample {
            latency: Latency::of(&durations),
            number: 0,
            unix_ms,
            seconds,
            workers: workers.collect(),
            clusters: clusters.collect(),
            by_code: rates(&self.by_code, &before.by_code, seconds),
            resident_bytes: process::resident_bytes().unwrap_or(0),
            cores_busy: self.process_cpu.saturating_sub(before.process_cpu).as_secs_f64() / seconds,
        })
    }
}

fn add_codes(total: &mut [u64; CODES], block: &CallBlock) {
    for (total, count) in total.iter_mut().zip(block.codes()) {
        *total += count;
    }
}

fn rates(now: &[u64; CODES], then: &[u64; CODES], seconds: f64) -> [f64; CODES] {
    std::array::from_fn(|code| now[code].saturating_sub(then[code]) as f64 / seconds)
}

impl History {
    /// Takes a sample. False if no more are needed for now: then it sleeps until somebody looks or calls run.
    pub(super) fn sample(&self, source: &dyn Source) -> bool {
        let mut kept = self.kept();
        let ran = kept.sample(source);
        let is_looked_at = kept.looked_at.is_some_and(|at| at.elapsed() < LINGER);
        kept.is_asleep = !ran && !is_looked_at;
        !kept.is_asleep
    }

    /// An operator looks: the last sample is of now, and others follow for a while.
    pub(super) fn look_at(&self, source: &dyn Source) {
        let mut kept = self.kept();
        kept.looked_at = Some(Instant::now());
        if mem::take(&mut kept.is_asleep) {
            kept.sample(source);
            self.awake.notify_one();
        }
    }

    /// Calls run, so samples are taken.
    pub(super) fn calls_run(&self) {
        if mem::take(&mut self.kept().is_asleep) {
            self.awake.notify_one();
        }
    }

    /// Waits until samples are to be taken again.
    pub(super) async fn awakes(&self) {
        self.awake.notified().await;
    }

    /// The last sample.
    pub(super) fn latest(&self) -> Option<Sample> {
        self.kept().samples.back().cloned()
    }

    /// The rates of each entry of the layout in the last sample.
    pub(super) fn latest_calls(&self) -> Vec<CallRates> {
        self.kept().calls.clone()
    }

    /// The samples from number `first` on, and the number of the next.
    pub(super) fn from(&self, first: u64) -> (Vec<Sample>, u64) {
        let kept = self.kept();
        (kept.samples.iter().filter(|sample| sample.number >= first).cloned().collect(), kept.next)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }

    #[cfg(test)]
    pub(super) fn push(&self, sample: Sample) {
        self.kept().push(sample);
    }
}

impl Kept {
    /// Adds what happened since the last look. Whether calls ran.
    fn sample(&mut self, source: &dyn Source) -> bool {
        let begun = Instant::now();
        let look = Look::at(source.view(), &source.rings());
        let mut ran = look.view.shards.iter().any(|shard| shard.worker.calls_active.get() > 0);
        if let Some((before, at)) = &self.before {
            ran |= look.calls() != before.calls();
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
            let took = begun.duration_since(*at);
            self.calls = look.calls_since(before, took);
            if let Some(sample) = look.since(before, took, unix_ms) {
                self.push(sample);
            }
        }
        self.before = Some((look, begun));
        ran
    }

    fn push(&mut self, mut sample: Sample) {
        sample.number = self.next;
        self.next += 1;
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

impl Sample {
    pub(super) fn value(&self, view: &GatewayView) -> Value {
        let workers = self.workers.iter().enumerate().map(|(number, rates)| {
            let mut entries = vec![("worker", number.into())];
            entries.extend(rates.entries());
            Value::Record(entries)
        });
        let clusters = self.clusters.iter().zip(&view.layout.clusters).map(|(rates, name)| {
            let mut entries = vec![("cluster", name.as_str().into())];
            entries.extend(rates.entries());
            Value::Record(entries)
        });
        let by_code = GRPC_STATUS_NAMES.iter().zip(self.by_code).filter(|(_, rate)| *rate > 0.0);
        let mut entries = vec![
            ("number", self.number.into()),
            ("unix_ms", self.unix_ms.into()),
            ("seconds", self.seconds.into()),
            ("workers", workers.collect()),
            ("clusters", clusters.collect()),
            (
                "by_code",
                Value::Names(by_code.map(|(name, rate)| ((*name).to_owned(), rate.into())).collect()),
            ),
            ("resident_bytes", self.resident_bytes.into()),
            ("cores_busy", self.cores_busy.into()),
        ];
        entries.extend(self.latency.entries());
        Value::Record(entries)
    }
}

impl WorkerRates {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("connections", self.connections.into()),
            ("calls_active", self.calls_active.into()),
            ("calls_per_s", self.calls_per_s.into()),
            ("busy", self.busy.into()),
            ("own_code", self.own.into()),
            ("kernel", self.kernel.into()),
            ("waiting", self.waiting.into()),
            ("enters_per_call", self.enters_per_call.into()),
            ("sqes_per_call", self.sqes_per_call.into()),
            ("received_bytes_per_s", self.received_bytes_per_s.into()),
            ("sent_bytes_per_s", self.sent_bytes_per_s.into()),
        ];
        entries.extend(self.latency.entries());
        entries
    }
}

impl ClusterRates {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("calls_per_s", self.calls_per_s.into()),
            ("errors_per_s", self.errors_per_s.into()),
            ("failures_per_s", self.failures_per_s.into()),
            ("connections", self.connections.into()),
            ("calls_active", self.calls_active.into()),
            ("pending", self.pending.into()),
        ];
        entries.extend(self.latency.entries());
        entries
    }
}
