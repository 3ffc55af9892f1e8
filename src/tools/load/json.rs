//! JSON over one HTTP/1.1 connection, which carries one call at a time.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::tally::Ending;
use super::traffic::{Counted, Traffic};
use crate::policy::status::Code;

pub(super) type Client = SendRequest<Full<Bytes>>;

/// A call that is made again and again.
#[derive(Debug)]
pub(super) struct Call {
    head: Request<()>,
    body: Bytes,
}

impl Call {
    pub(super) fn new(
        address: SocketAddr,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Call, http::Error> {
        let mut head = Request::builder().method(method).uri(path).header("host", address.to_string());
        if !body.is_empty() {
            head = head.header("content-type", "application/json");
        }
        Ok(Call { head: head.body(())?, body: body.clone() })
    }

    /// Makes the call; an error is the connection's end.
    pub(super) async fn make(&self, client: &mut Client) -> Result<Ending, hyper::Error> {
        client.ready().await?;
        let (head, ()) = self.head.clone().into_parts();
        let request = Request::from_parts(head, Full::new(self.body.clone()));
        let answer = client.send_request(request).await?;
        let status = answer.status();
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(if status.is_success() { Ending::Answered(Code::Ok) } else { Ending::Http(status.as_u16()) })
    }
}

/// Opens a connection, and drives it in a task of its own.
pub(super) async fn connect(address: SocketAddr, traffic: &Rc<Traffic>) -> io::Result<Client> {
    let socket = TokioIo::new(Counted::connect(address, traffic).await?);
    let (client, connection) = http1::handshake(socket).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(client)
}
