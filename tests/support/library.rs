//! The service of `protos/library.proto`, which also remembers every call it saw: messages as prost-reflect reads them.
//!
//! It answers what it is asked for. While it is held back, it answers only as many messages as were let go.

use super::gateway::GatewayBuilder;
use super::raw::message;
use super::within;
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use ringway::supervisor::Gateway;
use serde_json::{Value, json};
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{
    FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
    ServiceResponse,
};

pub const SERVICE: &str = "test.web.v1.Library";

/// A call as the server saw it.
#[derive(Clone, Debug)]
pub struct ServedCall {
    /// Of all calls, from 0.
    number: usize,
    /// The method's name.
    pub method: String,
    pub headers: HeaderMap,
    pub messages: Vec<Value>,
    pub ended: Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Not yet.
    Running,
    /// As the server wanted.
    Finished,
    /// By the caller.
    Cancelled,
}

/// A running server on a thread of its own. Dropping it closes its connections.
pub struct Library {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    pool: DescriptorPool,
    seen: Mutex<Vec<ServedCall>>,
    calls: AtomicUsize,
    /// Bytes of answers.
    sent: AtomicUsize,
    changed: watch::Sender<()>,
    /// How many messages of each answer may go.
    let_go: watch::Sender<u64>,
}

/// The caller has gone.
#[derive(Debug)]
struct Cancelled;

impl From<h2::Error> for Cancelled {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

impl Library {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (changed, let_go) = (watch::Sender::new(()), watch::Sender::new(u64::MAX));
        let shared = Arc::new(Shared {
            pool: pool(),
            seen: Mutex::default(),
            calls: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            changed,
            let_go,
        });
        let (stop, stopped) = oneshot::channel();
        let serves = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    () = accept(listener, serves) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All calls so far, in order of their arrival.
    pub fn seen(&self) -> Vec<ServedCall> {
        self.shared.seen.lock().expect("no test panics while it holds this").clone()
    }

    /// The last call, which is forgotten with all before it.
    pub fn take(&self) -> ServedCall {
        let mut seen = self.shared.seen.lock().expect("no test panics while it holds this");
        let last = seen.pop().expect("a call has come");
        seen.clear();
        last
    }

    /// Waits until `done` says yes to what was seen.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&[ServedCall]) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !done(&self.seen()) {
                changed.changed().await.expect("the server runs");
            }
        };
        within(Duration::from_secs(5), what, wait).await;
    }

    /// Waits until nothing more could be sent for a fifth of a second.
    pub async fn stalled(&self) {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let stall = async {
            let (mut before, mut same) = (0, 0);
            while same < 10 {
                looks.tick().await;
                let now = self.shared.sent.load(Ordering::Relaxed);
                same = if now == before { same + 1 } else { 0 };
                before = now;
            }
        };
        within(Duration::from_secs(20), "the answers stall", stall).await;
    }

    /// From now on each answer may have so many messages and no end; `u64::MAX` for all.
    pub fn let_go(&self, messages: u64) {
        self.shared.let_go.send_replace(messages);
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server has panicked");
        }
    }
}

/// The descriptors of the service.
pub fn pool() -> DescriptorPool {
    compiler().descriptor_pool()
}

/// The descriptors of the service, as a file has them.
pub fn descriptor_set() -> Vec<u8> {
    compiler().encode_file_descriptor_set()
}

/// The descriptors with a number in one of the paths: `/v1/reports/{number}`.
pub fn numbered(scratch: &Scratch, number: u32) -> Vec<u8> {
    let text = std::fs::read_to_string("tests/protos/library.proto").expect("it is there");
    let folder = scratch.0.join(format!("protos-{number}"));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let text = text.replace("\"/v1/reports\"", &format!("\"/v1/reports/{number}\""));
    std::fs::write(folder.join("library.proto"), text).expect("a folder for temporary files");
    let mut compiler =
        protox::Compiler::new([folder.as_path(), std::path::Path::new("proto")]).expect("folders");
    compiler.include_imports(true).open_files(["library.proto"]).expect("it compiles");
    compiler.encode_file_descriptor_set()
}

fn compiler() -> protox::Compiler {
    let mut compiler = protox::Compiler::new(["tests/protos", "proto"]).expect("folders of this repository");
    compiler.include_imports(true).open_files(["library.proto"]).expect("it compiles");
    compiler
}

/// How a gateway learns what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    DescriptorSet,
    Protos,
    Reflection,
}

/// A gateway in front of a library.
pub struct Front {
    pub gateway: Gateway,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where its descriptors are.
    pub scratch: Scratch,
}

/// Starts a gateway in front of a library. `settings` are more of `[transcoding]`, and whatever tables follow it.
pub fn front(library: &Library, backend: &str, source: Source, settings: &str) -> Front {
    front_of(library.address, backend, source, settings)
}

/// Starts a gateway for the library's API in front of any upstream.
pub fn front_of(upstream: SocketAddr, backend: &str, source: Source, settings: &str) -> Front {
    front_with(upstream, backend, source, settings, |config| config)
}

/// A gateway of a configuration that `change` makes of the usual one.
pub fn front_with(
    upstream: SocketAddr,
    backend: &str,
    source: Source,
    settings: &str,
    change: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
) -> Front {
    let scratch = Scratch::new();
    let from = match source {
        Source::DescriptorSet => {
            let path = scratch.0.join("library.protoset");
            std::fs::write(&path, descriptor_set()).expect("a folder for temporary files");
            format!("descriptor_sets = [{path:?}]")
        }
        Source::Protos => {
            "protos = [\"tests/protos/library.proto\"]\nproto_paths = [\"tests/protos\"]".to_owned()
        }
        Source::Reflection => "reflection = [\"interop\"]".to_owned(),
    };
    let tables = format!("[transcoding]\n{from}\n{settings}\n");
    let config = change(GatewayBuilder::new(&[upstream], backend).extra(&tables));
    // Reflection is asked for at start, by a thread that waits.
    let start = || {
        let gateway = config.start();
        let address = gateway.listeners()[0];
        (gateway, address)
    };
    let (gateway, address) = std::thread::scope(|scope| scope.spawn(start).join()).expect("it starts");
    Front { gateway, address, scratch }
}

/// A folder that is there until the value is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-library-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket of this thread");
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut builder = h2::server::Builder::new();
            builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
            let Ok(mut connection) = builder.handshake(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(serve(Arc::clone(&shared), request, respond));
            }
        });
    }
}

async fn serve(shared: Arc<Shared>, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if path.starts_with("/grpc.reflection.v1.") {
        let _ = reflect(&shared, body, respond).await;
        return;
    }
    let service = shared.pool.get_service_by_name(SERVICE).expect("it is in the file");
    let name = path.rsplit_once('/').expect("a path has slashes").1.to_owned();
    let number = shared.calls.fetch_add(1, Ordering::Relaxed);
    let (headers, ended) = (head.headers, Ended::Running);
    let seen = ServedCall { number, method: name.clone(), headers, messages: Vec::new(), ended };
    shared.seen.lock().expect("no test panics while it holds this").push(seen);
    shared.changed.send_replace(());
    let method = service.methods().find(|method| method.name() == name);
    let Some(method) = method.filter(|_| path == format!("/{SERVICE}/{name}")) else {
        let mut respond = respond;
        let head = head_of(12, "no such method", b"");
        let _ = respond.send_response(head, true);
        return;
    };
    let mut call = Call { shared, number, body: Body::new(body), answer: Answer::Not(respond), sent: 0 };
    let ended = match call.run(&method).await {
        Ok(()) => Ended::Finished,
        Err(Cancelled) => Ended::Cancelled,
    };
    call.note(|seen| seen.ended = ended);
}

/// A body, cut into messages.
struct Body {
    body: RecvStream,
    bytes: BytesMut,
}

impl Body {
    fn new(body: RecvStream) -> Self {
        Self { body, bytes: BytesMut::new() }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Cancelled> {
        loop {
            if let Some(length) = self.bytes.get(1..5) {
                let length = 5 + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
                if self.bytes.len() >= length {
                    return Ok(Some(self.bytes.split_to(length).freeze().slice(5..)));
                }
            }
            let Some(piece) = self.body.data().await else { return Ok(None) };
            let piece = piece?;
            self.bytes.extend_from_slice(&piece);
            self.body.flow_control().release_capacity(piece.len())?;
        }
    }
}

/// How far an answer is.
enum Answer {
    Not(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
}

struct Call {
    shared: Arc<Shared>,
    number: usize,
    body: Body,
    answer: Answer,
    /// Messages of the answer.
    sent: u64,
}

impl Call {
    fn note(&self, change: impl FnOnce(&mut ServedCall)) {
        let mut seen = self.shared.seen.lock().expect("no test panics while it holds this");
        // It may have been forgotten.
        if let Some(seen) = seen.iter_mut().find(|seen| seen.number == self.number) {
            change(seen);
        }
        drop(seen);
        self.shared.changed.send_replace(());
    }

    async fn run(&mut self, method: &MethodDescriptor) -> Result<(), Cancelled> {
        let mut asked = Vec::new();
        let mut fail = json!({});
        while let Some(message) = self.body.next().await? {
            let value = to_json(&method.input(), &message);
            self.note(|seen| seen.messages.push(value.clone()));
            if method.name() == "Chat" {
                self.say(&method.output(), &value).await?;
            }
            asked.push(value);
        }
        let first = asked.first().cloned().unwrap_or_default();
        if let Some(wanted) = first.get("fail") {
            fail = wanted.clone();
        }
        let text = "x".repeat(first["size"].as_u64().unwrap_or(0) as usize);
        match method.name() {
            "Watch" => {
                for number in 1..=first["count"].as_i64().unwrap_or(0) {
                    self.say(&method.output(), &json!({ "number": number.to_string(), "text": text }))
                        .await?;
                }
            }
            "FetchAll" => {
                for number in 1..=first["count"].as_i64().unwrap_or(0) {
                    let data = base64(format!("part {number};").as_bytes());
                    let body = json!({ "contentType": "video/x-test", "data": data });
                    self.say(&method.output(), &body).await?;
                }
            }
            "Chat" => {}
            name if fail["code"].as_i64().unwrap_or(0) == 0 => {
                let reply = reply(name, &asked, &first, &text);
                self.say(&method.output(), &reply).await?;
            }
            _ => {}
        }
        self.end(&fail).await
    }

    /// Waits until one more message may be sent, or the end.
    async fn may_go(&mut self) -> Result<(), Cancelled> {
        let mut let_go = self.shared.let_go.subscribe();
        let wanted = self.sent;
        let may = let_go.wait_for(|let_go| *let_go > wanted);
        tokio::select! {
            biased;
            _ = may => Ok(()),
            _ = gone(&mut self.answer) => Err(Cancelled),
        }
    }

    async fn say(&mut self, output: &MessageDescriptor, value: &Value) -> Result<(), Cancelled> {
        self.may_go().await?;
        self.sent += 1;
        let mut bytes = message(0, &from_json(output, value));
        let shared = Arc::clone(&self.shared);
        let sent = &shared.sent;
        let stream = self.begun()?;
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len());
            let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return Err(Cancelled) };
            let room = room?.min(bytes.len());
            stream.send_data(bytes.split_to(room), false)?;
            sent.fetch_add(room, Ordering::Relaxed);
        }
        Ok(())
    }

    fn begun(&mut self) -> Result<&mut SendStream<Bytes>, Cancelled> {
        if let Answer::Not(respond) = &mut self.answer {
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .header("x-served-by", "library");
            self.answer = Answer::Begun(respond.send_response(head.body(()).expect("a valid head"), false)?);
        }
        match &mut self.answer {
            Answer::Begun(stream) => Ok(stream),
            Answer::Not(_) => unreachable!("it has begun"),
        }
    }

    async fn end(&mut self, fail: &Value) -> Result<(), Cancelled> {
        self.may_go().await?;
        let code = fail["code"].as_u64().unwrap_or(0);
        let text = fail["message"].as_str().unwrap_or_default();
        let details = from_base64(fail["details"].as_str().unwrap_or_default());
        // As some services do that have nothing to say but metadata.
        if text == "head first" {
            self.begun()?;
        }
        let last = head_of(code, text, &details);
        match &mut self.answer {
            Answer::Not(respond) => drop(respond.send_response(last, true)?),
            Answer::Begun(stream) => {
                let mut trailers = last.into_parts().0.headers;
                trailers.remove("content-type");
                trailers.insert("x-last", HeaderValue::from_static("yes"));
                if code == 16 {
                    trailers.insert("www-authenticate", HeaderValue::from_static("Bearer realm=\"x\""));
                    trailers.insert("content-type", HeaderValue::from_static("x/y"));
                }
                stream.send_trailers(trailers)?;
            }
        }
        Ok(())
    }
}

async fn gone(answer: &mut Answer) {
    let reset = poll_fn(|cx| match answer {
        Answer::Not(respond) => respond.poll_reset(cx),
        Answer::Begun(stream) => stream.poll_reset(cx),
    });
    let _ = reset.await;
}

/// The answer of a method that answers once.
fn reply(method: &str, asked: &[Value], first: &Value, text: &str) -> Value {
    match method {
        "Remove" => json!({}),
        "Fetch" => {
            json!({ "contentType": "text/x-test; v=1", "data": base64(format!("of {}", first["name"]).as_bytes()) })
        }
        "FetchInner" => {
            json!({ "name": "n", "file": { "contentType": "image/x-test", "data": base64(b"inner") } })
        }
        "Sum" => {
            let numbers = asked.iter().filter_map(|event| event["number"].as_str()?.parse::<i64>().ok());
            json!({ "total": numbers.sum::<i64>().to_string() })
        }
        // So deep that no reader takes it.
        _ if first["name"] == "shelves/deep/books/1" => {
            (0..110).fold(json!({}), |inner, _| json!({ "inner": inner }))
        }
        _ => json!({ "text": text, "items": [{ "id": "1", "title": "Ünï" }, { "id": "2" }], "total": "7" }),
    }
}

fn head_of(code: u64, text: &str, details: &[u8]) -> Response<()> {
    let mut head = Response::new(());
    let headers = head.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code));
    if !text.is_empty() {
        let text = ringway::wire::message::encode(text);
        headers.insert("grpc-message", HeaderValue::from_str(&text).expect("it is encoded"));
    }
    if !details.is_empty() {
        let name = HeaderName::from_static("grpc-status-details-bin");
        headers.insert(name, HeaderValue::from_str(&base64(details)).expect("base64"));
    }
    head
}

fn to_json(descriptor: &MessageDescriptor, bytes: &[u8]) -> Value {
    let message =
        DynamicMessage::decode(descriptor.clone(), bytes).expect("the gateway sends what can be read");
    serde_json::to_value(message).expect("it has been read")
}

/// The wire bytes of a message of `protos/library.proto`.
pub fn from_json(descriptor: &MessageDescriptor, value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut reader = serde_json::Deserializer::from_str(&text);
    DynamicMessage::deserialize(descriptor.clone(), &mut reader).expect("the test's own JSON").encode_to_vec()
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

/// Server reflection, as much of it as is asked for.
async fn reflect(
    shared: &Shared,
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Result<(), Cancelled> {
    let head = Response::builder().header("content-type", "application/grpc").body(()).expect("valid");
    let mut stream = respond.send_response(head, false)?;
    let mut body = Body::new(body);
    while let Some(asked) = body.next().await? {
        let asked = ServerReflectionRequest::decode(asked).expect("the gateway sends what can be read");
        let file = match asked.message_request.expect("a question") {
            MessageRequest::FileByFilename(name) => shared.pool.get_file_by_name(&name),
            MessageRequest::FileContainingSymbol(name) => {
                shared.pool.get_service_by_name(&name).map(|service| service.parent_file())
            }
            _ => None,
        };
        let answer = match file {
            Some(file) => MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: vec![file.encode_to_vec()],
            }),
            None => MessageResponse::ListServicesResponse(ListServiceResponse {
                service: vec![ServiceResponse { name: SERVICE.to_owned() }],
            }),
        };
        let answer = ServerReflectionResponse { message_response: Some(answer), ..Default::default() };
        stream.send_data(message(0, &answer.encode_to_vec()), false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(stream.send_trailers(trailers)?)
}
