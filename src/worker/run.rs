//! Runs a worker: starts its tasks, ticks, and carries out the orders of others.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::call::headers::Arrival;
use super::call::request_body::RequestBody;
use super::call::responder::sink::ResponseSink;
use super::call::{self, NewCall};
use super::clock::Clock;
use super::config::ConfigSnapshot;
use super::control::{Control, Wanted, WorkerPeer};
use super::core::{StartCall, Worker, WorkerParts};
use super::downstream::client::Client;
use super::downstream::detect;
use super::downstream::listeners::Listeners;
use super::executor::CallExecutor;
use super::shared_listener::NewSocket;
use super::telemetry::buffers::{TelemetryBuffers, TelemetryConfig};
use crate::net::IoContext;
use crate::net::ring::IoBackend;
use crate::net::runtime::{self, Loop, Notifier};
use crate::policy::connection_balance::ConnectionBalance;
use crate::time::timers;
use crate::tls::forget_unused_keys;
use crate::transcode::api::Api;

/// The interval in which a worker publishes and settles state for others.
const TICK: Duration = Duration::from_millis(100);

/// The longest sleep of a worker without calls.
const IDLE: Duration = Duration::from_secs(1);

/// The time for cut calls and their connections to end in order.
const FAREWELL: Duration = Duration::from_millis(500);

/// Inputs of a new worker.
#[derive(Debug)]
pub struct Plan {
    /// Its number, from 0.
    pub number: usize,
    /// Shared by all workers, so that their moments compare.
    pub clock: Clock,
    /// The configuration it begins with.
    pub snapshot: ConfigSnapshot,
    /// The back-end that was decided for all workers.
    pub backend: IoBackend,
    /// A bound socket for each of the snapshot's listeners.
    pub sockets: Vec<NewSocket>,
    /// The sinks of its records.
    pub telemetry: TelemetryConfig,
    /// The API for JSON at the start, if there is one.
    pub api: Option<Arc<Api>>,
    /// Orders of the supervisor.
    pub control: Arc<Control>,
    /// Wakes the worker when these change.
    pub notifier: UnixStream,
    /// Counts of each worker's connections.
    pub balance: Arc<ConnectionBalance>,
    /// All workers in the order of their numbers, this one included.
    pub peers: Arc<[WorkerPeer]>,
}

/// Runs a worker on this thread until it is told to stop or has drained. `started` is called once it serves.
///
/// # Errors
/// When the ring or a socket cannot be set up.
pub fn run(plan: Plan, started: impl FnOnce()) -> io::Result<()> {
    let clock = Rc::new(plan.clock.clone());
    let _closing = Closing(Arc::clone(&plan.control));
    let local = IoContext::new(Arc::clone(&plan.snapshot.shard.worker), clock.now());
    let mut event_loop = Loop::new(plan.backend, &plan.snapshot.config.io, &local)?;
    event_loop.run(&Rc::clone(&local), serve(plan, clock, local, started))
}

/// Closes the transfer queue when the worker ends, for whatever reason.
struct Closing(Arc<Control>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.queue().close();
    }
}

/// The calls of a worker.
struct CallStarter<F>(Rc<CallExecutor<NewCall, F>>);

impl<F: Future<Output = Infallible>> StartCall for CallStarter<F> {
    fn start(
        &self,
        worker: &Rc<Worker>,
        client: &Rc<Client>,
        arrival: Arrival,
        body: RequestBody,
        sink: ResponseSink,
    ) {
        self.0.spawn(call::accept(worker, client, arrival, body, sink));
    }

    fn poll_started(&self) {
        self.0.poll_spawned();
    }

    fn wake_all(&self) {
        self.0.wake_all();
    }
}

async fn serve(plan: Plan, clock: Rc<Clock>, local: Rc<IoContext>, started: impl FnOnce()) -> io::Result<()> {
    let (worker, calls) = begin(plan, clock, local)?;
    started();
    worker.ended().await;
    drop(calls);
    Ok(())
}

/// Begins to serve, with tasks of its own. The calls have to be kept for as long as the worker serves.
pub(super) fn begin(
    plan: Plan,
    clock: Rc<Clock>,
    local: Rc<IoContext>,
) -> io::Result<(Rc<Worker>, Rc<dyn StartCall>)> {
    let executor = CallExecutor::new(Rc::clone(&local), call::serve);
    let calls = Rc::new(CallStarter(Rc::clone(&executor)));
    let worker = worker(&plan, clock, local, Rc::downgrade(&calls) as Weak<dyn StartCall>);
    worker.transcode(plan.api);
    let notifier = Notifier::new(plan.notifier, plan.backend)?;
    let mut listeners = Listeners::new(plan.backend);
    listeners.apply(&worker, &plan.snapshot, plan.sockets)?;
    worker.spawn(Rc::clone(&executor).run());
    worker.spawn(tick(Rc::clone(&worker)));
    let wake_calls = move || executor.wake_all();
    worker.spawn(handle_commands(Rc::clone(&worker), notifier, listeners, wake_calls));
    Ok((worker, calls))
}

fn worker(plan: &Plan, clock: Rc<Clock>, local: Rc<IoContext>, calls: Weak<dyn StartCall>) -> Rc<Worker> {
    let seed =
        clock.entropy() ^ clock.now().as_nanos() ^ (plan.number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let telemetry = TelemetryBuffers::new(plan.telemetry.clone(), (&clock, &local), !seed, None);
    let parts = WorkerParts {
        number: plan.number,
        clock,
        control: Arc::clone(&plan.control),
        local,
        balance: Arc::clone(&plan.balance),
        peers: Arc::clone(&plan.peers),
        calls,
        telemetry,
        seed,
    };
    Worker::new(parts, &plan.snapshot)
}

/// Advances the timers, and settles shared state every 100 ms. A worker without calls has nothing to synchronise. It sleeps
/// until its first timer is due, but no longer than a second: its coarse clock is late by no more.
async fn tick(worker: Rc<Worker>) {
    let timers = &worker.local.timers;
    let mut settled_at = worker.clock.now();
    let mut settled = 0;
    let mut forgot_at = settled_at;
    loop {
        let now = worker.clock.now();
        timers.advance(now);
        if IDLE <= now.since(forgot_at) {
            forgot_at = now;
            forget_unused_keys();
        }
        let counts = worker.local.counts();
        let ended = counts.calls_started.get() - counts.calls_active.get();
        if TICK <= now.since(settled_at) {
            settled_at = now;
            sync_shared(&worker);
            settled = ended;
        }
        // Leases of calls that have ended since the last settling are to be put back, too.
        let has_calls = counts.calls_active.get() > 0 || ended != settled;
        let is_idle = !has_calls && worker.config().is_at_rest();
        let until = if is_idle {
            now.plus(IDLE).min(timers.next_due().unwrap_or(now.plus(IDLE)).max(now.plus(timers::TICK)))
        } else if timers.armed() > 0 {
            now.plus(timers::TICK)
        } else {
            settled_at.plus(TICK).max(now.plus(timers::TICK))
        };
        worker.overload.borrow_mut().record_tick(&worker.config().config.overload, now, until);
        let mut sleep = pin!(runtime::sleep(until.since(now)));
        // A wake-up before its time means that a timer is due earlier, or that there are calls.
        let mut is_woken = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_woken, true) {
                return Poll::Ready(());
            }
            timers.wake_when_armed(until, is_idle, cx.waker());
            sleep.as_mut().poll(cx)
        })
        .await;
    }
}

fn sync_shared(worker: &Worker) {
    let now = worker.clock.now();
    worker.unbegun.sync_shared(now);
    worker.config().sync_shared(now);
    if let Some(telemetry) = &*worker.telemetry.borrow() {
        telemetry.settle();
    }
    let allocations = &worker.local.counts().allocations;
    allocations.add(crate::alloc::allocations_of_this_thread() - allocations.get());
}

/// Carries out the orders of others, each time the worker is notified.
async fn handle_commands(
    worker: Rc<Worker>,
    mut notifier: Notifier,
    mut listeners: Listeners,
    wake_calls: impl Fn(),
) {
    loop {
        notifier.notified().await;
        while let Some((snapshot, sockets)) = worker.control.take_snapshot() {
            worker.apply(&snapshot);
            if let Err(error) = listeners.apply(&worker, &snapshot, sockets) {
                tracing::error!(worker = worker.number, %error, "the worker cannot listen on a new address");
            }
        }
        if let Some(tls) = worker.control.take_tls() {
            worker.renew_tls(&tls);
            listeners.renew_tls(&tls);
        }
        while let Some(transferred) = worker.take_transferred() {
            let listener = listeners.of(&transferred);
            let (slot, accepted) = (transferred.slot, transferred.accepted);
            worker.spawn(detect::serve(Rc::clone(&worker), listener, slot, accepted));
        }
        if let Some(telemetry) = worker.control.take_telemetry() {
            worker.observe(telemetry);
        }
        if let Some(api) = worker.control.take_api() {
            worker.transcode(api);
        }
        let wanted = worker.control.wanted();
        if wanted == Wanted::Serve {
            continue;
        }
        listeners.stop();
        let clients = worker.clients();
        for client in &clients {
            client.drain();
        }
        worker.end_if_alone();
        if wanted == Wanted::Stop {
            for client in &clients {
                client.cut();
            }
            wake_calls();
            let ending = Rc::clone(&worker);
            worker.spawn(async move {
                runtime::sleep(FAREWELL).await;
                ending.end();
            });
        }
    }
}
