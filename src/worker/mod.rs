//! One worker: everything that one core owns, and the tasks that run on it.
//!
//! Nothing here is shared with another thread but the metric shard, which others read, the limits' tokens, and the
//! bell that wakes the worker when the supervisor wants something. Read `request.rs` first.

mod accept;
mod answer;
mod arena;
mod calls;
mod client;
mod clock;
mod forward;
mod head;
mod methods;
mod patience;
mod replays;
mod request;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use self::accept::Door;
use self::arena::Arena;
use self::calls::Calls;
use self::client::Client;
use self::clock::Clock;
pub use self::methods::Methods;
use self::replays::Replays;
use crate::config::Config;
use crate::metrics::{CallLabels, Layout, Shard};
use crate::net::Local;
use crate::net::listener::Listener;
use crate::net::ring::Rung;
use crate::net::runtime::{self, Bell, Loop};
use crate::net::ticker::Ticker;
use crate::policy::limit::SharedLimit;
use crate::policy::route::Routes;
use crate::random::Random;
use crate::time::timers;
use crate::upstream::Cluster;

/// Accepts of one listener that are in flight at once, so that a burst of connections comes in one turn.
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
    /// What the operator set.
    pub config: Arc<Config>,
    /// The back-end that was decided for all workers.
    pub rung: Rung,
    /// One bound socket for each of the config's listeners, in the same order.
    pub sockets: Vec<TcpListener>,
    /// The resolved addresses of each cluster's endpoints.
    pub addresses: Vec<Vec<SocketAddr>>,
    /// The limit on calls in flight of each cluster.
    pub limits: Vec<Arc<SharedLimit>>,
    /// Its counters.
    pub shard: Arc<Shard>,
    /// What the supervisor wants of it.
    pub control: Arc<Control>,
    /// Rings when that changes.
    pub bell: UnixStream,
}

/// What the supervisor wants of a worker.
#[derive(Debug, Default)]
pub struct Control(AtomicU8);

const SERVE: u8 = 0;
const DRAIN: u8 = 1;
const STOP: u8 = 2;

impl Control {
    /// Accept no more, and end when the last call has.
    pub fn drain(&self) {
        let _ = self.0.compare_exchange(SERVE, DRAIN, Ordering::Release, Ordering::Relaxed);
    }

    /// End now, whatever is in flight.
    pub fn stop(&self) {
        self.0.store(STOP, Ordering::Release);
    }

    fn wanted(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// Everything one core owns. Not `Send`: it never leaves its thread.
pub(crate) struct Worker {
    // Set at start, read by every call.
    clock: Clock,
    routes: Routes,
    targets: Vec<Vec<Target>>,
    methods: Methods,
    control: Arc<Control>,
    clusters: Vec<Rc<Cluster>>,
    local: Rc<Local>,

    // Changed by this core. Borrowed for one statement; never across an await.
    random: RefCell<Random>,
    arena: Arena,
    replays: Replays,
    clients: RefCell<Slab<Rc<Client>>>,
    /// The main future may end; and how to wake it then.
    ended: Cell<bool>,
    main: RefCell<Option<Waker>>,
}

/// Where one of a route's choices goes, and where its calls are counted.
struct Target {
    cluster: usize,
    series: usize,
}

/// Runs a worker on this thread until it is told to stop or has drained. `started` is called once it serves.
///
/// # Errors
/// When the ring or a socket cannot be set up.
pub fn run(plan: Plan, started: impl FnOnce()) -> io::Result<()> {
    let clock = Clock::new();
    let local = Local::new(Arc::clone(&plan.shard), clock.now());
    let mut event_loop = Loop::new(plan.rung, plan.config.io.entries)?;
    event_loop.run(&Rc::clone(&local), serve(plan, clock, local, started))
}

async fn serve(plan: Plan, clock: Clock, local: Rc<Local>, started: impl FnOnce()) -> io::Result<()> {
    let worker = Worker::new(&plan, clock, local);
    let calls = Calls::new(Rc::clone(&worker.local));
    let bell = Bell::new(plan.bell, plan.rung)?;
    let mut doors = Vec::new();
    for (settings, socket) in plan.config.listeners.iter().zip(plan.sockets) {
        let door = Door::new(settings.clone(), Listener::new(socket, plan.rung)?);
        for _ in 0..ACCEPTS {
            let (door, calls) = (Rc::clone(&door), Rc::clone(&calls));
            worker.spawn(accept::run(Rc::clone(&worker), door, calls, request::serve));
        }
        doors.push(door);
    }
    worker.spawn(Rc::clone(&calls).run());
    worker.spawn(Rc::clone(&worker).tick(Ticker::new(plan.rung, timers::TICK)?));
    worker.spawn(Rc::clone(&worker).obey(bell, doors, calls));
    started();
    worker.ended().await;
    Ok(())
}

impl Worker {
    fn new(plan: &Plan, clock: Clock, local: Rc<Local>) -> Rc<Worker> {
        let config = &plan.config;
        let seed = clock.now().as_nanos() ^ (plan.number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut clusters = Vec::new();
        for (index, settings) in config.clusters.iter().enumerate() {
            let (addresses, limit) = (&plan.addresses[index], Arc::clone(&plan.limits[index]));
            clusters.push(Cluster::new(index, settings.clone(), addresses, Rc::clone(&local), limit, seed));
        }
        Rc::new(Worker {
            clock,
            routes: Routes::new(&config.routes),
            targets: targets(config),
            methods: Methods::new(config),
            control: Arc::clone(&plan.control),
            clusters,
            local,
            random: RefCell::new(Random::seeded(seed)),
            arena: Arena::default(),
            replays: Replays::default(),
            clients: RefCell::default(),
            ended: Cell::new(false),
            main: RefCell::new(None),
        })
    }

    /// Where calls are counted that found no route.
    fn unrouted(&self) -> usize {
        self.local.shard.calls.len() - 1
    }

    /// Whether connections are still taken.
    fn serves(&self) -> bool {
        self.control.wanted() == SERVE
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let shard = Arc::clone(&self.local.shard);
        runtime::spawn(move || shard.worker.panics.add(1), task);
    }

    /// Keeps a client in the list of those to be told when the worker drains, until the guard is dropped.
    fn register(self: &Rc<Self>, client: &Rc<Client>) -> impl Drop + use<> {
        let key = self.clients.borrow_mut().insert(Rc::clone(client));
        self.local.counts().connections_accepted.add(1);
        self.local.counts().connections_active.raise();
        if self.control.wanted() != SERVE {
            client.drain();
        }
        Registered { worker: Rc::clone(self), key }
    }

    /// Advances the timers, and every 100 ms settles what other workers depend on.
    async fn tick(self: Rc<Self>, ticker: Ticker) {
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
            if timers.armed() > 0 {
                ticker.beat().await;
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
        for cluster in &self.clusters {
            cluster.limit().settle();
        }
        let allocations = &self.local.counts().allocations;
        allocations.add(crate::alloc::allocations_of_this_thread() - allocations.get());
    }

    /// Does what the supervisor wants, each time the bell rings.
    async fn obey<F: Future<Output = ()>>(
        self: Rc<Self>,
        mut bell: Bell,
        doors: Vec<Rc<Door>>,
        calls: Rc<Calls<F>>,
    ) {
        loop {
            bell.rung().await;
            self.local.touch();
            let wanted = self.control.wanted();
            if wanted == SERVE {
                continue;
            }
            for door in &doors {
                door.listener.stop();
            }
            let clients: Vec<_> = self.clients.borrow().iter().map(|(_, client)| Rc::clone(client)).collect();
            for client in &clients {
                client.drain();
            }
            if clients.is_empty() {
                self.end();
            } else if wanted == STOP {
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
        if worker.control.wanted() != SERVE && worker.clients.borrow().is_empty() {
            worker.end();
        }
    }
}

/// The order of series in the metrics: each route with each of its clusters, as `supervisor` lays them out.
fn targets(config: &Config) -> Vec<Vec<Target>> {
    let mut series = 0..;
    let mut target = |cluster| Target { cluster, series: series.next().expect("there is no end to numbers") };
    let routes = config.routes.iter();
    routes.map(|route| route.clusters.iter().map(|choice| target(choice.cluster)).collect()).collect()
}

/// The labels of all series, in the order that calls are counted.
pub fn layout(config: &Config) -> Layout {
    let mut calls = Vec::new();
    for route in &config.routes {
        for choice in &route.clusters {
            let cluster = config.clusters[choice.cluster].name.clone();
            calls.push(CallLabels { route: route.name.clone(), cluster });
        }
    }
    Layout::new(config.clusters.iter().map(|cluster| cluster.name.clone()).collect(), calls)
}
