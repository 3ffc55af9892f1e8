//! One worker: everything that one core owns, and the tasks that run on it.
//!
//! Nothing here is shared with another thread but the metric shard, which others read, the limits' tokens, and the
//! bell that wakes the worker when the supervisor wants something. Read `request.rs` first.

mod accept;
mod answer;
mod attempts;
mod calls;
mod channel;
mod client;
mod clock;
mod control;
mod cors;
mod download;
mod exchange;
mod forward;
mod handing;
mod head;
mod hedging;
mod http1;
mod http2;
mod inlet;
mod json;
mod language;
mod ledger;
mod lengths;
mod patience;
mod reading;
mod records;
mod replays;
mod request;
mod setup;
#[cfg(test)]
mod simulation;
mod trace;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use self::accept::{Begin, Door};
use self::calls::Calls;
use self::client::Client;
pub use self::clock::Clock;
pub use self::control::Control;
use self::control::Wanted;
pub use self::handing::Neighbour;
use self::json::Transcoder;
use self::records::Records;
pub use self::records::{Access, Telling, Tracing};
use self::replays::Replays;
use self::setup::Setup;
pub use self::setup::{Scheme, layout};
use crate::http2::Heads;
use crate::net::Local;
use crate::net::listener::{Bound, Listener};
use crate::net::ring::Rung;
use crate::net::runtime::{self, Bell, Loop};
use crate::policy::overload::{Overload, Verdict};
use crate::policy::spread::Spread;
use crate::random::Random;
use crate::time::{Moment, timers};
use crate::transcode::api::Api;

/// Accepts of one listener that are in flight at once, so that a burst of connections comes in one turn. With epoll it is
/// one, which is told that there are connections and takes them one after the other.
const ACCEPTS: usize = 4;

/// How often a worker publishes and settles what others depend on.
const TICK: Duration = Duration::from_millis(100);

/// What calls that were cut and their connections have to say goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a worker is started with.
#[derive(Debug)]
pub struct Plan {
    /// Its number, from 0.
    pub number: usize,
    /// The same one for all workers: they share moments.
    pub clock: Clock,
    /// What it begins with.
    pub scheme: Scheme,
    /// The back-end that was decided for all workers.
    pub rung: Rung,
    /// One bound socket for each of the config's listeners, in the same order.
    pub sockets: Vec<Bound>,
    /// Where it puts what is told of its calls.
    pub telling: Telling,
    /// How JSON is understood at first, if at all.
    pub api: Option<Arc<Api>>,
    /// What the supervisor wants of it.
    pub control: Arc<Control>,
    /// Rings when that changes.
    pub bell: UnixStream,
    /// How many connections each worker has.
    pub spread: Arc<Spread>,
    /// All workers in the order of their numbers, this one included.
    pub neighbours: Arc<[Neighbour]>,
}

/// Everything one core owns. Not `Send`: it never leaves its thread.
pub(crate) struct Worker {
    // Set at start.
    number: usize,
    clock: Clock,
    control: Arc<Control>,
    local: Rc<Local>,
    /// Memory for the heads of requests and responses.
    heads: Rc<Heads>,
    spread: Arc<Spread>,
    neighbours: Arc<[Neighbour]>,
    /// Replaced when the configuration changes.
    setup: RefCell<Rc<Setup>>,
    /// Replaced when descriptors change.
    transcoder: RefCell<Option<Rc<Transcoder>>>,

    // Changed by this core. Borrowed for one statement; never across an await.
    random: RefCell<Random>,
    overload: RefCell<Overload>,
    replays: Replays,
    /// None if nothing is told of calls.
    records: Option<Records>,
    clients: RefCell<Slab<Rc<Client>>>,
    /// Accepts that have not come back for good.
    accepting: Cell<u32>,
    /// The main future may end; and how to wake it then.
    ended: Cell<bool>,
    main: RefCell<Option<Waker>>,
}

/// Runs a worker on this thread until it is told to stop or has drained. `started` is called once it serves.
///
/// # Errors
/// When the ring or a socket cannot be set up.
pub fn run(plan: Plan, started: impl FnOnce()) -> io::Result<()> {
    let clock = plan.clock.clone();
    let _closing = Closing(Arc::clone(&plan.control));
    let local = Local::new(Arc::clone(&plan.scheme.shard.worker), clock.now());
    let mut event_loop = Loop::new(plan.rung, &plan.scheme.config.io, &local)?;
    event_loop.run(&Rc::clone(&local), serve(plan, clock, local, started))
}

/// Whatever ends a worker, nothing is handed to it any more.
struct Closing(Arc<Control>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.inbox().close();
    }
}

async fn serve(plan: Plan, clock: Clock, local: Rc<Local>, started: impl FnOnce()) -> io::Result<()> {
    let worker = Worker::new(&plan, clock, local);
    worker.begin(plan)?;
    started();
    worker.ended().await;
    Ok(())
}

impl Worker {
    /// Begins to serve, with tasks of its own.
    fn begin(self: &Rc<Self>, plan: Plan) -> io::Result<()> {
        self.transcode(plan.api);
        let calls = Calls::new(Rc::clone(&self.local));
        let bell = Bell::new(plan.bell, plan.rung)?;
        let mut doors = Vec::new();
        for (number, (settings, socket)) in plan.scheme.config.listeners.iter().zip(plan.sockets).enumerate()
        {
            let door = Door::new(number, settings.clone(), Listener::new(socket, plan.rung)?);
            let accepts = if plan.rung == Rung::Epoll { 1 } else { ACCEPTS };
            for _ in 0..accepts {
                let (door, calls) = (Rc::clone(&door), Rc::clone(&calls));
                self.spawn(accept::run(Rc::clone(self), door, calls, request::serve));
            }
            doors.push(door);
        }
        self.spawn(Rc::clone(&calls).run());
        self.spawn(Rc::clone(self).tick());
        self.spawn(Rc::clone(self).obey(bell, doors, calls, request::serve));
        Ok(())
    }

    fn new(plan: &Plan, clock: Clock, local: Rc<Local>) -> Rc<Worker> {
        let seed = clock.entropy()
            ^ clock.now().as_nanos()
            ^ (plan.number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let heads = Heads::new();
        let records = Records::new(plan.telling.clone(), clock.now());
        Rc::new(Worker {
            number: plan.number,
            clock,
            control: Arc::clone(&plan.control),
            spread: Arc::clone(&plan.spread),
            neighbours: Arc::clone(&plan.neighbours),
            setup: RefCell::new(Setup::new(&plan.scheme, (&local, &heads), seed, None)),
            local,
            heads,
            transcoder: RefCell::default(),
            random: RefCell::new(Random::seeded(seed)),
            overload: RefCell::default(),
            replays: Replays::default(),
            records,
            clients: RefCell::default(),
            accepting: Cell::new(0),
            ended: Cell::new(false),
            main: RefCell::new(None),
        })
    }

    /// What the configuration in use makes of this worker.
    fn setup(&self) -> Rc<Setup> {
        Rc::clone(&self.setup.borrow())
    }

    /// What JSON is understood, if any.
    fn transcoder(&self) -> Option<Rc<Transcoder>> {
        self.transcoder.borrow().clone()
    }

    /// From now on JSON is understood as this says. Calls in flight keep what they began with.
    fn transcode(&self, api: Option<Arc<Api>>) {
        let settings = &self.setup().config.transcoding;
        *self.transcoder.borrow_mut() = api.map(|api| Transcoder::new(api, settings.clone()));
    }

    /// From now on another configuration holds. Calls in flight keep what they began with.
    fn apply(&self, scheme: &Scheme) {
        let before = self.setup();
        let seed = u64::from(self.random.borrow_mut().below(u32::MAX));
        let setup = Setup::new(scheme, (&self.local, &self.heads), seed, Some(&before));
        before.retire(&setup);
        *self.setup.borrow_mut() = setup;
    }

    /// Whether any JSON is understood.
    fn transcodes(&self) -> bool {
        self.transcoder.borrow().is_some()
    }

    /// Whether the descriptors know the method of this path, and that it takes one message and answers with one.
    fn takes_one_message(&self, path: &str) -> bool {
        self.transcoder.borrow().as_ref().is_some_and(|transcoder| transcoder.is_unary(path))
    }

    /// Whether connections are still taken.
    fn serves(&self) -> bool {
        self.control.wanted() == Wanted::Serve
    }

    /// Whether a call is taken that came at `now`, and is counted in already; a refusal is counted.
    fn takes_call(&self, setup: &Setup, now: Moment) -> bool {
        let counts = self.local.counts();
        let active = counts.calls_active.get();
        match self.overload.borrow_mut().ask(&setup.config.overload, active, now) {
            Verdict::Take => return true,
            Verdict::TooMany => counts.overload_active_calls.add(1),
            Verdict::TooLate => counts.overload_loop_delay.add(1),
        }
        false
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let counts = self.local.shared_counts();
        runtime::spawn(move || counts.panics.add(1), task);
    }

    /// Keeps a client in the list of those to be told when the worker drains, until the guard is dropped.
    fn register(self: &Rc<Self>, client: &Rc<Client>) -> impl Drop + use<> {
        let key = self.clients.borrow_mut().insert(Rc::clone(client));
        self.local.counts().connections_accepted.add(1);
        self.local.counts().connections_active.raise();
        if self.control.wanted() != Wanted::Serve {
            client.drain();
        }
        Registered { worker: Rc::clone(self), key }
    }

    /// Advances the timers, and every 100 ms settles what other workers depend on.
    async fn tick(self: Rc<Self>) {
        let timers = &self.local.timers;
        let mut settled_at = self.clock.now();
        loop {
            self.local.touch();
            let now = self.clock.now();
            timers.advance(now);
            if TICK <= now.since(settled_at) {
                settled_at = now;
                self.settle();
            }
            let rest = TICK.saturating_sub(now.since(settled_at));
            let beats = timers.armed() > 0;
            let next = now.plus(if beats { timers::TICK } else { rest });
            self.overload.borrow_mut().beat(&self.setup().config.overload, now, next);
            if beats {
                runtime::sleep(timers::TICK).await;
            } else {
                // Nothing can fire, so there is time to sleep, unless a timer is armed meanwhile.
                let mut sleep = pin!(runtime::sleep(rest));
                poll_fn(|cx| {
                    timers.wake_when_armed(cx.waker());
                    if timers.armed() > 0 { Poll::Ready(()) } else { sleep.as_mut().poll(cx) }
                })
                .await;
            }
        }
    }

    fn settle(&self) {
        self.setup().settle(self.clock.now());
        if let Some(records) = &self.records {
            records.settle(self.clock.now());
        }
        let allocations = &self.local.counts().allocations;
        allocations.add(crate::alloc::allocations_of_this_thread() - allocations.get());
    }

    /// Does what others want, each time the bell rings.
    async fn obey<F: Future<Output = ()> + 'static>(
        self: Rc<Self>,
        mut bell: Bell,
        doors: Vec<Rc<Door>>,
        calls: Rc<Calls<F>>,
        begin: Begin<F>,
    ) {
        loop {
            bell.rung().await;
            self.local.touch();
            while let Some((listener, inside, accepted)) = self.take_handed() {
                let (door, calls) = (Rc::clone(&doors[listener]), Rc::clone(&calls));
                self.spawn(client::serve(Rc::clone(&self), door, inside, accepted, calls, begin));
            }
            if let Some(scheme) = self.control.take_scheme() {
                self.apply(&scheme);
            }
            if let Some(api) = self.control.take_api() {
                self.transcode(api);
            }
            let wanted = self.control.wanted();
            if wanted == Wanted::Serve {
                continue;
            }
            for door in &doors {
                door.listener.stop();
            }
            let clients: Vec<_> = self.clients.borrow().iter().map(|(_, client)| Rc::clone(client)).collect();
            for client in &clients {
                client.drain();
            }
            self.end_if_alone();
            if wanted == Wanted::Stop {
                for client in &clients {
                    client.cut();
                }
                calls.wake_all();
                let worker = Rc::clone(&self);
                self.spawn(async move {
                    runtime::sleep(FAREWELL).await;
                    worker.end();
                });
            }
        }
    }

    fn end(&self) {
        self.ended.set(true);
        if let Some(main) = self.main.borrow_mut().take() {
            main.wake();
        }
    }

    async fn ended(&self) {
        poll_fn(|cx| {
            if self.ended.get() {
                return Poll::Ready(());
            }
            *self.main.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("clients", &self.clients.borrow().len()).finish_non_exhaustive()
    }
}

/// A client in the list.
struct Registered {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.clients.borrow_mut().remove(self.key);
        worker.local.counts().connections_active.lower();
    }
}
