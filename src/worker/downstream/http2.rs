//! A client's HTTP/2 connection, until either side ends it.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::client::Client;
use crate::http2::{self, Notes, Session};
use crate::metrics::ProtocolError;
use crate::net::BufferedConn;
use crate::net::buffered_conn::End;
use crate::time::Moment;
use crate::time::timers::Timer;
use crate::worker::call::headers::Arrival;
use crate::worker::call::protocol::Version;
use crate::worker::call::request_body::RequestBody;
use crate::worker::call::responder::sink::ResponseSink;
use crate::worker::core::Worker;

/// When a connection is checked first. Many clients make a call and then wait, and it gives memory back that it needs for
/// calls alone: so few hold that at once while thousands connect.
const FIRST_CHECK: Duration = Duration::from_millis(100);

/// How long a client may take to answer the ping behind the first GOAWAY. Streams that it has opened until then are taken, so
/// those of a client that is far away, or busy, are not lost.
const GOODBYE_MAX: Duration = Duration::from_secs(10);

/// Serves a connection whose client has sent the preface.
pub(in crate::worker) fn serve<'a>(
    worker: Rc<Worker>,
    client: Rc<Client>,
    conn: &'a Rc<BufferedConn>,
    timer: &'a Timer,
) -> impl Future<Output = ()> + 'a {
    let bounds = client.bounds();
    let session = Session::new(Rc::clone(conn) as _, Rc::clone(&worker.local.timers), |out| {
        http2::Connection::server(bounds, Rc::clone(&worker.memory), out)
    });
    let until = worker.local.timers.now().plus(client.settings().handshake_timeout);
    let mut connection =
        Connection { worker, client, conn, session, timer, greets_until: Some(until), goodbye: None };
    poll_fn(move |cx| connection.poll(cx))
}

/// An HTTP/2 connection.
struct Connection<'a> {
    worker: Rc<Worker>,
    client: Rc<Client>,
    conn: &'a BufferedConn,
    session: Rc<Session>,
    timer: &'a Timer,
    /// The client's settings have to come by then.
    greets_until: Option<Moment>,
    /// A GOAWAY was sent then.
    goodbye: Option<Moment>,
}

impl Drop for Connection<'_> {
    /// The calls of a connection learn of its end, however it ends.
    fn drop(&mut self) {
        self.session.ask(http2::Connection::end);
    }
}

impl Connection<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.ask(|http2| http2.keep_task(cx));
        self.prepare(cx);
        self.session.pump();
        self.accept();
        self.worker.poll_started_calls();
        self.note();
        // Immediate answers leave in the next round, which also reads the bytes that came meanwhile.
        let ended = self.conn.read_end();
        if ended.is_some() {
            self.session.ask(http2::Connection::end);
        }
        if self.session.ask(|http2| http2.is_done()) {
            self.ended(ended);
            return Poll::Ready(());
        }
        self.decide();
        if self.session.ask(|http2| http2.is_done()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Begins a call for each request that has come.
    fn accept(&self) {
        while let Some((stream, head, is_too_large)) = self.session.accept() {
            let arrival = Arrival { head, version: Version::Http2, is_too_large };
            let (body, sink) = (RequestBody::http2(stream.clone()), ResponseSink::http2(stream));
            self.worker.start_call(&self.client, arrival, body, sink);
        }
    }

    /// Counts the connection's events.
    fn note(&self) {
        let notes = self.session.ask(http2::Connection::take_notes);
        if notes != Notes::default() {
            let counts = self.client.local.counts();
            counts.streams_malformed.add(notes.malformed.into());
            counts.streams_refused.add(notes.refused_streams.into());
            counts.streams_stalled.add(notes.stalled.into());
            counts.priority_frames.add(notes.priorities.into());
            counts.late_frames.add(notes.late_frames.into());
        }
    }

    /// Keeps the waker, and arms the timer.
    fn prepare(&mut self, cx: &Context<'_>) {
        self.client.keep_waker(cx);
        if self.timer.is_armed() {
            return;
        }
        let now = self.timer.now();
        let mut next = self.client.next_check(now);
        if self.timer.fired() {
            self.check(now);
        } else {
            next = next.min(now.plus(FIRST_CHECK));
        }
        self.timer.arm(self.greets_until.map_or(next, |until| next.min(until)), cx.waker());
    }

    /// Ends a connection that has been idle, or whose client has not read, for too long.
    fn check(&mut self, now: Moment) {
        if let Some(until) = self.greets_until {
            if self.session.ask(|http2| http2.has_settings()) {
                self.greets_until = None;
            } else if until <= now {
                self.client.local.counts().handshake_timeouts.add(1);
                return self.conn.abort();
            }
        }
        if self.client.does_not_read(self.conn, now) || self.does_not_answer(now) {
            return self.conn.abort();
        }
        if self.client.grow_old(now) {
            self.worker.wake_calls();
        }
        let limit = Moment::from_nanos(
            now.as_nanos().saturating_sub(self.client.settings().write_timeout.as_nanos() as u64),
        );
        self.session.with(|http2, out, now| http2.end_stalled(limit, now, out));
        if self.client.has_been_idle(now) {
            if self.goodbye.is_some() {
                // The client has not closed the connection after the GOAWAY.
                return self.conn.abort();
            }
            self.client.local.counts().idle_timeouts.add(1);
            self.client.drains.set(true);
        } else if self.goodbye.is_some_and(|sent| sent.plus(GOODBYE_MAX) <= now) {
            self.session.with(|http2, out, _| http2.finish_shutdown(out));
        }
        if !self.client.has_calls() {
            self.session.ask(http2::Connection::shrink);
            self.conn.shrink();
        }
    }

    /// Pings a client that has been silent. True if it did not answer the last ping in time.
    fn does_not_answer(&self, now: Moment) -> bool {
        let keepalive = &self.client.settings().http2.keepalive;
        let Some(interval) = keepalive.interval else { return false };
        let silent_since = self.conn.received_at();
        let pinged = self.session.ask(|http2| http2.ping_sent());
        if let Some(sent) = pinged.filter(|sent| silent_since < *sent) {
            let is_late = sent.plus(keepalive.timeout) <= now;
            if is_late {
                self.client.local.counts().client_keepalive_timeouts.add(1);
            }
            return is_late;
        }
        if silent_since.plus(interval) <= now {
            self.session.with(|http2, out, now| http2.ping(now, out));
        }
        false
    }

    /// Sends a GOAWAY if the connection drains.
    fn decide(&mut self) {
        if self.client.drains.get() && self.goodbye.is_none() {
            self.goodbye = Some(self.timer.now());
            self.session.with(|http2, out, _| http2.shut_down(out));
        }
    }

    fn ended(&self, ended: Option<End>) {
        let Some(error) = self.session.ask(|http2| http2.failed()) else { return };
        tracing::debug!(code = %error.code, reason = error.reason, ?ended, "client connection ended");
        match error.flood {
            Some(flood) => self.client.local.counts().floods.add(flood as usize),
            None => self.client.protocol_error(ProtocolError::of_http2(error.code.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http2::guard::Flood;
    use crate::metrics::labels;

    #[test]
    fn floods_are_counted_under_their_names() {
        assert_eq!(Flood::ALL.map(Flood::name), labels::FLOODS);
        assert!(Flood::ALL.iter().enumerate().all(|(number, flood)| *flood as usize == number));
    }
}
