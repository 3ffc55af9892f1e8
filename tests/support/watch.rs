//! Looks at the messages that pass in a body without touching them: their compressed flags, and how the body ended.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::Channel;

/// An event that a watcher is told.
pub enum BodyEvent<'a> {
    /// A message began; this is its flag byte.
    Message(u8),
    /// The trailers, which may be changed.
    Trailers(&'a mut http::HeaderMap),
    /// The body is complete.
    End,
    /// The body ended in the middle, or its peer cancelled it.
    Broken,
}

/// A body that tells `watcher` what passes.
pub struct Watched {
    inner: tonic::body::Body,
    walker: Walker,
    watcher: Box<dyn FnMut(BodyEvent<'_>) + Send>,
}

impl Watched {
    pub fn wrap(
        inner: tonic::body::Body,
        mut watcher: impl FnMut(BodyEvent<'_>) + Send + 'static,
    ) -> tonic::body::Body {
        if inner.is_end_stream() {
            watcher(BodyEvent::End); // nobody is going to ask it for a frame
        }
        tonic::body::Body::new(Self { inner, walker: Walker::default(), watcher: Box::new(watcher) })
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = &mut *self;
        let mut polled = ready!(Pin::new(&mut this.inner).poll_frame(context));
        match &mut polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.walker.walk(data, |flag| (this.watcher)(BodyEvent::Message(flag)));
                } else if let Some(trailers) = frame.trailers_mut() {
                    (this.watcher)(BodyEvent::Trailers(trailers));
                    (this.watcher)(BodyEvent::End);
                }
            }
            Some(Err(_)) => (this.watcher)(BodyEvent::Broken),
            None => (this.watcher)(BodyEvent::End),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Finds the flag byte of each gRPC message in a body that comes in pieces.
#[derive(Default)]
pub struct Walker {
    head: Vec<u8>,
    left: usize,
}

impl Walker {
    pub fn walk(&mut self, mut piece: &[u8], mut message: impl FnMut(u8)) {
        while !piece.is_empty() {
            let skipped = piece.len().min(self.left);
            self.left -= skipped;
            piece = &piece[skipped..];
            let taken = piece.len().min(5 - self.head.len());
            self.head.extend_from_slice(&piece[..taken]);
            piece = &piece[taken..];
            if let [flag, a, b, c, d] = self.head[..] {
                message(flag);
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.head.clear();
            }
        }
    }
}

/// A channel that notes the flag of each message that comes back.
#[derive(Clone)]
pub struct FlagChannel {
    inner: Channel,
    flags: Arc<Mutex<Vec<u8>>>,
}

impl FlagChannel {
    pub fn new(inner: Channel) -> Self {
        Self { inner, flags: Arc::default() }
    }

    /// The flags seen since the last time this was asked.
    pub fn take_flags(&self) -> Vec<u8> {
        std::mem::take(&mut self.flags.lock().expect("no test panics while it holds this"))
    }
}

impl Service<http::Request<tonic::body::Body>> for FlagChannel {
    type Response = http::Response<tonic::body::Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let flags = Arc::clone(&self.flags);
        let reply = Service::call(&mut self.inner, request);
        Box::pin(async move {
            Ok(reply.await?.map(|body| {
                Watched::wrap(body, move |seen| {
                    if let BodyEvent::Message(flag) = seen {
                        flags.lock().expect("no test panics while it holds this").push(flag);
                    }
                })
            }))
        })
    }
}

#[test]
fn the_walker_finds_flags_however_the_bytes_are_cut() {
    let bytes = [0, 0, 0, 0, 2, 9, 9, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 7];
    for cut in 1..bytes.len() {
        let (mut walker, mut flags) = (Walker::default(), Vec::new());
        for piece in bytes.chunks(cut) {
            walker.walk(piece, |flag| flags.push(flag));
        }
        assert_eq!(flags, [0, 1, 1], "cut every {cut} bytes");
    }
}
