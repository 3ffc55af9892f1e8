//! The service of the gRPC interop cases, which also remembers every call it saw.

use super::interop::test_service_server::{TestService, TestServiceServer};
use super::interop::{
    BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use super::watch::{BodyEvent, Watched};
use super::within;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

pub const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
pub const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// A call as the server saw it.
#[derive(Clone, Debug)]
pub struct Call {
    pub path: String,
    /// The value of grpc-timeout.
    pub timeout: Option<String>,
    pub headers: http::HeaderMap,
    /// The compressed flag of each message that has arrived, and of each that was sent.
    pub request_flags: Vec<u8>,
    pub response_flags: Vec<u8>,
    pub ended: Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Not yet.
    Running,
    /// With a status of ours.
    Finished,
    /// By the caller: RST_STREAM, or its connection went away.
    Cancelled,
}

/// A running interop server on a thread of its own. Dropping it closes its connections and joins the thread.
pub struct InteropServer {
    address: SocketAddr,
    log: Arc<Log>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl InteropServer {
    pub fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    /// Starts the server at this address.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free loopback port");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::new(Log { calls: Mutex::default(), changed: watch::Sender::new(()) });
        let (stop, stopped) = oneshot::channel();
        let service = Watching { inner: service(), log: Arc::clone(&log) };
        let thread = std::thread::spawn(move || serve(listener, service, stopped));
        Self { address, log, stop: Some(stop), thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All calls so far, in order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.log.calls.lock().expect("no test panics while it holds this").clone()
    }

    /// Forgets the calls so far. Only between tests: no call may be running.
    pub fn forget(&self) {
        self.log.calls.lock().expect("no test panics while it holds this").clear();
    }

    /// Waits until `done` says yes to the calls so far, at most five seconds.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut changed = self.log.changed.subscribe();
        let wait = async {
            while !done(&self.log.calls.lock().expect("no test panics while it holds this")) {
                changed.changed().await.expect("the log lives as long as the server");
            }
        };
        within(Duration::from_secs(5), what, wait).await;
        self.calls()
    }
}

impl Drop for InteropServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // what it panicked of is on stderr
        }
    }
}

type Server = TestServiceServer<Interop>;

fn service() -> Server {
    TestServiceServer::new(Interop)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
}

fn serve(listener: TcpListener, service: Watching, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime for the interop server");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener in a runtime");
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::select! {
            ended = server.serve_with_incoming(incoming) => ended.expect("the interop server runs"),
            _ = stopped => {}
        }
    });
    runtime.shutdown_background();
}

/// The calls seen, and a bell that rings when one changes.
struct Log {
    calls: Mutex<Vec<Call>>,
    changed: watch::Sender<()>,
}

impl Log {
    fn begin(self: &Arc<Self>, request: &http::request::Parts) -> CallLog {
        let timeout = request.headers.get("grpc-timeout").and_then(|v| v.to_str().ok());
        let call = Call {
            path: request.uri.path().to_owned(),
            timeout: timeout.map(str::to_owned),
            headers: request.headers.clone(),
            request_flags: Vec::new(),
            response_flags: Vec::new(),
            ended: Ended::Running,
        };
        let mut calls = self.calls.lock().expect("no test panics while it holds this");
        calls.push(call);
        let at = calls.len() - 1;
        drop(calls);
        self.changed.send_replace(());
        CallLog { log: Arc::clone(self), at }
    }
}

/// A call's place in the log.
#[derive(Clone)]
struct CallLog {
    log: Arc<Log>,
    at: usize,
}

impl CallLog {
    fn change<T>(&self, change: impl FnOnce(&mut Call) -> T) -> Option<T> {
        let result =
            self.log.calls.lock().expect("no test panics while it holds this").get_mut(self.at).map(change);
        self.log.changed.send_replace(());
        result
    }

    /// The first ending counts.
    fn ended(&self, ended: Ended) {
        self.change(|call| {
            if call.ended == Ended::Running {
                call.ended = ended;
            }
        });
    }

    /// Was this message of the request compressed?
    fn compressed(&self, message: usize) -> bool {
        self.change(|call| call.request_flags.get(message) == Some(&1)).unwrap_or(false)
    }
}

/// A call that is dropped before its end was cancelled.
struct EndOfCall(CallLog);

impl Drop for EndOfCall {
    fn drop(&mut self) {
        self.0.ended(Ended::Cancelled);
    }
}

/// Around the service: logs calls, and echoes metadata as the interop cases want it.
#[derive(Clone)]
struct Watching {
    inner: Server,
    log: Arc<Log>,
}

impl NamedService for Watching {
    const NAME: &'static str = Server::NAME;
}

impl Service<http::Request<tonic::body::Body>> for Watching {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // the generated service is always ready
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let call = self.log.begin(&parts);
        let end = EndOfCall(call.clone());
        let initial = parts.headers.get(ECHO_INITIAL).cloned();
        let trailing = parts.headers.get(ECHO_TRAILING).cloned();
        parts.extensions.insert(call.clone());
        let arriving = call.clone();
        let body = Watched::wrap(body, move |seen| match seen {
            BodyEvent::Message(flag) => drop(arriving.change(|call| call.request_flags.push(flag))),
            BodyEvent::Broken => arriving.ended(Ended::Cancelled),
            BodyEvent::Trailers(_) | BodyEvent::End => {}
        });
        let reply = self.inner.call(http::Request::from_parts(parts, body));
        Box::pin(async move {
            let mut reply = reply.await?;
            if let Some(value) = initial {
                reply.headers_mut().insert(ECHO_INITIAL, value);
            }
            Ok(reply.map(|body| {
                Watched::wrap(body, move |seen| match seen {
                    BodyEvent::Message(flag) => drop(call.change(|call| call.response_flags.push(flag))),
                    BodyEvent::Trailers(trailers) => {
                        trailers.extend(
                            trailing
                                .clone()
                                .map(|value| (http::HeaderName::from_static(ECHO_TRAILING), value)),
                        );
                    }
                    BodyEvent::End => end.0.ended(Ended::Finished),
                    BodyEvent::Broken => end.0.ended(Ended::Cancelled),
                })
            }))
        })
    }
}

struct Interop;

type Answers = ReceiverStream<Result<StreamingOutputCallResponse, Status>>;

#[tonic::async_trait]
impl TestService for Interop {
    type StreamingOutputCallStream = Answers;
    type FullDuplexCallStream = Answers;
    type HalfDuplexCallStream = Answers;

    async fn empty_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        let mut response = Response::new(Empty {});
        response.disable_compression();
        Ok(response)
    }

    async fn unary_call(&self, request: Request<SimpleRequest>) -> Result<Response<SimpleResponse>, Status> {
        let call = call_log(request.extensions());
        let request = request.into_inner();
        check_compressed(request.expect_compressed, &call, 0)?;
        check_status(request.response_status)?;
        let payload = Some(payload(request.response_size)?);
        let mut response = Response::new(SimpleResponse { payload, ..SimpleResponse::default() });
        if !request.response_compressed.is_some_and(|wanted| wanted.value) {
            response.disable_compression();
        }
        Ok(response)
    }

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Answers>, Status> {
        let request = request.into_inner();
        Ok(answering(|answers| async move { answer(request, &answers).await }))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let call = call_log(request.extensions());
        let mut requests = request.into_inner();
        let (mut sum, mut count) = (0, 0);
        while let Some(message) = requests.message().await? {
            check_compressed(message.expect_compressed, &call, count)?;
            let length = message.payload.map_or(0, |payload| payload.body.len());
            sum += i32::try_from(length).map_err(|_| Status::out_of_range("payload"))?;
            count += 1;
        }
        let mut response = Response::new(StreamingInputCallResponse { aggregated_payload_size: sum });
        response.disable_compression();
        Ok(response)
    }

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let mut requests = request.into_inner();
        Ok(answering(|answers| async move {
            while let Some(request) = requests.message().await? {
                answer(request, &answers).await?;
            }
            Ok(())
        }))
    }

    async fn half_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let mut requests = request.into_inner();
        Ok(answering(|answers| async move {
            let mut held = Vec::new();
            while let Some(request) = requests.message().await? {
                held.push(request);
            }
            for request in held {
                answer(request, &answers).await?;
            }
            Ok(())
        }))
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("no server implements this"))
    }
}

type Sender = mpsc::Sender<Result<StreamingOutputCallResponse, Status>>;

/// A response of the answers that `work` sends; its error ends them.
fn answering<F>(work: impl FnOnce(Sender) -> F) -> Response<Answers>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let end = sender.clone();
    let work = work(sender);
    tokio::spawn(async move {
        if let Err(status) = work.await {
            let _ = end.send(Err(status)).await; // the caller may be gone
        }
    });
    let mut response = Response::new(ReceiverStream::new(receiver));
    response.disable_compression();
    response
}

/// Sends what one request asks for. An error ends the call.
async fn answer(request: StreamingOutputCallRequest, answers: &Sender) -> Result<(), Status> {
    check_status(request.response_status)?;
    for ResponseParameters { size, interval_us, .. } in request.response_parameters {
        let interval_us = u64::try_from(interval_us).map_err(|_| Status::invalid_argument("interval_us"))?;
        if interval_us > 0 {
            tokio::time::sleep(Duration::from_micros(interval_us)).await;
        }
        let answer = StreamingOutputCallResponse { payload: Some(payload(size)?) };
        answers.send(Ok(answer)).await.map_err(|_| Status::cancelled("the caller is gone"))?;
    }
    Ok(())
}

fn call_log(extensions: &http::Extensions) -> CallLog {
    extensions.get::<CallLog>().expect("Watching puts it there").clone()
}

fn payload(size: i32) -> Result<Payload, Status> {
    let size = usize::try_from(size).map_err(|_| Status::invalid_argument("a size below zero"))?;
    Ok(Payload { r#type: 0, body: vec![0; size] })
}

fn check_status(wanted: Option<EchoStatus>) -> Result<(), Status> {
    match wanted {
        Some(status) if status.code != 0 => Err(Status::new(Code::from_i32(status.code), status.message)),
        _ => Ok(()),
    }
}

fn check_compressed(expected: Option<BoolValue>, call: &CallLog, message: usize) -> Result<(), Status> {
    match expected {
        Some(expected) if expected.value != call.compressed(message) => {
            Err(Status::invalid_argument("the compressed flag is not what the message says"))
        }
        _ => Ok(()),
    }
}
