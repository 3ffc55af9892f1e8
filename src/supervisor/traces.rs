//! The thread that exports spans: it takes what the workers have put into their rings and sends it to a collector, by OTLP
//! over gRPC.
//!
//! If the collector is slow or gone, the exporter waits and the workers do not. Their rings fill, and spans that do not
//! fit are left out and counted.
//!
//! A reload may name another collector. Exporter and rings stay; spans that lie there by then go to the collector of before.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstDecoder;

use super::background::join_within;
use super::batch::Batch;
use super::channel;
use super::series::Series;
use super::spans;
use crate::config;
use crate::metrics::TraceCounts;
use crate::metrics::record::Ring;

/// The method that collectors implement, by OTLP's specification.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How often the rings are emptied.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The time that the rings stay empty before the exporter sleeps until one is not.
const AWAKE: Duration = Duration::from_secs(1);

/// The longest sleep. A span that has not woken the exporter is taken then; see `Ring::put`.
const SLEEP: Duration = Duration::from_secs(2);

/// Tries of one export.
const TRIES: u32 = 3;

/// The time for the last spans when the gateway ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// The interval of the log's warnings about lost spans.
const COMPLAINT: Duration = Duration::from_secs(60);

/// The exporter's thread. Dropping it sends what is left.
pub(super) struct Traces {
    rings: Vec<Arc<Ring>>,
    notifier: Arc<Notifier>,
    shared: Arc<ExportCounters>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the exporter.
#[derive(Debug, Default)]
struct Notifier(Notify);

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Counts of the exporter, for the metrics page.
#[derive(Debug, Default)]
pub(super) struct ExportCounters {
    exported: AtomicU64,
    failed: AtomicU64,
    /// Taken by the exporter once it has emptied the rings.
    next: Mutex<Option<Change>>,
}

/// Another collector, or other settings.
#[derive(Debug)]
pub(super) struct Change {
    settings: config::Tracing,
    endpoint: Endpoint,
    /// Rings to be read from now on, too.
    rings: Vec<Arc<Ring>>,
}

impl ExportCounters {
    pub(super) fn counts(&self) -> TraceCounts {
        let [exported, failed] = [&self.exported, &self.failed].map(|count| count.load(Ordering::Relaxed));
        TraceCounts { exported, failed }
    }
}

impl Traces {
    /// An exporter for so many workers. The collector need not be there.
    pub(super) fn start(
        settings: &config::Tracing,
        workers: usize,
        series: &Arc<Series>,
    ) -> io::Result<Traces> {
        let notifier = Arc::new(Notifier::default());
        let rings = rings(settings, workers, &notifier);
        let shared = Arc::new(ExportCounters::default());
        let endpoint = endpoint(settings)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (settings, counts, series) = (settings.clone(), Arc::clone(&shared), Arc::clone(series));
        let (read, woken) = (rings.iter().cloned().enumerate().collect(), Arc::clone(&notifier));
        let body = move || {
            runtime.block_on(async {
                let client = Grpc::new(connection(&settings, &endpoint));
                let (batch, complained) = (Batch::new(&settings.service_name), None);
                let exporter = Exporter {
                    settings,
                    rings: read,
                    current: workers,
                    notifier: woken,
                    shared: counts,
                    series,
                    client,
                    batch,
                    complained,
                };
                exporter.run(stopped).await;
            });
        };
        let thread = thread::Builder::new().name("traces".to_owned()).spawn(body)?;
        Ok(Traces { rings, notifier, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Makes ready for other settings; fails where the collector's address cannot be used.
    pub(super) fn prepare(&self, settings: &config::Tracing) -> io::Result<Change> {
        let room = self.rings.first().map_or(0, |ring| ring.room());
        let is_same = room == settings.queue_spans as usize;
        let rings = if is_same { Vec::new() } else { rings(settings, self.rings.len(), &self.notifier) };
        Ok(Change { settings: settings.clone(), endpoint: endpoint(settings)?, rings })
    }

    /// Lets the exporter take other settings, once it has sent what lies in the rings.
    pub(super) fn change(&mut self, mut change: Change) {
        let mut next = self.shared.next.lock();
        if !change.rings.is_empty() {
            self.rings.clone_from(&change.rings);
        }
        // Workers may have the rings of a change that the exporter has not come to.
        let missed = next.take().map(|missed| missed.rings).unwrap_or_default();
        change.rings.splice(0..0, missed);
        *next = Some(change);
        drop(next);
        self.notifier.0.notify_one();
    }

    /// The ring of a worker.
    pub(super) fn ring(&self, worker: usize) -> Arc<Ring> {
        Arc::clone(&self.rings[worker])
    }

    pub(super) fn shared(&self) -> Arc<ExportCounters> {
        Arc::clone(&self.shared)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        drop(self.stop.take());
        // An exporter that waits for a silent collector is left behind.
        join_within(self.thread.take(), FAREWELL);
    }
}

fn rings(settings: &config::Tracing, workers: usize, notifier: &Arc<Notifier>) -> Vec<Arc<Ring>> {
    let room = settings.queue_spans as usize;
    (0..workers).map(|_| Arc::new(Ring::new(room, Waker::from(Arc::clone(notifier))))).collect()
}

fn endpoint(settings: &config::Tracing) -> io::Result<Endpoint> {
    // The library refuses another scheme, for it does not know who speaks TLS here.
    let address = format!("http://{}", authority(settings));
    let endpoint = Endpoint::from_shared(address).map_err(io::Error::other)?;
    let origin = settings.endpoint.parse().map_err(io::Error::other)?;
    Ok(endpoint.origin(origin).connect_timeout(settings.timeout).timeout(settings.timeout))
}

/// Host and port of the collector.
fn authority(settings: &config::Tracing) -> &str {
    settings.endpoint.split_once("://").map_or(&settings.endpoint, |(_, authority)| authority)
}

/// The connection to the collector, which is opened when it is used.
fn connection(settings: &config::Tracing, endpoint: &Endpoint) -> Channel {
    match &settings.tls {
        None => endpoint.connect_lazy(),
        Some(tls) => channel::lazy_to(endpoint, authority(settings), tls),
    }
}

struct Exporter {
    settings: config::Tracing,
    /// The rings of the workers, each with the number of its worker. Those of before come first, until nobody has them.
    rings: Vec<(usize, Arc<Ring>)>,
    /// How many of them are in use: one for each worker.
    current: usize,
    notifier: Arc<Notifier>,
    shared: Arc<ExportCounters>,
    series: Arc<Series>,
    client: Grpc<Channel>,
    /// Spans that are sent next.
    batch: Batch,
    complained: Option<Instant>,
}

impl Exporter {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let (mut sent_at, mut found_at) = (Instant::now(), Instant::now());
        loop {
            let ends = self.rest(&mut stopped, found_at).await;
            let next = self.shared.next.lock().take();
            let is_due = ends || next.is_some() || sent_at.elapsed() >= self.settings.interval;
            while self.fill() || (is_due && self.batch.len() > 0) {
                sent_at = Instant::now();
                self.send(&mut stopped, next.is_some()).await;
            }
            if let Some(next) = next {
                self.take(next);
            }
            if self.batch.len() > 0 || sent_at > found_at {
                found_at = Instant::now();
            }
            if ends {
                return;
            }
        }
    }

    /// Waits for the next look at the rings. True if the gateway ends.
    async fn rest(&self, stopped: &mut oneshot::Receiver<()>, found_at: Instant) -> bool {
        if found_at.elapsed() < AWAKE || !self.rings.iter().all(|(_, ring)| ring.sleep()) {
            return is_told_to_end(stopped, CHECK_INTERVAL).await;
        }
        tokio::select! {
            ends = is_told_to_end(stopped, SLEEP) => ends,
            () = self.notifier.0.notified() => false,
        }
    }

    /// Takes spans from the rings, up to a batch. True if that is full.
    fn fill(&mut self) -> bool {
        let room = self.settings.batch_spans as usize;
        let mut of_before = self.rings.len().saturating_sub(self.current);
        let (batch, series) = (&mut self.batch, &self.series);
        self.rings.retain(|(worker, ring)| {
            // A ring of before that only the exporter has gets nothing more.
            let is_left = of_before > 0 && Arc::strong_count(ring) == 1;
            of_before = of_before.saturating_sub(1);
            fence(Ordering::Acquire);
            while batch.len() < room {
                let Some(record) = ring.take() else { return !is_left };
                let span = series.with(record.series, |labels| spans::span(&record, *worker, labels));
                batch.push(&span);
            }
            true
        });
        self.batch.len() >= room
    }

    /// Takes other settings.
    fn take(&mut self, Change { settings, endpoint, rings }: Change) {
        self.client = Grpc::new(connection(&settings, &endpoint));
        self.batch = Batch::new(&settings.service_name);
        self.settings = settings;
        // Of several changes at once, each has a ring for each worker.
        let rings = rings.into_iter().enumerate().map(|(at, ring)| (at % self.current, ring));
        self.rings.extend(rings);
    }

    /// Sends the batch; several times if the collector may take it later, but only once when the gateway ends, or when it
    /// is the last one for this collector.
    async fn send(&mut self, stopped: &mut oneshot::Receiver<()>, is_last: bool) {
        let count = self.batch.len() as u64;
        let request = self.batch.take();
        for tried in 1.. {
            let error = match self.export(request.clone()).await {
                Ok(answer) => {
                    let refused =
                        answer.into_inner().partial_success.map_or(0, |partial| partial.rejected_spans);
                    let refused = u64::try_from(refused).unwrap_or(0).min(count);
                    self.shared.exported.fetch_add(count - refused, Ordering::Relaxed);
                    self.shared.failed.fetch_add(refused, Ordering::Relaxed);
                    return;
                }
                Err(error) => error,
            };
            let last = is_last || tried == TRIES || !may_pass(&error);
            if last || is_told_to_end(stopped, self.settings.interval).await {
                return self.lost(count, &error);
            }
        }
    }

    fn lost(&mut self, count: u64, error: &Status) {
        self.shared.failed.fetch_add(count, Ordering::Relaxed);
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT) {
            self.complained = Some(Instant::now());
            let endpoint = &self.settings.endpoint;
            tracing::error!(%error, endpoint, spans = count, "the collector takes no spans; they are lost");
        }
    }

    async fn export(&mut self, request: Bytes) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let method = PathAndQuery::from_static(EXPORT);
        self.client.unary(Request::new(request), method, Encoded).await
    }
}

/// The codec of requests that are encoded already.
#[derive(Clone, Copy, Debug)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Encoded;
    type Decoder = ProstDecoder<ExportTraceServiceResponse>;

    fn encoder(&mut self) -> Encoded {
        Encoded
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, request: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(request);
        Ok(())
    }
}

/// Whether the gateway ends, now or within this time.
async fn is_told_to_end(stopped: &mut oneshot::Receiver<()>, within: Duration) -> bool {
    // A oneshot that has completed must not be polled again.
    stopped.is_terminated() || tokio::time::timeout(within, stopped).await.is_ok()
}

/// Whether the collector may take later what it does not take now, by OTLP's specification.
fn may_pass(error: &Status) -> bool {
    matches!(
        error.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}
