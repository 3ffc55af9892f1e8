//! Moves an answer's body frame by frame from the upstream to the client, only as fast as the client takes it.
//!
//! The upstream's window is opened again only for what the client's window has taken, so a slow reader holds at most
//! one window of bytes here.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;

use super::answer::Reply;
use crate::upstream::Failed;

/// The answer's body, on its way from the upstream to the client.
pub(super) struct Download {
    body: RecvStream,
    held: Option<(Bytes, usize)>,
    moved_bytes: u64,
}

impl Download {
    pub(super) fn new(body: RecvStream) -> Download {
        Download { body, held: None, moved_bytes: 0 }
    }

    pub(super) fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Whether it waits for the client to take what has come.
    pub(super) fn waits_for_client(&self) -> bool {
        self.held.is_some()
    }

    /// Moves what there is. Ready with the trailers when the body has ended.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Reply,
    ) -> Poll<Result<Option<HeaderMap>, Failed>> {
        loop {
            if self.held.is_none() {
                match self.body.poll_data(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(chunk))) => {
                        let length = chunk.len();
                        self.held = Some((chunk, length));
                    }
                    // Nothing is replayed once the client has a head.
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Failed::finally(Failed::of(&error).failure)));
                    }
                    Poll::Ready(None) => return self.poll_trailers(cx),
                }
            }
            let Some((chunk, length)) = &mut self.held else { continue };
            match reply.poll_send(cx, chunk) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(failed)) => return Poll::Ready(Err(failed)),
                Poll::Ready(Ok(())) => {
                    self.moved_bytes += *length as u64;
                    let _ = self.body.flow_control().release_capacity(*length);
                    self.held = None;
                }
            }
        }
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Failed>> {
        self.body.poll_trailers(cx).map_err(|error| Failed::finally(Failed::of(&error).failure))
    }
}
