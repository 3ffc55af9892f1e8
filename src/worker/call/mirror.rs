//! Copies of calls for other clusters. Nobody waits for them, and what they end with changes nothing.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::headers;
use super::mirror_feed::{FeedReader, FeedWriter, Part, feed};
use super::mirror_target::MirrorTarget;
use super::side_call::{Place, SideCall};
use crate::buffer::Slice;
use crate::http2::{Head, Sent, Stream};
use crate::policy::balance::Tried;
use crate::upstream::Cluster;
use crate::worker::core::Worker;

/// The suffix of the host of a copy, as from Envoy.
const SUFFIX: &[u8] = b"-shadow";

/// The head of a copy.
fn copy_of(worker: &Worker, head: &Head) -> Head {
    let mut copy = worker.heads.head();
    copy.copy_from(head);
    let authority = [head.authority().unwrap_or_default(), SUFFIX].concat();
    copy.set_authority(&authority);
    worker.local.counts().mirrored.add(1);
    copy
}

/// Sends a copy of a call on its way whose body is whole. The body is copied, too: the worker's receive buffers are needed
/// by others.
pub(super) fn send(
    target: &MirrorTarget,
    worker: &Worker,
    cluster: &Rc<Cluster>,
    head: &Head,
    body: &[Slice],
) {
    let copy = copy_of(worker, head);
    let body: Vec<Slice> =
        body.iter().filter(|piece| !piece.is_empty()).map(|it| Slice::copy_of(it)).collect();
    let (clock, local) = (Rc::clone(&worker.clock), Rc::clone(&worker.local));
    let (cluster, active) = (Rc::clone(cluster), target.begin());
    let until = worker.clock.now().plus(target.settings.timeout);
    worker.spawn(async move {
        let _active = active;
        let call = SideCall {
            clock: &clock,
            cluster: &cluster,
            head: &copy,
            body: &body,
            response_max: 0,
            is_told: false,
        };
        let timer = local.timers.timer();
        let ended = timer.within(until, call.make()).await;
        if !matches!(ended, Some(Ok(_))) {
            local.counts().mirrors_failed.add(1);
        }
    });
}

/// How a copy of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    Failed,
    /// The mirror was too slow.
    Dropped,
    /// The call ended before its body.
    Cut,
}

/// Sends a copy of a call on its way whose body is still coming, and gives the end that the body has to be written to.
pub(super) fn follow(
    target: &MirrorTarget,
    worker: &Worker,
    cluster: &Rc<Cluster>,
    head: &Head,
) -> FeedWriter {
    let copy = copy_of(worker, head);
    let (writer, reader) = feed(target.settings.max_buffered_bytes);
    let (clock, local) = (Rc::clone(&worker.clock), Rc::clone(&worker.local));
    let (cluster, active, timeout) = (Rc::clone(cluster), target.begin(), target.settings.timeout);
    worker.spawn(async move {
        let _active = active;
        let mut copying = pin!(exchange(&cluster, &copy, &reader));
        // The call bounds the time of its body, and the copy's own time begins behind it.
        let ended = poll_fn(|cx| match copying.as_mut().poll(cx) {
            Poll::Pending if reader.is_whole() => Poll::Ready(None),
            polled => polled.map(Some),
        });
        let ended = match ended.await {
            Some(ended) => ended,
            None => {
                let until = clock.now().plus(timeout);
                local.timers.timer().within(until, copying).await.unwrap_or(End::Failed)
            }
        };
        match ended {
            End::Failed => local.counts().mirrors_failed.add(1),
            End::Dropped => local.counts().mirrors_dropped.add(1),
            End::Answered | End::Cut => {}
        }
    });
    writer
}

/// Sends the copy of a stream, and drops its response.
async fn exchange(cluster: &Rc<Cluster>, head: &Head, body: &FeedReader) -> End {
    if !cluster.limit().take() {
        return End::Failed;
    }
    let _place = Place(cluster);
    let mut acquire = pin!(cluster.acquire(Tried::default(), false));
    let lease = poll_fn(|cx| match body.poll_lost(cx) {
        Poll::Ready(lost) => Poll::Ready(Err(end_of(&lost))),
        Poll::Pending => acquire.as_mut().poll(cx).map_err(|_| End::Failed),
    });
    let lease = match lease.await {
        Ok(lease) => lease,
        Err(end) => return end,
    };
    // Dropped before the lease: the stream ends before its place is given away.
    let Ok(stream) = lease.open(head, false) else { return End::Failed };
    let mut copy = Copy { stream: &stream, body, piece: None, is_sent: false, is_answered: false };
    poll_fn(|cx| copy.poll(cx)).await
}

fn end_of(lost: &Part) -> End {
    if matches!(lost, Part::Overflown) { End::Dropped } else { End::Cut }
}

/// The copy of a stream under way.
struct Copy<'a> {
    stream: &'a Stream,
    body: &'a FeedReader,
    /// A piece that is not yet sent whole, and whether it is the last.
    piece: Option<(Slice, bool)>,
    /// All has been sent, or the mirror wants no more.
    is_sent: bool,
    /// The response has begun.
    is_answered: bool,
}

impl Copy<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.is_sent
            && let Poll::Ready(end) = self.poll_send(cx)
        {
            return Poll::Ready(end);
        }
        if !self.is_answered {
            match self.stream.poll_head(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Failed),
                Poll::Ready(Ok(head)) => {
                    if self.stream.ended_with_head() {
                        let is_status = headers::status(&head).is_some();
                        return Poll::Ready(if is_status { End::Answered } else { End::Failed });
                    }
                    self.is_answered = true;
                }
            }
        }
        loop {
            match self.stream.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Failed),
                Poll::Ready(Ok(Some(piece))) => self.stream.release(piece.len()),
                Poll::Ready(Ok(None)) => {
                    let code = self.stream.take_trailers().as_ref().and_then(headers::status);
                    return Poll::Ready(if code.is_some() { End::Answered } else { End::Failed });
                }
            }
        }
    }

    /// Sends as much as the mirror takes. Ready where the copy is given up.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let (piece, is_last) = match &mut self.piece {
                Some(piece) => piece,
                None => match self.body.poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Part::Piece(piece, is_last)) => self.piece.insert((piece, is_last)),
                    Poll::Ready(lost) => return Poll::Ready(end_of(&lost)),
                },
            };
            match self.stream.send_data(cx, piece, *is_last) {
                // Meanwhile the call may end, or its body may become too much.
                Sent::Blocked => return self.body.poll_lost(cx).map(|lost| end_of(&lost)),
                Sent::All if !*is_last => self.piece = None,
                Sent::All | Sent::Gone => {
                    self.is_sent = true;
                    return Poll::Pending;
                }
            }
        }
    }
}
