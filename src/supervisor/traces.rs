//! The thread that exports spans: it takes what the workers have put into their rings and sends it to a collector, by OTLP
//! over gRPC.
//!
//! If the collector is slow or gone, the exporter waits and the workers do not. Their rings fill, and spans that do not
//! fit are left out and counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tokio::sync::{Notify, oneshot};
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstDecoder;

use super::batch::Batch;
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
        let ring = |_| Arc::new(Ring::new(settings.queue_spans as usize, Waker::from(Arc::clone(&notifier))));
        let rings: Vec<_> = (0..workers).map(ring).collect();
        let shared = Arc::new(ExportCounters::default());
        let endpoint = Endpoint::from_shared(settings.endpoint.clone()).map_err(io::Error::other)?;
        let endpoint = endpoint.connect_timeout(settings.timeout).timeout(settings.timeout);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (settings, rings_taken, counts) = (settings.clone(), rings.clone(), Arc::clone(&shared));
        let series = Arc::clone(series);
        let body = move || {
            runtime.block_on(async {
                let client = Grpc::new(endpoint.connect_lazy());
                let (batch, complained) = (Batch::new(&settings.service_name), None);
                let exporter = Exporter {
                    settings,
                    rings: rings_taken,
                    notifier,
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
        Ok(Traces { rings, shared, stop: Some(stop), thread: Some(thread) })
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
        let Some(thread) = self.thread.take() else { return };
        let given_up_at = Instant::now() + FAREWELL;
        while !thread.is_finished() && Instant::now() < given_up_at {
            thread::sleep(Duration::from_millis(1));
        }
        // An exporter that waits for a silent collector is left behind.
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

struct Exporter {
    settings: config::Tracing,
    rings: Vec<Arc<Ring>>,
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
            let is_due = ends || sent_at.elapsed() >= self.settings.interval;
            while self.fill() || (is_due && self.batch.len() > 0) {
                sent_at = Instant::now();
                self.send(&mut stopped).await;
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
        if found_at.elapsed() < AWAKE || !self.rings.iter().all(|ring| ring.sleep()) {
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
        for (worker, ring) in self.rings.iter().enumerate() {
            while self.batch.len() < room {
                let Some(record) = ring.take() else { break };
                let span = self.series.with(record.series, |labels| spans::span(&record, worker, labels));
                self.batch.push(&span);
            }
        }
        self.batch.len() >= room
    }

    /// Sends the batch; several times if the collector may take it later, but only once when the gateway ends.
    async fn send(&mut self, stopped: &mut oneshot::Receiver<()>) {
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
            let last = tried == TRIES || !may_pass(&error);
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
