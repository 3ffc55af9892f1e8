//! A service that answers each request in the words of a test, as soon as the first bytes of its body have come.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub type Fields = &'static [(&'static str, &'static str)];

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub head: Fields,
    pub body: Bytes,
    /// None: the head is all of the answer.
    pub trailers: Option<Fields>,
}

impl Answer {
    /// A head that is all of the answer.
    pub fn head_alone(head: Fields) -> Self {
        Self { status: 200, head, ..Self::default() }
    }

    /// A call that went well.
    pub fn whole(head: Fields, body: Bytes) -> Self {
        Self { status: 200, head, body, trailers: Some(&[("grpc-status", "0")]) }
    }
}

/// A request as far as it had come when it was answered.
#[derive(Clone, Debug)]
pub struct Asked {
    pub head: Parts,
    pub body: Bytes,
}

impl Asked {
    /// A field, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
}

/// A running service. Dropping it closes everything.
pub struct Speaker {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    answer: Box<dyn Fn(&Parts) -> Answer + Send + Sync>,
    asked: Mutex<Vec<Asked>>,
}

impl Speaker {
    pub async fn start(answer: impl Fn(&Parts) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { answer: Box::new(answer), asked: Mutex::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().expect("no test panics while it holds this"))
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort(); // and with it the connections, which it owns
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, body) = request.into_parts();
        tokio::spawn(speak(head, body, respond, Arc::clone(&shared)));
    }
}

async fn speak(head: Parts, mut body: RecvStream, mut respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let body = body.data().await.and_then(Result::ok).unwrap_or_default();
    let answer = (shared.answer)(&head);
    shared.asked.lock().expect("no test panics while it holds this").push(Asked { head, body });
    let mut response = Response::builder().status(answer.status).body(()).expect("a status");
    *response.headers_mut() = fields(answer.head);
    // A caller who has gone needs no answer.
    let Ok(mut send) = respond.send_response(response, answer.trailers.is_none()) else { return };
    if let Some(trailers) = answer.trailers {
        let _ = send.send_data(answer.body, false);
        let _ = send.send_trailers(fields(trailers));
    }
}

fn fields(fields: Fields) -> HeaderMap {
    let owned = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(owned).collect()
}
