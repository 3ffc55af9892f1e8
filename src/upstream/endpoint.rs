//! An address of a cluster: its connections, and when to connect again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::places::Connection;
use crate::config::{self, EndpointAddress};
use crate::metrics::{ConnectError, EndpointState, EndpointView};
use crate::policy::backoff::{Backoff, Connects};
use crate::policy::failure::Failure;
use crate::random::Random;
use crate::time::Moment;

/// An endpoint of a cluster, as one worker sees it.
pub(super) struct Endpoint {
    /// Its position in the cluster; `None` if the cluster has it no more.
    pub(super) index: Cell<Option<usize>>,
    pub(super) address: EndpointAddress,
    /// At most `pool.max_connections_per_endpoint` that take calls, and others that drain.
    connections: RefCell<Vec<Rc<Connection>>>,
    /// A connect is under way; there is never more than one.
    pub(super) connecting: Cell<bool>,
    /// Calls in flight here.
    pub(super) calls: Cell<u32>,
    connects: RefCell<Connects>,
    /// Why the last connect failed.
    failure: Cell<Failure>,
    /// The reason for that, and its moment.
    error: Cell<Option<(ConnectError, Moment)>>,
    /// Calls sent here, and connects that failed, since the start.
    sent: Cell<u64>,
    failures: Cell<u64>,
    /// How long a connection may be silent before it is pinged; doubled when the upstream finds that too often.
    ping_interval: Rc<Cell<Duration>>,
}

/// The capacity of an endpoint for one more call.
pub(super) enum Capacity {
    /// This connection takes it.
    Here(Rc<Connection>),
    /// It has connections, all full.
    Full,
    /// It has none.
    None,
}

impl Endpoint {
    pub(super) fn new(address: EndpointAddress, settings: &config::Cluster) -> Endpoint {
        Endpoint {
            index: Cell::new(None),
            address,
            connections: RefCell::default(),
            connecting: Cell::new(false),
            calls: Cell::new(0),
            connects: RefCell::new(Connects::new(backoff(&settings.reconnect))),
            failure: Cell::new(Failure::ConnectFailed),
            error: Cell::new(None),
            sent: Cell::new(0),
            failures: Cell::new(0),
            ping_interval: Rc::new(Cell::new(settings.keepalive.interval)),
        }
    }

    /// Takes over another configuration's settings of endpoints.
    pub(super) fn adopt(&self, settings: &config::Cluster, before: &config::Cluster) {
        if settings.reconnect != before.reconnect {
            self.connects.borrow_mut().set(backoff(&settings.reconnect));
        }
        if settings.keepalive.interval != before.keepalive.interval {
            self.ping_interval.set(settings.keepalive.interval);
        }
        let max = settings.pool.max_connections_per_endpoint as usize;
        let mut taking: Vec<_> =
            self.connections.borrow().iter().filter(|connection| connection.takes_calls()).cloned().collect();
        taking.sort_by_key(|connection| std::cmp::Reverse(connection.active()));
        taking.iter().skip(max).for_each(|connection| connection.drain());
    }

    /// Whether a connection has a send in flight.
    #[cfg(test)]
    pub(super) fn is_sending(&self) -> bool {
        self.connections.borrow().iter().any(|connection| connection.is_sending())
    }

    /// Calls in flight, if a further one could be sent now.
    pub(super) fn load(&self) -> Option<u32> {
        let connections = self.connections.borrow();
        connections.iter().any(|connection| connection.has_room()).then(|| self.calls.get())
    }

    /// The least busy connection.
    pub(super) fn room(&self) -> Capacity {
        let connections = self.connections.borrow();
        if let [only] = &connections[..]
            && only.has_room()
        {
            return Capacity::Here(Rc::clone(only));
        }
        let taking = connections.iter().filter(|connection| connection.takes_calls());
        // A full connection comes last, however few calls it has: limits differ until the upstream has told its own.
        match taking.min_by_key(|connection| (!connection.has_room(), connection.active())) {
            None => Capacity::None,
            Some(connection) if connection.has_room() => Capacity::Here(Rc::clone(connection)),
            Some(_) => Capacity::Full,
        }
    }

    /// The connection that takes calls and has the fewest.
    pub(super) fn least_busy(&self) -> Option<Rc<Connection>> {
        let connections = self.connections.borrow();
        let taking = connections.iter().filter(|connection| connection.takes_calls());
        taking.min_by_key(|connection| connection.active()).cloned()
    }

    /// Connections that take no more calls and are not over.
    pub(super) fn ending(&self) -> usize {
        self.connections.borrow().iter().filter(|connection| !connection.takes_calls()).count()
    }

    /// Whether a further connection is wanted: there is none, or the best one is nearly full (gRFC A105).
    pub(super) fn wants_connection(&self, settings: &config::Cluster) -> bool {
        let connections = self.connections.borrow();
        let mut taking = 0;
        for connection in connections.iter().filter(|connection| connection.takes_calls()) {
            taking += 1;
            if !connection.is_nearly_full() {
                return false;
            }
        }
        taking < settings.pool.max_connections_per_endpoint
    }

    /// Whether a connect may be tried at `now`.
    pub(super) fn may_connect(&self, now: Moment) -> bool {
        !self.connecting.get() && self.connects.borrow().may_begin(now)
    }

    /// Lets a connect begin now, out of turn.
    pub(super) fn hurry(&self) {
        self.connects.borrow_mut().hurry();
    }

    pub(super) fn add(&self, connection: Rc<Connection>) {
        self.connections.borrow_mut().push(connection);
    }

    /// Drains its connections.
    pub(super) fn drain(&self) {
        for connection in self.connections.borrow().iter() {
            connection.drain();
        }
    }

    pub(super) fn remove(&self, connection: &Rc<Connection>) {
        self.connections.borrow_mut().retain(|other| !Rc::ptr_eq(other, connection));
    }

    /// Notes that a connect failed, or that its connection ended before it was of use.
    pub(super) fn failed(&self, (failure, error): (Failure, ConnectError), now: Moment, random: &mut Random) {
        if self.connections.borrow().iter().any(|connection| connection.was_of_use(now)) {
            self.succeeded();
        }
        self.failure.set(failure);
        self.error.set(Some((error, now)));
        self.failures.set(self.failures.get() + 1);
        self.connects.borrow_mut().failed(now, random);
    }

    /// Counts a call that was sent here.
    pub(super) fn sent(&self) {
        self.sent.set(self.sent.get() + 1);
    }

    /// The present state, for people to look at.
    pub(super) fn view(&self, now: Moment) -> EndpointView {
        let connections = self.connections.borrow();
        let retry_in = self.connects.borrow().rest(now);
        let state = if connections.iter().any(|connection| connection.takes_calls()) {
            EndpointState::Connected
        } else if self.connecting.get() {
            EndpointState::Connecting
        } else if !retry_in.is_zero() {
            EndpointState::Backoff
        } else if self.connects.borrow().is_failing() {
            EndpointState::Failed
        } else {
            EndpointState::Idle
        };
        EndpointView {
            address: self.address,
            state,
            connections: connections.len() as u64,
            calls_active: u64::from(self.calls.get()),
            calls: self.sent.get(),
            connect_failures: self.failures.get(),
            retry_in,
            last_error: self.error.get(),
        }
    }

    /// Why the last connect failed.
    pub(super) fn last_failure(&self) -> Failure {
        self.failure.get()
    }

    /// How long a connection may be silent before it is pinged; connections look at it anew each time.
    pub(super) fn ping_interval(&self) -> &Rc<Cell<Duration>> {
        &self.ping_interval
    }

    /// Doubles the ping interval: the upstream finds pings too frequent.
    pub(super) fn ping_less(&self) {
        self.ping_interval.set(self.ping_interval.get() * 2);
    }

    /// Notes that the upstream has sent its first bytes.
    pub(super) fn connected(&self) {
        self.connects.borrow_mut().connected();
    }

    /// Notes that a connection was of use.
    pub(super) fn succeeded(&self) {
        self.connects.borrow_mut().succeeded();
    }
}

fn backoff(reconnect: &config::Reconnect) -> Backoff {
    Backoff::new(reconnect.initial_backoff, reconnect.backoff_multiplier, reconnect.max_backoff)
}
