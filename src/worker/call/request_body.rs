//! The body of a request, as HTTP/2 or HTTP/1.1 has it.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::buffer::Slice;
use crate::http2::{Stream, StreamError};
use crate::policy::failure::Failure;
use crate::worker::downstream::h1_bridge::H1Bridge;

/// The body, as far as it has not been taken.
pub(in crate::worker) struct RequestBody {
    source: BodySource,
    received_bytes: u64,
}

/// The source of the body.
enum BodySource {
    Http2(Stream),
    Http1(Rc<H1Bridge>),
}

impl RequestBody {
    pub(in crate::worker) fn http2(stream: Stream) -> RequestBody {
        RequestBody { source: BodySource::Http2(stream), received_bytes: 0 }
    }

    pub(in crate::worker) fn http1(bridge: Rc<H1Bridge>) -> RequestBody {
        RequestBody { source: BodySource::Http1(bridge), received_bytes: 0 }
    }

    /// Bytes that the client has sent of it, and that were taken.
    pub(in crate::worker) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The next chunk; `None` at the end. The taken bytes have to be released before the client may send more.
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
            BodySource::Http2(stream) => stream.has_data(),
            BodySource::Http1(_) => false,
        };
        self.received_bytes > 0 || has_come || self.is_end()
    }

    /// Whether it is known that no more comes.
    pub(in crate::worker) fn is_end(&self) -> bool {
        match &self.source {
            BodySource::Http2(stream) => stream.is_end(),
            BodySource::Http1(bridge) => bridge.body.is_end(),
        }
    }

    /// Nothing of a body of up to `size` bytes is released until it is whole. False if the client may not hold so much; then
    /// it has to be released as it comes. A client of HTTP/1.1 has one body at a time.
    pub(in crate::worker) fn keep_whole(&mut self, size: usize) -> bool {
        match &mut self.source {
            BodySource::Http2(stream) => stream.keep_whole(size),
            BodySource::Http1(_) => true,
        }
    }

    /// Lets the client send as much again. hyper does so by itself.
    pub(in crate::worker) fn release(&mut self, length: usize) {
        if let BodySource::Http2(stream) = &mut self.source {
            stream.release(length);
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let BodySource::Http1(bridge) = &self.source {
            bridge.leave_body();
        }
    }
}

impl BodySource {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Slice, Failure>>> {
        match self {
            BodySource::Http2(stream) => stream.poll_data(cx).map(|chunk| match chunk {
                Ok(chunk) => chunk.map(Ok),
                Err(StreamError::Malformed(_)) => Some(Err(Failure::BrokenBody)),
                Err(_) => Some(Err(Failure::DownstreamReset)),
            }),
            BodySource::Http1(bridge) => bridge.body.poll_chunk(cx),
        }
    }
}
