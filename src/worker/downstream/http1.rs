//! A client's HTTP/1.1 connection, until either side ends it.
//!
//! hyper reads requests and writes answers; each request is a call like any other, in a slot of its own, which gives its
//! answer through an [`H1Bridge`]. hyper reads the next request only after the response to the one before. What a call has
//! left of its body is read and dropped ([`h1_body`](super::h1_body)), or the connection is closed: it is never taken for a request.
//!
//! A guard against request smuggling: hyper accepts some `transfer-encoding` values that other parsers read
//! differently. Here `chunked` alone is accepted. `upgrade` has no effect.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts as HttpParts;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::Service;
use hyper_util::rt::TokioIo;

use super::client::{CHECK_INTERVAL, Client};
use super::content_lengths::{ContentLengthScanner, ScannedIo};
use super::h1_bridge::{H1Bridge, ResponseBody, ResponseFuture, Truncated};
use crate::config;
use crate::http2::Name;
use crate::metrics::ProtocolError;
use crate::net::BufferedConn;
use crate::net::buffered_conn::Io;
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::time::timers::Timer;
use crate::worker::call::headers::{self, Arrival};
use crate::worker::call::protocol::Version;
use crate::worker::call::request_body::RequestBody;
use crate::worker::call::responder::json::status_body;
use crate::worker::call::responder::sink::ResponseSink;
use crate::worker::core::Worker;

/// The least bound of a head that hyper takes.
const HEAD_BYTES_MIN: usize = 8192;

/// Heads up to so many times the bound are read, and answered with an error; larger ones end the connection.
const ANSWERED_UP_TO: usize = 8;

/// Header fields for which hyper needs no memory of its own.
const HEADERS_COUNT: usize = 100;

/// Serves a connection.
pub(in crate::worker) async fn serve(
    worker: Rc<Worker>,
    client: Rc<Client>,
    conn: &Rc<BufferedConn>,
    timer: &Timer,
) {
    client.speaks_http1.set(true);
    let exchange = Rc::new(H1Bridge::new(client.settings().max_unread_body_size));
    let lengths = Rc::new(ContentLengthScanner::default());
    let io = TokioIo::new(ScannedIo::new(conn.io(), &lengths));
    let requests = Requests {
        worker: Rc::clone(&worker),
        client: Rc::clone(&client),
        exchange: Rc::clone(&exchange),
        lengths,
    };
    let mut connection = pin!(builder(client.settings()).serve_connection(io, requests));
    let head_since = Some(client.idle_since());
    let mut keeper = H1Timeouts {
        worker: &worker,
        client: &client,
        exchange: &exchange,
        conn,
        timer,
        head_since,
        closing: None,
    };
    let ended = poll_fn(|cx| keeper.poll(cx, connection.as_mut())).await;
    if let Err(error) = ended
        && (error.is_parse() || error.is_parse_too_large())
    {
        tracing::debug!(%error, "client connection ended");
        let is_too_large = error.is_parse_too_large();
        client.protocol_error(if is_too_large {
            ProtocolError::Http1HeadTooLarge
        } else {
            ProtocolError::Http1Head
        });
    }
}

fn builder(listener: &config::Listener) -> Builder {
    let mut builder = Builder::new();
    // A client that closes its side has gone: HTTP/1.1 knows no half-closed requests worth a response.
    builder.half_close(false);
    // We answer a head above the bound, with a body, if hyper takes it.
    builder.max_buf_size(HEAD_BYTES_MIN.max(listener.http2.max_header_list_size as usize * ANSWERED_UP_TO));
    if listener.http2.max_headers_count as usize != HEADERS_COUNT {
        builder.max_headers(listener.http2.max_headers_count as usize);
    }
    builder
}

/// Turns each request into a call.
struct Requests {
    worker: Rc<Worker>,
    client: Rc<Client>,
    exchange: Rc<H1Bridge>,
    lengths: Rc<ContentLengthScanner>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<ResponseBody>;
    type Error = Truncated;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        self.exchange.reset();
        let answer = ResponseFuture::of(&self.exchange);
        let (head, body) = request.into_parts();
        self.lengths.show(head.headers.get_all(CONTENT_LENGTH).iter().count());
        if head.headers.contains_key(TRANSFER_ENCODING) {
            if !is_chunked(&head.headers) {
                self.refuse(
                    ProtocolError::Http1TransferEncoding,
                    "the transfer-encoding is not `chunked` alone",
                );
                return answer;
            }
            if self.lengths.are_hidden() {
                self.exchange.close_after();
            }
        }
        if let Err(detail) = check_host(&head) {
            self.refuse(ProtocolError::Http1Host, detail);
            return answer;
        }
        let expect = head.headers.get(EXPECT).map(|value| value.as_bytes());
        let awaits = expect.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        self.exchange.body.begin(body, awaits);
        let body = RequestBody::http1(Rc::clone(&self.exchange));
        let sink = ResponseSink::http1(Rc::clone(&self.exchange));
        let arrival = self.arrival(&head);
        self.exchange.reuse(head.headers);
        self.worker.start_call(&self.client, arrival, body, sink);
        self.worker.poll_started_calls();
        answer
    }
}

impl Requests {
    /// Converts a head of hyper's into one of ours.
    fn arrival(&self, parts: &HttpParts) -> Arrival {
        let mut head = self.worker.heads.head();
        head.set_method(parts.method.as_str().as_bytes());
        // The absolute form names the host; then the field `host` means nothing (RFC 9112 section 3.2.2).
        let host = parts.headers.get(HOST).map(|host| host.as_bytes());
        let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        head.set_authority(authority.or(host).unwrap_or_default());
        head.set_path(parts.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != HOST) {
            head.push_named(name.as_str().as_bytes(), value.as_bytes());
        }
        let version = if parts.version == http::Version::HTTP_10 { Version::Http10 } else { Version::Http11 };
        let bound = self.client.settings().http2.max_header_list_size as usize;
        let is_too_large = head.list_size() > bound;
        Arrival { head, version, is_too_large }
    }

    /// Answers a request whose end, or whose host, others may see elsewhere, and ends the connection.
    fn refuse(&self, error: ProtocolError, detail: &str) {
        self.client.protocol_error(error);
        let mut head = headers::response(&self.worker.heads, 400);
        head.push(Name::CONTENT_TYPE, b"application/json");
        self.exchange.close_after();
        self.exchange.end(status_body(Failure::BrokenBody, Some(detail)));
        self.exchange.begin(&head);
    }
}

/// RFC 9112 section 3.2: a request of HTTP/1.1 has just one `host`, and a host has no user information.
fn check_host(head: &HttpParts) -> Result<(), &'static str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version == http::Version::HTTP_10 || head.uri.authority().is_some() => Ok(()),
        (None, _) => Err("there is no host"),
        (Some(_), Some(_)) => Err("there are two hosts"),
        (Some(host), None) if headers::is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err("the host is not valid"),
    }
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    first && codings.next().is_none()
}

/// Enforces the timeouts of a connection.
struct H1Timeouts<'a> {
    worker: &'a Worker,
    client: &'a Client,
    exchange: &'a H1Bridge,
    conn: &'a BufferedConn,
    timer: &'a Timer,
    /// Since when the client has been sending a head, or what its last call left of its body.
    head_since: Option<Moment>,
    /// The next answer announces the end of the connection, which is closed at this time if no request follows.
    closing: Option<Moment>,
}

impl H1Timeouts<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut connection: Pin<&mut Connection<TokioIo<ScannedIo<Io>>, Requests>>,
    ) -> Poll<hyper::Result<()>> {
        self.client.keep_waker(cx);
        if !self.timer.is_armed() && self.client.grow_old(self.timer.now()) {
            self.worker.wake_calls();
        }
        if self.client.drains.get() && self.closing.is_none() {
            self.exchange.close_after();
            self.closing = Some(self.timer.now().plus(CHECK_INTERVAL));
        }
        if !self.timer.is_armed() {
            let now = self.timer.now();
            if self.timer.fired() && self.check(now) {
                connection.as_mut().graceful_shutdown();
            }
            self.timer.arm(self.client.next_check(now), cx.waker());
        }
        let polled = connection.poll(cx);
        if let Poll::Ready(dropped) = self.exchange.body.poll_drop(cx) {
            if dropped == Err(Failure::BrokenBody) {
                self.client.local.counts().protocol_errors.add(1);
            }
            // The bytes so far were no head.
            self.client.rest();
            self.head_since = None;
        }
        polled
    }

    /// Cuts a connection whose client does not read. True if it should end as soon as nothing is in flight.
    fn check(&mut self, now: Moment) -> bool {
        if self.client.does_not_read(self.conn, now) || self.head_takes_too_long(now) {
            self.conn.abort();
            return false;
        }
        if self.closing.is_some_and(|at| at <= now) {
            return true;
        }
        let idle = self.client.has_been_idle(now) && self.conn.sending_since().is_none();
        if idle {
            self.client.local.counts().idle_timeouts.add(1);
        }
        idle
    }

    fn head_takes_too_long(&mut self, now: Moment) -> bool {
        let is_sending =
            self.exchange.body.is_being_dropped() || self.conn.received_at() > self.client.idle_since();
        if self.client.has_calls() || !is_sending {
            self.head_since = None;
            return false;
        }
        let since = *self.head_since.get_or_insert(now);
        let too_long = since.plus(self.client.settings().handshake_timeout) <= now;
        if too_long {
            self.client.local.counts().handshake_timeouts.add(1);
        }
        too_long
    }
}
