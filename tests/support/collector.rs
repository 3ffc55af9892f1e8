//! A collector of spans: it takes OTLP over gRPC and remembers all it was given.

use super::within;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A running collector. Dropping it closes everything.
pub struct Collector {
    address: SocketAddr,
    taken: Arc<Taken>,
    task: JoinHandle<()>,
}

struct Taken {
    spans: Mutex<Vec<ReceivedSpan>>,
    changed: watch::Sender<()>,
}

/// A span, and what it says of who sent it.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    pub service: String,
    pub span: Span,
}

impl ReceivedSpan {
    pub fn is_call(&self) -> bool {
        self.span.kind() == SpanKind::Server
    }

    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Empty if it is none's.
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// The `traceparent` that it has sent.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id(), self.id())
    }

    /// Text, or a number as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let taken = Arc::new(Taken { spans: Mutex::default(), changed: watch::Sender::new(()) });
        let service = TraceServiceServer::new(Sink(Arc::clone(&taken)));
        let serve = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serve.await.expect("it serves") });
        Self { address, taken, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `[tracing]` that names it, with these settings.
    pub fn table(&self, settings: &str) -> String {
        table(self.address, settings)
    }

    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.taken.spans.lock().expect("no test panics while it holds this").clone()
    }

    /// Waits until so many spans have come, at most ten seconds; the call's before those of its attempts, and these by
    /// their beginning.
    pub async fn wait_for(&self, count: usize) -> Vec<ReceivedSpan> {
        let mut changed = self.taken.changed.subscribe();
        let wait = async {
            while self.spans().len() < count {
                changed.changed().await.expect("the collector runs");
            }
        };
        within(Duration::from_secs(10), &format!("{count} spans"), wait).await;
        let mut spans = self.spans();
        spans.sort_by_key(|seen| (seen.span.start_time_unix_nano, !seen.is_call()));
        assert_eq!(spans.len(), count, "{spans:?}");
        spans
    }
}

/// `[tracing]` with a collector at this address.
pub fn table(collector: SocketAddr, settings: &str) -> String {
    format!("[tracing]\nendpoint = \"http://{collector}\"\ninterval = \"10ms\"\n{settings}\n")
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Sink(Arc<Taken>);

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut all = Vec::new();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.expect("it says whose they are").attributes;
            let service = text(&attributes, "service.name").expect("a service has a name");
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            all.extend(spans.map(|span| ReceivedSpan { service: service.clone(), span }));
        }
        self.0.spans.lock().expect("no test panics while it holds this").extend(all);
        self.0.changed.send_replace(());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
