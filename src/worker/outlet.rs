//! Sends a body over HTTP/2, only as fast as the receiver takes it.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;

/// Bytes at the beginning of a body that are sent without asking for room: most messages are smaller, and asking costs
/// as much as sending. The library holds them if the window is shut.
const UNMETERED: usize = 16 * 1024;

/// The sending end of one direction.
pub(super) struct Outlet {
    unmetered: usize,
}

impl Outlet {
    pub(super) const fn new() -> Outlet {
        Outlet { unmetered: UNMETERED }
    }

    /// Sends `chunk`, as much at a time as there is room. Ready when all of it is sent, and the stream ended if it was
    /// the `last`.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut SendStream<Bytes>,
        chunk: &mut Bytes,
        last: bool,
    ) -> Poll<Result<(), h2::Error>> {
        if chunk.len() <= self.unmetered {
            self.unmetered -= chunk.len();
            return Poll::Ready(sink.send_data(std::mem::take(chunk), last));
        }
        self.unmetered = 0;
        sink.reserve_capacity(chunk.len());
        loop {
            let room = sink.capacity();
            if room >= chunk.len() {
                return Poll::Ready(sink.send_data(std::mem::take(chunk), last));
            }
            if room > 0 {
                sink.send_data(chunk.split_to(room), false)?;
                sink.reserve_capacity(chunk.len());
                continue;
            }
            match sink.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Err(h2::Reason::CANCEL.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
