//! The third transport: a network, a clock and a loop in memory, for simulations.
//!
//! All ends of all connections are tasks of one loop on one thread. Time passes only when nobody has anything to do: a
//! step runs what was woken, or goes to the next event. Chance comes from one seed, so a run can be repeated.

mod end;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

pub(crate) use self::end::End;
use self::wire::NEVER;
pub(crate) use self::wire::{Link, WireConditions};
use super::current::{self, Current, Waits};
use super::executor::Executor;
use crate::random::Random;
use crate::time::Moment;

/// Where time begins.
const START: u64 = 1_000_000_000;

/// The network and its clock.
pub(crate) struct Memory {
    now: Arc<AtomicU64>,
    random: RefCell<Random>,
    /// Wakers, in the order of their times.
    events: RefCell<BTreeMap<(Moment, u64), Waker>>,
    order: Cell<u64>,
    doors: RefCell<BTreeMap<SocketAddr, PortState>>,
    ports: Cell<u16>,
    /// Those who look at their notifiers before time goes on.
    notifiers: RefCell<Vec<Waker>>,
    /// Connections on their way from one worker to another, by number.
    released: RefCell<BTreeMap<u64, End>>,
}

/// How an address takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As a listening socket does.
    Accept,
    /// It refuses each.
    Refuse,
    /// It never says anything.
    BlackHole,
}

struct PortState {
    answer: Answer,
    link: Link,
    waiting: VecDeque<(End, SocketAddr)>,
    acceptors: Vec<Waker>,
    is_stopped: bool,
}

/// An end on its way from one worker to another. Dropped before it has been taken, it closes the connection.
#[derive(Debug)]
pub(crate) struct Released(u64);

impl Drop for Released {
    fn drop(&mut self) {
        if let Some(Waits::Memory(memory)) = current::waits() {
            let end = memory.released.borrow_mut().remove(&self.0);
            drop(end);
        }
    }
}

/// The network of the simulation that runs on this thread.
pub(super) fn of_this_thread() -> Rc<Memory> {
    match &current::current().waits {
        Waits::Memory(memory) => Rc::clone(memory),
        _ => unreachable!("there are such sockets in simulations only"),
    }
}

impl Memory {
    fn new(seed: u64) -> Rc<Memory> {
        Rc::new(Memory {
            now: Arc::new(AtomicU64::new(START)),
            random: RefCell::new(Random::seeded(seed)),
            events: RefCell::default(),
            order: Cell::new(0),
            doors: RefCell::default(),
            ports: Cell::new(1024),
            notifiers: RefCell::default(),
            released: RefCell::default(),
        })
    }

    /// The virtual clock's moment.
    pub(crate) fn now(&self) -> Moment {
        Moment::from_nanos(self.now.load(Ordering::Relaxed))
    }

    /// The virtual clock itself, in nanoseconds.
    pub(crate) fn clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.now)
    }

    /// Uniform in `[0, n)`.
    pub(crate) fn below(&self, n: u32) -> u32 {
        self.random.borrow_mut().below(n)
    }

    fn wake_at(&self, at: Moment, waker: Waker) {
        if at == NEVER {
            return;
        }
        let order = self.order.get();
        self.order.set(order + 1);
        self.events.borrow_mut().insert((at, order), waker);
    }

    /// Waits for a time.
    pub(crate) async fn pause(&self, span: Duration) {
        let end = self.now().plus(span);
        let mut is_set = false;
        poll_fn(|cx| {
            if end <= self.now() {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_set, true) {
                self.wake_at(end, cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Does something that takes a time, and keeps all others waiting.
    pub(crate) fn work(&self, span: Duration) {
        self.now.fetch_add(span.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Lets an address take connections over `link`; its two ways are as the connecting side sees them.
    pub(crate) fn open(&self, address: SocketAddr, answer: Answer, link: Link) {
        let mut doors = self.doors.borrow_mut();
        let door = doors.entry(address).or_insert_with(|| PortState {
            answer,
            link,
            waiting: VecDeque::new(),
            acceptors: Vec::new(),
            is_stopped: false,
        });
        (door.answer, door.link) = (answer, link);
    }

    /// Connections wait at no address any more that is stopped: those that do are reset.
    pub(crate) fn stop(&self, address: SocketAddr) {
        let mut doors = self.doors.borrow_mut();
        let Some(door) = doors.get_mut(&address) else { return };
        door.is_stopped = true;
        door.acceptors.drain(..).for_each(Waker::wake);
        let waiting = std::mem::take(&mut door.waiting);
        drop(doors);
        waiting.iter().for_each(|(end, _)| end.reset());
    }

    /// Connects over the link of the address, or another one.
    pub(crate) async fn connect(self: &Rc<Self>, address: SocketAddr, link: Option<Link>) -> io::Result<End> {
        let look = || self.doors.borrow().get(&address).map(|door| (door.answer, door.is_stopped, door.link));
        let (answer, _, usual) = look().unwrap_or((Answer::Refuse, false, Link::default()));
        let link = link.unwrap_or(usual);
        if answer == Answer::BlackHole {
            std::future::pending::<()>().await;
        }
        self.pause(link.up.delay + link.down.delay).await;
        // It may have been closed meanwhile.
        if look().is_none_or(|(answer, is_stopped, _)| answer == Answer::Refuse || is_stopped) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let port = self.ports.get();
        self.ports.set(port.checked_add(1).unwrap_or(1024));
        let (ours, theirs) = End::pair(self, link);
        let mut doors = self.doors.borrow_mut();
        let door = doors.get_mut(&address).expect("addresses stay");
        door.waiting.push_back((theirs, SocketAddr::from(([10, 9, 8, 7], port))));
        door.acceptors.drain(..).for_each(Waker::wake);
        Ok(ours)
    }

    /// The next connection of an address.
    pub(crate) async fn accept(&self, address: SocketAddr) -> io::Result<(End, SocketAddr)> {
        poll_fn(|cx| {
            let mut doors = self.doors.borrow_mut();
            let Some(door) = doors.get_mut(&address) else {
                return Poll::Ready(Err(io::ErrorKind::AddrNotAvailable.into()));
            };
            if door.is_stopped {
                return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
            }
            if let Some(accepted) = door.waiting.pop_front() {
                return Poll::Ready(Ok(accepted));
            }
            door.acceptors.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Keeps an end that goes from one worker to another.
    pub(super) fn release(&self, end: End) -> Released {
        let number = self.order.get();
        self.order.set(number + 1);
        self.released.borrow_mut().insert(number, end);
        Released(number)
    }

    /// Takes it.
    pub(super) fn adopt(&self, released: &Released) -> io::Result<End> {
        let end = self.released.borrow_mut().remove(&released.0);
        end.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Waits until nobody has anything to do at this moment.
    pub(super) async fn before_time_goes_on(&self) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            self.notifiers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Wakes all who wait for the next moment at which anybody waits, in an order that the seed chooses. Whether there
    /// was one.
    fn go_on(&self) -> bool {
        let events = self.events.borrow();
        let Some((&(at, _), _)) = events.first_key_value() else { return false };
        self.now.fetch_max(at.as_nanos(), Ordering::Relaxed);
        drop(events);
        self.wake_due();
        true
    }

    fn wake_due(&self) {
        let now = self.now();
        let mut due = Vec::new();
        let mut events = self.events.borrow_mut();
        while let Some(first) = events.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        drop(events);
        let mut random = self.random.borrow_mut();
        for left in (1..due.len()).rev() {
            due.swap(left, random.below(left as u32 + 1) as usize);
        }
        due.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The loop of a simulation on this thread. All tasks end when it is dropped.
pub(crate) struct World {
    pub(crate) memory: Rc<Memory>,
    current: Rc<Current>,
    /// Turns so far in which anything ran.
    turns: Cell<u64>,
    /// The time that a turn takes.
    cost: Duration,
    /// Parties whose turns are their own; the first is that of all others.
    parties: Cell<usize>,
    has_asked_notifiers: Cell<bool>,
    _entered: Box<dyn std::any::Any>,
}

impl World {
    /// A world in which a turn takes `cost`.
    pub(crate) fn new(seed: u64, cost: Duration) -> World {
        let memory = Memory::new(seed);
        let waits = Waits::Memory(Rc::clone(&memory));
        let current = Rc::new(Current { executor: Executor::new(), waits });
        current.executor.take_main();
        let entered = Box::new(current::enter(&current));
        let (turns, has_asked_notifiers) = (Cell::new(0), Cell::new(false));
        let parties = Cell::new(1);
        World { memory, current, turns, cost, parties, has_asked_notifiers, _entered: entered }
    }

    /// Begins a party: the tasks that `begin` adds, and those that these add, have turns of their own, as a worker with a
    /// core of its own has. Where several can take a turn, the seed chooses.
    pub(crate) fn apart<T>(&self, begin: impl FnOnce() -> T) -> T {
        let party = self.parties.get();
        self.parties.set(party + 1);
        self.current.executor.set_party(party);
        let begun = begin();
        self.current.executor.set_party(0);
        begun
    }

    /// Runs what was woken; if nothing was, goes to the next event. False if nothing will ever happen again.
    pub(crate) fn step(&self) -> bool {
        if self.current.executor.has_woken() {
            self.turns.set(self.turns.get() + 1);
            self.turn();
            if !self.cost.is_zero() {
                self.memory.work(self.cost);
                self.memory.wake_due();
            }
            return true;
        }
        if !self.has_asked_notifiers.replace(true) {
            self.memory.notifiers.take().into_iter().for_each(Waker::wake);
            return true;
        }
        self.has_asked_notifiers.set(false);
        self.memory.go_on()
    }

    fn turn(&self) {
        let executor = &self.current.executor;
        if self.parties.get() == 1 {
            return executor.run();
        }
        // Others may hear a notifier before all is quiet.
        if self.memory.below(8) == 0 {
            self.memory.notifiers.take().into_iter().for_each(Waker::wake);
        }
        let woken = executor.woken_parties();
        executor.run_party(woken[self.memory.below(woken.len() as u32) as usize]);
        executor.set_party(0);
    }

    /// Turns in which anything ran.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.get()
    }

    /// Adds a task. A panic in it ends the simulation.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.current.executor.spawn(|| (), task);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("memory", &self.memory).finish_non_exhaustive()
    }
}
