//! Clients that make a list of calls, each in its own way, and keep a ledger of how each ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

use super::service::{Ledger, SILENCE};
use super::wire::{Bytes as Wire, Counted};
use crate::support::http1::{Http1, Http1Answer};
use crate::support::raw::message;
use crate::support::within;

/// The method that there is.
pub const METHOD: &str = "/grpc.testing.TestService/EmptyCall";
/// A `grpc-timeout` that is none.
pub const NO_TIME: &str = "sooner";

/// The protocol of a call, and its HTTP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// gRPC.
    Grpc,
    /// gRPC, and its client gives it up: once the service has it, or once its answer has begun.
    Cancelled,
    /// JSON, or gRPC-Web, over HTTP/2.
    Json2,
    Web2,
    /// JSON over HTTP/1.1.
    Json1,
    Web1,
}

/// A kind of call.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub speech: Speech,
    pub path: &'static str,
    /// The route that takes it, in the header `x-to`; empty for the one that takes the rest.
    pub to: &'static str,
    /// The service's behaviour, in the header `x-act`.
    pub act: &'static str,
    /// `grpc-timeout`.
    pub timeout: Option<&'static str>,
    /// Of the message.
    pub payload: &'static [u8],
    pub count: usize,
}

impl Kind {
    /// The name of the route that takes it; empty if it is over before there is one.
    fn counted_by(self) -> &'static str {
        match self.to {
            _ if self.path != METHOD || self.timeout == Some(NO_TIME) => "",
            "" => "rest",
            to => to,
        }
    }
}

/// How calls ended: the route that is to count them, the gRPC status, and how many.
pub type Ends = BTreeMap<(String, String), u64>;

/// Calls that are to be made, and what became of those that were.
pub struct Calls {
    list: Vec<Kind>,
    next: AtomicUsize,
    ends: Mutex<Ends>,
    service: Arc<Ledger>,
    pub wire: Arc<Wire>,
}

impl Calls {
    /// `list` is made in its order. `service` tells when a call has reached it that its client is to give up.
    pub fn new(list: Vec<Kind>, service: Arc<Ledger>) -> Arc<Calls> {
        Arc::new(Calls {
            list,
            next: AtomicUsize::new(0),
            ends: Mutex::default(),
            service,
            wire: Arc::default(),
        })
    }

    fn next(&self) -> Option<(usize, Kind)> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        self.list.get(at).map(|kind| (at, *kind))
    }

    fn ended(&self, kind: Kind, status: String) {
        let route = kind.counted_by().to_owned();
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        *ends.entry((route, status)).or_default() += 1;
    }

    pub fn ends(&self) -> Ends {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes all calls over `connections` of HTTP/2, so many at once on each; returns when every one has ended, with the
/// connections, which are open still.
pub async fn over_http2(
    address: SocketAddr,
    connections: usize,
    at_once: usize,
    calls: &Arc<Calls>,
) -> Vec<SendRequest<Bytes>> {
    let mut lanes = tokio::task::JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let _ = stream.set_nodelay(true);
        let mut builder = h2::client::Builder::new();
        builder.data_frame_budget(1 << 26).max_concurrent_reset_streams(10_000);
        let handshake = builder.handshake::<_, Bytes>(Counted::new(stream, Arc::clone(&calls.wire)));
        let (client, connection) = handshake.await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        open.push(client.clone());
        for _ in 0..at_once {
            let (client, calls) = (client.clone(), Arc::clone(calls));
            lanes.spawn(async move {
                while let Some((number, kind)) = calls.next() {
                    let what = format!("call {number}, {kind:?}");
                    let status =
                        within(Duration::from_secs(30), &what, call(&client, number, kind, &calls)).await;
                    calls.ended(kind, status.unwrap_or_else(|error| panic!("{what}: {error}")));
                }
            });
        }
    }
    while let Some(lane) = lanes.join_next().await {
        lane.expect("a lane does not panic");
    }
    open
}

async fn call(
    client: &SendRequest<Bytes>,
    number: usize,
    kind: Kind,
    calls: &Calls,
) -> Result<String, h2::Error> {
    let id = number.to_string();
    let arrival =
        (kind.speech == Speech::Cancelled && kind.act == SILENCE).then(|| calls.service.arrival(&id));
    let mut client = client.clone().ready().await?;
    let (response, mut body) = client.send_request(head(kind, &id), false)?;
    // A call that is refused for its head may be over by now. Its answer says so.
    let _ = body.send_data(sent(kind), true);
    if kind.speech == Speech::Cancelled {
        match arrival {
            Some(arrived) => arrived.await.expect("the service tells"),
            None => drop(response.await?),
        }
        body.send_reset(Reason::CANCEL);
        return Ok("1".to_owned());
    }
    let (head, body) = response.await?.into_parts();
    let (bytes, trailers) = whole(body).await?;
    Ok(match kind.speech {
        Speech::Json2 => json_status(head.status.as_u16(), &bytes),
        Speech::Web2 => web_status(&bytes),
        _ => trailers.as_ref().unwrap_or(&head.headers)["grpc-status"].to_str().expect("a number").to_owned(),
    })
}

fn head(kind: Kind, id: &str) -> Request<()> {
    let mut head = Request::post(format!("http://ringway.test{}", kind.path)).header("x-id", id);
    for (name, value) in fields(kind) {
        head = head.header(name, value);
    }
    head.body(()).expect("the test's headers are valid")
}

fn fields(kind: Kind) -> impl Iterator<Item = (&'static str, &'static str)> {
    let content_type = match kind.speech {
        Speech::Grpc | Speech::Cancelled => "application/grpc",
        Speech::Json1 | Speech::Json2 => "application/json",
        Speech::Web1 | Speech::Web2 => "application/grpc-web+proto",
    };
    let all = [
        Some(("content-type", content_type)),
        (content_type == "application/grpc").then_some(("te", "trailers")),
        (!kind.to.is_empty()).then_some(("x-to", kind.to)),
        (!kind.act.is_empty()).then_some(("x-act", kind.act)),
        kind.timeout.map(|timeout| ("grpc-timeout", timeout)),
    ];
    all.into_iter().flatten()
}

/// The body of a call.
fn sent(kind: Kind) -> Bytes {
    match kind.speech {
        Speech::Json1 | Speech::Json2 => Bytes::from_static(kind.payload),
        _ => message(0, kind.payload),
    }
}

async fn whole(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, body.trailers().await?))
}

/// The status that an answer in JSON stands for.
fn json_status(http: u16, body: &[u8]) -> String {
    if http == 200 {
        return "0".to_owned();
    }
    let problem: serde_json::Value = serde_json::from_slice(body).expect("a problem is JSON");
    problem["code"].to_string()
}

/// The status in the trailers at the end of an answer of gRPC-Web.
fn web_status(mut body: &[u8]) -> String {
    while body.first().is_some_and(|flag| flag & 0x80 == 0) {
        let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes"));
        body = &body[5 + length as usize..];
    }
    let trailers = String::from_utf8(body[5..].to_vec()).expect("fields");
    let status = trailers.lines().find_map(|line| line.strip_prefix("grpc-status:"));
    status.expect("there is a status").trim().to_owned()
}

/// Makes all calls over `connections` of HTTP/1.1.
pub async fn over_http1(address: SocketAddr, connections: usize, calls: &Arc<Calls>) {
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let calls = Arc::clone(calls);
        lanes.spawn(async move {
            let mut client = Http1::connect(address).await;
            while let Some((_, kind)) = calls.next() {
                let headers: Vec<_> = fields(kind).collect();
                let answer = client.ask(&format!("POST {}", kind.path), &headers, &sent(kind)).await;
                calls.ended(kind, status_of(kind, &answer));
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.expect("a lane does not panic");
    }
}

fn status_of(kind: Kind, answer: &Http1Answer) -> String {
    assert!(answer.is_whole, "{kind:?}: {answer:?}");
    match (kind.speech, answer.field("grpc-status")) {
        // A failure before the body began is in the head.
        (Speech::Web1, Some(status)) => status.to_owned(),
        (Speech::Web1, None) => web_status(&answer.body),
        _ => json_status(answer.status, &answer.body),
    }
}
