//! The request's body, on its way from the client to the upstream.
//!
//! It goes up frame by frame, only as fast as the upstream takes it. It is also kept, up to a limit, as long as it may
//! have to be sent again.

use std::task::{Context, Poll};

use super::body_decoder::BodyDecoder;
use super::mirror_feed::FeedWriter;
use super::replay::ReplayBuffer;
use super::request_body::RequestBody;
use crate::buffer::Slice;
use crate::http2::{Sent, Stream};
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::wire::frame::Walker;

/// A request's body: its source, and its progress to an upstream.
/// Bytes of a connection's window that a call may keep until it is over.
const LITTLE: usize = 4096;

/// A request's body: where it comes from, and how far it is on its way to an upstream.
pub(in crate::worker) struct RequestForwarder {
    source: BodySource,
    feed: UpstreamBody,
}

/// The client's side of the body, and the part that is kept for a repetition.
struct BodySource {
    body: RequestBody,
    reading: BodyDecoder,
    /// All of the body has been received.
    received: bool,
    /// Where in its messages it is.
    walker: Walker,
    /// Bytes of the first message with its frame, and of all of them; zero until they have come.
    first_bytes: u64,
    passed_bytes: u64,
    /// Bytes of it, if it was read whole before it is sent.
    whole: u32,
    /// Bytes of a body that is read whole which the client may not send anew yet.
    unreleased: usize,
    kept: ReplayBuffer,
    /// Mirrors that get what comes. Apart, for few calls have any.
    copies: Option<Box<Copies>>,
}

/// The ends of copies that a body is written to.
struct Copies(Vec<FeedWriter>);

/// The body's way to one upstream.
pub(in crate::worker) struct UpstreamBody {
    sink: Option<Stream>,
    /// A chunk that is not yet sent whole, and how much of the client's window it holds.
    held: Option<(Slice, usize)>,
    /// Chunks at the end of the kept ones that are still to be sent.
    again: usize,
    sent_bytes: u64,
    /// All has been sent, or the upstream wants no more.
    done: bool,
}

impl RequestForwarder {
    #[inline]
    pub(in crate::worker) fn new(body: RequestBody, kept: ReplayBuffer) -> RequestForwarder {
        let reading = BodyDecoder::AsItIs;
        RequestForwarder {
            source: BodySource {
                body,
                reading,
                received: false,
                walker: Walker::new(),
                first_bytes: 0,
                passed_bytes: 0,
                whole: 0,
                unreleased: 0,
                kept,
                copies: None,
            },
            feed: UpstreamBody::new(0),
        }
    }

    /// Keeps up to `bytes_max` of the body from now on, to send the call again.
    pub(in crate::worker) fn keep(&mut self, bytes_max: u32) {
        self.source.kept.begin(bytes_max as usize);
    }

    /// Gives up repetition: the call is not sent again from now on.
    pub(in crate::worker) fn forget(&mut self) {
        self.source.kept.forget(self.feed.again > 0);
    }

    /// Sets the decoding of the body.
    pub(in crate::worker) fn read_as(&mut self, reading: BodyDecoder) {
        self.source.reading = reading;
    }

    /// Takes the reason why the body was refused, for the caller.
    pub(in crate::worker) fn detail(&mut self) -> Option<String> {
        self.source.reading.detail()
    }

    /// Receives the next chunk of a body of at most `length_max` bytes that is read whole before it is sent; `None` at its
    /// end. The client may send as much more when it has been sent, or when the call is over.
    pub(in crate::worker) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        length_max: usize,
    ) -> Poll<Result<Option<Slice>, Failure>> {
        let source = &mut self.source;
        if source.received {
            return Poll::Ready(Ok(None));
        }
        source.body.poll_chunk(cx).map(|chunk| match chunk {
            Some(Ok(chunk)) => {
                source.received = source.body.is_end();
                if source.received || source.body.keep_whole(length_max) {
                    source.unreleased += chunk.len();
                } else {
                    source.release(chunk.len());
                }
                Ok(Some(chunk))
            }
            Some(Err(failure)) => Err(failure),
            None => {
                source.received = true;
                Ok(None)
            }
        })
    }

    /// Sends `message`, which was made of a body that was read whole.
    pub(in crate::worker) fn send_whole(&mut self, message: Slice) {
        self.source.kept.add(&message);
        self.source.whole = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.feed.held = Some((message, std::mem::take(&mut self.source.unreleased)));
    }

    /// Receives and reads until there is something to send, or nothing more to come.
    pub(in crate::worker) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.feed.held.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.source.next(cx, &mut self.feed.again).map_ok(|chunk| self.feed.held = chunk)
    }

    /// Receives the body before it is sent, as much as may be kept. True if that is all of it.
    pub(in crate::worker) fn gather(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        while !self.source.received && self.source.kept.is_whole() {
            match self.source.read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some((chunk, length)))) => {
                    self.source.kept.hold(chunk);
                    self.feed.again += 1;
                    self.source.release(length);
                }
                Poll::Ready(Err(failure)) => return Err(failure),
            }
        }
        Ok(self.source.received)
    }

    /// Sends the body to `sink` from now on.
    pub(in crate::worker) fn to(&mut self, sink: Stream) {
        self.feed.sink = Some(sink);
    }

    /// The pieces of the body that are kept.
    pub(in crate::worker) fn kept(&self) -> &[Slice] {
        self.source.kept.chunks()
    }

    /// Copies the body for mirrors from now on, and what has come of it. Nothing of it has been sent.
    pub(in crate::worker) fn copy_to(&mut self, copies: Vec<FeedWriter>) {
        let held = self.feed.held.iter().map(|(piece, _)| piece);
        let kept = self.source.kept.chunks();
        for copy in &copies {
            // A piece that is held is among those kept, if any are.
            kept.iter().chain(held.clone().filter(|_| kept.is_empty())).for_each(|piece| copy.push(piece));
        }
        self.source.copies = Some(Box::new(Copies(copies)));
        self.source.end_copies();
    }

    /// Whether all of the body has come from the client.
    pub(in crate::worker) fn is_received(&self) -> bool {
        self.source.received
    }

    /// A further way of a body that is kept whole, to another upstream.
    pub(in crate::worker) fn copy(&self) -> UpstreamBody {
        debug_assert!(self.is_kept() && self.is_received());
        UpstreamBody::new(self.source.kept.chunks().len())
    }

    /// Sends as much of the body as that upstream takes.
    pub(in crate::worker) fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        copy: &mut UpstreamBody,
    ) -> Result<(), Failure> {
        if copy.done {
            return Ok(());
        }
        match copy.poll(cx, &mut self.source) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Gives up all other ways: from now on the body goes only this one.
    pub(in crate::worker) fn take(&mut self, copy: UpstreamBody) {
        self.feed = copy;
    }

    /// Whether all that was sent is kept still, so that it can be sent again.
    pub(in crate::worker) fn is_kept(&self) -> bool {
        self.source.kept.is_whole()
    }

    /// Begins anew for another attempt, with the kept chunks.
    pub(in crate::worker) fn rewind(&mut self) {
        debug_assert!(self.is_kept());
        // A chunk that was being sent is among those kept, so the client may send as much more.
        if let Some((_, length)) = self.feed.held.take() {
            self.source.release(length);
        }
        self.feed = UpstreamBody::new(self.source.kept.chunks().len());
    }

    /// Whether the upstream has all of the request, or wants no more of it.
    pub(in crate::worker) fn is_done(&self) -> bool {
        self.feed.done
    }

    /// Whether the upstream does not take bytes that are there. Otherwise the client is waited for.
    pub(in crate::worker) fn is_stalled(&self) -> bool {
        self.feed.held.is_some()
    }

    /// Since when the upstream does not take what there is, the time left out that it has earned by what it took.
    pub(in crate::worker) fn stalled_since(&self, now: Moment) -> Option<Moment> {
        let sink = self.feed.sink.as_ref();
        self.feed.held.as_ref().map(|_| sink.and_then(Stream::stalled_since).unwrap_or(now))
    }

    /// Whether the client has begun a message and owes the rest of it, and nobody else is waited for.
    pub(in crate::worker) fn is_owed(&self) -> bool {
        !self.source.received && self.feed.held.is_none() && self.source.is_inside()
    }

    /// Whether anything of the body has come, or is known not to come.
    pub(in crate::worker) fn has_begun(&self) -> bool {
        self.source.received || self.source.body.has_begun()
    }

    /// Bytes that are held until the client has sent more, or the upstream takes a message that was read whole.
    pub(in crate::worker) fn held_bytes(&self) -> usize {
        match &self.source.reading {
            BodyDecoder::Values(stream) => stream.held_bytes(),
            BodyDecoder::AsItIs | BodyDecoder::Text(_) if self.is_stalled() => self.source.whole as usize,
            BodyDecoder::AsItIs | BodyDecoder::Text(_) => 0,
        }
    }

    /// Whether more than a message has come from the client.
    pub(in crate::worker) fn has_several(&self) -> bool {
        self.source.passed_bytes > self.source.first_bytes && self.source.first_bytes > 0
    }

    /// Bytes of the body that came from the client, however often they were sent on.
    pub(in crate::worker) fn received_bytes(&self) -> u64 {
        self.source.body.received_bytes()
    }

    /// Bytes that the upstream of this attempt has taken.
    pub(in crate::worker) fn sent_bytes(&self) -> u64 {
        self.feed.sent_bytes
    }

    /// Gives the kept list back, for the next call to use.
    pub(in crate::worker) fn take_kept(&mut self) -> ReplayBuffer {
        std::mem::take(&mut self.source.kept)
    }

    /// Sends as much as the upstream takes. Ready when the whole request has been sent, or the upstream wants no more
    /// of it.
    pub(in crate::worker) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.feed.poll(cx, &mut self.source)
    }
}

impl UpstreamBody {
    /// Sends to `sink` from now on.
    pub(in crate::worker) fn to(&mut self, sink: Stream) {
        self.sink = Some(sink);
    }

    fn new(again: usize) -> UpstreamBody {
        UpstreamBody { sink: None, held: None, again, sent_bytes: 0, done: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>, source: &mut BodySource) -> Poll<Result<(), Failure>> {
        let Some(sink) = &mut self.sink else { return Poll::Pending };
        loop {
            if self.held.is_none() {
                match source.next(cx, &mut self.again) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Some(chunk))) => self.held = Some(chunk),
                    Poll::Ready(Ok(None)) => {
                        // The body ended without a frame that said so.
                        self.done = true;
                        let _ = sink.send_data(cx, &mut Slice::default(), true);
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                }
            }
            let Some((chunk, length)) = &mut self.held else { continue };
            let last = source.received && self.again == 0;
            let before = chunk.len();
            let sent = sink.send_data(cx, chunk, last);
            self.sent_bytes += (before - chunk.len()) as u64;
            match sent {
                Sent::Blocked => return Poll::Pending,
                Sent::All => {
                    source.release(*length);
                    self.held = None;
                    if last {
                        self.done = true;
                        return Poll::Ready(Ok(()));
                    }
                }
                Sent::Gone => {
                    // The upstream has reset the stream; the response's side tells why.
                    self.done = true;
                    self.held = None;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl BodySource {
    /// Whether a message has begun that has not ended.
    fn is_inside(&self) -> bool {
        match &self.reading {
            BodyDecoder::Values(stream) => stream.is_inside(),
            BodyDecoder::AsItIs | BodyDecoder::Text(_) => !self.walker.is_between(),
        }
    }

    /// The next piece to send: from what is kept first, then from the client. `None` at the end of a body whose last
    /// frame did not say that it was.
    fn next(
        &mut self,
        cx: &mut Context<'_>,
        again: &mut usize,
    ) -> Poll<Result<Option<(Slice, usize)>, Failure>> {
        if *again > 0 {
            let chunk = self.kept.chunks()[self.kept.chunks().len() - *again].clone();
            *again -= 1;
            if *again == 0 {
                self.kept.forget_if_exceeded();
            }
            // Its window was given back when it was first sent.
            return Poll::Ready(Ok(Some((chunk, 0))));
        }
        let read = self.read(cx);
        if let Poll::Ready(Ok(Some((chunk, _)))) = &read {
            self.kept.add(chunk);
        }
        read
    }

    /// The next piece from the client, and how much of its window that holds. Mirrors get a copy.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Slice, usize)>, Failure>> {
        let read = self.read_client(cx);
        if let Some(copies) = &self.copies {
            if let Poll::Ready(Ok(Some((piece, _)))) = &read {
                copies.0.iter().for_each(|copy| copy.push(piece));
            }
            if matches!(read, Poll::Ready(Ok(_))) {
                self.end_copies();
            }
        }
        read
    }

    /// Ends the copies, if all of the body has come.
    fn end_copies(&mut self) {
        if let Some(copies) = self.copies.take_if(|_| self.received) {
            copies.0.into_iter().for_each(FeedWriter::end);
        }
    }

    fn read_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Slice, usize)>, Failure>> {
        loop {
            if self.received {
                return Poll::Ready(Ok(None));
            }
            match self.body.poll_chunk(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(chunk))) => {
                    self.received = self.body.is_end();
                    let length = chunk.len();
                    let chunk = self.reading.read(chunk, self.received)?;
                    if !matches!(self.reading, BodyDecoder::Values(_)) {
                        self.walker.pass(&chunk);
                    }
                    if self.passed_bytes == 0
                        && let [_, a, b, c, d, ..] = chunk[..]
                    {
                        self.first_bytes = 5 + u64::from(u32::from_be_bytes([a, b, c, d]));
                    }
                    self.passed_bytes += chunk.len() as u64;
                    if chunk.is_empty() && length > 0 && !self.received {
                        self.release(length);
                        continue;
                    }
                    return Poll::Ready(Ok(Some((chunk, length))));
                }
                Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(failure)),
                Poll::Ready(None) => {
                    self.received = true;
                    let chunk = self.reading.read(Slice::default(), true)?;
                    if !chunk.is_empty() {
                        return Poll::Ready(Ok(Some((chunk, 0))));
                    }
                }
            }
        }
    }

    /// Lets the client send as much again. Little is given back with the stream, once the body has ended.
    fn release(&mut self, length: usize) {
        if length > if self.received { LITTLE } else { 0 } {
            self.body.release(length);
        }
    }
}
