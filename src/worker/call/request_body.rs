//! The body of a request, as HTTP/2 or HTTP/1.1 has it.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Body;
use hyper::body::Incoming;

use crate::buffer::Slice;
use crate::http2::{Stream, StreamError};
use crate::policy::failure::Failure;

/// The body, as far as it has not been taken.
pub(in crate::worker) struct RequestBody {
    source: Source,
    received_bytes: u64,
}

/// Where it comes from.
enum Source {
    Http2(Stream),
    Http1(Incoming),
}

impl RequestBody {
    pub(in crate::worker) fn http2(stream: Stream) -> RequestBody {
        RequestBody { source: Source::Http2(stream), received_bytes: 0 }
    }

    pub(in crate::worker) fn http1(body: Incoming) -> RequestBody {
        RequestBody { source: Source::Http1(body), received_bytes: 0 }
    }

    /// Bytes that the client has sent of it, and that were taken.
    pub(in crate::worker) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The next chunk; `None` at the end. What was taken has to be released before the client may send more.
    pub(in crate::worker) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Slice, Failure>>> {
        let polled = self.source.poll_chunk(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            self.received_bytes += chunk.len() as u64;
        }
        polled
    }

    /// Whether anything of it has come, or is known not to come. Of HTTP/1.1 this is known only by asking for it.
    pub(in crate::worker) fn has_begun(&self) -> bool {
        let has_come = match &self.source {
            Source::Http2(stream) => stream.has_data(),
            Source::Http1(_) => false,
        };
        self.received_bytes > 0 || has_come || self.is_end()
    }

    /// Whether it is known that no more comes.
    pub(in crate::worker) fn is_end(&self) -> bool {
        match &self.source {
            Source::Http2(stream) => stream.is_end(),
            Source::Http1(body) => body.is_end_stream(),
        }
    }

    /// Lets the client send as much again. hyper does so by itself.
    pub(in crate::worker) fn release(&mut self, length: usize) {
        if let Source::Http2(stream) = &mut self.source {
            stream.release(length);
        }
    }
}

impl Source {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Slice, Failure>>> {
        match self {
            Source::Http2(stream) => stream.poll_data(cx).map(|chunk| match chunk {
                Ok(chunk) => chunk.map(Ok),
                Err(StreamError::Malformed(_)) => Some(Err(Failure::BrokenBody)),
                Err(_) => Some(Err(Failure::ClientGone)),
            }),
            Source::Http1(body) => loop {
                return match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(None) => Poll::Ready(None),
                    Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(&error)))),
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(chunk) => Poll::Ready(Some(Ok(chunk.into()))),
                        // Trailers of a request mean nothing to gRPC.
                        Err(_) => continue,
                    },
                };
            },
        }
    }
}

/// Why a body of HTTP/1.1 cannot be read on: its framing makes no sense, or no more of it comes.
fn broken(error: &hyper::Error) -> Failure {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Failure::BrokenBody,
        _ => Failure::ClientGone,
    }
}
