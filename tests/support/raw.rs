//! A client that says exactly what a test wants it to say: single HTTP/2 calls, or plain bytes.

use super::within;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A call that any of the test servers answers.
pub const EMPTY_CALL: &str = "/grpc.testing.TestService/EmptyCall";

const WAIT_MAX: Duration = Duration::from_secs(10);
/// For a peer that is slow on purpose.
const WAIT_LONG: Duration = Duration::from_secs(60);

/// An HTTP/2 connection. Dropping it closes the connection at once.
pub struct RawClient {
    send: SendRequest<Bytes>,
    seen: Arc<FirstEvents>,
    connection: JoinHandle<()>,
}

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("an HTTP/2 peer listens")
    }

    /// Connects to a peer that may be about to stop listening.
    pub async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let work = async {
            let stream = TcpStream::connect(address).await?;
            let _ = stream.set_nodelay(true); // a connection that has just been reset says so at its first call
            Self::over(stream).await
        };
        within(WAIT_MAX, "connect", work).await
    }

    /// Speaks HTTP/2 over a connection that there is already, such as one of TLS.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> std::io::Result<Self> {
        let work = async {
            let mut builder = h2::client::Builder::new();
            builder.data_frame_budget(1 << 26); // a thousand small answers at once are no attack here
            let seen = Arc::<FirstEvents>::default();
            let listening = Listening { stream, seen: Arc::clone(&seen) };
            let (send, connection) = builder.handshake(listening).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>((send, connection, seen))
        };
        let (send, connection, seen) = within(WAIT_MAX, "an HTTP/2 peer", work).await?;
        let connection = tokio::spawn(async move {
            let _ = connection.await; // its calls tell how it ended
        });
        Ok(Self { send, seen, connection })
    }

    /// Sends the head of a gRPC call; `headers` come after the usual ones. The body stays open.
    pub async fn open(&mut self, path: &str, headers: &[(&str, &str)]) -> RawCall {
        let mut request = http::Request::post(format!("http://ringway.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(()).expect("the test's headers are valid"), false).await
    }

    /// Sends any head at all; `end` ends the request with it.
    pub async fn send(&mut self, head: http::Request<()>, end: bool) -> RawCall {
        within(WAIT_MAX, "room for one more stream", std::future::poll_fn(|cx| self.send.poll_ready(cx)))
            .await
            .expect("the connection is open");
        let (response, send) = self.send.send_request(head, end).expect("a valid request");
        RawCall { send, response }
    }

    /// A whole gRPC call of one message.
    pub async fn call(&mut self, path: &str, headers: &[(&str, &str)], payload: &[u8]) -> RawReply {
        let mut call = self.open(path, headers).await;
        call.send(message(0, payload), true);
        call.reply().await
    }

    /// A whole call on a connection that may have been told to take no more calls: then nothing.
    pub async fn try_call(&mut self, path: &str, payload: &[u8]) -> Option<RawReply> {
        let ready = std::future::poll_fn(|cx| self.send.poll_ready(cx));
        within(WAIT_MAX, "room for one more stream", ready).await.ok()?;
        let head = http::Request::post(format!("http://ringway.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let head = head.body(()).expect("a valid head");
        let (response, send) = self.send.send_request(head, false).ok()?;
        let mut call = RawCall { send, response };
        call.send(message(0, payload), true);
        Some(call.reply().await)
    }

    /// Whether the peer has sent a single byte: then it has accepted the connection.
    pub fn was_accepted(&self) -> bool {
        self.seen.heard.load(Ordering::Relaxed)
    }

    /// Whether the peer's kernel has reset the connection. For a call that began on a connection that had failed
    /// already, h2 reports the error of an end in order.
    pub fn was_reset(&self) -> bool {
        self.seen.reset.load(Ordering::Relaxed)
    }

    /// Waits until the peer has closed the connection.
    pub async fn closed(mut self) {
        within(WAIT_MAX, "the peer closes the connection", &mut self.connection)
            .await
            .expect("no panic in h2");
    }
}

impl Drop for RawClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The connection's first news: bytes came, or it was reset.
#[derive(Default)]
struct FirstEvents {
    heard: AtomicBool,
    reset: AtomicBool,
}

/// A stream that notes it.
struct Listening<S> {
    stream: S,
    seen: Arc<FirstEvents>,
}

impl<S> Listening<S> {
    fn note<T>(&self, polled: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && error.kind() == std::io::ErrorKind::ConnectionReset
        {
            self.seen.reset.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.seen.heard.store(true, Ordering::Relaxed);
        }
        self.note(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A call whose body is still open. Dropping it cancels the call.
pub struct RawCall {
    send: SendStream<Bytes>,
    response: ResponseFuture,
}

impl RawCall {
    /// Hands bytes to the connection, which sends them as far as the peer's window goes.
    pub fn send(&mut self, bytes: Bytes, end: bool) {
        let _ = self.send.send_data(bytes, end); // where the peer has reset the stream, the reply says so
    }

    /// Waits until the peer's window has room for some of `wanted` bytes, and tells for how many.
    pub async fn room(&mut self, wanted: usize) -> usize {
        self.send.reserve_capacity(wanted);
        let room =
            within(WAIT_LONG, "room in a window", std::future::poll_fn(|cx| self.send.poll_capacity(cx)));
        room.await.expect("the stream is open").expect("the connection is open")
    }

    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
    }

    /// The head of the answer, and its body to read from.
    pub async fn head(&mut self) -> Result<http::Response<RecvStream>, h2::Error> {
        within(WAIT_MAX, "the head of an answer", &mut self.response).await
    }

    /// The whole answer, up to wherever it ends.
    pub async fn reply(mut self) -> RawReply {
        let mut reply = RawReply::default();
        match self.head().await {
            Ok(head) => {
                reply.status = head.status().as_u16();
                reply.headers = head.headers().clone();
                let body = head.into_body();
                if let Err(error) = within(WAIT_MAX, "the whole answer", reply.read(body)).await {
                    reply.error = Some(error);
                }
            }
            Err(error) => reply.error = Some(error),
        }
        reply
    }
}

/// The reply, as far as it came.
#[derive(Debug, Default)]
pub struct RawReply {
    /// 0 where there was no head.
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
    /// Why it ended before its end.
    pub error: Option<h2::Error>,
}

impl RawReply {
    async fn read(&mut self, mut body: RecvStream) -> Result<(), h2::Error> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    self.body = bytes.freeze();
                    return Err(error);
                }
            };
            bytes.extend_from_slice(&piece);
            body.flow_control().release_capacity(piece.len())?;
        }
        self.body = bytes.freeze();
        self.trailers = body.trailers().await?;
        Ok(())
    }

    /// A field of the trailers, or of the head where that is all there is.
    pub fn field(&self, name: &str) -> Option<&str> {
        let last = self.trailers.as_ref().unwrap_or(&self.headers);
        last.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the peer's GOAWAY says that it has not looked at the call, so that any client makes it again elsewhere.
    pub fn was_told_unseen(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.is_go_away() && error.is_remote())
    }

    pub fn grpc_status(&self) -> Option<&str> {
        self.field("grpc-status")
    }

    /// The reason of the RST_STREAM that ended it.
    pub fn reset(&self) -> Option<Reason> {
        self.error.as_ref().filter(|error| error.is_reset()).and_then(h2::Error::reason)
    }
}

/// A gRPC message: the flag, the length, the payload.
pub fn message(flag: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + payload.len());
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(payload.len()).expect("payloads here are small"));
    bytes.put_slice(payload);
    bytes.freeze()
}

/// The HTTP/2 client preface and an empty SETTINGS frame: what any bytes that shall get further begin with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends `bytes` on a connection of its own and returns what came back until the peer closed it.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let work = async {
        let mut stream = TcpStream::connect(address).await.expect("the peer listens");
        let mut back = Vec::new();
        if stream.write_all(bytes).await.is_ok() {
            let _ = stream.read_to_end(&mut back).await; // a reset is an end too
        }
        back
    };
    within(WAIT_MAX, "the peer closes the connection", work).await
}

/// Sends `bytes` and leaves the connection open, for peers that should lose patience. Keep what it returns.
pub async fn half_said(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the peer listens");
    stream.write_all(bytes).await.expect("a fresh connection takes bytes");
    stream
}
