//! The answer to a gRPC caller: passed through from the upstream, or made here when a call fails.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::head::{GRPC_MESSAGE, GRPC_STATUS};
use crate::policy::failure::Failure;
use crate::upstream::Failed;

/// How far the answer is.
pub(super) enum Reply {
    /// Nothing has been sent.
    NotBegun(SendResponse<Bytes>),
    /// The head has been sent.
    Begun(SendStream<Bytes>),
    /// All has been sent, or nobody is there.
    Over,
}

/// The caller cannot be answered any more.
const GONE: Failed = Failed::finally(Failure::ClientGone);

impl Reply {
    /// Sends a head that is all of the answer.
    pub(super) fn send_whole(&mut self, head: Response<()>) -> Result<(), Failed> {
        match std::mem::replace(self, Reply::Over) {
            Reply::NotBegun(mut respond) => respond.send_response(head, true).map(drop).map_err(|_| GONE),
            Reply::Begun(_) | Reply::Over => Err(GONE),
        }
    }

    /// Sends the head of an answer.
    pub(super) fn begin(&mut self, head: Response<()>) -> Result<(), Failed> {
        match std::mem::replace(self, Reply::Over) {
            Reply::NotBegun(mut respond) => {
                *self = Reply::Begun(respond.send_response(head, false).map_err(|_| GONE)?);
                Ok(())
            }
            Reply::Begun(_) | Reply::Over => Err(GONE),
        }
    }

    /// The stream of an answer that has begun.
    pub(super) fn stream(&mut self) -> Option<&mut SendStream<Bytes>> {
        match self {
            Reply::Begun(stream) => Some(stream),
            Reply::NotBegun(_) | Reply::Over => None,
        }
    }

    /// Sends the trailers of an answer that has begun.
    pub(super) fn end(&mut self, trailers: HeaderMap) -> Result<(), Failed> {
        match std::mem::replace(self, Reply::Over) {
            Reply::Begun(mut stream) => stream.send_trailers(trailers).map_err(|_| GONE),
            Reply::NotBegun(_) | Reply::Over => Err(GONE),
        }
    }

    /// Ends the answer with a failure: as its only head, or as trailers if it had begun. Nothing for a client that has
    /// gone.
    pub(super) fn fail(&mut self, failure: Failure) {
        if failure == Failure::ClientGone {
            *self = Reply::Over;
            return;
        }
        // An error here means that the client has gone meanwhile, which its connection notices itself.
        let _ = match self {
            Reply::NotBegun(_) => self.send_whole(trailers_only(failure)),
            Reply::Begun(_) => self.end(trailers(failure)),
            Reply::Over => Ok(()),
        };
    }

    /// Ready when the client has cancelled or its connection has ended.
    pub(super) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Reply::NotBegun(respond) => respond.poll_reset(cx).map(drop),
            Reply::Begun(stream) => stream.poll_reset(cx).map(drop),
            Reply::Over => Poll::Pending,
        }
    }
}

/// A failure as a gRPC answer without messages ("Trailers-Only" in gRPC over HTTP/2).
fn trailers_only(failure: Failure) -> Response<()> {
    let mut headers = trailers(failure);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if failure == Failure::NotPost {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(failure.http()).expect("a status of our own table");
    *response.headers_mut() = headers;
    response
}

fn trailers(failure: Failure) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.insert(&GRPC_STATUS, HeaderValue::from_static(failure.code().text()));
    trailers.insert(&GRPC_MESSAGE, HeaderValue::from_static(failure.message()));
    trailers
}
