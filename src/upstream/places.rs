//! [`Connection`]: the places for calls on an HTTP/2 connection to an endpoint.

use std::cell::Cell;
use std::rc::Rc;

use crate::config;
use crate::http2::{self, Head, OpenError, Stream};
use crate::net::BufferedConn;
use crate::net::buffered_conn::Outgoing;
use crate::time::Moment;

/// A connection that may carry calls.
pub(super) struct Connection {
    pub(super) session: Rc<http2::Session>,
    state: Cell<State>,
    active: Cell<u32>,
    /// Calls it may still begin in its life.
    left: Cell<u32>,
    /// Calls it carries at once: our limit or the upstream's, whichever is lower.
    pub(super) cap: Cell<u32>,
    own_cap: u32,
    conn: Rc<BufferedConn>,
    /// A connection that has lived until then was of use.
    proven_at: Moment,
    /// A call was sent on it.
    has_carried: Cell<bool>,
    /// It takes no more calls because its owner says so.
    pub(super) is_retired: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    TakesCalls,
    /// Finishes the calls it has.
    Draining,
}

impl Connection {
    pub(super) fn new(
        session: &Rc<http2::Session>,
        settings: &config::Cluster,
        conn: &Rc<BufferedConn>,
        now: Moment,
    ) -> Rc<Connection> {
        let pool = &settings.pool;
        Rc::new(Connection {
            session: Rc::clone(session),
            state: Cell::new(State::TakesCalls),
            active: Cell::new(0),
            left: Cell::new(pool.max_requests_per_connection),
            cap: Cell::new(pool.max_streams_per_connection),
            own_cap: pool.max_streams_per_connection,
            conn: Rc::clone(conn),
            proven_at: now.plus(settings.reconnect.initial_backoff),
            has_carried: Cell::new(false),
            is_retired: Cell::new(false),
        })
    }

    /// Notes that it has ended, for whatever reason.
    pub(super) fn end_all(&self) {
        self.state.set(State::Draining);
        self.session.ask(http2::Connection::end);
    }

    /// Whether it has carried a call, or has lived for as long as one waits after a failed connect.
    pub(super) fn was_of_use(&self, now: Moment) -> bool {
        self.proven_at <= now || self.has_carried.get()
    }

    pub(super) fn takes_calls(&self) -> bool {
        self.state.get() == State::TakesCalls
    }

    pub(super) fn has_room(&self) -> bool {
        self.takes_calls() && self.active.get() < self.cap.get()
    }

    pub(super) fn is_nearly_full(&self) -> bool {
        u64::from(self.active.get()) * 10 >= u64::from(self.cap.get()) * 8
    }

    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// Whether a request can be sent now. A connection that has failed, or got a GOAWAY, takes no more.
    pub(super) fn is_usable(&self) -> bool {
        let (can_open, takes_streams) = self.session.ask(|http2| (http2.can_open(), http2.takes_streams()));
        if !takes_streams {
            self.stop_taking_calls();
        } else if !can_open {
            // Streams of calls that are over have not ended on the wire yet.
            self.cap.set(self.active.get().min(self.cap.get()));
        }
        can_open
    }

    /// Counts a call that begins.
    pub(super) fn begin(&self) {
        self.active.set(self.active.get() + 1);
        self.left.set(self.left.get().saturating_sub(1));
        if self.left.get() == 0 {
            self.drain();
        }
    }

    /// Counts a call that ends.
    pub(super) fn end(&self) {
        debug_assert!(0 < self.active.get());
        self.active.set(self.active.get() - 1);
        self.close_if_done();
    }

    /// Sends a request's head.
    pub(super) fn open(&self, head: &Head, end: bool) -> Result<Stream, OpenError> {
        let opened = self.session.open(head, end);
        self.has_carried.set(self.has_carried.get() || opened.is_ok());
        opened
    }

    /// How many bytes have gone out so far.
    pub(super) fn outgoing(&self) -> Outgoing {
        self.conn.outgoing()
    }

    /// Whether a send is in flight.
    #[cfg(test)]
    pub(super) fn is_sending(&self) -> bool {
        self.conn.sending_since().is_some()
    }

    /// Whether the connection is over, and nothing was sent after `before`.
    pub(super) fn ended_at(&self, before: Outgoing) -> bool {
        self.conn.ended_at(before)
    }

    /// Drains: takes no more calls, and ends with the last of those it has.
    pub(super) fn drain(&self) {
        self.is_retired.set(true);
        self.stop_taking_calls();
    }

    pub(super) fn stop_taking_calls(&self) {
        self.state.set(State::Draining);
        self.close_if_done();
    }

    fn close_if_done(&self) {
        if self.state.get() == State::Draining && self.active.get() == 0 {
            self.session.with(|http2, out, _| http2.shut_down(out));
        }
    }

    /// Takes over the upstream's limit, which may change at any time.
    pub(super) fn refresh_cap(&self) {
        let theirs = self.session.ask(|http2| http2.peer().max_concurrent_streams);
        self.cap.set(theirs.min(self.own_cap));
    }
}
