//! Moves bodies frame by frame from one stream to another, only as fast as the receiver takes them.
//!
//! A sender's window is opened again only for what the other side's window has taken, so a slow reader holds at most
//! one window of bytes here. A request is also kept, up to a limit, as long as it may have to be sent again.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::answer::Reply;
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::reading::Reading;
use super::replays::Kept;
use crate::policy::failure::Failure;
use crate::upstream::Failed;

/// The request's body, on its way from the client to the upstream.
pub(super) struct Upload {
    body: Inlet,
    reading: Reading,
    sink: Option<SendStream<Bytes>>,
    outlet: Outlet,
    /// Received and not yet sent whole, and how long it was when it was received.
    held: Option<(Bytes, usize)>,
    /// All of the body has been received.
    received: bool,
    /// All of it has been sent, or the upstream wants no more.
    done: bool,
    moved_bytes: u64,
    kept: Kept,
    /// Chunks of what is kept that the current attempt still has to send.
    again: usize,
}

impl Upload {
    pub(super) fn new(body: Inlet, kept: Kept) -> Upload {
        Upload {
            body,
            reading: Reading::AsItIs,
            sink: None,
            outlet: Outlet::new(),
            held: None,
            received: false,
            done: false,
            moved_bytes: 0,
            kept,
            again: 0,
        }
    }

    /// Keeps what is needed to send the call again, and from now on up to `bytes_max` of its body.
    pub(super) fn keep_head(&mut self, head: &Parts, bytes_max: u32) {
        self.kept.begin(head, bytes_max as usize);
    }

    /// The head of the call as it was kept.
    pub(super) fn head_again(&self) -> Result<Parts, Failure> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::try_from(self.kept.uri()).map_err(|_| Failure::BadPath)?;
        for (name, value) in self.kept.fields() {
            let name = HeaderName::from_bytes(name).map_err(|_| Failure::BadPath)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| Failure::BadPath)?;
            request.headers_mut().append(name, value);
        }
        Ok(request.into_parts().0)
    }

    /// The path of the call as it was kept.
    pub(super) fn path(&self) -> Option<Uri> {
        Uri::try_from(self.kept.uri()).ok()
    }

    /// How the body becomes what the upstream gets.
    pub(super) fn read_as(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// What to tell of the body that was refused.
    pub(super) fn detail(&mut self) -> Option<String> {
        self.reading.detail()
    }

    /// Receives the next chunk of a body that is read whole before it is sent; `None` at its end.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        if self.received {
            return Poll::Ready(Ok(None));
        }
        self.body.poll_chunk(cx).map(|chunk| match chunk {
            Some(Ok(chunk)) => {
                self.received = self.body.is_end();
                if !self.received {
                    self.body.release(chunk.len());
                }
                Ok(Some(chunk))
            }
            Some(Err(failure)) => Err(failure),
            None => {
                self.received = true;
                Ok(None)
            }
        })
    }

    /// What was read whole, as it is sent.
    pub(super) fn send_whole(&mut self, message: Bytes) {
        self.kept.add(&message);
        self.held = Some((message, 0));
    }

    /// Receives and reads until there is something to send, or nothing more to come.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Upload { body, reading, received, kept, again, held, .. } = self;
        if held.is_some() {
            return Poll::Ready(Ok(()));
        }
        next_chunk(cx, body, reading, received, kept, again).map_ok(|chunk| *held = chunk)
    }

    /// From now on the body goes to `sink`.
    pub(super) fn to(&mut self, sink: SendStream<Bytes>) {
        self.sink = Some(sink);
    }

    /// Whether all that was sent is kept still, so that it can be sent again.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_whole()
    }

    /// Begins anew for another attempt, with what is kept.
    pub(super) fn rewind(&mut self) {
        debug_assert!(self.is_kept());
        self.sink = None;
        self.outlet = Outlet::new();
        // A chunk that was being sent is among those kept.
        self.held = None;
        self.done = false;
        self.again = self.kept.chunks().len();
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Bytes of the body that came from the client, however often they were sent on.
    pub(super) fn received_bytes(&self) -> u64 {
        self.body.received_bytes()
    }

    /// Gives back what was kept, for the next call to use.
    pub(super) fn into_kept(self) -> Kept {
        self.kept
    }

    /// Moves what there is. Ready when the whole request has been sent, or the upstream wants no more of it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Upload {
            body,
            reading,
            sink: Some(sink),
            outlet,
            held,
            received,
            done,
            moved_bytes,
            kept,
            again,
        } = self
        else {
            return Poll::Pending;
        };
        loop {
            if held.is_none() {
                match next_chunk(cx, body, reading, received, kept, again) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Some(chunk))) => *held = Some(chunk),
                    Poll::Ready(Ok(None)) => {
                        // The body ended without a frame that said so.
                        *done = true;
                        let _ = sink.send_data(Bytes::new(), true);
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                }
            }
            let Some((chunk, length)) = held else { continue };
            let last = *received && *again == 0;
            match outlet.poll_send(cx, sink, chunk, last) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {
                    *moved_bytes += *length as u64;
                    // Of a body that has ended the library takes back the rest by itself.
                    if !*received {
                        body.release(*length);
                    }
                    *held = None;
                    if last {
                        *done = true;
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(_)) => {
                    // The upstream has reset the stream; the answer's side tells why.
                    *done = true;
                    *held = None;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// The next piece to send: from what is kept first, then from the client. `None` at the end of a body whose last frame
/// did not say that it was.
fn next_chunk(
    cx: &mut Context<'_>,
    body: &mut Inlet,
    reading: &mut Reading,
    received: &mut bool,
    kept: &mut Kept,
    again: &mut usize,
) -> Poll<Result<Option<(Bytes, usize)>, Failure>> {
    if *again > 0 {
        let chunk = kept.chunks()[kept.chunks().len() - *again].clone();
        *again -= 1;
        // Its window was given back when it was first sent.
        return Poll::Ready(Ok(Some((chunk, 0))));
    }
    loop {
        if *received {
            return Poll::Ready(Ok(None));
        }
        match body.poll_chunk(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(chunk))) => {
                *received = body.is_end();
                let length = chunk.len();
                let chunk = reading.read(chunk, *received)?;
                if chunk.is_empty() && length > 0 && !*received {
                    body.release(length);
                    continue;
                }
                kept.add(&chunk);
                return Poll::Ready(Ok(Some((chunk, length))));
            }
            Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(failure)),
            Poll::Ready(None) => {
                *received = true;
                let chunk = reading.read(Bytes::new(), true)?;
                if !chunk.is_empty() {
                    kept.add(&chunk);
                    return Poll::Ready(Ok(Some((chunk, 0))));
                }
            }
        }
    }
}

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
