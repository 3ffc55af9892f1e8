//! The body of a request, as HTTP/2 or HTTP/1.1 has it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Body;
use hyper::body::Incoming;

use crate::policy::failure::Failure;

/// Where the body comes from.
pub(super) enum Inlet {
    Http2(RecvStream),
    Http1(Incoming),
}

impl Inlet {
    /// The next chunk; `None` at the end. What was taken has to be released before the client may send more.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        match self {
            Inlet::Http2(body) => {
                body.poll_data(cx).map(|chunk| chunk.map(|chunk| chunk.map_err(|_| Failure::ClientGone)))
            }
            Inlet::Http1(body) => loop {
                return match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(None) => Poll::Ready(None),
                    Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(Failure::ClientGone))),
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(chunk) => Poll::Ready(Some(Ok(chunk))),
                        // Trailers of a request mean nothing to gRPC.
                        Err(_) => continue,
                    },
                };
            },
        }
    }

    /// Whether it is known that no more comes.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Inlet::Http2(body) => body.is_end_stream(),
            Inlet::Http1(body) => body.is_end_stream(),
        }
    }

    /// Lets the client send as much again. hyper does so by itself.
    pub(super) fn release(&mut self, length: usize) {
        if let Inlet::Http2(body) = self {
            let _ = body.flow_control().release_capacity(length);
        }
    }
}
