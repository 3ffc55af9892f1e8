//! Unary gRPC calls over one HTTP/2 connection.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};

use super::tally::Ending;
use super::traffic::{Counted, Traffic};
use crate::policy::status::Code;

/// So large that no call waits for one.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A call that is made again and again.
#[derive(Debug)]
pub(super) struct Call {
    head: Request<()>,
    /// The message in its frame.
    body: Bytes,
}

impl Call {
    pub(super) fn new(
        address: SocketAddr,
        path: &str,
        message: &[u8],
        headers: &[(String, String)],
    ) -> Result<Call, http::Error> {
        let mut head = Request::post(format!("http://{address}{path}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", concat!("ringway-load/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            head = head.header(name, value);
        }
        let mut body = BytesMut::with_capacity(5 + message.len());
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        body.put_slice(message);
        Ok(Call { head: head.body(())?, body: body.freeze() })
    }

    /// Makes the call; an error is the connection's end.
    pub(super) async fn make(&self, client: SendRequest<Bytes>) -> Result<Ending, h2::Error> {
        let mut client = client.ready().await?;
        let (response, mut body) = client.send_request(self.head.clone(), false)?;
        body.send_data(self.body.clone(), true)?;
        let (head, body) = match response.await {
            Ok(response) => response.into_parts(),
            Err(error) => return reset(error),
        };
        if head.status != StatusCode::OK {
            return Ok(Ending::Http(head.status.as_u16()));
        }
        let status = match trailers(body).await {
            Ok(trailers) => status(&head.headers).or(trailers.as_ref().and_then(status)),
            Err(error) => return reset(error),
        };
        Ok(Ending::Answered(status.unwrap_or(Code::Unknown)))
    }
}

/// Opens a connection, and drives it in a task of its own.
pub(super) async fn connect(address: SocketAddr, traffic: &Rc<Traffic>) -> io::Result<SendRequest<Bytes>> {
    let socket = Counted::connect(address, traffic).await?;
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let (client, connection) = settings.handshake(socket).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(client)
}

/// A stream that was reset has an end of its own; the connection goes on.
fn reset(error: h2::Error) -> Result<Ending, h2::Error> {
    match error.reason() {
        Some(reason) if error.is_reset() => Ok(Ending::Answered(Code::from_reset(reason.into()))),
        _ => Err(error),
    }
}

/// Takes the messages, and gives the trailers.
async fn trailers(mut body: RecvStream) -> Result<Option<HeaderMap>, h2::Error> {
    while let Some(piece) = body.data().await {
        let count = piece?.len();
        body.flow_control().release_capacity(count)?;
    }
    body.trailers().await
}

fn status(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_header(value.as_bytes()))
}
