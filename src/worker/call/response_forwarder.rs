//! Moves a response's body piece by piece from the upstream to the client, only as fast as the client takes it.
//!
//! The upstream's window opens again only for bytes that the client's window has taken. So a slow reader holds at most
//! one window of bytes here.

use std::task::{Context, Poll};

use super::responder::Responder;
use crate::buffer::Slice;
use crate::http2::{Head, Stream};
use crate::upstream::AttemptError;

/// The response's body, on its way from the upstream to the client.
pub(in crate::worker) struct ResponseForwarder {
    stream: Stream,
    held: Option<(Slice, usize)>,
    moved_bytes: u64,
    /// Bytes of the first message with its frame; zero until it has come.
    first_bytes: u64,
}

impl ResponseForwarder {
    pub(in crate::worker) fn new(stream: Stream) -> ResponseForwarder {
        ResponseForwarder { stream, held: None, moved_bytes: 0, first_bytes: 0 }
    }

    pub(in crate::worker) fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Whether more than a message has come.
    pub(in crate::worker) fn has_several(&self) -> bool {
        self.moved_bytes > self.first_bytes && self.first_bytes > 0
    }

    /// Whether it waits for the client to take bytes.
    pub(in crate::worker) fn waits_for_client(&self) -> bool {
        self.held.is_some()
    }

    /// Sends as much as the client takes. Ready at the end of the body, with its trailers, if there are any.
    pub(in crate::worker) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        responder: &mut Responder,
    ) -> Poll<Result<Option<Head>, AttemptError>> {
        loop {
            if self.held.is_none() {
                match self.stream.poll_data(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Some(chunk))) => {
                        let length = chunk.len();
                        if self.moved_bytes == 0
                            && let [_, a, b, c, d, ..] = chunk[..]
                        {
                            // The only look into a message: one that is all of the response has this length.
                            self.first_bytes = 5 + u64::from(u32::from_be_bytes([a, b, c, d]));
                        }
                        self.held = Some((chunk, length));
                    }
                    // Nothing is replayed once the client has a head.
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(AttemptError::terminal(
                            AttemptError::from_stream(error).failure,
                        )));
                    }
                    Poll::Ready(Ok(None)) => return Poll::Ready(Ok(self.stream.take_trailers())),
                }
            }
            let Some((chunk, length)) = &mut self.held else { continue };
            match responder.poll_send(cx, chunk) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(failed)) => return Poll::Ready(Err(failed)),
                Poll::Ready(Ok(())) => {
                    self.moved_bytes += *length as u64;
                    self.stream.release(*length);
                    self.held = None;
                }
            }
        }
    }
}
