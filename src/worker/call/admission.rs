//! The right to be in flight. A call of which only the head has come has it until somebody needs it more: heads cost a
//! client next to nothing, and a few clients could take all places of a cluster with them.
//!
//! Such a call waits in a list. Where `max_requests` is reached, a call of a client that has fewer takes the place of
//! one in it; if this worker has none, the others give places back on their tick. So it is with the streams of connections
//! to the cluster: a call in the list lets others pass that wait for one, and gives its own to them.
//!
//! Calls whose bodies have begun keep their places. But once a client was refused that has no more than an eighth of
//! `max_requests`, the last eighth of all places is for such clients, until none has come for two seconds.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use crate::policy::limit::Limit;
use crate::time::Moment;
use crate::upstream::Cluster;

/// A body may come this long after its head and loses nothing: they need not be in one packet.
const GRACE: Duration = Duration::from_secs(1);

/// The maker of calls: a client's connection.
pub(in crate::worker) trait Caller {
    /// How many of its calls are in flight.
    fn calls(&self) -> u32;
}

/// So many streams are given back on a tick at most.
const STREAMS_MAX: usize = 64;

/// Calls of one worker that are in flight, and whose body has not begun.
#[derive(Default)]
pub(in crate::worker) struct Unbegun {
    calls: RefCell<Slab<Entry>>,
    serial: Cell<u32>,
}

struct Entry {
    serial: u32,
    cluster: Rc<Cluster>,
    caller: Rc<dyn Caller>,
    since: Moment,
    task: Waker,
    place: Place,
    /// It has a stream to a service.
    is_sent: bool,
}

/// Whose the place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own,
    /// Another call of this worker has it.
    Taken,
    /// Other workers need it.
    Wanted,
}

/// The right to be in flight. It has to be given back to the list that it is of.
pub(super) struct Permit {
    cluster: Rc<Cluster>,
    /// Where the call is in the list, if its body has not begun.
    key: u32,
    serial: u32,
}

/// The serial of those that are not in the list.
const UNLISTED: u32 = 0;

impl Unbegun {
    /// Takes a place in flight. `unbegun`: only the head of the call has come, and this wakes it.
    pub(super) fn admit(
        &self,
        cluster: &Rc<Cluster>,
        caller: &Rc<impl Caller + 'static>,
        unbegun: Option<Waker>,
        now: Moment,
    ) -> Option<Permit> {
        let (limit, shared) = (cluster.limit(), cluster.limit().shared());
        if shared.is_starved(now) {
            match caller.calls() <= shared.share() {
                true => shared.starve(now),
                false if shared.is_scarce() => return None,
                false => {}
            }
        }
        if !limit.take() && !self.take_over(limit, &**caller, now) {
            shared.want();
            if caller.calls() <= shared.share() {
                shared.starve(now);
            }
            return None;
        }
        let cluster = Rc::clone(cluster);
        let Some(task) = unbegun else { return Some(Permit { cluster, key: 0, serial: UNLISTED }) };
        self.serial.set(self.serial.get().wrapping_add(1).max(1));
        let serial = self.serial.get();
        let caller = Rc::clone(caller) as Rc<dyn Caller>;
        let entry = Entry {
            serial,
            cluster: Rc::clone(&cluster),
            caller,
            since: now,
            task,
            is_sent: false,
            place: Place::Own,
        };
        let key = self.calls.borrow_mut().insert(entry);
        Some(Permit { cluster, key: u32::try_from(key).expect("far fewer calls than 2^32"), serial })
    }

    /// Takes the place of a call whose caller has most, and more than this one.
    fn take_over(&self, limit: &Limit, caller: &dyn Caller, now: Moment) -> bool {
        let mut calls = self.calls.borrow_mut();
        let may_go = |entry: &Entry| {
            ptr::eq(entry.cluster.limit(), limit)
                && entry.place == Place::Own
                && entry.since.plus(GRACE) <= now
                && caller.calls() < entry.caller.calls()
        };
        let most =
            calls.iter_mut().filter(|(_, entry)| may_go(entry)).max_by_key(|(_, entry)| entry.caller.calls());
        let Some((_, entry)) = most else { return false };
        entry.place = Place::Taken;
        entry.task.wake_by_ref();
        true
    }

    /// Gives places back that other workers need, and streams that calls wait for here. To be called on the worker's
    /// tick.
    pub(in crate::worker) fn sync_shared(&self, now: Moment) {
        let mut streams = 0;
        for (_, entry) in self.calls.borrow_mut().iter_mut() {
            let may_go =
                entry.place == Place::Own && entry.since.plus(GRACE) <= now && entry.caller.calls() > 1;
            if !may_go {
                continue;
            }
            let is_starved = entry.is_sent && streams < entry.cluster.urgent(STREAMS_MAX);
            streams += usize::from(is_starved);
            if is_starved || entry.cluster.limit().shared().take_want() {
                entry.place = Place::Wanted;
                entry.task.wake_by_ref();
            }
        }
    }

    /// The call has a stream to a service.
    pub(super) fn sent(&self, permit: &Permit) {
        if let Some(entry) = self.calls.borrow_mut().get_mut(permit.key as usize)
            && entry.serial == permit.serial
        {
            entry.is_sent = true;
        }
    }

    /// Whether the call has lost its place.
    pub(super) fn is_lost(&self, permit: &Permit) -> bool {
        self.place(permit).is_some_and(|place| place != Place::Own)
    }

    /// The body of the call has begun: from now on nobody takes its place.
    pub(super) fn begun(&self, permit: &mut Permit) {
        if self.place(permit) == Some(Place::Own) {
            self.remove(permit);
        }
    }

    /// The call is over.
    pub(super) fn give(&self, mut permit: Permit) {
        let place = self.place(&permit);
        if place.is_some() {
            self.remove(&mut permit);
        }
        if place != Some(Place::Taken) {
            permit.cluster.limit().give();
        }
    }

    fn place(&self, permit: &Permit) -> Option<Place> {
        if permit.serial == UNLISTED {
            return None;
        }
        let calls = self.calls.borrow();
        calls.get(permit.key as usize).filter(|entry| entry.serial == permit.serial).map(|entry| entry.place)
    }

    fn remove(&self, permit: &mut Permit) {
        self.calls.borrow_mut().remove(permit.key as usize);
        permit.serial = UNLISTED;
    }
}

impl Permit {
    /// Whether it is in the list.
    pub(super) fn is_listed(&self) -> bool {
        self.serial != UNLISTED
    }
}
