//! An HTTP/2 server that does what a script says, right or wrong. It writes its frames by hand.
//!
//! It decodes no header and keeps no windows: it answers in a few bytes, and reads all it is sent.

#![allow(clippy::disallowed_methods, reason = "a test notes for how long a peer was silent")]

use super::within;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The server's behaviour for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Answers with `Stage::Whole`.
    Answer,
    /// As `Answer`, each byte of the message in a DATA frame of its own.
    Drip,
    /// A PING comes before the answer.
    PingThenAnswer,
    /// A PING of seven bytes, which no connection survives (RFC 9113 section 6.7), and no answer.
    BrokenPing,
    /// Trailers only: this grpc-status and this grpc-message.
    Status(u8, &'static str),
    /// This HTTP status and a page of HTML.
    Http(u16),
    /// A message, and no trailers after it.
    NoStatus,
    /// No answer, ever; the connection works on.
    Never,
    /// No answer, and from here on the connection reads nothing and answers no PING.
    Freeze,
    /// RST_STREAM with this code at this point of the answer. `(Nothing, REFUSED_STREAM)` comes with the head.
    Reset(Stage, u32),
    /// Closes the connection at this point of the answer. `Nothing` comes with the head.
    Close(Stage),
    /// GOAWAY that says this request was not seen, then closes.
    GoawayUnseen,
    /// GOAWAY that says this request was the last, then answers it.
    GoawayThenAnswer,
    /// This in place of an answer, once all of the request has come.
    Fault(Fault),
}

/// How a request ends that has been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed in order.
    Fin,
    /// The connection is reset.
    Rst,
    /// RST_STREAM with this code.
    Reset(u32),
}

/// The server's manner, whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Usual,
    /// It never says a word, not even SETTINGS.
    Silent,
    /// It answers a PING with GOAWAY, as gRPC servers do that find pings too frequent.
    Calm,
}

/// How much of an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Nothing,
    Head,
    /// The head and half of a message.
    HalfMessage,
    /// The head and an empty message: five bytes.
    Message,
    /// All, with grpc-status 0.
    Whole,
}

pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Counts of the server so far.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub connections: usize,
    pub connections_closed: usize,
    /// Heads of requests, and requests that came whole.
    pub requests: usize,
    pub requests_whole: usize,
    /// Bytes of request bodies.
    pub body_bytes: usize,
    /// The bodies of requests that came whole.
    pub bodies: Vec<Vec<u8>>,
    /// Codes of the RST_STREAM frames that came.
    pub resets: Vec<u32>,
    pub goaways: usize,
    /// PINGs that came, and answers to ours.
    pub pings: usize,
    pub pongs: usize,
    /// For how long a connection had been silent when it was pinged.
    pub silences: Vec<Duration>,
    /// The most requests that were open at once on one connection.
    pub most_open: usize,
}

/// A running scripted server. Dropping it closes everything.
pub struct RawServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    steps: Vec<Step>,
    max_streams: Option<u32>,
    manner: Manner,
    record: Mutex<Record>,
    changed: watch::Sender<()>,
}

impl RawServer {
    /// The first request of all gets the first step, and so on; the last step is for all that follow.
    pub async fn start(steps: &[Step]) -> Self {
        Self::listen(ANY_PORT, steps, None, Manner::Usual).await
    }

    /// At this address, where nobody listens now.
    pub async fn start_at(address: SocketAddr, steps: &[Step]) -> Self {
        Self::listen(address, steps, None, Manner::Usual).await
    }

    /// With SETTINGS_MAX_CONCURRENT_STREAMS.
    pub async fn with_max_streams(steps: &[Step], max_streams: u32) -> Self {
        Self::listen(ANY_PORT, steps, Some(max_streams), Manner::Usual).await
    }

    /// Accepts connections and never says a word, not even SETTINGS.
    pub async fn silent() -> Self {
        Self::listen(ANY_PORT, &[Step::Never], None, Manner::Silent).await
    }

    /// Takes every PING for one too many.
    pub async fn calm(steps: &[Step]) -> Self {
        Self::listen(ANY_PORT, steps, None, Manner::Calm).await
    }

    async fn listen(address: SocketAddr, steps: &[Step], max_streams: Option<u32>, manner: Manner) -> Self {
        assert!(!steps.is_empty(), "a script has steps");
        let listener = TcpListener::bind(address).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (record, changed) = (Mutex::default(), watch::Sender::new(()));
        let shared = Arc::new(Shared { steps: steps.to_vec(), max_streams, manner, record, changed });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn record(&self) -> Record {
        self.shared.record.lock().expect("no test panics while it holds this").clone()
    }

    /// Waits until `done` says yes to what was seen, at most five seconds.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&Record) -> bool) -> Record {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !done(&self.record()) {
                changed.changed().await.expect("the record lives as long as the server");
            }
        };
        within(Duration::from_secs(5), what, wait).await;
        self.record()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort(); // and with it the connections, which it owns
    }
}

impl Shared {
    fn note<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let result = change(&mut self.record.lock().expect("no test panics while it holds this"));
        self.changed.send_replace(());
        result
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.note(|record| record.connections += 1);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let (open, heard) = (HashMap::new(), Instant::now());
            let mut connection = Connection { stream, shared: Arc::clone(&shared), open, heard };
            let _ = connection.run().await; // an end like any other
            drop(connection);
            shared.note(|record| record.connections_closed += 1);
        });
    }
}

/// Frame types and flags, RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u8 = 3;

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    open: HashMap<u32, Open>,
    /// When the last frame came.
    heard: Instant,
}

/// A request that is not over.
struct Open {
    step: Step,
    body: Vec<u8>,
}

struct Frame {
    kind: u8,
    flags: u8,
    id: u32,
    payload: Vec<u8>,
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        if self.shared.manner == Manner::Silent {
            tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
            return Ok(());
        }
        let mut preface = [0; 24];
        self.stream.read_exact(&mut preface).await?;
        let mut settings = Vec::new();
        if let Some(max) = self.shared.max_streams {
            settings.extend_from_slice(&[0, MAX_CONCURRENT_STREAMS]);
            settings.extend_from_slice(&max.to_be_bytes());
        }
        self.write(SETTINGS, 0, 0, &settings).await?;
        loop {
            let frame = self.read().await?;
            self.take(frame).await?;
            self.heard = Instant::now();
        }
    }

    async fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame { kind, flags, id: u32::from_be_bytes(id), payload })
    }

    async fn write(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("frames here are small").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).await
    }

    async fn take(&mut self, frame: Frame) -> io::Result<()> {
        let first_word = frame.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        match frame.kind {
            HEADERS => self.begun(frame.id).await?,
            DATA if !frame.payload.is_empty() => {
                self.shared.note(|record| record.body_bytes += frame.payload.len());
                if let Some(open) = self.open.get_mut(&frame.id) {
                    open.body.extend_from_slice(&frame.payload);
                }
                let taken = u32::try_from(frame.payload.len()).expect("at most 16 MiB").to_be_bytes();
                self.write(WINDOW_UPDATE, 0, 0, &taken).await?;
                if frame.flags & END_STREAM == 0 {
                    self.write(WINDOW_UPDATE, 0, frame.id, &taken).await?;
                }
            }
            RST_STREAM => {
                self.open.remove(&frame.id);
                self.shared.note(|record| record.resets.extend(first_word));
            }
            SETTINGS if frame.flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[]).await?,
            PING if frame.flags & ACK == 0 => {
                let silence = self.heard.elapsed();
                self.shared.note(|record| {
                    record.pings += 1;
                    record.silences.push(silence);
                });
                if self.shared.manner == Manner::Calm {
                    self.goaway(u32::MAX >> 1, ENHANCE_YOUR_CALM).await?;
                    return self.close().await;
                }
                self.write(PING, ACK, 0, &frame.payload).await?;
            }
            PING => self.shared.note(|record| record.pongs += 1),
            GOAWAY => self.shared.note(|record| record.goaways += 1),
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
            self.ended(frame.id).await?;
        }
        Ok(())
    }

    /// The head of a request came. Does what must not wait for its body.
    async fn begun(&mut self, id: u32) -> io::Result<()> {
        let open = self.open.len() + 1;
        let at = self.shared.note(|record| {
            record.requests += 1;
            record.most_open = record.most_open.max(open);
            record.requests - 1
        });
        let step = self.shared.steps[at.min(self.shared.steps.len() - 1)].clone();
        match step {
            Step::Freeze => std::future::pending().await,
            Step::Close(Stage::Nothing) => Err(io::ErrorKind::ConnectionAborted.into()),
            Step::Reset(Stage::Nothing, code) => self.write(RST_STREAM, 0, id, &code.to_be_bytes()).await,
            Step::GoawayUnseen => {
                self.goaway(id.saturating_sub(2), NO_ERROR).await?;
                self.close().await
            }
            step => {
                self.open.insert(id, Open { step, body: Vec::new() });
                Ok(())
            }
        }
    }

    /// A request came whole.
    async fn ended(&mut self, id: u32) -> io::Result<()> {
        self.shared.note(|record| record.requests_whole += 1);
        let Some(open) = self.open.get_mut(&id) else {
            return Ok(());
        };
        let body = std::mem::take(&mut open.body);
        self.shared.note(|record| record.bodies.push(body));
        if open.step == Step::Never {
            return Ok(());
        }
        let Some(Open { step, .. }) = self.open.remove(&id) else { return Ok(()) };
        match step {
            Step::Answer => self.answer(id, Stage::Whole).await,
            Step::PingThenAnswer => {
                self.write(PING, 0, 0, b"ringway?").await?;
                self.answer(id, Stage::Whole).await
            }
            Step::BrokenPing => self.write(PING, 0, 0, b"ringway").await,
            Step::GoawayThenAnswer => {
                self.goaway(id, NO_ERROR).await?;
                self.answer(id, Stage::Whole).await
            }
            Step::Drip => {
                self.answer(id, Stage::Head).await?;
                for byte in EMPTY_MESSAGE {
                    self.write(DATA, 0, id, &[*byte]).await?;
                }
                self.write(HEADERS, END_STREAM | END_HEADERS, id, &trailers(0, "")).await
            }
            Step::Status(code, message) => {
                let block = [head(200, "application/grpc"), trailers(code, message)].concat();
                self.write(HEADERS, END_STREAM | END_HEADERS, id, &block).await
            }
            Step::Http(status) => {
                self.write(HEADERS, END_HEADERS, id, &head(status, "text/html")).await?;
                self.write(DATA, END_STREAM, id, b"<html><body>sorry</body></html>").await
            }
            Step::NoStatus => {
                self.answer(id, Stage::Head).await?;
                self.write(DATA, END_STREAM, id, EMPTY_MESSAGE).await
            }
            Step::Reset(stage, code) => {
                self.answer(id, stage).await?;
                self.write(RST_STREAM, 0, id, &code.to_be_bytes()).await
            }
            Step::Close(stage) => {
                self.answer(id, stage).await?;
                self.close().await
            }
            Step::Fault(Fault::Fin) => self.close().await,
            Step::Fault(Fault::Rst) => {
                socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Step::Fault(Fault::Reset(code)) => self.write(RST_STREAM, 0, id, &code.to_be_bytes()).await,
            Step::Never | Step::Freeze | Step::GoawayUnseen => unreachable!("begun() has dealt with it"),
        }
    }

    async fn answer(&mut self, id: u32, stage: Stage) -> io::Result<()> {
        if stage >= Stage::Head {
            self.write(HEADERS, END_HEADERS, id, &head(200, "application/grpc")).await?;
        }
        match stage {
            Stage::Nothing | Stage::Head => {}
            Stage::HalfMessage => self.write(DATA, 0, id, &EMPTY_MESSAGE[..3]).await?,
            Stage::Message | Stage::Whole => self.write(DATA, 0, id, EMPTY_MESSAGE).await?,
        }
        if stage == Stage::Whole {
            self.write(HEADERS, END_STREAM | END_HEADERS, id, &trailers(0, "")).await?;
        }
        Ok(())
    }

    async fn goaway(&mut self, last: u32, code: u32) -> io::Result<()> {
        let mut payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        if code == ENHANCE_YOUR_CALM {
            payload.extend_from_slice(b"too_many_pings");
        }
        self.write(GOAWAY, 0, 0, &payload).await
    }

    /// Closes so that the peer gets all that was sent: a close with bytes unread would reset the connection.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut sink = tokio::io::sink();
        let rest = tokio::io::copy(&mut self.stream, &mut sink);
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// A header block: literals without indexing (RFC 7541 section 6.2.2), so nothing needs to be remembered.
fn head(status: u16, content_type: &str) -> Vec<u8> {
    let mut block = Vec::new();
    literal(&mut block, ":status", &status.to_string());
    literal(&mut block, "content-type", content_type);
    block
}

fn trailers(code: u8, message: &str) -> Vec<u8> {
    let mut block = Vec::new();
    literal(&mut block, "grpc-status", &code.to_string());
    if !message.is_empty() {
        literal(&mut block, "grpc-message", message);
    }
    block
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
        block.push(length.expect("texts here fit in one length byte"));
        block.extend_from_slice(text.as_bytes());
    }
}
