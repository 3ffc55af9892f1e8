//! A client's HTTP/2 connection, until either side ends it.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use h2::server;

use super::Worker;
use super::accept::Begin;
use super::calls::Calls;
use super::channel::Channel;
use super::client::Client;
use super::inlet::Inlet;
use crate::config;
use crate::net::Pipe;
use crate::net::pipe::{End, Io};
use crate::time::Moment;
use crate::time::timers::Timer;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often a connection is looked at for idleness and for a peer that does not read.
pub(super) const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Reads the client's preface.
pub(super) async fn handshake(
    pipe: &Rc<Pipe>,
    listener: &config::Listener,
) -> Result<Box<server::Connection<Io, Bytes>>, ()> {
    Box::pin(builder(&listener.http2).handshake(pipe.io())).await.map(Box::new).map_err(drop)
}

/// Serves a connection that has greeted.
pub(super) async fn serve<F: Future<Output = ()>>(
    worker: Rc<Worker>,
    client: Rc<Client>,
    pipe: &Pipe,
    h2: Box<server::Connection<Io, Bytes>>,
    timer: Timer,
    calls: &Calls<F>,
    begin: Begin<F>,
) {
    let mut connection = Connection { worker, client, pipe, h2, timer, goodbye: false };
    poll_fn(|cx| connection.poll(cx, calls, begin)).await;
}

/// Settings towards clients: every bound that h2 leaves open by default is set.
fn builder(settings: &config::Http2) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .initial_window_size(settings.initial_stream_window_size)
        .initial_connection_window_size(settings.initial_connection_window_size)
        .max_frame_size(settings.max_frame_size)
        .max_header_list_size(settings.max_header_list_size)
        .max_send_buffer_size(settings.max_send_buffer_size as usize);
    builder
}

/// An HTTP/2 connection that has greeted.
struct Connection<'a> {
    worker: Rc<Worker>,
    client: Rc<Client>,
    pipe: &'a Pipe,
    h2: Box<server::Connection<Io, Bytes>>,
    timer: Timer,
    /// The client has been told to open no more calls here.
    goodbye: bool,
}

impl Connection<'_> {
    fn poll<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        calls: &Calls<F>,
        begin: Begin<F>,
    ) -> Poll<()> {
        self.prepare(cx);
        let polled = self.accept(cx, calls, begin);
        calls.run_begun();
        polled
    }

    /// Begins a call for each request that has come.
    fn accept<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        calls: &Calls<F>,
        begin: Begin<F>,
    ) -> Poll<()> {
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let (head, body) = request.into_parts();
                    let (body, channel) = (Inlet::http2(body), Channel::http2(respond));
                    calls.begin(begin(Rc::clone(&self.worker), Rc::clone(&self.client), head, body, channel));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ended_with(&error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                // What was decided below has to be written by h2.
                Poll::Pending if self.decide() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sees to waker and timer.
    fn prepare(&mut self, cx: &Context<'_>) {
        self.client.keep_waker(cx);
        if !self.timer.is_armed() {
            let now = self.timer.now();
            if self.timer.fired() {
                self.look(now);
            }
            self.timer.arm(now.plus(LOOK), cx.waker());
        }
    }

    /// Ends what has been idle, or has not read, for too long.
    fn look(&self, now: Moment) {
        if self.client.does_not_read(self.pipe, now) {
            self.pipe.abort();
        } else if self.client.has_been_idle(now) {
            if self.goodbye {
                // It has not answered the goodbye, on which h2 waits for as long as that takes.
                return self.pipe.abort();
            }
            self.client.local.counts().idle_timeouts.add(1);
            self.client.drains.set(true);
        }
    }

    /// Says goodbye if it is time; true if there is something to send.
    fn decide(&mut self) -> bool {
        if self.client.floods.replace(false) {
            self.client.local.counts().floods.add(1);
            self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return true;
        }
        if self.client.drains.get() && !self.goodbye {
            self.goodbye = true;
            self.h2.graceful_shutdown();
            return true;
        }
        false
    }

    fn ended_with(&self, error: &h2::Error) {
        // A client that goes without a word is no protocol error.
        if !error.is_io()
            && self.pipe.inward_end() != Some(End::Closed)
            && error.reason() != Some(Reason::NO_ERROR)
        {
            tracing::debug!(%error, "client connection ended");
            self.client.local.counts().protocol_errors.add(1);
        }
    }
}
