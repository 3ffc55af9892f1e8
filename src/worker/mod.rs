//! One worker: everything that one core owns, and the tasks that run on it.
//!
//! Nothing here is shared with another thread but the metric shard, which others read, the limits' tokens, and the
//! bell that wakes the worker when the supervisor wants something. Read `request.rs` first.

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
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use self::arena::Arena;
use self::calls::Calls;
use self::client::Client;
use self::clock::Clock;
use self::head::Limits;
use self::methods::Methods;
use self::replays::Replays;
use crate::config::{self, Config};
use crate::metrics::Shard;
use crate::net::listener::Listener;
use crate::net::ring::Rung;
use crate::net::runtime::{self, Bell, Loop};
use crate::net::Local;
use crate::policy::limit::SharedLimit;
use crate::policy::route::Routes;
use crate::random::Random;
use crate::time::timers;
use crate::upstream::Cluster;

/// Accepts of one listener that are in flight at once, so that a burst of connections comes in one turn.
const ACCEPTS: usize = 4;

/// How often a worker publishes and settles what others depend on.
const TICK: Duration = Duration::from_millis(100);

/// The wait after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    limits: Limits,
    config: Arc<Config>,
    control: Arc<Control>,
    clusters: Vec<Rc<Cluster>>,
    local: Rc<Local>,

    // Changed by this core. Borrowed for one statement; never across an await.
    random: RefCell<Random>,
    arena: Arena,
    replays: Replays,
    clients: RefCell<Slab<Rc<Client>>>,
    draining: Cell<bool>,
    /// Wakes the main future when the last client has gone.
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
pub fn run(plan: Plan, started: impl FnOnce()) -> std::io::Result<()> {
    let clock = Clock::new();
    let local = Local::new(Arc::clone(&plan.shard), clock.now());
    let mut event_loop = Loop::new(plan.rung, plan.config.io.entries)?;
    let main_local = Rc::clone(&local);
    event_loop.run(&main_local, async move {
        let bell = Bell::new(plan.bell.try_clone()?, plan.rung)?;
        let mut listeners = Vec::new();
        for (settings, socket) in plan.config.listeners.iter().zip(plan.sockets.iter()) {
            let listener = Rc::new(Listener::new(socket.try_clone()?, plan.rung)?);
            listeners.push((Rc::new(settings.clone()), listener));
        }
        let worker = Worker::new(&plan, clock, local);
        let calls = Calls::new(Rc::clone(&worker.local));
        worker.spawn(Rc::clone(&calls).run());
        worker.spawn(Rc::clone(&worker).tick());
        worker.spawn(Rc::clone(&worker).listen_to(bell, listeners.iter().map(|(_, l)| Rc::clone(l)).collect()));
        for (settings, listener) in &listeners {
            for _ in 0..ACCEPTS {
                let task = accept(Rc::clone(&worker), Rc::clone(settings), Rc::clone(listener), Rc::clone(&calls));
                worker.spawn(task);
            }
        }
        started();
        worker.ended().await;
        Ok(())
    })
}

async fn accept<F: Future<Output = ()> + 'static>(
    worker: Rc<Worker>,
    settings: Rc<config::Listener>,
    listener: Rc<Listener>,
    calls: Rc<Calls<F>>,
) where
    F: From<request::Begin>,
{
    let _ = (worker, settings, listener, calls);
}
